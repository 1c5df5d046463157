"""A GPU that cannot be used, fails or is lost: the line of the device and the result say so."""

import slicer

from CSAMSegmentLib.logic.worker_launcher import read_setting
from CSAMSegmentLib.widgets.worker_view import SPEED_SETTING


def test_a_gpu_that_cannot_be_used_is_said_beside_the_cpu_that_is(user):
    user.loads()
    user.makes_the_worker("no-gpu")
    user.opens()
    said = user.ui.deviceLabel.text
    assert said.startswith("CPU, 8 threads")
    assert said.endswith(". NVIDIA Test GPU cannot be used: CUDA error: no kernel image is available")
    user.parameters.device = "cpu"
    user.looks()
    assert "NVIDIA" not in user.ui.deviceLabel.text  # it was not asked for
    user.parameters.device = "cuda:0"
    user.looks()
    assert user.ui.deviceLabel.text == (
        "NVIDIA Test GPU cannot be used: CUDA error: no kernel image is available. Choose Automatic under Advanced."
    )


def test_a_pace_that_the_cpu_had_is_not_promised_of_the_gpu(user):
    user.loads()
    user.makes_the_worker("cpu-speed")
    user.opens()
    assert user.ui.deviceLabel.text == "NVIDIA Test GPU, 11 GB free"


def test_what_a_run_on_the_cpu_took_is_kept_under_the_cpu(user):
    user.loads()
    user.opens().applies("cpu-speed")
    samples = user.parameters.samples
    assert read_setting(SPEED_SETTING.format(model="tiny", device="cpu", samples=samples, augmented=""))
    assert not read_setting(SPEED_SETTING.format(model="tiny", device="cuda:0", samples=samples, augmented=""))
    user.until(lambda: not user.panel.worker.status.pending, "the worker's second hello")
    assert user.panel.worker.status.hello is not None


def test_a_lost_gpu_leaves_the_run_to_the_cpu_and_result_and_device_line_say_so(user):
    user.loads()
    user.opens().applies("lost")
    assert user.ui.stageLabel.text == "Done."
    assert "The GPU failed twice, the second time in a new process" in user.ui.warningsLabel.text
    user.until(lambda: not user.panel.worker.status.pending, "the new worker's hello")
    user.looks()
    said = user.ui.deviceLabel.text
    assert said.startswith("CPU, 8 threads")
    assert ". The GPU failed twice and is not used until the worker is restarted: The device cuda:0 failed" in said
    user.ui.restartWorkerButton.click()
    user.until(lambda: user.panel.worker.status.hello is not None, "the new worker's hello")
    user.looks()
    assert user.ui.deviceLabel.text.startswith("NVIDIA Test GPU")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
