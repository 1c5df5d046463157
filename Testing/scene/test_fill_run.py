"""A filling: what the worker is asked, what of its answer reaches which segment, and what stays as it was."""

from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk

from csam.errors import InputError
from csam.image.raster import voxels_of
from csam.interactive.drawing import UNKNOWN, FillOptions
from CSAMSegmentLib.logic.closed_voxels import closed_voxels
from CSAMSegmentLib.logic.fill_run import plan_fill
from CSAMSegmentLib.logic.segment_voxels import is_on_grid, labelmap_of, segment_voxels
from CSAMSegmentLib.logic.segments import LABELMAP

SHAPE = (6, 6, 5)


def square(*slices):
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[list(slices), 1:4, 1:3] = 1
    return voxels


@pytest.fixture
def volume(host):
    """A stack of 6 slices of 6 x 5 pixels, 1.5 x 1.25 x 8 mm, away from the origin."""
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    return host.add_volume(voxels, spacing=(1.5, 1.25, 8.0), origin=(-20.0, 30.0, 5.0))


@pytest.fixture
def segmentation(scene, volume):
    """The gland in slices 1 and 5, drawn by hand; another segment, the scar, lies in slice 3."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    put(node, "gland", square(0, 4), volume)
    scar = np.zeros(SHAPE, np.uint8)
    scar[2, 3:5, 2:4] = 1
    put(node, "scar", scar, volume)
    return node


def put(node, identifier, voxels, volume):
    if node.GetSegmentation().GetSegment(identifier) is None:
        node.GetSegmentation().AddEmptySegment(identifier, identifier.title())
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, identifier, volume)


@pytest.fixture
def answer(make_result):
    """The worker's answer: every slice wholly the first structure."""

    def answer_(volume):
        result = make_result(volume, np.ones(SHAPE, np.uint8))
        structures = tuple(s for s in result.structures if s.value == 1)
        scores = tuple(replace(score, areas_mm2=score.areas_mm2[:1]) for score in result.slices)
        return replace(result, structures=structures, slices=scores)

    return answer_


# What the worker is asked ---------------------------------------------------------------------------------------------


def test_the_worker_gets_the_drawn_slices_and_unknown_in_the_others(volume, segmentation):
    header, images = plan_fill(volume, segmentation, ["gland"], [0, 4]).request()
    drawing = voxels_of(images["drawn"])
    assert np.array_equal(drawing[[0, 4]], square(0, 4)[[0, 4]])
    assert (drawing[[1, 2, 3, 5]] == UNKNOWN).all()
    assert header["type"] == "fill"
    assert header["structures"] == [{"value": 1, "name": "Gland"}]
    assert header["options"]["slice_axis"] == "k"
    assert set(images) == {"0", "drawn"}


def test_the_drawing_lies_on_the_images_grid_and_names_every_segment(volume, segmentation):
    header, images = plan_fill(volume, segmentation, ["scar", "gland"], [0, 2, 4]).request()
    for method in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(images["drawn"], method)() == getattr(images["0"], method)()
    assert [one["name"] for one in header["structures"]] == ["Scar", "Gland"]
    assert set(np.unique(voxels_of(images["drawn"])[[0, 2, 4]])) == {0, 1, 2}


def test_an_update_sends_the_result_as_it_is_now(volume, segmentation):
    _header, images = plan_fill(volume, segmentation, {"gland": 3}, [0], update=True).request()
    assert np.array_equal(voxels_of(images["found"]), 3 * square(0, 4))
    assert np.array_equal(voxels_of(images["drawn"])[0], 3 * square(0)[0])


def test_asking_changes_nothing(volume, segmentation):
    plan_fill(volume, segmentation, ["gland"], [0, 4]).request()
    assert np.array_equal(segment_voxels(segmentation, "gland", volume), square(0, 4))


# What the answer changes ----------------------------------------------------------------------------------------------


