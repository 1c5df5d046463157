"""Volumes under a transform that bends space, as Slicer puts one over a DICOM stack of uneven slices."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from csam.errors import InputError
from csam.image.geometry import check_channels
from CSAMSegmentLib.logic.result_tables import read_volumes
from CSAMSegmentLib.logic.result_writer import write_result
from CSAMSegmentLib.logic.shown_result import find_result
from CSAMSegmentLib.logic.structure_volumes import edited, measure
from CSAMSegmentLib.logic.volume_geometry import (
    bend_told,
    image_from_volume,
    place_in_world,
    raster_from_volume,
    region_from_roi,
)

SPACING = (1.5, 1.25, 8.0)


def acquisition(host, volume, shifts, name="acquisition transform"):
    """A grid transform over a volume that shifts each of its slices along them, in mm, linear in between.

    It is what Slicer's DICOM import makes: a displacement for every corner of every slice.
    """
    count = len(shifts)
    columns, rows, _slices = volume.GetImageData().GetDimensions()
    grid = vtk.vtkImageData()
    grid.SetDimensions(2, 2, count)
    grid.SetOrigin(volume.GetOrigin())
    spacing = volume.GetSpacing()
    grid.SetSpacing(spacing[0] * (columns - 1), spacing[1] * (rows - 1), spacing[2])
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    for k, shift in enumerate(shifts):
        for j in range(2):
            for i in range(2):
                for axis, value in enumerate((0.0, 0.0, shift)):
                    grid.SetScalarComponentFromDouble(i, j, k, axis, value)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    transform.SetInterpolationModeToLinear()
    node = host.scene.AddNewNodeByClass("vtkMRMLGridTransformNode", name)
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node


@pytest.fixture
def stack(host):
    """Eight slices of 6 x 5 pixels, 8 mm apart."""
    return host.add_volume(np.arange(240, dtype=np.int16).reshape(8, 6, 5), SPACING, (-20.0, 30.0, 5.0))


def shown(volume, index):
    """Slicer's own answer to where a voxel is."""
    matrix, general = vtk.vtkMatrix4x4(), vtk.vtkGeneralTransform()
    volume.GetIJKToRASMatrix(matrix)
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, general)
    return general.TransformPoint(matrix.MultiplyPoint((*index, 1.0))[:3])


def test_a_stack_of_slices_a_hundredth_of_a_millimetre_off_is_segmented_as_it_is(host, stack, make_result, model):
    before = slicer.util.arrayFromVolume(stack).copy()
    node = acquisition(host, stack, [0, 0.01, -0.01, 0, 0.01, 0, 0, -0.01])
    image = image_from_volume(stack)
    assert image.GetSize() == (5, 6, 8)
    assert image.GetSpacing() == pytest.approx(SPACING)
    assert bend_told(stack) == ""
    output = write_result(make_result(stack), stack, model)
    assert np.array_equal(slicer.util.arrayFromVolume(stack), before)
    assert output.segmentation.GetTransformNodeID() == node.GetID()
    assert output.uncertainty.GetTransformNodeID() == node.GetID()
    assert not any("bends" in text for text in find_result(output.segmentation).warnings())
    found = slicer.util.arrayFromSegmentBinaryLabelmap(output.segmentation, output.segment_ids[0], stack)
    assert found.shape == (8, 6, 5)
    assert found.sum() == 6


def test_a_bent_grid_that_can_be_noticed_is_said_once_with_what_follows_it(host, stack, make_result, model):
    acquisition(host, stack, [0, 0, 0, 0, 3, 3, 3, 3])
    said = bend_told(stack)
    assert '"acquisition transform" bends the grid of the image, by up to' in said
    assert "Volumes in ml take this into account" in said
    warnings = find_result(write_result(make_result(stack), stack, model).segmentation).warnings()
    assert warnings.count(said) == 1


