"""The ways to run a model side by side on cross-validated scans: error probability, Dice and seconds of each.

    python Testing/bench/run_modes.py DATASET --models OUT/fold-{fold}/model --folds Resources/cardiac-lv/folds.json \
        --out modes.json

Ways: "augmented", every orientation over tiles everywhere, as before issue 21; "full", one orientation over the same
tiles; "focused", the default run; "single", the same in one orientation; a number is that of the samples. A third part
says which error probability is stated before calibration: "plain", 1 - p; "smoothed", as in models with an earlier
calibration; without one, that of the product. Each is measured with its own calibration, cross-fitted, and each scan's
Dice is compared with that of the first way named.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from csam.model import Calibration, Model
from csam.pipeline.segment import segment
from csam.pipeline.sliding_window import Sampling
from csam.result import Options, Result
from csam.training.calibrate import cross_fitted
from csam.training.dataset import Case, read_dataset, read_folds
from csam.training.evaluate import CaseMeasures, measure
from csam.training.measures import NOMINAL, mean
from csam.training.summary import summarise
from csam.uncertainty.expected_error import stated_error

WAYS = ("full-4", "focused-4", "augmented-8")
PATIENT = r"(.*)_p\d+"


def run(model: Model, images, way: str) -> Result:
    """One way of running a model, on the CPU."""
    kind, samples, *stated = way.split("-")
    options = Options(int(samples), device="cpu", test_time_augmentation=kind == "augmented")

    def sampling(*args, focused: bool, **rest) -> Sampling:
        if kind in ("full", "single"):
            rest["orientations"] = model.orientations[:1]
        return Sampling(*args, focused=focused and kind != "full", **rest)

    def error(error_probability: np.ndarray, width: tuple[float, float], keeps_peaks: bool) -> np.ndarray:
        if stated == ["plain"]:
            return error_probability
        return stated_error(error_probability, width, keeps_peaks=not stated)

    with patch("csam.pipeline.segment.Sampling", sampling), patch("csam.pipeline.native_grid.stated_error", error):
        return segment(images, model, options)


def folds_of(options: argparse.Namespace) -> list[tuple[Model, list[Case]]]:
    """Every fold's model, without calibration, and the scans that it has not learned from."""
    data = read_dataset(options.dataset, PATIENT)
    found = []
    for fold, (_, cases) in enumerate(read_folds(options.folds, data)[0]):
        folder = Path(options.models.format(fold=fold))
        if (folder / "model.json").is_file():
            model = replace(Model.load(folder), calibration=Calibration(), augmented_calibration=Calibration())
            found.append((model, list(cases)[:: options.every]))
    return found


def figures(cases: Sequence[CaseMeasures], model: Model) -> dict:
    """Of one way, after its own calibration. interval_score: Gneiting & Raftery 2007, relative to the volume."""
    assessed = cross_fitted(cases, [label.value for label in model.labels])
    found = summarise(assessed, [label.name for label in model.labels])
    found["interval_score"] = mean(
        [
            (high - low + 2 / (1 - NOMINAL) * max(low - true, true - high, 0)) / true
            for case in assessed
            for true, (low, _, high) in zip(case.truth_ml, case.intervals_ml, strict=True)
            if true
        ]
    )
    return found


SHOWN = ("dice_mean", "hausdorff", "roi_calibration_error", "voxel_error_auroc", "voxel_error_aupr")
SHOWN += ("case_quality_spearman", "interval_coverage", "interval_score")
SHOWN += ("slice_spearman", "worst_slice_in_first_three")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--models", required=True, help="folder of a fold's model, {fold} for its number")
    parser.add_argument("--folds", required=True, help="splits_final.json")
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--every", type=int, default=1, help="only every so many scans of a fold")
    parser.add_argument("--out", default="modes.json")
    options = parser.parse_args()
    measured, seconds = {way: [] for way in options.ways}, dict.fromkeys(options.ways, 0.0)
    for model, cases in folds_of(options):
        values = [label.value for label in model.labels]
        for case in cases:
            images, truth = case.read()
            for way in options.ways:
                start = time.perf_counter()
                result = run(model, images, way)
                seconds[way] += time.perf_counter() - start
                measured[way].append(measure(case, truth, result, values))
            print(case.name, *(f"{measured[way][-1].mean_dice:.4f}" for way in options.ways), flush=True)
    report = {}
    for way, cases in measured.items():
        against = np.subtract([c.mean_dice for c in cases], [c.mean_dice for c in measured[options.ways[0]]])
        found = figures(cases, model)
        found["hausdorff"] = mean([mean([h for h in c.hausdorff_mm if h is not None]) for c in cases])
        report[way] = found | {
            "seconds": seconds[way],
            "worst_difference_of_dice": float(against.min()),
            "cases_dice": {c.name: c.mean_dice for c in cases},
        }
        print(f"{way:12s} {seconds[way]:7.1f} s  worst scan {against.min():+.4f} (SD {against.std():.4f}) ", end="")
        print(*(f"{name} {found[name]:.4f}" for name in SHOWN if found.get(name) is not None))
    Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
