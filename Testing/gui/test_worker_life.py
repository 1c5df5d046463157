"""The worker starts when the module is entered, stays warm, and ends when it is not needed any more."""

import ctypes
import sys

import pytest
import slicer
from gui.panel_kit import FAKE_WORKER
from gui.test_faults import alive


def process(user) -> int:
    return user.panel.logic.client.process_id


def test_nothing_starts_before_the_module_is_entered(user):
    user.loads()
    assert not hasattr(slicer.modules, "CSAMSegmentWidget")
    widget = slicer.modules.csamsegment.widgetRepresentation().self()
    user.looks()
    assert widget.logic._client is None


def test_entering_starts_the_worker_and_the_second_run_finds_it_warm(user):
    user.loads()
    user.opens()
    first = process(user)
    assert alive(first)
    user.applies()
    user.applies()
    assert process(user) == first


def test_leaving_the_module_keeps_worker_and_run(user):
    user.loads()
    user.opens()
    first = process(user)
    user.makes_the_worker("quick")
    user.ui.applyButton.click()
    user.host.open_module("Data")
    user.ends()
    assert process(user) == first
    assert user.parameters.segmentation is not None


def test_closing_the_scene_ends_the_worker_and_entering_starts_another(user):
    user.loads()
    user.opens()
    first = process(user)
    slicer.mrmlScene.Clear(0)
    user.until(lambda: not alive(first), "the worker's end")
    user.host.open_module("Data")
    user.opens()
    assert alive(process(user))
    assert process(user) != first


def test_the_application_ends_the_worker(user):
    user.loads()
    user.opens().starts("deaf")
    first = process(user)
    slicer.modules.csamsegment._close()
    assert not alive(first)


def test_reloading_the_module_ends_the_worker_and_gives_a_working_panel(user):
    user.loads()
    user.opens().applies()
    first = process(user)
    slicer.util.reloadScriptedModule("CSAMSegment")
    user.widget = slicer.util.getModuleWidget("CSAMSegment")
    user.until(lambda: not alive(first), "the worker's end")
    user.until(lambda: user.panel.worker.status.hello is not None, "the new worker's hello")
    user.looks()
    assert user.ui.sliceTable.rowCount == 6
    user.applies()
    assert process(user) != first


def test_restart_ends_a_run_and_gives_another_worker(user):
    user.loads()
    user.opens().starts("slow")
    first = process(user)
    user.ui.restartWorkerButton.click()
    user.looks()
    assert user.ui.stageLabel.text == "Cancelled. The scene is as it was."
    user.until(lambda: not alive(first), "the worker's end")
    user.until(lambda: user.panel.worker.status.hello is not None)
    user.applies()
    assert user.ui.sliceTable.rowCount == 6


def test_another_worker_command_is_kept_in_the_settings_and_used_at_once(user, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/nowhere/python")
    user.loads()
    user.opens(ready=False)
    user.until(lambda: user.panel.worker.status.error is not None)
    assert user.ui.workerCommandLineEdit.text == ""
    user.ui.workerCommandLineEdit.text = f'"{sys.executable}" "{FAKE_WORKER}" "{user.folder}"'
    user.ui.workerCommandLineEdit.editingFinished.emit()
    user.until(lambda: user.panel.worker.status.hello is not None)
    assert slicer.app.userSettings().value("CSAMSegment/WorkerCommand").startswith('"')
    user.applies()
    assert user.ui.sliceTable.rowCount == 6


def test_apply_right_after_opening_waits_for_the_worker(user):
    user.loads()
    user.opens(ready=False)
    assert user.panel.worker.status.hello is None
    user.applies()
    assert user.ui.sliceTable.rowCount == 6


def test_a_cancel_while_the_worker_starts_starts_nothing(user):
    user.loads()
    user.opens(ready=False)
    user.ui.applyButton.click()
    user.ui.cancelButton.click()
    assert not user.panel.isRunning
    user.until(lambda: user.panel.worker.status.hello is not None)
    user.looks()
    assert user.panel.logic.run is None


def test_the_button_reload_reads_the_library_anew_too(user, monkeypatch):
    user.opens()
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    old = sys.modules["CSAMSegmentLib.widgets.panel"]
    sys.modules["CSAMSegmentLib.logic.about"].forget_library()
    assert not [name for name in sys.modules if name.partition(".")[0] in ("CSAMSegmentLib", "csam")]
    assert "slicer" in sys.modules
    assert old.Panel is type(user.panel)


@pytest.mark.skipif(sys.platform == "win32", reason="usleep is POSIX's")
def test_a_result_arrives_although_the_application_holds_pythons_lock_while_it_waits(user):
    user.loads(size=256, slices=12, spacing=(1.25, 1.25, 8.0))
    user.opens()
    user.makes_the_worker("quick")
    user.ui.applyButton.click()
    user.panel.runner._timer.stop()
    hold = ctypes.PyDLL(None).usleep  # unlike CDLL, it keeps the lock: as Qt's event loop does in Slicer
    for _tick in range(60):  # of 40 ms; 10 MB in pieces of 64 kB, one a tick, would take 150
        hold(40_000)
        user.panel.runner._poll()
        if not user.panel.isRunning:
            break
    assert user.ui.stageLabel.text == "Done."
