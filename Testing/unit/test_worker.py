"""The worker process and its client: results, cancel, and every way in which a process can fail.

The worker under test is the real one; its engine (torch, model, segment, train, devices) is replaced by the stand-in
below, whose "model" names what it does.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import SimpleITK as sitk

from csam.errors import ERRORS, Cancelled, CSAMError, DeviceError, DeviceLost, InputError, ModelError, WorkerError
from csam.process.client import WorkerClient, worker_environment
from csam.process.protocol import PAYLOAD_LIMIT, pack_images, read_frame, write_frame
from csam.result import Options, Progress, Result

pytestmark = pytest.mark.skipif(os.name != "posix", reason="ends processes by POSIX signals")

SOON = 10.0
"""Seconds on a computer busy with other things; what does not come soon comes after 20 or more. How long it takes on a
free one is for Testing/bench/bench_cancel.py."""

ENGINE = """
import ctypes, os, subprocess, sys, time, types
from pathlib import Path
import SimpleITK as sitk
from csam.errors import ERRORS
from csam.result import Progress, Result

loads = 0

class Model:
    def __init__(self, name):
        self.name = name

    @staticmethod
    def load(path):
        global loads
        loads += 1
        return Model(Path(path).name)

    def description(self):
        return {"name": self.name}

    def check_digest(self, digest, place):
        if digest != "own":
            raise ERRORS["model"](f"{self.name} is another model.")

def nap(seconds, cancelled=lambda: False):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if cancelled():
            raise ERRORS["cancelled"]()
        time.sleep(0.01)

def lose(name, device):
    # The GPU is lost in as many processes as the model's name says; on the CPU all is well.
    count = Path(__file__).with_name("lost")
    count.write_text(str(int(count.read_text() if count.exists() else 0) + 1))
    if name == "lost-slow":
        name = "lost-1"
    if name.startswith("lost") and device != "cpu" and int(count.read_text()) <= int(name[5:]):
        raise ERRORS["device_lost"]("The device cuda:0 failed and does not answer any more.")
    if name == "failed" and device != "cpu":
        raise RuntimeError("CUDA error: unspecified launch failure")

