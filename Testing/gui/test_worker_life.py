"""The worker starts when the module is entered, stays warm, and ends when it is not needed any more."""

import ctypes
import sys

import pytest
import slicer
from gui.panel_kit import FAKE_WORKER
from gui.test_faults import alive


def process(person) -> int:
    return person.panel.logic.client.process_id


def test_nothing_starts_before_the_module_is_entered(person):
    person.loads()
    assert not hasattr(slicer.modules, "CSAMSegmentWidget")
    widget = slicer.modules.csamsegment.widgetRepresentation().self()
    person.looks()
    assert widget.logic._client is None


def test_entering_starts_the_worker_and_the_second_run_finds_it_warm(person):
    person.loads()
    person.opens()
    first = process(person)
    assert alive(first)
    person.applies()
    person.applies()
    assert process(person) == first


def test_leaving_the_module_keeps_worker_and_run(person):
    person.loads()
    person.opens()
    first = process(person)
    person.makes_the_worker("quick")
    person.ui.applyButton.click()
    person.host.open_module("Data")
    person.ends()
    assert process(person) == first
    assert person.parameters.segmentation is not None


def test_closing_the_scene_ends_the_worker_and_entering_starts_another(person):
    person.loads()
    person.opens()
    first = process(person)
    slicer.mrmlScene.Clear(0)
    person.until(lambda: not alive(first), "the worker's end")
    person.host.open_module("Data")
    person.opens()
    assert alive(process(person))
    assert process(person) != first


def test_the_application_ends_the_worker(person):
    person.loads()
    person.opens().starts("deaf")
    first = process(person)
    slicer.modules.csamsegment._close()
    assert not alive(first)


def test_reloading_the_module_ends_the_worker_and_gives_a_working_panel(person):
    person.loads()
    person.opens().applies()
    first = process(person)
    slicer.util.reloadScriptedModule("CSAMSegment")
    person.widget = slicer.util.getModuleWidget("CSAMSegment")
    person.until(lambda: not alive(first), "the worker's end")
    person.until(lambda: person.panel.worker.status.hello is not None, "the new worker's hello")
    person.looks()
    assert person.ui.sliceTable.rowCount == 6
    person.applies()
    assert process(person) != first


def test_restart_ends_a_run_and_gives_another_worker(person):
    person.loads()
    person.opens().starts("slow")
    first = process(person)
    person.ui.restartWorkerButton.click()
    person.looks()
    assert person.ui.stageLabel.text == "Cancelled. The scene is as it was."
    person.until(lambda: not alive(first), "the worker's end")
    person.until(lambda: person.panel.worker.status.hello is not None)
    person.applies()
    assert person.ui.sliceTable.rowCount == 6


def test_another_worker_command_is_kept_in_the_settings_and_used_at_once(person, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/nowhere/python")
    person.loads()
    person.opens(ready=False)
    person.until(lambda: person.panel.worker.status.error is not None)
    assert person.ui.workerCommandLineEdit.text == ""
    person.ui.workerCommandLineEdit.text = f'"{sys.executable}" "{FAKE_WORKER}" "{person.folder}"'
    person.ui.workerCommandLineEdit.editingFinished.emit()
    person.until(lambda: person.panel.worker.status.hello is not None)
    assert slicer.app.userSettings().value("CSAMSegment/WorkerCommand").startswith('"')
    person.applies()
    assert person.ui.sliceTable.rowCount == 6


def test_apply_right_after_opening_waits_for_the_worker(person):
    person.loads()
    person.opens(ready=False)
    assert person.panel.worker.status.hello is None
    person.applies()
    assert person.ui.sliceTable.rowCount == 6


def test_a_cancel_while_the_worker_starts_starts_nothing(person):
    person.loads()
    person.opens(ready=False)
    person.ui.applyButton.click()
    person.ui.cancelButton.click()
    assert not person.panel.isRunning
    person.until(lambda: person.panel.worker.status.hello is not None)
    person.looks()
    assert person.panel.logic.run is None


def test_the_button_reload_reads_the_library_anew_too(person, monkeypatch):
    person.opens()
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    old = sys.modules["CSAMSegmentLib.widgets.panel"]
    sys.modules["CSAMSegmentLib.logic.about"].forget_library()
    assert not [name for name in sys.modules if name.partition(".")[0] in ("CSAMSegmentLib", "csam")]
    assert "slicer" in sys.modules
    assert old.Panel is type(person.panel)


@pytest.mark.skipif(sys.platform == "win32", reason="usleep is POSIX's")
def test_a_result_arrives_although_the_application_holds_pythons_lock_while_it_waits(person):
    person.loads(size=256, slices=12, spacing=(1.25, 1.25, 8.0))
    person.opens()
    person.makes_the_worker("quick")
    person.ui.applyButton.click()
    person.panel.runner._timer.stop()
    hold = ctypes.PyDLL(None).usleep  # unlike CDLL, it keeps the lock: as Qt's event loop does in Slicer
    for _tick in range(60):  # of 40 ms; 10 MB in pieces of 64 kB, one a tick, would take 150
        hold(40_000)
        person.panel.runner._poll()
        if not person.panel.isRunning:
            break
    assert person.ui.stageLabel.text == "Done."
