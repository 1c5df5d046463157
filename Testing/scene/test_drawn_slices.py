"""Which slices count as drawn: before a filling, after it, as the user says, and in a saved scene."""

import numpy as np
import pytest
import slicer

from csam.errors import InputError
from CSAMSegmentLib.logic.drawn_slices import (
    are_carried,
    as_tag,
    drawn_indices,
    filled_record,
    find_slices,
    mark,
    read_tag,
    write_tag,
)
from CSAMSegmentLib.logic.segment_voxels import segment_voxels


def square(*slices):
    voxels = np.zeros((4, 6, 5), np.uint8)
    voxels[list(slices), 1:4, 1:3] = 1
    return voxels


@pytest.fixture
def draw(scene, volume):
    """Draws voxels into a segment, made when it is not there; gives the segmentation."""
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)

    def draw_(voxels, identifier="gland"):
        content = segmentation.GetSegmentation()
        if content.GetSegment(identifier) is None:
            content.AddEmptySegment(identifier, identifier.title())
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, identifier, volume)
        return segmentation

    return draw_


def drawn(segmentation, volume, *identifiers, **arguments):
    return drawn_indices(find_slices(segmentation, volume, identifiers or ["gland"], **arguments))


def reasons(segmentation, volume, **arguments):
    return [state.why for state in find_slices(segmentation, volume, ["gland"], **arguments)]


def is_filled(segmentation, volume, slices):
    voxels = segment_voxels(segmentation, "gland", volume)
    write_tag(segmentation, "gland", as_tag(filled_record(voxels, 2, slices)))


def test_before_a_filling_the_slices_with_voxels_are_drawn(volume, draw):
    assert drawn(draw(square(0, 3)), volume) == (0, 3)


def test_a_slice_is_drawn_when_any_of_the_chosen_segments_is_in_it(volume, draw):
    draw(square(0))
    segmentation = draw(np.roll(square(2), 2, axis=1), "zone")
    assert drawn(segmentation, volume, "gland", "zone") == (0, 2)
    assert drawn(segmentation, volume, "zone") == (2,)


def test_a_slice_can_be_marked_as_drawn_though_empty(volume, draw):
    segmentation = draw(square(1))
    mark(segmentation, volume, ["gland"], 3, True)
    assert drawn(segmentation, volume) == (1, 3)
    assert reasons(segmentation, volume) == ["", "drawn", "", "empty"]


def test_a_drawn_slice_can_be_unmarked_and_marked_again(volume, draw):
    segmentation = draw(square(0, 1))
    mark(segmentation, volume, ["gland"], 1, False)
    assert drawn(segmentation, volume) == (0,)
    mark(segmentation, volume, ["gland"], 1, True)
    assert drawn(segmentation, volume) == (0, 1)


def test_after_a_filling_only_what_was_drawn_counts(volume, draw):
    segmentation = draw(square(0, 1, 2, 3))
    is_filled(segmentation, volume, [0, 3])
    assert drawn(segmentation, volume) == (0, 3)


def test_a_slice_that_was_corrected_after_a_filling_counts_too(volume, draw):
    segmentation = draw(square(0, 1, 2, 3))
    is_filled(segmentation, volume, [0, 3])
    changed = square(0, 1, 2, 3)
    changed[2, 0, 0] = 1
    draw(changed)
    assert reasons(segmentation, volume) == ["drawn", "", "corrected", "drawn"]


def test_a_slice_that_was_reviewed_after_a_filling_counts_too(volume, draw):
    segmentation = draw(square(0, 1, 2, 3))
    is_filled(segmentation, volume, [0, 3])
    assert reasons(segmentation, volume, reviewed=[1]) == ["drawn", "reviewed", "", "drawn"]


def test_along_another_axis_the_slices_are_others(volume, draw):
    assert drawn(draw(square(0, 3)), volume, slice_axis="i") == (1, 2)


def test_a_record_of_other_slices_is_not_used(volume, draw):
    segmentation = draw(square(0, 1, 2, 3))
    is_filled(segmentation, volume, [0, 3])
    assert drawn(segmentation, volume, slice_axis="j") == (1, 2, 3)


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"axis":"k","count":4,"drawn":"no"}', "[1]"])
def test_a_damaged_record_is_none(volume, draw, text):
    segmentation = draw(square(0))
    write_tag(segmentation, "gland", text)
    assert drawn(segmentation, volume) == (0,)


def test_the_record_is_saved_with_the_segmentation(host, volume, draw, tmp_path):
    segmentation = draw(square(0, 1, 2, 3))
    is_filled(segmentation, volume, [0, 3])
    mark(segmentation, volume, ["gland"], 1, True)
    host.save_node(segmentation, tmp_path / "mine.seg.nrrd")
    loaded = host.load_node("vtkMRMLSegmentationNode", tmp_path / "mine.seg.nrrd")
    assert read_tag(loaded, "gland") == read_tag(segmentation, "gland") != ""
    assert drawn(loaded, volume) == (0, 1, 3)


def test_a_slice_that_is_not_there_cannot_be_marked(volume, draw):
    with pytest.raises(InputError, match="no slice 5; the volume has 4"):
        mark(draw(square(0)), volume, ["gland"], 4, True)


def test_a_segment_that_is_gone_is_named(volume, draw):
    with pytest.raises(InputError, match='no segment "other"'):
        find_slices(draw(square(0)), volume, ["other"])


def test_a_carried_segment_is_told_from_a_drawn_one_and_both_cannot_be_filled_at_once(volume, draw):
    draw(square(1, 3), "one")
    segmentation = draw(square(1, 3), "two")
    assert not are_carried(segmentation, ["one", "two"], 2, 4)
    mask = segment_voxels(segmentation, "one", volume)
    write_tag(segmentation, "one", as_tag(filled_record(mask, 2, (), carried=True)))
    assert are_carried(segmentation, ["one"], 2, 4)
    assert drawn_indices(find_slices(segmentation, volume, ["one"])) == ()
    with pytest.raises(InputError, match="Carried from the frame before: One"):
        are_carried(segmentation, ["one", "two"], 2, 4)
