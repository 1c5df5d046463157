"""The panel in the hands of a user: choose, apply, look, step through the slices, correct, save, load."""

import json

import numpy as np
import pytest
import qt
import slicer

from CSAMSegmentLib.logic.result_nodes import REPORT


def legends() -> dict:
    """Whether they are shown, by name."""
    return {
        node.GetName(): node.GetVisibility() for node in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
    }


def ids(scene) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


# Before the run -------------------------------------------------------------------------------------------------------


def test_an_empty_scene_says_what_to_choose(user):
    user.opens()
    assert not user.ui.applyButton.enabled
    assert "Choose the image" in user.ui.applyButton.toolTip
    user.sees("1-empty")


def test_the_first_image_and_the_first_model_are_chosen(user):
    volume = user.loads()
    user.opens()
    assert user.ui.inputSelector.currentNode() is volume
    assert user.ui.modelSelector.currentText == "Tiny heart"
    assert user.ui.applyButton.enabled
    user.sees("2-ready")


def test_a_fitting_image_is_said_to_fit_before_anything_runs(user):
    user.loads()
    user.opens()
    assert "The image fits" in user.ui.fitLabel.text


def test_what_does_not_fit_is_said_in_words_before_anything_runs(user):
    user.loads(spacing=(4.0, 4.0, 5.0))
    user.opens()
    assert "Slices are 5 mm apart; the model was trained on 8 mm." in user.ui.fitLabel.text
    assert user.ui.applyButton.enabled
    user.sees("3-does-not-fit")


def test_device_and_time_are_said_in_words_before_the_first_run(user):
    user.loads(slices=12)
    user.opens()
    assert user.ui.deviceLabel.text == "NVIDIA Test GPU, 11 GB free: about 7 s"
    user.parameters.device = "cpu"
    user.looks()
    assert user.ui.deviceLabel.text == "CPU, 8 threads: about 7 s"
    user.parameters.samples = 20
    user.looks()
    assert user.ui.deviceLabel.text == "CPU, 8 threads: about 15 s"
    assert user.ui.deviceComboBox.currentText == "CPU, 8 threads"


def test_a_worker_that_measures_nothing_leaves_the_time_open(user):
    user.loads()
    user.makes_the_worker("no-speed")
    user.opens()
    assert user.ui.deviceLabel.text == "NVIDIA Test GPU, 11 GB free"


def test_how_long_a_run_will_take_is_learnt_from_the_last_one(done):
    assert done.ui.deviceLabel.text == "NVIDIA Test GPU, 11 GB free: about 12 s"
    done.parameters.samples = 80
    done.looks()
    assert done.ui.deviceLabel.text.endswith("about 23 s"), (
        "for another number of samples the measured speed tells more"
    )


def test_a_new_region_is_the_whole_image_and_can_be_used_at_once(user):
    volume = user.loads()
    user.opens()
    region = user.ui.regionSelector.addNode()
    user.ui.regionSelector.nodeAddedByUser.emit(region)
    user.ui.regionSelector.setCurrentNode(region)
    user.looks()
    assert user.parameters.region is region
    bounds, whole = [0.0] * 6, [0.0] * 6
    region.GetRASBounds(bounds)
    volume.GetRASBounds(whole)
    assert np.allclose(bounds, whole)
    user.applies()
    assert user.ui.sliceTable.rowCount == 6


# The run --------------------------------------------------------------------------------------------------------------


def test_progress_shows_stage_and_seconds_left(user):
    user.loads()
    user.opens().starts("slow")
    assert user.ui.progressBar.isVisible()
    assert user.ui.progressBar.value > 0
    assert "of 1200" in user.ui.stageLabel.text
    assert user.ui.stageLabel.text.endswith("left")
    assert user.ui.cancelButton.enabled
    assert not user.ui.applyButton.enabled
    assert user.ui.deviceLabel.text == "NVIDIA Test GPU, 11 GB free"
    user.sees("4-running")
    user.cancels()
    assert "about" in user.ui.deviceLabel.text


