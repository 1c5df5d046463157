"""What belongs to which: results, images, models and views while a user changes the choices."""

import numpy as np
import pytest
import slicer
import vtk
from gui.panel_kit import MAPS, make_model

from csam.errors import InputError


@pytest.fixture
def two(user):
    """Two images, A and B; A is chosen."""
    user.a, user.b = user.loads("A"), user.loads("B", seed=3)
    user.opens()
    choose(user, user.a)
    return user


def choose(user, image) -> None:
    user.parameters.inputVolume = image
    user.looks()


def background_and_map() -> tuple:
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    ids = composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()
    return tuple(slicer.mrmlScene.GetNodeByID(identifier) if identifier else None for identifier in ids)


def legends() -> list:
    return [node for node in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") if node.GetVisibility()]


def test_a_run_that_ends_after_another_image_was_chosen_leaves_that_choice_alone(two):
    user = two
    user.makes_the_worker("quick")
    user.ui.applyButton.click()
    user.until(lambda: user.panel.runner._active is not None)
    user.parameters.inputVolume = user.b
    user.ends()
    assert user.parameters.segmentation is None
    assert user.ui.qualityLabel.text == "No result yet."
    user.applies()
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert [node.GetName() for node in segmentations] == ["A segmentation", "B segmentation"]
    choose(user, user.a)
    assert user.parameters.segmentation is segmentations[0]


def test_outputs_chosen_for_one_image_are_not_written_over_by_the_next(two):
    user = two
    mine = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    chosen = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "my map")
    user.parameters.segmentation, user.parameters.uncertainty = mine, chosen
    user.looks()
    user.makes_the_worker("quick")
    user.ui.applyButton.click()
    user.until(lambda: user.panel.runner._active is not None)
    user.parameters.inputVolume = user.b
    user.ends()
    assert user.parameters.segmentation is user.parameters.uncertainty is None
    user.applies()
    assert mine.GetNodeReference("CSAMSegment.Input") is user.a
    assert chosen.GetNodeReference("CSAMSegment.Input") is user.a
    assert user.parameters.segmentation is not mine


def test_what_is_chosen_after_apply_while_the_worker_is_starting_is_for_the_next_run(two):
    user = two
    user.makes_the_worker("quick")
    user.panel.worker.stop()
    user.ui.applyButton.click()
    user.parameters.inputVolume, user.parameters.samples = user.b, 3
    user.ends()
    user.looks()
    [segmentation] = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert segmentation.GetName() == "A segmentation"
    assert user.parameters.segmentation is None
    choose(user, user.a)
    assert user.panel._find().report()["provenance"]["options"]["samples"] == 4


def test_another_model_chosen_while_the_worker_is_starting_ends_the_run(two):
    user = two
    user.panel.worker.stop()
    user.ui.applyButton.click()
    assert user.panel.runner.wouldEnd("two")
    assert not user.panel.runner.wouldEnd("tiny")
    user.parameters.model = "two"
    user.ends()
    assert user.ui.stageLabel.text == "You have chosen another model, so the run is cancelled."
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_an_image_that_is_removed_while_the_worker_is_starting_ends_the_run(two):
    user = two
    user.panel.worker.stop()
    user.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(user.a)
    user.ends()
    assert user.is_told().startswith('The input "A" was removed from the scene')
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_each_model_keeps_its_own_map(two, tmp_path):
    user = two
    make_model("tiny2", title="Second").save(tmp_path / "shipped" / "tiny2")
    user.widget.exit()
    user.panel.input.fillModels()
    user.widget.enter()
    user.applies()
    first = user.parameters.uncertainty
    user.parameters.model = "tiny2"
    user.looks()
    assert user.parameters.segmentation.GetName() == "A segmentation"
    assert user.parameters.uncertainty is None
    user.applies()
    second = user.parameters.uncertainty
    assert second is not first
    assert [node.GetAttribute("CSAMSegment.Model") for node in (first, second)] == ["tiny", "tiny2"]
    user.parameters.model = "tiny"
    user.looks()
    assert user.parameters.uncertainty is first


def test_a_map_lies_over_its_own_image(two):
    user = two
    user.applies()
    first = user.nodes["error_probability"]
    choose(user, user.b)
    user.applies()
    assert background_and_map() == (user.b, user.nodes["error_probability"])
    choose(user, user.a)
    assert background_and_map() == (user.a, first)
    choose(user, user.loads("C", seed=4))
    assert background_and_map()[1] is None
    assert legends() == []