def segment(images, model, options, progress, cancelled):
    name = model.name
    lose(name, options.device)
    progress(Progress(0.0, f"{name} {os.getpid()}", None))
    if name in ("slow", "lost-slow"):
        nap(20, cancelled)
    elif name == "short":
        nap(0.5, cancelled)
    elif name == "stuck":
        nap(20)
    elif name == "spinning":
        while True:
            pass
    elif name == "exit":
        print("the last words")
        os._exit(3)
    elif name == "segfault":
        ctypes.string_at(0)
    elif name == "family":
        shell = subprocess.Popen(["sh", "-c", "sleep 30 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
        forked = os.fork()
        if not forked:
            time.sleep(30)
        progress(Progress(0.1, f"family {shell.pid} {shell.stdout.readline().strip()} {forked}", None))
        nap(20)
    elif name == "noisy":
        print("noise from Python")
        os.system("echo noise from a child")
        os.write(1, b"noise on the descriptor\\n")
        ctypes.CDLL(None).puts(b"noise from C")
        ctypes.CDLL(None).fflush(None)
        print("input:", repr(sys.stdin.read()))
    elif name == "memory":
        raise MemoryError("Unable to allocate 8 TiB")
    elif name == "bug":
        return 1 / 0
    elif name.startswith("error-"):
        raise ERRORS[name[6:]]("What happened.")
    elif name == "chatty":
        for step in range(20000):
            progress(Progress(step / 20000, "counting", 20000 - step))
    progress(Progress(1.0, "done", 0.0))
    image = sitk.Cast(images[0], sitk.sitkFloat32)
    return Result(images[0], image, image, image, None, 2, (), (), 0.9, (), {"pid": os.getpid(), "loads": loads})

class Plan(dict):
    from_json = classmethod(lambda cls, values: cls(values))

def train(dataset, out, plan, extra=(), card=None, device="auto", progress=None, cancelled=None):
    if dataset == "lost":
        raise ERRORS["device_lost"]("The device cuda:0 failed and does not answer any more.")
    progress(Progress(0.5, f"{dataset} {out} {plan['steps']} {extra} {device}"))
    return Model("trained")

def stand_in(name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module

if "no-torch" not in sys.argv:
    stand_in("torch", __version__="9.9")
import csam.model
csam.model.Model = Model
stand_in("csam.pipeline.segment", segment=segment)
stand_in("csam.training.plan", Plan=Plan)
stand_in("csam.training.train", train=train)
cpu = {"id": "cpu", "name": "stand-in", "free_bytes": 1, "threads": 2}
old = {"id": "cuda:0", "name": "Old card", "reason": "no kernel image"}

def check_answers(device, reason):
    if device == "cuda:0" and "CUDA" in reason:
        raise ERRORS["device_lost"]("The device cuda:0 failed and does not answer any more.")

def measure(model, device):
    lose(model.name, device)
    return types.SimpleNamespace(fixed=0.5, sample=0.25), "cpu"

def choose_device(wanted):
    if wanted == "cuda:0" and Path(__file__).with_name("gone").exists():
        raise ERRORS["device"]("The device cuda:0 is not here.")
    return wanted

survey = lambda: ([cpu], [old])
stand_in("csam.network.devices", survey=survey, choose_device=choose_device, check_answers=check_answers)
stand_in("csam.pipeline.run_time", measure=measure)
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """The command of a worker with the stand-in engine."""
    script = tmp_path_factory.mktemp("engine") / "engine_worker.py"
    script.write_text(ENGINE + "from csam.process.worker import main\nsys.exit(main())\n")
    return [sys.executable, str(script)]


@pytest.fixture
def client(engine):
    with WorkerClient(engine) as client:
        yield client


@pytest.fixture(scope="module")
def warm(engine):
    """A client for tests after which the worker still lives."""
    with WorkerClient(engine) as client:
        yield client


def fake_worker(code):
    """A client of a process that is no worker at all."""
    return WorkerClient([sys.executable, "-c", f"import os, sys, time\n{code}"])


def an_image(size=(4, 3, 2)):
    image = sitk.Image(size, sitk.sitkInt16) + 5
    image.SetSpacing([1.25, 1.25, 8.1][: len(size)])
    return image


def start(client, model, size=(4, 3, 2)):
    return client.submit({"type": "segment", "model": model}, [an_image(size)])


def stage_of(job, word, count=1):
    """The process ids in the first progress stage that is this word and ``count`` of them."""

    def look():
        stages = [event.stage.split() for event in job.poll() if isinstance(event, Progress)]
        return next((words[1:] for words in stages if words[0] == word and len(words) == 1 + count), None)

    return eventually(look)


def family_of(job):
    """The process ids of the children and the grandchild of a worker that runs the model "family"."""
    return stage_of(job, "family", 3)


def eventually(question, timeout=SOON):
    end = time.monotonic() + timeout
    while not (answer := question()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return answer


def is_gone(pid):
    """Whether the process has ended; one that nobody has asked about yet (a zombie) has."""
    status = Path(f"/proc/{pid}/stat")
    if status.parent.parent.joinpath("self").exists():
        try:
            return status.read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    return False


def failure(job, timeout=SOON):
    """The one error with which a job ends; checks that no second one follows."""
    with pytest.raises(CSAMError) as caught:
        job.result(timeout)
    time.sleep(0.05)
    errors = [event for event in job.poll() if isinstance(event, Exception)]
    assert errors == [caught.value]
    assert job.poll() == []
    return caught.value


# What it does when all is well ------------------------------------------------------------------------------------


def test_a_segmentation_comes_back_on_the_same_grid(warm):
    image = an_image()
    image.SetDirection([0, 1, 0, -1, 0, 0, 0, 0, 1])
    stages = []
    result = warm.segment(image, "good", Options(samples=3), progress=lambda p: stages.append(p.fraction))
    assert isinstance(result, Result)
    assert sitk.Hash(result.labels) == sitk.Hash(image)
    assert result.entropy.GetPixelID() == sitk.sitkFloat32
    assert (result.entropy.GetSpacing(), result.entropy.GetDirection()) == (image.GetSpacing(), image.GetDirection())
    assert (stages[0], stages[-1]) == (0.0, 1.0)


def test_hello_tells_version_python_torch_and_devices(warm):
    import csam

    hello = warm.hello()
    assert (hello["version"], hello["torch"], hello["reason"]) == (csam.__version__, "9.9", None)
    assert hello["installable"] is False
    assert hello["python"] == ".".join(map(str, sys.version_info[:3]))
    assert hello["devices"][0]["id"] == "cpu"


def test_hello_tells_which_gpus_are_there_but_cannot_be_used(warm):
    assert warm.hello()["unusable"] == [{"id": "cuda:0", "name": "Old card", "reason": "no kernel image"}]


def test_the_worker_stays_warm_and_keeps_its_model(client):
    runs = [client.segment([an_image()], "good").provenance for _ in range(3)]
    assert runs == [{"pid": client.process_id, "loads": 1}] * 3


def test_loading_a_model_beforehand_makes_the_first_run_warm(client):
    loaded = client.run({"type": "load", "model": "good", "device": "cpu"})
    assert loaded["model"] == {"name": "good"}
    assert loaded["speed"] == {"fixed": 0.5, "sample": 0.25}
    assert loaded["device"] == "cpu"
    assert client.segment([an_image()], "good").provenance["loads"] == 1


def test_a_model_whose_files_changed_is_read_again(client, tmp_path):
    weights = tmp_path / "weights.pt"
    loads = []
    for content in ("one", "one", "another"):
        if content != (weights.read_text() if weights.exists() else None):
            weights.write_text(content)
        for path in (tmp_path, tmp_path / "model.json"):
            loads.append(client.segment([an_image()], path).provenance["loads"])
    assert loads == [1, 1, 1, 1, 2, 2]


def test_what_libraries_print_does_not_reach_the_protocol(client):
    result = client.segment([an_image()], "noisy")
    assert sitk.Hash(result.labels) == sitk.Hash(an_image())
    expected = {"noise from Python", "noise from a child", "noise on the descriptor", "noise from C", "input: ''"}
    eventually(lambda: expected <= set(client.log_lines()))


def test_the_log_callback_gets_each_line(engine):
    lines = []
    with WorkerClient(engine, log=lines.append) as client:
        client.segment([an_image()], "noisy")
        eventually(lambda: "noise from C" in lines)


def test_progress_is_thinned_out(warm):
    steps = []
    warm.segment([an_image()], "chatty", progress=lambda p: steps.append(p))
    assert 3 <= len(steps) < 500
    assert steps[-1].fraction == 1.0


def test_training_passes_its_plan_on_and_gives_the_model(warm):
    stages = []
    request = {"type": "train", "dataset": "data", "out": "there", "plan": {"steps": 7}, "extra": ["more"]}
    reply = warm.run(request, progress=lambda p: stages.append(p.stage))
    assert stages == ["data there 7 ['more'] auto"]
    assert reply["result"] == {"name": "trained"}


def test_jobs_are_answered_in_turn(warm):
    jobs = [start(warm, name) for name in ("short", "good", "bug", "good")]
    assert isinstance(jobs[3].result(5), Result)
    assert all(job.done for job in jobs)
    assert isinstance(failure(jobs[2]), CSAMError)


def test_large_images_make_the_way_there_and_back(warm):
    image = an_image((256, 256, 60))
    assert sitk.Hash(warm.segment([image], "good").labels) == sitk.Hash(image)


def test_a_cleared_environment_is_passed_on_as_it_is(engine):
    with WorkerClient(engine, env=worker_environment({})) as client:
        assert client.segment([an_image()], "good").case_quality == 0.9


def test_the_worker_environment_puts_this_csam_first():
    import csam

    folder = str(Path(csam.__file__).resolve().parent.parent)
    assert worker_environment({"PYTHONPATH": "other", "A": "b"}) == {
        "PYTHONPATH": folder + os.pathsep + "other",
        "PYTHONSAFEPATH": "1",
        "A": "b",
    }
    assert worker_environment({}) == {"PYTHONPATH": folder, "PYTHONSAFEPATH": "1"}


def test_client_and_protocol_work_without_torch_and_qt():
    code = "import sys, csam.client, csam.process.worker; "
    code += "print({'torch', 'qt', 'vtk', 'slicer', 'PySide6'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=worker_environment(), capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


# Errors of the engine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_the_engine_keeps_its_class_its_words_and_its_traceback(warm, kind):
    error = failure(start(warm, f"error-{kind}"))
    assert (type(error), str(error)) == (ERRORS[kind], "What happened.")
    assert "Traceback" in error.detail


def test_a_bug_in_the_engine_ends_the_job_and_not_the_worker(warm):
    process = warm.segment([an_image()], "good").provenance["pid"]
    error = failure(start(warm, "bug"))
    assert (type(error), "ZeroDivisionError" in str(error)) == (CSAMError, True)
    assert "return 1 / 0" in error.detail
    assert warm.segment([an_image()], "good").provenance["pid"] == process


def test_running_out_of_memory_comes_with_advice(warm):
    error = failure(start(warm, "memory"))
    assert isinstance(error, DeviceError)
    assert "8 TiB" in str(error)
    assert "limit the run to a region" in str(error)


@pytest.mark.parametrize(
    ("header", "kind", "words"),
    [
        ({"type": "dance"}, WorkerError, "Unknown request 'dance'"),
        ({"type": "segment"}, WorkerError, "lacks 'model'"),
        ({"type": "segment", "model": "good"}, WorkerError, "lacks 'images'"),
        ({"type": "segment", "model": "good", "digest": "own"}, WorkerError, "lacks 'images'"),
        ({"type": "segment", "model": "good", "digest": "0"}, ModelError, "another model"),
        ({"type": "segment", "model": "good", "options": {"samples": 0}}, InputError, "number of samples is 0"),
    ],
)
def test_a_wrong_request_is_answered_and_the_worker_goes_on(warm, header, kind, words):
    with pytest.raises(kind, match=words):
        warm.run(header)
    assert warm.hello()["torch"]


NO_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name=name)
sys.meta_path.insert(0, NoTorch())
"""


def test_missing_torch_is_said_and_the_worker_lives(tmp_path):
    script = tmp_path / "worker_without_torch.py"
    script.write_text(NO_TORCH + ENGINE + "from csam.process.worker import main\nmain()\n")
    with WorkerClient([sys.executable, str(script), "no-torch"]) as client:
        hello = client.hello()
        assert hello["torch"] is None
        assert "PyTorch is not installed" in hello["reason"]
        assert sys.executable in hello["reason"]
        for model in ("first", "second"):
            error = failure(start(client, model))
            assert isinstance(error, WorkerError)
            assert str(error) == hello["reason"]


# Cancel -----------------------------------------------------------------------------------------------------------


def test_a_run_that_listens_is_cancelled_and_the_worker_stays_warm(client):
    job = start(client, "slow")
    stage_of(job, "slow")
    process, begin = client.process_id, time.monotonic()
    client.cancel(job)
    assert isinstance(failure(job), Cancelled)
    assert time.monotonic() - begin < SOON
    assert client.segment([an_image()], "good").provenance["pid"] == process


@pytest.mark.parametrize("model", ["stuck", "spinning", "family"])
def test_a_run_that_does_not_listen_is_ended_soon(client, model):
    job = start(client, model)
    stage_of(job, model)
    process, begin = client.process_id, time.monotonic()
    client.cancel(job)
    assert isinstance(failure(job), Cancelled)
    assert time.monotonic() - begin < SOON
    eventually(lambda: is_gone(process))
    assert client.segment([an_image()], "good").provenance["pid"] != process


def test_cancelling_twice_or_too_late_changes_nothing(client):
    job = start(client, "slow")
    for _ in range(3):
        client.cancel(job)
    assert isinstance(failure(job), Cancelled)
    done = start(client, "good")
    assert isinstance(done.result(5), Result)
    client.cancel(done)
    assert isinstance(done.result(), Result)
    assert isinstance(client.segment([an_image()], "good"), Result)


def test_cancelling_a_waiting_job_leaves_the_running_one_alone(client):
    running, waiting, last = start(client, "slow"), start(client, "stuck"), start(client, "good")
    stage_of(running, "slow")
    process = client.process_id
    client.cancel(waiting)
    assert isinstance(failure(waiting), Cancelled)
    assert not running.done
    client.cancel(running)
    assert isinstance(failure(running), Cancelled)
    assert last.result(SOON).provenance["pid"] == process


def test_cancel_from_the_blocking_call(warm):
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        warm.segment([an_image()], "slow", cancelled=lambda: time.monotonic() - begin > 0.2)
    assert time.monotonic() - begin < SOON


def test_an_interrupted_blocking_call_cancels_its_job(warm):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        warm.segment([an_image()], "slow", progress=interrupt)
    begin = time.monotonic()
    assert isinstance(warm.segment([an_image()], "good"), Result)
    assert time.monotonic() - begin < SOON


def test_neither_sending_nor_cancelling_blocks_the_caller():
    image = an_image((512, 512, 120))  # 60 MiB, which nobody reads
    with fake_worker("time.sleep(30)") as client:
        begin = time.monotonic()
        job = client.submit({"type": "segment", "model": "any"}, [image])
        events = job.poll()
        submitted = time.monotonic() - begin
        process = eventually(lambda: client.process_id)
        time.sleep(0.2)
        begin = time.monotonic()
        client.cancel(job, grace=SOON / 4)
        assert time.monotonic() - begin < SOON / 8
        assert submitted < SOON
        assert events == []
        assert isinstance(failure(job), Cancelled)
        eventually(lambda: is_gone(process))


# The GPU is lost ----------------------------------------------------------------------------------------------------


@pytest.fixture
def losing(tmp_path):
    """A client of its own worker, which counts how often the GPU was tried."""
    script = tmp_path / "worker.py"
    script.write_text(ENGINE + "from csam.process.worker import main\nsys.exit(main())\n")
    with WorkerClient([sys.executable, str(script)]) as client:
        client.tries = lambda: int((tmp_path / "lost").read_text())
        yield client


def test_a_worker_whose_gpu_is_lost_ends_and_a_new_one_does_the_run_there(losing):
    losing.hello()
    first, stages = losing.process_id, []
    result = losing.segment(an_image(), "lost-1", progress=lambda p: stages.append(p.stage))
    assert sitk.Hash(result.labels) == sitk.Hash(an_image())
    assert (result.warnings, losing.device_lost, losing.tries()) == ((), None, 2)
    assert result.provenance["pid"] != first
    eventually(lambda: is_gone(first))
    assert "Starting anew after a failure of the GPU" in stages
    assert any("failed and does not answer any more. The request is sent" in line for line in losing.log_lines())


def test_a_gpu_that_is_lost_twice_leaves_the_run_to_the_cpu_which_the_result_says(losing):
    result = losing.segment(an_image(), "lost-9")
    (said,) = result.warnings
    assert said.startswith("The GPU failed twice, the second time in a new process: the run was on the CPU, which is")
    assert said.endswith("The device cuda:0 failed and does not answer any more.")
    assert (losing.tries(), losing.device_lost) == (3, "The device cuda:0 failed and does not answer any more.")


def test_later_runs_go_to_the_cpu_at_once_and_say_so_until_the_worker_is_restarted(losing):
    losing.segment(an_image(), "lost-9")
    assert "The GPU failed twice" in losing.segment(an_image(), "lost-9").warnings[0]
    assert losing.tries() == 4
    assert losing.segment(an_image(), "lost-9", Options(device="cuda:0")).warnings  # asked for: tried again
    assert losing.tries() == 7
    losing.close()
    assert losing.device_lost is None
    assert losing.segment(an_image(), "lost-8").warnings == ()
    assert losing.tries() == 9


def test_a_gpu_that_is_gone_from_the_new_process_is_the_second_failure(losing, tmp_path):
    (tmp_path / "gone").touch()
    header = {"type": "load", "model": "lost-1", "device": "auto"}
    assert losing.run(header)["device"] == "cpu"
    losing.close()
    job = losing.submit({**header, "model": "lost-9", "device": "cuda:0"})
    assert isinstance(failure(job), DeviceError)  # there was none to lose


def test_an_unforeseen_failure_of_a_gpu_that_answers_no_more_is_a_lost_gpu_too(losing):
    assert "The GPU failed twice" in losing.segment(an_image(), "failed").warnings[0]
    assert losing.tries() == 3


def test_the_jobs_that_waited_are_done_by_the_new_worker_in_their_order(losing):
    jobs = [start(losing, name) for name in ("lost-1", "short", "good")]
    results = [job.result(SOON) for job in jobs]
    assert len({result.provenance["pid"] for result in results}) == 1
    assert losing.tries() == 4


def test_a_run_that_was_sent_again_can_be_cancelled(losing):
    job = start(losing, "lost-slow")
    process = losing.process_id
    stage_of(job, "lost-slow")
    losing.cancel(job)
    assert isinstance(failure(job), Cancelled)
    assert losing.process_id != process


def test_closing_while_a_run_is_sent_again_leaves_no_process(losing):
    job = start(losing, "lost-slow")
    (process,) = stage_of(job, "lost-slow")
    losing.close()
    assert isinstance(failure(job), Cancelled)
    eventually(lambda: is_gone(process))
    assert losing.process_id is None


def test_a_training_whose_gpu_is_lost_is_not_begun_anew_by_itself(losing):
    losing.hello()
    with pytest.raises(DeviceLost):
        losing.run({"type": "train", "dataset": "lost", "out": "there", "plan": {"steps": 7}})
    assert losing.hello()["torch"]


# The worker fails -------------------------------------------------------------------------------------------------


def test_a_worker_that_ends_in_a_run_is_one_error_with_its_last_words(client):
    error = failure(start(client, "exit"))
    assert type(error) is WorkerError
    assert "exit code 3" in str(error)
    assert "the last words" in str(error)
    assert isinstance(client.segment([an_image()], "good"), Result)


def test_the_last_words_are_heard_to_the_end():
    code = "print(*range(8), 'farewell', sep='\\n', file=sys.stderr)"
    with WorkerClient([sys.executable, "-c", f"import sys; {code}"], log=lambda _: time.sleep(0.02)) as client:
        assert "farewell" in str(failure(client.submit({"type": "hello"})))


def test_a_crash_in_native_code_leaves_its_place_in_the_log(client):
    error = failure(start(client, "segfault"))
    assert "SIGSEGV" in str(error)
    assert "Segmentation fault" in error.detail
    assert "in segment" in error.detail


def test_a_killed_worker_ends_in_one_clear_error_and_the_next_job_works(client):
    job = start(client, "slow")
    (process,) = stage_of(job, "slow")
    os.kill(int(process), signal.SIGKILL)
    error = failure(job, 1.0)
    assert type(error) is WorkerError
    assert "SIGKILL" in str(error)
    assert "memory" in str(error)
    assert isinstance(client.segment([an_image()], "good"), Result)


def test_a_worker_killed_while_idle_is_replaced(client):
    process = client.segment([an_image()], "good").provenance["pid"]
    os.kill(process, signal.SIGKILL)
    eventually(lambda: client.process_id is None)
    assert client.segment([an_image()], "good").provenance["pid"] != process


def test_the_children_of_a_killed_worker_end_too(client):
    job = start(client, "family")
    family = family_of(job)
    assert not any(is_gone(pid) for pid in family)
    os.kill(client.process_id, signal.SIGKILL)
    assert "SIGKILL" in str(failure(job, 1.0))  # though a forked child holds the pipes open
    eventually(lambda: all(is_gone(pid) for pid in family), 1.0)


def test_every_waiting_job_hears_of_the_end(client):
    jobs = [start(client, "slow") for _ in range(3)]
    stage_of(jobs[0], "slow")
    os.kill(client.process_id, signal.SIGKILL)
    assert all(type(failure(job)) is WorkerError for job in jobs)


DAMAGED_TORCH = """
import sys
class Damaged:
    def find_spec(self, name, *_):
        if name == "torch":
            raise OSError("[WinError 126] Error loading fbgemm.dll")
sys.meta_path.insert(0, Damaged())
"""


@pytest.mark.parametrize(
    ("before", "after", "installable", "words"),
    [
        (NO_TORCH, "", True, "is not installed for the Python that runs the worker"),
        (DAMAGED_TORCH, "", False, "cannot be imported: [WinError 126] Error loading fbgemm.dll. Uninstall it"),
        ("", "stand_in('torch', __version__='2.3.1+cpu')\n", True, "PyTorch 2.3.1+cpu of the Python"),
        ("", "stand_in('torch')\n", True, "is too old; 2.4 or newer is needed"),
    ],
    ids=["missing", "damaged", "old", "very old"],
)
def test_hello_tells_what_an_installation_would_mend(tmp_path, before, after, installable, words):
    script = tmp_path / "worker.py"
    script.write_text(before + ENGINE + after + "from csam.process.worker import main\nmain()\n")
    with WorkerClient([sys.executable, str(script), *(["no-torch"] if before else [])]) as client:
        hello = client.hello()
        assert hello["torch"] is None
        assert hello["installable"] is installable
        assert words in hello["reason"]
        assert str(failure(start(client, "first"))) == hello["reason"]


@pytest.mark.parametrize("told", [True, False], ids=["safe path", "as Python 3.10"])
def test_the_worker_finds_no_modules_where_slicer_happens_to_run(tmp_path, told):
    for name in ("platform", "numpy", "torch"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('from the data folder')")
    command, env = [sys.executable, "-m", "csam", "models"], worker_environment()
    if not told:
        del env["PYTHONSAFEPATH"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cardiac-lv" in done.stdout


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('Welcome to the GPU host!', flush=True); time.sleep(30)", "Welcome to the GPU host!"),
        ("os.write(1, b'\\x89PNG' * 100 + b'\\n'); time.sleep(30)", "PNG"),
        ("os.write(1, b'x' * 3000000); time.sleep(30)", "xxx"),
        ("""os.write(1, b'{"type": "hello", "id": 1, "bytes": 99999999999999}\\n'); time.sleep(30)""", "at most"),
        ("""os.write(1, b'{"type": "progress", "id": 1, "bytes": 0}\\n'); time.sleep(30)""", "fraction"),
        ("""os.write(1, b'{"type": "banana", "id": 1, "bytes": 0}\\n'); time.sleep(30)""", "banana"),
        ("""os.write(1, b'{"type": "error", "id": [], "bytes": 0}\\n'); time.sleep(30)""", "cannot be understood"),
        ("os.close(1); time.sleep(30)", "closed its standard output"),
        ("os.close(0); time.sleep(30)", "closed its standard input"),
        ("""os.write(1, b'{"type": "result", "id": 1, "bytes": 100}\\nabc')""", "exit code 0"),
        ("pass", "exit code 0"),
        ("sys.exit('No module named csam')", "exit code 1; its last line: No module named csam"),
        (
            "sys.exit('error: [/opt/Slicer/bin/python-real] exit abnormally - Report the problem.')",
            "it crashed or was killed. The computer may have run out of memory.",
        ),
    ],
)
def test_what_is_no_worker_ends_in_one_clear_error(code, words):
    with fake_worker(code) as client:
        job = client.submit({"type": "hello"})
        process = eventually(lambda: client.process_id or job.done)
        if "os.close(0)" in code:  # noticed when something is written
            time.sleep(0.3)
            job = client.submit({"type": "hello"})
        error = failure(job, 3.0)
        assert type(error) is WorkerError
        assert words in str(error)
        if process is not True:
            eventually(lambda: is_gone(process), 1.0)


def test_a_command_that_never_becomes_a_worker_is_ended_with_its_name_and_its_last_words(monkeypatch):
    monkeypatch.setattr("csam.process.connection.START_TIMEOUT", 1.0)
    with fake_worker("print('Enter the password:', file=sys.stderr, flush=True); sys.stdin.read()") as client:
        job = client.submit({"type": "hello"})
        process = eventually(lambda: client.process_id)
        error = failure(job)
        assert type(error) is WorkerError
        assert "has not become a worker within 1 s;" in str(error)
        assert f"{sys.executable} -c" in str(error)
        assert "Its last line: Enter the password:" in str(error)
        assert "conda run" in str(error)
        eventually(lambda: is_gone(process))


def test_a_worker_that_has_started_may_take_its_time(engine, monkeypatch):
    monkeypatch.setattr("csam.process.connection.START_TIMEOUT", 1.0)
    with WorkerClient(["sh", "-c", 'exec "$@"', "sh", *engine]) as client:
        client.hello()
        job = start(client, "slow")
        stage_of(job, "slow")
        time.sleep(1.2)
        assert not job.done


@pytest.mark.parametrize(
    ("command", "env"),
    [
        (["/no/such/python", "-m", "csam"], None),
        ([str(Path(__file__).parent)], None),
        ([""], None),
        ([], None),
        ([sys.executable], {"A": 1}),
    ],
)
def test_a_worker_that_cannot_be_started_is_one_clear_error(command, env):
    with WorkerClient(command, env) as client:
        for _ in range(2):
            error = failure(client.submit({"type": "hello"}))
            assert type(error) is WorkerError
            assert "could not be started" in str(error)
            assert "worker command" in str(error)


def test_a_result_cut_off_by_a_kill_is_one_error(client):
    header = b'{"type":"result","id":1,"result":{},"images":[],"bytes":1000000}\\n'
    with fake_worker(f"os.write(1, b'{header.decode()}' + b'x' * 5000); os.kill(os.getpid(), 9)") as client:
        assert "SIGKILL" in str(failure(client.submit({"type": "segment"})))


# The end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["good", "slow", "stuck", "spinning", "family"])
def test_closing_the_client_leaves_no_process(engine, model):
    client = WorkerClient(engine)
    job = start(client, model)
    family = [*(family_of(job) if model == "family" else stage_of(job, model)), client.process_id]
    begin = time.monotonic()
    client.close()
    assert time.monotonic() - begin < SOON
    assert job.done
    assert model == "good" or isinstance(failure(job), Cancelled)
    eventually(lambda: all(is_gone(pid) for pid in family))


def test_closing_without_waiting_returns_at_once(engine, monkeypatch):
    monkeypatch.setattr("csam.process.client.GRACE", SOON / 4)
    client = WorkerClient(engine)
    job = start(client, "stuck")
    (process,) = stage_of(job, "stuck")
    begin = time.monotonic()
    client.close(wait=False)
    assert time.monotonic() - begin < SOON / 8
    assert isinstance(failure(job), Cancelled)
    eventually(lambda: is_gone(process))


def test_a_client_that_was_closed_starts_again(client):
    first = client.segment([an_image()], "good").provenance["pid"]
    client.close()
    client.close()
    assert client.process_id is None
    assert client.segment([an_image()], "good").provenance["pid"] != first


def test_a_forgotten_client_takes_its_worker_along(engine):
    client = WorkerClient(engine)
    process = client.segment([an_image()], "good").provenance["pid"]
    del client
    eventually(lambda: is_gone(process), 1.0)


def test_many_starts_leave_neither_threads_nor_descriptors():
    def left_over():
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("csam worker")]
        return len(threads), len(os.listdir("/dev/fd"))

    with fake_worker("os.close(0); os.close(1); sys.exit('gone')") as client:
        before = left_over()
        for _ in range(8):
            failure(client.submit({"type": "hello"}))
        eventually(lambda: all(now <= then for now, then in zip(left_over(), before, strict=True)))


HOST = """
import sys, time, SimpleITK as sitk
from csam.client import WorkerClient
client = WorkerClient(sys.argv[2:])
job = client.submit({"type": "segment", "model": sys.argv[1]}, [sitk.Image([4, 3, 2], sitk.sitkInt16)])
while not (events := job.poll()):
    time.sleep(0.01)
print(events[0].stage.split()[1], flush=True)
"""


@pytest.mark.parametrize("model", ["stuck", "spinning"])
@pytest.mark.parametrize("end", ["", "sys.stdin.read()", "import os; os._exit(1)"])
def test_the_worker_ends_with_its_application_however_that_ends(engine, model, end):
    host = subprocess.Popen(
        [sys.executable, "-c", HOST + end, model, *engine],
        env=worker_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with host:
        process = host.stdout.readline().strip()
        if "stdin" in end:
            assert not is_gone(process)
            host.kill()
        eventually(lambda: is_gone(process), 1.5)


# The worker seen from the other end of its pipes ------------------------------------------------------------------


@pytest.fixture
def bare(engine):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(engine, env=worker_environment(), **pipes) as process:
        assert read_frame(process.stdout)[0]["type"] == "started"
        yield process
        process.kill()
        with contextlib.suppress(OSError):  # what could not be written
            process.stdin.close()


def ask(process, model):
    specs, buffers = pack_images({"image": an_image()})
    write_frame(process.stdin, {"type": "segment", "id": 1, "model": model, "images": specs}, buffers)
    assert read_frame(process.stdout)[0]["type"] == "progress"


@pytest.mark.parametrize("model", ["slow", "stuck", "spinning"])
def test_the_worker_ends_in_a_run_when_its_input_closes(bare, model):
    ask(bare, model)
    bare.stdin.close()
    assert bare.wait(SOON) == 0


def test_the_worker_ends_in_a_run_when_it_is_told_to_quit(bare):
    ask(bare, "stuck")
    write_frame(bare.stdin, {"type": "quit", "id": 2})
    assert read_frame(bare.stdout)[0]["type"] == "bye"
    assert bare.wait(SOON) == 0


def test_an_idle_worker_says_bye_and_nothing_else(bare):
    write_frame(bare.stdin, {"type": "quit", "id": 2})
    assert bare.stdout.read() == b'{"type":"bye","id":2,"bytes":0}\n'
    assert bare.wait(SOON) == 0


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        (b"GET / HTTP/1.1\r\n", "GET / HTTP/1.1"),
        (b'{"type": "segment", "id": 1, "bytes": %d}\n' % (PAYLOAD_LIMIT + 1), f"announces {PAYLOAD_LIMIT + 1} bytes"),
        (b'{"type": "hello", "id": [1], "bytes": 0}\n', "the id [1]"),
    ],
)
def test_the_worker_answers_garbage_with_an_error_and_ends(bare, garbage, words):
    bare.stdin.write(garbage)
    bare.stdin.flush()
    header, _ = read_frame(bare.stdout)
    assert (header["type"], header["id"], header["kind"]) == ("error", None, "worker")
    assert words in header["message"]
    assert bare.wait(SOON) == 1


def test_a_worker_whose_reader_is_gone_ends(bare):
    ask(bare, "short")
    bare.stdout.close()
    assert bare.wait(SOON) == 1
