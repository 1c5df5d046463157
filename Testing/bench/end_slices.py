"""How sure is a model of a wall beyond the cavity? The bound is ``csam.uncertainty.continuity.SURE``.

    python Testing/bench/end_slices.py --phantoms 12 --data DATASET --json end-slices.json

Of the slices that show the wall (the label with ``slices_of``) before the first or behind the last one that shows the
cavity (the structure that it names): in how many does the truth show anything, how sure is the model there (mean
probability, of one structure or another, where it found the wall), and how many false slices remain without them?
Phantoms: hearts that no training has seen, each at both phases and with thick walls as well, with two sizes of pixels.
DATASET: the model has learned from its scans if it is one that ships; so of them this tells what the bound would lose.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
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
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.dataset import read_dataset
from csam.uncertainty import continuity

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
    """Of all slices: what the truth and the model show in them, and what the model shows beyond the other structure."""
    wall = next(label for label in model.labels if label.slices_of)
    free = replace(model, labels=tuple(replace(label, slices_of=0) for label in model.labels))
    count, sure = Counter(), []
    for images, truth in stacks:
        result = segment(images, free, Options(device="cpu", keep_probabilities=True))
        labels = sitk.GetArrayFromImage(result.labels)
        background = sitk.GetArrayFromImage(result.probabilities)[..., 0]
        (found, cavity), (true, true_cavity) = ((a == wall.value, a == wall.slices_of) for a in (labels, truth))
        shown, nothing = np.flatnonzero(cavity.any((1, 2))), ~(true | true_cavity).any((1, 2))
        left_out = found & continuity.unsure_ends(found, cavity, background)[:, None, None]
        count["slices"] += len(labels)
        count["the truth shows the wall"] += int(true.any((1, 2)).sum())
        count["... without the cavity"] += int((true.any((1, 2)) & ~true_cavity.any((1, 2))).sum())
        count["nothing in the truth"] += int(nothing.sum())
        count["... something found"] += int((nothing & (found | cavity).any((1, 2))).sum())
        kept = ((found & ~left_out) | cavity).any((1, 2))
        count["... something found and not left out"] += int((nothing & kept).sum())
        for here in np.flatnonzero(found.any((1, 2))) if len(shown) else ():
            if not shown[0] <= here <= shown[-1]:
                sure.append(1 - float(background[here][found[here]].mean()))
                count["the wall found beyond the cavity"] += 1
                count["... left out"] += int(left_out[here].any())
                count["... something in the truth"] += int(not nothing[here])
    return {**count, "highest mean probability beyond the cavity": round(max(sure, default=0.0), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cardiac-lv-myo")
    parser.add_argument("--phantoms", type=int, default=12)
    parser.add_argument("--data")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = find_model(options.model)
    if not any(label.slices_of for label in model.labels):
        parser.error(f"{model.name} has no structure that goes with the slices of another one.")
    report = {"model": model.name, "version": model.version, "bound": continuity.SURE}
    report |= {"phantoms": told(model, phantoms(options.phantoms))} if options.phantoms else {}
    report |= {Path(options.data).name: told(model, scans(options.data))} if options.data else {}
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
