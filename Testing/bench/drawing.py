"""How well can a structure inside an outer contour be met at all, if experts draw differently from patient to patient?

    python Testing/bench/drawing.py DATASET --models 'OUT/fold-{fold}/model' --folds Resources/cardiac-lv/folds.json \
        --json drawing.json

Each fold's model segments the patients that are unseen to it. Then the truth of each scan helps: the contour of the
myocardium and that of the cavity are each moved outwards or inwards by the distance that suits this scan best, the same
in all of its slices, and both together along rows and columns. What a result still lacks with the best of all these
combinations, it lacks for other reasons than one thickness and one place for each scan. Dice of the myocardium.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from csam.image.distance import signed_distance
from csam.model import Model
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.dataset import read_dataset, read_folds
from csam.training.measures import dice

CAVITY, MYOCARDIUM = 1, 2
MARGINS = np.arange(-2.5, 2.6, 0.5)
"""mm by which a contour is moved outwards."""
STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Pixels by which both are moved along rows and columns."""
ROOM = 5
"""Pixels around both that take part."""
WAYS = {"as found": (False, False), "margins": (True, False), "place": (False, True), "margins and place": (True, True)}
"""Whether contours may be moved in and out, and along rows and columns."""


def scans(folder: str, models: str, folds: str) -> Iterator[tuple[str, np.ndarray, np.ndarray, tuple[float, float]]]:
    """Name, labels found, truth, and the spacing of rows and columns, of scans with a labelled myocardium."""
    for number, (_, cases) in enumerate(read_folds(folds, read_dataset(folder, "(.*)_p"))[0]):
        model = Model.load(models.format(fold=number))
        for case in cases:
            images, truth = case.read()
            truth = sitk.GetArrayFromImage(truth)
            if (truth == MYOCARDIUM).any():
                found = sitk.GetArrayFromImage(segment(images, model, Options(device="cpu")).labels)
                yield case.name, found, truth, images[0].GetSpacing()[1::-1]


def moved(distance: np.ndarray, rows: float, columns: float) -> np.ndarray:
    return ndimage.shift(distance, (0, rows, columns), order=1, mode="nearest")


def helped(found: np.ndarray, truth: np.ndarray, spacing: tuple[float, float]) -> dict[str, float]:
    """Dice of the myocardium as found, and with what suits this scan best."""
    found, truth = (array[near(found, truth)] for array in (found, truth))
    wanted = truth == MYOCARDIUM
    outer, inner = (
        np.stack([signed_distance(mask, spacing) for mask in masks]) for masks in (found > 0, found == CAVITY)
    )
    best = dict.fromkeys(WAYS, 0.0)
    for rows, columns in product(STEPS, STEPS):
        large, small = (moved(distance, rows, columns) for distance in (outer, inner))
        for out, into in product(MARGINS, MARGINS):
            met = dice((large > -out) & ~(small > -into), wanted)
            moves, grows = bool(rows or columns), bool(out or into)
            for way, (may_grow, may_move) in WAYS.items():
                if moves <= may_move and grows <= may_grow:
                    best[way] = max(best[way], met)
    return best


def near(found: np.ndarray, truth: np.ndarray) -> tuple[slice, ...]:
    """All slices, and the rows and columns where either shows something, with room to move."""
    there = ((found > 0) | (truth > 0)).any(0)
    at = [np.flatnonzero(there.any(1 - axis)) for axis in (0, 1)]
    return slice(None), *(slice(max(0, int(i[0]) - ROOM), int(i[-1]) + ROOM + 1) for i in at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--models", required=True, help="folder of a fold's model, {fold} for its number")
    parser.add_argument("--folds", required=True, help="splits_final.json")
    parser.add_argument("--json", default="drawing.json")
    options = parser.parse_args()
    each = {}
    for name, *rest in scans(options.dataset, options.models, options.folds):
        each[name] = {way: round(float(value), 4) for way, value in helped(*rest).items()}
        print(name, each[name], flush=True)
    mean = {way: round(float(np.mean([row[way] for row in each.values()])), 4) for way in next(iter(each.values()))}
    print("mean of", len(each), mean)
    Path(options.json).write_text(json.dumps({"scans": len(each), "mean": mean, "each": each}, indent=1) + "\n")


if __name__ == "__main__":
    main()
