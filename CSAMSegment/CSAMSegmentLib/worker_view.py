"""Where the network runs: the line below Apply, and the worker's part of Advanced."""

from __future__ import annotations

import os

from csam.errors import WorkerError

from . import words
from .i18n import tr as _
from .launcher import COMMAND_SETTING, COMMAND_VARIABLE, application, find_worker, read_setting
from .worker_status import WorkerStatus

SPEED_SETTING = "CSAMSegment/SecondsPerSlice/"
"""For each device: seconds that the last run took for one slice of one sample."""


class WorkerView:
    """Starts the worker, says what it runs on, and lets a person choose another device or another worker.

    onRestart: called before the worker is ended on request.
    """

    def __init__(self, ui, logic, onRestart):
        self._ui, self._logic, self._onRestart = ui, logic, onRestart
        self._parameters = None
        self.status = WorkerStatus(logic)
        ui.deviceComboBox.connect("activated(int)", self._onDeviceChosen)
        ui.workerCommandLineEdit.text = read_setting(COMMAND_SETTING)
        ui.workerCommandLineEdit.placeholderText = _default_command() or ui.workerCommandLineEdit.placeholderText
        ui.workerCommandLineEdit.editingFinished.connect(self._onCommand)
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

    def poll(self) -> bool:
        """Whether the worker has answered just now."""
        changed = self.status.poll()
        if changed:
            self.refresh()
        return changed

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
        elif not status.hasTorch:
            text = _("PyTorch is not installed yet. Apply offers to install it.")
            if not self.runsInSlicer():
                text = status.hello.get("reason") or text
        else:
            text = words.device(self.device()) + self._estimate()
        self._ui.deviceLabel.text = text
        if self._ui.logButton.checked:
            self._showLog()

    def device(self) -> dict:
        """The device that the next run will use, as in the worker's hello."""
        devices = (self.status.hello or {}).get("devices") or [{"id": "cpu"}]
        wanted = self._parameters.device if self._parameters is not None else "auto"
        return next((device for device in devices if device["id"] == wanted), devices[0])

    def runsInSlicer(self) -> bool:
        """Whether the worker is Slicer's own Python, into which torch may be installed."""
        try:
            return find_worker().source not in (COMMAND_SETTING, COMMAND_VARIABLE)
        except WorkerError:
            return False

    def _estimate(self) -> str:
        if self._parameters is None or self._parameters.inputVolume is None:
            return ""
        data = self._parameters.inputVolume.GetImageData()
        speed = read_setting(SPEED_SETTING + self.device()["id"])
        if data is None or not speed:
            return ""
        slices = min(data.GetDimensions())
        return _(": about {time}").format(time=words.seconds(float(speed) * slices * self._parameters.samples))

    def remember(self, seconds: float, slices: int, samples: int) -> None:
        """Learn from a run how long the next one will take."""
        if application() is not None and slices and samples:
            application().userSettings().setValue(
                SPEED_SETTING + self.device()["id"], f"{seconds / slices / samples:.4g}"
            )
            self.refresh()

    def _fillDevices(self) -> None:
        selector = self._ui.deviceComboBox
        wanted = self._parameters.device if self._parameters is not None else "auto"
        entries = [("auto", _("Automatic"))]
        entries += [(device["id"], words.device(device)) for device in (self.status.hello or {}).get("devices") or []]
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

    def _onLog(self, visible: bool) -> None:
        self._ui.logTextEdit.setVisible(visible)
        if visible:
            self._showLog()

    def _showLog(self) -> None:
        there = self.status.pending or self.status.hello is not None
        lines = getattr(self._logic.client, "log_lines", list)() if there else []
        self._ui.logTextEdit.setPlainText("\n".join(lines) or _("The worker has written nothing."))


def _default_command() -> str:
    """The command that the environment gives, empty when it gives none."""
    return os.environ.get(COMMAND_VARIABLE, "").strip()
