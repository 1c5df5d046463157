"""A batch in a worker of its own, a case a request: nothing here waits, a timer polls. No Qt.

Example:
    >>> run = BatchRun(logic.newClient(), plan)
    >>> while not run.ended:
    ...     run.poll()
    >>> run.close()
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum, auto
from typing import Any

from csam.batch.cases import safe_name
from csam.batch.folder import SCENE
from csam.batch.row import DONE, FAULT, RUNNING, WAITING, Row, unpack_row
from csam.errors import Cancelled, CSAMError, InputError, WorkerError
from csam.result import Options, Progress

from .frames import shown_frame
from .texts import seconds
from .texts import tr as _
from .volume_geometry import image_from_volume

ATTEMPTS = 2
"""How often a case is tried whose worker dies."""
GIVE_UP = 2
"""After how many cases in a row whose worker died the batch stops: it is not the cases."""


@dataclass(frozen=True)
class BatchPlan:
    """What is to be done. folder: of the cases; empty for volumes, one a case. out: of the results.

    model: a path, or the name of one that ships. digest: its own.
    """

    folder: str
    out: str
    model: str
    options: Options
    volumes: tuple[Any, ...] = ()
    digest: str = ""

    def request(self, kind: str, **more: Any) -> dict[str, Any]:
        """A request to the worker (``csam.process.batching``)."""
        told = {"folder": self.folder or SCENE, "out": self.out, "model": self.model, "digest": self.digest}
        return {"type": kind, "batch": told, "options": asdict(self.options), **more}


class State(Enum):
    """Of a batch. PAUSING, STOPPING: what is under way in the worker comes to its end first."""

    RUNNING = auto()
    PAUSING = auto()
    PAUSED = auto()
    STOPPING = auto()
    ENDED = auto()


class BatchRun:
    """One batch, from the list of its cases to the last of them.

    rows: of all cases, by name. changed: names of rows that have changed or gone, for whoever shows them to empty.
    error: what ended the batch, None where it was its end, or a stop. progress: of the case that is running.
    """

    def __init__(self, client, plan: BatchPlan):
        self.plan, self._client = plan, client
        self.state, self.error = State.RUNNING, None
        self.rows: dict[str, Row] = {}
        self.changed: list[str] = []
        self.progress: Progress | None = None
        self._cases: dict[str, dict[str, Any]] = {}
        self._volumes: dict[str, Any] = {}
        self._frames = {volume: image for volume in plan.volumes if (image := _frame(volume)) is not None}
        self._queue: deque[str] = deque()
        self._case = ""  # that is in the worker
        self._attempts = self._deaths = 0
        self._taken: list[float] = []
        self._began = 0.0
        self._job = client.submit(plan.request("batch"), ())

    @property
    def ended(self) -> bool:
        return self.state is State.ENDED

    def pause(self) -> None:
        """Begin no further case; the one that is running comes to its end."""
        if self.state is State.RUNNING:
            self.state = State.PAUSING

    def resume(self) -> None:
        """Go on."""
        if self.state in (State.PAUSING, State.PAUSED):
            self.state = State.RUNNING

    def stop(self) -> None:
        """End; the case that is running is left as it was before."""
        if self.state is State.PAUSED:
            self.state = State.ENDED
        elif not self.ended:
            self.state = State.STOPPING
            if self._job is not None:
                self._client.cancel(self._job)

    def close(self, wait: bool = False) -> None:
        """End the worker."""
        self.state = State.ENDED
        self._client.close(wait)

    def poll(self) -> None:
        """Bring the batch forward. Never raises, never waits."""
        if self._job is None and self.state not in (State.PAUSED, State.ENDED):
            self._next()
        if self._job is None:
            return
        for event in self._job.poll():
            if isinstance(event, Progress):
                self.progress = event
            elif isinstance(event, CSAMError):
                self._failed(event)
            elif isinstance(event, Mapping):
                self._answered(event)

    def counts(self) -> tuple[int, int, int]:
        """How many cases are done, have failed, and are still to be segmented."""
        states = [row.state for row in self.rows.values()]
        return states.count(DONE), states.count(FAULT), len(self._queue) + bool(self._case)

    def said(self) -> str:
        """How far it is, in a sentence."""
        done, faults, left = self.counts()
        text = _("{done} done, {faults} failed, {left} to do").format(done=done, faults=faults, left=left)
        if self.state is State.RUNNING and self._taken and left:
            usual = sum(self._taken) / len(self._taken)
            return _("{text}, {time} left").format(text=text, time=seconds(usual * left))
        return text

    # What happens -------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        """Send the next case, or, where there is none or the user wants none, the end."""
        if not self._queue or self.state is not State.RUNNING:
            self._send("batch_end")
            return
        self._case, self._attempts = self._queue.popleft(), 0
        self._begin()

    def _begin(self, **more: Any) -> None:
        name, images = self._case, ()
        self._began, self.progress = time.monotonic(), None
        self._attempts += 1
        try:
            volume = self._volumes.get(name)
            if volume is not None and not more:
                if volume.GetScene() is None:
                    raise InputError("The volume is no longer in the scene. Load it again and press Start.")
                images = [self._frames.get(volume) or image_from_volume(volume)]
        except CSAMError as error:
            more = {"fault": str(error)}
        self._put(replace(self.rows[name], state=RUNNING, fault=""))
        self._send("batch_case", images, case=self._cases[name], **more)

    def _send(self, kind: str, images=(), **more: Any) -> None:
        self._job = None
        try:
            self._job = self._client.submit(self.plan.request(kind, **more), images)
        except CSAMError as error:
            self._end(error)

    def _answered(self, reply: Mapping[str, Any]) -> None:
        kind, self._job = self._job.kind, None
        if kind == "batch":
            self._listed(reply)
        elif kind == "batch_case":
            self._taken.append(time.monotonic() - self._began)
            row = unpack_row(reply["row"])
            self._put(row)
            self._case, self._deaths = "", 0 if row.state == DONE else self._deaths
        elif kind == "batch_end":
            self._ended()

    def _ended(self) -> None:
        """Table and page are whole, and the folder is free."""
        if self._queue and self.state is not State.STOPPING:  # paused, or paused and resumed meanwhile
            self.state = State.PAUSED if self.state is State.PAUSING else State.RUNNING
        else:
            self.state = State.ENDED

    def _listed(self, reply: Mapping[str, Any]) -> None:
        """The worker has told what there is."""
        for row in map(unpack_row, reply["rows"]):
            self._put(row)
        self._cases = {case["name"]: dict(case) for case in reply["cases"]}
        names = [*reply["waiting"]]
        taken = {name.casefold(): name for name in self._cases}  # "Scan" and "scan" are one folder on Windows
        for volume in self.plan.volumes:
            name = safe_name(volume.GetName())
            name = taken.setdefault(name.casefold(), name)
            if name in self._volumes:
                self._put(Row(name, FAULT, fault=_("Several volumes have this name. Rename all but one.")))
                self._volumes.pop(name)
                names.remove(name)
                self._cases[name] = {}
            elif name not in self._cases:
                self._volumes[name], self._cases[name] = volume, {"name": name}
                names.append(name)
        for name in names:  # one that failed before, too
            self._put(Row(name, WAITING))
        self._queue.extend(names)

    def release(self) -> None:
        """Let the scene's volumes go."""
        self.plan, self._volumes, self._frames = replace(self.plan, volumes=()), {}, {}

    def _failed(self, error: CSAMError) -> None:
        kind, self._job = self._job.kind, None
        if isinstance(error, Cancelled):
            self._release()
            if kind == "batch_end":
                self._ended()
            elif self.state is not State.STOPPING:  # the worker was ended by somebody else
                self.state = State.PAUSED
        elif kind != "batch_case" or not isinstance(error, WorkerError):
            self._end(None if kind == "batch_end" else error)
        elif self.state is State.STOPPING:
            self._end(None)
        elif self._attempts < ATTEMPTS:
            self._begin()
        else:
            self._deaths += 1
            if self._deaths >= GIVE_UP:
                self._end(error)
            else:
                self._begin(fault=str(error))

    def _release(self) -> None:
        """The case that was running waits again."""
        if self._case:
            self._put(replace(self.rows[self._case], state=WAITING))
            self._queue.appendleft(self._case)
            self._case = ""

    def _end(self, error: CSAMError | None) -> None:
        self._release()
        self.state, self.error = State.ENDED, error

    def _put(self, row: Row) -> None:
        self.rows[row.case] = row
        self.changed.append(row.case)


def _frame(volume):
    """The image of a sequence that a volume shows: by its turn, it may show another one. None of other volumes."""
    try:
        return image_from_volume(volume) if shown_frame(volume) is not None else None
    except InputError:  # it is told in its turn
        return None
