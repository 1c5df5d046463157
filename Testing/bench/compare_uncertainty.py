"""Which uncertainty should be shown? Softmax, CSAM's gates, test-time augmentation, both, or an ensemble.

    python Testing/bench/compare_uncertainty.py DATASET --model MODEL ... [--shifts none noise ...] [--training]
    python Testing/bench/compare_uncertainty.py DATASET --folds out/bench/compare/DATASET/2000-steps/csam

Runs on the validation patients of a model, which it was not trained on, as they are and made worse (see degrade.py).
Several models with the same validation patients make a deep ensemble. --folds takes all models that compare.py left of
a network, or those of a cross-validation (its folder): every scan is assessed by those of its own fold, whose seeds are
the ensemble. Every pass is kept in OUT, so that a stopped run goes on where it was. Prints tables, writes
OUT/uncertainty.json and .png. --training adds the training patients as a check apart: nothing is to be chosen by them.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from assessment import Assessed, assess
from degrade import SHIFTS, degrade
from paired import public
from passes import MIRRORED, Passes, relative_costs
from uncertainty_figures import case_scores, slice_scores, volume_intervals, voxels
from uncertainty_tables import draw, text

from csam.cli import find_model
from csam.image import geometry
from csam.image.stack import Stack, stack_of
from csam.model import Model
from csam.network.orientations import ORIENTATIONS, StackOrientation
from csam.training import measures
from csam.training.dataset import Case, read_dataset

OUT = Path("out/bench/uncertainty")
DRAWS = 20
IDENTITY = StackOrientation()
METHODS = {
    "softmax": [(IDENTITY, None)],
    "gates": [(IDENTITY, n) for n in range(DRAWS)],
    "gates, 6 samples": [(IDENTITY, n) for n in range(6)],
    "8 rotations": [(orientation, None) for orientation in ORIENTATIONS],
    "16 symmetries": [(orientation, None) for orientation in (*ORIENTATIONS, *MIRRORED)],
    "gates and rotations": [(orientation, n) for n, orientation in enumerate(ORIENTATIONS)],
}
"""Name → its passes: orientations and samples of the gates, None for the gates at their mean."""
FULL = ("softmax", "gates", "8 rotations", "gates and rotations")
OF_ENSEMBLES = {"softmax": "ensemble of {}", "8 rotations": "ensemble of {}, rotations"}
SHORT = ("softmax", "gates, 6 samples", "8 rotations")


@dataclass(frozen=True)
class HeldOut:
    """A case, and the models that were not trained on its patient: several are an ensemble."""

    case: Case
    models: Sequence[Model]


def scan(case: Case, model: Model, shift: str) -> tuple[Stack, np.ndarray]:
    """The stack of a case under a shift, and its truth (S, H, W) in the stack's orientation."""
    images, truth = case.read()
    axis = geometry.axis_for(images[0], model.slice_axis)
    oriented = geometry.orientation(images[0].GetDirection(), axis)
    pixels = round(10 / images[0].GetSpacing()[oriented.axes[-1]])
    labels = oriented.to_stack(sitk.GetArrayFromImage(truth))
    channels, moved = [], labels
    for image in images:
        stack, moved = degrade(oriented.to_stack(geometry.array_of(image)), labels, shift, pixels, seed=1)
        channels.append(geometry.like(np.ascontiguousarray(oriented.from_stack(stack)), image))
    return stack_of(channels, model.in_plane_spacing, model.intensity, model.slice_axis), moved


def file_of(case: Case, model: Model, shift: str, out: Path) -> Path:
    return out / model.sha256[:12] / shift.replace(" ", "-") / f"{case.name}.npz"


def collect(cases: Sequence[HeldOut], shift: str, methods: Sequence[str], out: Path) -> None:
    """Computes the passes that are not on disk yet; of the models after the first, the plain one and the rotations."""
    for held in cases:
        case, started = held.case, time.perf_counter()
        for number, model in enumerate(held.models):
            wanted: dict = {}
            for name in methods if number == 0 else OF_ENSEMBLES.keys() & set(methods):
                for orientation, sample in METHODS[name]:
                    wanted.setdefault(orientation, []).append(sample)
            stack, _ = scan(case, model, shift)
            wanted = {orientation: list(dict.fromkeys(samples)) for orientation, samples in wanted.items()}
            Passes(file_of(case, model, shift, out)).complete(
                model.network(), stack.values, model.field_of_view, wanted
            )
        seconds = time.perf_counter() - started
        if seconds > 5:
            print(f"{shift:18s}{case.name:24s}{seconds:8.1f} s", flush=True)


def assessed(cases: Sequence[HeldOut], members: int, shift: str, method: str, out: Path) -> list[Assessed]:
    """Every case as a method sees it with so many of its models."""
    found = []
    for held in cases:
        case, models = held.case, held.models[:members]
        stack, truth = scan(case, models[0], shift)
        stacked = [Passes(file_of(case, model, shift, out)).stacked(METHODS[method]) for model in models]
        one = assess(
            np.concatenate(stacked),
            truth,
            stack.spacing,
            any(label.connected for label in models[0].labels),
            f"{case.name}, {shift}",
            case.patient,
        )
        found.append(one)
    return found