def test_volumes_follow_the_gaps_that_there_are(host, stack, make_result, model):
    """A structure in slice 2 alone, whose neighbours are 8 and 12 mm away: a voxel of it is 10 mm high, not 8."""
    acquisition(host, stack, [0, 0, 0, 4, 4, 4, 4, 4])
    labels = np.zeros((8, 6, 5), np.uint8)
    labels[2, :3, :4] = 1
    labels[6, :, 0] = 2
    result = make_result(stack, labels)
    output = write_result(result, stack, model)
    first, second = read_volumes(output.volumes)
    assert first.volume_ml == pytest.approx(result.structures[0].volume_ml * 10 / 8)
    assert (first.low_ml, first.high_ml) == pytest.approx((91.25 * 10 / 8, 110 * 10 / 8))
    assert second.volume_ml == pytest.approx(result.structures[1].volume_ml)


def test_a_structure_that_nobody_edited_counts_as_such_under_a_bent_transform(host, stack, make_result, model):
    acquisition(host, stack, [0, 0, 0, 4, 4, 4, 4, 4])
    result = make_result(stack)
    voxel, labels = np.prod(SPACING) / 1000, sitk.GetArrayFromImage(result.labels)
    structures = tuple(
        replace(entry, volume_ml=float((labels == entry.value).sum() * voxel)) for entry in result.structures
    )
    shown_result = find_result(write_result(replace(result, structures=structures), stack, model).segmentation)
    assert edited(shown_result, measure(shown_result)) == {}


def test_the_spot_of_a_slice_is_found_where_the_bent_image_shows_it(host, stack, make_result, model):
    """Under a rigid transform too, and when the transform is taken off later."""
    node = acquisition(host, stack, [0, 5, -3, 0, 2, 7, 0, 0])
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]], (5, 6, 7)
    node.SetAndObserveTransformNodeID(host.add_transform(turn).GetID())
    result = find_result(write_result(make_result(stack), stack, model).segmentation)
    for row in result.rows():
        assert result.place_now(row.point) == pytest.approx(shown(stack, (0, 0, row.index)), abs=1e-4)
        assert place_in_world(stack, (0, 0, row.index)) == pytest.approx(shown(stack, (0, 0, row.index)))
    for moved in (stack, *result.nodes.values()):
        if moved.IsA("vtkMRMLScalarVolumeNode"):
            moved.SetAndObserveTransformNodeID(None)
    assert result.place_now(result.rows()[0].point) == pytest.approx(shown(stack, (0, 0, 7)), abs=1e-4)


def test_a_region_of_the_world_is_brought_back_to_the_grid_of_a_bent_image(host, stack):
    """Slices 4 to 7 are shown 20 mm higher: a region around slice 5 as it is shown takes that slice."""
    acquisition(host, stack, [0, 0, 0, 0, 20, 20, 20, 20])
    centre = shown(stack, (2, 3, 5))
    low, high = region_from_roi(host.add_roi(centre, (2.0, 2.0, 6.0)), stack)
    image = image_from_volume(stack)
    here = image.TransformPhysicalPointToContinuousIndex([(a + b) / 2 for a, b in zip(low, high, strict=True)])
    assert here == pytest.approx((2, 3, 5), abs=0.2)


def test_an_output_that_a_bent_transform_parts_from_the_image_is_refused(host, stack, make_result, model):
    segmentation = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    acquisition(host, stack, [0, 1, 0, 0, 0, 0, 0, 0])
    with pytest.raises(InputError, match=r'transform that bends space .*the segmentation "mine".*under the same'):
        write_result(make_result(stack), stack, model, segmentation)
    segmentation.SetAndObserveTransformNodeID(stack.GetTransformNodeID())
    assert write_result(make_result(stack), stack, model, segmentation).segmentation is segmentation


def test_channels_under_the_same_bent_transform_lie_on_one_grid(host, stack):
    other = host.add_volume(np.ones((8, 6, 5), np.int16), SPACING, (-20.0, 30.0, 5.0), name="other")
    node = acquisition(host, stack, [0, 1, 0, 0, 0, 0, 0, 0])
    other.SetAndObserveTransformNodeID(node.GetID())
    check_channels([raster_from_volume(stack), raster_from_volume(other)])
