"""What the worker says about itself: asked once when it starts, so that it is warm, and polled without waiting."""

from __future__ import annotations

from typing import Any

from csam.errors import CSAMError, WorkerError


class WorkerStatus:
    """Asks the worker of a logic for its hello.

    hello: its fields (version, python, executable, torch or None with reason, devices), None while unknown.
    error: why there is no hello, None while all is well.
    """

    def __init__(self, logic):
        self._logic = logic
        self._job = None
        self.hello: dict[str, Any] | None = None
        self.error: CSAMError | None = None

    @property
    def pending(self) -> bool:
        """Whether an answer is awaited."""
        return self._job is not None

    @property
    def hasTorch(self) -> bool | None:
        """Whether the worker can import torch; None while unknown."""
        return None if self.hello is None else bool(self.hello.get("torch"))

    def ask(self) -> None:
        """Start the worker and ask; an answer that is awaited or there is not asked for again."""
        if self.pending or self.hello is not None:
            return
        self.error = None
        try:
            self._job = self._logic.client.submit({"type": "hello"}, ())
        except CSAMError as error:
            self.error = error

    def poll(self) -> bool:
        """Look for the answer; whether something has changed. Never waits, never raises."""
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
        self._job = self.hello = self.error = None
