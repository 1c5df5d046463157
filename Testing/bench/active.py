"""Does it pay to draw the cases in the order that Next case offers? Dice on unseen patients, against a random order.

    python Testing/bench/active.py DATASET --patient-pattern '(.*)_p' --cases 4 8 12 --seeds 3 --minutes 20
    python Testing/bench/active.py DATASET --seeds 1 --cases 2 4 --steps 20 --unseen 2 --plan tiny.json   # to try it

Each seed holds other patients out. The first cases are the same in every order: random, for there is no model yet
(with --fine-tune, that model ranks them). A model learns from them, is measured on the patients held out, and segments
the cases that are left; the next cases are those that this order puts first, and so on. Of the chosen cases, a quarter
are validated on, whole patients. Orders: random; expected-dice, poorest first (csam.batch.next_case); disagreement,
the mutual information of the samples for each voxel found.

A training or ranking that is done is not done again; one that was stopped goes on. Prints a table and writes
active.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from paired import public

from csam.batch.next_case import worth_drawing
from csam.batch.row import DONE, Row
from csam.cli import find_model
from csam.model import Model
from csam.pipeline.segment import segment
from csam.result import Options, Result
from csam.training.dataset import Case, Dataset, read_dataset
from csam.training.measures import dice
from csam.training.model_match import as_learned, seen_patients
from csam.training.train import train

RANDOM, EXPECTED_DICE, DISAGREEMENT = "random", "expected-dice", "disagreement"
ORDERS = (RANDOM, EXPECTED_DICE, DISAGREEMENT)
OUT = Path("out/bench/active")


@dataclass(frozen=True)
class Setting:
    """What is the same for all trainings. cases: numbers to learn from, growing. unseen: patients that are held out."""

    dataset: str
    patient_pattern: str
    cases: tuple[int, ...]
    unseen: int
    plan: dict
    fine_tune: str | None
    samples: int
    device: str

    @property
    def told(self) -> dict[str, Any]:
        """What a result depends on, but for the place and the device."""
        return {**vars(self), "dataset": Path(self.dataset).name, "device": None}


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What a JSON file holds; made where it is not there yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(make(), indent=2) + "\n")
        os.replace(temporary, path)
    return json.loads(path.read_text())


def held_out(data: Dataset, unseen: int, seed: int) -> set[str]:
    """The patients on whom a seed measures."""
    if not 0 < unseen < len(data.patients):
        raise SystemExit(f"{unseen} patients were to be held out; there are {len(data.patients)}.")
    return {*np.random.default_rng(seed).permutation(data.patients)[:unseen].tolist()}


def halves(data: Dataset, chosen: Sequence[str], seed: int) -> dict[str, list[str]]:
    """Who is trained and who is validated on: about a quarter of the cases, whole patients, one at least of each."""
    patients = {case.patient: [] for case in data.cases if case.name in chosen}
    for case in data.cases:
        if case.name in chosen:
            patients[case.patient].append(case.name)
    order = np.random.default_rng(seed).permutation(sorted(patients)).tolist()
    if len(order) < 2:
        raise SystemExit(f"The cases {', '.join(chosen)} are of one patient; begin with more.")
    validation: list[str] = []
    for patient in order[:-1]:
        if not validation or len(validation) + len(patients[patient]) <= len(chosen) / 4:
            validation += patients[patient]
    return {"training": sorted({*chosen} - {*validation}), "validation": sorted(validation)}


def learned(folder: Path, setting: Setting, seed: int) -> Model:
    """The model of a step, trained where it is not there yet; its folder says who is trained and validated on."""
    finished = folder / "training" / "model"
    if (finished / "model.json").exists():
        return Model.load(finished)
    plan = {**setting.plan, "seed": seed, "patient_pattern": setting.patient_pattern}
    start = find_model(setting.fine_tune) if setting.fine_tune else None
    return train(
        setting.dataset, folder / "training", plan, device=setting.device, fine_tune=start,
        split=folder / "chosen.json", card={"name": f"{folder.name}-{seed}"}, log=lambda text: None,
    )  # fmt: skip


def segmented(model: Model, data: Dataset, cases: Sequence[Case], setting: Setting) -> dict[str, tuple[Case, Result]]:
    options = Options(setting.samples, device=setting.device)
    return {case.name: (case, segment(case.read_images(), model, options)) for case in as_learned(model, data, cases)}


def measured(model: Model, data: Dataset, unseen: Sequence[Case], setting: Setting) -> dict[str, float]:
    """The mean Dice of every case on the patients that are held out."""
    found = {}
    for name, (case, result) in segmented(model, data, unseen, setting).items():
        labels, truth = sitk.GetArrayFromImage(result.labels), sitk.GetArrayFromImage(case.read()[1])
        values = [dice(labels == label.value, truth == label.value) for label in model.labels]
        found[name] = float(np.mean([value for value in values if value is not None]))
    return found


def ranked(order: str, model: Model, data: Dataset, left: Sequence[Case], setting: Setting) -> list[str]:
    """The cases in the order in which to draw them."""
    results = {name: result for name, (_case, result) in segmented(model, data, left, setting).items()}
    if order == DISAGREEMENT:
        worth = {name: disagreement(result) for name, result in results.items()}
        return sorted(worth, key=lambda name: (-worth[name], name))
    rows = [Row(name, DONE, structures=r.structures, case_quality=r.case_quality) for name, r in results.items()]
    return [row.case for row in worth_drawing(rows, poorest=True)]


def disagreement(result: Result) -> float:
    """The mutual information of the samples, nats, for each voxel found; without any, more than all others."""
    found = int((sitk.GetArrayViewFromImage(result.labels) > 0).sum())
    total = float(sitk.GetArrayViewFromImage(result.mutual_information).sum())
    return total / found if found else float("inf")


def steps_of(order: str, seed: int, setting: Setting, data: Dataset, out: Path) -> list[dict]:
    """All steps of an order with a seed, done where they are not yet; a row of the table each."""
    unseen_patients = held_out(data, setting.unseen, seed)
    unseen = [case for case in data.cases if case.patient in unseen_patients]
    pool = {case.name: case for case in data.cases if case.patient not in unseen_patients}
    if len(pool) < setting.cases[-1]:
        raise SystemExit(f"{setting.cases[-1]} cases were asked for; {len(pool)} are left to choose from.")
    by_lot = np.random.default_rng(seed).permutation(sorted(pool)).tolist()
    rows, chosen = [], ()
    model = find_model(setting.fine_tune) if setting.fine_tune else None
    for number in setting.cases:
        shared = model is None  # nothing can be ranked yet: the same for all orders
        folder = out / f"seed{seed}" / (f"first-{number}" if shared else f"{order}-{number}")
        left = [pool[name] for name in by_lot if name not in chosen]
        names = [case.name for case in left]
        if order != RANDOM and not shared:
            names = once(folder / "ranking.json", partial(ranked, order, model, data, left, setting))
        chosen = (*chosen, *names[: number - len(chosen)])
        model, dice_of = step(folder, chosen, setting, data, unseen, seed)
        values = [*dice_of.values()]
        print(f"seed {seed}, {order}, {number} cases: Dice {np.mean(values):.3f}", flush=True)
        rows.append(
            {"seed": seed, "order": order, "cases": number, "dice": float(np.mean(values)), "lowest": min(values)}
        )
    return rows


def step(
    folder: Path, chosen: tuple[str, ...], setting: Setting, data: Dataset, unseen: Sequence[Case], seed: int
) -> tuple[Model, dict[str, float]]:
    """The model that has learned from the chosen cases, and its Dice on each case that is held out."""
    kept = once(folder / "chosen.json", lambda: {"chosen": chosen, **halves(data, chosen, seed)})
    if {*kept["chosen"]} != {*chosen}:
        raise SystemExit(f"{folder} was made from other cases. Choose another --out.")
    model = learned(folder, setting, seed)
    return model, once(folder / "result.json", lambda: measured(model, data, unseen, setting))


def summed_up(rows: Sequence[dict]) -> list[dict]:
    """Over the seeds: the mean Dice, its spread, and the difference to the random order with the same seeds."""
    of = {(row["order"], row["cases"], row["seed"]): row for row in rows}
    table = []
    for order, number in dict.fromkeys((row["order"], row["cases"]) for row in rows):
        own = [row for row in rows if (row["order"], row["cases"]) == (order, number)]
        paired = [(row, of.get((RANDOM, number, row["seed"]))) for row in own]
        differences = [one["dice"] - other["dice"] for one, other in paired if other is not None]
        table.append(
            {
                "order": order,
                "cases": number,
                "seeds": len(own),
                "dice": float(np.mean([row["dice"] for row in own])),
                "dice_sd": float(np.std([row["dice"] for row in own], ddof=1)) if len(own) > 1 else None,
                "lowest": min(row["lowest"] for row in own),
                "more_than_random": float(np.mean(differences)) if differences and order != RANDOM else None,
                "seeds_better": sum(d > 0 for d in differences) if order != RANDOM else None,
            }
        )
    return table


def text(table: Sequence[dict]) -> str:
    heads = ("cases", "seeds", "Dice", "SD", "lowest", "-random", "better")
    lines = [f"{'order':16s}" + "".join(f"{name:>8s}" for name in heads)]
    for row in table:
        sd = "" if row["dice_sd"] is None else f"{row['dice_sd']:.3f}"
        more = "" if row["more_than_random"] is None else f"{row['more_than_random']:+.3f}"
        better = "" if row["seeds_better"] is None else f"{row['seeds_better']}/{row['seeds']}"
        lines.append(
            f"{row['order']:16s}{row['cases']:8d}{row['seeds']:8d}{row['dice']:8.3f}{sd:>8s}{row['lowest']:8.3f}"
            f"{more:>8s}{better:>8s}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cases", nargs="+", type=int, default=[4, 8, 12], help="how many to learn from, growing")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=[RANDOM, EXPECTED_DICE])
    parser.add_argument("--unseen", type=int, default=10, help="patients to measure on")
    parser.add_argument("--patient-pattern", default="(.*)", help="its first group is the patient")
    parser.add_argument("--plan", type=Path, help="JSON file with fields of the plan, the same for all")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="of each training")
    budget.add_argument("--steps", type=int, help="of each training: the same on any computer")
    parser.add_argument("--fine-tune", metavar="MODEL", help="a model that has seen none of these patients")
    parser.add_argument("--samples", type=int, default=Options.samples, help="as for csam segment")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    plan = json.loads(options.plan.read_text()) if options.plan else {}
    plan |= {name: value for name in ("minutes", "steps") if (value := getattr(options, name)) is not None}
    setting = Setting(
        str(options.dataset), options.patient_pattern, tuple(sorted({*options.cases})), options.unseen, plan,
        options.fine_tune, options.samples, options.device,
    )  # fmt: skip
    out = options.out / options.dataset.resolve().name
    before = once(out / "setting.json", lambda: setting.told)
    if before != json.loads(json.dumps(setting.told)):
        raise SystemExit(f"{out} holds trainings with another setting. Choose another --out.")
    data = read_dataset(options.dataset, options.patient_pattern)
    if options.fine_tune:
        seen = seen_patients(find_model(options.fine_tune), data.cases, "training")
        if seen:
            raise SystemExit(f"{options.fine_tune} has learned from {', '.join(sorted(seen)[:5])}. Choose another.")
    rows = []
    for seed in range(options.seeds):  # whenever it is stopped, the orders have had the same seeds
        for order in options.orders:
            rows += steps_of(order, seed, setting, data, out)
            print(text(summed_up(rows)), flush=True)
    words = public(sys.argv[1:] if arguments is None else [*arguments])
    command = shlex.join(["python", "Testing/bench/active.py", *words])
    values = {"command": command, "setting": setting.told, "table": summed_up(rows), "rows": rows}
    (out / "active.json").write_text(json.dumps(values, indent=2) + "\n")
    print(f"Written to {out}/active.json")


if __name__ == "__main__":
    main()
