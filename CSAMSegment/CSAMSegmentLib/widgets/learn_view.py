"""The part Learn: a data set, a model to start from, a time; then a training that is watched, paused and kept.

The training is a process of its own: segmentation goes on as usual, and a crash of either leaves the other alone.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import qt
import slicer

from csam.errors import CSAMError, WorkerError
from csam.training.training_request import TrainingRequest, state_of

from ..logic import learn_texts, package_install, torch_install
from ..logic.learning import Learning, State
from ..logic.learning_chart import remove_chart, update_chart
from ..logic.slice_chart import show_chart
from ..logic.texts import tr as _
from ..logic.training_launcher import find_training, trains_in_slicer
from ..logic.worker_launcher import expanded, read_setting
from .case_import_view import CaseImportView
from .case_list_view import CaseListView
from .case_maker import CaseMaker
from .keys_and_timers import make_timer
from .training_case import FOLDER

POLL_INTERVAL = 100
"""Milliseconds between two looks at the training."""
MINUTES = (15, 60, 480, 0)
TO_GO_ON = (State.PAUSED, State.FAILED)


class LearnView:
    """Keeps the part as the training is.

    widget: CSAMSegmentWidget. panel: the widgets of CSAMSegment.ui. logic: gives the models. input: that part of the
    panel. plan: fields of the plan that are not left to the automatic plan, for scripts.
    """

    def __init__(self, widget, panel, logic, input, runner=None, worker=None, learning: Learning | None = None):
        self._logic, self._input, self._runner, self._worker = logic, input, runner, worker
        self.learning = learning or Learning()
        self.plan: dict = {}
        self._begin = False  # the check is followed by the training
        self._starts: list[str] = []
        self._rows = 0
        self._summary = ""
        section = slicer.util.loadUI(widget.resourcePath("UI/Learn.ui"))
        self.ui = ui = slicer.util.childWidgetVariables(section)
        ui.learnCollapsibleButton = section
        for selector in (ui.caseImageSelector, ui.caseSegmentationSelector):
            selector.setMRMLScene(slicer.mrmlScene)
        layout = panel.advancedCollapsibleButton.parentWidget().layout()
        layout.insertWidget(layout.indexOf(panel.advancedCollapsibleButton), section)
        self._timer = make_timer(POLL_INTERVAL, self._poll)
        self.cases = CaseListView(ui, self.dataset, self.open)
        self.maker = CaseMaker(ui, self.dataset, self._onKept)
        self.imports = CaseImportView(ui, self.dataset, self._onDataset)
        for name, label in vars(ui).items():
            if name.endswith("Label") and hasattr(ui, name.removesuffix("Label")):
                label.setBuddy(getattr(ui, name.removesuffix("Label")))
        for minutes in MINUTES:
            ui.timeSelector.addItem(_time(minutes), minutes)
        ui.datasetButton.clicked.connect(self._onBrowse)
        ui.datasetLineEdit.editingFinished.connect(self._onDataset)
        ui.learnCollapsibleButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        ui.learnCheckButton.clicked.connect(self.check)
        ui.learnStartButton.clicked.connect(self.start)
        ui.learnPauseButton.clicked.connect(self.pause)
        ui.learnKeepButton.clicked.connect(self.keep)
        ui.learnDiscardButton.clicked.connect(self.discard)
        ui.learnChartButton.clicked.connect(self.showChart)
        ui.faultsList.itemDoubleClicked.connect(self._onFault)
        for command in (panel.workerCommandLineEdit, panel.trainingCommandLineEdit):
            command.editingFinished.connect(self._showWhere)
        self.show()

    @property
    def isOpen(self) -> bool:
        return not self.ui.learnCollapsibleButton.collapsed

    @property
    def busy(self) -> bool:
        """Whether there is still something to be read or shown."""
        return self.cases.busy or self.imports.busy or self.learning.state is State.CHECKING

    def dataset(self) -> str:
        """The folder of the data set, empty where none is chosen."""
        return expanded(self.ui.datasetLineEdit.text.strip())

    def enter(self) -> None:
        """The user opens the module: a training that was not finished is offered to be gone on with."""
        if not self.dataset():
            self.ui.datasetLineEdit.text = read_setting(FOLDER)
        self._fillStarts()
        try:
            if not self.learning.busy and self.learning.state is State.NONE:
                self.learning.find()
        except OSError:  # a folder that cannot be read: nothing is offered
            logging.exception("The folder of trainings cannot be read")
        self.show()
        self._onDataset()

    def close(self) -> None:
        """The panel goes: the training saves itself, and waits for the next time."""
        self._timer.stop()
        self.cases.close()
        self.maker.close()
        self.imports.close()
        self.learning.leave()

    # Buttons ------------------------------------------------------------------------------------------------------

    def check(self, *_arguments) -> None:
        """Read the data set and say what would be done."""
        self._begin = False
        self._check()

    def start(self, *_arguments) -> None:
        """Begin to learn, or go on with what was paused."""
        if self.learning.state in TO_GO_ON and self.learning.folder is not None:
            self._do(lambda: self.learning.go_on(self.learning.folder))
            self.showCurve()
            return
        self._begin = True
        self._check()

    def pause(self, *_arguments) -> None:
        self._do(self.learning.pause)

    def keep(self, *_arguments) -> None:
        """End the training here and keep the model."""
        self._do(self.learning.keep)

    def discard(self, *_arguments) -> None:
        if slicer.util.confirmOkCancelDisplay(learn_texts.discard(self.learning.host)):
            self._do(self.learning.discard)
            remove_chart()

    def showChart(self, *_arguments) -> None:
        """Show the curve, in a layout that has a plot view."""
        manager = slicer.app.layoutManager()
        plots = [manager.plotWidget(number) for number in range(manager.plotViewCount)]
        if not any(plot is not None and plot.isVisible() for plot in plots):
            manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)
        self.showCurve()

    def showCurve(self) -> None:
        show_chart(update_chart(self.learning.rows))

    def open(self, name: str) -> None:
        """Load a case into the scene, chosen to be corrected and kept again."""
        try:
            with slicer.util.WaitCursor():
                self.maker.open(name)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))

    def request(self) -> TrainingRequest:
        """What is chosen."""
        name = Path(self.dataset()).name
        card = {"name": self._freeName(name), "title": f"{name} {time.strftime('%Y-%m-%d %H:%M')}"}
        start = self._starts[self.ui.startSelector.currentIndex] if self._starts else ""
        return TrainingRequest(self.dataset(), start, float(self.ui.timeSelector.currentData), card, self.plan)

    def _check(self) -> None:
        if not self.dataset():
            slicer.util.errorDisplay(_("Choose the folder with the cases to learn from."))
            return
        self._summary = ""
        self._do(lambda: self.learning.check(self.request()))

    def _do(self, what) -> None:
        try:
            what()
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
        if self.learning.busy:
            self._timer.start()
        self.show()

    # The training -------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        learning, was = self.learning, self.learning.state
        if not learning.poll():
            return
        if len(learning.rows) != self._rows and was is not State.CHECKING:
            self._rows = len(learning.rows)
            update_chart(learning.rows)
        if not learning.busy:
            self._timer.stop()
            if was is State.CHECKING:
                self._checked()
            elif learning.state is State.DONE:
                self._done()
        self.show()

    def _checked(self) -> None:
        """Go on from a check: packages first, then the training, where it was asked for."""
        learning, begin = self.learning, self._begin
        self._begin = False
        if learning.missing and (begin or "torch" in learning.missing):
            learning.faults = [fault for fault in learning.faults if "cannot be found and is needed" not in fault]
            if not self._install(learning.missing):
                return
            if learning.plan is None:
                self._begin = begin
                self._do(lambda: learning.check(self.request()))
                return
        if begin and learning.plan is not None and not learning.error:
            self._do(lambda: learning.begin(learning.request))
            self._rows = 0
            self.showCurve()

    def _install(self, missing) -> bool:
        """Whether all that is missing is there now; asks before anything is downloaded."""
        try:
            if not trains_in_slicer():
                raise WorkerError(package_install.elsewhere(missing, find_training()))
            if slicer.app.testingEnabled():
                raise WorkerError(package_install.offline_advice(missing))
            if "torch" in missing and not self._installTorch():
                return False
            rest = [name for name in missing if name != "torch"]
            if rest:
                if not slicer.util.confirmOkCancelDisplay(package_install.consent(rest), _("Install packages")):
                    return False
                with slicer.util.WaitCursor():
                    package_install.install_packages(rest)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
            return False
        return True

    def _installTorch(self) -> bool:
        extension = torch_install.extension_logic()
        obstacle = torch_install.obstacle() or (torch_install.NO_EXTENSION if extension is None else "")
        if obstacle:
            raise WorkerError(obstacle)
        if not slicer.util.confirmOkCancelDisplay(torch_install.CONSENT, _("Install PyTorch")):
            return False
        if self._worker is not None:
            self._worker.stop(wait=True)  # it may hold the files of a torch that is too old
        torch_install.install_torch(extension)
        return True

    def _done(self) -> None:
        """The model comes into the list and is chosen, but where that would end a run of another model."""
        folder = self.learning.folder / "model"
        choose = self._runner is None or not self._runner.isRunning
        self._input.addModel(folder / "model.json", choose)
        try:
            library = self._logic.library
            model = library.load(folder)
            told = learn_texts.summary(model, choose), learn_texts.more_cases(model, library.models().values())
            self._summary = "\n".join(filter(None, told))
        except CSAMError as error:
            self._summary = str(error)
        self._fillStarts()

    # What is shown ------------------------------------------------------------------------------------------------

    def show(self) -> None:
        """Show where the training is."""
        ui, learning, state = self.ui, self.learning, self.learning.state
        going_on = state in TO_GO_ON and learning.folder is not None
        for widget in (ui.datasetLineEdit, ui.datasetButton, ui.startSelector, ui.timeSelector):
            widget.enabled = not learning.busy and not going_on
        ui.learnCheckButton.enabled = not learning.busy and not going_on
        ui.learnStartButton.enabled = not learning.busy
        ui.learnStartButton.text = _("Resume") if going_on else _("Start")
        ui.learnPauseButton.enabled = state is State.TRAINING
        ui.learnKeepButton.enabled = state is State.TRAINING or (going_on and learning.saved)
        ui.learnDiscardButton.enabled = going_on
        ui.learnChartButton.enabled = bool(learning.rows)
        bar = ui.learnProgressBar
        bar.setVisible(learning.busy)
        bar.setRange(0, 0 if learning.fraction is None else 1000)
        bar.setValue(round(1000 * (learning.fraction or 0)))
        ui.learnStageLabel.text = said = self._said()
        ui.learnStageLabel.setVisible(bool(said))
        self._showWhere()
        self._showCheck()

    def _showWhere(self, *_arguments) -> None:
        """On which other computer the model learns."""
        self.ui.whereLabel.text = said = learn_texts.where(self.learning.host)
        self.ui.whereLabel.setVisible(bool(said))

    def _said(self) -> str:
        learning, state = self.learning, self.learning.state
        if state is State.CHECKING:
            return _("Reading the data set…")
        if state is State.PAUSING:
            return _("Saving…")
        if state in (State.TRAINING, State.ENDING):
            said = learn_texts.progress(learning.stage, learning.seconds_left, learning.rows)
            return "\n".join([said, _("It was resumed from its last checkpoint.")]) if learning.resumed else said
        if state in TO_GO_ON and learning.folder is not None:
            how_far = state_of(learning.folder)
            found = learn_texts.found(Path(learning.request.dataset).name, how_far.step, how_far.steps)
            return f"{learning.error}\n\n{found}".strip() if state is State.FAILED else found
        return self._summary if state is State.DONE else learning.error

    def _showCheck(self) -> None:
        """The faults of the data set, or else the plan."""
        ui, learning = self.ui, self.learning
        ui.faultsList.setVisible(bool(learning.faults))
        if [ui.faultsList.item(row).text() for row in range(ui.faultsList.count)] != learning.faults:
            ui.faultsList.clear()
            for fault in learning.faults:
                ui.faultsList.addItem(fault)
        told = learning.plan is not None and learning.request is not None and learning.state is not State.DONE
        ui.planLabel.text = learn_texts.plan(learning.plan, learning.request.minutes) if told else ""
        ui.planLabel.setVisible(told)

    def _fillStarts(self) -> None:
        """The models that a training may start from; the choice stays where it still can."""
        selector, models = self.ui.startSelector, self._logic.library.models()
        chosen = self._starts[selector.currentIndex] if 0 <= selector.currentIndex < len(self._starts) else ""
        selector.blockSignals(True)
        selector.clear()
        selector.addItem(_("No model (from scratch)"))
        for model in models.values():
            selector.addItem(model.title)
        self._starts = ["", *map(str, models)]
        selector.currentIndex = self._starts.index(chosen) if chosen in self._starts else 0
        selector.blockSignals(False)

    def _freeName(self, name: str) -> str:
        """A name that no model has yet."""
        taken = {model.name for model in self._logic.library.models().values()}
        stem, number = re.sub(r"[^A-Za-z0-9_.-]", "-", name) or "model", 1
        free = stem
        while free in taken:
            number += 1
            free = f"{stem}-{number}"
        return free

    # What is chosen -----------------------------------------------------------------------------------------------

    def _onBrowse(self, *_arguments) -> None:
        title = _("Choose the data set to learn from")
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, self.dataset())
        if folder:
            self.ui.datasetLineEdit.text = folder
            self._onDataset()

    def _onDataset(self, *_arguments) -> None:
        self.ui.datasetLineEdit.text = folder = self.dataset()
        if folder:
            slicer.app.userSettings().setValue(FOLDER, folder)
        if self.isOpen:
            self.cases.refresh()
            self.maker.refresh()

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            kept = read_setting(FOLDER)
            if kept and not self.learning.busy:
                self.ui.datasetLineEdit.text = kept
            self.show()
            self._onDataset()

    def _onKept(self) -> None:
        self.cases.refresh()

    def _onFault(self, item) -> None:
        """Open the case that a fault begins with."""
        name = item.text().strip().partition(":")[0]
        if name in self.cases.names:
            self.open(name)


def _time(minutes: int) -> str:
    return {
        15: _("15 minutes"),
        60: _("An hour"),
        480: _("Overnight (8 hours)"),
        0: _("Until it stops improving"),
    }[minutes]
