"""Single keys that do what a button does, made and given back in one way."""

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
