"""What ``csam train --progress json`` tells, a line of JSON for each event, and the orders that it takes meanwhile.

packages  missing: what pip has to install for Python before anything can be trained
plan      decisions: [field, value, reason] of each; notes, anew: sentences; training, validation: patients
log       text
row       a row of log.csv: step, loss, validation_dice ("" where nobody was validated) ...
          and steps: of the whole training
progress  stage, fraction, seconds_left
resumes   there is a checkpoint to go on from
model     with --send-model, pieces of the finished model: part, data (``csam.process.sent_model``)
done      model: its folder; with --send-model also sha256
stopped   text: how to go on
error     text: what is wrong, a line for each fault

Orders come over standard input, a line each: stop (saves; the same command goes on) and keep (ends the training here,
calibrates and keeps what there is). The end of the input is a stop.

Of several processes that torchrun has started, all with the same input and output, the first one alone tells and takes
orders.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..errors import Cancelled, CSAMError
from ..process.orders import STOP, Orders
from ..result import Progress
from .files import missing_packages

STANDARD_INPUT = 0
BETWEEN = 0.3
"""Seconds between two events of progress."""


class Lines:
    """Writes events and holds the orders. Where nobody reads any more, that is a stop.

    speaks: whether this is the process that tells and listens.
    """

    def __init__(self):
        self.speaks = is_first()
        self.orders = Orders(_kept_input() if self.speaks else None)
        self._last = 0.0

    def tell(self, event: str, **fields: Any) -> None:
        if not self.speaks:
            return
        try:
            print(json.dumps({"event": event, **fields}, default=str), flush=True)
        except (OSError, ValueError):
            self.orders.give(STOP)

    def log(self, text: str) -> None:
        self.tell("log", text=text)

    def recorded(self, row: Mapping[str, Any]) -> None:
        self.tell("row", **row)

    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= BETWEEN or progress.fraction >= 1:
            self._last = now
            self.tell("progress", stage=progress.stage, fraction=progress.fraction, seconds_left=progress.seconds_left)


def is_first() -> bool:
    """Whether this process is the only one of a training, or the first of those that torchrun has started."""
    return os.environ.get("RANK", "0") == "0"


def _kept_input() -> int:
    """Standard input for the orders alone; 0 becomes empty. On Windows a library that starts while a thread waits for
    the pipe would wait with it (https://github.com/numpy/numpy/issues/24290)."""
    try:
        kept, nothing = os.dup(STANDARD_INPUT), os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return STANDARD_INPUT
    os.dup2(nothing, STANDARD_INPUT)
    os.close(nothing)
    return kept


@contextmanager
def lines(packages: bool = True) -> Iterator[Lines]:
    """Events and orders for the block; how it ends is told, too. packages: whether those are needed that train."""
    made = Lines()
    if packages:
        made.tell("packages", missing=missing_packages())
    try:
        yield made
    except Cancelled as error:
        made.tell("stopped", text=str(error))
        raise
    except CSAMError as error:
        made.tell("error", text=str(error))
        raise
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        made.tell("error", text=f"{type(error).__name__}: {error}")
        raise


def told_plan(prepared, anew: list[str]) -> dict[str, Any]:
    """The fields of the event plan. prepared: a ``csam.training.prepare.Preparation``."""
    return {
        "decisions": [[one.field, one.value, one.reason] for one in prepared.decisions],
        "notes": list(prepared.notes),
        "anew": anew,
        "training": prepared.training,
        "validation": prepared.validation,
    }
