"""How sure is a model of a wall beyond the cavity? The bound is ``csam.pipeline.native_grid.SURE``.

    python Testing/bench/end_slices.py --phantoms 12 --data DATASET --json end-slices.json

Slices that show the one structure (the label with ``slices_of``) without the other, before the first or behind the
last that shows the other: in how many of them does the truth show that structure, and how sure is the model there (mean
probability, of one structure or another, where it was found)? Beside it, the same mean in slices that show both.
Phantoms: hearts that no training has seen, each at both phases and with thick walls as well, with two sizes of pixels.
DATASET: the model has learned from its scans if it is one that ships; so of them this tells what the bound would lose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from csam.cli import find_model
from csam.model import Model
from csam.phantom import cine_stack
from csam.phantom.heart import PHASES
from csam.pipeline.native_grid import SURE
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.dataset import read_dataset

SEED = 9000
"""Of the first phantom; trainings take seeds below, and so do the phantoms of left_ventricle.py."""
GRIDS = ((192, 1.6), (128, 2.5))
"""Pixels along a side, and their size in mm."""


def phantoms(count: int) -> Iterator[tuple[sitk.Image, np.ndarray]]:
    for number, thick, phase, (size, pixel) in product(range(count), (False, True), PHASES, GRIDS):
        stack = cine_stack(SEED + number, size=size, spacing=(pixel, pixel, 8.0), phase=phase, thick_walled=thick)
        yield stack.image, sitk.GetArrayFromImage(stack.labels)


def scans(folder: str) -> Iterator[tuple[list[sitk.Image], np.ndarray]]:
    for case in read_dataset(folder, "(.*)_p").cases:
        images, truth = case.read()
        yield images, sitk.GetArrayFromImage(truth)


def told(model: Model, stacks: Iterator) -> dict:
    """Of all slices: those that show both structures, and those beyond them."""
    wall = next(label for label in model.labels if label.slices_of)
    free = replace(model, labels=tuple(replace(label, slices_of=0) for label in model.labels))
    both, beyond, shown_there, slices, empty, false, left = [], [], 0, 0, 0, 0, 0
    for images, truth in stacks:
        result = segment(images, free, Options(device="cpu", keep_probabilities=True))
        labels = sitk.GetArrayFromImage(result.labels)
        foreground = 1 - sitk.GetArrayFromImage(result.probabilities)[..., 0]
        shown = np.flatnonzero((labels == wall.slices_of).any((1, 2)))
        nothing = ~np.isin(truth, [label.value for label in model.labels]).any((1, 2))
        found = (labels > 0).any((1, 2))
        slices, empty, false = slices + len(labels), empty + int(nothing.sum()), false + int((nothing & found).sum())
        left += int((nothing & found).sum())
        for here in np.flatnonzero((labels == wall.value).any((1, 2))):
            mean = float(foreground[here][labels[here] == wall.value].mean())
            if here in shown:
                both.append(mean)
            elif len(shown) and not shown[0] < here < shown[-1]:
                beyond.append(mean)
                shown_there += not nothing[here]
                left -= int(nothing[here] and mean < SURE)
    return {
        "slices": slices,
        "slices that show both": len(both),
        "lowest mean probability in them": round(min(both), 3) if both else None,
        "slices that show the wall beyond": len(beyond),
        "of these, shown by the truth": shown_there,
        "highest mean probability in them": round(max(beyond), 3) if beyond else None,
        "slices without a structure": empty,
        "of these, false": false,
        "of these, false with the bound": left,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cardiac-lv-myo")
    parser.add_argument("--phantoms", type=int, default=12)
    parser.add_argument("--data")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = find_model(options.model)
    report = {"model": model.name, "version": model.version, "bound": SURE}
    report |= {"phantoms": told(model, phantoms(options.phantoms))} if options.phantoms else {}
    report |= {Path(options.data).name: told(model, scans(options.data))} if options.data else {}
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
