"""The logic with a real process at the other end of real pipes; only what computes is a stand-in."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import slicer

from csam.errors import Cancelled, WorkerError
from csam.process.client import WorkerClient
from CSAMSegmentLib.logic.model_library import ModelLibrary
from CSAMSegmentLib.logic.module_logic import CSAMSegmentLogic

STUB = str(Path(__file__).with_name("stub_worker.py"))


@pytest.fixture
def make_logic(tmp_path, model):
    (tmp_path / "two-chambers").mkdir()
    (tmp_path / "two-chambers" / "model.json").write_text("{}")
    made = []

    def make(*arguments):
        library = ModelLibrary(lambda: [tmp_path], lambda path: model)
        made.append(CSAMSegmentLogic(lambda: WorkerClient([sys.executable, STUB, *arguments], rasters=True), library))
        return made[-1]

    yield make
    for logic in made:
        logic.close()


def bytes_moved():
    """How much this process has read and written; where a system does not tell, more with every call."""
    counts = Path("/proc/self/io")
    if not counts.exists():
        return time.monotonic_ns()
    return sum(map(int, re.findall(r"[rw]char: (\d+)", counts.read_text())))


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_volume_goes_to_the_worker_and_comes_back_as_segments(volume, make_logic):
    output = make_logic().process(volume, "two-chambers")
    array = slicer.util.arrayFromVolume(volume)
    found = slicer.util.arrayFromSegmentBinaryLabelmap(output.segmentation, output.segment_ids[0], volume)
    assert np.array_equal(found > 0, array > array.mean())
    assert (slicer.util.arrayFromVolume(output.uncertainty) == 0.25).all()


def test_a_deaf_worker_is_ended_soon_after_the_cancel_and_the_scene_stays(host, volume, make_logic):
    logic = make_logic("slow")
    before = host.node_ids()
    run = logic.start(volume, "two-chambers")
    wait_for(lambda: logic.poll().progress.stage == "Sampling")
    logic.cancel()
    wait_for(lambda: logic.poll().finished)
    assert isinstance(run.error, Cancelled)
    assert host.node_ids() == before


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_killed_worker_is_one_error_and_the_scene_stays(host, volume, make_logic):
    logic = make_logic("slow")
    before = host.node_ids()
    run = logic.start(volume, "two-chambers")
    wait_for(lambda: logic.poll().progress.stage == "Sampling")
    os.kill(logic.client.process_id, signal.SIGKILL)
    wait_for(lambda: logic.poll().finished)
    assert isinstance(run.error, WorkerError)
    assert host.node_ids() == before


@pytest.mark.parametrize("close", [True, False], ids=["closed", "left open"])
def test_a_program_that_uses_the_scene_ends_without_a_word(close):
    program = f"""
import sys
sys.path[:0] = {[str(Path(STUB).parents[1]), str(Path(STUB).parents[2] / "CSAMSegment")]!r}
import numpy as np
from host.scene_host import SceneHost
import CSAMSegmentLib.logic
host = SceneHost()
volume = host.add_volume(np.zeros((3, 4, 5), "i2"))
segmentation = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
segmentation.CreateDefaultDisplayNodes()
if {close}:
    host.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(ctypes.PyDLL(None), "usleep"), reason="no usleep on this system")
def test_images_travel_although_the_event_loop_holds_the_interpreter(host, make_logic):
    """As in Slicer: between two looks at the worker no other thread of Python runs."""
    volume = host.add_volume(np.zeros((100, 256, 256), "i2"), (1, 1, 8))
    logic, looks = make_logic(), 0
    run = logic.start(volume, "two-chambers")
    while not run.finished:
        ctypes.PyDLL(None).usleep(20_000)
        moving, before = run._job.moving, bytes_moved()
        logic.poll()
        looks += moving and bytes_moved() - before > 4096  # on a busy machine the worker may have had no turn
    assert run.error is None
    assert looks < 60, "85 MB took a look for every MB or less"


def test_the_voxels_of_the_maps_are_those_that_came(volume, make_logic):
    output = make_logic().process(volume, "two-chambers")
    array = slicer.util.arrayFromVolume(output.uncertainty)
    assert np.shares_memory(array, output.result.error_probability.voxels)
    del output
    assert (array == 0.25).all()
