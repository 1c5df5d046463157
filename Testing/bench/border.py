"""How much of the wrong voxels can be found at all? The error map against the distance to the border, by Dice.

    python Testing/bench/border.py DATASET --folds out/bench/compare/DATASET/2000-steps/csam --without SC-N-06

Every scan is assessed by the model of its fold, as the product runs it. The distance alone knows nothing of the image:
what it finds is owed to errors lying along the border, whoever drew it. And a finder that is taught with the truth of
the other patients (findable.py) tells what a learned map could find. Prints the table, writes OUT as JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from compare_uncertainty import from_folds, rounded, split
from findable import cross_fitted, features
from paired import public

from csam.image import geometry
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training import measures
from csam.training.evaluate import region_of_interest

OUT = Path("out/bench/border.json")
BY_DICE = (0.0, 0.88, 0.91, 0.93, 0.95, 1.0)


def border_distance(found: sitk.Image) -> np.ndarray:
    """Distance of every voxel (k, j, i) to the border of what was found, mm."""
    signed = sitk.SignedMaurerDistanceMap(found > 0, squaredDistance=False, useImageSpacing=True)
    return np.abs(sitk.GetArrayFromImage(signed))


def assess(case, model, samples: int) -> tuple[dict, np.ndarray, np.ndarray]:
    """One scan: how many voxels of the region are wrong, how far from the border, and how well they are found.

    And of the region's voxels what a finder may know of them, and whether they are wrong.
    """
    images, truth = case.read()
    result = segment(images, model, Options(samples, keep_probabilities=True))
    found = sitk.GetImageFromArray(sitk.GetArrayFromImage(result.labels))
    found.CopyInformation(truth)
    expected, labels = sitk.GetArrayFromImage(truth), sitk.GetArrayFromImage(found)
    region = region_of_interest((expected > 0) | (labels > 0), truth)
    wrong, away = (expected != labels)[region], border_distance(found)[region]
    chance, probabilities, image = map(
        sitk.GetArrayFromImage, (result.error_probability, result.probabilities, images[0])
    )
    stack = geometry.orientation(truth.GetDirection(), result.slice_axis).to_stack
    known = features(*map(stack, (chance, 1 - probabilities[..., 0], labels > 0, image.astype(np.float32))))
    figures = {
        "Dice": measures.dice(expected > 0, labels > 0),
        "wrong share of region": wrong.mean(),
        "wrong voxels' median distance, mm": np.median(away[wrong]) if wrong.any() else None,
        "AUROC of the map": measures.error_auroc(chance[region], wrong),
        "AUROC of the distance": measures.error_auroc(-away, wrong),
    }
    return figures, known[stack(region)], stack(expected != labels)[stack(region)]


def by_dice(scans: list[dict]) -> dict[str, dict]:
    """The means of the scans between two Dice coefficients, and of all."""
    limits = [*pairwise(BY_DICE), (BY_DICE[0], BY_DICE[-1])]
    groups = {
        f"Dice {low:.2f} to {high:.2f}": [s for s in scans if low <= s["Dice"] < high or s["Dice"] == high == 1]
        for low, high in limits
    }
    return {
        words: {"scans": len(group)} | {name: measures.mean([scan[name] for scan in group]) for name in group[0]}
        for words, group in groups.items()
        if group
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--folds", type=Path, required=True, help="a network's folder that compare.py left")
    parser.add_argument("--without", default="(?!)", help="regular expression: scans not to measure")
    parser.add_argument("--samples", type=int, default=Options.samples)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    held_out, _ = split(options.dataset, from_folds(options.folds))
    held_out = [held for held in held_out if not re.search(options.without, held.case.name)]
    figures, known, wrong = zip(*(assess(held.case, held.models[0], options.samples) for held in held_out), strict=True)
    told = cross_fitted(known, wrong, [held.case.patient for held in held_out])
    for scan, chance, truth in zip(figures, told, wrong, strict=True):
        scan["AUROC of a learned finder"] = measures.error_auroc(chance, truth)
    scans = {held.case.name: scan for held, scan in zip(held_out, figures, strict=True)}
    table = by_dice([scan for scan in scans.values() if scan["Dice"] is not None])
    for words, row in table.items():
        print(words, *(f"{name} {value:.3g}" for name, value in row.items() if value is not None), sep="  ")
    command = shlex.join(["python", "Testing/bench/border.py", *public(sys.argv[1:])])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    values = rounded({"command": command, "by Dice": table, "scans": scans})
    options.out.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
