"""Do a data set's labels lie where its pictures show the structure? The shift that moves them onto a model's outline.

    python Testing/bench/label_offset.py Dataset101_CardiacLV --without SC-N-06 --json label-offset.json

The model has to have learned from turned pictures (free_orientation). Each stack is segmented as it is and turned by
180 degrees, so that what the network itself adds cancels out. What is left is the labels': a network that sees pictures
any way up cannot have learned a shift. The shift is that of least squares between both masks, in pixels, rows and
columns.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from csam.cli.files import find_model
from csam.image.geometry import array_of, like
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.dataset import read_dataset

ROUNDS, SETTLED = 20, 1e-3
"""Steps of Gauss and Newton at most; pixels, from which on they end."""


def found_by(model, image: sitk.Image) -> np.ndarray:
    """The mean of the first structure's masks in the stack as it is and turned by 180 degrees."""
    values, masks = array_of(image), []
    for way in (np.s_[:], np.s_[:, ::-1, ::-1]):
        stack = like(np.ascontiguousarray(values[way]), image)
        masks.append((array_of(segment([stack], model, Options(device="cpu")).labels) == 1)[way])
    return np.mean(masks, 0)


def shift_between(labels: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Rows and columns, in pixels, that move ``labels`` onto ``found``, both (S, H, W); slices with both count."""
    both = labels.any((1, 2)) & found.any((1, 2))
    smooth = (0, 1, 1)
    ours, theirs = (ndimage.gaussian_filter(mask[both].astype(float), smooth) for mask in (labels, found))
    shift = np.zeros(2)
    for _ in range(ROUNDS):
        moved = ndimage.shift(ours, (0, *shift), order=1)
        slopes = np.stack([np.gradient(moved, axis=axis).ravel() for axis in (1, 2)], 1)
        step = -np.linalg.lstsq(slopes, (theirs - moved).ravel(), rcond=None)[0]
        shift += step
        if np.abs(step).max() < SETTLED:
            break
    return shift


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--model", default="cardiac-lv")
    parser.add_argument("--without", nargs="*", default=(), help="beginnings of the names of cases to leave out")
    parser.add_argument("--every", type=int, default=1, help="only every so many cases")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, shifts = find_model(options.model), {}
    for case in read_dataset(options.dataset).cases[:: options.every]:
        if case.name.startswith(tuple(options.without)):
            continue
        (image,), truth = case.read()
        labels, found = array_of(truth) == 1, found_by(model, image)
        if not (labels.any((1, 2)) & found.any((1, 2))).any():
            print(f"{case.name}: left out, no slice shows both")
            continue
        shifts[case.name] = shift_between(labels, found).tolist()
        print(case.name, *(f"{pixels:+.2f}" for pixels in shifts[case.name]), flush=True)
    values = np.array(list(shifts.values()))
    mean, deviation = values.mean(0), values.std(0, ddof=1)
    error = deviation / np.sqrt(len(values))
    print(f"{len(values)} cases; rows, columns: {mean.round(2)} pixels, SD {deviation.round(2)}, SE {error.round(2)}")
    if options.json:
        report = {"mean": mean.tolist(), "sd": deviation.tolist(), "standard_error": error.tolist(), "cases": shifts}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
