"""Volume nodes come out as images that lie where the slice views show them."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from csam.errors import InputError
from CSAMSegmentLib.logic.result_writer import image_from_volume, region_from_roi

VOXELS = np.arange(3 * 4 * 5).reshape(3, 4, 5)
SPACING = (1.25, 2.0, 8.0)


def rotation(degrees, axis):
    transform = vtk.vtkTransform()
    transform.RotateWXYZ(degrees, *axis)
    return slicer.util.arrayFromVTKMatrix(transform.GetMatrix())[:3, :3]


def world_of_voxel(volume, index):
    """Slicer's own answer to where a voxel is, parent transforms included; RAS."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    point = matrix.MultiplyPoint((*index, 1.0))[:3]
    general = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volume.GetParentTransformNode(), None, general)
    return general.TransformPoint(point)


def assert_every_voxel_is_where_slicer_shows_it(image, volume):
    array = slicer.util.arrayFromVolume(volume)
    assert image.GetSize() == array.shape[::-1]
    for index in itertools.product(*(range(size) for size in image.GetSize())):
        r, a, s = world_of_voxel(volume, index)
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx((-r, -a, s), abs=1e-6)
        assert image[index] == array[index[::-1]]


AXES = {
    "identity": np.eye(3),
    "left-handed": np.diag([-1.0, 1.0, 1.0]),
    "permuted": np.eye(3)[:, [2, 0, 1]],
    "permuted and flipped": np.eye(3)[:, [1, 0, 2]] * [1, -1, -1],
    "oblique": rotation(31, (1, 2, 3)),
    "oblique and left-handed": rotation(-50, (1, 0, 2)) * [1, 1, -1],
}


@pytest.mark.parametrize("directions", AXES.values(), ids=AXES.keys())
def test_every_voxel_keeps_its_place_and_value_whatever_the_axes(host, directions):
    volume = host.add_volume(VOXELS.astype("i2"), SPACING, (10.0, -20.0, 30.0), directions)
    image = image_from_volume(volume)
    assert image.GetSpacing() == pytest.approx(SPACING)
    assert_every_voxel_is_where_slicer_shows_it(image, volume)


@pytest.mark.parametrize("directions", AXES.values(), ids=AXES.keys())
def test_a_rigid_parent_transform_moves_the_image(host, directions):
    volume = host.add_volume(VOXELS.astype("f4"), SPACING, (10.0, -20.0, 30.0), directions)
    outer, inner = np.eye(4), np.eye(4)
    outer[:3, :3], outer[:3, 3] = rotation(20, (0, 1, 1)), (5, 6, 7)
    inner[:3, :3], inner[:3, 3] = np.diag([-1.0, 1.0, 1.0]), (0, 0, -9)  # a mirror is rigid as well
    parent, child = host.add_transform(outer), host.add_transform(inner)
    child.SetAndObserveTransformNodeID(parent.GetID())
    volume.SetAndObserveTransformNodeID(child.GetID())
    assert_every_voxel_is_where_slicer_shows_it(image_from_volume(volume), volume)


SCALARS = (
    "CHAR SIGNED_CHAR UNSIGNED_CHAR SHORT UNSIGNED_SHORT INT UNSIGNED_INT LONG UNSIGNED_LONG LONG_LONG FLOAT DOUBLE"
)


@pytest.mark.parametrize("scalar", SCALARS.split())
def test_every_scalar_type_comes_through(scalar):
    data = vtk.vtkImageData()
    data.SetDimensions(5, 4, 3)
    data.AllocateScalars(getattr(vtk, f"VTK_{scalar}"), 1)
    for number in range(VOXELS.size):
        data.GetPointData().GetScalars().SetTuple1(number, number)
    volume = slicer.vtkMRMLScalarVolumeNode()
    volume.SetAndObserveImageData(data)
    assert np.array_equal(sitk.GetArrayFromImage(image_from_volume(volume)), VOXELS)


@pytest.mark.parametrize("directions", AXES.values(), ids=AXES.keys())
@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz"])
def test_a_file_read_by_slicer_is_the_image_that_simpleitk_reads(host, tmp_path, directions, suffix):
    """In patient space: Slicer's reader reverses the slices of a left-handed stack."""
    written = sitk.GetImageFromArray(VOXELS.astype("i2"))
    written.SetSpacing(SPACING)
    written.SetOrigin((10.0, -20.0, 30.0))
    written.SetDirection(directions.ravel().tolist())
    path = tmp_path / f"image.{suffix}"
    sitk.WriteImage(written, str(path))
    expected = sitk.ReadImage(str(path))
    image = image_from_volume(host.load_node("vtkMRMLScalarVolumeNode", path))
    for index in itertools.product(*(range(size) for size in expected.GetSize())):
        place = image.TransformPhysicalPointToContinuousIndex(expected.TransformIndexToPhysicalPoint(index))
        assert place == pytest.approx(np.round(place), abs=1e-3)
        assert image[np.round(place).astype(int).tolist()] == expected[index]


def test_changing_the_image_leaves_the_volume_alone(volume):
    image = image_from_volume(volume)
    image += 100
    assert slicer.util.arrayFromVolume(volume)[0, 0, 0] == 0