def test_a_run_brings_table_quality_list_chart_and_overlay(done):
    ui = done.ui
    assert ui.resultTable.rowCount == 1
    assert ui.resultTable.item(0, 0).text() == "Left ventricle cavity"
    assert " to " in ui.resultTable.item(0, 2).text()
    assert ui.qualityLabel.text.startswith("Expected Dice 0.93: good")
    assert "Made by a fake worker." in ui.warningsLabel.text
    assert ui.sliceTable.rowCount == 6
    assert [ui.sliceTable.item(row, 0).text() for row in range(6)] == list("123456")
    [chart] = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetNthPlotSeriesNode(0).GetTableNode() is done.nodes["slices"]
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        assert composite.GetForegroundVolumeID() == done.nodes["error_probability"].GetID()
        assert composite.GetForegroundOpacity() == pytest.approx(0.6)
        assert composite.GetBackgroundVolumeID() == done.volume.GetID()
    done.sees("5-result")


def test_the_slice_views_are_turned_into_the_planes_of_an_oblique_stack(done):
    normals = []
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = node.GetSliceToRAS()
        normals.append([matrix.GetElement(row, 2) for row in range(3)])
    axes = np.zeros((3, 3))
    done.volume.GetIJKToRASDirections(axes)
    assert all(np.abs(axes.T @ normal).max() > 0.999 for normal in normals)


def test_a_second_run_writes_into_the_same_nodes_and_can_be_taken_back(done):
    before = ids(slicer.mrmlScene)
    assert not done.ui.restoreButton.enabled
    slicer.util.arrayFromVolume(done.nodes["entropy"])[:] = 0.125
    done.applies()
    assert ids(slicer.mrmlScene) == before
    assert slicer.util.arrayFromVolume(done.nodes["entropy"]).max() != 0.125
    done.ui.restoreButton.click()
    done.looks()
    assert (slicer.util.arrayFromVolume(done.nodes["entropy"]) == 0.125).all()
    assert not done.ui.restoreButton.enabled


def test_another_image_gets_outputs_of_its_own_and_the_first_one_its_result_back(done):
    first = done.parameters.segmentation
    second_volume = done.loads("other")
    done.parameters.inputVolume = second_volume
    done.looks()
    assert done.parameters.segmentation is None
    assert done.parameters.uncertainty is None
    done.applies()
    assert done.parameters.segmentation is not first
    done.parameters.inputVolume = done.volume
    done.looks()
    assert done.parameters.segmentation is first
    assert done.ui.sliceTable.rowCount == 6


def test_a_cancel_ends_soon_and_leaves_the_scene_as_it_was(user):
    user.loads()
    user.opens()
    before = ids(slicer.mrmlScene)
    for mode in ("slow", "deaf"):
        user.starts(mode)
        user.cancels()
        assert user.ui.stageLabel.text == "Cancelled. The scene is as it was."
        assert ids(slicer.mrmlScene) == before
    user.applies()
    assert user.ui.sliceTable.rowCount == 6


def test_the_panel_never_holds_up_the_application(user):
    """A timer of the application goes on in the middle of a run and of a cancel, on which a deaf worker spends GRACE.
    For how long the panel stands in the way is for Testing/bench/bench_main_thread.py."""
    user.loads()
    user.opens()
    beats = []
    timer = qt.QTimer()
    timer.timeout.connect(lambda: beats.append(user.ui.stageLabel.text))
    timer.start(1)
    user.starts("deaf")
    user.looks(0.5)
    assert len(beats) > 20
    beats.clear()
    user.cancels()
    assert len(beats) > 20
    timer.stop()


# Review ---------------------------------------------------------------------------------------------------------------


def centres() -> list:
    """Where the slice views stand, along their own normals."""
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = node.GetSliceToRAS()
        found.append([matrix.GetElement(row, 3) for row in range(3)])
    return found


def test_next_brings_every_view_to_the_worst_point(done):
    done.ui.nextButton.click()
    row = done.panel.review._rows[0]
    assert row.rank == 1
    assert np.allclose(centres(), [row.point] * 3, atol=0.01)
    assert done.ui.sliceTable.currentRow() == 0
    done.ui.nextButton.click()
    assert np.allclose(centres(), [done.panel.review._rows[1].point] * 3, atol=0.01)
    done.ui.previousButton.click()
    assert np.allclose(centres(), [row.point] * 3, atol=0.01)


