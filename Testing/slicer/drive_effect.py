"""Drives the Segment Editor effect "Fill the rest" in a running Slicer as a user would, with a picture of every state.

    CSAM_WORKER_COMMAND=/path/to/a/python/with/torch Slicer --no-splash \\
        --additional-module-paths CSAMSegment --python-script Testing/slicer/drive_effect.py out/slicer-effect

Prints a line for each step and ends Slicer with exit code 0 when all of them went well. Testing/gui runs the same steps
on the test host.
"""

import time

import numpy as np
import slicer

try:
    from drive_panel import Driver, main
except ImportError:  # the test host: slicer-core takes every file of a folder "slicer" on the path for its own
    from slicer.drive_panel import Driver, main

NAME = "Fill the rest"
DRAWN = (2, 5, 8)


class EffectDriver(Driver):
    """The steps, in order."""

    def run(self) -> None:
        import SampleData

        self.volume = SampleData.downloadSample("CSAM cardiac phantom")
        slicer.util.selectModule("SegmentEditor")
        self.editor = slicer.util.getModuleWidget("SegmentEditor").editor
        assert NAME in self.editor.availableEffectNames(), self.editor.availableEffectNames()
        self.draw()
        self.open()
        self.preview()
        self.go_there()
        self.correct()
        self.apply()
        self.undo()
        self.beyond()
        self.cancel()
        self.save_and_load()
        self.leave()

    def draw(self) -> None:
        """Discs in three slices, as with Paint."""
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.segment = self.segmentation.GetSegmentation().AddEmptySegment("cavity", "Cavity")
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        self.editor.setCurrentSegmentID(self.segment)
        for number, index in enumerate(DRAWN):
            self.paint(index, 14 - 2 * number)
        self.step(f"drawn: slices {', '.join(str(index + 1) for index in DRAWN)}")

    def open(self) -> None:
        self.editor.setActiveEffectByName(NAME)
        self.settle()
        effect = self.editor.activeEffect()
        assert effect is not None, "The effect is not active."
        assert effect.name == NAME
        assert self.form.drawnLabel.text == "Slices 3, 6 and 9 of 12 count as drawn.", self.form.drawnLabel.text
        self.step("opened: " + self.form.drawnLabel.text)

    def preview(self) -> None:
        before = self.voxels()
        self.form.previewButton.click()
        self.step("running: " + self.form.messageLabel.text)
        self.ends()
        assert self.form.applyButton.enabled, self.form.messageLabel.text
        assert np.array_equal(self.voxels(), before), "The preview has changed the segment."
        self.step("previewed: " + self.form.messageLabel.text)

    def go_there(self) -> None:
        self.form.nextButton.click()
        self.step("went on: " + self.form.nextLabel.text)

    def correct(self) -> None:
        """With another effect the preview stays; back in ours it asks for an update."""
        self.editor.setActiveEffectByName("Paint")
        self.settle()
        assert self.filling.preview.is_there, "The preview went when Paint was chosen."
        self.paint(4, 9)
        self.step("corrected with the preview in sight")
        self.editor.setActiveEffectByName(NAME)
        self.until(lambda: "Press Update" in self.form.messageLabel.text, "the sentence about the change", 10)
        self.step("changed: " + self.form.messageLabel.text)
        self.form.previewButton.click()
        self.ends()
        self.step("updated: " + self.form.drawnLabel.text)

    def apply(self) -> None:
        before = self.voxels()
        nodes = self.nodes()
        self.form.applyButton.click()
        self.settle()
        after = self.voxels()
        drawn = [*DRAWN, 4]
        assert np.array_equal(after[drawn], before[drawn]), "Drawn slices have changed."
        assert all(after[index].any() for index in range(2, 9)), "Slices were left empty."
        assert not after[[0, 1, 9, 10, 11]].any(), "Slices beyond the drawn ones were filled."
        assert len(nodes - self.nodes()) == 1, "The preview is still there, or more has gone."
        self.step("applied: " + self.form.messageLabel.text)

    def undo(self) -> None:
        filled = self.voxels()
        self.editor.undo()
        self.settle()
        assert not self.voxels()[3].any(), "Undo has left the filling."
        self.step("undone: " + self.form.drawnLabel.text)
        self.editor.redo()
        self.settle()
        assert np.array_equal(self.voxels(), filled), "Redo has not brought the filling back."
        assert "Slices 3, 5, 6 and 9 of 12" in self.form.drawnLabel.text, self.form.drawnLabel.text
        self.step("redone: " + self.form.drawnLabel.text)

    def beyond(self) -> None:
        """The last slice is said to be empty: it ends the structure."""
        self.form.sliceList.item(11).setCheckState(2)
        self.form.beyondCheckBox.click()
        self.settle()
        self.form.previewButton.click()
        self.ends()
        self.form.applyButton.click()
        self.settle()
        assert not self.voxels()[11].any(), "A slice that was marked as empty was filled."
        self.step("beyond the drawn slices: " + self.form.drawnLabel.text)

    def cancel(self) -> None:
        before, nodes = self.voxels(), self.nodes()
        self.form.previewButton.click()
        self.until(lambda: self.form.progressBar.value > 0 or not self.filling.isRunning, "progress", 120)
        start = time.monotonic()
        self.form.cancelButton.click()
        self.until(lambda: not self.filling.isRunning, "the end of the cancelled run", 10)
        took = time.monotonic() - start
        self.settle()
        assert self.nodes() == nodes, f"The cancel has changed the scene: {self.nodes() ^ nodes}"
        assert np.array_equal(self.voxels(), before)
        assert took < 1.5, f"The cancel took {took:.1f} s"
        self.step(f"cancelled after {took:.2f} s: " + self.form.messageLabel.text)

    def save_and_load(self) -> None:
        """With a preview in the scene: it is not saved. Which slices are drawn is."""
        self.form.previewButton.click()
        self.ends()
        before, words = self.voxels(), self.form.drawnLabel.text
        path = str(self.folder / "effect.mrb")
        assert slicer.util.saveScene(path), "The scene could not be saved."
        slicer.mrmlScene.Clear(0)
        self.settle()
        slicer.util.loadScene(path)
        self.settle()
        names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")]
        assert names == ["Mine"], f"The scene has the segmentations {names}"
        [self.segmentation] = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        self.volume = slicer.util.getNode(self.volume_name)
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        self.editor.setCurrentSegmentID(self.segment)
        self.editor.setActiveEffectByName(NAME)
        self.settle()
        assert np.array_equal(self.voxels(), before), "The segment came back as another."
        assert self.form.drawnLabel.text == words, self.form.drawnLabel.text
        self.step("saved and loaded: " + self.form.drawnLabel.text)

    def leave(self) -> None:
        """Another module: what is under way ends without a trace."""
        nodes = self.nodes()
        self.form.previewButton.click()
        self.until(lambda: self.form.progressBar.value > 0 or not self.filling.isRunning, "progress", 120)
        slicer.util.selectModule("Data")
        self.settle(2)
        assert not self.filling.isRunning
        assert self.nodes() == nodes, f"A run that was left has changed the scene: {self.nodes() ^ nodes}"
        self.step("left during a run")

    # What the steps are made of ---------------------------------------------------------------------------------------

    @property
    def filling(self):
        return self.editor.effectByName(NAME).self().filling

    @property
    def form(self):
        return self.filling.form

    @property
    def volume_name(self) -> str:
        return "CSAM cardiac phantom"

    def voxels(self):
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, self.segment, self.volume).copy()

    def paint(self, index: int, radius: float) -> None:
        """A disc in the middle of a slice."""
        voxels = self.voxels()
        rows, columns = np.indices(voxels.shape[1:])
        middle = [size / 2 for size in voxels.shape[1:]]
        voxels[index] |= ((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2).astype(voxels.dtype)
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.segmentation, self.segment, self.volume)

    def ends(self) -> None:
        self.until(lambda: not self.filling.isRunning, "the end of the run", 300)
        self.settle()


if __name__ == "__main__":
    main(EffectDriver, "out/slicer-effect")
