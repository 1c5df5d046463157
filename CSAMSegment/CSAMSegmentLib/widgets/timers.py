"""Timers of Qt."""

from __future__ import annotations

import qt


def make_timer(interval: int, function, once: bool = False):
    """A stopped timer that calls a function every ``interval`` milliseconds, or once after them."""
    timer = qt.QTimer()
    timer.setInterval(interval)
    timer.setSingleShot(once)
    timer.timeout.connect(function)
    return timer