def test_the_panel_says_why_a_slice_comes_before_others(done):
    rows = done.panel.review._rows
    there = [row.index for row in rows].index(0)
    assert not done.ui.whyLabel.text, "no slice is chosen yet"
    done.ui.sliceTable.setCurrentCell(there, 1)
    done.looks()
    assert done.ui.whyLabel.text == "Why this slice: the structure ends abruptly."
    assert done.ui.whyLabel.isVisibleTo(done.widget.parent)
    assert done.ui.sliceTable.item(there, 0).toolTip() == done.ui.whyLabel.text
    done.ui.sliceTable.setCurrentCell(1 - there if there < 2 else 0, 1)
    done.looks()
    assert not done.ui.whyLabel.isVisibleTo(done.widget.parent)


def test_the_keys_do_what_their_buttons_do(done):
    keys = {shortcut.key.toString(): shortcut for shortcut in done.panel._shortcuts}
    assert set(keys) == {"N", "P", "M", "O"}
    assert all(shortcut.isEnabled() for shortcut in keys.values())
    keys["N"].activated.emit()
    assert done.panel.review.current == 0
    keys["M"].activated.emit()
    assert done.panel.review.current == 1
    assert done.ui.reviewedLabel.text == "1 of 6 slices reviewed"
    done.host.open_module("Data")
    assert not any(shortcut.isEnabled() for shortcut in keys.values())


def test_the_way_through_the_slices_fits_a_laptop_without_scrolling(done):
    """A screen of 1080 rows leaves some 800 to the panel."""
    done.sees("13-review")
    table = done.ui.resultTable
    assert table.height >= table.horizontalHeader().height + table.rowHeight(0)
    for button in (done.ui.nextButton, done.ui.reviewedButton, done.ui.editButton):
        assert button.mapTo(done.widget.parent, qt.QPoint(0, button.height)).y() < 700


def test_selecting_a_slice_in_the_list_goes_there(done):
    done.ui.sliceTable.setCurrentCell(3, 1)
    done.looks()
    assert np.allclose(centres(), [done.panel.review._rows[3].point] * 3, atol=0.01)


def clicks_point(done, series, number: int) -> None:
    """A click on a point of a series in the chart, as Slicer tells it."""
    import vtk

    points, selections, names = vtk.vtkIdTypeArray(), vtk.vtkCollection(), vtk.vtkStringArray()
    points.InsertNextValue(number)
    selections.AddItem(points)
    names.InsertNextValue(series.GetID())
    slicer.app.layoutManager().plotWidget(0).plotView().dataSelected.emit(names, selections)
    done.looks()


def test_a_click_on_the_chart_goes_to_that_slice(done):
    [series] = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    clicks_point(done, series, 4)
    assert done.panel.review._rows[done.panel.review.current].number == 5


class Deleted:
    """A plot widget as PythonQt has it when its view node has gone."""

    def plotView(self):
        raise ValueError("Trying to call 'plotView' on a destroyed qMRMLPlotWidget object")


def test_a_plot_view_that_slicer_has_deleted_does_not_keep_the_panel_from_closing(done):
    done.panel.overlay._plots.insert(0, Deleted())
    done.panel.overlay.close()
    assert done.panel.overlay._plots == []


def test_a_click_on_another_chart_moves_nothing(done):
    before = done.panel.review.current
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "signal")
    series.SetAndObserveTableNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "signal").GetID())
    clicks_point(done, series, 4)
    assert done.panel.review.current == before


def test_next_shows_image_and_map_again_that_slicer_took_off_for_a_new_volume(done):
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    other = done.loads("other")
    for node in composites:
        node.SetForegroundVolumeID(None)
        node.SetBackgroundVolumeID(other.GetID())
    done.ui.nextButton.click()
    assert {node.GetBackgroundVolumeID() for node in composites} == {done.volume.GetID()}
    assert {node.GetForegroundVolumeID() for node in composites} == {done.nodes["error_probability"].GetID()}
    done.ui.overlayCheckBox.click()
    done.looks()
    done.ui.nextButton.click()
    assert {node.GetForegroundVolumeID() for node in composites} == {None}


def test_next_leaves_another_foreground_alone(done):
    other = done.loads("other")
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    for node in composites:
        node.SetForegroundVolumeID(other.GetID())
    done.ui.nextButton.click()
    assert {node.GetForegroundVolumeID() for node in composites} == {other.GetID()}


