"""What the panel has to remember between events, with a name for every state."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Presence(Enum):
    """Where the user is."""

    NEVER_HERE = auto()
    HERE = auto()
    ELSEWHERE = auto()
    """In another module: the slice views are that module's."""


class ViewTask(Enum):
    """What is still to be done to the slice views for the result that is chosen."""

    NONE = auto()
    SHOW = auto()
    """Its image is to be shown: the user has chosen it."""
    ARRANGE = auto()
    """Its image is to be shown in the module's layout: a run has made the result."""


@dataclass
class Corrections:
    """The user's corrections around a run.

    editing: the segmentation with corrections that the run was started on, None without them.
    replaced: the Output of the last run, where it replaced corrections, else None.
    """

    editing: Any = None
    replaced: Any = None


@dataclass
class PanelState:
    """All of it.

    latest: whose result a filling has made, to be shown before that of the chosen model; empty after a run.
    scene_changes: a scene is being closed or loaded; the panel takes up its parameters after that.
    """

    presence: Presence = Presence.NEVER_HERE
    views: ViewTask = ViewTask.NONE
    corrections: Corrections = field(default_factory=Corrections)
    latest: str = ""
    scene_changes: bool = False
