"""Orders to a running command over its standard input, a line each, for whoever started it.

Unlike signals they are the same on every system, and their end tells that the starter has gone.
"""

from __future__ import annotations

import os
import threading

STOP, KEEP = "stop", "keep"
"""Save and end, to go on later; end the training here and keep what there is."""


class Orders:
    """What was asked for so far: ``stop`` and ``keep`` are questions. The end of the input is a stop.

    source: a file descriptor. It is read without a buffer, whose lock would keep the process from ending. None: nobody
    gives orders.
    """

    def __init__(self, source: int | None):
        self._asked = {STOP: threading.Event(), KEEP: threading.Event()}
        self.stop, self.keep = self._asked[STOP].is_set, self._asked[KEEP].is_set
        if source is not None:
            threading.Thread(target=self._listen, args=(source,), name="orders", daemon=True).start()

    def give(self, word: str) -> None:
        """As if a line had come. What is no order is left alone."""
        if word in self._asked:
            self._asked[word].set()

    def _listen(self, source: int) -> None:
        begun = b""
        try:
            while part := os.read(source, 1024):
                *lines, begun = (begun + part).split(b"\n")
                for line in lines:
                    self.give(line.decode("utf-8", "replace").strip())
        except OSError:  # there is no standard input
            pass
        finally:
            self.give(STOP)
