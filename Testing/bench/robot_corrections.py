"""What corrected slices teach the others: a robot user corrects slices of a model's result, with *Update the rest*.

    python Testing/bench/robot_corrections.py DATASET --models OUT/fold-{fold}/model --folds folds.json
        [--scans 10] [--reviewed 2] --json FILE

The scans: the ten poorest of the cross-validation, and as many others made worse (noise, gamma, other size). Slices are
reviewed in the product's order, at random, or where the most pixels are wrong; a reviewed slice gets the labels of
the data set. Dice over the slices that were not reviewed, with the update and without.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from degrade import degrade
from robot import Case, Stack, dice

from csam.interactive.fill import UNKNOWN, FillOptions, Structure, fill
from csam.interactive.fill_model import FillModel
from csam.model import Model
from csam.pipeline.segment import segment
from csam.result import Options, Result
from csam.training.dataset import read_dataset, read_folds

PATIENT = r"(.*)_p\d+"
KINDS = ("noise", "low contrast", "smaller")
ORDERS = ("suggested", "random", "oracle")


def made_worse(stack: Stack, kind: str, seed: int) -> Stack:
    """The same case with one of ``degrade.SHIFTS``."""
    image = stack.stack_of(stack.case.image)
    pixels = round(10 / stack.spacing[1])
    image, truth = degrade(image, stack.truth.astype(np.uint8), kind, pixels, seed)
    images = (stack.image_of(image.astype(np.float32)), stack.image_of(truth))
    return Stack.of(Case(f"{stack.case.name}, {kind}", *images))


def after_review(stack: Stack, result: Result, order: str, count: int, filler: FillModel, seed: int) -> tuple:
    """Dice over the unreviewed slices without and with the update."""
    found = stack.stack_of(result.labels) == 1
    places = {stack.index(n): n for n in range(len(found))}
    if order == "suggested":
        reviewed = [places[score.index] for score in result.ranked_slices()[:count]]
    elif order == "oracle":
        reviewed = np.argsort(-(found != stack.truth).sum((1, 2)), kind="stable")[:count].tolist()
    else:
        shown = np.flatnonzero(found.any((1, 2)) | stack.truth.any((1, 2)))
        reviewed = np.random.default_rng(seed).choice(shown, count, replace=False).tolist()
    drawing = np.full(stack.truth.shape, UNKNOWN, np.uint8)
    drawing[reviewed] = stack.truth[reviewed]
    updated = found
    if stack.truth[reviewed].any():
        structures = [Structure(1, "left ventricular cavity")]
        options = FillOptions(device="cpu")
        new = fill(
            stack.case.image,
            stack.image_of(drawing),
            structures,
            filler,
            options,
            stack.image_of(found.astype(np.uint8)),
        )
        updated = stack.stack_of(new.labels) == 1
        assert (updated[reviewed] == stack.truth[reviewed]).all(), "a reviewed slice was changed"
    rest = [n for n in range(len(found)) if n not in reviewed]
    return dice(found[rest], stack.truth[rest]), dice(updated[rest], stack.truth[rest])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--models", required=True)
    parser.add_argument("--folds", required=True)
    parser.add_argument("--scans", type=int, default=10)
    parser.add_argument("--reviewed", type=int, default=2)
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=[*ORDERS])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    filler, scans = FillModel.load(), []
    for fold, (_, cases) in enumerate(read_folds(options.folds, read_dataset(options.dataset, PATIENT))[0]):
        place = Path(options.models.format(fold=fold))
        if not place.exists():
            print(f"fold {fold} is left out: there is no {place}")
            continue
        model = Model.load(place)
        for case in cases:
            image, truth = sitk.ReadImage(str(case.images[0])), sitk.ReadImage(str(case.labels))
            stack = Stack.of(Case(case.name, image, truth == 1))
            result = segment(image, model, Options(device="cpu"))
            scans.append((dice(stack.stack_of(result.labels) == 1, stack.truth), stack, result, model))
    scans.sort(key=lambda scan: scan[0])
    chosen = [(stack, result) for _, stack, result, _ in scans[: options.scans]]
    others = scans[options.scans :]
    others = others[:: max(1, len(others) // options.scans)][: options.scans]
    for number, (_, stack, _, model) in enumerate(others):
        poor = made_worse(stack, KINDS[number % len(KINDS)], number)
        chosen.append((poor, segment(poor.case.image, model, Options(device="cpu"))))
    report = {}
    for order in options.orders:
        rows = []
        for seed, (stack, result) in enumerate(chosen):
            before, after = after_review(stack, result, order, options.reviewed, filler, seed)
            rows.append({"scan": stack.case.name, "without": round(before, 4), "with": round(after, 4)})
            print(order, stack.case.name, f"{before:.3f} {after:.3f}", flush=True)
        gains = np.array([row["with"] - row["without"] for row in rows])
        half = options.scans
        report[order] = {
            "gain_poorest": float(gains[:half].mean()),
            "gain_made_worse": float(gains[half:].mean()),
            "lower_by_0.01": int((gains < -0.01).sum()),
            "rows": rows,
        }
        print(order, {k: v for k, v in report[order].items() if k != "rows"})
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
