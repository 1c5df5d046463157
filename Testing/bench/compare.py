"""Does CSAM earn its place? Networks on the same patients, pictures, augmentation and steps, compared in pairs.

    python Testing/bench/compare.py DATASET --patient-pattern '(.*)_p' --networks 2d-unet csam --seeds 0 1 2 \
        --folds 0 1 2 3 4 --steps 2000 --device auto --jobs 1

A unit is one network, seed and fold (of --of folds by patient): OUT/<data set>/<steps>/<network>/seed<S>-fold<F>of<N>.
A unit that was stopped goes on from its checkpoint, a finished one is not run again, and the table takes in all
networks that are finished on all of these seeds and folds; it refuses those of another plan. With --begin-on every
network first takes --begin-steps on a further data set, phantoms say, once a seed: its folds go on from there. With
--after every unit goes on from its own of an earlier comparison, with a finer plan say; with --fine-tune from the
weights of a model, where they fit. Nothing is chosen on the held-out patients: the averaged weights of the last step
are measured, all networks' over the product's orientations. Those of our networks are kept as models, for
compare_uncertainty.py. Prints the table, writes comparison.json and .png beside the networks' folders.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import paired
import torch
from rivals import BEGINS_AS, RIVALS, Outsider, parameters, plan_for, seeded

from csam.cli import find_model
from csam.network.devices import choose_device
from csam.result import Options
from csam.training.augment import Augmenter
from csam.training.calibrate import cross_fitted
from csam.training.dataset import Case, Dataset, read_dataset
from csam.training.evaluate import evaluate
from csam.training.model_match import seen_patients
from csam.training.plan import Plan
from csam.training.prepare import take_over_weights
from csam.training.summary import summarise
from csam.training.train import load_example
from csam.training.trained_model import assemble
from csam.training.trainer import Trainer, read_checkpoint

OUT = Path("out/bench/compare")


@dataclass(frozen=True)
class Unit:
    """One training and its evaluation. plan: the shared one, with the unit's seed. begin_on: what it learns first.

    card, extra: as for csam train. patients: train on so many of those that are not held out; None for all. after: the
    folder of an earlier comparison, from whose unit this one goes on. fine_tune: the name or folder of a model to begin
    with. untaught: regular expression, scans not to train on.
    """

    dataset: Path
    network: str
    fold: int
    of: int
    plan: Plan
    device: str
    samples: int
    out: Path
    begin_on: Path | None
    begin_steps: int
    card: dict
    extra: tuple[Path, ...] = ()
    patients: int | None = None
    after: Path | None = None
    fine_tune: str | None = None
    untaught: str | None = None

    @property
    def of_network(self) -> Path:
        before = f"{self.after.name}-then-" if self.after else ""
        start = find_model(self.fine_tune) if self.fine_tune else None
        before += f"from-{start.name}-{start.sha256[:6]}-" if start else ""
        before += f"{self.begin_steps}-on-{self.begin_on.name}-then-" if self.begin_on else ""
        beside = "".join(f"-with-{folder.name}" for folder in self.extra)
        beside += "-untaught-" + re.sub(r"[^\w.-]", "_", self.untaught) if self.untaught else ""
        return self.out / self.dataset.name / f"{before}{self.plan.steps}-steps{beside}" / self.network

    @property
    def name(self) -> str:
        fewer = "" if self.patients is None else f"-{self.patients}patients"
        return f"seed{self.plan.seed}-fold{self.fold}of{self.of}{fewer}"

    @property
    def folder(self) -> Path:
        return self.of_network / self.name

    @property
    def result(self) -> Path:
        return self.folder / "result.json"


def held_out(patients: list[str], fold: int, of: int, seed: int = 0) -> set[str]:
    """The patients of one of ``of`` folds: the same ones for every network and seed."""
    if not 0 <= fold < of <= len(patients):
        raise SystemExit(f"Fold {fold} of {of} was asked for; there are {len(patients)} patients.")
    return set(np.random.default_rng(seed).permutation(sorted(patients))[fold::of].tolist())


def divided(data: Dataset, unit: Unit) -> tuple[list[Case], list[Case]]:
    """The cases to train on and those to measure on. Fewer patients are part of more."""
    out = held_out(data.patients, unit.fold, unit.of)
    others = sorted(set(data.patients) - out)
    chosen = set(np.random.default_rng(unit.fold).permutation(others)[: unit.patients].tolist())
    wrong = re.compile(unit.untaught or "(?!)")
    training = [c for c in data.cases if c.patient in chosen and not wrong.search(c.name)]
    return training, [c for c in data.cases if c.patient in out]


def run(unit: Unit) -> str:
    """Trains and measures a unit, or goes on with it. Returns a line for people."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) if unit.device == "auto" else torch.get_num_threads()))
    device = choose_device(unit.device)
    data = read_dataset(unit.dataset, unit.plan.patient_pattern)
    training, validation = divided(data, unit)
    plan = plan_for(unit.network, unit.plan)
    slice_spacing = float(np.median([max(case.read()[1].GetSpacing()) for case in training]))
    network = seeded(unit.network, begun(unit, plan), len(data.channels), len(data.labels) + 1, slice_spacing)
    network.to(device)
    if unit.begin_on:
        network.load_state_dict(beginning(unit, plan, data, network, device))
    if unit.fine_tune:
        start = find_model(unit.fine_tune)
        spoilt = seen_patients(start, validation, "training")
        if spoilt:
            raise SystemExit(f"{start.name} was trained on {', '.join(sorted(spoilt))}, who are held out.")
        for anew in take_over_weights(start, network, data.channels, data.labels):
            print(f"Begins anew: {anew}", flush=True)
    if unit.after:
        network.load_state_dict(network.state_dict() | averaged_before(unit))
    further = [case for folder in unit.extra for case in read_further(folder, data).cases]
    trainer, seconds = train(unit.folder, plan, network, training, device, further)
    network = trainer.averaged_network()
    provenance = {
        "training_patients": sorted({case.patient for case in training}),
        "validation_patients": sorted({case.patient for case in validation}),
        "plan": asdict(plan),
    }
    model = replace(assemble(network, data, plan, training, unit.card), provenance=provenance)
    if not isinstance(network, Outsider):
        model.save(unit.folder / "model")
    model._networks[device] = network  # what a model file could not hold: a network that is not ours
    started = time.perf_counter()
    before = evaluate(model, validation, Options(unit.samples, device=device), log=lambda text: None)
    after = cross_fitted(before, [label.value for label in model.labels])
    names = [label.name for label in model.labels]
    expected = {case.name: case.case_quality for case in before}
    values = {
        "dataset": data.name,
        "network": unit.network,
        "seed": plan.seed,
        "fold": unit.fold,
        "of": unit.of,
        "plan": asdict(plan),
        "samples": unit.samples,
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "parameters": parameters(network),
        "precision": trainer.precision,
        "step_seconds": seconds / max(1, plan.steps),
        "scan_seconds": (time.perf_counter() - started) / max(1, len(validation)),
        "before_calibration": summarise(before, names),
        "after_calibration": summarise(after, names),
        "cases": {
            case.name: case.figures | {"mean_dice": case.mean_dice, "expected_dice": expected[case.name]}
            for case in after
        },
    }
    temporary = unit.result.with_suffix(".tmp")
    temporary.write_text(json.dumps(values, indent=2, default=float) + "\n")
    os.replace(temporary, unit.result)
    return f"Dice {values['after_calibration']['dice_mean']:.4f}, {values['step_seconds']:.3f} s a step"


