"""Drives the panel in a running Slicer as a person would, with a picture of every state.

    CSAM_WORKER_COMMAND=/path/to/a/python/with/torch Slicer --no-splash \\
        --additional-module-paths CSAMSegment --python-script Testing/slicer/drive_panel.py out/slicer

Prints a line for each step and ends Slicer with exit code 0 when all of them went well. Testing/gui runs the same steps
on the test host.
"""

import os
import signal
import sys
import time
import traceback
from pathlib import Path

import slicer


class Driver:
    """The steps, in order. folder: where the pictures and the saved scene go."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pictures = 0

    def run(self) -> None:
        import SampleData

        SampleData.downloadSample("CSAM cardiac phantom")
        slicer.util.selectModule("CSAMSegment")
        self.until(lambda: self.panel.worker.status.hello or self.panel.worker.status.error, "the worker's hello", 120)
        assert self.panel.worker.status.hello, self.panel.worker.status.error
        self.step("ready: " + self.ui.deviceLabel.text)
        self.apply()
        self.step("result: " + self.ui.qualityLabel.text)
        self.review()
        self.cancel()
        self.kill()
        self.save_and_load()
        self.edit()

    def apply(self) -> None:
        self.ui.applyButton.click()
        self.until(lambda: self.ui.progressBar.value > 0 or not self.panel.isRunning, "progress", 120)
        self.step("running: " + self.ui.stageLabel.text)
        self.until(lambda: not self.panel.isRunning, "the result", 600)
        self.settle()
        assert self.ui.sliceTable.rowCount == 12, self.ui.stageLabel.text

    def review(self) -> None:
        self.ui.nextButton.click()
        self.step("the most uncertain slice: " + self.ui.sliceTable.item(0, 1).text())
        self.ui.reviewedButton.click()
        self.step("reviewed: " + self.ui.reviewedLabel.text)
        self.ui.overlayKindComboBox.currentIndex = 1
        self.step("entropy")
        self.ui.overlayKindComboBox.currentIndex = 0
        self.settle()

    def cancel(self) -> None:
        before = self.nodes()
        usual, self.ui.samplesSlider.value = self.ui.samplesSlider.value, 200
        self.ui.applyButton.click()
        self.until(lambda: self.ui.progressBar.value > 0, "progress", 120)
        start = time.monotonic()
        self.ui.cancelButton.click()
        self.until(lambda: not self.panel.isRunning, "the end of the cancelled run", 10)
        took = time.monotonic() - start
        self.ui.samplesSlider.value = usual
        self.settle()
        assert self.nodes() == before, f"The cancel has changed the scene: {self.nodes() ^ before}"
        assert took < 1.5, f"The cancel took {took:.1f} s"
        self.step(f"cancelled after {took:.2f} s")

    def kill(self) -> None:
        """The worker dies by kill -9; the panel says so, and the next Apply works."""
        told = []
        shown, slicer.util.errorDisplay = slicer.util.errorDisplay, lambda text, **_more: told.append(text)
        try:
            self.ui.applyButton.click()
            self.until(lambda: self.ui.progressBar.value > 0, "progress", 120)
            os.kill(self.panel.logic.client.process_id, getattr(signal, "SIGKILL", signal.SIGTERM))
            self.until(lambda: not self.panel.isRunning, "the end of the killed run", 30)
        finally:
            slicer.util.errorDisplay = shown
        assert len(told) == 1, told
        self.step("killed: " + told[0])
        self.apply()
        self.step("and applied again")

    def save_and_load(self) -> None:
        before = self.shown()
        path = str(self.folder / "scene.mrb")
        assert slicer.util.saveScene(path), "The scene could not be saved."
        slicer.mrmlScene.Clear(0)
        self.settle()
        slicer.util.loadScene(path)
        self.settle()
        assert self.shown() == before, f"Before: {before}\nAfter: {self.shown()}"
        self.step("saved and loaded")

    def edit(self) -> None:
        self.ui.nextButton.click()
        self.ui.editButton.click()
        self.settle()
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        assert editor.segmentationNode() is self.panel.parameters.segmentation
        self.step("the Segment Editor: " + editor.currentSegmentID())
        node, segment, volume = editor.segmentationNode(), editor.currentSegmentID(), editor.sourceVolumeNode()
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume).copy()
        voxels[len(voxels) // 2] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment, volume)
        slicer.util.selectModule("CSAMSegment")
        self.until(lambda: self.ui.editedLabel.visible, "the volume after the edit", 10)
        self.step("edited: " + self.ui.editedLabel.text)

    # What the steps are made of ---------------------------------------------------------------------------------------

    @property
    def panel(self):
        return slicer.util.getModuleWidget("CSAMSegment").panel

    @property
    def ui(self):
        return slicer.util.getModuleWidget("CSAMSegment").ui

    def shown(self) -> dict:
        ui = self.ui
        return {
            "figures": [ui.resultTable.item(0, column).text() for column in range(3)],
            "quality": ui.qualityLabel.text,
            "slices": [ui.sliceTable.item(row, 1).text() for row in range(ui.sliceTable.rowCount)],
            "ticks": [int(ui.sliceTable.item(row, 3).checkState()) for row in range(ui.sliceTable.rowCount)],
            "image": ui.inputSelector.currentNode().GetName(),
            "segmentation": ui.segmentationSelector.currentNode().GetName(),
            "charts": len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")),
        }

    def nodes(self) -> set:
        return {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLStorableNode")}

    def step(self, text: str) -> None:
        self.settle()
        self.pictures += 1
        slicer.util.mainWindow().grab().save(str(self.folder / f"{self.pictures:02d}.png"))
        print(f"{self.pictures:02d} {text}", flush=True)

    def settle(self, seconds: float = 0.6) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.01)

    def until(self, condition, what: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} did not come within {seconds} s"
            slicer.app.processEvents()
            time.sleep(0.01)


def main() -> None:
    try:
        Driver(sys.argv[1] if len(sys.argv) > 1 else "out/slicer").run()
        code = 0
        print("All steps went well.", flush=True)
    except Exception:
        traceback.print_exc()
        code = 1
    slicer.util.exit(code)


if __name__ == "__main__":
    main()
