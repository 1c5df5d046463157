"""A user in front of the panel: an image, a model, a worker that needs no torch, and hands for the buttons."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "CSAMSegment"
FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
SEGMENT = "CSAMSegment_tiny_1"
MAPS = ("error_probability", "entropy", "mutual_information")


def make_model(name: str, channels=("cine",), labels=("Left ventricle cavity",), title: str = "", **more):
    """A model whose description is whole and whose weights nobody reads."""
    from csam.image.intensity import Intensity
    from csam.model import Channel, Label, Model, TrainedOn, Weights

    data = b"not read by the fake worker"
    return Model(
        name=name,
        version="1.0.0",
        title=title or name,
        about="Made for tests.",
        architecture={
            "network": "CSAMUNet", "input_channels": len(channels), "num_classes": len(labels) + 1, "num_levels": 3,
            "base_channels": 8, "num_slices": 12, "semantic": True, "positional": True, "slice": True,
            "uncertainty": True, "rank": 5,
        },
        channels=tuple(Channel(channel, "MR") for channel in channels),
        labels=tuple(Label(value, label, (200, 40, 40)) for value, label in enumerate(labels, 1)),
        in_plane_spacing=2.0,
        field_of_view=(64, 64),
        slice_axis="auto",
        intensity=Intensity("volume"),
        trained_on=TrainedOn((8.0, 8.0), (1.0, 5.0), (4, 12), 20),
        licence="CC0",
        sha256=hashlib.sha256(data).hexdigest(),
        weights=Weights(data=data),
        **more,
    )  # fmt: skip


def browser_of(sequence):
    """A browser that shows the second image of a sequence; it, and the proxy volume."""
    import slicer

    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser, browser.GetProxyNode(sequence)


class User:
    """Works with the panel as a user does, and knows what a user sees."""

    def __init__(self, host, folder: Path):
        self.host, self.folder = host, folder
        self.module = host.load_module(MODULE / "CSAMSegment.py")
        self.volume = self.widget = None

    def loads(self, name: str = "cine", **arguments):
        """Loads a small stack of the phantom."""
        from CSAMSegmentLib.logic.sample_data import make_phantom_nodes

        volume, _labels = make_phantom_nodes(**{"slices": 6, "size": 64, "spacing": (4.0, 4.0, 8.0), **arguments})
        volume.SetName(name)
        self.volume = self.volume or volume
        return volume

    def opens(self, ready: bool = True):
        """Opens the module, and waits for its worker."""
        self.widget = self.host.open_module("CSAMSegment")
        if ready:
            self.until(lambda: self.panel.worker.status.hello is not None, "the worker's hello")
        self.looks()
        return self

    def makes_the_worker(self, mode: str) -> None:
        """From the next request on; see fake_worker.py."""
        (self.folder / "mode").write_text(mode)

    @property
    def panel(self):
        return self.widget.panel

    @property
    def ui(self):
        return self.widget.ui

    @property
    def parameters(self):
        return self.panel.parameters

    @property
    def nodes(self) -> dict:
        """The nodes of the result, by role."""
        result = self.panel._find()
        return result.nodes if result else {}

    def looks(self, seconds: float = 0.05) -> None:
        """Lets the application settle: what follows a change is done, however slow the computer."""
        self.host.process_events(seconds)
        panel = getattr(self.widget, "panel", None)
        if panel is not None:
            worker = panel.worker.status
            timers = (
                panel._refreshTimer,
                panel._overlayTimer,
                panel._workerTimer,
                panel.input._timer,
                panel.overlay._fitTimer,
                panel.teach._timer,
            )
            self.until(
                lambda: (
                    not (
                        panel.edits.busy
                        or panel.batch.busy
                        or worker.measuring
                        or any(timer.isActive() for timer in timers)
                    )
                ),
                "the end of what follows a change",
            )
        self.host.process_events()

    def until(self, condition, what: str = "", seconds: float = 30.0) -> None:
        self.host.wait_until(condition, seconds, what)

    def applies(self, mode: str = "quick") -> None:
        """Presses Apply and waits for the end."""
        self.makes_the_worker(mode)
        self.ui.applyButton.click()
        self.until(lambda: not self.panel.isRunning, "the end of the run")
        self.looks()

    def starts(self, mode: str = "slow") -> None:
        """Presses Apply and waits until the worker is at it."""
        self.makes_the_worker(mode)
        self.ui.applyButton.click()
        self.until(lambda: self.panel.isRunning and "Sample" in self.ui.stageLabel.text, "progress")

    def ends(self) -> None:
        """Waits for the end of the run, whatever it is."""
        self.until(lambda: not self.panel.isRunning, "the end of the run")
        self.looks()

    def cancels(self) -> None:
        """Presses Cancel and waits until the run has ended."""
        self.ui.cancelButton.click()
        self.until(lambda: not self.panel.isRunning, "the end of the cancelled run")

    def voxels(self):
        """The first structure's as it stands in the segmentation, on the image's grid."""
        import slicer

        return slicer.util.arrayFromSegmentBinaryLabelmap(self.parameters.segmentation, SEGMENT, self.volume)

    def paints(self, slices: int = 1):
        """Fills whole slices of it, as with the Segment Editor; its voxels then."""
        import slicer

        changed = self.voxels().copy()
        changed[:slices] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(changed, self.parameters.segmentation, SEGMENT, self.volume)
        return changed

    def sees(self, name: str) -> None:
        """A picture of the panel, 400 pixels wide; nothing in it may be clipped."""
        self.host.screenshot(self.widget.parent, name, width=400)
        found = self.host.clipped(self.widget.parent)
        assert found == [], found

    def is_told(self) -> str:
        """The one dialog that was shown."""
        [shown] = self.host.dialogs.take()
        return shown.text


@pytest.fixture
def user(host, tmp_path, monkeypatch):
    """A user with a worker of their own and two models; nothing is open yet."""
    import CSAMSegmentLib.logic.model_library

    models = tmp_path / "shipped"
    make_model("tiny", title="Tiny heart").save(models / "tiny")
    make_model("two", ("T2", "ADC"), ("Transition zone", "Peripheral zone"), "Two channels").save(models / "two")
    monkeypatch.setattr(CSAMSegmentLib.logic.model_library, "SHIPPED", models)
    command = [sys.executable, str(FAKE_WORKER), str(tmp_path)]
    monkeypatch.setenv("CSAM_WORKER_COMMAND", shlex.join(command))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(MODULE), os.environ.get("PYTHONPATH")])))
    return User(host, tmp_path)
