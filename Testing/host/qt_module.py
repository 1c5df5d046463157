"""The module ``qt`` as Slicer has it: every measured Qt class, ``qt.Qt`` flat, signals and slots; nothing else."""

from __future__ import annotations

import enum
import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import api
from .pythonqt import host_class
from .values import NotInHost

UNMEASURED = {
    "Signal": QtCore.Signal,
    "Slot": QtCore.Slot,
    "QSignalBlocker": QtCore.QSignalBlocker,
    "QDateTime": QtCore.QDateTime,
    "QSysInfo": QtCore.QSysInfo,
}
"""Seen to exist in the application, or used by slicer.util, but not measured name by name: PySide6's as they are."""


class Namespace:
    """``qt.Qt``: the flat constants and the enum classes that were measured."""

    def __init__(self):
        self._members, self._classes = {}, {}
        for name in dir(QtCore.Qt):
            found = getattr(QtCore.Qt, name)
            if isinstance(found, type) and issubclass(found, enum.Enum):
                members = {key: int(member.value) for key, member in found.__members__.items()}
                self._members.update(members)
                self._classes[name] = types.SimpleNamespace(**members)
        self._measured = set(api.names_of_namespace())

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._members and name in self._measured:
            return self._members[name]
        if name in self._classes:
            return self._classes[name]
        if name in self._measured:
            raise NotInHost(f"qt.Qt.{name} is not in Qt 6")
        raise AttributeError(f"qt.Qt has no '{name}' in the application")


def pyside_class(name: str) -> type:
    for module in (QtCore, QtGui, QtWidgets, QtUiTools):
        if hasattr(module, name):
            return getattr(module, name)
    raise NotInHost(f"qt.{name} is not in PySide6")


class QtModule(types.ModuleType):
    """Classes are made when first asked for."""

    def __getattr__(self, name: str):
        if name in UNMEASURED:
            return UNMEASURED[name]
        if not api.has(f"qt.{name}"):
            raise AttributeError(f"module 'qt' has no '{name}' among the classes measured in the application")
        found = host_class(f"qt.{name}", pyside_class(name))
        setattr(self, name, found)
        return found


def make() -> QtModule:
    """The module, with every measured class registered so that objects from C++ are adopted."""
    module = QtModule("qt")
    module.Qt = Namespace()
    for name in api.names_of_module("qt"):
        getattr(module, name)
    return module
