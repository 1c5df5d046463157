"""The data set of cardiac-lv-myo: both phases of Sunnybrook, of which only end diastole has its myocardium labelled.

    python Resources/cardiac-lv-myo/join_data_sets.py Dataset101_CardiacLV Dataset103_CardiacLVMyo OUT

OUT gets the stacks of the first data set, with the labels of the second where it has the same case; in the others the
myocardium is unlabelled (``csam.training.dataset_json``). The images of a case must be the same in both.

The labels of these data sets lie half a pixel too far along rows and columns (``Testing/bench/label_offset.py``): they
are moved back. A model that learns from turned and mirrored pictures could not learn the offset, only get unsure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import shift

from csam.errors import InputError
from csam.image.distance import signed_distance
from csam.image.files import write_image
from csam.training.dataset import read_dataset

SUFFIX = ".nii.gz"
OFFSET = 0.5
"""Pixels, along rows and columns, by which the labels lie too far."""


def moved_back(labels: sitk.Image) -> sitk.Image:
    """Labels moved by OFFSET. Each outer contour moves with all that it holds, by its signed distance."""
    array = sitk.GetArrayFromImage(labels)
    for picture in array:
        distances = [signed_distance(mask, (1, 1)) for mask in (picture > 0, picture == 1)]
        whole, cavity = (shift(distance, -OFFSET, order=1, mode="nearest") > 0 for distance in distances)
        picture[:] = np.where(cavity, 1, np.where(whole & (picture == 2).any(), 2, 0))
    back = sitk.GetImageFromArray(array)
    back.CopyInformation(labels)
    return back


def join(cavity: str, both: str, out: Path) -> None:
    whole = {case.name: case for case in read_dataset(both).cases}
    info = json.loads((Path(both) / "dataset.json").read_text("utf-8"))
    structures = [name for name in info["labels"] if name != "background"]
    for folder in ("imagesTr", "labelsTr"):
        (out / folder).mkdir(parents=True)
    unlabelled = {}
    for case in read_dataset(cavity).cases:
        (image,), truth = case.read()
        if case.name in whole:
            (same,), truth = whole[case.name].read()
            if not np.array_equal(sitk.GetArrayViewFromImage(image), sitk.GetArrayViewFromImage(same)):
                raise InputError(f"{case.name} is another image in {cavity} than in {both}; the same was expected.")
        else:
            unlabelled[case.name] = structures[1:]
        write_image(image, out / "imagesTr" / f"{case.name}_0000{SUFFIX}")
        write_image(moved_back(truth), out / "labelsTr" / f"{case.name}{SUFFIX}")
    joined = {"name": "Sunnybrook, both phases", "file_ending": SUFFIX, "unlabelled": unlabelled}
    (out / "dataset.json").write_text(json.dumps({**info, **joined}, indent=1) + "\n", "utf-8")
    print(f"{out}: in {len(unlabelled)} cases {', '.join(structures[1:])} is unlabelled.")


if __name__ == "__main__":
    join(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