def figures(scans: Sequence[Assessed]) -> dict:
    return {
        "scans": len(scans),
        "dice": float(np.mean([scan.dice for scan in scans])),
        "dice_lowest": min(scan.dice for scan in scans),
        "hausdorff_95_mm": measures.mean([scan.hausdorff for scan in scans]),
        "energy_distance": measures.mean([scan.energy_distance for scan in scans]),
        "voxels": voxels(scans),
        "case_scores": case_scores(scans),
        "slice_scores": slice_scores(scans),
        "intervals": volume_intervals(scans),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model", nargs="+", default=[], help="a shipped model's name, a folder or a zip")
    parser.add_argument("--folds", type=Path, help="a network's folder that compare.py left, or a cross-validation")
    parser.add_argument("--shifts", nargs="+", choices=SHIFTS, default=["none"])
    parser.add_argument("--worse-scans", default="", help="regular expression: the scans to make worse, all by default")
    parser.add_argument("--without", help="regular expression: scans not to measure, their labels being wrong")
    parser.add_argument("--training", action="store_true", help="also the training patients, as a check apart")
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="instead of the usual ones")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if not (options.folds or options.model):
        parser.error("give --model or --folds.")
    ensembles = from_folds(options.folds) if options.folds else [[find_model(name) for name in options.model]]
    first = ensembles[0][0]
    try:
        held_out, trained = split(options.dataset, ensembles)
    except ValueError as error:
        parser.error(str(error))
    if options.without:
        held_out, trained = (
            [h for h in some if not re.search(options.without, h.case.name)] for some in (held_out, trained)
        )
    full, short = (options.methods or some for some in (FULL, SHORT))
    groups = {shift: (held_out, shift, full if shift == "none" else short) for shift in options.shifts}
    if options.training:
        groups["training scans"] = (trained, "none", short)
    costs = relative_costs(first.network(), first.field_of_view)
    table: dict[str, dict[str, dict]] = {}
    seen: dict[str, list[Assessed]] = {}
    for group, (cases, shift, methods) in groups.items():
        if shift != "none":
            cases = [held for held in cases if re.search(options.worse_scans, held.case.name)]
        collect(cases, shift, methods, options.out)
        for name, method, members in named(methods, len(ensembles[0])):
            scans = assessed(cases, members, shift, method, options.out)
            cost = members * costs(METHODS[method])
            table.setdefault(group, {})[name] = {"cost": cost} | figures(scans)
            print(text(group, name, table[group][name]), flush=True)
            if shift != "none":
                seen.setdefault(name, []).extend(scans)
    if len(options.shifts) > 2:
        for name, scans in seen.items():
            table.setdefault("all worse scans", {})[name] = figures(scans)
            print(text("all worse scans", name, table["all worse scans"][name]), flush=True)
    command = shlex.join(["python", "Testing/bench/compare_uncertainty.py", *public(sys.argv[1:])])
    options.out.mkdir(parents=True, exist_ok=True)
    names = sorted({model.name for models in ensembles for model in models})
    values = {"command": command, "models": names, "data": options.dataset.name, "groups": table}
    (options.out / "uncertainty.json").write_text(json.dumps(rounded(values), indent=1) + "\n")
    draw(options.out / "uncertainty.png", table, f"{', '.join(names)}: {options.dataset.name}")


def from_folds(folder: Path) -> list[list[Model]]:
    """The models that compare.py left of a network, or a cross-validation: the seeds of every fold."""
    folds: dict[tuple[str, str | None], list[Model]] = {}
    for path in sorted(folder.glob("*/model")):
        if found := re.fullmatch(r"seed\d+-fold(\d+)of(\d+)|fold-(\d+)", path.parent.name):
            folds.setdefault((found[1] or found[3], found[2]), []).append(Model.load(path))
    if not folds:
        raise SystemExit(f"{folder} has no models; give that of a network of compare.py, or a cross-validation's.")
    if len({of for _, of in folds}) > 1:
        raise SystemExit(f"{folder} holds folds of different numbers of them: every scan would count several times.")
    seeds = min(map(len, folds.values()))
    return [models[:seeds] for models in folds.values()]


def split(dataset: Path, ensembles: Sequence[Sequence[Model]]) -> tuple[list[HeldOut], list[HeldOut]]:
    """The scans that each ensemble's models were validated on, and those they were trained on.

    Raises ValueError for an ensemble whose models do not go together.
    """
    data = read_dataset(dataset, ensembles[0][0].provenance["plan"]["patient_pattern"])
    held_out, trained = [], []
    for models in ensembles:
        same = {(m.in_plane_spacing, m.slice_axis, m.intensity, m.architecture["num_classes"]) for m in models}
        if len(same) > 1:
            raise ValueError("the models must share in-plane spacing, slice axis, intensity and labels.")
        met = {patient for model in models for patient in model.provenance["training_patients"]}
        validation = set(models[0].provenance["validation_patients"])
        if met & validation:
            raise ValueError("a validation patient of the first model was trained on by another.")
        held_out += [HeldOut(case, models) for case in data.cases if case.patient in validation]
        trained += [HeldOut(case, models) for case in data.cases if case.patient in met]
    if not held_out:
        raise ValueError(
            "the data set has none of the models' validation patients; of a cross-validation give --folds."
        )
    return held_out, trained


def rounded(values):
    """Nested figures as JSON has them, to four places."""
    if isinstance(values, dict):
        return {name: rounded(value) for name, value in values.items()}
    return round(float(values), 4) if isinstance(values, float | np.floating) else values


def named(methods: Sequence[str], models: int) -> list[tuple[str, str, int]]:
    """(name, method, how many of the models)."""
    found = [(name, name, 1) for name in methods]
    if models > 1:
        found += [(words.format(models), name, models) for name, words in OF_ENSEMBLES.items() if name in methods]
    return found


if __name__ == "__main__":
    main()
