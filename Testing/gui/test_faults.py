"""What goes wrong ends in one sentence that says what to do, and leaves the scene and the panel usable."""

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from gui.panel_kit import make_model


def ids() -> set[str]:
    scene = slicer.mrmlScene
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def refused(person) -> str:
    """What a person is told who applies although the button says no, as from a script."""
    person.looks()
    assert not person.ui.applyButton.enabled
    person.panel.runner.apply()
    text = person.is_told()
    assert person.ui.applyButton.toolTip == text
    assert not person.panel.isRunning
    return text


def works_again(person) -> None:
    person.applies()
    assert person.ui.sliceTable.rowCount == 6


def test_no_input(person):
    person.opens()
    assert refused(person) == "There is no input volume. Choose the image to segment."


def test_wrong_node_type(person):
    person.loads()
    person.opens()
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    person.parameters.inputVolume = labels
    assert refused(person) == '"labels" is a label map, not an image. Choose the image that it was drawn on.'


def test_empty_volume(person):
    person.opens()
    person.parameters.inputVolume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    assert refused(person) == 'The volume "hollow" is empty. Load its image again, or choose another volume.'


def test_volume_removed_during_the_run(person):
    volume = person.loads()
    person.opens().starts("slow")
    slicer.mrmlScene.RemoveNode(volume)
    before = ids()
    person.ends()
    assert person.is_told().startswith('The input "cine" was removed from the scene')
    assert ids() == before
    person.parameters.inputVolume = person.loads("other")
    person.looks()
    works_again(person)


def test_scene_closed_during_the_run(person):
    person.loads()
    person.opens().starts("slow")
    process = person.panel.logic.client.process_id
    slicer.mrmlScene.Clear(0)
    person.looks()
    assert not person.panel.isRunning
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    person.until(lambda: not alive(process), "the worker's end")
    person.loads()
    person.parameters.inputVolume = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
    person.looks()
    works_again(person)


def test_worker_killed(person):
    person.loads()
    person.opens()
    before = ids()
    person.starts("slow")
    os.kill(person.panel.logic.client.process_id, signal.SIGKILL)
    person.ends()
    text = person.is_told()
    assert text.startswith("The worker ended before it had answered: it was killed, signal 9 (SIGKILL).")
    assert text.endswith("The next run starts a new one.")
    assert ids() == before
    works_again(person)


def test_worker_killed_between_two_runs_is_not_even_noticed(person):
    person.loads()
    person.opens()
    os.kill(person.panel.logic.client.process_id, signal.SIGKILL)
    person.looks()
    works_again(person)


def test_worker_missing_torch(person):
    person.loads()
    person.makes_the_worker("no-torch")
    person.opens()
    assert "PyTorch is not installed" in person.ui.deviceLabel.text
    person.applies("no-torch")
    assert person.is_told() == "PyTorch is not installed for the Python that runs the worker."
    works_again(person)  # somebody has installed it meanwhile


def test_worker_that_is_not_there(person, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/nowhere/python -m csam worker")
    person.loads()
    person.opens(ready=False)
    person.until(lambda: person.panel.worker.status.error is not None)
    assert '"/nowhere/python"' in person.ui.deviceLabel.text
    person.ui.applyButton.click()
    person.ends()
    assert '"/nowhere/python" (CSAM_WORKER_COMMAND), which is not there' in person.is_told()


def test_model_file_corrupt(person):
    person.loads()
    person.opens()
    before = ids()
    person.applies("broken")
    assert person.is_told() == "The weights of tiny are damaged. Get the model again."
    assert ids() == before
    works_again(person)


def test_corrupt_model_is_not_added(person):
    person.opens()
    model = make_model("new")
    model.save(person.folder / "new")
    (person.folder / "new" / "weights.pt").write_bytes(b"other bytes")
    (person.folder / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    for path, words in (("new/model.json", 'The weights of "new" are damaged'), ("broken.zip", "readable zip")):
        person.host.dialogs.answer(str(person.folder / path))
        person.ui.addModelButton.click()
        _choice, shown = person.host.dialogs.take()
        assert words in shown.text
    assert person.ui.modelSelector.count == 2
    assert person.ui.applyButton.toolTip.startswith("There is no input volume")


@pytest.mark.parametrize("which", ["segmentation", "uncertainty"])
def test_output_deleted_during_the_run(person, which):
    person.loads()
    person.opens().applies()
    person.starts("slow")
    slicer.mrmlScene.RemoveNode(getattr(person.parameters, which))
    person.ends()
    assert person.is_told().startswith("The output ")
    works_again(person)


def test_output_deleted_after_the_run(person):
    person.loads()
    person.opens().applies()
    slicer.mrmlScene.RemoveNode(person.nodes["error_probability"])
    person.looks()
    slicer.mrmlScene.RemoveNode(person.nodes["slices"])
    person.looks()
    assert person.ui.sliceTable.rowCount == 0
    assert person.ui.qualityLabel.text == "No result yet."
    works_again(person)


def test_deleted_image_gives_its_place_to_no_other(person):
    person.loads()
    person.opens().applies()
    slicer.mrmlScene.RemoveNode(person.volume)
    person.looks()
    assert person.parameters.inputVolume is None
    assert person.ui.inputSelector.currentNode() is None


def test_deleted_map_gives_its_place_to_no_other_image(person):
    person.loads()
    person.opens().applies()
    other = person.loads("other")
    before = slicer.util.arrayFromVolume(other).copy()
    for kind in ("entropy", "mutual_information", "error_probability"):
        slicer.mrmlScene.RemoveNode(person.nodes[kind])
    person.looks()
    assert person.parameters.uncertainty is None
    works_again(person)
    assert np.array_equal(slicer.util.arrayFromVolume(other), before)
    assert set(person.nodes) >= {"error_probability", "entropy", "mutual_information"}


def test_disk_full_on_export(person, monkeypatch):
    person.loads()
    person.opens().applies()

    def full(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    person.panel.result.export(person.folder / "volumes.csv")
    text = person.is_told()
    assert "volumes.csv: No space left on device. Choose another place, or free room on the disk." in text
    assert not (person.folder / "volumes.csv").exists()


def test_cancel_twice(person):
    person.loads()
    person.opens()
    before = ids()
    person.starts("slow")
    person.ui.cancelButton.click()
    person.panel.runner.cancel()
    person.panel.runner.cancel()
    person.ends()
    assert person.ui.stageLabel.text == "Cancelled. The scene is as it was."
    assert ids() == before
    works_again(person)


def test_apply_twice(person, monkeypatch):
    said = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, *_time: said.append(text))
    person.loads()
    person.opens().starts("slow")
    run = person.panel.logic.run
    person.panel.runner.apply()
    assert person.panel.logic.run is run
    assert said == ["A segmentation is under way. Wait for its end, or cancel it."]
    assert not person.ui.applyButton.enabled
    person.cancels()


def test_model_changed_during_the_run(person):
    person.loads()
    person.opens().starts("slow")
    before = ids()
    person.parameters.model = "two"
    person.ends()
    assert person.ui.stageLabel.text == "Cancelled. The scene is as it was."
    assert ids() == before


def test_image_changed_during_the_run(person):
    person.loads()
    person.opens().starts("slow")
    slicer.util.arrayFromVolume(person.volume)[0] = 99
    slicer.util.arrayFromVolumeModified(person.volume)
    person.cancels()
    assert np.all(slicer.util.arrayFromVolume(person.volume)[0] == 99)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return not _zombie(process)


def _zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        time.sleep(0.01)
        return False
