"""torch comes through the PyTorch extension, on Apply, after consent, or not at all."""

import sys
import types

import pytest
import qt
import slicer

from csam.errors import WorkerError
from CSAMSegmentLib.logic import torch_install, worker_launcher


class Extension:
    """The logic of the PyTorch extension; what it was called with is kept."""

    def __init__(self, user, error=None):
        self.user, self.error, self.calls = user, error, []

    def installTorch(
        self,
        askConfirmation=False,
        forceComputationBackend=None,
        torchVersionRequirement=None,
        torchvisionVersionRequirement=None,
    ):
        self.calls.append((askConfirmation, forceComputationBackend, torchVersionRequirement))
        if self.error is not None:
            raise self.error
        self.user.makes_the_worker("quick")
        return types.ModuleType("torch")


@pytest.fixture
def bare(user, monkeypatch):
    """A user whose Slicer has no torch: the worker is Slicer's own Python."""
    user.loads()
    user.makes_the_worker("no-torch")
    found = worker_launcher.find_command

    monkeypatch.setattr(worker_launcher, "find_command", lambda environment: (found(environment)[0], "Slicer's Python"))
    user.opens()
    return user


@pytest.fixture
def extension(bare, monkeypatch):
    made = Extension(bare)
    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = lambda: made
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return made


def test_apply_asks_installs_and_goes_on(bare, extension):
    assert bare.ui.deviceLabel.text == "PyTorch 2.4 or newer is not installed yet. Press Apply to install it."
    bare.host.dialogs.answer(qt.QMessageBox.Ok)
    bare.ui.applyButton.click()
    bare.ends()
    [question] = bare.host.dialogs.take()
    assert "3 GB" in question.text
    assert "No image is sent" in question.text
    assert extension.calls == [(False, None, ">=2.4")]
    assert bare.ui.sliceTable.rowCount == 6


def test_without_consent_nothing_is_installed(bare, extension):
    bare.host.dialogs.answer(qt.QMessageBox.Cancel)
    bare.ui.applyButton.click()
    bare.ends()
    bare.host.dialogs.take()
    assert extension.calls == []
    assert bare.ui.applyButton.enabled


def test_without_the_extension_the_way_to_it_is_told(bare, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    bare.ui.applyButton.click()
    bare.ends()
    assert bare.is_told() == torch_install.NO_EXTENSION
    assert "Extensions Manager" in torch_install.NO_EXTENSION


def test_offline_the_file_to_bring_is_named(bare, extension):
    extension.error = RuntimeError("pip: Could not find a version that satisfies the requirement torch")
    bare.host.dialogs.answer(qt.QMessageBox.Ok)
    bare.ui.applyButton.click()
    bare.ends()
    _question, shown = bare.host.dialogs.take()
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert "Could not find a version" in shown.text
    assert f"torch-2.x-{python}-{python}-" in shown.text
    assert "--no-index" in shown.text
    assert bare.ui.applyButton.enabled


def test_an_older_extension_gets_only_the_arguments_that_it_has():
    class Older:
        def installTorch(self, askConfirmation=False):
            self.asked = askConfirmation
            return object()

    older = Older()
    torch_install.install_torch(older)
    assert older.asked is False


def test_an_extension_that_gives_up_is_an_error():
    class GivesUp:
        def installTorch(self, **_arguments):
            return None

    with pytest.raises(WorkerError, match="did not complete"):
        torch_install.install_torch(GivesUp())


def test_under_testing_nothing_is_installed_and_the_reason_is_told(bare, extension, monkeypatch):
    told = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_more: told.append(text))
    slicer.app._testing = True
    bare.ui.applyButton.click()
    bare.ends()
    assert extension.calls == []
    assert told == ["PyTorch is not installed for the Python that runs the worker."]


def test_a_torch_that_is_damaged_is_not_offered_again(bare, extension):
    bare.makes_the_worker("damaged-torch")
    bare.ui.restartWorkerButton.click()
    bare.until(lambda: not bare.panel.worker.status.pending)
    bare.looks()
    assert bare.ui.deviceLabel.text == "PyTorch is installed, but cannot be imported. Uninstall it."
    bare.ui.applyButton.click()
    bare.ends()
    assert bare.is_told() == "PyTorch is installed, but cannot be imported. Uninstall it."
    assert extension.calls == []


def test_on_an_intel_slicer_on_macos_nothing_is_tried(bare, extension, monkeypatch):
    monkeypatch.setattr(torch_install, "sys", types.SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(torch_install, "platform", types.SimpleNamespace(machine=lambda: "x86_64"))
    bare.panel.worker.refresh()
    assert bare.ui.deviceLabel.text == torch_install.NO_WHEEL
    bare.ui.applyButton.click()
    bare.ends()
    assert "does not exist for Intel builds of Slicer on macOS" in bare.is_told()
    assert extension.calls == []
