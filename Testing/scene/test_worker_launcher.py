"""The worker's Python is found in the order that the design gives, and started in an environment that suits it."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import slicer

from csam.errors import WorkerError
from CSAMSegmentLib.logic.worker_launcher import COMMAND_SETTING, find_command, find_worker, split_command

WORKER = ["-m", "csam", "worker"]


class FakeApplication:
    """The few calls of the application that the launcher makes, with PythonQt's forms."""

    def __init__(self, home, settings=None):
        self.slicerHome = str(home)
        self._settings = settings or {}

    def applicationDirPath(self):
        return str(Path(self.slicerHome) / "bin")

    def userSettings(self):
        return SimpleNamespace(value=lambda name: self._settings.get(name))

    def startupEnvironment(self):
        variables = {"PATH": os.environ["PATH"], "HOME": "/home/ann"}
        return SimpleNamespace(keys=lambda: list(variables), value=variables.get)


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    """No application, and none of the variables that would decide."""
    monkeypatch.delattr(slicer, "app", raising=False)
    monkeypatch.delenv("CSAM_WORKER_COMMAND", raising=False)
    monkeypatch.delenv("SLICER_HOME", raising=False)


@pytest.fixture
def inside(monkeypatch):
    """Puts us inside an application with some settings."""

    def enter(home, **settings):
        monkeypatch.setattr(slicer, "app", FakeApplication(home, settings), raising=False)

    return enter


def install_python(home):
    python = home / "bin" / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return str(python)


def test_outside_the_application_this_python_runs_the_worker():
    assert find_command(os.environ)[0] == [sys.executable, *WORKER]


def test_a_set_variable_is_preferred_to_this_python(monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/opt/torch/bin/python")
    assert find_command(os.environ)[0] == ["/opt/torch/bin/python", *WORKER]


def test_the_setting_is_preferred_to_everything(monkeypatch, inside, tmp_path):
    install_python(tmp_path)
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/opt/torch/bin/python")
    monkeypatch.setenv("SLICER_HOME", str(tmp_path))
    inside(tmp_path, **{COMMAND_SETTING: "ssh gpu-host python -m csam worker"})
    assert find_command(os.environ)[0] == ["ssh", "gpu-host", "python", "-m", "csam", "worker"]


def test_an_empty_setting_is_none(monkeypatch, inside, tmp_path):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "python3.11")
    inside(tmp_path, **{COMMAND_SETTING: "  "})
    assert find_command(os.environ)[0] == ["python3.11", *WORKER]


def test_slicers_python_is_found_below_slicer_home(monkeypatch, tmp_path):
    python = install_python(tmp_path)
    monkeypatch.setenv("SLICER_HOME", str(tmp_path))
    assert find_command(os.environ)[0] == [python, *WORKER]


def test_slicers_python_is_found_beside_the_application(inside, tmp_path):
    python = install_python(tmp_path)
    inside(tmp_path)
    slicer.app.slicerHome = str(tmp_path / "elsewhere")
    slicer.app.applicationDirPath = lambda: str(tmp_path / "MacOS")
    assert find_command(os.environ)[0] == [python, *WORKER]


