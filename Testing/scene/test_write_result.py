"""A result goes into the scene voxel by voxel, with what a user needs to read it."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk

from csam.errors import InputError
from CSAMSegmentLib.logic.result_tables import read_slices, set_reviewed
from CSAMSegmentLib.logic.result_writer import find_outputs, read_report, write_result
from CSAMSegmentLib.logic.segments import LABELMAP, SURFACE

TERMINOLOGY = (  # as a running application shows it
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure~"
    "SCT^87878005^Left ventricle~^^~Anatomic codes - DICOM master list~^^~^^"
)


def voxels_of(segmentation, segment_id):
    """The voxels of a segment on its own grid, and where that grid is: array (k, j, i), image-to-RAS matrix."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(LABELMAP)
    array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return array.reshape(image.GetDimensions()[::-1]) == segment.GetLabelValue(), slicer.util.arrayFromVTKMatrix(matrix)


def array_of(image):
    return sitk.GetArrayFromImage(image)


def geometry_of(volume):
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


OBLIQUE = np.array([[0.0, 0.6, -0.8], [0.0, 0.8, 0.6], [-1.0, 0.0, 0.0]])  # permuted, and left-handed with a flip


@pytest.mark.parametrize("directions", [np.eye(3), OBLIQUE, OBLIQUE * [1, -1, 1]], ids=["plain", "oblique", "mirrored"])
@pytest.mark.parametrize("moved", [False, True], ids=["untransformed", "transformed"])
def test_segments_fill_exactly_the_labelled_voxels(host, make_result, model, directions, moved):
    volume = host.add_volume(np.zeros((4, 6, 5), "i2"), (1.5, 1.25, 8.0), (-20.0, 30.0, 5.0), directions)
    if moved:
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = np.eye(3)[:, [1, 2, 0]], (7, 8, 9)
        volume.SetAndObserveTransformNodeID(host.add_transform(matrix).GetID())
    result = make_result(volume)
    output = write_result(result, volume, model)
    assert output.segmentation.GetTransformNodeID() == volume.GetTransformNodeID()
    for label, identifier in zip(model.labels, output.segment_ids, strict=True):
        voxels, matrix = voxels_of(output.segmentation, identifier)
        assert np.array_equal(voxels, array_of(result.labels) == label.value)
        assert matrix == pytest.approx(geometry_of(volume), abs=1e-9)
        exported = slicer.util.arrayFromSegmentBinaryLabelmap(output.segmentation, identifier, volume)
        assert np.array_equal(exported > 0, voxels)


def test_each_label_becomes_a_segment_with_name_colour_and_terminology(volume, make_result, model):
    output = write_result(make_result(volume), volume, model)
    segmentation = output.segmentation.GetSegmentation()
    left, right = (segmentation.GetSegment(identifier) for identifier in output.segment_ids)
    assert segmentation.GetNumberOfSegments() == 2
    assert (left.GetName(), right.GetName()) == ("Left ventricle", "Right ventricle")
    assert left.GetColor() == pytest.approx((200 / 255, 40 / 255, 40 / 255))
    assert left.GetTerminology() == TERMINOLOGY
    entry = slicer.vtkSlicerTerminologyEntry()
    assert slicer.modules.terminologies.logic().DeserializeTerminologyEntry(left.GetTerminology(), entry)
    assert entry.GetTypeObject().GetCodeMeaning() == "Left ventricle"


def test_the_segmentation_takes_its_reference_geometry_from_the_volume(volume, make_result, model):
    segmentation = write_result(make_result(volume), volume, model).segmentation
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is volume


def test_an_empty_structure_is_an_empty_segment(volume, make_result, model):
    output = write_result(make_result(volume, labels=np.zeros((4, 6, 5), np.uint8)), volume, model)
    assert output.segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert not voxels_of(output.segmentation, output.segment_ids[0])[0].any()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4"])
