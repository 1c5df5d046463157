"""A training as the panel sees it: checked, begun, paused, gone on with, ended early, whatever becomes of Slicer.

The training is a process of its own, started as the worker is; it saves itself and ends when this program goes. All
that is needed to go on lies in its folder.

Example:
    >>> learning = Learning()
    >>> learning.check(TrainingRequest("/data/hearts", minutes=15))
    >>> while learning.busy:  # in a GUI, from a timer
    ...     learning.poll()
    >>> learning.begin(learning.request)
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any

from csam.errors import InputError, WorkerError
from csam.process.line_process import ENDED, LineProcess
from csam.process.orders import KEEP, STOP
from csam.training.training_request import (
    CALIBRATING,
    CHECKPOINT,
    TrainingRequest,
    read_request,
    state_of,
    train_arguments,
    unfinished,
    write_request,
)

from .user_models import user_folder
from .worker_launcher import SSH, WORKER, find_worker


class State(Enum):
    """Where a training is."""

    NONE = auto()
    CHECKING = auto()
    TRAINING = auto()
    PAUSING = auto()
    ENDING = auto()
    """It keeps what there is: validates, calibrates and saves."""
    PAUSED = auto()
    DONE = auto()
    FAILED = auto()


BUSY = (State.CHECKING, State.TRAINING, State.PAUSING, State.ENDING)


class Learning:
    """One training at a time. Nothing here waits; ``poll`` brings it on and says whether anything has changed.

    make: starts a process with arguments for ``python -m csam``; None for that of ``find_worker``.

    state, request, folder (of the training). plan: of the last check, the fields of the event "plan". faults: every one
    of the last check. missing: packages that have to be installed first. rows: of the log. stage, fraction and
    seconds_left: as in Progress. error: why it has failed. lines: what it has written.
    resumed: whether it goes on from what it had saved.
    """

    def __init__(self, make: Callable[[Sequence[str]], LineProcess] | None = None):
        self._make = make or start_process
        self._process: LineProcess | None = None
        self.state, self.request, self.folder = State.NONE, None, None
        self._forget()
        self.plan: Mapping[str, Any] | None = None
        self.faults: list[str] = []
        self.missing: list[str] = []

    def _forget(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.stage, self.fraction, self.seconds_left, self.error = "", None, None, ""
        self.lines: list[str] = []
        self.resumed = False
        self._last: Mapping[str, Any] = {}

    @property
    def busy(self) -> bool:
        """Whether a process is at work."""
        return self.state in BUSY

    # What is asked for --------------------------------------------------------------------------------------------

    def check(self, request: TrainingRequest) -> None:
        """Have the data set read and the plan made. Raises WorkerError where no process can be started."""
        self._refuse_while_busy()
        self.request, self.folder, self.plan, self.faults, self.missing = request, None, None, [], []
        self._forget()
        self._start(State.CHECKING, train_arguments(request, trainings_folder(), check=True))

    def begin(self, request: TrainingRequest) -> Path:
        """Begin a training in a folder of its own, which comes back. Raises InputError, WorkerError."""
        self._refuse_while_busy()
        folder = _free_folder(trainings_folder(), Path(request.dataset).name)
        write_request(folder, request)
        self.go_on(folder)
        return folder

    def go_on(self, folder: Path, keep: bool = False) -> None:
        """Go on with the training of a folder. keep: only to end it there. Raises InputError, WorkerError."""
        self._refuse_while_busy()
        request = read_request(folder)
        if request is None:
            raise InputError(f"{folder} holds no training that can be resumed.")
        self._forget()
        self.request, self.folder = request, folder
        self.rows = list(state_of(folder).rows)
        self.resumed = (folder / CHECKPOINT).exists()
        self._start(State.ENDING if keep else State.TRAINING, train_arguments(request, folder))
        if keep:
            self._process.order(KEEP)

    def pause(self) -> None:
        """Let it save and end; ``go_on`` takes it up again."""
        if self.state is State.TRAINING or self.state is State.ENDING:
            self.state = State.PAUSING
            self._process.order(STOP)

    def keep(self) -> None:
        """End it here and keep what there is: calibrated, with a card."""
        if self.state is State.TRAINING:
            self.state = State.ENDING
            self._process.order(KEEP)
        elif self.state in (State.PAUSED, State.FAILED) and self.folder is not None:
            self.go_on(self.folder, keep=True)

    def discard(self) -> None:
        """Delete a training that is not at work, with all that it has learned."""
        self._refuse_while_busy()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.state, self.folder = State.NONE, None
        self._forget()

    def find(self) -> bool:
        """Take up the latest training that was not finished, paused; whether there is one."""
        found = [] if self.busy or self.state is State.PAUSED else unfinished(trainings_folder())
        if not found:
            return False
        self._forget()
        self.folder, self.request, self.state = found[0], read_request(found[0]), State.PAUSED
        self.rows = list(state_of(self.folder).rows)
        return True

    def leave(self) -> None:
        """This program goes: the process saves itself and ends, without anybody waiting for it."""
        if self._process is not None and self._process.running:
            self._process.leave()
        self._process = None
        if self.busy:
            self.state = State.NONE if self.state is State.CHECKING else State.PAUSED

    @property
    def process_id(self) -> int | None:
        return self._process.process_id if self._process is not None else None

    # What it tells ------------------------------------------------------------------------------------------------

    def poll(self) -> bool:
        """Look what the process has told. Never raises, never waits."""
        events = self._process.poll() if self._process is not None else []
        for event in events:
            self._take(event)
        return bool(events)

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "packages":
            self.missing = list(event["missing"])
        elif kind == "plan":
            self.plan = event
        elif kind == "log":
            self.lines.append(event["text"])
        elif kind == "row":
            self._add_row(event)
        elif kind == "progress":
            self.stage, self.fraction, self.seconds_left = (event[n] for n in ("stage", "fraction", "seconds_left"))
            self.fraction = None if self.stage == CALIBRATING else self.fraction
        elif kind in ("done", "stopped", "error"):
            self._last = event
        elif kind == ENDED:
            self._end(event)

    def _add_row(self, event: Mapping[str, Any]) -> None:
        dice = event.get("validation_dice")
        row = {"step": event["step"], "loss": event["loss"], "validation_dice": None if dice == "" else dice}
        self.rows = [kept for kept in self.rows if kept["step"] < row["step"]] + [row]

    def _end(self, event: Mapping[str, Any]) -> None:
        self._process = None
        last, was = self._last.get("event"), self.state
        if last == "error" and was is State.CHECKING:
            self.faults = self._last["text"].splitlines()
        elif last != "done" and last != "stopped" and not (was is State.CHECKING and self.plan is not None):
            self.error = self._last.get("text") or f"{event['said']}\n{event['log']}".strip()
        if was is State.CHECKING:
            self.state = State.FAILED if self.error else State.NONE
        elif last == "done":
            self.state = State.DONE
        else:
            self.state = State.PAUSED if last == "stopped" else State.FAILED

    def _start(self, state: State, arguments: Sequence[str]) -> None:
        self._last = {}
        self._process = self._make(arguments)
        self.state = state

    def _refuse_while_busy(self) -> None:
        if self.busy:
            raise InputError("A training is under way. Wait for its end, or pause it.")


def trainings_folder() -> Path:
    """Where trainings are kept: beside the user's models."""
    return user_folder().parent / "Trainings"


def training_command() -> tuple[list[str], dict[str, str]]:
    """The command before the arguments of ``csam``, and its environment. Raises WorkerError where the worker's is none
    that could train: data set and model are files of this computer."""
    launch = find_worker()
    words = launch.command
    if words[-len(WORKER) :] != list(WORKER) or Path(words[0]).stem.lower() in SSH:
        raise WorkerError(
            "Training reads the data set on this computer, so it must run on this computer, too. Under Advanced, name "
            "a Python with PyTorch as the worker, or leave the field empty to use Slicer's own."
        )
    return words[:-1], launch.environment


def start_process(arguments: Sequence[str]) -> LineProcess:
    """A process of ``python -m csam``. Raises WorkerError where it cannot be started."""
    command, environment = training_command()
    return LineProcess([*command, *arguments], environment)


def _free_folder(parent: Path, name: str) -> Path:
    """A folder that is not there yet, named for a data set and the time."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", name) or "training"
    stem, number = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}", 1
    folder = parent / stem
    while folder.exists():
        number += 1
        folder = parent / f"{stem}-{number}"
    return folder
