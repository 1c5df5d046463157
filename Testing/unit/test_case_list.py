"""The cases of a data set as a list, and one taken out of it."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.errors import InputError
from csam.image.unknown import UNKNOWN
from csam.pipeline.thumbnail import as_ppm
from csam.training.add_case import collection
from csam.training.case_list import labels_of_case, list_cases, picture_of, summarise_labels
from csam.training.dataset import read_dataset

LABELS = ("a", "b")


@pytest.fixture
def data(tmp_path):
    """p1 whole, with a alone; p2 with two known slices, b not labelled."""
    cases = collection(tmp_path, ("image",), LABELS)
    for name, known, unlabelled in (("p1", None, ()), ("p2", [1, 4], ("b",))):
        image = small.image(seed=len(name) + len(unlabelled))
        values = np.zeros(image.GetSize()[::-1], np.uint8)
        values[1:5, 4:9, 4:9] = 1
        truth = sitk.GetImageFromArray(values)
        truth.CopyInformation(image)
        cases.add(name, [image], truth, known_slices=known, unlabelled=unlabelled)
    return tmp_path


def test_every_case_tells_its_labels_and_its_drawn_slices(data):
    contents, cases = list_cases(data)
    assert [case.name for case in cases] == ["p1", "p2"]
    whole, part = (summarise_labels(labels_of_case(case), contents.labels) for case in cases)
    assert (whole.labels, whole.drawn, whole.slices) == (("a",), 6, 6)
    assert (part.labels, part.drawn, part.slices) == (("a",), 2, 6)


@pytest.mark.parametrize("axis", range(3))
def test_drawn_slices_are_counted_along_the_axis_on_which_they_were_drawn(tmp_path, axis):
    image = small.image()
    truth = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    truth.CopyInformation(image)
    collection(tmp_path, ("image",), LABELS).add("p1", [image], truth, known_slices=[1, 3], slice_axis="ijk"[axis])
    [case] = list_cases(tmp_path)[1]
    told = summarise_labels(labels_of_case(case), LABELS)
    assert (told.drawn, told.slices) == (2, image.GetSize()[axis])


def test_slices_known_in_part_count_as_drawn(tmp_path):
    values = np.full((6, 5, 4), UNKNOWN, np.uint8)
    values[2, 1:3], values[4] = 0, 1
    truth = sitk.GetImageFromArray(values)
    truth.SetSpacing((1, 1, 8))
    told = summarise_labels(truth, LABELS)
    assert (told.labels, told.drawn, told.slices) == (("a",), 2, 6)


def test_every_case_has_a_picture_with_the_outlines_of_its_labels(data):
    _contents, cases = list_cases(data)
    for case in cases:
        picture = picture_of(case, labels_of_case(case))
        assert max(picture.GetSize()) == 144
        colours = sitk.GetArrayFromImage(picture)
        assert (colours.max(-1) > colours.min(-1)).sum() > 50, "an outline in colour"
        assert as_ppm(picture).startswith(b"P6 144 ") or b" 144 255" in as_ppm(picture)[:20]
        assert len(as_ppm(picture)) == colours.size + len(b"P6 144 144 255\n")


def test_labels_on_another_grid_are_told_instead_of_a_picture(data):
    _contents, cases = list_cases(data)
    sitk.WriteImage(small.image((9, 9, 4)), str(cases[0].images[0]))
    with pytest.raises(InputError, match=r"p1_0000\.nii\.gz and its labels do not lie on one grid"):
        picture_of(cases[0], labels_of_case(cases[0]))


def test_what_is_not_labelled_in_a_case_is_written_down_and_goes_with_it(data):
    assert json.loads((data / "dataset.json").read_text())["unlabelled"] == {"p2": ["b"]}
    assert [case.unlabelled for case in read_dataset(data).cases] == [(), (2,)]
    cases = collection(data, ("image",), LABELS)
    images, truth = list_cases(data)[1][1].read()
    cases.add("p2", images, truth, replace=True)  # now b was looked for, and is not there
    assert "unlabelled" not in json.loads((data / "dataset.json").read_text())


def test_a_removed_case_leaves_no_file_and_no_word(data):
    cases = collection(data, ("image",), LABELS)
    assert cases.remove("p2") == 1
    assert [path.name for path in (data / "imagesTr").iterdir()] == ["p1_0000.nii.gz"]
    info = json.loads((data / "dataset.json").read_text())
    assert info["numTraining"] == 1
    assert "unlabelled" not in info
    assert read_dataset(data).patients == ["p1"]
    with pytest.raises(InputError, match="has no case p2"):
        cases.remove("p2")
