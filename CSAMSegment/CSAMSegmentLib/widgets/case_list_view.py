"""The list of a data set's cases: what is labelled in each; one is opened in the scene, or removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer

from csam.errors import CSAMError, InputError
from csam.training.add_case import collection
from csam.training.case_list import CaseSummary, list_cases, summarise_case

from ..logic.texts import tr as _
from .keys_and_timers import make_timer

NAME, LABELS, DRAWN = range(3)


class CaseListView:
    """Fills ``ui.casesTable``, a file a turn. dataset: gives the folder. open: called with a case's name."""

    def __init__(self, ui, dataset: Callable[[], str], open: Callable[[str], None]):
        self._ui, self._dataset, self._open = ui, dataset, open
        self._contents = None
        self._cases: list = []
        self._known: dict[Path, tuple[int, CaseSummary | str]] = {}
        self._next = 0
        self._timer = make_timer(0, self._step)
        table = ui.casesTable
        table.verticalHeader().hide()
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.horizontalHeader().setSectionResizeMode(DRAWN, qt.QHeaderView.ResizeToContents)
        table.setFixedHeight(150)
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
            there = bool(folder) and (Path(folder) / "dataset.json").exists()
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
        self._next = 0
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
        """Read the labels of the next case, unless they are known."""
        if self._next >= len(self._cases):
            self._timer.stop()
            return
        row, self._next = self._next, self._next + 1
        case, table = self._cases[row], self._ui.casesTable
        try:
            stamp = case.labels.stat().st_mtime_ns
            if self._known.get(case.labels, (None,))[0] != stamp:
                self._known[case.labels] = stamp, summarise_case(case, self._contents.labels)
            summary = self._known[case.labels][1]
            texts = ", ".join(summary.labels) or _("none"), f"{summary.drawn} / {summary.slices}"
        except (CSAMError, OSError) as error:
            texts = str(error), ""
        for column, text in zip((LABELS, DRAWN), texts, strict=True):
            item = table.item(row, column)
            item.setText(text)
            item.setToolTip(text)
