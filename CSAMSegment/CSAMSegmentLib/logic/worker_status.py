"""What the worker says about itself: asked once when it starts, so that it is warm, and polled without waiting."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import Any

from csam.errors import CSAMError, WorkerError
from csam.pipeline.run_time import Speed

from .model_library import worker_name


class WorkerStatus:
    """Asks the worker of a logic for its hello.

    hello: its fields (version, python, executable, torch or None with reason, devices, unusable), None while unknown.
    error: why there is no hello, None while all is well.
    speeds: by path of the model and device, how fast it runs, where the worker has measured it; the device is the one
        that did the work, whichever was asked for.
    """

    def __init__(self, logic):
        self._logic = logic
        self._job = self._speed_job = None
        self._asked: set[tuple[str, str]] = set()
        self.speeds: dict[tuple[str, str], Speed] = {}
        self.hello: dict[str, Any] | None = None
        self.error: CSAMError | None = None

    @property
    def pending(self) -> bool:
        """Whether an answer is awaited."""
        return self._job is not None

    @property
    def measuring(self) -> bool:
        """Whether the worker measures how fast a model runs."""
        return self._speed_job is not None

    @property
    def has_torch(self) -> bool | None:
        """Whether the worker can import torch; None while unknown."""
        return None if self.hello is None else bool(self.hello.get("torch"))

    @property
    def installable(self) -> bool:
        """Whether an installation would give the worker torch: it is missing or too old, not damaged."""
        return self.has_torch is False and bool(self.hello.get("installable", True))  # an older worker does not say

    def ask(self) -> None:
        """Start the worker and ask; an answer that is awaited or there is not asked for again."""
        if self.hello is None:
            self.ask_again()

    def ask_again(self) -> None:
        """Ask although an answer is there: a device may be gone, or a new worker have taken over."""
        if self.pending:
            return
        self.error = None
        try:
            self._job = self._logic.client.submit({"type": "hello"}, ())
        except CSAMError as error:
            self.error = error

    def ask_speed(self, model: str, device: str) -> None:
        """Let the worker read a model and measure how fast it runs on a device, once."""
        if not self.has_torch or self._speed_job is not None or (model, device) in self._asked:
            return
        self._asked.add((model, device))
        header = {"type": "load", "model": worker_name(model), "device": device}
        with contextlib.suppress(CSAMError):  # the run itself will tell
            self._speed_job = (model, device), self._logic.client.submit(header, ())

    def poll(self) -> bool:
        """Look for the answers; whether something has changed. Never raises."""
        return self._poll_hello() or self._poll_speed()

    def _poll_speed(self) -> bool:
        if self._speed_job is None:
            return False
        key, job = self._speed_job
        for event in job.poll():
            if isinstance(event, (dict, Exception)):
                self._speed_job = None
            if isinstance(event, dict) and event.get("speed"):  # an older worker measures nothing
                known = {field.name for field in fields(Speed)}  # a newer worker may tell more
                model, device = key  # an older worker does not tell which it was
                self.speeds[model, event.get("device", device)] = Speed(
                    **{name: value for name, value in event["speed"].items() if name in known}
                )
                return True
        return False

    def _poll_hello(self) -> bool:
        if self._job is None:
            return False
        for event in self._job.poll():
            if isinstance(event, dict):
                self.hello, self._job = event, None
                return True
            if isinstance(event, Exception):
                self.error = event if isinstance(event, CSAMError) else WorkerError(str(event))
                self._job = None
                return True
        return False

    def forget(self) -> None:
        """What was known belongs to a worker that has ended."""
        self._job = self._speed_job = self.hello = self.error = None
        self._asked, self.speeds = set(), {}
