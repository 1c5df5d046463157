"""A command in a process of its own that tells of itself in lines of JSON and takes orders, for a GUI that polls.

Example:
    >>> process = LineProcess([sys.executable, "-m", "csam", "train", ...], environment)  # doctest: +SKIP
    >>> for event in process.poll():  # from a timer  # doctest: +SKIP
    ...     print(event["event"])
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import WorkerError
from . import exit_codes, programs

LINE = 2**22
"""Bytes; a longer line is no event, and is read in parts."""
LINES = 200
"""Of what it writes beside its events, the last ones are kept."""
ENDED = "ended"
"""The last event: ``code``, the exit code, ``said``, in words how it ended, and ``log``, what it wrote last."""


class LineProcess:
    """Starts the command at once; nothing here waits. Raises WorkerError where it cannot be started.

    ``poll`` gives the events so far, each a dictionary with "event"; the last one of all is ``ENDED``.

    take: gets every event first, in the thread that reads it; what it returns goes on to ``poll``, None does not.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        take: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None,
    ):
        self._take = take or (lambda event: event)
        try:
            self._process = programs.start(command, environment)
        except (OSError, ValueError) as error:
            raise WorkerError(f"{command[0]} could not be started: {error}.") from error
        self._events: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._said: deque[str] = deque(maxlen=LINES)
        self._threads = [
            threading.Thread(target=self._read, args=(pipe, events), daemon=True)
            for pipe, events in ((self._process.stdout, True), (self._process.stderr, False))
        ]
        for thread in self._threads:
            thread.start()
        self._told_of_end = False

    @property
    def process_id(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its end was not told yet."""
        return not self._told_of_end

    def poll(self) -> list[Mapping[str, Any]]:
        """What it has told since the last time."""
        ended = self._process.poll() is not None and not any(thread.is_alive() for thread in self._threads)
        events = []
        while not self._events.empty():
            events.append(self._events.get())
        if ended and not self._told_of_end:
            self._told_of_end = True
            code = self._process.returncode
            words, advice = exit_codes.in_words(code)
            said = f"The process ended: {words}. {advice}".rstrip()
            events.append({"event": ENDED, "code": code, "said": said, "log": "\n".join(self._said)})
        return events

    def order(self, word: str) -> None:
        """Send an order; one that has ended meanwhile takes none."""
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(f"{word}\n".encode())
            self._process.stdin.flush()

    def leave(self) -> None:
        """Let it save and end by itself, whatever becomes of this program."""
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.close()

    def kill(self) -> None:
        """End it and its children at once."""
        programs.kill_tree(self._process)

    def _read(self, pipe, events: bool) -> None:
        for line in iter(lambda: pipe.readline(LINE), b""):
            text = line.decode("utf-8", "replace").rstrip()
            event = _event(text) if events else None
            if event is None:
                self._said.append(text)
                continue
            event = self._take(event)
            if event is not None:
                self._events.put(event)


def _event(text: str) -> dict[str, Any] | None:
    """The event that a line holds; None for any other line, such as a library's warning."""
    with contextlib.suppress(ValueError, RecursionError):  # the latter: a thousand brackets
        found = json.loads(text)
        if isinstance(found, dict) and isinstance(found.get("event"), str):
            return found
    return None
