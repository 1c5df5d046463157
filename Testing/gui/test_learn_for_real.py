"""The part Learn with the trainer itself, tiny: kept, learned, killed, gone on with, chosen, and segmented with."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from gui.test_learn import adds, opens, until_state
from gui.test_training_case import keeps

from CSAMSegmentLib.logic.learning import State

PLAN = {
    "base_channels": 4, "num_levels": 2, "num_slices": 6, "in_plane_spacing": 8.0, "field_of_view": [32, 32],
    "steps": 100, "ema": 0.9, "precision": "float32", "checkpoint_every": 5, "validate_every": 40, "patience": 0,
    "learning_rate": 0.01,
}  # fmt: skip


def segmentation_of(volume, mask):
    """A segmentation that somebody has drawn."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    identifier = node.GetSegmentation().AddEmptySegment("", "left ventricle")
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype("uint8"), node, identifier, volume)
    return node


@pytest.mark.slow
def test_phantoms_are_kept_learned_from_killed_gone_on_with_and_the_model_is_chosen_and_taught_again(user, monkeypatch):
    from csam.model import Model
    from csam.training.dataset import read_dataset
    from CSAMSegmentLib.logic.sample_data import make_phantom_nodes

    slicer.app.userSettings().setValue("CSAMSegment/ModelFolder", str(user.folder / "own" / "Models"))
    (user.folder / "hearts").mkdir()
    user.loads()
    user.opens()
    opens(user)
    for seed in range(3):
        user.volume, labels = make_phantom_nodes(slices=6, size=64, spacing=(4.0, 4.0, 8.0), seed=seed)
        node = segmentation_of(user.volume, labels == 1)
        adds(user, node, f"p{seed}", only_drawn=seed == 2)
    user.host.dialogs.take()
    monkeypatch.setenv("CSAM_WORKER_COMMAND", sys.executable)
    learn = user.panel.learn
    learn.plan = PLAN
    learn.ui.timeSelector.currentIndex = learn.ui.timeSelector.count - 1
    learn.start()
    user.until(lambda: learn.learning.state is State.TRAINING, "the check", 400)
    user.until(lambda: len(learn.learning.rows) >= random.randint(1, 4), "progress", 400)
    learn.learning._process.kill()
    until_state(user, State.FAILED)
    rows = list(learn.learning.rows)
    learn.start()
    user.until(lambda: learn.learning.state is State.DONE, "the end of the training", 500)
    assert learn.learning.resumed
    assert learn.learning.rows[: len(rows)] == rows  # to the last digit: nothing was lost, nothing learned twice
    assert user.parameters.model == "hearts"
    model = Model.load(user.panel.input.modelPath)
    assert model.provenance["plan"]["steps"] == 100
    assert (Path(learn.learning.folder) / "model" / "MODEL_CARD.md").is_file()
    assert "Measured on 1 scan(s)" in learn.ui.learnStageLabel.text

    # A new image: segmented by the model, corrected, kept; the next training starts from the model.
    user.volume, _labels = make_phantom_nodes(slices=6, size=64, spacing=(4.0, 4.0, 8.0), seed=7)
    user.parameters.inputVolume, user.parameters.segmentation = user.volume, None
    user.panel.worker.restart()
    user.until(lambda: user.panel.worker.status.hello is not None, "the worker itself", 200)
    user.looks()
    user.ui.applyButton.click()
    user.until(lambda: not user.panel.isRunning and user.parameters.segmentation is not None, "the result", 200)
    user.looks()
    [segment] = user.parameters.segmentation.GetSegmentation().GetSegmentIDs()
    corrected = slicer.util.arrayFromSegmentBinaryLabelmap(user.parameters.segmentation, segment, user.volume).copy()
    corrected[:2] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(corrected, user.parameters.segmentation, segment, user.volume)
    user.looks()
    keeps(user, user.folder / "hearts", "p7", qt.QMessageBox.Ok)
    kept = {case.name: case for case in read_dataset(user.folder / "hearts").cases}["p7"]
    assert np.array_equal(sitk.GetArrayFromImage(kept.read()[1]), corrected)
    learn.plan = {**PLAN, "steps": 20}
    learn._fillStarts()
    learn.ui.startSelector.currentIndex = learn._starts.index(str(user.panel.input.modelPath))
    learn.start()
    user.until(lambda: learn.learning.state is State.DONE, "the end of the second training", 500)
    again = Model.load(user.panel.input.modelPath)
    assert again.name == "hearts-2"
    assert again.provenance["started_from"]["sha256"] == model.sha256
    assert "p7" in again.provenance["training_patients"] + again.provenance["validation_patients"]
