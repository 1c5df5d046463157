"""Drives the panel in a running Slicer as a user would, with a picture of every state.

    CSAM_WORKER_COMMAND=/path/to/a/python/with/torch Slicer --no-splash \\
        --additional-module-paths CSAMSegment --python-script Testing/slicer/drive_panel.py out/slicer

Prints a line for each step and ends Slicer with exit code 0 when all of them went well. Testing/gui runs the same steps
on the test host.
"""

import csv
import os
import shutil
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
        for left in ("hearts", "results"):  # of an earlier run: about these the panel would ask
            shutil.rmtree(self.folder / left, ignore_errors=True)
        self.pictures = 0

    def run(self) -> None:
        import SampleData

        SampleData.downloadSample("CSAM cardiac phantom")
        self.before = slicer.app.layoutManager().layout
        slicer.util.selectModule("CSAMSegment")
        self.until(lambda: self.panel.worker.status.hello or self.panel.worker.status.error, "the worker's hello", 120)
        assert self.panel.worker.status.hello, self.panel.worker.status.error
        self.step("ready: " + self.ui.deviceLabel.text)
        self.apply()
        self.step("result: " + self.ui.qualityLabel.text)
        self.look()
        self.review()
        self.leave()
        self.region()
        self.augment()
        self.again()
        self.cancel()
        self.kill()
        self.save_and_load()
        self.edit()
        self.teach()
        self.function()
        self.carry()
        self.batch()
        self.learn()

    def apply(self) -> None:
        self.ui.applyButton.click()
        self.until(lambda: self.ui.progressBar.value > 0 or not self.panel.isRunning, "progress", 120)
        self.step("running: " + self.ui.stageLabel.text)
        self.until(lambda: not self.panel.isRunning, "the result", 600)
        self.settle()
        assert self.ui.sliceTable.rowCount == 12, self.ui.stageLabel.text

    def look(self) -> None:
        """Layout, step of the large view, chart and legend are as they should be."""
        large = self.large()
        [chart] = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
        areas = [float(self.ui.sliceTable.item(row, 2).text().split()[0]) for row in range(self.ui.sliceTable.rowCount)]
        low, high = chart.GetYAxisRange()
        assert low == 0, f"The chart begins at {low}"
        assert max(areas) < high < 1.2 * max(areas) + 2, f"The chart ends at {high}, its table at {max(areas)}"
        left, right = chart.GetXAxisRange()
        assert left < 1, f"The first marker is cut: the chart begins at {left}"
        assert right > len(areas), f"The last marker is cut: the chart ends at {right}"
        legends = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
        [legend] = [node for node in legends if node.GetVisibility()]
        shown_in = [legend.GetNthViewNodeID(number) for number in range(legend.GetNumberOfViewNodeIDs())]
        assert shown_in == [large.GetID()], f"The legend is shown in {shown_in}"
        assert legend.GetTitleText() == "Error probability (%)"
        assert legend.GetPrimaryDisplayNode().GetWindowLevelMax() == 50
        self.step(f"legend in {large.GetLayoutName()}, chart from 0 to {high:.0f} mm²")

    def large(self):
        """The slice view of the plane of acquisition; it is the layout's large one and steps by a slice."""
        from CSAMSegmentLib.logic import slice_views
        from CSAMSegmentLib.logic.thick_slice_layout import IDS

        volume, manager = self.ui.inputSelector.currentNode(), slicer.app.layoutManager()
        large = slice_views.acquisition_view(volume, 2)
        assert manager.layout == IDS[large.GetLayoutName(), True], f"The layout is {manager.layout}"
        logic = manager.sliceWidget(large.GetLayoutName()).sliceLogic()
        step = logic.GetLowestVolumeSliceSpacing()[2]
        assert abs(step - volume.GetSpacing()[2]) < 1e-4, f"A step is {step} mm, a slice {volume.GetSpacing()[2]} mm"
        return large

    def leave(self) -> None:
        """The layout goes with the module and comes back with it; one that was chosen meanwhile stands."""
        manager, layouts = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode
        ours = manager.layout
        slicer.util.selectModule("Data")
        self.settle()
        assert manager.layout == self.before, f"The layout was {self.before}, and is {manager.layout}"
        self.step("the layout of before, in another module")
        slicer.util.selectModule("CSAMSegment")
        self.settle()
        assert manager.layout == ours, f"The layout was {ours}, and is {manager.layout}"
        manager.setLayout(layouts.SlicerLayoutOneUpRedSliceView)
        self.ui.nextButton.click()
        self.settle()
        assert manager.layout == layouts.SlicerLayoutOneUpRedSliceView
        self.ui.chartCheckBox.click()
        self.settle()
        self.ui.chartCheckBox.click()
        self.settle()
        assert manager.layout == ours, "Showing the chart brings its layout back"

    def region(self) -> None:
        """A region is a frame, and its result is not compared with whole scans."""
        region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "heart")
        self.ui.regionSelector.setCurrentNode(region)
        bounds = [0.0] * 6
        self.ui.inputSelector.currentNode().GetRASBounds(bounds)
        middle = [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2])]  # noqa: B905
        region.SetCenter(*middle)
        region.SetSize(100, 100, bounds[5] - bounds[4])
        self.settle()
        assert not region.GetDisplayNode().GetFillVisibility()
        self.ui.applyButton.click()
        self.until(lambda: not self.panel.isRunning, "the result of the region", 600)
        self.settle()
        assert self.ui.qualityLabel.text.startswith("Inside the region"), self.ui.qualityLabel.text
        self.look()
        self.step("region: " + self.ui.qualityLabel.text)
        self.ui.regionSelector.setCurrentNode(None)
        self.apply()
        self.look()
        slicer.mrmlScene.RemoveNode(region)
        self.settle()

    def augment(self) -> None:
        """A run with test-time augmentation takes samples in every orientation, and says so in its result."""
        box = self.ui.testTimeAugmentationCheckBox
        self.ui.advancedCollapsibleButton.collapsed = False
        self.settle()
        assert box.visible, "The check box for test-time augmentation is not shown."
        box.click()
        self.settle()
        assert self.panel.parameters.testTimeAugmentation
        self.apply()
        assert self.options()["test_time_augmentation"] is True, "The run was without test-time augmentation."
        self.look()
        self.step("test-time augmentation: " + self.ui.qualityLabel.text)
        box.click()
        self.ui.advancedCollapsibleButton.collapsed = True
        self.settle()
        assert not self.panel.parameters.testTimeAugmentation

    def again(self) -> None:
        """A second run writes into the same nodes, and what it replaced can be restored."""
        before = self.nodes()
        self.apply()
        assert self.nodes() == before, f"The second run has changed the nodes: {self.nodes() ^ before}"
        assert self.options()["test_time_augmentation"] is False
        self.look()
        self.ui.restoreButton.click()
        self.settle()
        assert self.options()["test_time_augmentation"] is True, "The result before was not restored."
        assert not self.ui.restoreButton.enabled
        self.step("second run, and the first restored")
        self.apply()

    def review(self) -> None:
        self.ui.nextButton.click()
        self.step("the slice with rank 1: " + self.ui.sliceTable.item(0, 1).text())
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
        """A slice is corrected in the panel, and the others follow it."""
        self.ui.nextButton.click()
        self.ui.editButton.click()
        self.settle()
        editor = self.panel.teach.editor.widget
        assert slicer.util.selectedModule() == "CSAMSegment"
        assert editor.segmentationNode() is self.panel.parameters.segmentation
        self.step("the editor in the panel: " + editor.currentSegmentID())
        node, segment, volume = editor.segmentationNode(), editor.currentSegmentID(), editor.sourceVolumeNode()
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume).copy()
        middle = len(voxels) // 2
        voxels[middle, :, : voxels.shape[2] // 2] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment, volume)
        self.until(lambda: self.ui.editedLabel.visible, "the volume after the edit", 10)
        self.step("edited: " + self.ui.editedLabel.text)
        self.settle()
        self.ui.updateButton.click()
        self.until(lambda: not self.panel.isRunning, "the update", 600)
        self.settle()
        after = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume)
        assert (after[middle] == voxels[middle]).all(), "The corrected slice was changed."
        self.step("the rest updated: " + self.ui.fillStageLabel.text)

    def teach(self) -> None:
        """A structure is drawn on two slices of a new segmentation, filled, filled anew, and taken back."""
        self.ui.teachCollapsibleButton.collapsed = False
        self.ui.drawingSelector.setCurrentNode(None)
        self.settle()
        self.ui.newStructureButton.click()
        self.settle()
        editor = self.panel.teach.editor.widget
        node, segment, volume = editor.segmentationNode(), editor.currentSegmentID(), editor.sourceVolumeNode()
        voxels = slicer.util.arrayFromVolume(volume).astype("uint8") * 0
        rows, columns = voxels.shape[1:]
        for index, reach in ((2, 6), (9, 4)):
            middle = rows // 2, columns // 2
            voxels[index, middle[0] - rows // reach : middle[0], middle[1] - columns // reach : middle[1]] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment, volume)
        self.until(lambda: self.ui.fillButton.enabled, "the list of drawn slices", 10)
        self.step("drawn: " + self.ui.teachLabel.text)
        self.ui.fillButton.click()
        self.until(lambda: not self.panel.isRunning, "the filling", 600)
        self.settle()
        filled = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume)
        assert (filled[[2, 9]] == voxels[[2, 9]]).all(), "A drawn slice was changed."
        assert filled[3:9].any((1, 2)).all(), "A slice was not filled."
        assert not filled[:2].any(), "A slice before the first drawn one was filled."
        assert not filled[10:].any(), "A slice behind the last drawn one was filled."
        self.step("filled: " + self.ui.fillStageLabel.text)
        self.ui.nextSliceButton.click()
        self.step("next: " + self.ui.sliceTable.item(0, 1).text())
        self.ui.undoFillButton.click()
        self.settle()
        back = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume)
        assert (back == voxels).all(), "The filling was not taken back."
        self.step("taken back")

    def function(self) -> None:
        """A beating phantom: its figures, its curve, the way to ED and ES, 3D, and back."""
        from CSAMSegmentLib.logic import function_nodes
        from CSAMSegmentLib.logic.thick_slice_layout import IDS, SOLID_IDS
        from CSAMSegmentLib.logic.volume_geometry import volume_from_image

        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
        sequence.SetIndexName("time")
        sequence.SetIndexUnit("ms")
        for number, phantom in enumerate(self.beat()):
            volume = volume_from_image(phantom.image, "frame")
            sequence.SetDataNodeAtValue(volume, f"{150 * number}")
            slicer.mrmlScene.RemoveNode(volume)
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "beat browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        self.panel.parameters.inputVolume = browser.GetProxyNode(sequence)
        self.panel.parameters.wholeSequence = True
        self.settle()
        self.ui.applyButton.click()
        self.until(lambda: not self.panel.isRunning, "the results of the sequence", 600)
        self.until(lambda: self.ui.functionTable.rowCount >= 4, "the figures", 30)
        segmentation = self.panel.parameters.segmentation
        chart = function_nodes.find(segmentation, function_nodes.CHART)
        view = slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode()
        self.until(lambda: view.GetPlotChartNodeID() == chart.GetID(), "the curve in the chart", 30)
        row = next(r for r in range(4) if "(EF)" in self.ui.functionTable.item(r, 0).text())
        self.step("function: EF " + self.ui.functionTable.item(row, 1).text())
        phases = self.ui.endDiastoleButton.text, self.ui.endSystoleButton.text
        assert phases == ("ED: frame 1", "ES: frame 3"), phases
        self.ui.endSystoleButton.click()
        wanted = self.ui.endSystoleButton.text.rpartition(" ")[2]
        assert browser.GetSelectedItemNumber() + 1 == int(wanted), f"Image {wanted} was to be shown"
        self.step(self.ui.endSystoleButton.text)
        self.ui.show3DCheckBox.click()
        self.until(lambda: slicer.app.layoutManager().layout in SOLID_IDS.values(), "the layout with 3D", 30)
        self.step("3D")
        assert segmentation.GetDisplayNode().GetVisibility3D()
        self.ui.show3DCheckBox.click()
        self.until(lambda: slicer.app.layoutManager().layout in IDS.values(), "the layout without 3D", 30)
        self.correct_phase(segmentation)
        self.body_and_files()
        self.save_and_load_function()
        segmentation = self.panel.parameters.segmentation
        chart = function_nodes.find(segmentation, function_nodes.CHART)
        view = slicer.app.layoutManager().plotWidget(0).mrmlPlotViewNode()
        self.until(lambda: view.GetPlotChartNodeID() == chart.GetID(), "the curve after loading", 30)
        self.ui.curveCheckBox.click()
        self.until(lambda: view.GetPlotChartNodeID() != chart.GetID(), "the chart of the slices", 30)
        self.step("the chart of the slices again")

    def figures(self) -> list:
        table = self.ui.functionTable
        return [[table.item(row, column).text() for column in range(3)] for row in range(table.rowCount)]

    def correct_phase(self, segmentation) -> None:
        """Half of end systole is erased and put back; the figures follow both."""
        before, volume = self.figures(), self.panel.parameters.inputVolume
        segment = segmentation.GetSegmentation().GetNthSegmentID(0)
        voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume).copy()
        smaller = voxels.copy()
        smaller[: len(smaller) // 2] = 0
        slicer.util.updateSegmentBinaryLabelmapFromArray(smaller, segmentation, segment, volume)
        self.until(lambda: "changed after the run" in self.ui.functionLabel.text, "the figures of the correction", 10)
        assert self.figures() != before
        self.step("end systole corrected: " + self.figures()[1][1])
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, segment, volume)
        self.until(lambda: self.figures() == before, "the figures of before the correction", 10)

    def body_and_files(self) -> None:
        """Height and weight give figures by body surface area; tables and report have them."""
        before = self.ui.functionTable.rowCount
        self.ui.heightSpinBox.value, self.ui.weightSpinBox.value = 180, 80
        self.until(lambda: self.ui.functionTable.rowCount > before, "figures by body surface area", 10)
        self.step("height and weight: " + self.figures()[-1][0])
        self.panel.function.export(self.folder / "figures.csv")
        with (self.folder / "figures.csv").open(encoding="utf-8", newline="") as file:
            assert [row["words"] for row in csv.DictReader(file)] == [row[0] for row in self.figures()]
        self.panel.function.report(self.folder / "report.html")
        page = (self.folder / "report.html").read_text(encoding="utf-8")
        assert "Ejection fraction" in page
        assert "height 180 cm" in page

    def save_and_load_function(self) -> None:
        """The figures are there again in a scene that was saved and loaded."""
        before, path = self.figures(), str(self.folder / "function.mrb")
        assert slicer.util.saveScene(path), "The scene with the sequence could not be saved."
        slicer.mrmlScene.Clear(0)
        self.settle()
        assert not self.ui.functionCollapsibleButton.visible
        slicer.util.loadScene(path)
        self.until(lambda: self.figures() == before, "the figures after loading", 30)
        self.step("figures after loading: " + before[-1][1])

    def beat(self):
        """The frames of a phantom with an ejection fraction of 55 %; the third one is end systole."""
        from csam.phantom.beat import beating_heart

        return beating_heart(7, 6, 0.55, size=128, spacing=(2.5, 2.5, 8.0))

    def carry(self) -> None:
        """A structure is filled on one image of that sequence, and carried to the next; each image keeps its own."""
        from CSAMSegmentLib.logic.sequence_browser import sequence_browser

        self.panel.parameters.wholeSequence = False
        self.ui.drawingSelector.setCurrentNode(None)
        volume = self.panel.parameters.inputVolume
        browser = sequence_browser(volume)
        browser.SetSelectedItemNumber(1)
        self.settle()
        self.ui.newStructureButton.click()
        self.settle()
        editor = self.panel.teach.editor.widget
        node, segment = editor.segmentationNode(), editor.currentSegmentID()
        voxels = slicer.util.arrayFromVolume(volume).astype("uint8") * 0
        middle, reach = voxels.shape[1] // 2, voxels.shape[1] // 8
        voxels[[3, 8], middle - reach : middle + reach, middle - reach : middle + reach] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment, volume)
        self.until(lambda: self.ui.fillButton.enabled, "the list of drawn slices", 10)
        self.ui.fillButton.click()
        self.until(lambda: not self.panel.isRunning, "the filling", 600)
        self.settle()
        here = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume)
        self.step(f"{self.ui.teachFrameText.text}: {self.ui.fillStageLabel.text}")
        self.ui.carryButton.click()
        self.until(lambda: not self.panel.isRunning, "what was carried", 600)
        self.settle()
        assert browser.GetSelectedItemNumber() == 2
        assert slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume).any(), "Nothing was carried."
        self.step(f"{self.ui.teachFrameText.text}: {self.ui.fillStageLabel.text}")
        browser.SetSelectedItemNumber(1)
        self.settle()
        back = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume)
        assert (back == here).all(), "The first image has lost its segmentation."
        browser.SetSelectedItemNumber(0)
        self.settle()
        assert not slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume).any(), "An image has another's."
        self.step("an image on which nothing is drawn")

    def batch(self) -> None:
        """A folder with a damaged file runs in the background, paused once; its worst case opens with its result."""
        from csam.image.files import write_image
        from csam.phantom import cine_stack

        scans = self.folder / "scans"
        scans.mkdir(exist_ok=True)
        for number in range(3):
            image = cine_stack(number, slices=6, size=96, spacing=(2.5, 2.5, 8.0)).image
            write_image(image, scans / f"scan{number}.nii.gz")
        (scans / "damaged.nii.gz").write_bytes(b"This is no image.")
        ui, batch = self.ui, self.panel.batch
        ui.batchCollapsibleButton.collapsed = False
        ui.batchSceneCheckBox.checked = False
        ui.batchFolderLineEdit.text, ui.batchResultsLineEdit.text = str(scans), str(self.folder / "results")
        ui.batchStartButton.click()
        self.until(lambda: not batch.isRunning or batch.run.counts()[0] > 0, "the first result of the batch", 300)
        if batch.isRunning:
            ui.batchPauseButton.click()
            self.until(lambda: ui.batchStartButton.enabled, "the pause", 120)
            self.step("paused: " + ui.batchLabel.text)
            ui.batchStartButton.click()
        self.until(lambda: not batch.isRunning, "the end of the batch", 600)
        self.settle()
        table = ui.batchTable
        shown = [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount)]
        assert [row[-1] for row in shown] == ["failed", "done", "done", "done"], shown
        self.step("batch: " + ui.batchLabel.text)
        table.setCurrentCell(1, 0)
        ui.batchOpenButton.click()
        self.settle()
        assert self.panel.parameters.inputVolume.GetName() == shown[1][0]
        assert ui.sliceTable.rowCount == 6, ui.stageLabel.text
        self.step("opened from the batch: " + ui.qualityLabel.text)
        ui.batchPoorestCheckBox.checked = True
        ui.batchNextButton.click()
        self.settle()
        assert self.panel.parameters.inputVolume.GetName() == shown[2][0]
        self.step("the next case to draw: " + shown[2][0])

    def learn(self) -> None:
        """Three phantoms are kept with drawn labels; a tiny training is paused, gone on with, ended and kept."""
        from CSAMSegmentLib.logic.learning import State
        from CSAMSegmentLib.logic.user_models import remove_model

        learn = self.panel.learn
        ui, training = learn.ui, learn.learning
        chosen = self.panel.parameters.model
        ui.learnCollapsibleButton.collapsed = ui.addCaseCollapsibleButton.collapsed = False
        ui.datasetLineEdit.text = str((self.folder / "hearts").resolve())
        self.keep_phantoms(learn)
        self.until(lambda: not learn.busy, "the list of cases", 30)
        assert ui.casesTable.rowCount == 3
        self.import_phantom(learn)
        self.correct_case(learn)
        learn.plan = {
            "base_channels": 4, "num_levels": 2, "steps": 2000, "checkpoint_every": 5, "validate_every": 40,
        }  # fmt: skip
        ui.timeSelector.currentIndex = ui.timeSelector.count - 1
        self.learn_elsewhere(learn)
        ui.learnCheckButton.click()
        self.until(lambda: not training.busy, "the check of the data set", 300)
        if training.missing:
            self.step("learning left out, for want of " + ", ".join(training.missing))
            return
        assert training.plan, training.faults or training.error
        self.step("plan: " + ui.planLabel.text.splitlines()[0])
        ui.learnStartButton.click()
        self.until(lambda: training.rows or training.state is State.FAILED, "the first steps", 600)
        self.step("learning: " + ui.learnStageLabel.text)
        ui.learnPauseButton.click()
        self.until(lambda: training.state is State.PAUSED, "the pause", 120)
        self.step("paused: " + ui.learnStageLabel.text)
        before = len(training.rows)
        ui.learnStartButton.click()
        self.until(lambda: len(training.rows) > before, "further steps", 600)
        ui.learnKeepButton.click()
        self.until(lambda: training.state is State.DONE, "the model", 600)
        assert self.panel.parameters.model == "hearts", self.panel.parameters.model
        self.step("learned: " + ui.learnStageLabel.text.splitlines()[0])
        remove_model(self.panel.input.modelPath)
        training.discard()
        self.panel.parameters.model = chosen
        self.settle()

    def learn_elsewhere(self, learn) -> None:
        """A command of ssh is entered and taken back; the panel says where a model would learn."""
        line = self.ui.trainingCommandLineEdit
        before = line.text
        for command, host in (("ssh gpu-host torchrun --nproc-per-node 4 -m csam", "gpu-host"), (before, "")):
            line.setText(command)
            self.panel.worker._onTrainingCommand()
            learn.show()
            assert host in learn.ui.whereLabel.text, learn.ui.whereLabel.text
            self.step("where models learn: " + (learn.ui.whereLabel.text or "here"))

    def import_phantom(self, learn) -> None:
        """A folder with a phantom, its labels and a file that cannot be read goes into the data set."""
        from csam.image.files import write_image
        from csam.phantom import cine_stack

        ui, folder = learn.ui, self.folder / "pairs"
        folder.mkdir(exist_ok=True)
        phantom = cine_stack(4, size=64, spacing=(5.0, 5.0, 8.0))
        write_image(phantom.image, folder / "p4.nii.gz")
        write_image(phantom.labels == 3, folder / "p4_seg.nii.gz")
        (folder / "damaged.nii.gz").write_bytes(b"This is no image.")
        (folder / "damaged_seg.nii.gz").write_bytes(b"Nor is this.")
        ui.casesCollapsibleButton.collapsed = False
        learn.imports.begin(str(folder.resolve()))
        self.until(lambda: not learn.busy, "the import", 120)
        self.settle()
        assert ui.casesTable.rowCount == 4, ui.importLabel.text
        assert ui.importFaultsList.count == 1
        assert not ui.casesTable.item(3, 0).icon().isNull()
        self.step("imported: " + ui.importLabel.text)

    def correct_case(self, learn) -> None:
        """The case with drawn slices alone opens, with what is unknown still unknown, and takes its own place again."""
        from CSAMSegmentLib.widgets import case_maker

        ui, ask = learn.ui, (case_maker.ask_name, slicer.util.confirmOkCancelDisplay)
        ui.casesTable.selectRow(2)
        drawn = ui.casesTable.item(2, 2).text()
        ui.openCaseButton.click()
        self.settle()
        assert ui.caseImageSelector.currentNode().GetName() == "p3"
        assert ui.knownSlicesSelector.currentIndex == 1
        case_maker.ask_name, slicer.util.confirmOkCancelDisplay = (lambda kept: kept), (lambda *_question: True)
        try:
            ui.addCaseButton.click()
        finally:
            case_maker.ask_name, slicer.util.confirmOkCancelDisplay = ask
        self.until(lambda: not learn.busy, "the list of cases", 30)
        assert (ui.casesTable.rowCount, ui.casesTable.item(2, 2).text()) == (4, drawn)
        self.step("corrected: p3, drawn " + drawn)

    def keep_phantoms(self, learn) -> None:
        """Three phantoms as cases, through the panel; the last one with drawn slices alone."""
        from CSAMSegmentLib.logic.sample_data import make_phantom_nodes
        from CSAMSegmentLib.widgets import case_maker

        ask, names = case_maker.ask_name, iter(("p1", "p2", "p3"))
        case_maker.ask_name = lambda _suggestion: next(names)
        try:
            for seed in (1, 2, 3):
                volume, labels = make_phantom_nodes(seed, size=64, spacing=(5.0, 5.0, 8.0))
                node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"drawn {seed}")
                node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
                segment = node.GetSegmentation().AddEmptySegment("", "right ventricle")
                mask = (labels == 3).astype("uint8")
                slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, volume)
                learn.ui.caseImageSelector.setCurrentNode(volume)
                learn.ui.caseSegmentationSelector.setCurrentNode(node)
                learn.ui.knownSlicesSelector.currentIndex = int(seed == 3)
                self.settle()
                learn.ui.addCaseButton.click()
        finally:
            case_maker.ask_name = ask

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

    def options(self) -> dict:
        """What the result that is shown was computed with."""
        from CSAMSegmentLib.logic.shown_result import find_result

        return find_result(self.panel.parameters.segmentation).report()["provenance"]["options"]

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


def main(driver=Driver, folder: str = "out/slicer") -> None:
    try:
        driver(sys.argv[1] if len(sys.argv) > 1 else folder).run()
        code = 0
        print("All steps went well.", flush=True)
    except Exception:
        traceback.print_exc()
        code = 1
    slicer.util.exit(code)


if __name__ == "__main__":
    main()
