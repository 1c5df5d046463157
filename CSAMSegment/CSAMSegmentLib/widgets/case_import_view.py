"""The button that adds a whole folder of images with labels to the data set, and what it tells."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from csam.errors import CSAMError, InputError

from ..logic.case_import import CaseImport
from ..logic.texts import tr as _
from .keys_and_timers import make_timer

POLL_INTERVAL = 100
"""Milliseconds between two looks at the import."""


class CaseImportView:
    """Runs one import at a time. dataset: gives the folder. onAdded: called where it has ended."""

    def __init__(self, ui, dataset: Callable[[], str], onAdded: Callable[[], None]):
        self._ui, self._dataset, self._onAdded = ui, dataset, onAdded
        self.run: CaseImport | None = None
        self._timer = make_timer(POLL_INTERVAL, self._poll)
        ui.importFaultsList.setFixedHeight(110)
        ui.importCasesButton.clicked.connect(self.start)
        self._show()

    @property
    def busy(self) -> bool:
        """Whether an import is under way."""
        return self.run is not None and self.run.busy

    def close(self) -> None:
        """The panel goes."""
        self._timer.stop()
        if self.busy:
            self.run.leave()

    def start(self, *_arguments) -> None:
        """Ask for a folder and add what it holds; while that goes on, end it."""
        if self.busy:
            self.run.stop()
            return
        if not self._dataset():
            slicer.util.errorDisplay(_("Choose the folder of the data set first."))
            return
        title = _("Choose the folder with images and labels")
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, self._dataset())
        if folder:
            self.begin(folder)

    def begin(self, folder: str, names: dict[int, str] | None = None) -> None:
        """Add what a folder holds. names: of the values of its labels, where nothing else tells them."""
        try:
            self.run = CaseImport(folder, self._dataset(), names)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
            return
        self._timer.start()
        self._show()

    def _poll(self) -> None:
        run = self.run
        if not run.poll():
            return
        if not run.busy:
            self._timer.stop()
            if run.values:
                self._askNames()
            self._onAdded()
        self._show()

    def _askNames(self) -> None:
        """The labels say nothing of what they are: the user does, and it begins again."""
        folder, values = self.run.folder, self.run.values
        self.run = None
        try:
            names = ask_names(values)
        except InputError as error:
            slicer.util.errorDisplay(str(error))
            return
        if names:
            self.begin(folder, names)

    def _show(self) -> None:
        ui, run = self._ui, self.run
        ui.importCasesButton.text = _("Stop") if self.busy else _("Import folder…")
        ui.importLabel.text = run.said() if run is not None else ""
        ui.importLabel.setVisible(run is not None)
        faults = run.faults if run is not None else []
        ui.importFaultsList.setVisible(bool(faults))
        if ui.importFaultsList.count > len(faults):
            ui.importFaultsList.clear()
        for fault in faults[ui.importFaultsList.count :]:
            ui.importFaultsList.addItem(fault)


def ask_names(values) -> dict[int, str]:
    """The name of each value as a user gives it, none where they cancel. Raises InputError for too few or many."""
    dialog = qt.QInputDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(_("Import folder"))
    text = _("The labels have the values {values}. Enter their names in this order, separated by commas:")
    dialog.setLabelText(text.format(values=", ".join(map(str, values))))
    accepted = dialog.exec()
    given = [name.strip() for name in dialog.textValue().split(",")]
    dialog.deleteLater()
    if not accepted:
        return {}
    if len(given) != len(values) or not all(given):
        raise InputError(_("{count} names were expected, separated by commas.").format(count=len(values)))
    return dict(zip(values, given, strict=True))
