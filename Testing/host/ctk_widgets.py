"""The ctk widgets that a segmentation panel uses, enough of each to be driven and looked at."""

from __future__ import annotations

import types

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from . import api
from .pythonqt import stand_in
from .values import NotInHost

UNMEASURED = ("ctkCheckablePushButton", "ctkDoubleRangeSlider", "ctkWidgetsUtils")
"""Names that Slicer's own Python mentions; here they exist and cannot be made."""


class ctkMessageBox(stand_in("ctk.ctkMessageBox", QtWidgets.QMessageBox)):
    """What slicer.util's dialogs are made of."""


class ctkCollapsibleButton(stand_in("ctk.ctkCollapsibleButton", QtWidgets.QAbstractButton)):
    """A header that shows and hides what lies below it; its children are laid out in it."""

    contentsCollapsed = Signal(bool)
    HEADER = 24

    def __init__(self, *args):
        parents = [arg for arg in args if not isinstance(arg, str)]
        super().__init__(*parents)
        self._collapsed = False
        base = QtWidgets.QAbstractButton
        base.setCheckable(self, True)
        base.setChecked(self, True)
        base.setContentsMargins(self, 0, self.HEADER, 0, 0)
        base.setSizePolicy(self, QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Minimum)
        base.setFocusPolicy(self, QtCore.Qt.FocusPolicy.StrongFocus)
        for text in set(args) - set(parents):
            base.setText(self, text)
        self.toggled.connect(lambda opened: self._set_collapsed(not opened))

    def _set_collapsed(self, collapsed: bool):
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        QtWidgets.QAbstractButton.setChecked(self, not collapsed)
        for child in QtWidgets.QAbstractButton.children(self):
            if isinstance(child, QtWidgets.QWidget):
                QtWidgets.QWidget.setVisible(child, not collapsed)
        QtWidgets.QWidget.setMaximumHeight(self, self.HEADER if collapsed else 16777215)
        QtWidgets.QWidget.updateGeometry(self)
        self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)

    def childEvent(self, event):
        if self._collapsed and event.added() and isinstance(event.child(), QtWidgets.QWidget):
            event.child().hide()

    def sizeHint(self):
        layout = QtWidgets.QWidget.layout(self)
        contents = layout.totalSizeHint() if layout and not self._collapsed else QtCore.QSize(100, 0)
        return QtCore.QSize(max(100, contents.width()), max(self.HEADER, contents.height()))

    def minimumSizeHint(self):
        layout = QtWidgets.QWidget.layout(self)
        contents = layout.totalMinimumSize() if layout and not self._collapsed else QtCore.QSize(0, 0)
        return QtCore.QSize(contents.width(), max(self.HEADER, contents.height()))

    def hitButton(self, position):
        return position.y() < self.HEADER

    def paintEvent(self, event):
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, QtWidgets.QWidget.width(self), self.HEADER)
        option.text = ("▸ " if self._collapsed else "▾ ") + QtWidgets.QAbstractButton.text(self)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButton, option)


class _SliderWithBox:
    """A slider and a spin box over one float value: the body of ctkSliderWidget and qMRMLSliderWidget."""

    STEPS = 1000

    def _build(self):
        box = self._box = QtWidgets.QDoubleSpinBox(self)
        slider = self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        slider.setRange(0, self.STEPS)
        box.setRange(0.0, 99.0)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(slider, 1)
        layout.addWidget(box)
        QtWidgets.QWidget.setFocusProxy(self, box)
        slider.valueChanged.connect(lambda step: self._slide(step))
        box.valueChanged.connect(lambda value: self._box_changed(value))

    def _slide(self, step):
        low, high = self._box.minimum(), self._box.maximum()
        self._box.setValue(low + (high - low) * step / self.STEPS)

    def _box_changed(self, value):
        low, high = self._box.minimum(), self._box.maximum()
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - low) / (high - low) * self.STEPS) if high > low else 0)
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def setValue(self, value):
        self._box.setValue(value)

    def setDecimals(self, decimals):
        self._box.setDecimals(decimals)

    def setSpinBoxVisible(self, visible):
        self._box.setVisible(visible)

    def reset(self):
        self._box.setValue(self._box.minimum())


def _of_box(name: str, kind) -> Property:
    setter = "set" + name[0].upper() + name[1:]
    return Property(
        kind, lambda self: getattr(self._box, name)(), lambda self, value: getattr(self._box, setter)(value)
    )


def slider_with_box(key: str) -> type:
    """A stand-in for a slider with its spin box beside it."""

    class SliderWidget(_SliderWithBox, stand_in(key, QtWidgets.QWidget)):
        valueChanged = Signal(float)
        valueIsChanging = Signal(float)
        decimalsChanged = Signal(int)

        def __init__(self, *args):
            super().__init__(*args)
            self._build()

        value = _of_box("value", float)
        minimum = _of_box("minimum", float)
        maximum = _of_box("maximum", float)
        singleStep = _of_box("singleStep", float)
        decimals = _of_box("decimals", int)
        prefix = _of_box("prefix", str)
        suffix = _of_box("suffix", str)

    return SliderWidget


class ctkSliderWidget(slider_with_box("ctk.ctkSliderWidget")):
    pass


def make() -> types.ModuleType:
    """The module ``ctk``: the stand-ins above; the other measured names exist and say that they are not here."""
    module = types.ModuleType("ctk")
    for name in (*api.names_of_module("ctk"), *UNMEASURED):
        setattr(module, name, globals().get(name) or missing(name))
    return module


def missing(name: str) -> type:
    """A class that the application has and this host has not: it may be named, not made."""

    def refuse(self, *args):
        raise NotInHost(f"The application has {name}; the test host has not")

    return type(name, (), {"__init__": refuse})
