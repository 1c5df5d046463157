"""The part Batch: a folder or the scene's volumes, segmented one by one beside the user's work, in a table worst first.

The folder of results is the whole state: chosen again, after a restart too, it shows what is done, and Start goes on.
"""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path

import qt
import slicer

from csam.batch.folder import BatchFolder
from csam.batch.next_case import next_case
from csam.batch.pages import PAGE, TABLE
from csam.batch.row import DONE
from csam.errors import CSAMError
from csam.image.files import read_json
from csam.training.dataset_json import CONTENTS, fingerprints_of

from ..logic.batch_case import is_case_of, open_case
from ..logic.batch_run import BatchPlan, BatchRun, State
from ..logic.model_library import worker_name
from ..logic.parameters import run_options
from ..logic.result_nodes import ROLE
from ..logic.texts import tr as _
from ..logic.worker_launcher import expanded, read_setting
from .batch_table import BatchTable
from .keys_and_timers import make_timer
from .training_case import FOLDER as TRAINING_FOLDER

FOLDER, RESULTS = "CSAMSegment/BatchFolder", "CSAMSegment/BatchResults"
"""The settings that keep the folders chosen last."""
POLL_INTERVAL = 60
"""Milliseconds between two looks at the batch."""
READ = 10
"""Results that are read from disk in one turn."""