def test_slice_views_keep_their_sides_however_many_oblique_images_were_shown(done):
    """Slicer turns a view to the planes nearest to where it stands; where that was drifts from image to image."""
    import vtk

    from CSAMSegmentLib.logic.slice_views import show_image

    views = slicer.util.getNodesByClass("vtkMRMLSliceNode")

    def directions():
        return [
            [node.GetSliceToRAS().GetElement(row, column) for row in range(3) for column in range(3)] for node in views
        ]

    show_image(done.volume)
    expected = directions()
    for turn in ((40, 0), (40, 40), (0, 40)):
        transform, matrix = vtk.vtkTransform(), vtk.vtkMatrix4x4()
        transform.RotateX(turn[0])
        transform.RotateZ(turn[1])
        transform.RotateX(turn[0])
        oblique = done.loads(f"oblique {turn}")
        oblique.GetIJKToRASMatrix(matrix)
        transform.Concatenate(matrix)
        oblique.SetIJKToRASMatrix(transform.GetMatrix())
        show_image(oblique)
    show_image(done.volume)
    assert np.allclose(directions(), expected)


def test_a_tick_is_written_into_the_table_of_slices(done):
    done.ui.sliceTable.item(2, 3).setCheckState(qt.Qt.Checked)
    done.looks()
    assert [row.reviewed for row in done.panel.review._rows] == [False, False, True, False, False, False]
    assert done.ui.reviewedLabel.text == "1 of 6 slices reviewed"


@pytest.fixture
def without_editor(done, monkeypatch):
    """A user of an application whose editor cannot stand in a panel: the module Segment Editor is opened."""
    monkeypatch.delattr(slicer, "qMRMLSegmentEditorWidget")
    return done


def test_edit_opens_the_segment_editor_on_the_segment_at_the_slice(without_editor):
    done = without_editor
    done.ui.nextButton.click()
    done.ui.nextButton.click()
    done.ui.editButton.click()
    done.looks()
    assert slicer.util.selectedModule() == "SegmentEditor"
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    assert editor.segmentationNode() is done.parameters.segmentation
    assert editor.sourceVolumeNode() is done.volume
    assert editor.currentSegmentID() == "CSAMSegment_tiny_1"
    assert np.allclose(centres(), [done.panel.review._rows[1].point] * 3, atol=0.01)


def test_the_keys_go_on_through_the_list_in_the_segment_editor(without_editor):
    done = without_editor
    done.ui.nextButton.click()
    done.ui.editButton.click()
    done.looks()
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    keys = {shortcut.key.toString(): shortcut for shortcut in done.panel.review._keys}
    assert set(keys) == {"N", "P", "M", "O"}
    assert all(shortcut.parent() is editor for shortcut in keys.values())
    keys["M"].activated.emit()
    assert done.panel.review.current == 1
    assert np.allclose(centres(), [done.panel.review._rows[1].point] * 3, atol=0.01)
    assert done.ui.reviewedLabel.text == "1 of 6 slices reviewed"
    keys["P"].activated.emit()
    assert done.panel.review.current == 0
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    editor.setSegmentationNode(other)
    keys["N"].activated.emit()
    assert done.panel.review.current == 0, "another segmentation is corrected: its keys are not ours"
    slicer.util.selectModule("CSAMSegment")
    done.ui.editButton.click()
    assert len(done.panel.review._keys) == 4
    keys["O"].activated.emit()
    assert not done.parameters.overlayVisible
    done.panel.review.restart()
    keys["N"].activated.emit()
    keys["N"].deleteLater()
    done.looks()
    done.panel.review.close()
    assert done.panel.review._keys == [], "and one that the editor took with it does not hold up the end"


def test_the_overlay_follows_its_controls(done):
    def foregrounds():
        return {node.GetForegroundVolumeID() for node in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}

    ui, nodes = done.ui, done.nodes
    ui.overlayKindComboBox.currentIndex = 1
    done.looks()
    assert foregrounds() == {nodes["entropy"].GetID()}
    ui.opacitySlider.value = 0.25
    ui.thresholdSlider.value = 50
    done.looks()
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
    display = nodes["entropy"].GetDisplayNode()
    assert display.GetLowerThreshold() == pytest.approx(0.5 * np.log(2))
    assert legends() == {"cine uncertainty color legend": 0, "cine entropy color legend": 1}
    ui.legendCheckBox.click()
    ui.overlayCheckBox.click()
    done.looks()
    assert foregrounds() == {None}
    assert not any(legends().values())


# Figures --------------------------------------------------------------------------------------------------------------