def test_an_extent_that_does_not_begin_at_zero_counts(scene):
    data = vtk.vtkImageData()
    data.SetExtent(2, 4, 0, 1, -3, -2)
    data.AllocateScalars(vtk.VTK_SHORT, 1)
    data.GetPointData().GetScalars().Fill(1)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetSpacing(2, 2, 5)
    volume.SetAndObserveImageData(data)
    image = image_from_volume(volume)
    assert image.GetSize() == (3, 2, 2)
    assert image.GetOrigin() == (-4.0, 0.0, -15.0)


def test_a_single_slice_is_a_volume(host):
    assert image_from_volume(host.add_volume(np.zeros((1, 4, 5), "u1"), (1, 1, 10))).GetSize() == (5, 4, 1)


def refusal(volume):
    with pytest.raises(InputError) as caught:
        image_from_volume(volume)
    return str(caught.value)


def test_no_volume_is_said_to_be_none():
    assert "No image is chosen" in refusal(None)


def test_a_volume_without_voxels_is_said_to_be_empty(scene):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    assert '"nothing" is empty' in refusal(volume)
    volume.SetAndObserveImageData(vtk.vtkImageData())
    assert '"nothing" is empty' in refusal(volume)


def test_a_colour_image_is_refused(host):
    volume = host.scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    data = vtk.vtkImageData()
    data.SetDimensions(3, 3, 3)
    data.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    volume.SetAndObserveImageData(data)
    assert "3 values in each voxel" in refusal(volume)


def test_a_series_in_time_is_refused(host):
    volume = host.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "beats")
    assert "series of volumes in time" in refusal(volume)


def test_a_label_map_is_refused(host):
    volume = host.add_volume(VOXELS.astype("u1"), name="drawn", class_name="vtkMRMLLabelMapVolumeNode")
    assert '"drawn" is a label map' in refusal(volume)


def test_another_node_is_refused_by_its_class(scene):
    assert "vtkMRMLModelNode" in refusal(scene.AddNewNodeByClass("vtkMRMLModelNode"))


def test_slanted_axes_are_refused_with_their_angle(host):
    slanted = np.eye(3)
    slanted[:, 2] = (0, np.sin(np.radians(10)), np.cos(np.radians(10)))
    message = refusal(host.add_volume(VOXELS.astype("i2"), directions=slanted, name="tilted"))
    assert '"tilted"' in message
    assert "80.00 degrees" in message
    assert "Resample" in message


def test_a_size_of_zero_is_refused(host):
    volume = host.add_volume(VOXELS.astype("i2"), (1, 1, 1))
    matrix = np.diag([1.0, 1.0, 0.0, 1.0])
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    refusal(volume)


def test_a_stretching_transform_is_refused_with_what_to_do(host):
    volume = host.add_volume(VOXELS.astype("i2"))
    volume.SetAndObserveTransformNodeID(host.add_transform(np.diag([1.0, 1.0, 1.2, 1.0]), "Atlas").GetID())
    message = refusal(volume)
    assert '"Atlas"' in message
    assert "resample" in message


def test_a_shearing_transform_is_refused(host):
    volume = host.add_volume(VOXELS.astype("i2"))
    shear = np.eye(4)
    shear[0, 2] = 0.1
    volume.SetAndObserveTransformNodeID(host.add_transform(shear).GetID())
    assert "shears" in refusal(volume)


def test_a_transform_that_bends_space_leaves_the_grid_as_it_is(host):
    volume = host.add_volume(VOXELS.astype("i2"))
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for number, point in enumerate(itertools.product((0, 10), repeat=3)):
        source.InsertNextPoint(point)
        target.InsertNextPoint((point[0] + number, *point[1:]))
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    node = host.scene.AddNewNodeByClass("vtkMRMLTransformNode", "Warp")
    node.SetAndObserveTransformToParent(spline)
    volume.SetAndObserveTransformNodeID(node.GetID())
    image = image_from_volume(volume)
    assert np.array_equal(sitk.GetArrayFromImage(image), VOXELS)
    assert image.GetSpacing() == pytest.approx((1, 1, 1))


def test_a_region_is_the_box_of_the_roi_in_lps(host):
    assert region_from_roi(host.add_roi((1, 2, 3), (10, 20, 30))) == ((-6.0, -12.0, -12.0), (4.0, 8.0, 18.0))


def test_the_box_of_a_turned_roi_encloses_it(host):
    roi = host.add_roi((0, 0, 0), (10, 20, 30))
    turn = np.eye(4)
    turn[:3, :3], turn[:3, 3] = rotation(90, (0, 0, 1)), (100, 0, 0)
    roi.SetAndObserveTransformNodeID(host.add_transform(turn).GetID())
    low, high = region_from_roi(roi)
    assert low == pytest.approx((-110.0, -5.0, -15.0))
    assert high == pytest.approx((-90.0, 5.0, 15.0))


def test_an_unplaced_roi_is_refused(scene):
    with pytest.raises(InputError, match="is empty"):
        region_from_roi(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode"))


def test_what_is_no_roi_is_refused(volume):
    with pytest.raises(InputError, match="choose a markups ROI"):
        region_from_roi(volume)
