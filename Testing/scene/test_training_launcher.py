"""Which command trains and where: the worker's or one of its own, here or behind ssh."""

import subprocess
import sys
import time

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from csam.errors import WorkerError
from CSAMSegmentLib.logic import package_install, training_launcher
from CSAMSegmentLib.logic.training_launcher import TrainingLaunch, find_training, split_host, training_host


@pytest.fixture
def setting(monkeypatch):
    """Sets the module settings by name."""
    settings = {}
    monkeypatch.delattr(slicer, "app", raising=False)
    monkeypatch.setattr(training_launcher, "read_setting", lambda name, default="": settings.get(name, default))
    return settings


@pytest.mark.parametrize(
    ("text", "command", "host"),
    [
        ("/opt/bin/python -m csam worker", ["/opt/bin/python", "-m", "csam"], ""),
        ("torchrun --nproc-per-node 2 -m csam", ["torchrun", "--nproc-per-node", "2", "-m", "csam"], ""),
        ("ssh gpu python -m csam worker", ["ssh", "gpu", "python -m csam"], "gpu"),
        ("ssh -p 22 -i key me@gpu python -m csam", ["ssh", "-p", "22", "-i", "key", "me@gpu", "python -m csam"],
         "me@gpu"),
        ("ssh -vp 22 -C -oBatchMode=yes gpu csam worker", ["ssh", "-vp", "22", "-C", "-oBatchMode=yes", "gpu", "csam"],
         "gpu"),
        ("ssh gpu -p 22 -C python -m csam worker", ["ssh", "gpu", "-p", "22", "-C", "python -m csam"], "gpu"),
        ("ssh -p22 -- gpu csam", ["ssh", "-p22", "--", "gpu", "csam"], "gpu"),
        ("plink.exe -batch -P 22 gpu python -m csam worker",
         ["plink.exe", "-batch", "-P", "22", "gpu", "python -m csam"], "gpu"),
    ],
)  # fmt: skip
def test_the_word_worker_goes_and_the_computer_is_found_behind_the_options(text, command, host):
    assert split_host(text.split()) == (command, host)


def test_words_for_a_remote_shell_stay_as_the_user_wrote_them():
    command, host = split_host(["ssh", "gpu", "cd ~/csam && . venv/bin/activate && python -m csam worker"])
    assert (command[-1], host) == ("cd ~/csam && . venv/bin/activate && python -m csam", "gpu")


@pytest.mark.parametrize("text", ["python worker.py", "ssh gpu python worker.py", "ssh -p 22", "ssh gpu"])
def test_a_command_that_cannot_train_is_refused_in_words(text):
    with pytest.raises(WorkerError, match=r"cannot train|names no computer"):
        split_host(text.split())


def test_what_is_ours_reaches_the_program_there_as_it_was(tmp_path):
    """Spaces, quotes, JSON and a dollar sign, through a shell."""
    words = ["train", "/data/Ann's hearts $HOME", '{"title": "a \\"b\\" `c`"}', ""]
    there = f"{sys.executable} -c 'import sys; print(sys.argv[1:])'"
    line = TrainingLaunch(["ssh", "gpu", there], {}, "gpu").line(words)
    said = subprocess.run(["sh", "-c", " ".join(line[2:])], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str(words)


def test_the_training_command_is_preferred_to_the_workers(setting, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", sys.executable)
    launch = find_training()
    assert (launch.command, launch.host) == ([sys.executable, "-m", "csam"], "")
    assert launch.line(["a b"]) == [sys.executable, "-m", "csam", "a b"]
    setting["CSAMSegment/TrainingCommand"] = "ssh gpu torchrun --nproc-per-node 4 -m csam"
    assert training_host() == "gpu"
    assert not training_launcher.trains_in_slicer()
    setting["CSAMSegment/TrainingCommand"] = "no-such-torchrun -m csam"
    with pytest.raises(WorkerError, match=r'begins with "no-such-torchrun" .* Change the training command'):
        find_training()


def test_where_a_worker_cannot_train_no_computer_is_named(setting, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "ssh gpu ./start-the-worker")
    assert training_host() == ""
    with pytest.raises(WorkerError, match='has to end with "-m csam"'):
        find_training()


def test_missing_packages_are_named_with_the_computer_that_lacks_them():
    said = package_install.elsewhere(["monai"], TrainingLaunch(["ssh", "gpu", "python -m csam"], {}, "gpu"))
    assert "(gpu)" in said
    assert said.endswith("pip install monai")


def test_what_reads_files_of_this_computer_runs_here_wherever_models_learn(setting, monkeypatch, tmp_path):
    from csam.training.dataset_json import read_contents
    from CSAMSegmentLib.logic.case_import import CaseImport

    setting[training_launcher.TRAINING_SETTING] = "ssh gpu-host torchrun --nproc-per-node 4 -m csam"
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "ssh gpu-host python -m csam worker")
    monkeypatch.delenv("SLICER_HOME", raising=False)
    assert training_host() == "gpu-host"
    assert training_launcher.find_here().command == [sys.executable, "-m", "csam"]
    image = sitk.GetImageFromArray(np.arange(6 * 20 * 18, dtype=np.int16).reshape(6, 20, 18))
    (tmp_path / "scans").mkdir()
    sitk.WriteImage(image, str(tmp_path / "scans" / "p1.nii.gz"))
    sitk.WriteImage(image > 900, str(tmp_path / "scans" / "p1_seg.nii.gz"))
    run, until = CaseImport(str(tmp_path / "scans"), str(tmp_path / "hearts"), {1: "ventricle"}), time.monotonic() + 60
    while run.busy and time.monotonic() < until:
        run.poll()
        time.sleep(0.01)
    assert run.said() == "Added: 1; there already: 0; not added: 0."
    assert [files.name for files in read_contents(tmp_path / "hearts")[0].files] == ["p1"]