def test_no_map_and_no_legend_stay_when_the_segmentation_is_deleted(two):
    user = two
    user.applies()
    assert len(legends()) == 1
    slicer.mrmlScene.RemoveNode(user.parameters.segmentation)
    user.looks()
    assert background_and_map()[1] is None
    assert legends() == []


def test_a_map_that_is_not_there_has_no_legend(two):
    user = two
    output = user.panel.logic.process(user.a, "tiny")  # the error map alone
    user.parameters.segmentation = output.segmentation
    user.looks()
    assert len(legends()) == 1
    user.ui.overlayKindComboBox.currentIndex = 1
    user.looks()
    assert legends() == []
    assert background_and_map()[1] is None


def test_an_earlier_result_is_found_when_the_latest_segmentation_was_deleted(two):
    user = two
    user.applies()
    earlier = user.parameters.segmentation
    user.parameters.segmentation = None
    user.looks()
    user.applies()
    slicer.mrmlScene.RemoveNode(user.parameters.segmentation)
    choose(user, user.b)
    choose(user, user.a)
    assert user.parameters.segmentation is earlier


def test_a_layout_that_was_chosen_stands_for_other_images_and_runs(two):
    user = two
    user.applies()
    choose(user, user.b)
    user.applies()
    manager, red = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
    manager.setLayout(red)
    choose(user, user.a)
    assert manager.layout == red
    user.applies()
    assert manager.layout == red


def test_a_result_is_restored_only_where_it_is_seen(two):
    user = two
    user.applies()
    user.applies()
    assert user.ui.restoreButton.enabled
    choose(user, user.b)
    assert not user.ui.restoreButton.enabled
    choose(user, user.a)
    assert user.ui.restoreButton.enabled


def test_corrections_are_not_lost_without_a_question(two):
    user = two
    user.applies()
    user.applies()
    segmentation = user.parameters.segmentation
    segment = segmentation.GetSegmentation().GetNthSegmentID(0)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, user.a).copy()
    mask[:3] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, user.a)
    user.until(lambda: user.ui.editedLabel.visible, "the edit is noticed")
    user.host.dialogs.answer(False)
    user.ui.restoreButton.click()
    assert "Corrections" in user.is_told()
    now = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, user.a)
    assert np.array_equal(now > 0, mask > 0)


def test_no_channel_is_written_over(two):
    user = two
    before = slicer.util.arrayFromVolume(user.b).copy()
    with pytest.raises(InputError, match='"B" is the image to segment and cannot also be'):
        user.panel.logic.start([user.a, user.b], "two", uncertainty=user.b)
    assert np.array_equal(slicer.util.arrayFromVolume(user.b), before)


def test_a_renamed_segment_has_its_new_name_in_the_list(two):
    user = two
    user.applies()
    segments = user.parameters.segmentation.GetSegmentation()
    segments.GetSegment(segments.GetNthSegmentID(0)).SetName("LV")
    user.panel.refresh()
    assert user.ui.segmentComboBox.itemText(0) == "LV"


def test_a_report_that_cannot_be_read_is_no_report(two):
    user = two
    user.applies()
    user.nodes["volumes"].SetAttribute("CSAMSegment.Report", "{not JSON")
    user.panel.refresh()
    assert user.ui.qualityLabel.text == "No result yet."


def test_a_finished_run_holds_no_voxels(two):
    user = two
    user.applies()
    run = user.panel.logic.run
    assert run.finished
    assert run._job is None
    assert run._states == []


def test_the_way_to_a_slice_follows_the_image_when_it_is_moved(two, monkeypatch):
    from CSAMSegmentLib.logic import slice_views

    user, places = two, []
    monkeypatch.setattr(slice_views, "jump", places.append)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "there")
    user.a.SetAndObserveTransformNodeID(transform.GetID())
    user.looks()
    user.applies()
    user.ui.nextButton.click()
    move = vtk.vtkMatrix4x4()
    move.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(move)
    user.panel.review.go(0)
    for node in (user.a, *(user.nodes[name] for name in MAPS)):
        node.HardenTransform()
    user.panel.review.go(0)
    first, *others = (np.array(place) for place in places)
    assert len(others) == 2
    for place in others:
        assert place - first == pytest.approx([100, 0, 0], abs=1e-6)