def test_labels_of_any_whole_type_are_kept(volume, make_result, model, dtype):
    labels = np.zeros((4, 6, 5), dtype)
    labels[2, 3, 4] = 2
    output = write_result(make_result(volume, labels=labels), volume, model)
    assert np.argwhere(voxels_of(output.segmentation, output.segment_ids[1])[0]).tolist() == [[2, 3, 4]]


def test_the_uncertainty_is_a_float_volume_on_the_grid_of_the_input(volume, make_result, model):
    result = make_result(volume)
    node = write_result(result, volume, model).uncertainty
    array = slicer.util.arrayFromVolume(node)
    assert array.dtype == np.float32
    assert np.array_equal(array, array_of(result.error_probability))
    assert np.array_equal(geometry_of(node), geometry_of(volume))


def test_the_overlay_shows_error_probabilities_from_a_twentieth_to_a_half_in_inferno(volume, make_result, model):
    display = write_result(make_result(volume), volume, model).uncertainty.GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeFileInferno.txt"
    assert not display.GetAutoWindowLevel()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, 0.5)
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(0.05)
    assert display.GetUpperThreshold() >= 1.0
    assert not display.GetInterpolate()


def test_a_missing_colour_table_is_replaced_by_one_that_is_there(scene, volume, make_result, model):
    scene.RemoveNode(scene.GetNodeByID("vtkMRMLColorTableNodeFileInferno.txt"))
    display = write_result(make_result(volume), volume, model).uncertainty.GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    scene.RemoveNode(scene.GetNodeByID("vtkMRMLColorTableNodeIron"))
    display = write_result(make_result(volume), volume, model).uncertainty.GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"


def test_entropy_and_mutual_information_come_when_asked_for(volume, make_result, model):
    output = write_result(make_result(volume), volume, model, maps=("entropy", "mutual_information"))
    assert set(output.nodes) == {"entropy", "mutual_information", "volumes", "slices"}
    assert output.nodes["entropy"].GetDisplayNode().GetWindowLevelMax() == pytest.approx(math.log(3))
    assert output.nodes["mutual_information"].GetDisplayNode().GetWindowLevelMax() == pytest.approx(0.05)


def test_an_unknown_map_is_refused_with_those_known(volume, make_result, model):
    with pytest.raises(InputError, match=r"Unknown maps: variance\. Known are: error_probability"):
        write_result(make_result(volume), volume, model, maps=("variance",))


def test_probabilities_become_a_volume_for_each_structure(volume, make_result, model):
    output = write_result(make_result(volume, probabilities=True), volume, model)
    left = slicer.util.arrayFromVolume(output.nodes["probability 1"])
    assert np.array_equal(left, np.linspace(0, 0.5, 120, dtype="f4").reshape(4, 6, 5))
    assert output.nodes["probability 2"].GetName() == "cine probability of Right ventricle"


def test_the_table_of_volumes_has_a_row_for_each_structure(volume, make_result, model):
    table = write_result(make_result(volume), volume, model).volumes.GetTable()
    assert [table.GetColumnName(number) for number in range(table.GetNumberOfColumns())] == [
        *("structure", "label", "volume (ml)", "mean (ml)", "low (ml)", "high (ml)")
    ]
    assert [table.GetValue(0, number).ToString() for number in range(3)] == ["Left ventricle", "1", "101.5"]
    assert [table.GetValue(1, number).ToDouble() for number in range(3, 6)] == [121.0, 100.0, 140.0]


def test_the_table_of_slices_counts_from_one_and_points_to_the_worst_spot_in_ras(volume, make_result, model):
    node = write_result(make_result(volume), volume, model).slices
    rows = read_slices(node)
    assert [row.rank for row in rows] == [1, 2, 3, 4]
    assert (rows[0].number, rows[0].index) == (4, 3)
    assert rows[0].point == pytest.approx((-20.0, 30.0, 5.0 + 3 * 8.0))  # RAS of voxel (0, 0, 3)
    assert node.GetTable().GetValueByName(3, "Left ventricle (mm2)").ToDouble() == 30.0


