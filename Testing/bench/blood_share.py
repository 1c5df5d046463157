"""How much of the labelled cavity is blood? The rest is papillary muscle and trabeculae, which experts count as cavity.

    python Testing/bench/blood_share.py Joined --without SC-N-06 --json blood-share.json

Patients by the group in their names (SC-HYP-03 is of HYP), and phantoms, at both phases. A pixel counts as blood where
it is brighter than halfway between the muscle around the cavity (30th percentile of a ring of 2 to 4 pixels) and the
blood of its slice (95th percentile). Slices are halved along the cavity: towards the base, which comes first in these
stacks, and towards the apex.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import ndimage

from csam.image.geometry import array_of
from csam.phantom.dataset import write_dataset
from csam.phantom.heart import PHASES
from csam.training.dataset import Case, read_dataset

SMALLEST = 8
"""Pixels of cavity that a slice must show to count."""
PHANTOMS = 12


def shares(case: Case) -> tuple[float, float, float]:
    """The mean share of blood in the slices towards base and apex, and the volume of the cavity in millilitres."""
    (image, *_), truth = case.read()
    picture, cavity = array_of(image).astype(float), array_of(truth) == 1
    found = [_share(values, mask) for values, mask in zip(picture, cavity, strict=True) if mask.sum() >= SMALLEST]
    half = len(found) // 2
    return np.mean(found[:half]), np.mean(found[half:]), cavity.sum() * np.prod(truth.GetSpacing()) / 1000


def _share(values: np.ndarray, mask: np.ndarray) -> float:
    ring = ndimage.binary_dilation(mask, iterations=4) & ~ndimage.binary_dilation(mask)
    halfway = (np.percentile(values[ring], 30) + np.percentile(values[mask], 95)) / 2
    return float((values[mask] > halfway).mean())


def summary(found: list[tuple[float, float, float]]) -> dict:
    base, apex, volume = np.transpose(found)
    return {
        "scans": len(found),
        "blood towards the base": round(float(base.mean()), 2),
        "blood towards the apex": round(float(apex.mean()), 2),
        "lowest and highest": np.round([apex.min(), apex.max()], 2).tolist(),
        "cavity in ml": round(float(volume.mean())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--without", nargs="*", default=(), help="patients to leave out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    of_patient, groups = defaultdict(list), defaultdict(list)
    for case in read_dataset(options.dataset, "(.*)_p").cases:
        if case.patient not in options.without:
            of_patient[case.patient].append(shares(case))
    for patient, scans in of_patient.items():
        for phase, scan in zip(PHASES, sorted(scans, key=lambda s: -s[2]), strict=False):
            groups[f"{patient.split('-', 1)[1].rsplit('-', 1)[0]}, {phase}"].append(scan)
    for thick in (False, True):
        for phase in PHASES:
            with tempfile.TemporaryDirectory() as folder:
                write_dataset(folder, PHANTOMS, 8000, "left-ventricle", thick, phase)
                cases = read_dataset(folder).cases
                groups[f"{'thick-walled ' * thick}phantoms, {phase}"] = [shares(case) for case in cases]
    report = {name: summary(found) for name, found in sorted(groups.items())}
    print(json.dumps(report, indent=1))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
