"""Boxes round the truth against the whole run, masked: what a region costs on scans that a model has not learned from.

    python Testing/bench/regions.py DATASET --models OUT/fold-{fold}/model --folds Resources/cardiac-lv/folds.json \
        --margins 25 40 --out regions.json

A box leaves so many mm round the truth's bounding box, in its slices and through them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from run_modes import folds_of

from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.measures import dice


def box_of(truth: sitk.Image, margin: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Corners of a box in patient space round all labels, so many mm away."""
    indices = np.argwhere(sitk.GetArrayViewFromImage(truth) > 0)[:, ::-1]
    corners = [
        truth.TransformContinuousIndexToPhysicalPoint(
            [float(v) for v in np.where(which, indices.max(0), indices.min(0))]
        )
        for which in np.ndindex(2, 2, 2)
    ]
    return tuple(np.min(corners, 0) - margin), tuple(np.max(corners, 0) + margin)


def mean_dice(truth: np.ndarray, found: np.ndarray) -> float:
    return float(np.mean([dice(truth == v, found == v) for v in range(1, int(truth.max()) + 1)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--models", required=True, help="folder of a fold's model, {fold} for its number")
    parser.add_argument("--folds", required=True, help="splits_final.json")
    parser.add_argument("--margins", nargs="+", type=float, default=[25.0, 40.0], help="mm")
    parser.add_argument("--samples", type=int, default=Options.samples)
    parser.add_argument("--every", type=int, default=1, help="only every so many scans of a fold")
    parser.add_argument("--out", default="regions.json")
    options = parser.parse_args()
    rows = {}
    for model, cases in folds_of(options):
        for case in cases:
            images, truth = case.read()
            expected = sitk.GetArrayFromImage(truth)
            run = Options(options.samples, device="cpu")
            row = {"whole": mean_dice(expected, sitk.GetArrayFromImage(segment(images, model, run).labels))}
            for margin in options.margins:
                run = Options(options.samples, device="cpu", region=box_of(truth, margin))
                found = sitk.GetArrayFromImage(segment(images, model, run).labels)
                row[f"{margin:g} mm"] = mean_dice(expected, found)
            rows[case.name] = row
            print(case.name, {name: round(value, 4) for name, value in row.items()}, flush=True)
    for name in next(iter(rows.values())):
        found = np.array([[row[name], row["whole"]] for row in rows.values()])
        lowest = (found[:, 0] - found[:, 1]).min()
        print(f"{name:8s} Dice {found[:, 0].mean():.4f}, lowest difference {lowest:+.4f}, {len(found)} scans")
    Path(options.out).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