def beginning(unit: Unit, plan: Plan, data: Dataset, network, device: str) -> dict:
    """The weights with which every fold of a network and seed begins; the same network's, after the further data."""
    folder = unit.of_network / f"seed{plan.seed}-beginning"
    weights = folder / "weights.pt"
    if not weights.exists():
        further = read_further(unit.begin_on, data)
        plan = replace(plan, steps=unit.begin_steps)
        trainer, _ = train(folder, plan, copy.deepcopy(network), further.cases, device)
        torch.save(trainer.averaged_network().state_dict(), folder / "weights.tmp")
        os.replace(folder / "weights.tmp", weights)
    return torch.load(weights, map_location=device, weights_only=True)


def origin(unit: Unit) -> Path:
    """The folder of the unit to go on from. Raises SystemExit where the earlier comparison lacks it."""
    network = BEGINS_AS.get(unit.network, unit.network)
    folder = unit.after / network / unit.name
    if not all((folder / name).exists() for name in ("result.json", "checkpoint.pt")):
        raise SystemExit(f"There is no finished {network}/{unit.name} with its checkpoint.pt in {unit.after}.")
    return folder


def begun(unit: Unit, plan: Plan) -> Plan:
    """The plan with the pixels that a network began with: the kernels of the 3-D one follow from them, and stay."""
    if not unit.after:
        return plan
    first = Plan.from_json(json.loads((origin(unit) / "result.json").read_text())["plan"])
    return replace(plan, in_plane_spacing=first.in_plane_spacing, field_of_view=first.field_of_view)


