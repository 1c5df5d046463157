"""The list of a data set's cases: a picture, what is labelled in each; one is opened in the scene, or removed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import qt
import slicer

from csam.errors import CSAMError, InputError
from csam.pipeline.thumbnail import as_ppm
from csam.training.add_case import collection
from csam.training.case_list import labels_of_case, list_cases, picture_of, summarise_labels
from csam.training.dataset_json import CONTENTS

from ..logic.texts import tr as _
from .keys_and_timers import make_timer

NAME, LABELS, DRAWN = range(3)
PICTURE = 56
"""Pixels, of the longer edge of a case's picture."""


class CaseListView:
    """Fills ``ui.casesTable``, a file a turn. dataset: gives the folder. open: called with a case's name."""

    def __init__(self, ui, dataset: Callable[[], str], open: Callable[[str], None]):
        self._ui, self._dataset, self._open = ui, dataset, open
        self._contents = None
        self._cases: list = []
        self._known: dict[Path, tuple] = {}  # of each file of labels: when it was read, texts, picture
        self._reading: Iterator[None] = iter(())
        self._timer = make_timer(0, self._step)
        table = ui.casesTable
        table.verticalHeader().hide()
        table.verticalHeader().setDefaultSectionSize(PICTURE + 4)
        table.setIconSize(qt.QSize(PICTURE, PICTURE))
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.horizontalHeader().setSectionResizeMode(DRAWN, qt.QHeaderView.ResizeToContents)
        table.setFixedHeight(220)
        table.itemSelectionChanged.connect(self._show)
        table.cellDoubleClicked.connect(lambda *_cell: self.open())
        ui.openCaseButton.clicked.connect(self.open)
        ui.removeCaseButton.clicked.connect(self.remove)
        self._show()

    @property
    def names(self) -> list[str]:
        """Of the cases that are listed."""
        return [case.name for case in self._cases]

    @property
    def busy(self) -> bool:
        """Whether files are still to be read."""
        return self._timer.isActive()

    def case(self, name: str) -> tuple:
        """A case of the list, and the contents of its data set. Raises InputError where there is none."""
        case = next((case for case in self._cases if case.name == name), None)
        if case is None:
            raise InputError(f"The data set has no case {name}.")
        return case, self._contents

    def refresh(self) -> None:
        """List the cases that there are now."""
        folder = self._dataset()
        try:
            there = bool(folder) and (Path(folder) / CONTENTS).exists()
            self._contents, self._cases = list_cases(folder) if there else (None, [])
        except (CSAMError, OSError):  # a check says what is wrong
            self._contents, self._cases = None, []
        table = self._ui.casesTable
        table.setRowCount(len(self._cases))
        for row, case in enumerate(self._cases):
            for column, text in enumerate((case.name, "", "")):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        text = _("Cases ({count})").format(count=len(self._cases)) if self._cases else _("Cases")
        self._ui.casesCollapsibleButton.text = text
        self._reading = self._read()
        self._timer.start()
        self._show()

    def close(self) -> None:
        self._timer.stop()

    def open(self, *_arguments) -> None:
        """Load the chosen case into the scene."""
        if self._chosen():
            self._open(self._chosen())

    def remove(self, *_arguments) -> None:
        """Delete the chosen case; asks first."""
        name, contents = self._chosen(), self._contents
        question = _('Delete the case "{name}" from the data set? Its files are deleted for good.').format(name=name)
        if not name or not slicer.util.confirmYesNoDisplay(question):
            return
        try:
            collection(self._dataset(), contents.channels, contents.labels, contents.modalities).remove(name)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
        self.refresh()

    def _chosen(self) -> str:
        row = self._ui.casesTable.currentRow()
        return self._cases[row].name if 0 <= row < len(self._cases) else ""

    def _show(self) -> None:
        self._ui.openCaseButton.enabled = self._ui.removeCaseButton.enabled = bool(self._chosen())

    def _step(self) -> None:
        """Read one more file, where there is one."""
        try:
            next(self._reading)
        except StopIteration:
            self._timer.stop()

    def _read(self) -> Iterator[None]:
        """Show labels and picture of each case, a file a turn; of those that are known already, at once."""
        for row, case in enumerate(self._cases):
            try:
                stamp = [path.stat().st_mtime_ns for path in (case.labels, *case.images)]
                if self._known.get(case.labels, (None,))[0] != stamp:
                    truth = labels_of_case(case)
                    summary = summarise_labels(truth, self._contents.labels)
                    texts = ", ".join(summary.labels) or _("none"), f"{summary.drawn} / {summary.slices}"
                    self._tell(row, texts)
                    yield
                    self._known[case.labels] = stamp, texts, _icon(picture_of(case, truth))
                    yield
                _stamp, texts, icon = self._known[case.labels]
                self._tell(row, texts)
                self._ui.casesTable.item(row, NAME).setIcon(icon)
            except (CSAMError, OSError) as error:
                self._tell(row, (str(error), ""))

    def _tell(self, row: int, texts: tuple[str, str]) -> None:
        for column, text in zip((LABELS, DRAWN), texts, strict=True):
            item = self._ui.casesTable.item(row, column)
            item.setText(text)
            item.setToolTip(text)


def _icon(picture):
    """A picture (sitk.Image) for a list. It goes to Qt as text, for not every binding keeps bytes as they are."""
    pixels = qt.QPixmap()
    pixels.loadFromData(qt.QByteArray.fromBase64(qt.QByteArray(base64.b64encode(as_ppm(picture)))))
    return qt.QIcon(pixels)
