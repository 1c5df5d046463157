"""Sequences: a run over all images of one, and what a panel says while its browser moves."""

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer


def make_sequence(person, count: int = 3, step: float = 40, tolerance: float = 0.001):
    """A sequence of a stack at several times with its browser; the proxy volume comes back."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
    sequence.SetNumericIndexValueTolerance(tolerance)
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    for number in range(count):
        volume = person.loads(f"phase {number}", seed=number)
        sequence.SetDataNodeAtValue(volume, f"{step * number:g}")
        slicer.mrmlScene.RemoveNode(volume)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser, browser.GetProxyNode(sequence)


@pytest.fixture
def sequence(person):
    """A person in front of a sequence of three images, all of which Apply segments."""
    person.browser, person.proxy = make_sequence(person)
    person.opens()
    person.parameters.inputVolume = person.proxy
    person.parameters.wholeSequence = True
    person.looks()
    return person


def browse(person, number: int) -> None:
    person.browser.SetSelectedItemNumber(number)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(person.browser)
    person.looks()


def doubt(person) -> np.ndarray:
    return slicer.util.arrayFromVolume(person.nodes["error_probability"])


def reaches(person, item: int) -> None:
    """Presses Apply and waits until the run is at an image."""
    person.makes_the_worker("quick")
    person.ui.applyButton.click()
    person.until(lambda: person.panel.runner._active is not None and person.panel.runner._active._item == item)


def test_a_sequence_gives_sequences_of_results(person, monkeypatch):
    browser, proxy = make_sequence(person)
    person.opens()
    start, sent = person.panel.logic.start, []
    monkeypatch.setattr(
        person.panel.logic,
        "start",
        lambda volumes, *more: sent.append(slicer.util.arrayFromVolume(volumes[0]).copy()) or start(volumes, *more),
    )
    person.parameters.inputVolume = proxy
    person.looks()
    assert person.ui.wholeSequenceCheckBox.isVisible()
    assert person.ui.wholeSequenceCheckBox.text == "All 3 images of the &sequence"
    person.ui.wholeSequenceCheckBox.click()
    person.looks()
    person.sees("11-sequence")
    person.applies()
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
    maps = [sequence for sequence in sequences if sequence.GetName() == person.nodes["error_probability"].GetName()]
    assert maps
    assert person.ui.sliceTable.rowCount == 6


def test_images_nearer_than_the_usual_tolerance_keep_a_result_each(person):
    """Times in seconds of a fast series: 0, 0.0004, 0.0008; the usual tolerance is 0.001."""
    _browser, person.proxy = make_sequence(person, step=0.0004, tolerance=1e-6)
    person.opens()
    person.parameters.inputVolume, person.parameters.wholeSequence = person.proxy, True
    person.looks()
    person.applies()
    for sequence in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
        values = [sequence.GetNthIndexValue(number) for number in range(sequence.GetNumberOfDataNodes())]
        assert values == ["0", "0.0004", "0.0008"], sequence.GetName()


def test_images_at_one_place_of_the_index_are_refused_before_the_run(sequence):
    person = sequence
    before = person.host.scene_host.node_ids()
    person.browser.GetMasterSequenceNode().SetNumericIndexValueTolerance(50)
    person.ui.applyButton.click()
    person.ends()
    assert "image 2 lies at 40, image 1 at 0: nearer than the tolerance of its index (50)" in person.is_told()
    assert person.host.scene_host.node_ids() == before


def test_a_sequence_takes_as_long_as_its_images_and_gets_outputs_of_its_own(sequence):
    assert sequence.ui.deviceLabel.text.endswith("about 10 s")
    assert not sequence.ui.segmentationSelector.enabled
    sequence.parameters.wholeSequence = False
    sequence.looks()
    assert sequence.ui.deviceLabel.text.endswith("about 3 s")
    assert sequence.ui.segmentationSelector.enabled


def test_the_results_of_a_sequence_follow_its_browser(sequence):
    person = sequence
    person.applies()
    shown = []
    for number in range(3):
        browse(person, number)
        shown.append(doubt(person).copy())
        assert person.ui.reviewedLabel.text == "0 of 6 slices reviewed"
        person.ui.sliceTable.item(number, 3).setCheckState(qt.Qt.Checked)
        person.looks()
        assert person.ui.reviewedLabel.text == "1 of 6 slices reviewed"
        assert person.parameters.segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert all(np.isfinite(values).all() for values in shown)


def test_a_cancelled_sequence_leaves_the_scene_as_it_was(sequence):
    person = sequence
    before = slicer.mrmlScene.GetNumberOfNodes()
    reaches(person, 1)
    person.makes_the_worker("slow")
    person.cancels()
    person.looks()
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert person.browser.GetSelectedItemNumber() == 1
    assert person.ui.stageLabel.text == "Cancelled. The scene is as it was."


def test_a_volume_of_its_own_offers_no_sequence(person):
    person.loads()
    person.opens()
    assert not person.ui.wholeSequenceCheckBox.isVisible()


def test_after_a_sequence_no_image_gets_the_result_of_another(sequence):
    person = sequence
    person.applies()
    assert not person.ui.restoreButton.enabled
    person.parameters.wholeSequence = False
    browse(person, 0)
    person.applies()
    assert person.ui.restoreButton.enabled
    browse(person, 2)
    assert not person.ui.restoreButton.enabled
    doubt(person)[:] = 0.25
    person.panel.restorePrevious()
    assert "no previous result" in person.is_told()
    assert (doubt(person) == 0.25).all()
    browse(person, 0)
    assert person.ui.restoreButton.enabled


def test_a_result_of_one_image_says_so_where_the_sequence_shows_another(sequence):
    person = sequence
    person.parameters.wholeSequence = False
    person.applies()
    assert "time 40 ms" not in person.ui.warningsLabel.text
    browse(person, 2)
    assert "This is the result of time 40 ms; the sequence shows time 80 ms now." in person.ui.warningsLabel.text
    browse(person, 1)
    assert "time 40 ms" not in person.ui.warningsLabel.text


def test_the_browser_is_removed_before_the_first_image_is_done(sequence):
    person = sequence
    person.starts("slow")
    slicer.mrmlScene.RemoveNode(person.browser)
    person.ends()
    assert "browser was removed" in person.is_told()
    person.parameters.inputVolume = person.loads("other", seed=5)
    person.looks()
    person.applies()
    assert person.ui.stageLabel.text == "Done."


def test_the_segmentation_is_removed_while_a_sequence_runs(sequence):
    person = sequence
    before = {
        node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode") if not node.IsA("vtkMRMLDisplayNode")
    }
    reaches(person, 1)
    person.makes_the_worker("slow")
    slicer.mrmlScene.RemoveNode(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")[0])
    person.ends()
    assert "was removed from the scene" in person.is_told()
    left = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLNode") if not node.IsA("vtkMRMLDisplayNode")}
    assert left == before


def test_a_restart_of_the_worker_takes_the_images_that_were_done_with_it(sequence):
    person = sequence
    before = slicer.mrmlScene.GetNumberOfNodes()
    reaches(person, 1)
    person.makes_the_worker("slow")
    person.ui.restartWorkerButton.click()
    person.looks()
    assert not person.panel.isRunning
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert person.browser.GetSelectedItemNumber() == 1


def test_a_sequence_that_cannot_start_stays_where_it_was(sequence):
    person = sequence
    person.panel.logic.start = lambda *_arguments: (_ for _ in ()).throw(RuntimeError("no room"))
    person.applies()
    assert "could not be started: no room" in person.is_told()
    assert person.browser.GetSelectedItemNumber() == 1
    assert not person.panel.isRunning


def test_an_image_that_was_browsed_away_from_is_segmented_again(sequence):
    person = sequence
    reaches(person, 2)
    browse(person, 0)
    browse(person, 2)
    person.ends()
    assert person.ui.stageLabel.text == "Done."
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 7


def test_a_cancelled_sequence_leaves_what_could_be_restored(sequence):
    person = sequence
    person.parameters.inputVolume = person.loads("other", seed=5)
    person.looks()
    person.applies()
    person.applies()
    before = person.panel.logic.lastOutput
    assert before.previous is not None
    person.parameters.inputVolume = person.proxy
    person.parameters.wholeSequence = True
    person.looks()
    reaches(person, 1)
    person.makes_the_worker("slow")
    person.cancels()
    assert person.panel.logic.lastOutput is before


def test_an_edit_of_one_image_is_not_told_of_another(sequence):
    person = sequence
    person.applies()
    browse(person, 0)
    segmentation = person.parameters.segmentation
    [segment] = segmentation.GetSegmentation().GetSegmentIDs()
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, person.proxy)
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.zeros_like(voxels), segmentation, segment, person.proxy)
    person.looks()
    assert "was edited: 0.0 ml now" in person.ui.editedLabel.text
    browse(person, 2)
    assert not person.ui.editedLabel.isVisible()
    assert not person.panel.result.isEdited
    browse(person, 0)
    assert "was edited: 0.0 ml now" in person.ui.editedLabel.text


@pytest.mark.parametrize("way", ["recording", "no playback"])
def test_images_that_do_not_follow_the_browser_are_not_segmented_as_one(sequence, way):
    person = sequence
    if way == "recording":
        person.browser.SetRecording(person.browser.GetMasterSequenceNode(), True)
        person.browser.SetRecordingActive(True)
    else:
        person.browser.SetPlayback(person.browser.GetMasterSequenceNode(), False)
    before = slicer.mrmlScene.GetNumberOfNodes()
    person.applies()
    assert "(module Sequences)" in person.is_told()
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert not person.panel.isRunning


def test_the_browser_is_modified_once_when_the_results_join_it(sequence, monkeypatch):
    person = sequence
    reaches(person, 2)
    told, run = [], person.panel.runner._active
    person.browser.AddObserver("ModifiedEvent", lambda *_: told.append(1))
    publish, counts = run._publish, []

    def counted():
        told.clear()
        publish()
        counts.append(len(told))

    monkeypatch.setattr(run, "_publish", counted)
    person.ends()
    assert counts == [1]
    assert len(slicer.util.getNodesByClass("vtkMRMLSequenceNode")) == 7
    assert person.browser.GetSelectedItemNumber() == 1


def test_a_case_is_kept_for_training_while_the_sequence_shows_its_image_alone(person, tmp_path):
    from CSAMSegmentLib.widgets.training_case import save_case

    person.browser, person.proxy = make_sequence(person)
    person.opens()
    person.parameters.inputVolume = person.proxy
    person.looks()
    person.applies()
    case = person.panel._find(), [person.proxy], person.panel.input.model, tmp_path / "hearts"
    browse(person, 2)
    with pytest.raises(ValueError, match=r"the result of .*40 ms.*; the sequence shows .*80 ms.* now"):
        save_case(*case, "p1_1")
    assert not (tmp_path / "hearts").exists()
    browse(person, 1)
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