def averaged_before(unit: Unit) -> dict:
    """The averaged weights of the unit to go on from."""
    prefix = "module."
    averaged = read_checkpoint(origin(unit) / "checkpoint.pt")["average"]
    return {name.removeprefix(prefix): value for name, value in averaged.items() if name.startswith(prefix)}


def read_further(folder: Path, data: Dataset) -> Dataset:
    """A data set to learn from beside another. Raises SystemExit when its channels or labels are others."""
    further = read_dataset(folder)
    if (len(further.channels), further.labels) != (len(data.channels), data.labels):
        raise SystemExit(f"{further.name} has other channels or labels than {data.name}.")
    return further


def train(
    folder: Path, plan: Plan, network, training: Sequence[Case], device: str, further: Sequence[Case] = ()
) -> tuple[Trainer, float]:
    """The trainer after the plan's steps, and the seconds they took."""
    examples, extra = ([load_example(case, plan) for case in cases] for cases in (training, further))
    trainer = Trainer(plan, network, device)
    augment = Augmenter.of(plan)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, clock = folder / "checkpoint.pt", folder / "seconds.json"
    spent = 0.0
    if checkpoint.exists():
        trainer.restore(checkpoint)
        spent = json.loads(clock.read_text()) if clock.exists() else 0.0
    started = time.perf_counter()
    while trainer.step < plan.steps:
        trainer.train_step(augment(examples, trainer.step, extra=extra))
        if trainer.step % plan.checkpoint_every == 0 or trainer.step == plan.steps:
            trainer.save(checkpoint)
            clock.write_text(json.dumps(spent + time.perf_counter() - started))
    return trainer, spent + time.perf_counter() - started


def of_plan(result: dict, plan: Plan) -> dict:
    """The result, if it was trained with this plan, as its network takes it. Raises SystemExit otherwise."""
    own = Plan.from_json(result["plan"])
    if own != replace(plan_for(result["network"], plan), seed=own.seed):
        raise SystemExit(
            f"{result['network']}, seed {result['seed']} was trained with another plan. Choose another --out."
        )
    return result


def complete(folder: Path, names: set[str]) -> list[Path]:
    """The results of the networks that have all of these units: a mean over fewer folds is of other patients."""
    of = {network: {path.parent.name: path for path in network.glob("*/result.json")} for network in folder.iterdir()}
    return sorted(units[name] for units in of.values() if names <= units.keys() for name in names)


def run_all(units: list[Unit]) -> None:
    for unit in units:
        print(f"{unit.folder.relative_to(unit.out)}: {run(unit)}", flush=True)


