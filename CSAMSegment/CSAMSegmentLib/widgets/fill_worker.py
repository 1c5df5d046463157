"""A filling in the worker, from the request to the result or to a sentence. Nothing here waits: a timer polls.

The worker is the panel's where the module's panel has been opened, so that the network is in memory once.
"""

from __future__ import annotations

import logging

import slicer

from csam.errors import Cancelled, CSAMError, WorkerError
from csam.result import Progress, Result

from ..logic import fill_texts, texts, torch_install
from ..logic.module_logic import CSAMSegmentLogic
from ..logic.node_watch import NodeWatch
from ..logic.texts import tr as _
from ..logic.worker_launcher import runs_in_slicer
from ..logic.worker_status import WorkerStatus
from .keys_and_timers import make_timer

POLL_INTERVAL = 40
"""Milliseconds between two looks at the worker."""
NO_RESULT = _("The worker has returned no filling. Install the same version of CSAMSegment there as here.")

_own: list[CSAMSegmentLogic] = []
"""The logic of all effects while the panel has none: at most one."""
_scene = NodeWatch((slicer.vtkMRMLScene.StartCloseEvent,), lambda *_event: close_own_worker())


def shared_logic():
    """The logic whose worker the effects use."""
    panel = getattr(getattr(slicer.modules, "CSAMSegmentWidget", None), "logic", None)
    if panel is not None:
        close_own_worker()
        return panel
    if not _own:
        _own.append(CSAMSegmentLogic())
        _scene.follow((slicer.mrmlScene,))
    return _own[0]


def chosen_device() -> str:
    """The device that is chosen in the panel, "auto" where it has not been opened."""
    parameters = _panel_parameters()
    return parameters.device if parameters is not None else "auto"


def chosen_slice_axis(volume) -> str:
    """The slice axis that is chosen in the panel for this volume, "auto" where it has another one or is not open."""
    parameters = _panel_parameters()
    if parameters is None or volume is None or parameters.inputVolume is not volume:
        return "auto"
    return parameters.sliceAxis.value


def _panel_parameters():
    panel = getattr(getattr(slicer.modules, "CSAMSegmentWidget", None), "panel", None)
    return getattr(panel, "parameters", None)


def close_own_worker() -> None:
    """End the worker that was started for the effects alone: the panel has one by now, or the scene goes, and with it
    the cases that the worker has learned from."""
    _scene.follow(())
    while _own:
        _own.pop().close(wait=False)


class FillWorker:
    """One filling at a time.

    onProgress: called with a sentence and a fraction, or None while it is not known. onEnd: called once a run, with
    its FillRun and the Result, or with the FillRun and the CSAMError that ended it.
    """

    def __init__(self, onProgress, onEnd):
        self._onProgress, self._onEnd = onProgress, onEnd
        self._logic = self._status = self._job = None
        self.run = None  # the FillRun that is under way
        self._leaving: list = []  # cancelled jobs: the client's threads live on being asked
        self._timer = make_timer(POLL_INTERVAL, self._poll)

    @property
    def isRunning(self) -> bool:
        """Whether a run is under way, or waits for the worker to start."""
        return self.run is not None

    def start(self, run) -> None:
        """Begin a FillRun and return at once; one that is under way is given up without a word."""
        self.stop()
        self.run, self._logic, self._status = run, shared_logic(), None
        self._onProgress(fill_texts.STARTING, None)
        self._timer.start()

    def cancel(self) -> None:
        """End the run as cancelled, at once; the worker stops within a second."""
        if self.run is not None:
            self._end(Cancelled())

    def stop(self) -> None:
        """Give the run up without a word."""
        job, self._job, self.run = self._job, None, None
        if job is not None:
            self._logic.client.cancel(job)
            self._leaving.append(job)

    def close(self) -> None:
        self.stop()
        self._timer.stop()

    def _poll(self) -> None:
        for job in self._leaving:
            job.poll()
        self._leaving = [job for job in self._leaving if not job.done]
        if self.run is None:
            if not self._leaving:
                self._timer.stop()
        elif self._job is None:
            self._ask()
        else:
            self._listen(self._job)

    def _ask(self) -> None:
        """Ask the worker what it has, once those before have left it: it may have to be ended for that."""
        if self._leaving:
            return
        if self._status is None:
            self._status = WorkerStatus(self._logic)
            self._status.ask()
        self._status.poll()
        if not self._status.pending:
            self._go()

    def _go(self) -> None:
        """The worker has said what it has, or that it cannot be started."""
        try:
            self._check()
            if self.run is not None and self._status.has_torch:
                self._onProgress(fill_texts.SENDING, 0.0)
                self._job = self._logic.client.submit(*self.run.request())
        except CSAMError as error:
            self._end(error)
        except Exception as error:
            logging.exception("A filling could not be started")
            self._end(CSAMError(f"The filling could not be started: {error}. The log has more."))

    def _check(self) -> None:
        """Raise what keeps the worker from filling; the next run starts it anew."""
        try:
            if self._status.error is not None:
                raise self._status.error
            if not self._status.has_torch:
                self._install_torch()
        except CSAMError:
            self._logic.close(wait=False)
            raise

    def _listen(self, job) -> None:
        for event in job.poll():
            if isinstance(event, Progress):
                left = texts.seconds(event.seconds_left)
                said = _("{stage}, {time} left").format(stage=event.stage, time=left) if left else event.stage
                self._onProgress(said, event.fraction)
            else:
                self._end(event if isinstance(event, (Result, CSAMError)) else WorkerError(NO_RESULT))

    def _end(self, outcome) -> None:
        run = self.run
        if isinstance(outcome, Cancelled):
            self.stop()
        self.run = self._job = None
        self._onEnd(run, outcome)

    def _install_torch(self) -> None:
        """Install torch where that is possible and the user agrees, and ask the worker anew; else raise what to do."""
        status = self._status
        if not (status.installable and runs_in_slicer()) or slicer.app.testingEnabled():
            raise WorkerError(status.hello.get("reason") or torch_install.NO_EXTENSION)
        extension = torch_install.extension_logic()
        obstacle = torch_install.obstacle() or (torch_install.NO_EXTENSION if extension is None else "")
        if obstacle:
            raise WorkerError(obstacle)
        self._timer.stop()  # the dialog lets Qt work
        try:
            if not slicer.util.confirmOkCancelDisplay(torch_install.CONSENT, _("Install PyTorch")):
                raise Cancelled()
            if self.run is None:  # cancelled meanwhile
                return
            self._onProgress(_("Installing PyTorch. This takes some minutes."), None)
            self._logic.close(wait=True)  # it may hold the files of a torch that is too old
            slicer.app.processEvents()
            torch_install.install_torch(extension)
            status.forget()
            status.ask()
        finally:
            self._timer.start()
