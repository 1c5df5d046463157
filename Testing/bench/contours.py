"""Does ``csam calibrate --contours`` bring a model to a hospital that draws its contours elsewhere?

    python Testing/bench/contours.py --json contours.json

The hospital is made: phantoms that no training has seen, with contours moved by so many millimetres. Some of its cases
measure the shift, the others are segmented with and without it. Prints Dice, and the mean relative error of the volume.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from csam.cli import find_model
from csam.image.distance import signed_distance
from csam.image.files import write_image
from csam.model import Model
from csam.phantom.dataset import write_dataset
from csam.result import Options
from csam.training.contours import measured_shift
from csam.training.dataset import Case, read_dataset
from csam.training.evaluate import evaluate

SEED = 8400
"""Of the first phantom; trainings take seeds below."""


def hospital(folder: Path, count: int, distance: float) -> list[Case]:
    """Phantoms with contours so many millimetres outside the true ones."""
    write_dataset(folder, count, SEED, "left-ventricle", False, "diastole")
    for case in read_dataset(folder).cases:
        truth = sitk.ReadImage(str(case.labels))
        mask, spacing = sitk.GetArrayFromImage(truth) > 0, truth.GetSpacing()[1::-1]
        moved = sitk.GetImageFromArray(np.stack([_moved(one, distance, spacing) for one in mask]).astype(np.uint8))
        moved.CopyInformation(truth)
        write_image(moved, case.labels)
    return list(read_dataset(folder).cases)


def _moved(mask: np.ndarray, distance: float, spacing) -> np.ndarray:
    """A slice's structure with its contour moved, told from a grid four times as fine."""
    if not mask.any():
        return mask
    fine = 4
    grown = signed_distance(np.kron(mask, np.ones((fine, fine), bool)), [s / fine for s in spacing]) + distance > 0
    return grown.reshape(mask.shape[0], fine, mask.shape[1], fine).mean((1, 3)) > 0.5


def figures(model: Model, cases: list[Case]) -> dict[str, float]:
    found = list(evaluate(model, cases, Options(device="cpu"), log=lambda line: None))
    errors = [case.volume_ml[0] / case.truth_ml[0] - 1 for case in found]
    return {
        "dice": round(float(np.mean([case.mean_dice for case in found])), 4),
        "lowest": round(min(case.mean_dice for case in found), 4),
        "volume_error": round(float(np.mean(errors)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cardiac-lv")
    parser.add_argument("--distances", nargs="+", type=float, default=[-2.0, -1.4, 0.0, 1.4, 2.0], help="mm, outwards")
    parser.add_argument("--calibrate", type=int, default=3, help="cases that measure the shift")
    parser.add_argument("--others", type=int, default=6, help="cases that are segmented")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, rows = find_model(options.model), []
    print(
        f"{'contours':>9s}{'shift':>8s}{'Dice':>8s}{'lowest':>8s}{'volume':>9s}   with the shift: Dice, lowest, volume"
    )
    for distance in options.distances:
        with tempfile.TemporaryDirectory() as folder:
            cases = hospital(Path(folder), options.calibrate + options.others, distance)
            taught, others = cases[: options.calibrate], cases[options.calibrate :]
            shift = measured_shift(model, taught, log=lambda line: None, device="cpu")
            plain, moved = figures(model, others), figures(replace(model, contour_shift=shift), others)
        rows.append({"contours_mm": distance, "shift_mm": shift, "plain": plain, "shifted": moved})
        told = ["{dice:8.3f}{lowest:8.3f}{volume_error:+9.1%}".format(**one) for one in (plain, moved)]
        print(f"{distance:+9.1f}{shift[1]:+8.2f}{told[0]}   {told[1]}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"model": model.name, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
