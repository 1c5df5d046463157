"""A GPU that cannot be used, fails or is lost: the line of the device and the result say so."""

import slicer

from CSAMSegmentLib.logic.worker_launcher import read_setting
from CSAMSegmentLib.widgets.worker_view import SPEED_SETTING


def test_a_gpu_that_cannot_be_used_is_said_beside_the_cpu_that_is(person):
    person.loads()
    person.makes_the_worker("no-gpu")
    person.opens()
    said = person.ui.deviceLabel.text
    assert said.startswith("CPU, 8 threads")
    assert said.endswith(". NVIDIA Test GPU cannot be used: CUDA error: no kernel image is available")
    person.parameters.device = "cpu"
    person.looks()
    assert "NVIDIA" not in person.ui.deviceLabel.text  # it was not asked for
    person.parameters.device = "cuda:0"
    person.looks()
    assert person.ui.deviceLabel.text == (
        "NVIDIA Test GPU cannot be used: CUDA error: no kernel image is available. Choose Automatic under Advanced."
    )


def test_a_pace_that_the_cpu_had_is_not_promised_of_the_gpu(person):
    person.loads()
    person.makes_the_worker("cpu-speed")
    person.opens()
    assert person.ui.deviceLabel.text == "NVIDIA Test GPU, 11 GB free"


def test_what_a_run_on_the_cpu_took_is_kept_under_the_cpu(person):
    person.loads()
    person.opens().applies("cpu-speed")
    samples = person.parameters.samples
    assert read_setting(SPEED_SETTING.format(model="tiny", device="cpu", samples=samples, augmented=""))
    assert not read_setting(SPEED_SETTING.format(model="tiny", device="cuda:0", samples=samples, augmented=""))
    person.until(lambda: not person.panel.worker.status.pending, "the worker's second hello")
    assert person.panel.worker.status.hello is not None


def test_a_lost_gpu_leaves_the_run_to_the_cpu_and_result_and_device_line_say_so(person):
    person.loads()
    person.opens().applies("lost")
    assert person.ui.stageLabel.text == "Done."
    assert "The GPU failed twice, the second time in a new process" in person.ui.warningsLabel.text
    person.until(lambda: not person.panel.worker.status.pending, "the new worker's hello")
    person.looks()
    said = person.ui.deviceLabel.text
    assert said.startswith("CPU, 8 threads")
    assert ". The GPU failed twice and is not used until the worker is restarted: The device cuda:0 failed" in said
    person.ui.restartWorkerButton.click()
    person.until(lambda: person.panel.worker.status.hello is not None, "the new worker's hello")
    person.looks()
    assert person.ui.deviceLabel.text.startswith("NVIDIA Test GPU")
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
