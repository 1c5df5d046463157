"""From Apply to the result: asks for the worker, starts the run, tells how far it is, and how it ended.

Nothing here waits: a timer looks after the worker and the run.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from functools import partial

import slicer

from csam.errors import Cancelled, CSAMError, WorkerError
from csam.process.job import BREATH

from ..logic import texts, torch_install
from ..logic.map_display import MAPS
from ..logic.parameters import run_options
from ..logic.sequence_run import SequenceRun, check_followed
from ..logic.texts import tr as _
from ..logic.volume_geometry import region_from_roi
from .keys_and_timers import make_timer

POLL_INTERVAL = 40
"""Milliseconds between two looks at the worker while it is asked something."""
IDLE_INTERVAL = 250
"""The same while it is not: the client's threads still hear of its log and its end (``csam.process.job``)."""


class Runner:
    """From the press of a button to the end of a run or a filling: Apply, Cancel and the progress bars.

    input, worker: those parts of the panel. mayRun: asked before a run. onDone: called with the Output of a run that
    ended well; what it returns is said. parameters: the parameter node to run with.
    """

    def __init__(self, ui, logic, input, worker, mayRun, onDone):
        self._ui, self._logic, self._input, self._worker = ui, logic, input, worker
        self._mayRun, self._onDone = mayRun, onDone
        self.parameters = None
        self._active = None
        self._pending = None  # starts what was asked for, while the worker has not said yet what it has
        self._model = ""  # that a run is for; empty for a filling
        self._filling = False  # whether what is said stands beside the buttons that fill
        self._update = None  # of a filling that waits or is under way
        self._timer = make_timer(POLL_INTERVAL, self._poll)
        ui.applyButton.clicked.connect(self.apply)
        ui.cancelButton.clicked.connect(self.cancel)
        ui.cancelFillButton.clicked.connect(self.cancel)
        self._show("")

    @property
    def isRunning(self) -> bool:
        """Whether a run is under way, or waits for the worker to start."""
        return self._active is not None or self._pending is not None

    def watch(self) -> None:
        """Look after the worker, closely until it has answered and nothing runs."""
        self._timer.setInterval(POLL_INTERVAL)
        self._timer.start()

    def forget(self) -> None:
        """Let go of a run without a word, as when its scene is closed."""
        self._active = self._pending = self._update = None
        self._show("")

    def clear(self) -> None:
        """Say no longer how a run has ended: it was another image's."""
        if not self.isRunning:
            self._show("")

    def close(self) -> None:
        self._timer.stop()
        self._abandon()
        self._takeBack()
        self._active = self._pending = None

    # Buttons ------------------------------------------------------------------------------------------------------

    def apply(self, *_arguments) -> None:
        """Segment what is shown and chosen now. What keeps it from starting is shown; a second Apply during a run says
        so."""
        if self._isBusy():
            return
        problem = self._input.problem()
        if problem:
            slicer.util.errorDisplay(problem)
            return
        if self._mayRun():
            self._model, self._filling = self.parameters.model, False
            with self._told():
                self._begin(self._run())

    def fill(self, make) -> None:
        """Begin a filling. make: gives the ``Update`` that is to be done, of what is shown now; what it raises is
        shown."""
        if self._isBusy():
            return
        self._model, self._filling = "", True
        self._show("")
        with self._told():
            self._update = make()
            self._begin(self._makeFilling)

    def _isBusy(self) -> bool:
        if self.isRunning:
            slicer.util.showStatusMessage(_("A segmentation is under way. Wait for its end, or cancel it."), 3000)
        return self.isRunning

    def _begin(self, make) -> None:
        """make: starts the run and gives it, once the worker is there."""
        self._pending = make
        self._show("")  # the line of the device says that the worker starts
        self._worker.start()
        self.watch()

    def cancel(self, *_arguments) -> None:
        """Stop the run; as often as one likes."""
        if self._pending is not None:
            self._end(Cancelled())
        elif self._active is not None:
            self._active.cancel()
            self._show(_("Cancelling…"))

    def stop(self) -> None:
        """End a run because its worker is about to end."""
        if self.isRunning:
            self._abandon()
            self._end(Cancelled())

    def _abandon(self) -> None:
        if self._active is not None:
            self._active.abandon()

    def _takeBack(self) -> None:
        """Take back what was done to the scene for a filling that comes to no result."""
        update, self._update = self._update, None
        if update is not None:
            update.undo()

    def wouldEnd(self, model: str) -> bool:
        """Whether a run would come to its end if the user chose this model now."""
        cancelling = self._active is not None and self._active.cancelling
        return self.isRunning and not cancelling and self._model not in ("", model)

    def check(self) -> None:
        """Show whether Apply can be pressed; a run for a model that is no longer chosen is of no use any more."""
        problem = self._input.problem()
        self._ui.applyButton.enabled = not problem and not self.isRunning
        doing = _("A segmentation is under way.") if self.isRunning else _("Segment the image with the chosen model.")
        self._ui.applyButton.toolTip = problem or doing
        if self.parameters is not None and self.wouldEnd(self.parameters.model):
            self.cancel()
            self._show(_("You have chosen another model, so the run is cancelled."))

    # The run ------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        run = self._active
        if self._pending is not None:  # what it starts is looked at in a turn of its own
            self._worker.poll()
            self._go()
        elif run is None or not run.writing:
            self._worker.poll()
        if run is not None:
            run.poll()
            self._timer.setInterval(0 if run.writing else POLL_INTERVAL)
            if run.finished:
                self._finish(run)
            elif not run.cancelling:
                left = texts.seconds(run.progress.seconds_left)
                text = _("{stage}, {time} left").format(stage=run.progress.stage, time=left)
                self._show(text if left else run.progress.stage, run.progress.fraction)
        if not (self.isRunning or self._worker.status.pending or self._worker.status.measuring):
            time.sleep(BREATH)
            self._timer.setInterval(IDLE_INTERVAL)

    def _go(self) -> None:
        """Go on with Apply as soon as the worker has said what it has."""
        status = self._worker.status
        if status.pending or self.parameters is None:  # None while a scene is being loaded
            return
        make, self._pending = self._pending, None
        if status.error is not None:
            error = status.error
            self._worker.stop()  # the next Apply tries again
            self._end(error)
        elif not status.has_torch:
            self._installTorch(make, status.hello.get("reason") or "")
        else:
            self._start(make)

    def _start(self, make) -> None:
        with self._told():
            self._active = make()
        if self._active is not None:
            self._show(_("Sending the image"), 0.0)
            self._worker.refresh()

    @contextmanager
    def _told(self):
        """What keeps a run from starting is told, and ends it."""
        try:
            yield
        except CSAMError as error:
            self._end(error)
        except Exception as error:
            logging.exception("A run could not be started")
            self._end(CSAMError(f"The run could not be started: {error}. The log has more."))

    def _run(self):
        """What starts a run of what is shown and chosen now. Raises CSAMError."""
        parameters = self.parameters
        region, image = parameters.region, parameters.inputVolume
        options = run_options(parameters, region_from_roi(region, image) if region is not None else None)
        maps, path, volumes = tuple(MAPS), str(self._input.modelPath), self._input.volumes()
        browser = self._input.browser
        if browser is not None:
            check_followed(browser, volumes)
            return partial(SequenceRun, self._logic, browser, volumes, path, options, maps)
        outputs = parameters.segmentation, parameters.uncertainty
        run = self._logic.prepare(volumes, path, *outputs, options, maps)
        return lambda: SingleRun(self._logic, self._logic.begin(run))

    def _makeFilling(self):
        update = self._update
        more = tuple(MAPS), update.reviewed, update.others, update.keep
        return SingleRun(self._logic, self._logic.startFill(update.plan, update.name, *more))

    def _finish(self, run) -> None:
        self._active = None
        if run.error is not None:
            self._end(run.error)
            return
        self._update = None
        parameters = self.parameters  # None while a scene is being loaded
        if run.plan is None:
            if run.output.result is not None and parameters is not None and parameters.region is None:
                self._worker.remember(run)
            self._worker.hear(run)
        self._show(self._onDone(run.output))

    def _end(self, error: CSAMError) -> None:
        """End a run without a result: a cancel is said in the panel, anything else in one dialog."""
        self._active = self._pending = None
        self._takeBack()
        self._worker.refresh()
        if isinstance(error, Cancelled):
            self._show(_("Cancelled. The scene is as it was."))
            return
        self._show(_("The run failed. The scene is as it was."))
        if error.detail:
            logging.debug(error.detail)
        slicer.util.errorDisplay(str(error), **({"detailedText": error.detail} if error.detail else {}))

    def _show(self, stage: str, fraction: float | None = None) -> None:
        running = self.isRunning
        self._ui.cancelButton.enabled = running
        self._ui.applyButton.enabled = not running and not self._input.problem()
        self._ui.cancelFillButton.setVisible(running and self._filling)
        for bar, label, shown in (
            (self._ui.progressBar, self._ui.stageLabel, True),
            (self._ui.fillProgressBar, self._ui.fillStageLabel, self._filling),  # beside the buttons that began it
        ):
            bar.setVisible(running and shown)
            bar.setRange(0, 0 if running and fraction is None else 1000)
            if fraction is not None:
                bar.setValue(round(1000 * fraction))
            label.text = stage
            label.setVisible(bool(stage) and shown)

    # Torch --------------------------------------------------------------------------------------------------------

    def _installTorch(self, make, reason: str) -> None:
        """Offer to install torch where that is possible, then go on with what ``make`` starts."""
        installable = self._worker.runsInSlicer() and self._worker.status.installable
        if not installable or slicer.app.testingEnabled():
            self._worker.stop()  # it may have torch when it is asked the next time
            self._end(WorkerError(reason))
            return
        extension = torch_install.extension_logic()
        obstacle = torch_install.obstacle() or (torch_install.NO_EXTENSION if extension is None else "")
        if obstacle:
            self._end(WorkerError(obstacle))
            return
        self._show("")
        if not slicer.util.confirmOkCancelDisplay(torch_install.CONSENT, _("Install PyTorch")):
            self._end(Cancelled())
            return
        self._pending = make
        self._show(_("Installing PyTorch. This takes some minutes."))
        self._timer.stop()
        self._worker.stop(wait=True)  # it may hold the files of a torch that is too old
        slicer.app.processEvents()
        try:
            torch_install.install_torch(extension)
        except CSAMError as error:
            self._end(error)
            return
        if self._pending is not None:  # not cancelled meanwhile
            self._worker.start()
            self.watch()


class SingleRun:
    """The logic's run of one image, as the runner sees runs."""

    def __init__(self, logic, run):
        self._logic, self._run = logic, run
        self.cancelling = False

    def poll(self) -> None:
        self._logic.poll()

    def cancel(self) -> None:
        self.cancelling = True
        self._logic.cancel()

    def abandon(self) -> None:
        """No result is in the scene yet; the logic lets go when the worker ends."""

    def __getattr__(self, name: str):
        return getattr(self._run, name)  # finished, writing, progress, error, output, model
