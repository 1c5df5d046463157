"""What a user made or chose is not taken away without a word: corrections, views, layouts, whose result it is."""

import numpy as np
import qt
import slicer
from gui.panel_kit import make_model

RED = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def corrects(user) -> np.ndarray:
    changed = user.paints()
    user.looks()
    return changed


def visible(segmentation) -> bool:
    return bool(segmentation.GetDisplayNode().GetVisibility())


def test_a_run_over_corrections_says_how_they_come_back(done):
    assert done.ui.stageLabel.text == "Done."
    corrected = corrects(done)
    done.applies()
    assert done.ui.stageLabel.text == "Done. Restore previous brings your corrections back."
    assert not np.array_equal(done.voxels(), corrected)
    done.ui.restoreButton.click()
    done.looks()
    assert np.array_equal(done.voxels(), corrected)


def test_a_run_that_would_lose_corrections_for_good_asks_first(done):
    corrected = corrects(done)
    done.applies()
    done.host.dialogs.answer(qt.QMessageBox.Cancel)
    done.ui.applyButton.click()
    [question] = done.host.dialogs.take()
    assert "corrections" in question.text
    assert not done.panel.isRunning
    done.ui.restoreButton.click()
    done.looks()
    assert np.array_equal(done.voxels(), corrected)


def test_corrections_made_during_a_run_come_back_too(done):
    done.makes_the_worker("quick")
    done.ui.applyButton.click()
    corrected = done.paints()
    done.panel.edits.measure()
    done.ends()
    assert done.ui.stageLabel.text == "Done. Restore previous brings your corrections back."
    done.ui.restoreButton.click()
    done.looks()
    assert np.array_equal(done.voxels(), corrected)
    assert not done.ui.stageLabel.isVisible()


def test_the_run_of_another_model_replaces_no_corrections(done, tmp_path):
    make_model("tiny2", title="Second").save(tmp_path / "shipped" / "tiny2")
    done.panel.input.lookForModels()
    corrected = corrects(done)
    done.parameters.model = "tiny2"
    done.looks()
    done.applies()
    assert done.ui.stageLabel.text == "Done."
    assert np.array_equal(done.voxels(), corrected)
    done.applies()


def test_a_run_that_loses_corrections_on_request_is_the_last_to_ask(done):
    corrects(done)
    done.applies()
    done.host.dialogs.answer(qt.QMessageBox.Ok)
    done.applies()
    done.host.dialogs.take()
    assert done.ui.stageLabel.text == "Done."
    done.applies()


def test_the_outline_of_another_image_is_not_drawn_over_this_one(done):
    first, mine = done.parameters.segmentation, slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    mine.CreateDefaultDisplayNodes()
    done.parameters.inputVolume = done.loads("other", seed=3)
    done.looks()
    done.applies()
    second = done.parameters.segmentation
    assert [visible(node) for node in (first, second, mine)] == [False, True, True]
    done.parameters.inputVolume = done.volume
    done.looks()
    assert [visible(node) for node in (first, second, mine)] == [True, False, True]


def test_a_run_that_ends_in_another_module_leaves_the_views_to_it(done):
    other = done.loads("other", seed=3)
    done.makes_the_worker("quick")
    done.ui.applyButton.click()
    done.widget.exit()
    slicer.util.setSliceViewerLayers(background=other, foreground=None)
    manager = slicer.app.layoutManager()
    manager.setLayout(RED)
    done.ends()
    [composite, *_] = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetBackgroundVolumeID() == other.GetID()
    assert manager.layout == RED
    done.widget.enter()
    done.looks()
    assert composite.GetBackgroundVolumeID() == done.volume.GetID()
    assert composite.GetForegroundVolumeID() == done.parameters.uncertainty.GetID()


def test_a_run_that_ended_elsewhere_is_forgotten_with_its_scene(done, tmp_path):
    manager = slicer.app.layoutManager()
    manager.setLayout(RED)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    done.makes_the_worker("quick")
    done.ui.applyButton.click()
    done.widget.exit()
    done.ends()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    manager.setLayout(RED)
    done.widget.enter()
    done.looks()
    assert done.nodes
    assert manager.layout == RED


def test_a_scene_keeps_the_layout_that_it_was_saved_with(done, tmp_path):
    manager = slicer.app.layoutManager()
    manager.setLayout(RED)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    manager.setLayout(RED)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks()
    assert done.nodes
    assert manager.layout == RED


def test_an_image_that_was_loaded_meanwhile_is_chosen(user):
    user.opens()
    assert user.parameters.inputVolume is None
    user.widget.exit()
    image = user.loads()
    user.widget.enter()
    user.looks()
    assert user.parameters.inputVolume is image


def test_the_result_of_another_model_is_called_so(done, tmp_path):
    make_model("tiny2", title="Second").save(tmp_path / "shipped" / "tiny2")
    done.panel.input.lookForModels()
    assert "result of the model" not in done.ui.warningsLabel.text
    done.parameters.model = "tiny2"
    done.looks()
    assert "This is the result of the model &quot;tiny&quot;." in done.ui.warningsLabel.text


def test_of_a_scan_in_which_nothing_was_found_no_quality_is_known(user):
    user.loads()
    user.opens().applies("empty")
    assert user.ui.qualityLabel.text == "Nothing was found, so there is no expected Dice. Look at every slice."
    user.ui.copyButton.click()
    row = dict(zip(*(line.split("\t") for line in slicer.app.clipboard().text().splitlines()), strict=True))
    assert row["expected dice"] == ""


def test_a_device_that_is_not_here_is_told_before_the_run(done):
    done.parameters.device = "cuda:3"
    done.looks()
    assert done.ui.deviceLabel.text == "cuda:3 is not on this computer. Choose Automatic under Advanced."


def test_another_image_is_not_called_done(done):
    done.parameters.inputVolume = done.loads("other", seed=3)
    done.looks()
    assert not done.ui.stageLabel.isVisible()


def test_an_output_that_cannot_be_used_is_told_before_the_run(done):
    done.parameters.uncertainty = done.volume
    done.looks()
    assert not done.ui.applyButton.enabled
    assert "cannot also be the error map" in done.ui.fitLabel.text


def test_next_goes_to_what_is_left(done):
    review = done.panel.review
    for row in (0, 1):
        done.ui.sliceTable.item(row, 3).setCheckState(qt.Qt.Checked)
    done.ui.nextButton.click()
    assert review.current == 2
    review.go(5)
    done.ui.nextButton.click()
    assert review.current == 2
    for row in range(2, 6):
        done.ui.sliceTable.item(row, 3).setCheckState(qt.Qt.Checked)
    done.ui.nextButton.click()
    assert review.current == 3


def test_the_name_for_an_export_is_a_files(done, tmp_path):
    done.volume.SetName("SAX 1/2")
    done.host.dialogs.answer(str(tmp_path / "volumes"))
    done.ui.exportButton.click()
    [asked] = done.host.dialogs.take()
    assert asked.text == "SAX 1_2 tiny.csv"
    assert (tmp_path / "volumes.csv").exists()
