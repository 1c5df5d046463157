"""What belongs to which: results, images, models and views while a person changes the choices."""

import numpy as np
import pytest
import slicer
import vtk
from gui.panel_kit import MAPS, make_model

from csam.errors import InputError


@pytest.fixture
def two(person):
    """Two images, A and B; A is chosen."""
    person.a, person.b = person.loads("A"), person.loads("B", seed=3)
    person.opens()
    choose(person, person.a)
    return person


def choose(person, image) -> None:
    person.parameters.inputVolume = image
    person.looks()


def background_and_map() -> tuple:
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    ids = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
    return tuple(slicer.mrmlScene.GetNodeByID(identifier) if identifier else None for identifier in ids)


def legends() -> list:
    return [node for node in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") if node.GetVisibility()]


def test_a_run_that_ends_after_another_image_was_chosen_leaves_that_choice_alone(two):
    person = two
    person.makes_the_worker("quick")
    person.ui.applyButton.click()
    person.until(lambda: person.panel.runner._active is not None)
    person.parameters.inputVolume = person.b
    person.ends()
    assert person.parameters.segmentation is None
    assert person.ui.qualityLabel.text == "No result yet."
    person.applies()
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert [node.GetName() for node in segmentations] == ["A segmentation", "B segmentation"]
    choose(person, person.a)
    assert person.parameters.segmentation is segmentations[0]


def test_outputs_chosen_for_one_image_are_not_written_over_by_the_next(two):
    person = two
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    doubt = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my map")
    person.parameters.segmentation, person.parameters.uncertainty = mine, doubt
    person.looks()
    person.makes_the_worker("quick")
    person.ui.applyButton.click()
    person.until(lambda: person.panel.runner._active is not None)
    person.parameters.inputVolume = person.b
    person.ends()
    assert person.parameters.segmentation is person.parameters.uncertainty is None
    person.applies()
    assert mine.GetNodeReference("CSAMSegment.Input") is person.a
    assert doubt.GetNodeReference("CSAMSegment.Input") is person.a
    assert person.parameters.segmentation is not mine


def test_each_model_keeps_its_own_map(two, tmp_path):
    person = two
    make_model("tiny2", title="Second").save(tmp_path / "shipped" / "tiny2")
    person.widget.exit()
    person.panel.input.fillModels()
    person.widget.enter()
    person.applies()
    first = person.parameters.uncertainty
    person.parameters.model = "tiny2"
    person.looks()
    assert person.parameters.segmentation.GetName() == "A segmentation"
    assert person.parameters.uncertainty is None
    person.applies()
    second = person.parameters.uncertainty
    assert second is not first
    assert [node.GetAttribute("CSAMSegment.Model") for node in (first, second)] == ["tiny", "tiny2"]
    person.parameters.model = "tiny"
    person.looks()
    assert person.parameters.uncertainty is first


def test_a_map_lies_over_its_own_image(two):
    person = two
    person.applies()
    first = person.nodes["error_probability"]
    choose(person, person.b)
    person.applies()
    assert background_and_map() == (person.b, person.nodes["error_probability"])
    choose(person, person.a)
    assert background_and_map() == (person.a, first)
    choose(person, person.loads("C", seed=4))
    assert background_and_map()[1] is None
    assert legends() == []


def test_no_map_and_no_legend_stay_when_the_segmentation_is_deleted(two):
    person = two
    person.applies()
    assert len(legends()) == 1
    slicer.mrmlScene.RemoveNode(person.parameters.segmentation)
    person.looks()
    assert background_and_map()[1] is None
    assert legends() == []


def test_a_map_that_is_not_there_has_no_legend(two):
    person = two
    output = person.panel.logic.process(person.a, "tiny")  # the chance of error alone
    person.parameters.segmentation = output.segmentation
    person.looks()
    assert len(legends()) == 1
    person.ui.overlayKindComboBox.currentIndex = 1
    person.looks()
    assert legends() == []
    assert background_and_map()[1] is None


def test_an_earlier_result_is_found_when_the_latest_segmentation_was_deleted(two):
    person = two
    person.applies()
    earlier = person.parameters.segmentation
    person.parameters.segmentation = None
    person.looks()
    person.applies()
    slicer.mrmlScene.RemoveNode(person.parameters.segmentation)
    choose(person, person.b)
    choose(person, person.a)
    assert person.parameters.segmentation is earlier


def test_a_layout_that_was_chosen_stands_for_other_images_and_runs(two):
    person = two
    person.applies()
    choose(person, person.b)
    person.applies()
    manager, red = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    manager.setLayout(red)
    choose(person, person.a)
    assert manager.layout == red
    person.applies()
    assert manager.layout == red


def test_a_result_is_restored_only_where_it_is_seen(two):
    person = two
    person.applies()
    person.applies()
    assert person.ui.restoreButton.enabled
    choose(person, person.b)
    assert not person.ui.restoreButton.enabled
    choose(person, person.a)
    assert person.ui.restoreButton.enabled


def test_corrections_are_not_lost_without_a_question(two):
    person = two
    person.applies()
    person.applies()
    segmentation = person.parameters.segmentation
    segment = segmentation.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, person.a).copy()
    mask[:3] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, person.a)
    person.until(lambda: person.ui.editedLabel.visible, "the edit is noticed")
    person.host.dialogs.answer(False)
    person.ui.restoreButton.click()
    assert "Corrections" in person.is_told()
    now = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, person.a)
    assert np.array_equal(now > 0, mask > 0)


def test_no_channel_is_written_over(two):
    person = two
    before = slicer.util.arrayFromVolume(person.b).copy()
    with pytest.raises(InputError, match='"B" is the input and the output'):
        person.panel.logic.start([person.a, person.b], "two", uncertainty=person.b)
    assert np.array_equal(slicer.util.arrayFromVolume(person.b), before)


def test_a_renamed_segment_has_its_new_name_in_the_list(two):
    person = two
    person.applies()
    segments = person.parameters.segmentation.GetSegmentation()
    segments.GetSegment(segments.GetNthSegmentID(0)).SetName("LV")
    person.panel.refresh()
    assert person.ui.segmentComboBox.itemText(0) == "LV"


def test_a_report_that_cannot_be_read_is_no_report(two):
    person = two
    person.applies()
    person.nodes["volumes"].SetAttribute("CSAMSegment.Report", "{not JSON")
    person.panel.refresh()
    assert person.ui.qualityLabel.text == "No result yet."


def test_a_finished_run_holds_no_voxels(two):
    person = two
    person.applies()
    run = person.panel.logic.run
    assert run.finished
    assert run._job is None
    assert run._states == []


def test_the_way_to_a_slice_follows_the_image_when_it_is_moved(two, monkeypatch):
    from CSAMSegmentLib.logic import slice_views

    person, places = two, []
    monkeypatch.setattr(slice_views, "jump", places.append)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "there")
    person.a.SetAndObserveTransformNodeID(transform.GetID())
    person.looks()
    person.applies()
    person.ui.nextButton.click()
    move = vtk.vtkMatrix4x4()
    move.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(move)
    person.panel.review.go(0)
    for node in (person.a, *(person.nodes[name] for name in MAPS)):
        node.HardenTransform()
    person.panel.review.go(0)
    first, *others = (np.array(place) for place in places)
    assert len(others) == 2
    for place in others:
        assert place - first == pytest.approx([100, 0, 0], abs=1e-6)
