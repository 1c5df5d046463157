r"""How well a model finds the left ventricle: by phase, its ejection fraction, and where there is no ventricle.

    python Testing/bench/left_ventricle.py DATASET --models 'out/second/fold-{fold}/model' \
        --folds Resources/cardiac-lv/folds.json [--learned-from]
    python Testing/bench/left_ventricle.py phantoms --models cardiac-lv-myo [--thick-walled] [--wall-drawn-thinner MM]

DATASET: each fold's model segments the patients that are unseen to it; folds without a model are left out. Of a
patient's two scans the one with the larger true cavity is end diastole. With --learned-from it segments the patients of
the next fold, from whom it has learned: better than that, labels of this kind can hardly be met. "phantoms": stacks
that no training has seen, with atria above the base and slices below the apex; with --thick-walled, ventricles as in
hypertrophic cardiomyopathy that all but close in systole. A false slice shows something where the truth shows nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from csam.cli import find_model
from csam.model import Model
from csam.phantom.dataset import STRUCTURES, write_dataset
from csam.result import Options
from csam.training.dataset import Case, read_dataset, read_folds
from csam.training.evaluate import CaseMeasures, evaluate

SEED = 8000
"""Of the first phantom; trainings take seeds below."""


def patients(folder: str, models: str, folds: str, learned_from: bool) -> Iterator[CaseMeasures]:
    """Every patient by the model that has not seen them, or by one that has learned from them."""
    found, faults = read_folds(folds, read_dataset(folder, "(.*)_p"))
    if faults:
        raise SystemExit("\n".join(faults))
    for number in range(len(found)):
        _, cases = found[(number + learned_from) % len(found)]
        path = Path(models.format(fold=number))
        if (path / "model.json").is_file():
            yield from evaluate(Model.load(path), cases, Options(device="cpu"), log=lambda line: None)
        else:
            print(f"Fold {number} has no model; its patients take no part.")


def phantoms(model: Model, count: int, thick_walled: bool, thinner: float) -> Iterator[CaseMeasures]:
    """Twice the same heart, at both phases. thinner: see ``csam.phantom.dataset.write_dataset``."""
    structure = next(s for s in ("left-ventricle", "whole-left-ventricle") if len(STRUCTURES[s]) == len(model.labels))
    with tempfile.TemporaryDirectory() as folder:
        for phase in ("diastole", "systole"):
            out = Path(folder) / phase
            write_dataset(out, count, SEED, structure, thick_walled, phase, thinner)
            cases = [Case(f"{c.name}_{phase}", c.name, c.images, c.labels) for c in read_dataset(out).cases]
            yield from evaluate(model, cases, Options(device="cpu"), log=lambda line: None)


def summary(cases: list[CaseMeasures]) -> dict:
    """Means; EF of those patients with two scans, in points."""
    of_patient = defaultdict(list)
    for case in cases:
        of_patient[case.patient].append(case)
    pairs = [sorted(two, key=lambda c: -c.truth_ml[0]) for two in of_patient.values() if len(two) == 2]
    dice = {
        f"{phase}, structure {number + 1}": [pair[place].dice[number] for pair in pairs]
        for place, phase in enumerate(("end diastole", "end systole"))
        for number in range(len(cases[0].dice))
    }
    errors = np.array([100 * (_ef(*(c.volume_ml[0] for c in p)) - _ef(*(c.truth_ml[0] for c in p))) for p in pairs])
    volumes = np.array([c.volume_ml[0] / c.truth_ml[0] - 1 for c in cases if c.truth_ml[0]])
    empty, false = (sum(getattr(c, part) for c in cases) for part in ("empty_slices", "empty_slices_wrong"))
    known = {name: [d for d in found if d is not None] for name, found in dice.items()}
    return {
        "scans": len(cases),
        "patients": len(pairs),
        **{f"Dice, {name}": round(float(np.mean(found)), 4) for name, found in known.items() if found},
        **{f"lowest Dice, {name}": round(float(np.min(found)), 4) for name, found in known.items() if found},
        "cavity volume, mean relative error": round(float(volumes.mean()), 4),
        "EF, mean absolute error in points": round(float(np.abs(errors).mean()), 2),
        "EF, bias in points": round(float(errors.mean()), 2),
        "slices without a ventricle": int(empty),
        "of these, false": int(false),
    }


def _ef(diastole: float, systole: float) -> float:
    return (diastole - systole) / max(diastole, 1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--models", required=True, help="of the folds, with {fold}; for phantoms one model")
    parser.add_argument("--folds", help="the split's file")
    parser.add_argument("--learned-from", action="store_true", help="patients that each fold's model has learned from")
    parser.add_argument("--thick-walled", action="store_true")
    parser.add_argument("--wall-drawn-thinner", type=float, default=0.0, metavar="MM", help="as csam phantom takes it")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--json", type=Path, help="is added to")
    options = parser.parse_args()
    if options.dataset == "phantoms":
        cases = list(
            phantoms(find_model(options.models), options.count, options.thick_walled, options.wall_drawn_thinner)
        )
        drawn = f" drawn {options.wall_drawn_thinner:g} mm thinner" if options.wall_drawn_thinner else ""
        key = f"{'thick-walled ' * options.thick_walled}phantoms{drawn}, {Path(options.models).name}"
    else:
        cases = list(patients(options.dataset, options.models, options.folds, options.learned_from))
        key = f"{Path(options.dataset).name}{', learned from' * options.learned_from}"
    found = summary(cases)
    print(key, json.dumps(found, indent=1))
    if options.json:
        known = json.loads(options.json.read_text("utf-8")) if options.json.is_file() else {}
        options.json.write_text(json.dumps(known | {key: found}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
