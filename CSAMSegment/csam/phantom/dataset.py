"""Cardiac phantoms as a data set in nnU-Net's raw layout, for training, benchmarks and trying things out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from ..image import files
from ..image.distance import signed_distance
from .heart import LABELS, PHASES, cine_stack

NAME = "CSAM cardiac phantoms"
SLICES = (12, 11, 13, 10)
STRUCTURES = {
    "all": LABELS,
    "left-ventricle": {"left ventricular cavity": 1},
    "whole-left-ventricle": {"left ventricular cavity": 1, "left ventricular myocardium": 2},
}
"""What may be labelled, with the first of the phantoms' label values."""


def write_dataset(
    out: str | Path,
    count: int,
    seed: int = 0,
    structure: str = "all",
    thick_walled: bool = False,
    phase: str = "",
    wall_drawn_thinner: float = 0.0,
) -> None:
    """Writes ``count`` phantoms, seeds counting up from ``seed``; the number of slices alternates.

    structure: one of STRUCTURES. thick_walled: see ``cine_stack``. phase: of all of them; without one it alternates.
    wall_drawn_thinner: by so many mm the myocardium is labelled thinner than it is, from outside, as experts draw it
    who leave out the dark line around the heart. Beside the cavity, a pixel of it stays.
    Raises InputError for a number that is none, or structures without a myocardium to draw.
    """
    if count < 1:
        raise InputError(f"{count} phantoms were asked for; give at least 1.")
    kept = STRUCTURES[structure]
    if not 0 <= wall_drawn_thinner < math.inf or (wall_drawn_thinner and max(kept.values()) < LABELS["myocardium"]):
        raise InputError(
            f"The wall of the structures {structure} was to be drawn {wall_drawn_thinner:g} mm thinner; give 0 mm or "
            "more, and structures with a myocardium."
        )
    out = Path(out)
    labels = {"background": 0, **kept}
    _check_ours(out / "dataset.json", labels)
    for folder in ("imagesTr", "labelsTr"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        at = phase or PHASES[number % 2]
        phantom = cine_stack(seed + number, slices=SLICES[number % 4], phase=at, thick_walled=thick_walled)
        truth = _thinner(sitk.Threshold(phantom.labels, 0, max(kept.values()), 0), wall_drawn_thinner)
        name = f"phantom_{seed + number:05d}"
        files.write_image(phantom.image, out / "imagesTr" / f"{name}_0000.nii.gz")
        files.write_image(truth, out / "labelsTr" / f"{name}.nii.gz")
    info = {
        "name": NAME,
        "channel_names": {"0": "cine MR short axis"},
        "labels": labels,
        "numTraining": len(list((out / "labelsTr").glob("*.nii.gz"))),
        "file_ending": ".nii.gz",
        "licence": "CC0 1.0",
    }
    (out / "dataset.json").write_text(json.dumps(info, indent=2) + "\n")


def _thinner(labels: sitk.Image, by: float) -> sitk.Image:
    """Labels whose myocardium ends ``by`` mm further in."""
    if by <= 0:
        return labels
    array = sitk.GetArrayFromImage(labels)
    spacing = labels.GetSpacing()[1::-1]
    for picture in array:
        cavity, wall = (picture == LABELS[name] for name in ("left ventricular cavity", "myocardium"))
        outside = signed_distance(cavity | wall, spacing) < by + max(spacing) / 2  # the outline runs between pixels
        beside = signed_distance(cavity, spacing) < -1.01 * max(spacing)
        picture[wall & outside & beside] = 0
    thinner = sitk.GetImageFromArray(array)
    thinner.CopyInformation(labels)
    return thinner


def _check_ours(path: Path, labels: dict[str, int]) -> None:
    """Raises InputError where the folder holds another data set, or phantoms with other labels."""
    if not path.exists():
        return
    try:
        info = files.read_json(path)
        name, there = info.get("name"), info.get("labels")
    except (ValueError, AttributeError):
        name = there = None
    if name != NAME:
        raise InputError(f"{path.parent} holds another data set ({name or 'without a name'}). Choose another folder.")
    if there != labels:
        raise InputError(f"{path.parent} holds phantoms with the labels {there}. Choose another folder.")