class BatchView:
    """Runs batches. input, runner: of the panel. onOpened: called with the OpenedCase that is to be shown."""

    def __init__(self, ui, logic, input, runner, onOpened):
        self._ui, self._logic, self._input, self._runner, self._onOpened = ui, logic, input, runner, onOpened
        self.parameters = None
        self.run: BatchRun | None = None
        self._rows: dict = {}
        self._opened: set[str] = set()  # cases of these results that the user has looked at
        self._changed: list[str] = []
        self._reading = iter(())  # of a folder of results, a few rows a turn
        self._timer = make_timer(POLL_INTERVAL, self._poll)
        self.table = BatchTable(ui.batchTable, self.open)
        settings = slicer.app.userSettings()
        ui.batchFolderLineEdit.text, ui.batchResultsLineEdit.text = (
            str(settings.value(name, "") or "") for name in (FOLDER, RESULTS)
        )
        ui.batchFolderButton.clicked.connect(lambda *_: self._choose(ui.batchFolderLineEdit))
        ui.batchResultsButton.clicked.connect(lambda *_: self._choose(ui.batchResultsLineEdit))
        ui.batchFolderLineEdit.editingFinished.connect(self._onFolders)
        ui.batchResultsLineEdit.editingFinished.connect(self._onFolders)
        ui.batchSceneCheckBox.toggled.connect(lambda *_: self._show())
        ui.batchStartButton.clicked.connect(self.start)
        ui.batchPauseButton.clicked.connect(self.pause)
        ui.batchStopButton.clicked.connect(self.stop)
        ui.batchOpenButton.clicked.connect(lambda *_: self.open(self.table.chosen))
        ui.batchNextButton.clicked.connect(self.openNext)
        ui.batchTableButton.clicked.connect(lambda *_: self._showFile(TABLE))
        ui.batchPageButton.clicked.connect(lambda *_: self._showFile(PAGE))
        ui.batchTable.itemSelectionChanged.connect(self._show)
        ui.batchCollapsibleButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        self._show()

    @property
    def isRunning(self) -> bool:
        """Whether a batch is under way, or paused."""
        return self.run is not None and not self.run.ended

    @property
    def busy(self) -> bool:
        """Whether there is still something to be read or shown."""
        return self._timer.isActive() and not (self.isRunning and self.run.state is State.PAUSED)

    def onSceneCloses(self) -> None:
        """Its volumes go: a batch of them ends."""
        if self.isRunning and self.run.plan.volumes:
            self.stop()

    def close(self) -> None:
        """The panel goes: the batch ends with it, and what is done stays."""
        self._timer.stop()
        if self.run is not None:
            self.run.close()
            self.run = None

    # Buttons ------------------------------------------------------------------------------------------------------

    def start(self, *_arguments) -> None:
        """Begin, or go on after a pause."""
        if self.isRunning:
            self.run.resume()
            self._watch()
            return
        try:
            plan = self._plan()
            self._reading = iter(())
            self.run = BatchRun(self._logic.newClient(), plan)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
            return
        self.table.clear()
        self._rows, self._changed = self.run.rows, self.run.changed
        self._opened = set()
        self._watch()

    def pause(self, *_arguments) -> None:
        """Begin no further case."""
        if self.isRunning:
            self.run.pause()
            self._show()

    def stop(self, *_arguments) -> None:
        """End the batch; what is done stays."""
        if self.isRunning:
            self.run.stop()
            self._watch()

    def open(self, name: str) -> None:
        """Show a case with its result, ready to be reviewed."""
        row = self._rows.get(name)
        if row is None or row.state != DONE:
            return
        try:
            if self._runner.wouldEnd(row.model):
                text = _("A segmentation with another model is under way. Wait for it, or cancel it; then open {name}.")
                raise CSAMError(text.format(name=name))
            with slicer.util.WaitCursor():
                opened = open_case(self._results(), name, self._logic.library)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
            return
        self._opened.add(name)
        self._onOpened(opened)

    def openNext(self, *_arguments) -> None:
        """Open the case to draw next (``csam.batch.next_case``)."""
        name = next_case(self._rows.values(), _kept(), self._opened, self._ui.batchPoorestCheckBox.checked)
        if name is None:
            slicer.util.infoDisplay(_("Every case is in the data set, or was opened. Open one from the table."))
            return
        self.table.choose(name)
        self.open(name)

    def _plan(self) -> BatchPlan:
        """What is chosen. Raises CSAMError with what is missing."""
        folder, results = self._folders()
        path, model, volumes = self._input.modelPath, self._input.model, ()
        if model is None or self.parameters is None:
            raise CSAMError(_("There is no model. Choose one under Input."))
        if not results:
            raise CSAMError(_("Choose a folder for the results."))
        if self._ui.batchSceneCheckBox.checked:
            if len(model.channels) > 1:
                text = _("{model} needs {count} images a case. Choose a folder: file names tell which belong together.")
                raise CSAMError(text.format(model=model.title, count=len(model.channels)))
            folder, volumes = "", _volumes()
            if not volumes:
                raise CSAMError(_("There is no volume in the scene. Load a scan, or choose a folder."))
            out = BatchFolder(Path(results))
            volumes = tuple(volume for volume in volumes if not is_case_of(volume, out))
        elif not folder:
            raise CSAMError(_("Choose the folder with the cases."))
        return BatchPlan(folder, results, worker_name(path), run_options(self.parameters), volumes, model.digest)

    def _folders(self) -> tuple[str, str]:
        """Of the cases and of the results; empty where none is chosen."""
        edits = self._ui.batchFolderLineEdit, self._ui.batchResultsLineEdit
        return tuple(expanded(edit.text.strip()) for edit in edits)

    def _choose(self, edit) -> None:
        title = _("Choose a folder")
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, edit.text)
        if folder:
            edit.text = folder
            self._onFolders()

    def _showFile(self, name: str) -> None:
        path = self._results().path / name
        if not (path.is_file() and qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))):
            slicer.util.errorDisplay(
                _("{path} cannot be opened: it is missing, or no program here opens such files.").format(path=path)
            )

    # Events -------------------------------------------------------------------------------------------------------

    def _onFolders(self) -> None:
        settings, (folder, results) = slicer.app.userSettings(), self._folders()
        self._ui.batchFolderLineEdit.text, self._ui.batchResultsLineEdit.text = folder, results
        settings.setValue(FOLDER, folder)
        before = settings.value(RESULTS, "")
        settings.setValue(RESULTS, results)
        if before != results:
            self._read()
        self._show()

    def _onCollapsed(self, collapsed: bool) -> None:
        if not (collapsed or self._rows):
            self._read()

    def _read(self) -> None:
        """Show what is in the chosen folder of results, if it holds a batch."""
        if self.isRunning:
            return
        self.run = None
        self.table.clear()
        self._rows, self._changed, self._opened = {}, [], set()
        self._reading = self._results().rows() if self._folders()[1] else iter(())
        self._watch()

    def _results(self) -> BatchFolder:
        return BatchFolder(Path(self.run.plan.out if self.run is not None else self._folders()[1]))

    def _watch(self) -> None:
        self._timer.setInterval(POLL_INTERVAL)
        self._timer.start()
        self._show()

    def _poll(self) -> None:
        more = self._readOn()
        if self.run is not None:
            self.run.poll()
        if self._changed:
            self.table.follow(self._changed, self._rows)
        self._show()
        resting = self.run is None or self.run.ended or self.run.state is State.PAUSED
        if resting and not (more or self._changed):
            self._timer.stop()
            self._ended()

    def _readOn(self) -> bool:
        """Read some rows from disk; whether there were any."""
        try:
            read = [*islice(self._reading, READ)]
        except CSAMError:  # there is no batch
            return False
        for row in read:
            self._rows[row.case] = row
            self._changed.append(row.case)
        return bool(read)

    def _ended(self) -> None:
        """The batch has come to its end, or there was none."""
        if self.run is None or not self.run.ended:
            return
        error = self.run.error
        self.run.close()
        self.run.release()
        if error is not None:
            if error.detail:
                logging.debug(error.detail)
            slicer.util.errorDisplay(str(error))
            self.run.error = None

    def _show(self) -> None:
        ui, run = self._ui, self.run
        state = run.state if run is not None else State.ENDED
        idle = state is State.ENDED
        for widget in (ui.batchFolderLineEdit, ui.batchFolderButton):
            widget.enabled = idle and not ui.batchSceneCheckBox.checked
        for widget in (ui.batchResultsLineEdit, ui.batchResultsButton, ui.batchSceneCheckBox):
            widget.enabled = idle
        ui.batchStartButton.text = _("Start") if idle else _("Resume")
        ui.batchStartButton.enabled = idle or state in (State.PAUSING, State.PAUSED)
        ui.batchPauseButton.enabled = state is State.RUNNING
        ui.batchStopButton.enabled = not idle and state is not State.STOPPING
        row = self._rows.get(self.table.chosen)
        ui.batchOpenButton.enabled = row is not None and row.state == DONE
        ui.batchNextButton.enabled = any(row.state == DONE for row in self._rows.values())
        ui.batchTableButton.enabled = ui.batchPageButton.enabled = bool(self._folders()[1] and self._rows)
        ui.batchProgressBar.setVisible(not idle)
        ui.batchLabel.text = self._said(state)
        if run is not None and not idle:
            done, faults, left = run.counts()
            count, part = done + faults + left, run.progress.fraction if run.progress is not None else 0.0
            ui.batchProgressBar.setRange(0, 1000 if count else 0)
            ui.batchProgressBar.setValue(round(1000 * min(1.0, (count - left + part * bool(left)) / max(count, 1))))

    def _said(self, state: State) -> str:
        if self.run is not None and (self.run.rows or state is not State.ENDED):
            text = self.run.said() if self.run.rows else _("Looking for cases…")
            endings = {State.PAUSING: _("pausing"), State.PAUSED: _("paused"), State.STOPPING: _("stopping")}
            return f"{text}, {endings[state]}" if state in endings else text
        done = sum(row.state == DONE for row in self._rows.values())
        if self._rows:
            if self._ui.batchSceneCheckBox.checked:
                text = _("{done} done, {faults} failed. Press Start to segment new and failed cases.")
            else:
                text = _("{done} done, {faults} failed. Press Start to segment new, changed and failed cases.")
            return text.format(done=done, faults=len(self._rows) - done)
        return _("Segments every case of a folder in the background, with the model chosen under Input.")


def _kept() -> dict[str, str]:
    """The fingerprints of the cases in the data set that the user adds to."""
    try:
        return fingerprints_of(read_json(Path(read_setting(TRAINING_FOLDER)) / CONTENTS))
    except (OSError, ValueError, AttributeError):  # there is none yet
        return {}


def _volumes() -> list:
    """The images of the scene: no maps of results, no labels."""
    return [
        volume
        for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if volume.GetClassName() == "vtkMRMLScalarVolumeNode" and volume.GetAttribute(ROLE) is None
    ]