def test_only_undrawn_slices_between_the_drawn_ones_change(volume, segmentation, answer):
    mask = plan_fill(volume, segmentation, ["gland"], [0, 4]).masks(answer(volume))["gland"]
    assert np.array_equal(mask[[0, 4]], square(0, 4)[[0, 4]])
    assert mask[[1, 3]].all()
    assert not mask[5].any()


def test_beyond_the_last_drawn_slice_too_when_asked(volume, segmentation, answer):
    plan = plan_fill(volume, segmentation, ["gland"], [0, 4], FillOptions(beyond=True))
    assert plan.masks(answer(volume))["gland"][5].all()


def test_voxels_of_other_segments_stay_theirs(volume, segmentation, answer):
    mask = plan_fill(volume, segmentation, ["gland"], [0, 4]).masks(answer(volume))["gland"]
    scar = segment_voxels(segmentation, "scar", volume)
    assert not (mask & scar).any()
    assert mask[2][~scar[2]].all()


def test_the_volumes_are_those_of_what_is_kept(volume, segmentation, answer):
    merged = plan_fill(volume, segmentation, ["gland"], [0, 4]).merged(answer(volume))
    voxels = voxels_of(merged.labels) == 1
    assert merged.structures[0].volume_ml == pytest.approx(voxels.sum() * 1.5 * 1.25 * 8 / 1000)
    assert merged.slices[0].areas_mm2 == pytest.approx([voxels[0].sum() * 1.5 * 1.25])


def test_the_labelmaps_lie_where_the_segmentation_is(host, volume, segmentation, answer):
    shift = np.eye(4)
    shift[:3, 3] = (10, -4, 7)
    moved = host.add_transform(shift)
    volume.SetAndObserveTransformNodeID(moved.GetID())
    drawing = labelmap_of(square(0, 4), volume, segmentation)  # in the world, where the moved volume is
    segmentation.GetSegmentation().GetSegment("gland").AddRepresentation(LABELMAP, drawing)
    plan = plan_fill(volume, segmentation, ["gland"], [0, 4])
    assert np.array_equal(plan.labels, square(0, 4))
    labelmap = plan.labelmaps(answer(volume))["gland"]
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    assert [matrix.GetElement(row, 3) for row in range(3)] == pytest.approx([-10, 26, 12])


def test_a_segment_with_a_smaller_labelmap_is_read_where_it_is(volume, segmentation):
    segment = segmentation.GetSegmentation().GetSegment("gland")
    part = slicer.vtkOrientedImageData()
    whole = labelmap_of(square(0, 4), volume, segmentation)
    part.DeepCopy(whole)
    part.Crop([1, 2, 1, 3, 0, 4])
    segment.AddRepresentation(LABELMAP, part)
    assert np.array_equal(segment_voxels(segmentation, "gland", volume), square(0, 4))
    assert is_on_grid(segmentation, "gland", volume)


def test_a_segment_on_another_grid_is_brought_to_the_images_and_that_is_said(host, volume, segmentation, answer):
    fine = host.add_volume(np.zeros((12, 12, 10), "i2"), (0.75, 0.625, 4.0), (-20.375, 29.6875, 3.0), name="fine")
    put(segmentation, "gland", square(0, 4).repeat(2, 0).repeat(2, 1).repeat(2, 2), fine)
    assert not is_on_grid(segmentation, "gland", volume)
    plan = plan_fill(volume, segmentation, ["gland"], [0, 4])
    assert np.array_equal(plan.labels, square(0, 4))
    assert "not on the grid" in plan.merged(answer(volume)).warnings[0]


# What an editor's settings close --------------------------------------------------------------------------------------


@pytest.fixture
def editor(scene):
    return scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")


def test_an_editor_that_lets_segments_overlap_closes_nothing(volume, segmentation, editor):
    editor.SetOverwriteMode(editor.OverwriteNone)
    assert not closed_voxels(segmentation, volume, ["gland"], editor).any()


