"""Modal dialogs do not wait for anybody: they are recorded, and answered as the test said.

    host.dialogs.answer(qt.QMessageBox.Yes)      # the next one
    host.dialogs.answer(lambda dialog: ...)      # or let a function work on the dialog; what it returns is the answer
    ...
    [shown] = host.dialogs.take()
    assert shown.text == "..."

A message with one button needs no answer. A question without one raises ``UnexpectedDialog``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtWidgets

from .bound import special_methods, special_statics
from .values import plain


class UnexpectedDialog(AssertionError):
    """A dialog asked something and the test had not said what to answer."""


@dataclass(frozen=True)
class Shown:
    """A dialog as the user saw it. buttons: their texts, for message boxes."""

    kind: str
    title: str = ""
    text: str = ""
    details: str = ""
    buttons: tuple[str, ...] = ()
    answer: Any = None


@dataclass
class Dialogs:
    """What was shown since the last ``take`` and what is to be answered next."""

    shown: list[Shown] = field(default_factory=list)
    answers: deque = field(default_factory=deque)

    def answer(self, *answers) -> None:
        """Answer the next dialogs, in this order."""
        self.answers.extend(answers)

    def take(self) -> list[Shown]:
        """What was shown, and forget it."""
        taken, self.shown = self.shown, []
        return taken

    def reset(self) -> None:
        self.shown.clear()
        self.answers.clear()

    def _decide(self, shown: dict, dialog, default):
        if self.answers:
            answer = self.answers.popleft()
            if callable(answer):
                answer = answer(dialog)
        elif default is None:
            raise UnexpectedDialog(f"{shown['kind']} {shown.get('title')!r}: {shown.get('text')!r} was not answered")
        else:
            answer = default
        self.shown.append(Shown(**shown, answer=answer))
        return answer

    # What the Qt calls become -----------------------------------------------------------------------------------------

    def execute(self, dialog, *_):
        """``dialog.exec()``: shown without waiting, so that a test can look at it, then closed with the answer."""
        raw = plain(dialog)
        shown = {"kind": type(raw).__name__, "title": QtWidgets.QWidget.windowTitle(raw).strip()}
        default = None
        if isinstance(raw, QtWidgets.QMessageBox):
            buttons = QtWidgets.QMessageBox.buttons(raw)
            shown["text"] = QtWidgets.QMessageBox.text(raw)
            shown["details"] = QtWidgets.QMessageBox.detailedText(raw)
            shown["buttons"] = tuple(QtWidgets.QAbstractButton.text(button).replace("&", "") for button in buttons)
            choices = int(QtWidgets.QMessageBox.standardButtons(raw).value)
            custom = [b for b in buttons if not QtWidgets.QMessageBox.standardButton(raw, b).value]
            details = 1 if shown["details"] else 0  # "Show Details..." is a button, too
            if bin(choices).count("1") + len(custom) - details < 2:
                default = choices or int(QtWidgets.QMessageBox.StandardButton.Ok.value)
        QtWidgets.QWidget.show(raw)
        QtWidgets.QApplication.processEvents()
        try:
            return self._decide(shown, dialog, default)
        finally:
            QtWidgets.QWidget.hide(raw)

    def message(self, kind: str):
        """``qt.QMessageBox.question(parent, title, text, buttons)`` and its like."""

        def static(parent, title, text, buttons=int(QtWidgets.QMessageBox.StandardButton.Ok.value), default=0, *_):
            one = bin(int(buttons)).count("1") < 2 and kind != "question"
            return self._decide({"kind": kind, "title": title, "text": text}, None, int(buttons) if one else None)

        return static

    def ask(self, kind: str):
        """``qt.QFileDialog.getOpenFileName(parent, title, ...)``: PythonQt gives the name alone."""

        def static(parent=None, title="", text="", *_):
            return self._decide({"kind": kind, "title": title, "text": str(text)}, None, None)

        return static

    def install(self) -> None:
        special_methods.update({"exec": self.execute, "exec_": self.execute})
        for name in ("question", "information", "warning", "critical", "about"):
            special_statics["QMessageBox", name] = self.message(name)
        for name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory"):
            special_statics["QFileDialog", name] = self.ask(name)
        for name in ("getText", "getInt", "getDouble", "getItem"):
            special_statics["QInputDialog", name] = self.ask(name)
