"""What is saved comes back: the segmentation voxel by voxel, the uncertainty as float, the tables with their types."""

import numpy as np
import pytest
import slicer

from CSAMSegmentLib.logic.result_tables import read_slices, set_reviewed
from CSAMSegmentLib.logic.result_writer import find_outputs, read_report, write_result


@pytest.fixture
def oblique(host):
    directions = np.array([[0.0, 0.6, 0.8], [0.0, 0.8, -0.6], [-1.0, 0.0, 0.0]])
    return host.add_volume(np.zeros((4, 6, 5), "i2"), (1.5, 1.25, 8.0), (-20.0, 30.0, 5.0), directions)


def test_a_segmentation_file_holds_the_same_segments(host, oblique, make_result, model, tmp_path):
    output = write_result(make_result(oblique), oblique, model)
    host.save_node(output.segmentation, tmp_path / "result.seg.nrrd")
    loaded = host.load_node("vtkMRMLSegmentationNode", tmp_path / "result.seg.nrrd")
    assert tuple(loaded.GetSegmentation().GetSegmentIDs()) == output.segment_ids
    for identifier in output.segment_ids:
        before = output.segmentation.GetSegmentation().GetSegment(identifier)
        after = loaded.GetSegmentation().GetSegment(identifier)
        assert after.GetName() == before.GetName()
        assert after.GetColor() == pytest.approx(before.GetColor(), abs=1e-3)
        assert after.GetTerminology() == before.GetTerminology()
        arrays = [
            slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, oblique)
            for node in (output.segmentation, loaded)
        ]
        assert arrays[0].any()
        assert np.array_equal(*arrays)


def test_an_uncertainty_file_keeps_the_float_values_and_their_place(host, oblique, make_result, model, tmp_path):
    node = write_result(make_result(oblique), oblique, model).uncertainty
    host.save_node(node, tmp_path / "uncertainty.nrrd")
    loaded = host.load_node("vtkMRMLScalarVolumeNode", tmp_path / "uncertainty.nrrd")
    array = slicer.util.arrayFromVolume(loaded)
    assert array.dtype == np.float32
    assert np.array_equal(array, slicer.util.arrayFromVolume(node))
    bounds = [[0.0] * 6, [0.0] * 6]
    node.GetRASBounds(bounds[0])
    loaded.GetRASBounds(bounds[1])
    assert bounds[0] == pytest.approx(bounds[1], abs=1e-6)


def test_a_table_file_keeps_the_ticks(host, oblique, make_result, model, tmp_path):
    node = write_result(make_result(oblique), oblique, model).slices
    set_reviewed(node, 3)
    host.save_node(node, tmp_path / "slices.tsv")
    loaded = host.load_node("vtkMRMLTableNode", tmp_path / "slices.tsv")
    assert [row.number for row in read_slices(loaded)] == [4, 3, 2, 1]
    assert [row.number for row in read_slices(loaded) if row.reviewed] == [3]


def test_a_saved_scene_still_knows_what_belongs_together(host, oblique, make_result, model, tmp_path):
    write_result(make_result(oblique), oblique, model)
    host.scene.SetSaveToXMLString(1)
    host.scene.Commit()
    text = host.scene.GetSceneXMLString()
    host.scene.Clear(False)
    host.scene.SetLoadFromXMLString(1)
    host.scene.SetSceneXMLString(text)
    host.scene.Import()
    segmentation = host.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    found = find_outputs(segmentation, model.name)
    assert set(found) == {"error_probability", "volumes", "slices"}
    assert read_report(found["volumes"])["warnings"] == ["Slices are 8 mm apart."]
    assert segmentation.GetNodeReference("CSAMSegment.Input").GetName() == "cine"
