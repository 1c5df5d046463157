"""Calibrates the network that fills slices, on robot users' rounds over scans that it has not learned from.

    python Testing/bench/fill_calibrate.py DATASET --label NAME --patients FOLDS.json 0 1 --phantoms 4 --model FOLDER

Every third stack of the patients in the validation lists of those folds, and the myocardium of phantoms; two, three or
five slices drawn, in turn. Writes the map of error probabilities, the factor of the volume's interval and that of the
expected Dice into the folder's fill.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from robot import REACH_MM, Case, Stack, cases_of, dice, evenly
from sklearn.isotonic import IsotonicRegression

from csam.image import geometry
from csam.interactive.fill import FillOptions, Structure, fill
from csam.interactive.fill_model import SHIPPED, FillCalibration, FillModel
from csam.interactive.interpolation import signed_distance

IN_TURN = (3, 2, 5)
NOMINAL = 0.9
KNOTS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)


def cases(options: argparse.Namespace) -> list[Case]:
    folds = json.loads(Path(options.patients[0]).read_text("utf-8"))
    unseen = {name for fold in options.patients[1:] for name in folds[int(fold)]["val"]}
    found = [case for case in cases_of(options.dataset, options.label, None) if case.name.split("_p")[0] in unseen]
    return [*found[::3], *cases_of("phantoms", ["myocardium"], options.phantoms, first=9000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--label", nargs="+", required=True)
    parser.add_argument("--patients", nargs="+", required=True, help="a file of folds, and the numbers of some")
    parser.add_argument("--phantoms", type=int, default=4)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    options = parser.parse_args()
    model = replace(FillModel.load(options.model), calibration=FillCalibration())
    stated, wrong, volumes, lacks = [], [], [], []
    for number, case in enumerate(cases(options)):
        stack = Stack.of(case)
        drawn = evenly(stack.there, IN_TURN[number % len(IN_TURN)])
        inner = [n for n in range(drawn[0], drawn[-1]) if n not in drawn]
        if not inner:
            continue
        result = fill(case.image, stack.drawing(drawn), [Structure(1, "structure")], model, FillOptions(device="cpu"))
        found, truth = stack.stack_of(result.labels)[inner] > 0, stack.truth[inner]
        pairs = zip(found, truth, strict=True)
        near = [np.maximum(*(signed_distance(m, stack.spacing[1:]) for m in pair)) > -REACH_MM for pair in pairs]
        stated.append(stack.stack_of(result.error_probability)[inner][np.stack(near)])
        wrong.append((found != truth)[np.stack(near)])
        volume, part = result.structures[0], sorted([*inner, *drawn])
        true_ml = stack.truth[part].sum() * geometry.voxel_volume(case.image) / 1000
        volumes.append(abs(true_ml - volume.volume_ml) / max(volume.high_ml - volume.volume_ml, 1e-6))
        whole = dice(stack.stack_of(result.labels)[part] > 0, stack.truth[part])
        lacks.append((1 - result.case_quality, 1 - whole))
        print(
            f"{case.name}: {len(drawn)} drawn, Dice {dice(found, truth):.3f}, error / half interval {volumes[-1]:.2f}"
        )
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in stated])  # every case counts the same
    rising = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    rising.fit(np.concatenate(stated), np.concatenate(wrong), weights)
    level = min(1.0, np.ceil(NOMINAL * (len(volumes) + 1)) / len(volumes))  # conformal
    expected, true = np.mean(lacks, 0)
    calibration = FillCalibration(
        (*((knot, round(float(rising.predict([knot])[0]), 4)) for knot in KNOTS), (1.0, 1.0)),
        round(float(np.quantile(volumes, level, method="higher")), 3),
        round(float(true / expected), 3),
    )
    print(calibration)
    replace(model, calibration=calibration).save(options.model)


if __name__ == "__main__":
    main()
