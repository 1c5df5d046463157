"""The data set of cardiac-lv-myo: both phases of Sunnybrook, of which only end diastole has its myocardium labelled.

    python Resources/cardiac-lv-myo/join_data_sets.py Dataset101_CardiacLV Dataset103_CardiacLVMyo OUT

OUT gets the stacks of the first data set, with the labels of the second where it has the same case; in the others the
myocardium is unlabelled (``csam.training.dataset_json``). The images of a case must be the same in both.

The labels of these data sets lie half a pixel too far along rows and columns (``Testing/bench/label_offset.py``). So
the pictures are moved onto them: labels cannot be moved by half a pixel without a change of their size. A network that
learns from turned and mirrored pictures could not learn the offset, it would only get unsure.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from csam.errors import InputError
from csam.image.files import write_image
from csam.training.dataset import read_dataset

SUFFIX = ".nii.gz"
OFFSET = 0.5
"""Pixels, along rows and columns, by which the labels lie too far."""
MARGIN = 4
"""Pixels by which a picture is mirrored at its border before it is interpolated."""


def moved(image: sitk.Image) -> sitk.Image:
    """The picture of each slice moved by OFFSET, with the number type and the brightness range that it has."""
    slices = []
    for picture in sitk.GetArrayFromImage(image):
        grid = sitk.GetImageFromArray(picture.astype(np.float32))
        wider = sitk.MirrorPad(grid, [MARGIN] * 2, [MARGIN] * 2)
        back = sitk.TranslationTransform(2, [-OFFSET] * 2)  # from a pixel to where its value comes from
        values = sitk.GetArrayFromImage(sitk.Resample(wider, grid, back, sitk.sitkBSpline))
        values = values.clip(picture.min(), picture.max())
        slices.append((values.round() if np.issubdtype(picture.dtype, np.integer) else values).astype(picture.dtype))
    result = sitk.GetImageFromArray(np.stack(slices))
    result.CopyInformation(image)
    return result


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
        write_image(moved(image), out / "imagesTr" / f"{case.name}_0000{SUFFIX}")
        write_image(truth, out / "labelsTr" / f"{case.name}{SUFFIX}")
    joined = {"name": "Sunnybrook, both phases", "file_ending": SUFFIX, "unlabelled": unlabelled}
    (out / "dataset.json").write_text(json.dumps({**info, **joined}, indent=1) + "\n", "utf-8")
    print(f"{out}: in {len(unlabelled)} cases {', '.join(structures[1:])} is unlabelled.")


if __name__ == "__main__":
    join(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
