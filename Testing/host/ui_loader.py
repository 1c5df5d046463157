"""``qt.QUiLoader``: builds a .ui file from the host's classes, after checking it against what the application has."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import api
from .pythonqt import PythonQtType
from .values import adopt, plain

DYNAMIC = {"SlicerParameterName", "SlicerPackParameterName", "SlicerDisallowedParameterName"}


class BadUi(AssertionError):
    """The .ui file names a class, property, signal or slot that the application does not have."""


def make(classes) -> type:
    """The class for ``qt.QUiLoader``; classes: function from a class name in the file to the host's class."""

    class Loader(QtUiTools.QUiLoader):
        def createWidget(self, name, parent=None, object_name=""):
            widget = classes(name)(parent) if parent is not None else classes(name)()
            QtCore.QObject.setObjectName(widget, object_name)
            keep.append(widget)  # the form owns it; until then nothing else holds the Python side
            return widget

        def createLayout(self, name, parent=None, object_name=""):
            layout = classes(name)(parent) if isinstance(parent, QtWidgets.QWidget) else classes(name)()
            QtCore.QObject.setObjectName(layout, object_name)
            keep.append(layout)
            return layout

        def createAction(self, parent=None, object_name=""):
            action = classes("QAction")(parent)
            QtCore.QObject.setObjectName(action, object_name)
            keep.append(action)
            return action

    keep: list = []

    class QUiLoader:
        def load(self, file, parent=None):
            tree = ElementTree.fromstring(bytes(plain(file).readAll().data()))
            check(tree, classes)
            connections = [
                tuple(connection.findtext(part, "") for part in ("sender", "signal", "receiver", "slot"))
                for connection in tree.iterfind("connections/connection")
            ]
            for element in tree.findall("connections"):
                tree.remove(element)
            buffer = QtCore.QBuffer()
            buffer.setData(ElementTree.tostring(tree))
            buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
            root = Loader().load(buffer, parent)
            if root is None:
                raise BadUi("Qt could not build the .ui file")
            for sender, signal, receiver, slot in connections:
                connect(root, sender, signal, receiver, slot)
            root.__dict__["_form"] = list(keep)
            keep.clear()
            return adopt(root)

    return QUiLoader


def connect(root, sender: str, signal: str, receiver: str, slot: str) -> None:
    ends = []
    for name in (sender, receiver):
        named = root if QtCore.QObject.objectName(root) == name else root.findChild(QtCore.QObject, name)
        if named is None:
            raise BadUi(f"The connection {signal} -> {slot} names {name!r}, which is not in the file")
        ends.append(adopt(named))
    try:
        target = getattr(ends[1], slot.partition("(")[0])
        ends[0].connect(signal, target)
    except AttributeError as error:
        raise BadUi(f"The connection {sender}.{signal} -> {receiver}.{slot}: {error}") from error


def check(tree: ElementTree.Element, classes) -> None:
    """Every class and every property in the file is one that the application was seen to have."""
    for widget in tree.iter("widget"):
        name = widget.get("class")
        found = classes(name)
        if not isinstance(found, PythonQtType):
            raise BadUi(f"The .ui file names the class {name}, which the application does not have")
        for element in widget.findall("property"):
            written = element.get("name")
            if written in DYNAMIC or element.get("stdset") == "0":
                continue
            if found._kinds.get(written) != api.PROPERTY:
                raise BadUi(f"{name} {widget.get('name')!r} has no property {written!r} in the application")
