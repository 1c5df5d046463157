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


def refused(user) -> str:
    """What a user is told who applies although the button says no, as from a script."""
    user.looks()
    assert not user.ui.applyButton.enabled
    user.panel.runner.apply()
    text = user.is_told()
    assert user.ui.applyButton.toolTip == text
    assert not user.panel.isRunning
    return text


def works_again(user) -> None:
    user.applies()
    assert user.ui.sliceTable.rowCount == 6


def test_no_input(user):
    user.opens()
    assert refused(user) == "No image is chosen. Choose the image to segment."


def test_wrong_node_type(user):
    user.loads()
    user.opens()
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    user.parameters.inputVolume = labels
    assert refused(user) == '"labels" is a label map, not an image. Choose the image that it was drawn on.'


def test_empty_volume(user):
    user.opens()
    user.parameters.inputVolume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "hollow")
    assert refused(user) == 'The volume "hollow" is empty. Load its image again, or choose another volume.'


def test_volume_removed_during_the_run(user):
    volume = user.loads()
    user.opens().starts("slow")
    slicer.mrmlScene.RemoveNode(volume)
    before = ids()
    user.ends()
    assert user.is_told().startswith('The input "cine" was removed from the scene')
    assert ids() == before
    user.parameters.inputVolume = user.loads("other")
    user.looks()
    works_again(user)


def test_scene_closed_during_the_run(user):
    user.loads()
    user.opens().starts("slow")
    process = user.panel.logic.client.process_id
    slicer.mrmlScene.Clear(0)
    user.looks()
    assert not user.panel.isRunning
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    user.until(lambda: not alive(process), "the worker's end")
    user.loads()
    user.parameters.inputVolume = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")[0]
    user.looks()
    works_again(user)


def test_worker_killed(user):
    user.loads()
    user.opens()
    before = ids()
    user.starts("slow")
    os.kill(user.panel.logic.client.process_id, signal.SIGKILL)
    user.ends()
    text = user.is_told()
    assert text.startswith("The worker ended before it had answered: it was killed, signal 9 (SIGKILL).")
    assert text.endswith("The next run starts a new one.")
    assert ids() == before
    works_again(user)


def test_worker_killed_between_two_runs_is_not_even_noticed(user):
    user.loads()
    user.opens()
    os.kill(user.panel.logic.client.process_id, signal.SIGKILL)
    user.looks()
    works_again(user)


def test_worker_missing_torch(user):
    user.loads()
    user.makes_the_worker("no-torch")
    user.opens()
    assert "PyTorch is not installed" in user.ui.deviceLabel.text
    user.applies("no-torch")
    assert user.is_told() == "PyTorch is not installed for the Python that runs the worker."
    works_again(user)  # somebody has installed it meanwhile


def test_worker_that_is_not_there(user, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/nowhere/python -m csam worker")
    user.loads()
    user.opens(ready=False)
    user.until(lambda: user.panel.worker.status.error is not None)
    assert '"/nowhere/python"' in user.ui.deviceLabel.text
    user.ui.applyButton.click()
    user.ends()
    assert '"/nowhere/python" (CSAM_WORKER_COMMAND), which is not there' in user.is_told()


def test_model_file_corrupt(user):
    user.loads()
    user.opens()
    before = ids()
    user.applies("broken")
    assert user.is_told() == "The weights of tiny are damaged. Get the model again."
    assert ids() == before
    works_again(user)


def test_corrupt_model_is_not_added(user):
    user.opens()
    model = make_model("new")
    model.save(user.folder / "new")
    (user.folder / "new" / "weights.pt").write_bytes(b"other bytes")
    (user.folder / "broken.zip").write_bytes(b"PK\x03\x04 and nothing more")
    for path, words in (("new/model.json", 'The weights of "new" are damaged'), ("broken.zip", "readable zip")):
        user.host.dialogs.answer(str(user.folder / path))
        user.ui.addModelButton.click()
        _choice, shown = user.host.dialogs.take()
        assert words in shown.text
    assert user.ui.modelSelector.count == 2
    assert user.ui.applyButton.toolTip.startswith("No image is chosen")


@pytest.mark.parametrize("which", ["segmentation", "uncertainty"])
def test_output_deleted_during_the_run(user, which):
    user.loads()
    user.opens().applies()
    user.starts("slow")
    slicer.mrmlScene.RemoveNode(getattr(user.parameters, which))
    user.ends()
    assert user.is_told().startswith("The output ")
    works_again(user)


def test_output_deleted_after_the_run(user):
    user.loads()
    user.opens().applies()
    slicer.mrmlScene.RemoveNode(user.nodes["error_probability"])
    user.looks()
    slicer.mrmlScene.RemoveNode(user.nodes["slices"])
    user.looks()
    assert user.ui.sliceTable.rowCount == 0
    assert user.ui.qualityLabel.text == "No result yet."
    works_again(user)


def test_deleted_image_gives_its_place_to_no_other(user):
    user.loads()
    user.opens().applies()
    slicer.mrmlScene.RemoveNode(user.volume)
    user.looks()
    assert user.parameters.inputVolume is None
    assert user.ui.inputSelector.currentNode() is None


def test_deleted_map_gives_its_place_to_no_other_image(user):
    user.loads()
    user.opens().applies()
    other = user.loads("other")
    before = slicer.util.arrayFromVolume(other).copy()
    for kind in ("entropy", "mutual_information", "error_probability"):
        slicer.mrmlScene.RemoveNode(user.nodes[kind])
    user.looks()
    assert user.parameters.uncertainty is None
    works_again(user)
    assert np.array_equal(slicer.util.arrayFromVolume(other), before)
    assert set(user.nodes) >= {"error_probability", "entropy", "mutual_information"}


def test_disk_full_on_export(user, monkeypatch):
    user.loads()
    user.opens().applies()

    def full(*_arguments, **_keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    user.panel.result.export(user.folder / "volumes.csv")
    text = user.is_told()
    assert (
        "volumes.csv could not be written: No space left on device. Choose another folder, or make room on the disk."
        in text
    )
    assert not (user.folder / "volumes.csv").exists()


def test_cancel_twice(user):
    user.loads()
    user.opens()
    before = ids()
    user.starts("slow")
    user.ui.cancelButton.click()
    user.panel.runner.cancel()
    user.panel.runner.cancel()
    user.ends()
    assert user.ui.stageLabel.text == "Cancelled. The scene is as it was."
    assert ids() == before
    works_again(user)


def test_apply_twice(user, monkeypatch):
    said = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, *_time: said.append(text))
    user.loads()
    user.opens().starts("slow")
    run = user.panel.logic.run
    user.panel.runner.apply()
    assert user.panel.logic.run is run
    assert said == ["A segmentation is under way. Wait for its end, or cancel it."]
    assert not user.ui.applyButton.enabled
    user.cancels()


def test_model_changed_during_the_run(user):
    user.loads()
    user.opens().starts("slow")
    before = ids()
    user.parameters.model = "two"
    user.ends()
    assert user.ui.stageLabel.text == "Cancelled. The scene is as it was."
    assert ids() == before


def test_image_changed_during_the_run(user):
    user.loads()
    user.opens().starts("slow")
    slicer.util.arrayFromVolume(user.volume)[0] = 99
    slicer.util.arrayFromVolumeModified(user.volume)
    user.cancels()
    assert np.all(slicer.util.arrayFromVolume(user.volume)[0] == 99)


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
