"""Starting a worker's process and ending it with all its children, on every system."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import PureWindowsPath

from ..errors import WorkerError

PIPE_SIZE = 1 << 20
"""Bytes; the most that Linux gives to everybody."""

BATCH = (".bat", ".cmd")


def start(command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen:
    """Start the worker in a process group of its own and, on Windows, without a console window.

    Pipes as wide as Linux lets them be: images cross in fewer steps, each of which needs the interpreter's lock.
    Raises OSError and others where it cannot be started, WorkerError where that can be said better.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(windows_command(command, env), env=env, creationflags=flags, **pipes)
    process = subprocess.Popen(command, env=env, start_new_session=True, **pipes)
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        for pipe in (process.stdin, process.stdout):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return process


def kill_tree(process: subprocess.Popen) -> None:
    """Kill a worker and its children, also when the worker itself has ended already."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # missing, or blocked by the administrator
            command = [system_program("taskkill.exe", os.environ), "/T", "/F", "/PID", str(process.pid)]
            subprocess.run(command, creationflags=subprocess.CREATE_NO_WINDOW, capture_output=True, timeout=10)
        with contextlib.suppress(OSError):  # gone already
            process.kill()
        return
    with contextlib.suppress(OSError):  # gone already
        os.killpg(process.pid, signal.SIGKILL)


def windows_command(command: Sequence[str], env: Mapping[str, str]) -> list[str] | str:
    """What Windows starts for a command: the program with its whole path, a batch file (.bat, .cmd) through cmd.exe.

    Windows itself would add no other ending than .exe to a name, and look along this process's PATH.
    Raises WorkerError for a batch file with an argument that cmd.exe would change.
    """
    program, *arguments = command or [""]
    program = shutil.which(program, path=_variable(env, "PATH")) or program
    if not program.lower().endswith(BATCH):
        return [program, *arguments]
    changed = next((word for word in (program, *arguments) if re.search(r'["%!\r\n]', word)), None)
    if changed is not None:
        raise WorkerError(
            f"{program} is a batch file, and Windows would change the word {changed!r} on the way to it. Set the "
            "worker command to the program that it starts (python.exe)."
        )
    words = " ".join(f'"{word}"' for word in (program, *arguments))
    return f'"{system_program("cmd.exe", env)}" /d /s /c "{words}"'  # /s: only the outermost quotes are taken off


def system_program(name: str, env: Mapping[str, str]) -> str:
    """One of Windows' own programs, with its path: PATH may lack it, or lead to another."""
    return str(PureWindowsPath(_variable(env, "SystemRoot") or r"C:\Windows", "System32", name))


def _variable(env: Mapping[str, str], name: str) -> str | None:
    """A variable, however its name is written: Windows takes Path and PATH for the same, a dictionary does not."""
    return next((value for key, value in env.items() if key.lower() == name.lower()), None)
