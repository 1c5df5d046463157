"""Where the network runs: the line below Apply, and the worker's part of Advanced."""

from __future__ import annotations

import os

from csam.errors import CSAMError
from csam.pipeline.run_time import work

from ..logic import texts
from ..logic.texts import tr as _
from ..logic.torch_install import obstacle
from ..logic.training_launcher import TRAINING_SETTING
from ..logic.volume_geometry import raster_from_volume, region_from_roi
from ..logic.worker_launcher import COMMAND_SETTING, COMMAND_VARIABLE, application, read_setting, runs_in_slicer
from ..logic.worker_status import WorkerStatus

SPEED_SETTING = "CSAMSegment/Seconds/{model}/{device}/{samples}{augmented}"
"""Seconds that the last run with so many samples took for one unit of ``csam.pipeline.run_time.work``."""


def _setting(model, device: str, samples: int, augmented: bool) -> str:
    return SPEED_SETTING.format(
        model=model.name, device=device, samples=samples, augmented="/augmented" if augmented else ""
    )


class WorkerView:
    """Starts the worker, says what it runs on, and lets a user choose another device or another worker.

    input: that part of the panel. onRestart: called before the worker is ended on request.
    """

    def __init__(self, ui, logic, input, onRestart):
        self._ui, self._logic, self._input, self._onRestart = ui, logic, input, onRestart
        self._parameters = None
        self.status = WorkerStatus(logic)
        ui.deviceComboBox.connect("activated(int)", self._onDeviceChosen)
        ui.workerCommandLineEdit.text = read_setting(COMMAND_SETTING)
        ui.workerCommandLineEdit.placeholderText = _default_command() or ui.workerCommandLineEdit.placeholderText
        ui.workerCommandLineEdit.editingFinished.connect(self._onCommand)
        ui.trainingCommandLineEdit.text = read_setting(TRAINING_SETTING)
        ui.trainingCommandLineEdit.editingFinished.connect(self._onTrainingCommand)
        ui.restartWorkerButton.clicked.connect(self.restart)
        ui.logButton.toggled.connect(self._onLog)
        ui.logTextEdit.setVisible(False)
        self.refresh()

    def setParameters(self, parameters) -> None:
        self._parameters = parameters
        self.refresh()

    def start(self) -> None:
        """Start the worker unless it runs; returns at once."""
        self.status.ask()
        self.refresh()

    def stop(self, wait: bool = False) -> None:
        """End the worker."""
        self._logic.close(wait)
        self.status.forget()
        self.refresh()

    def poll(self) -> None:
        """Look for the worker's answers."""
        if self.status.poll():
            self.refresh()

    def restart(self, *_arguments) -> None:
        """End the worker and start a new one."""
        self._onRestart()
        self.stop()
        self.start()

    # What is shown ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show what is known of the worker."""
        self._fillDevices()
        status = self.status
        if status.pending:
            text = _("Starting the worker…")
        elif status.error is not None:
            text = str(status.error)
        elif status.hello is None:
            text = _("The worker starts with the next run.")
        elif not status.has_torch:
            text = status.hello.get("reason") or ""
            if self.runsInSlicer() and status.installable:
                text = obstacle() or _("PyTorch 2.4 or newer is not installed yet. Press Apply to install it.")
        elif self._wanted() not in ("auto", *(device["id"] for device in status.hello.get("devices") or ())):
            text = texts.no_device(self._wanted(), self._unusable())
        else:
            text = texts.device(self.device()) + self._estimate() + self._gpuMissed()
        self._ui.deviceLabel.text = text
        if self._ui.logButton.checked:
            self._showLog()

    def device(self) -> dict:
        """The device that the next run will use, as in the worker's hello."""
        devices = (self.status.hello or {}).get("devices") or [{"id": "cpu"}]
        if self._wanted() == "auto" and self._logic.deviceLost:
            return devices[-1]  # the CPU
        return next((device for device in devices if device["id"] == self._wanted()), devices[0])

    def _unusable(self) -> list[dict]:
        """The GPUs that are there but cannot be used; an older worker names none."""
        return (self.status.hello or {}).get("unusable") or []

    def _gpuMissed(self) -> str:
        """Why the next run will not be on a GPU that is there; empty where it will, and where the CPU was chosen."""
        if self._wanted() != "auto" or self.device()["id"] != "cpu":
            return ""
        if self._logic.deviceLost:
            return _(". The GPU failed twice and is not used until the worker is restarted: {reason}").format(
                reason=self._logic.deviceLost
            )
        return "".join(
            _(". {name} cannot be used: {reason}").format(name=device["name"], reason=device["reason"])
            for device in self._unusable()
        )

    def _wanted(self) -> str:
        """The chosen device, whether it is here or not."""
        return self._parameters.device if self._parameters is not None else "auto"

    def runsInSlicer(self) -> bool:
        """Whether the worker is Slicer's own Python, into which torch may be installed."""
        return runs_in_slicer()

    def _estimate(self) -> str:
        """How long a run of what is chosen will take: from the last such run of the model, else its measured speed."""
        parameters, model, run = self._parameters, self._input.model, self._logic.run
        running = run is not None and not run.finished  # its own progress says more
        if running or parameters is None or self._input.problem():
            return ""
        device, samples, augmented = self.device()["id"], parameters.samples, parameters.testTimeAugmentation
        learnt = read_setting(_setting(model, device, samples, augmented))
        speed = self.status.speeds.get((str(self._input.modelPath), device))
        if speed is None and not learnt:
            self.status.ask_speed(str(self._input.modelPath), device)
            return ""
        try:
            volume, region = parameters.inputVolume, parameters.region
            region = region_from_roi(region, volume) if region is not None else None
            size = work(raster_from_volume(volume), model, parameters.sliceAxis.value, region, augmented)
            browser = self._input.browser
            size *= browser.GetNumberOfItems() if browser is not None else 1
            seconds = size * float(learnt) if learnt else speed.seconds(size, samples, augmented)
        except CSAMError:  # the fit check says it
            return ""
        return _(": about {time}").format(time=texts.seconds(seconds))

    def hear(self, run) -> None:
        """Where a run was on another device than was thought, ask the worker anew what it has."""
        result = run.output.result
        if result is not None and result.provenance.get("device") not in (None, self.device()["id"]):
            self.status.ask_again()
            self.refresh()

    def remember(self, run) -> None:
        """Learn from a run how long the next one will take."""
        provenance = run.output.result.provenance
        options, seconds = provenance.get("options", {}), provenance.get("seconds")
        samples, augmented = options.get("samples"), bool(options.get("test_time_augmentation"))
        if application() is None or not seconds or not samples:
            return
        device = provenance.get("device") or self.device()["id"]  # the one that did the work
        name = _setting(run.model, device, samples, augmented)
        axis, region = options.get("slice_axis", "auto"), options.get("region")
        try:
            size = work(raster_from_volume(run.volumes[0]), run.model, axis, region, augmented)
        except CSAMError:  # the volume was moved during the run
            return
        application().userSettings().setValue(name, f"{float(seconds) / size:.4g}")
        self.refresh()

    def _fillDevices(self) -> None:
        selector, wanted = self._ui.deviceComboBox, self._wanted()
        entries = [("auto", _("Automatic"))]
        entries += [(device["id"], texts.device(device)) for device in (self.status.hello or {}).get("devices") or []]
        if wanted not in [name for name, _text in entries]:
            entries.append((wanted, wanted))
        selector.blockSignals(True)
        if [(selector.itemData(index), selector.itemText(index)) for index in range(selector.count)] != entries:
            selector.clear()
            for name, text in entries:
                selector.addItem(text, name)
        selector.currentIndex = [name for name, _text in entries].index(wanted)
        selector.blockSignals(False)

    def _onDeviceChosen(self, index: int) -> None:
        if self._parameters is not None:
            self._parameters.device = self._ui.deviceComboBox.itemData(index)

    def _onCommand(self) -> None:
        command = self._ui.workerCommandLineEdit.text.strip()
        if command != read_setting(COMMAND_SETTING).strip():
            application().userSettings().setValue(COMMAND_SETTING, command)
            self.restart()

    def _onTrainingCommand(self) -> None:
        application().userSettings().setValue(TRAINING_SETTING, self._ui.trainingCommandLineEdit.text.strip())

    def _onLog(self, visible: bool) -> None:
        self._ui.logTextEdit.setVisible(visible)
        if visible:
            self._showLog()

    def _showLog(self) -> None:
        there = self.status.pending or self.status.hello is not None
        lines = self._logic.client.log_lines() if there else []
        self._ui.logTextEdit.setPlainText("\n".join(lines) or _("The worker has written nothing."))


def _default_command() -> str:
    """The command that the environment gives, empty when it gives none."""
    return os.environ.get(COMMAND_VARIABLE, "").strip()
