"""Sequences: a run over all images of one, and what a panel says while its browser moves."""

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from gui.panel_kit import browser_of

from csam.process.client import WorkerClient


def make_sequence(user, count: int = 3, step: float = 40, tolerance: float = 0.001):
    """A sequence of a stack at several times with its browser; the proxy volume comes back."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
    sequence.SetNumericIndexValueTolerance(tolerance)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    for number in range(count):
        volume = user.loads(f"phase {number}", seed=number)
        sequence.SetDataNodeAtValue(volume, f"{step * number:g}")
        slicer.mrmlScene.RemoveNode(volume)
    return browser_of(sequence)


@pytest.fixture
def sequence(user):
    """A user in front of a sequence of three images, all of which Apply segments."""
    user.browser, user.proxy = make_sequence(user)
    user.opens()
    user.parameters.inputVolume = user.proxy
    user.parameters.wholeSequence = True
    user.looks()
    return user


def browse(user, number: int) -> None:
    user.browser.SetSelectedItemNumber(number)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(user.browser)
    user.looks()


def error_map(user) -> np.ndarray:
    return slicer.util.arrayFromVolume(user.nodes["error_probability"])


def reaches(user, item: int) -> None:
    """Presses Apply and waits until the run is at an image."""
    user.makes_the_worker("quick")
    user.ui.applyButton.click()
    user.until(lambda: user.panel.runner._active is not None and user.panel.runner._active._item == item)


def test_a_sequence_gives_sequences_of_results(user, monkeypatch):
    browser, proxy = make_sequence(user)
    user.opens()
    start, sent = user.panel.logic.start, []
    monkeypatch.setattr(
        user.panel.logic,
        "start",
        lambda volumes, *more: sent.append(slicer.util.arrayFromVolume(volumes[0]).copy()) or start(volumes, *more),
    )
    user.parameters.inputVolume = proxy
    user.looks()
    assert user.ui.wholeSequenceCheckBox.isVisible()
    assert user.ui.wholeSequenceCheckBox.text == "All 3 images of the &sequence"
    user.ui.wholeSequenceCheckBox.click()
    user.looks()
    user.sees("11-sequence")
    user.applies()
    images = [browser.GetMasterSequenceNode().GetNthDataNode(number) for number in range(3)]
    assert all(map(np.array_equal, sent, map(slicer.util.arrayFromVolume, images)))
    assert not np.array_equal(sent[0], sent[1])
    sequences = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    assert len(sequences) == 7  # the images, the segmentation, three maps, two tables
    for sequence in sequences:
        assert sequence.GetNumberOfDataNodes() == 3
        assert [sequence.GetNthIndexValue(number) for number in range(3)] == ["0", "40", "80"]
        assert browser.IsSynchronizedSequenceNodeID(sequence.GetID(), True)
    assert browser.GetSelectedItemNumber() == 1
    maps = [sequence for sequence in sequences if sequence.GetName() == user.nodes["error_probability"].GetName()]
    assert maps
    assert user.ui.sliceTable.rowCount == 6


def test_images_nearer_than_the_usual_tolerance_keep_a_result_each(user):
    """Times in seconds of a fast series: 0, 0.0004, 0.0008; the usual tolerance is 0.001."""
    _browser, user.proxy = make_sequence(user, step=0.0004, tolerance=1e-6)
    user.opens()
    user.parameters.inputVolume, user.parameters.wholeSequence = user.proxy, True
    user.looks()
    user.applies()
    for sequence in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
        values = [sequence.GetNthIndexValue(number) for number in range(sequence.GetNumberOfDataNodes())]
        assert values == ["0", "0.0004", "0.0008"], sequence.GetName()


def test_images_at_one_place_of_the_index_are_refused_before_the_run(sequence):
    user = sequence
    before = user.host.scene_host.node_ids()
    user.browser.GetMasterSequenceNode().SetNumericIndexValueTolerance(50)
    user.ui.applyButton.click()
    user.ends()
    assert (
        "image 2 (at 40) and image 1 (at 0) are closer to each other than the tolerance of the index (50)"
        in user.is_told()
    )
    assert user.host.scene_host.node_ids() == before


def test_a_sequence_takes_as_long_as_its_images_and_gets_outputs_of_its_own(sequence):
    assert sequence.ui.deviceLabel.text.endswith("about 11 s")
    assert not sequence.ui.segmentationSelector.enabled
    sequence.parameters.wholeSequence = False
    sequence.looks()
    assert sequence.ui.deviceLabel.text.endswith("about 4 s")
    assert sequence.ui.segmentationSelector.enabled


def test_the_results_of_a_sequence_follow_its_browser(sequence):
    user = sequence
    user.applies()
    shown = []
    for number in range(3):
        browse(user, number)
        shown.append(error_map(user).copy())
        assert user.ui.reviewedLabel.text == "0 of 6 slices reviewed"
        user.ui.sliceTable.item(number, 3).setCheckState(qt.Qt.Checked)
        user.looks()
        assert user.ui.reviewedLabel.text == "1 of 6 slices reviewed"
        assert user.parameters.segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert all(np.isfinite(values).all() for values in shown)


def test_a_cancelled_sequence_leaves_the_scene_as_it_was(sequence):
    user = sequence
    before = slicer.mrmlScene.GetNumberOfNodes()
    reaches(user, 1)
    user.makes_the_worker("slow")
    user.cancels()
    user.looks()
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert user.browser.GetSelectedItemNumber() == 1
    assert user.ui.stageLabel.text == "Cancelled. The scene is as it was."


def test_a_volume_of_its_own_offers_no_sequence(user):
    user.loads()
    user.opens()
    assert not user.ui.wholeSequenceCheckBox.isVisible()


def test_after_a_sequence_no_image_gets_the_result_of_another(sequence):
    user = sequence
    user.applies()
    assert not user.ui.restoreButton.enabled
    user.parameters.wholeSequence = False
    browse(user, 0)
    user.applies()
    assert user.ui.restoreButton.enabled
    browse(user, 2)
    assert not user.ui.restoreButton.enabled
    error_map(user)[:] = 0.25
    user.panel.restorePrevious()
    assert "no previous result" in user.is_told()
    assert (error_map(user) == 0.25).all()
    browse(user, 0)
    assert user.ui.restoreButton.enabled


def test_a_result_of_one_image_says_so_where_the_sequence_shows_another(sequence):
    user = sequence
    user.parameters.wholeSequence = False
    user.applies()
    assert "time 40 ms" not in user.ui.warningsLabel.text
    browse(user, 2)
    assert "This is the result of time 40 ms; the sequence shows time 80 ms now." in user.ui.warningsLabel.text
    browse(user, 1)
    assert "time 40 ms" not in user.ui.warningsLabel.text


@pytest.fixture
def single(sequence, monkeypatch):
    """The same user, to whom Apply segments the image that is shown; ``sent`` are the voxels that the worker gets."""
    sequence.parameters.wholeSequence = False
    sequence.looks()
    submit, sequence.sent = WorkerClient.submit, []

    def submitted(client, header, images):
        if header["type"] == "segment":
            sequence.sent.append(np.array(images[0].voxels))
        return submit(client, header, images)

    monkeypatch.setattr(WorkerClient, "submit", submitted)
    return sequence


def test_apply_segments_the_image_shown_at_the_press_though_the_worker_was_still_starting(single):
    user = single
    shown = slicer.util.arrayFromVolume(user.proxy).copy()
    user.makes_the_worker("quick")
    user.panel.worker.stop()
    user.ui.applyButton.click()
    user.browser.SetSelectedItemNumber(2)
    user.ends()
    assert user.ui.stageLabel.text == "Done."
    assert np.array_equal(user.sent, [shown])
    assert user.browser.GetSelectedItemNumber() == 1
    assert user.panel._find().report()["sequence_item"] == "time 40 ms"


def test_who_goes_to_another_image_during_a_run_finds_the_result_on_the_one_that_was_segmented(single):
    user = single
    user.makes_the_worker("quick")
    user.ui.applyButton.click()
    user.until(lambda: user.panel.runner._active is not None)
    browse(user, 2)
    user.ends()
    assert user.ui.stageLabel.text == "Done."
    assert user.browser.GetSelectedItemNumber() == 1
    assert user.panel._find().report()["sequence_item"] == "time 40 ms"


def test_the_browser_is_removed_before_the_first_image_is_done(sequence):
    user = sequence
    user.starts("slow")
    slicer.mrmlScene.RemoveNode(user.browser)
    user.ends()
    assert "browser was removed" in user.is_told()
    user.parameters.inputVolume = user.loads("other", seed=5)
    user.looks()
    user.applies()
    assert user.ui.stageLabel.text == "Done."


@pytest.mark.parametrize("what", ["browser", "sequence"])
def test_a_sequence_that_is_removed_while_the_worker_is_starting_ends_the_run(sequence, what):
    user = sequence
    user.panel.worker.stop()
    user.ui.applyButton.click()
    slicer.mrmlScene.RemoveNode(user.browser if what == "browser" else user.browser.GetMasterSequenceNode())
    user.ends()
    assert user.is_told() == "The sequence is no longer in the scene."
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_a_frame_is_removed_while_a_sequence_runs(sequence):
    user = sequence
    before = slicer.mrmlScene.GetNumberOfNodes()
    reaches(user, 1)
    user.browser.GetMasterSequenceNode().RemoveDataNodeAtValue("80")
    user.ends()
    assert "The frames of the sequence were changed while they were being segmented" in user.is_told()
    assert slicer.mrmlScene.GetNumberOfNodes() == before


@pytest.mark.parametrize("gone", ["0", "80"])
def test_a_frame_whose_place_another_or_none_has_by_now_gets_no_result(single, gone):
    user = single
    browse(user, 2)
    user.makes_the_worker("quick")
    user.ui.applyButton.click()
    user.until(lambda: user.panel.runner._active is not None)
    user.browser.SetSelectedItemNumber(0)
    user.browser.GetMasterSequenceNode().RemoveDataNodeAtValue(gone)
    shown = user.browser.GetSelectedItemNumber()
    user.ends()
    assert "The frames of the sequence were changed while they were being segmented" in user.is_told()
    assert user.browser.GetSelectedItemNumber() == shown
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_a_result_whose_sequence_is_gone_says_so(single):
    user = single
    user.applies()
    user.ui.sliceTable.item(0, 3).setCheckState(qt.Qt.Checked)
    slicer.mrmlScene.RemoveNode(user.browser)
    user.looks()
    user.ui.updateButton.click()
    assert user.is_told() == (
        "This is the result of time 40 ms; no sequence browser shows that frame any more. Run it again."
    )


def test_the_segmentation_is_removed_while_a_sequence_runs(sequence):
    user = sequence
    before = {
        node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode") if not node.IsA("vtkMRMLDisplayNode")
    }
    reaches(user, 1)
    user.makes_the_worker("slow")
    slicer.mrmlScene.RemoveNode(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0])
    user.ends()
    assert "was removed from the scene" in user.is_told()
    left = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode") if not node.IsA("vtkMRMLDisplayNode")}
    assert left == before


def test_a_restart_of_the_worker_takes_the_images_that_were_done_with_it(sequence):
    user = sequence
    before = slicer.mrmlScene.GetNumberOfNodes()
    reaches(user, 1)
    user.makes_the_worker("slow")
    user.ui.restartWorkerButton.click()
    user.looks()
    assert not user.panel.isRunning
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert user.browser.GetSelectedItemNumber() == 1


def test_a_sequence_that_cannot_start_stays_where_it_was(sequence):
    user = sequence
    user.panel.logic.start = lambda *_arguments: (_ for _ in ()).throw(RuntimeError("no room"))
    user.applies()
    assert "could not be started: no room" in user.is_told()
    assert user.browser.GetSelectedItemNumber() == 1
    assert not user.panel.isRunning


def test_an_image_that_was_browsed_away_from_is_segmented_again(sequence):
    user = sequence
    reaches(user, 2)
    browse(user, 0)
    browse(user, 2)
    user.ends()
    assert user.ui.stageLabel.text == "Done."
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 7


def test_a_cancelled_sequence_leaves_what_could_be_restored(sequence):
    user = sequence
    user.parameters.inputVolume = user.loads("other", seed=5)
    user.looks()
    user.applies()
    user.applies()
    before = user.panel.logic.lastOutput
    assert before.previous is not None
    user.parameters.inputVolume = user.proxy
    user.parameters.wholeSequence = True
    user.looks()
    reaches(user, 1)
    user.makes_the_worker("slow")
    user.cancels()
    assert user.panel.logic.lastOutput is before


def test_an_edit_of_one_image_is_not_told_of_another(sequence):
    user = sequence
    user.applies()
    browse(user, 0)
    segmentation = user.parameters.segmentation
    [segment] = segmentation.GetSegmentation().GetSegmentIDs()
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, user.proxy)
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.zeros_like(voxels), segmentation, segment, user.proxy)
    user.looks()
    assert "was edited: 0.0 ml now" in user.ui.editedLabel.text
    browse(user, 2)
    assert not user.ui.editedLabel.isVisible()
    assert not user.panel.result.isEdited
    browse(user, 0)
    assert "was edited: 0.0 ml now" in user.ui.editedLabel.text


@pytest.mark.parametrize("way", ["recording", "no playback"])
def test_images_that_do_not_follow_the_browser_are_not_segmented_as_one(sequence, way):
    user = sequence
    if way == "recording":
        user.browser.SetRecording(user.browser.GetMasterSequenceNode(), True)
        user.browser.SetRecordingActive(True)
    else:
        user.browser.SetPlayback(user.browser.GetMasterSequenceNode(), False)
    before = slicer.mrmlScene.GetNumberOfNodes()
    user.panel.worker.stop()
    user.ui.applyButton.click()
    assert "(module Sequences)" in user.is_told()  # at once, though there is no worker yet
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert not user.panel.isRunning


def test_a_sequence_that_lacks_an_image_of_its_browser_does_not_get_the_result_of_another(user):
    """Slicer shows the image before where one is missing."""
    user.browser, _proxy = make_sequence(user)
    sparse = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "sparse")
    for number in (0, 2):
        volume = user.browser.GetMasterSequenceNode().GetNthDataNode(number)
        sparse.SetDataNodeAtValue(volume, f"{40 * number}")
    user.browser.AddSynchronizedSequenceNodeID(sparse.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(user.browser)
    user.opens()
    user.parameters.inputVolume, user.parameters.wholeSequence = user.browser.GetProxyNode(sparse), True
    user.looks()
    before = user.host.scene_host.node_ids()
    user.ui.applyButton.click()
    user.ends()
    assert 'The sequence "sparse" has no image at 40 ms (frame 2)' in user.is_told()
    assert user.host.scene_host.node_ids() == before


def test_the_browser_is_modified_once_when_the_results_join_it(sequence, monkeypatch):
    user = sequence
    reaches(user, 2)
    told, run = [], user.panel.runner._active
    user.browser.AddObserver("ModifiedEvent", lambda *_: told.append(1))
    publish, counts = run._publish, []

    def counted():
        told.clear()
        publish()
        counts.append(len(told))

    monkeypatch.setattr(run, "_publish", counted)
    user.ends()
    assert counts == [1]
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 7
    assert user.browser.GetSelectedItemNumber() == 1


def test_a_case_is_kept_for_training_while_the_sequence_shows_its_image_alone(user, tmp_path):
    from CSAMSegmentLib.widgets.training_case import save_case

    user.browser, user.proxy = make_sequence(user)
    user.opens()
    user.parameters.inputVolume = user.proxy
    user.looks()
    user.applies()
    case = user.panel._find(), [user.proxy], user.panel.input.model, tmp_path / "hearts"
    browse(user, 2)
    with pytest.raises(ValueError, match=r"of time 40 ms; now the sequence shows time 80 ms\. Go back to time 40 ms"):
        save_case(*case, "p1_1")
    assert not (tmp_path / "hearts").exists()
    browse(user, 1)
    assert save_case(*case, "p1_1") == 1


def test_of_a_segmented_sequence_every_image_is_a_case_with_its_own_labels(sequence, tmp_path):
    from csam.training.dataset import read_dataset
    from CSAMSegmentLib.widgets.training_case import kept_as, save_case

    sequence.applies()
    for number in (0, 2):
        browse(sequence, number)
        result = sequence.panel._find()
        assert kept_as(result, tmp_path / "hearts") == ""
        save_case(result, [sequence.proxy], sequence.panel.input.model, tmp_path / "hearts", f"p1_{number}")
    first, last = (case.read()[0][0] for case in read_dataset(tmp_path / "hearts").cases)
    assert not np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(last))