def test_only_visible_segments_are_closed_when_the_editor_says_so(volume, segmentation, editor):
    editor.SetOverwriteMode(editor.OverwriteVisibleSegments)
    scar = segment_voxels(segmentation, "scar", volume)
    assert np.array_equal(closed_voxels(segmentation, volume, ["gland"], editor), scar)
    segmentation.GetDisplayNode().SetSegmentVisibility("scar", False)
    assert not closed_voxels(segmentation, volume, ["gland"], editor).any()


def test_a_mask_closes_what_lies_outside_its_segment(volume, segmentation, editor, answer):
    editor.SetOverwriteMode(editor.OverwriteNone)
    editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
    editor.SetMaskSegmentID("scar")
    closed = closed_voxels(segmentation, volume, ["gland"], editor)
    mask = plan_fill(volume, segmentation, ["gland"], [0, 4], closed=closed).masks(answer(volume))["gland"]
    scar = segment_voxels(segmentation, "scar", volume)
    assert np.array_equal(mask[2], scar[2])
    assert not mask[[1, 3]].any()


def test_a_range_of_intensities_closes_the_others(volume, segmentation, editor):
    editor.SetOverwriteMode(editor.OverwriteNone)
    editor.SetSourceVolumeIntensityMask(True)
    editor.SetSourceVolumeIntensityMaskRange(10, 20)
    image = slicer.util.arrayFromVolume(volume)
    assert np.array_equal(closed_voxels(segmentation, volume, ["gland"], editor), (image < 10) | (image > 20))


# What keeps it from beginning -----------------------------------------------------------------------------------------


def test_without_a_segment_it_says_what_to_choose(volume, segmentation):
    with pytest.raises(InputError, match="No segment is chosen"):
        plan_fill(volume, segmentation, [], [0, 4])


def test_without_a_drawn_slice_it_says_what_to_draw(volume, segmentation):
    with pytest.raises(InputError, match="No slice is drawn"):
        plan_fill(volume, segmentation, ["gland"], [])
    with pytest.raises(InputError, match="No slice is drawn"):
        plan_fill(volume, segmentation, ["gland"], [1, 3])  # marked, and both empty


def test_with_every_slice_drawn_nothing_is_left(volume, segmentation):
    with pytest.raises(InputError, match="nothing is left"):
        plan_fill(volume, segmentation, ["gland"], range(6))


def test_with_nothing_between_the_drawn_slices_it_says_so(volume, segmentation):
    put(segmentation, "gland", square(3, 4), volume)
    with pytest.raises(InputError, match="No slice lies between"):
        plan_fill(volume, segmentation, ["gland"], [3, 4])


def test_segments_that_overlap_in_a_drawn_slice_are_named(volume, segmentation):
    put(segmentation, "scar", square(4), volume)
    slicer.util.updateSegmentBinaryLabelmapFromArray(square(0, 4), segmentation, "gland", volume)
    with pytest.raises(InputError, match='"Gland" and "Scar" overlap in slice 5'):
        plan_fill(volume, segmentation, ["gland", "scar"], [0, 4])


def test_an_answer_of_another_size_is_refused(host, volume, segmentation, make_result):
    other = host.add_volume(np.zeros((6, 6, 6), "i2"), name="other")
    with pytest.raises(InputError, match="was changed during the run"):
        plan_fill(volume, segmentation, ["gland"], [0, 4]).merged(make_result(other))


def test_a_segment_that_changed_meanwhile_is_noticed(volume, segmentation):
    plan = plan_fill(volume, segmentation, ["gland"], [0, 4])
    plan.check_unchanged()
    put(segmentation, "gland", square(0, 3), volume)
    with pytest.raises(InputError, match='"Gland" was changed'):
        plan.check_unchanged()


def test_segments_that_overlap_in_a_slice_to_be_filled_are_not_taken_for_changed(volume, segmentation):
    put(segmentation, "gland", square(0, 2, 4), volume)
    both = [segment_voxels(segmentation, one, volume) for one in ("gland", "scar")]
    assert (both[0] & both[1])[2].any()
    plan_fill(volume, segmentation, ["gland", "scar"], [0, 4]).check_unchanged()
