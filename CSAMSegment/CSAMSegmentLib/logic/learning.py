"""A training as the panel sees it: checked, begun, paused, gone on with, ended early, whatever becomes of Slicer.

The training is a process of its own, started as the worker is; it saves itself and ends when this program goes. All
that is needed to go on lies in its folder. One on another computer has data set and checkpoints there; here are its
request, its rows and, at the end, its model.

Example:
    >>> learning = Learning()
    >>> learning.check(TrainingRequest("/data/hearts", minutes=15))
    >>> while learning.busy:  # in a GUI, from a timer
    ...     learning.poll()
    >>> learning.begin(learning.request)
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from csam.errors import InputError
from csam.model import Model
from csam.model.shipped import model_path
from csam.process.line_process import ENDED, LineProcess
from csam.process.orders import KEEP, STOP
from csam.process.sent_model import Receiver
from csam.training.training_request import (
    CALIBRATING,
    CHECKPOINT,
    TrainingRequest,
    read_request,
    state_of,
    train_arguments,
    unfinished,
    write_request,
    write_state,
)

from .model_library import worker_name
from .training_launcher import find_training, training_host
from .user_models import user_folder


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

    make: starts a process with arguments for ``python -m csam``, and with what takes its events first (LineProcess);
    None for ``start_process``. host: says on which computer it would run.

    state, request, folder (of the training). plan: of the last check, the fields of the event "plan". faults: every one
    of the last check. missing: packages that have to be installed first. rows: of the log. stage, fraction and
    seconds_left: as in Progress. error: why it has failed. lines: what it has written.
    resumed: whether it goes on from what it had saved.
    """

    def __init__(self, make: Callable[..., LineProcess] | None = None, host: Callable[[], str] = training_host):
        self._make, self._host = make or start_process, host
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

    @property
    def host(self) -> str:
        """The computer of the training at hand, or else of the next one; empty for this one."""
        ours = self.request is not None and self.folder is not None and self.state is not State.DONE
        return self.request.host if ours else self._host()

    @property
    def saved(self) -> bool:
        """Whether the training has saved something; of one on another computer, whether it has told a row."""
        if self.folder is None:
            return False
        return bool(self.rows) if self.request.host else (self.folder / CHECKPOINT).exists()

    # What is asked for --------------------------------------------------------------------------------------------

    def check(self, request: TrainingRequest) -> None:
        """Have the data set read and the plan made. Raises WorkerError where no process can be started."""
        self._refuse_while_busy()
        request = at(request, self._host())
        self.request, self.folder, self.plan, self.faults, self.missing = request, None, None, [], []
        self._forget()
        self._start(State.CHECKING, train_arguments(request, trainings_folder(), check=True))

    def begin(self, request: TrainingRequest) -> Path:
        """Begin a training in a folder of its own, which comes back. Raises InputError, WorkerError."""
        self._refuse_while_busy()
        request = at(request, self._host())
        folder = _free_folder(trainings_folder(), Path(request.dataset).name, bool(request.host))
        write_request(folder, request)
        self.go_on(folder)
        return folder

    def go_on(self, folder: Path, keep: bool = False) -> None:
        """Go on with the training of a folder. keep: only to end it there. Raises InputError, WorkerError."""
        self._refuse_while_busy()
        request = read_request(folder)
        if request is None:
            raise InputError(f"{folder} holds no training that can be resumed.")
        if request.host != self._host():
            was, now = (host or "this computer" for host in (request.host, self._host()))
            raise InputError(
                f"This training was begun on {was}, and the training command now runs on {now}. Set the command "
                f"(Advanced) to {was} again to resume it, or discard it."
            )
        self._forget()
        self.request, self.folder = request, folder
        self.rows = list(state_of(folder).rows)
        self.resumed = (folder / CHECKPOINT).exists()
        take = Receiver(folder, str(request.card.get("name"))) if request.host else None
        self._start(State.ENDING if keep else State.TRAINING, train_arguments(request, folder), take)
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
            try:
                self._take(event)
            except (KeyError, TypeError, ValueError) as error:  # another version's
                self.lines.append(f"An event that cannot be read ({error!r}): {event}")
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
        elif kind == "resumes":
            self.resumed = True
        elif kind in ("done", "stopped", "error"):
            self._last = event
        elif kind == ENDED:
            self._end(event)

    def _add_row(self, event: Mapping[str, Any]) -> None:
        dice = event.get("validation_dice")
        dice = None if dice in ("", None) else float(dice)
        row = {"step": int(event["step"]), "loss": float(event["loss"]), "validation_dice": dice}
        self.rows = [kept for kept in self.rows if kept["step"] < row["step"]] + [row]
        if self.folder is not None and self.request.host:
            with suppress(OSError):  # a full disk here is no reason to end a training there
                write_state(self.folder, self.rows, int(event.get("steps") or 0))

    def _end(self, event: Mapping[str, Any]) -> None:
        self._process = None
        last, was = self._last.get("event"), self.state
        if last == "error" and was is State.CHECKING:
            self.faults = str(self._last.get("text", "")).splitlines()
        elif last != "done" and last != "stopped" and not (was is State.CHECKING and self.plan is not None):
            self.error = self._last.get("text") or f"{event['said']}\n{event['log']}".strip()
        if was is State.CHECKING:
            self.state = State.FAILED if self.error else State.NONE
        elif last == "done":
            self.state = State.DONE
        else:
            self.state = State.PAUSED if last == "stopped" else State.FAILED

    def _start(self, state: State, arguments: Sequence[str], take=None) -> None:
        self._last = {}
        self._process = self._make(arguments, take)
        self.state = state

    def _refuse_while_busy(self) -> None:
        if self.busy:
            raise InputError("A training is under way. Wait for its end, or pause it.")


def trainings_folder() -> Path:
    """Where trainings are kept: beside the user's models."""
    return user_folder().parent / "Trainings"


def at(request: TrainingRequest, host: str) -> TrainingRequest:
    """The request for a computer, empty for this one; there, a model that ships goes by its name, and any has to be the
    one that is here. Raises ModelError."""
    if not (host and request.start):
        return replace(request, host=host)
    path = model_path(request.start)
    digest = Model.load(path).digest if path.exists() else ""
    return replace(request, host=host, start=worker_name(request.start), digest=digest)


def start_process(arguments: Sequence[str], take=None) -> LineProcess:
    """A process of ``python -m csam``, here or elsewhere. Raises WorkerError where it cannot be started."""
    found = find_training()
    return LineProcess(found.line(arguments), found.environment, take)


def _free_folder(parent: Path, name: str, elsewhere: bool) -> Path:
    """A folder that is not there yet, named for a data set and the time. elsewhere: its name has to be free on another
    computer, too, where others may train."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", name) or "training"
    stem, number = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}", 1
    stem += f"-{secrets.token_hex(4)}" if elsewhere else ""
    folder = parent / stem
    while folder.exists():
        number += 1
        folder = parent / f"{stem}-{number}"
    return folder
