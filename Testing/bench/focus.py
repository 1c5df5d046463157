"""Does the default run, which samples only where a first pass found something, lose a structure that a full run finds?

    python Testing/bench/focus.py --phantoms 8 --scans DATASET=MODEL ... --out focus.json

Phantoms, with the shipped model: two hearts in one wide image, a heart cut by the image's border, small hearts. Scans:
those of a data set that a model was validated on, or all. "Full" takes all samples over tiles everywhere. A piece is a
connected part of a structure of the full run's labels, and lost where none of its voxels has the label in the default
run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from run_modes import run
from scipy import ndimage

import csam
from csam.model import Model
from csam.phantom import cine_stack
from csam.training.dataset import read_dataset
from csam.training.measures import dice, mean

SHIPPED = Path(csam.__file__).resolve().parents[1] / "Resources/Models/cardiac-lv"
CAVITY = 1
SMALLEST_ML = 0.1
"""Pieces of less are specks that come and go with every sample."""


def phantoms(count: int) -> Iterator[tuple[str, str, sitk.Image, np.ndarray]]:
    """Group, name, image, truth (k, j, i)."""
    for seed in range(count):
        heart, other = cine_stack(seed, slices=9), cine_stack(seed + 100, slices=9)
        spacing = heart.image.GetSpacing()
        pixels, truth = (sitk.GetArrayFromImage(i) for i in (heart.image, heart.labels))
        beside, truth_beside = (sitk.GetArrayFromImage(i) for i in (other.image, other.labels))
        both = [np.concatenate(pair, 2) for pair in ((pixels, beside), (truth, truth_beside))]
        yield "two hearts", f"phantom {seed}", image_of(both[0], spacing), both[1] == CAVITY
        rows, columns = (int(np.mean(at)) for at in np.nonzero(truth == CAVITY)[1:])
        cut = np.s_[:, rows:, columns:]
        yield "cut by the border", f"phantom {seed}", image_of(pixels[cut], spacing), truth[cut] == CAVITY
        for share in (0.6, 0.45):
            small = (*(share * s for s in spacing[:2]), spacing[2])
            wide = np.pad(pixels, ((0, 0), *[[pixels.shape[1] // 2] * 2] * 2))
            wide_truth = np.pad(truth == CAVITY, ((0, 0), *[[pixels.shape[1] // 2] * 2] * 2))
            yield f"small, {share:g} times as wide", f"phantom {seed}", image_of(wide, small), wide_truth


def image_of(array: np.ndarray, spacing) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing)
    return image


def compared(images, truth: np.ndarray, model: Model) -> dict:
    """Dice of both ways, and the pieces of the full run that are lost, in ml."""
    # All pieces count: which of two hearts is the larger one is another question.
    model = replace(model, labels=tuple(replace(label, connected=False) for label in model.labels))
    full, focused = (sitk.GetArrayFromImage(run(model, images, way).labels) for way in ("full-4", "focused-4"))
    ml = np.prod((images if isinstance(images, sitk.Image) else images[0]).GetSpacing()) / 1000
    pieces, lost = 0, []
    for label in model.labels:
        found, count = ndimage.label(full == label.value, np.ones((3, 3, 3)))
        for piece in range(1, count + 1):
            size = np.count_nonzero(found == piece) * ml
            if size >= SMALLEST_ML:
                pieces += 1
                lost += [] if (focused[found == piece] == label.value).any() else [size]
    values = [label.value for label in model.labels if (truth == label.value).any()]
    both = [mean([dice(truth == v, way == v) for v in values]) for way in (full, focused)]
    structures = [sum(bool((way == v).any()) for v in values) for way in (full, focused)]
    return {"pieces": pieces, "lost_ml": lost, "dice": both, "structures_found": structures, "structures": len(values)}


def scans(folder: str, model: Model) -> Iterator[tuple[str, list, np.ndarray]]:
    for case in read_dataset(folder).cases:
        images, truth = case.read()
        yield case.name, images, sitk.GetArrayFromImage(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=8)
    parser.add_argument("--scans", nargs="*", default=[], metavar="DATASET=MODEL")
    parser.add_argument("--every", type=int, default=1, help="only every so many scans of a data set")
    parser.add_argument("--out", default="focus.json")
    options = parser.parse_args()
    rows, shipped = {}, Model.load(SHIPPED)

    def add(group: str, name: str, images, truth: np.ndarray, model: Model) -> None:
        row = rows.setdefault(group, {})[name] = compared(images, truth, model)
        print(f"{group:28s} {name:28s}", row, flush=True)

    for group, name, image, truth in phantoms(options.phantoms):
        add(group, name, image, truth.astype(np.uint8), shipped)
    for pair in options.scans:
        folder, model = pair.split("=")
        for name, images, truth in list(scans(folder, Model.load(model)))[:: options.every]:
            add(Path(folder).name, name, images, truth, Model.load(model))
    report = {}
    for group, found in rows.items():
        dices = np.array([row["dice"] for row in found.values()])
        report[group] = {
            "images": len(found),
            "pieces": sum(row["pieces"] for row in found.values()),
            "lost": sum(len(row["lost_ml"]) for row in found.values()),
            "structures_found_full_and_default": np.sum([r["structures_found"] for r in found.values()], 0).tolist(),
            "dice_full_and_default": dices.mean(0).tolist(),
            "lowest_difference_of_dice": float((dices[:, 1] - dices[:, 0]).min()),
            "each": found,
        }
        print(group, {name: value for name, value in report[group].items() if name != "each"})
    Path(options.out).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
