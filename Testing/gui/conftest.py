"""A fresh host for every test; what went wrong unseen, in a slot or a dialog, fails the test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer", reason="slicer-core, the MRML scene without the application, is not installed")
pytest.importorskip("PySide6", reason="PySide6-Essentials, Qt, is not installed")

sys.path.insert(0, str(Path(__file__).parents[1]))

from gui.panel_kit import user
from host.gui_host import GuiHost

__all__ = ["host", "user"]


@pytest.fixture
def host():
    """The application's stand-in: scene, Qt as PythonQt, modules, dialogs, time, pictures."""
    with GuiHost() as gui_host:
        yield gui_host
        assert not gui_host.uncaught, "Errors in slots that no test expected:\n" + gui_host.report()
        assert not gui_host.dialogs.shown, "Dialogs that no test expected:\n" + gui_host.report()
        assert not gui_host.dialogs.answers, "Answers to dialogs that were never shown"


@pytest.fixture
def done(user):
    """A user with a result."""
    user.loads()
    user.opens().applies()
    return user


@pytest.fixture
def drawn(teacher):
    """The teacher of the test's file, with a structure in slices 1 and 6 of 6, and its segment's ID."""
    segment = teacher.adds()
    teacher.draws(segment, 0, 5)
    return teacher, segment
