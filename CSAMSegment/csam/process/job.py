"""A request to the worker while it is under way, and how it ends."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

from ..errors import CSAMError
from ..result import Progress, Result

BREATH, LONG_BREATH = 0.001, 0.015
"""Seconds that a poll leaves to the client's threads; the long one while images travel."""


class Job:
    """One request under way. It ends once: with a Result, with the reply's fields (a dict) or with a CSAMError.

    moving: whether images are on their way for it. request: what a worker gets for it, kept until it has ended.
    losses: how many workers it has taken along, whose GPU stopped to answer. notes: warnings to add to its result.
    """

    def __init__(self, number: int, kind: str):
        self.id = number
        self.kind = kind
        self.moving = False
        self.request: tuple[dict, list] = ({}, [])
        self.losses = 0
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._events: deque = deque(maxlen=1000)  # nobody may poll
        self._outcome: Any = None

    @property
    def done(self) -> bool:
        """Whether the outcome is there."""
        return self._finished.is_set()

    def poll(self) -> list[Progress | Result | dict | CSAMError]:
        """What came since the last call. The outcome comes last, and once.

        Waits LONG_BREATH at most. An application that embeds Python may hold the interpreter's lock in its event loop
        (3D Slicer does): then the client's threads get on only while the application's own Python waits, as here.
        """
        if not self.done:
            time.sleep(LONG_BREATH if self.moving else BREATH)
        with self._lock:
            events = [*self._events]
            self._events.clear()
        return events

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the job is done, at most ``timeout`` seconds; whether it is done."""
        return self._finished.wait(timeout)

    def result(self, timeout: float | None = None) -> Result | dict:
        """The outcome, waiting for it. Raises it when it is an error, TimeoutError when it did not come in time."""
        if not self.wait(timeout):
            raise TimeoutError(f"The worker did not finish within {timeout} seconds.")
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def report(self, progress: Progress) -> None:
        with self._lock:
            if not self.done:
                self._events.append(progress)

    def finish(self, outcome: Result | dict | CSAMError) -> None:
        with self._lock:
            if not self.done:
                self.request = ({}, [])
                if self.notes and isinstance(outcome, Result):
                    outcome = replace(outcome, warnings=(*outcome.warnings, *self.notes))
                self._outcome = outcome
                self._events.append(outcome)
                self._finished.set()
