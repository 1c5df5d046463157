"""What calls a function in the panel besides a button: a key, or a timer. Made and given back in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

import qt


def make_shortcuts(widget, actions: Mapping[str, Callable]) -> list:
    """A shortcut for every key. Qt hears them while the widget is visible in the active window."""
    made = []
    for key, action in actions.items():
        shortcut = qt.QShortcut(qt.QKeySequence(key), widget)
        shortcut.activated.connect(action)
        made.append(shortcut)
    return made


def drop_shortcuts(shortcuts: Iterable) -> None:
    """Give the keys back."""
    for shortcut in shortcuts:
        with suppress(ValueError):  # it has gone with its widget: the application ends
            shortcut.setEnabled(False)
            shortcut.deleteLater()


def make_timer(interval: int, function, once: bool = False):
    """A stopped timer that calls a function every ``interval`` milliseconds, or once after them."""
    timer = qt.QTimer()
    timer.setInterval(interval)
    timer.setSingleShot(once)
    timer.timeout.connect(function)
    return timer
