"""Windows is played here: what it starts, and how its processes are ended."""

import subprocess
from types import SimpleNamespace

import pytest

from csam.errors import WorkerError
from csam.process import programs
from csam.process.programs import kill_tree, start, windows_command

SYSTEM = {"SYSTEMROOT": "D:\\Windows", "Path": "C:\\Tools"}


@pytest.fixture
def windows(monkeypatch):
    """This system says that it is Windows; what it starts is written down."""
    started = []
    monkeypatch.setattr(programs, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setenv("SystemRoot", "D:\\Windows")
    for flag in ("CREATE_NO_WINDOW", "CREATE_NEW_PROCESS_GROUP"):
        monkeypatch.setattr(subprocess, flag, 1, raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_more: started.append(command))
    monkeypatch.setattr(subprocess, "run", lambda command, **_more: started.append(command))
    return started


@pytest.fixture
def on_path(monkeypatch):
    """The programs that are found along PATH."""
    found = {}
    monkeypatch.setattr(programs.shutil, "which", lambda name, path: found.get((name, path)))
    return found


class Child:
    """A process that is still there."""

    pid, killed = 77, False

    def kill(self):
        self.killed = True


@pytest.mark.parametrize("fault", [FileNotFoundError(), PermissionError(), subprocess.TimeoutExpired("taskkill", 10)])
def test_a_worker_is_ended_where_taskkill_is_missing_or_blocked(windows, monkeypatch, fault):
    def fail(command, **_more):
        raise fault

    monkeypatch.setattr(subprocess, "run", fail)
    child = Child()
    kill_tree(child)
    assert child.killed


def test_taskkill_is_called_with_its_whole_path_and_the_worker_killed_in_any_case(windows):
    child = Child()
    kill_tree(child)
    assert windows == [["D:\\Windows\\System32\\taskkill.exe", "/T", "/F", "/PID", "77"]]
    assert child.killed


def test_a_program_is_started_from_where_it_was_found(windows, on_path):
    on_path["python", "C:\\Tools"] = "C:\\Tools\\python.exe"
    start(["python", "-m", "csam", "worker"], SYSTEM)
    assert windows == [["C:\\Tools\\python.exe", "-m", "csam", "worker"]]


@pytest.mark.parametrize("ending", [".bat", ".CMD"])
def test_a_batch_file_is_started_through_cmd(windows, on_path, ending):
    on_path["conda", "C:\\Tools"] = f"C:\\My Tools & more\\conda{ending}"
    start(["conda", "run", "-n", "my torch", "python", "-m", "csam", "worker"], SYSTEM)
    assert windows == [
        f'"D:\\Windows\\System32\\cmd.exe" /d /s /c ""C:\\My Tools & more\\conda{ending}" "run" "-n" "my torch" '
        '"python" "-m" "csam" "worker""'
    ]


@pytest.mark.parametrize("word", ["%PATH%", 'a"b', "two\nlines", "wow!"])
def test_a_batch_file_is_refused_with_a_word_that_cmd_would_change(on_path, word):
    with pytest.raises(WorkerError, match=r"is a batch file, and Windows would change the word .* Set the worker"):
        windows_command(["C:\\python.bat", word], SYSTEM)


def test_an_empty_command_is_left_to_windows_to_refuse(on_path):
    assert windows_command([], SYSTEM) == [""]
