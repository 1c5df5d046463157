"""Cases that are kept from the scene and opened again: what is unknown stays unknown."""

import numpy as np
import pytest
import slicer

from csam.training.case_list import labels_of_case, list_cases
from CSAMSegmentLib.logic.drawn_slices import drawn_indices, find_slices, mark
from CSAMSegmentLib.logic.kept_case import keep_case, kept_as, open_case
from CSAMSegmentLib.logic.new_structure import add_structure

UNKNOWN = 255


@pytest.fixture
def drawing(volume):
    """A structure that is drawn in the slices 1 and 3 along i; the spacing tells that slices run along k."""
    segmentation, identifier = add_structure(volume)
    mask = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    mask[1:3, 2:5, [1, 3]] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, identifier, volume)
    return segmentation, identifier


def kept(folder) -> np.ndarray:
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(labels_of_case(list_cases(folder)[1][0]))


def known_columns(labels) -> list[int]:
    """The slices along i that are known, all of them; none is known in part."""
    known = labels != UNKNOWN
    assert np.array_equal(known.any((0, 1)), known.all((0, 1)))
    return np.flatnonzero(known.all((0, 1))).tolist()


@pytest.mark.parametrize("told", ["by the panel", "by a mark"])
def test_slices_drawn_along_another_axis_than_the_spacing_tells_are_the_ones_that_are_known(
    volume, drawing, tmp_path, told
):
    segmentation, identifier = drawing
    if told == "by a mark":
        mark(segmentation, volume, [identifier], 4, True, "i")
    axis = "i" if told == "by the panel" else "auto"
    keep_case(tmp_path, "p1", [volume], segmentation, {identifier: "wall"}, True, slice_axis=axis)
    assert known_columns(kept(tmp_path)) == ([1, 3, 4] if told == "by a mark" else [1, 3])


def test_a_case_that_is_opened_and_kept_again_knows_no_more_than_before(volume, drawing, tmp_path):
    segmentation, identifier = drawing
    keep_case(tmp_path, "p1", [volume], segmentation, {identifier: "wall"}, True, slice_axis="i")
    before = kept(tmp_path)
    contents, cases = list_cases(tmp_path)
    opened = open_case(cases[0], contents)
    assert not opened.whole
    [again] = opened.segmentation.GetSegmentation().GetSegmentIDs()
    keep_case(tmp_path, "p1", opened.volumes, opened.segmentation, {again: "wall"}, True, replace=True)
    np.testing.assert_array_equal(kept(tmp_path), before)


def test_a_segmentation_is_a_case_of_the_data_set_that_it_was_kept_in_or_opened_from_and_of_no_other(
    volume, drawing, tmp_path
):
    segmentation, identifier = drawing
    for folder in ("hearts", "others"):
        keep_case(tmp_path / folder, "p1", [volume], segmentation, {identifier: "wall"})
    contents, cases = list_cases(tmp_path / "hearts")
    opened = open_case(cases[0], contents).segmentation
    assert [kept_as(one, tmp_path / "others") for one in (segmentation, opened)] == ["p1", ""]
    assert [kept_as(one, tmp_path / "hearts") for one in (segmentation, opened)] == ["", "p1"]


def test_a_slice_of_which_a_part_is_unknown_does_not_count_as_drawn(volume, drawing, tmp_path):
    import SimpleITK as sitk

    segmentation, identifier = drawing
    keep_case(tmp_path, "p1", [volume], segmentation, {identifier: "wall"}, True, slice_axis="i")
    contents, cases = list_cases(tmp_path)
    stored = sitk.ReadImage(str(cases[0].labels))
    labels = sitk.GetArrayFromImage(stored)
    labels[:] = 0
    labels[1, :2], labels[1, 3, 3], labels[2, 0, 0] = cases[0].ignore, 1, cases[0].ignore
    scribbled = sitk.GetImageFromArray(labels)
    scribbled.CopyInformation(stored)
    sitk.WriteImage(scribbled, str(cases[0].labels))
    opened = open_case(cases[0], contents)
    identifiers = list(opened.segmentation.GetSegmentation().GetSegmentIDs())
    assert not opened.whole
    assert drawn_indices(find_slices(opened.segmentation, opened.volumes[0], identifiers)) == (0, 3)