def test_copy_puts_the_table_on_the_clipboard(done):
    done.ui.copyButton.click()
    header, line = slicer.app.clipboard().text().splitlines()
    assert header.split("\t")[:2] == ["structure", "volume (ml)"]
    assert line.split("\t")[0] == "Left ventricle cavity"
    assert line.split("\t")[-3:] == ["tiny", "cine", "whole image"]


def test_export_writes_a_file_that_spreadsheets_read(done, tmp_path):
    done.host.dialogs.answer(str(tmp_path / "volumes.csv"))
    done.ui.exportButton.click()
    done.host.dialogs.take()
    header, line = (tmp_path / "volumes.csv").read_text().splitlines()
    assert header == (
        "structure,volume (ml),edited,automatic volume (ml),mean (ml),low (ml),high (ml),expected dice,model,image,"
        "segmented"
    )
    assert line.startswith("Left ventricle cavity,")
    assert ",0.93,tiny,cine,whole image" in line


def test_a_region_has_no_case_quality_in_words_or_tables_and_none_after_loading(user, tmp_path):
    user.loads()
    user.opens()
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    user.parameters.region = region
    region.SetSize(40, 40, 40)
    user.applies()
    said = (
        "Inside the region the expected Dice is 0.93. Do not compare it with that of a whole scan; "
        "for that, segment the whole image."
    )
    assert user.ui.qualityLabel.text == said
    user.ui.copyButton.click()
    *_others, quality, _model, _image, segmented = slicer.app.clipboard().text().splitlines()[1].split("\t")
    assert (quality, segmented) == ("", "region, expected Dice in it 0.93")
    user.sees("9-region")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    user.looks()
    assert user.ui.qualityLabel.text == said
    report = user.panel._find().report()
    del report["extent"]  # as scenes were saved before it was kept
    user.nodes["volumes"].SetAttribute(REPORT, json.dumps(report))
    user.panel.refresh()
    assert user.ui.qualityLabel.text == said


# Saving ---------------------------------------------------------------------------------------------------------------


def test_a_saved_scene_brings_the_same_panel_back(done, tmp_path):
    done.parameters.samples = 7
    done.ui.overlayKindComboBox.currentIndex = 2
    done.ui.opacitySlider.value = 0.4
    done.ui.nextButton.click()
    done.ui.reviewedButton.click()
    done.looks()
    ui = done.ui

    def shown():
        return {
            "figures": [ui.resultTable.item(0, column).text() for column in range(3)],
            "quality": ui.qualityLabel.text,
            "slices": [[ui.sliceTable.item(row, column).text() for column in range(3)] for row in range(6)],
            "ticks": [int(ui.sliceTable.item(row, 3).checkState()) for row in range(6)],
            "nodes": [ui.inputSelector.currentNode().GetName(), ui.segmentationSelector.currentNode().GetName()],
            "choices": [ui.samplesSlider.value, ui.opacitySlider.value, ui.overlayKindComboBox.currentText],
            "model": ui.modelSelector.currentText,
        }

    before = shown()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    done.looks()
    assert ui.sliceTable.rowCount == 0
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks(0.5)
    assert shown() == before
    [chart] = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetNthPlotSeriesNode(0).GetTableNode() is done.nodes["slices"]
    assert [legend.GetVisibility() for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")].count(
        1
    ) == 1
    done.until(lambda: done.panel.worker.status.hello is not None)
    done.sees("6-loaded")
    done.ui.nextButton.click()  # to the first one that is left
    assert np.allclose(centres(), [done.panel.review._rows[1].point] * 3, atol=0.01)


def test_advanced_and_a_log_fit_the_panel_too(done):
    done.ui.advancedCollapsibleButton.collapsed = False
    done.ui.logButton.click()
    done.looks()
    assert done.ui.logTextEdit.isVisible()
    done.sees("7-advanced")


def test_a_scene_that_is_added_brings_its_choices(done, tmp_path):
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    done.parameters.inputVolume = done.loads("other")
    done.looks()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))  # adds to what is there
    done.looks()
    assert done.parameters.inputVolume.GetName().startswith("cine")
    assert done.parameters.segmentation is not None
    assert done.ui.sliceTable.rowCount == 6


def test_edit_with_no_segment_left_opens_the_editor_all_the_same(done):
    done.parameters.segmentation.GetSegmentation().RemoveAllSegments()
    done.looks()
    done.ui.editButton.click()
    editor = done.panel.teach.editor.widget
    assert editor.segmentationNode() is done.parameters.segmentation
    assert editor.currentSegmentID() in (None, "")