def test_inside_the_application_sys_executable_is_never_used(inside, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    inside(tmp_path)
    with pytest.raises(WorkerError, match=r"PythonSlicer\) was not found.*CSAM_WORKER_COMMAND"):
        find_command(os.environ)[0]


@pytest.mark.parametrize(
    ("text", "windows", "parts"),
    [
        ("python", False, ["python", *WORKER]),
        ("'/opt/my torch/bin/python'", False, ["/opt/my torch/bin/python", *WORKER]),
        (r"/opt/my\ torch/bin/python", False, ["/opt/my torch/bin/python", *WORKER]),
        ("nice -n 5 python -m csam worker", False, ["nice", "-n", "5", "python", "-m", "csam", "worker"]),
        (r"C:\Python\python.exe", True, [r"C:\Python\python.exe", *WORKER]),
        (r'"C:\Program Files\Python\python.exe"', True, [r"C:\Program Files\Python\python.exe", *WORKER]),
        (r'ssh -i "C:\my keys\id" host "python -m csam worker"', True,
         ["ssh", "-i", r"C:\my keys\id", "host", "python -m csam worker"]),
    ],
)  # fmt: skip
def test_a_command_is_split_as_its_system_quotes_it(text, windows, parts):
    assert split_command(text, windows) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("~/torch/bin/python", ["/home/ann/torch/bin/python", *WORKER]),
        ("$PLACE/bin/python", ["/opt/place/bin/python", *WORKER]),
        ("nice ~/torch/bin/python -m csam worker", ["nice", "/home/ann/torch/bin/python", *WORKER]),
        ("ssh host ~/bin/python -m csam worker", ["ssh", "host", "~/bin/python", *WORKER]),
        ("~/bin/ssh host '$PLACE/python' -m csam worker", ["/home/ann/bin/ssh", "host", "$PLACE/python", *WORKER]),
    ],
)
def test_home_and_variables_are_those_of_this_computer_and_ssh_keeps_its_own(monkeypatch, text, parts):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("PLACE", "/opt/place")
    monkeypatch.setenv("CSAM_WORKER_COMMAND", text)
    assert find_command(os.environ)[0] == parts


def test_a_path_with_spaces_below_home_needs_no_quotes_either(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my python").write_text("")
    assert split_command("~/my python") == [str(tmp_path / "my python"), *WORKER]


@pytest.mark.parametrize(
    ("text", "windows", "told"),
    [
        ("conda run -n torch python -m csam worker", False, "conda run --no-capture-output -n torch"),
        (r"C:\conda\condabin\conda.bat run -n torch python -m csam worker", True,
         r"C:\conda\condabin\conda.bat run --no-capture-output -n torch"),
        ("ssh host conda run -n torch python -m csam worker", False, "ssh host conda run --no-capture-output -n torch"),
        ("ssh host 'conda run -n torch python -m csam worker'", False,
         "ssh host conda run --no-capture-output -n torch"),
        ("conda run --no-capture-output -n torch python -m csam worker", False,
         "conda run --no-capture-output -n torch"),
        ("conda run --live-stream -n torch python -m csam worker", False, "conda run --live-stream -n torch"),
        ("micromamba run -n torch python -m csam worker", False, "micromamba run -n torch"),
        ("docker run conda python -m csam worker", False, "docker run conda"),
    ],
)  # fmt: skip
def test_conda_run_gets_the_option_without_which_nothing_is_heard_of_the_worker(text, windows, told):
    assert " ".join(split_command(text, windows)) == f"{told} python -m csam worker"


def test_a_path_with_spaces_needs_no_quotes_when_it_is_there(tmp_path):
    python = tmp_path / "my python"
    python.write_text("")
    assert split_command(f"{python} ") == [str(python), *WORKER]


def test_open_quotes_are_an_error_that_says_so():
    with pytest.raises(WorkerError, match="Close its quotes"):
        split_command("'/opt/torch", windows=False)


def test_a_program_that_is_not_there_is_said_before_the_run(monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/nowhere/python")
    with pytest.raises(WorkerError, match=r'"/nowhere/python" \(CSAM_WORKER_COMMAND\), which is not there'):
        find_worker()


def test_the_worker_finds_the_engine_that_belongs_to_this_module():
    first = find_worker().environment["PYTHONPATH"].split(os.pathsep)[0]
    assert (Path(first) / "csam" / "process" / "worker.py").is_file()


def test_another_python_does_not_meet_the_applications_variables(monkeypatch, inside, tmp_path):
    monkeypatch.setenv("PYTHONHOME", "/slicer/lib/Python")
    monkeypatch.setenv("CSAM_WORKER_COMMAND", sys.executable)
    inside(tmp_path)
    environment = find_worker().environment
    assert "PYTHONHOME" not in environment
    assert environment["HOME"] == "/home/ann"


def test_slicers_own_python_keeps_the_applications_variables(monkeypatch, inside, tmp_path):
    install_python(tmp_path)
    monkeypatch.setenv("PYTHONHOME", "/slicer/lib/Python")
    inside(tmp_path)
    assert find_worker().environment["PYTHONHOME"] == "/slicer/lib/Python"
