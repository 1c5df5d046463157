"""A whole folder of images with labels into a data set, by ``csam add`` in a process of its own: nothing here waits.

The process runs on this computer, where folder and data set are, also when models learn on another one.

Example:
    >>> run = CaseImport("/data/scans", "/data/hearts", {1: "ventricle"})
    >>> while run.busy:  # in a GUI, from a timer
    ...     run.poll()
    >>> run.said()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from csam.process.line_process import ENDED, LineProcess
from csam.process.orders import STOP
from csam.training.import_cases import ADDED, FAULT, THERE

from .texts import tr as _
from .training_launcher import find_here


class CaseImport:
    """One import. Raises WorkerError where no process can be started.

    names: of the values of the labels; none where the files or the data set tell them.

    values: those that have to be named first, empty where none. faults: a line each. error: what ended it, empty where
    it came to its end.
    """

    def __init__(self, folder: str, dataset: str, names: Mapping[int, str] | None = None):
        self.folder, self.dataset = folder, dataset
        self.values: Sequence[int] = ()
        self.faults: list[str] = []
        self.error = ""
        self.busy = True
        self._states: Counter[str] = Counter()
        self._last = ""
        words = ["add", folder, "--to", dataset, "--progress", "json"]
        for value, name in (names or {}).items():
            words += ["--label", f"{value}={name}"]
        self._process = start_process(words)

    def poll(self) -> bool:
        """Look what the process has told; whether there was anything. Never raises, never waits."""
        events = self._process.poll() if self.busy else []
        for event in events:
            self._take(event)
        return bool(events)

    def stop(self) -> None:
        """End after the case that is under way; the same import goes on another time."""
        self._process.order(STOP)

    def leave(self) -> None:
        """This program goes: the process ends after the case that is under way."""
        self._process.leave()
        self.busy = False

    def said(self) -> str:
        """How far it is, or what has come of it, in a sentence."""
        if self.error:
            return self.error
        text = _("Added: {added}; there already: {there}; not added: {faults}.")
        if self.busy:
            text = _("Reading the folder… Added: {added}; there already: {there}; not added: {faults}.")
        return text.format(added=self._states[ADDED], there=self._states[THERE], faults=self._states[FAULT])

    def _take(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "case":
            self._states[event["state"]] += 1
            if event["state"] == FAULT:
                self.faults.append(f"{event['name']}: {event['fault']}")
        elif kind == "names":
            self.values = tuple(event["values"])
        elif kind in ("done", "stopped", "error"):
            self._last = kind
            self.error = event["text"] if kind == "error" else ""
        elif kind == ENDED:
            self.busy = False
            if not self._last:
                self.error = f"{event['said']}\n{event['log']}".strip()


def start_process(arguments: Sequence[str]) -> LineProcess:
    """A process of ``python -m csam`` on this computer. Raises WorkerError where it cannot be started."""
    found = find_here()
    return LineProcess(found.line(arguments), found.environment)
