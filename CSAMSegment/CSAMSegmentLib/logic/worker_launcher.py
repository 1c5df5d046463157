"""Which Python runs the worker, and in which environment.

In this order:

1. the module setting ``CSAMSegment/WorkerCommand``,
2. the environment variable ``CSAM_WORKER_COMMAND``,
3. ``PythonSlicer`` below SLICER_HOME, or beside the application,
4. ``sys.executable``, outside the application only: inside it may be empty, or be the application itself.

The first two may name an interpreter ("/opt/torch/bin/python") or a whole command
("ssh gpu-host python -m csam worker"). "~" and variables ($HOME, %USERPROFILE%) stand for what they are on this
computer, but not in what ssh is to run elsewhere. "conda run" gets the option without which it keeps back all that is
written.

Example:
    >>> launch = find_worker()
    >>> client = WorkerClient(launch.command, env=launch.environment)
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import slicer

from csam.errors import WorkerError

COMMAND_SETTING = "CSAMSegment/WorkerCommand"
COMMAND_VARIABLE = "CSAM_WORKER_COMMAND"
WORKER = ("-m", "csam", "worker")
SLICERS_PYTHON, THIS_PYTHON = "Slicer's Python", "this Python"
"""Where a command comes from that nobody has set."""

SSH = ("ssh", "plink")
UNCAPTURED = "--no-capture-output"
UNCAPTURED_TOO = {UNCAPTURED, "--live-stream"}

HELP = f"Set the worker command (Advanced, or the environment variable {COMMAND_VARIABLE}) to a Python that has torch."


@dataclass(frozen=True)
class Launch:
    """command: the worker's command line. environment: its variables. source: where the command comes from."""

    command: list[str]
    environment: dict[str, str]
    source: str


def find_worker() -> Launch:
    """How to start the worker here and now. Raises WorkerError when the program is not there."""
    return launch(*find_command(os.environ))


def launch(command: list[str], source: str, advice: str = HELP) -> Launch:
    """How to start a command. source: where it comes from. Raises WorkerError when its program is not there.

    advice: what to do then.
    """
    from csam.process.client import worker_environment

    ours = source in (SLICERS_PYTHON, THIS_PYTHON)
    # Another program must not meet Slicer's PYTHONHOME and library folders; PythonSlicer needs them.
    environment = dict(os.environ) if ours or application() is None else slicer.util.startupEnvironment()
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        raise WorkerError(f'The command begins with "{command[0]}" ({source}), which is not there. {advice}')
    return Launch(command, worker_environment(environment), source)


def runs_in_slicer() -> bool:
    """Whether the worker is Slicer's own Python, into which torch may be installed."""
    try:
        return find_worker().source not in (COMMAND_SETTING, COMMAND_VARIABLE)
    except WorkerError:
        return False


def application():
    """The running Slicer application, None outside it."""
    return getattr(slicer, "app", None)


def read_setting(name: str, default: str = "") -> str:
    """A text of Slicer's user settings; the default outside the application."""
    if application() is None:
        return default
    value = application().userSettings().value(name)
    return default if value is None else str(value)


def split_command(text: str, windows: bool = os.name == "nt") -> list[str]:
    """A command line as a list; one that is only an interpreter gets the arguments that make it the worker.

    The whole text may be the path of a file, spaces and all. Otherwise quotes keep words together; on Windows a
    backslash is part of a path, elsewhere it quotes the next character.
    """
    text = text.strip()
    whole = expanded(text)
    if os.path.isfile(whole):
        parts = [whole]
    elif windows:
        words = re.findall(r'(?:[^\s"]|"[^"]*(?:"|$))+', text)
        parts = [word.replace('"', "") for word in words]
    else:
        try:
            parts = shlex.split(text)
        except ValueError as error:
            raise WorkerError(f"The command {text!r} cannot be read: {error}. Close its quotes.") from error
    parts = [*parts, *WORKER] if len(parts) == 1 else parts
    here = 1 if parts and program(parts[0]) in SSH else len(parts)
    return _unheld([*map(expanded, parts[:here]), *parts[here:]])


def expanded(word: str) -> str:
    """A path as the user has typed it, with what "~" and variables ($HOME, %USERPROFILE%) stand for here."""
    return os.path.expanduser(os.path.expandvars(word))


def program(word: str) -> str:
    """The name of a program, without its folder and ending."""
    return PureWindowsPath(word).stem.lower()


def _unheld(parts: list[str]) -> list[str]:
    """The command without what "conda run" does: it shows what its program writes only when that has ended."""
    if UNCAPTURED_TOO & {*" ".join(parts).split()}:
        return parts
    told = [re.sub(r"(\bconda(?:\.exe|\.bat)?\s+run)(?=\s)", rf"\1 {UNCAPTURED}", word) for word in parts]  # over ssh
    for number in range(len(told) - 1, 0, -1):
        if told[number] == "run" and program(told[number - 1]) == "conda":
            told.insert(number + 1, UNCAPTURED)
    return told


def find_command(environment: Mapping[str, str]) -> tuple[list[str], str]:
    """The command line that starts the worker, and where it comes from; whether its program is there is not checked."""
    for source, text in (
        (COMMAND_SETTING, read_setting(COMMAND_SETTING)),
        (COMMAND_VARIABLE, environment.get(COMMAND_VARIABLE, "")),
    ):
        if text.strip():
            return split_command(text), source
    return own_command(environment)


def own_command(environment: Mapping[str, str]) -> tuple[list[str], str]:
    """The same with Slicer's own Python, whatever the user has set. Raises WorkerError where it is not found."""
    for python in _slicer_pythons(environment):
        if python.is_file():
            return [str(python), *WORKER], SLICERS_PYTHON
    if application() is None and sys.executable:
        return [sys.executable, *WORKER], THIS_PYTHON
    raise WorkerError(f"Slicer's own Python (PythonSlicer) was not found. {HELP}")


def _slicer_pythons(environment: Mapping[str, str]):
    """Where PythonSlicer may be, by preference; those that are not there too."""
    name = "PythonSlicer.exe" if os.name == "nt" else "PythonSlicer"
    homes = [environment.get("SLICER_HOME")]
    if application() is not None:
        homes.append(getattr(application(), "slicerHome", None))
    for home in filter(None, homes):
        yield Path(home) / "bin" / name
    if application() is not None:
        beside = getattr(application(), "applicationDirPath", None)
        if callable(beside):
            yield from (Path(beside()) / name, Path(beside()).parent / "bin" / name)
        on_path = shutil.which(name, path=environment.get("PATH"))
        if on_path:
            yield Path(on_path)