def parser_of_units(description: str, steps: int) -> argparse.ArgumentParser:
    """The options that every comparison of trainings has. steps: the default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--folds", nargs="+", type=int, default=[0])
    parser.add_argument("--of", type=int, default=5, help="number of folds")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--plan", type=Path, help="JSON file with fields of the plan, the same for all")
    parser.add_argument("--patient-pattern", default="(.*)", help="its first group is the patient")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--samples", type=int, default=Options.samples, help="as for csam evaluate")
    parser.add_argument("--card", type=Path, help="as for csam train: which structures are one piece")
    before = parser.add_mutually_exclusive_group()
    before.add_argument("--begin-on", type=Path, help="a further data set, from which every network learns first")
    before.add_argument("--after", type=Path, help="folder of an earlier comparison, from whose units to go on")
    before.add_argument("--fine-tune", metavar="MODEL", help="as for csam train: the weights to begin with")
    parser.add_argument("--begin-steps", type=int, default=1000)
    parser.add_argument("--extra", nargs="+", type=Path, default=[], help="as for csam train: learnt from all along")
    parser.add_argument("--untaught", help="regular expression: scans not to train on, their labels being wrong")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser


def unit_of(options: argparse.Namespace) -> Unit:
    """CSAM's unit of seed 0 and fold 0, from which the others differ."""
    card = json.loads(options.card.read_text()) if options.card else {}
    fields = json.loads(options.plan.read_text()) if options.plan else {}
    plan = Plan.from_json(fields | {"steps": options.steps, "patient_pattern": options.patient_pattern})
    return Unit(
        options.dataset, "csam", 0, options.of, plan, options.device, options.samples, options.out, options.begin_on,
        options.begin_steps, card, tuple(options.extra), None, options.after, options.fine_tune, options.untaught,
    )  # fmt: skip


def main() -> None:
    parser = parser_of_units(__doc__, steps=2000)
    parser.add_argument("--networks", nargs="+", choices=RIVALS, default=["2d-unet", "csam"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="units at a time: a GPU has room for several")
    parser.add_argument("--reference", default="2d-unet", choices=RIVALS, help="what the others are compared with")
    parser.add_argument(
        "--without", help="regular expression: scans to leave out of the table, their labels being wrong"
    )
    options = parser.parse_args()
    last = BEGINS_AS.keys() & set(options.networks)
    if last and options.after is None:
        parser.error(f"{' and '.join(sorted(last))}: begun as another network, --after says in which comparison.")
    one = unit_of(options)
    plan = one.plan
    # Round by round: whenever it is stopped, every network has had the same seeds and folds, but for the last round.
    units = [
        replace(one, network=network, fold=fold, plan=replace(plan, seed=seed))
        for seed in options.seeds
        for fold in options.folds
        for network in options.networks
    ]
    todo = [unit for unit in units if not unit.result.exists()]
    print(f"{len(units)} units, {len(todo)} to run.", flush=True)
    # What begins with the same weights goes one after the other: the first one makes them.
    groups: dict = {}
    for unit in todo:
        groups.setdefault(unit.folder if unit.begin_on is None else (unit.network, unit.plan.seed), []).append(unit)
    if options.jobs == 1:
        run_all(todo)
    else:
        with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
            list(pool.map(run_all, groups.values()))
    folder = units[0].of_network.parent
    names = {unit.name for unit in units}
    found = complete(folder, names)
    results = [json.loads(path.read_text()) for path in found]
    results = [paired.without(of_plan(result, plan), options.without) for result in results]
    table = paired.compare(results, options.reference)
    print(paired.text(table))
    command = shlex.join(["python", "Testing/bench/compare.py", *paired.public(sys.argv[1:])])
    values = {"command": command, "plan": asdict(plan), "reference": options.reference, "networks": table}
    name = "comparison-without" if options.without else "comparison"
    (folder / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n")
    title = f"{results[0]['dataset']}: {folder.name.replace('-', ' ')}"
    title += f", measured without {options.without}" if options.without else ""
    paired.draw(folder / f"{name}.png", table, options.reference, title)
    print(f"Written to {folder}/{name}.json and .png")


if __name__ == "__main__":
    main()