def test_the_table_of_slices_says_why_one_comes_before_others(volume, make_result, model):
    node = write_result(make_result(volume), volume, model).slices
    assert [row.why for row in read_slices(node)] == ["the area jumps", "", "", ""]
    node.GetTable().RemoveColumnByName("why")
    assert {row.why for row in read_slices(node)} == {""}, "a table of a scene from before"


def test_the_worst_spot_is_given_where_a_transformed_volume_is_shown(host, volume, make_result, model):
    matrix = np.eye(4)
    matrix[:3, 3] = (100, 0, 0)
    volume.SetAndObserveTransformNodeID(host.add_transform(matrix).GetID())
    assert read_slices(write_result(make_result(volume), volume, model).slices)[3].point == (80.0, 30.0, 5.0)


def test_a_reviewed_slice_stays_ticked(volume, make_result, model):
    node = write_result(make_result(volume), volume, model).slices
    set_reviewed(node, 4)
    assert [row.reviewed for row in read_slices(node)] == [True, False, False, False]
    with pytest.raises(ValueError, match="no slice 9"):
        set_reviewed(node, 9)


def test_the_report_keeps_quality_warnings_and_provenance(volume, make_result, model):
    report = read_report(write_result(make_result(volume), volume, model).volumes)
    assert report["case_quality"] == 0.93
    assert report["warnings"] == ["Slices are 8 mm apart."]
    assert report["slice_axis"] == "k"
    assert report["provenance"]["seconds"] == 1.5


def test_all_outputs_lie_in_the_study_of_the_input(scene, volume, make_result, model):
    hierarchy = scene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Ann"), "MR")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    output = write_result(make_result(volume), volume, model)
    for node in (output.segmentation, *output.nodes.values()):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_nodes_are_whole_when_the_scene_tells_of_them(scene, volume, make_result, model):
    seen = {}

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def look(scene, event, node):
        if node.IsA("vtkMRMLSegmentationNode"):
            seen["segments"] = node.GetSegmentation().GetNumberOfSegments()
        if node.IsA("vtkMRMLScalarVolumeNode"):
            seen["voxels"] = node.GetImageData().GetNumberOfPoints()
        if node.IsA("vtkMRMLTableNode"):
            seen[node.GetAttribute("CSAMSegment.Role")] = node.GetTable().GetNumberOfRows()

    scene.AddObserver(scene.NodeAddedEvent, look)
    write_result(make_result(volume), volume, model)
    assert seen == {"segments": 2, "voxels": 120, "volumes": 2, "slices": 4}


def test_a_result_of_another_size_is_refused(host, volume, make_result, model):
    other = host.add_volume(np.zeros((3, 6, 5), "i2"))
    before = host.node_ids()
    with pytest.raises(InputError, match="5 x 6 x 3 voxels"):
        write_result(make_result(other), volume, model)
    assert host.node_ids() == before


def test_an_output_of_the_wrong_type_is_refused(volume, make_result, model):
    with pytest.raises(InputError, match="choose a segmentation"):
        write_result(make_result(volume), volume, model, segmentation=volume)
    with pytest.raises(InputError, match="cannot also be the error map"):
        write_result(make_result(volume), volume, model, uncertainty=volume)


def test_a_segmentation_made_of_surfaces_is_refused(scene, volume, make_result, model):
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "from STL")
    segmentation.GetSegmentation().SetSourceRepresentationName(SURFACE)
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    segmentation.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball", [1, 0, 0])
    with pytest.raises(InputError, match='"from STL" keeps its segments as Closed surface'):
        write_result(make_result(volume), volume, model, segmentation=segmentation)


def test_a_run_finds_what_the_run_before_it_made(volume, make_result, model):
    output = write_result(make_result(volume), volume, model)
    assert find_outputs(output.segmentation, model.name) == output.nodes
    assert find_outputs(output.segmentation, "another model") == {}
