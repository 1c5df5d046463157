"""Cardiac function in the panel: a beating phantom of known ejection fraction, segmented by an oracle."""

import csv
import functools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
import vtk
from gui.panel_kit import make_model
from gui.test_teach import Teacher
from host.application import LayoutManager

from csam.model import Calibration, Measure
from csam.phantom.beat import beating_heart
from CSAMSegmentLib.logic import function_nodes
from CSAMSegmentLib.logic.segments import SURFACE
from CSAMSegmentLib.logic.thick_slice_layout import SOLID_IDS
from CSAMSegmentLib.logic.volume_geometry import matrix_from_array

FRAMES, STEP = 8, 40
FUNCTION = (Measure("ventricular function", {"cavity": 1}),)


@functools.cache
def beat():
    return beating_heart(1, FRAMES, 0.55, 8, 48, (5.0, 5.0, 12.0))


@pytest.fixture
def heart(user):
    """A user in front of a beating phantom; the model offers ventricular function."""
    calibration = Calibration(figure_scale={"EF": 0.4, "SV": 0.3})
    make_model("heart", title="Heart", measures=FUNCTION, calibration=calibration).save(user.folder / "shipped/heart")
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    truth, user.truth_ml = {}, []
    for n, phantom in enumerate(beat()):
        voxels = sitk.GetArrayFromImage(phantom.image).astype(np.int32)
        labels = (sitk.GetArrayFromImage(phantom.labels) == 1).astype(np.uint8)
        truth[str(int(voxels.sum(dtype=np.int64)))] = labels
        user.truth_ml.append(float(labels.sum() * 0.3))
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"phase {n}")
        slicer.util.updateVolumeFromArray(volume, voxels)
        volume.SetIJKToRASMatrix(matrix_from_array(np.diag([5.0, 5.0, 12.0, 1.0])))
        sequence.SetDataNodeAtValue(volume, f"{STEP * n}")
        slicer.mrmlScene.RemoveNode(volume)
    assert len(truth) == FRAMES
    np.savez(user.folder / "truth.npz", **truth)
    user.browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    user.browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(user.browser)
    user.opens()
    user.parameters.model = "heart"
    user.parameters.inputVolume = user.browser.GetProxyNode(sequence)
    user.parameters.wholeSequence = True
    user.looks()
    return user


def figures(user) -> dict[str, str]:
    table = user.ui.functionTable
    cells = ((table.item(row, column).text() for column in range(2)) for row in range(table.rowCount))
    return {
        re.sub(r"^.*\((\w+)\)$", r"\1", name).replace(" per body surface area", "/BSA"): value for name, value in cells
    }


def test_a_beating_phantom_has_its_ejection_fraction_and_its_phases(heart):
    heart.applies("oracle")
    truth = heart.truth_ml
    fraction = 100 * (max(truth) - min(truth)) / max(truth)
    shown = figures(heart)
    assert abs(float(shown["EF"].split()[0]) - fraction) < 2
    assert abs(fraction - 55) < 5  # slices of 12 mm
    assert float(shown["EDV"].split()[0]) == pytest.approx(max(truth), abs=0.1)
    assert heart.ui.endDiastoleButton.text == "ED: frame 1"
    assert heart.ui.endSystoleButton.text == f"ES: frame {int(np.argmin(truth)) + 1}"
    heart.sees("12-function")


def test_end_diastole_and_end_systole_are_segmented_first(heart, monkeypatch):
    start, places = heart.panel.logic.start, []
    monkeypatch.setattr(
        heart.panel.logic,
        "start",
        lambda *more: places.append(heart.browser.GetSelectedItemNumber()) or start(*more),
    )
    heart.applies("oracle")
    assert places == [0, 3, 1, 2, 4, 5, 6, 7]
    masters = heart.browser.GetMasterSequenceNode()
    for sequence in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
        values = [sequence.GetNthIndexValue(n) for n in range(FRAMES)]
        assert values == [masters.GetNthIndexValue(n) for n in range(FRAMES)]


def test_the_curve_is_in_the_chart_and_a_click_shows_its_image(heart):
    heart.applies("oracle")
    assert heart.ui.curveCheckBox.checked
    segmentation = heart.parameters.segmentation
    chart = function_nodes.find(segmentation, function_nodes.CHART)
    [view] = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNodeID() == chart.GetID()
    table = function_nodes.find(segmentation, function_nodes.CURVE).GetTable()
    column = {
        name: [table.GetValueByName(r, name).ToDouble() for r in range(FRAMES)]
        for name in ("time", "volume (ml)", "high (ml)", "ED")
    }
    assert column["time"] == [STEP * n for n in range(FRAMES)]
    assert column["volume (ml)"] == pytest.approx(heart.truth_ml, abs=1e-6)
    assert [math.isnan(value) for value in column["ED"]] == [False, *[True] * (FRAMES - 1)]
    assert chart.GetYAxisRange()[1] > max(column["high (ml)"])
    assert chart.GetXAxisTitle() == "time (ms)"
    series = chart.GetNthPlotSeriesNode(2)
    names, selection, points = vtk.vtkStringArray(), vtk.vtkCollection(), vtk.vtkIdTypeArray()
    names.InsertNextValue(series.GetID())
    points.InsertNextValue(5)
    selection.AddItem(points)
    slicer.app.layoutManager().plotWidget(0).plotView().dataSelected.emit(names, selection)
    heart.looks()
    assert heart.browser.GetSelectedItemNumber() == 5
    heart.ui.endSystoleButton.click()
    assert heart.browser.GetSelectedItemNumber() == int(np.argmin(heart.truth_ml))
    heart.ui.curveCheckBox.click()
    heart.looks()
    assert view.GetPlotChartNodeID() != chart.GetID()


def test_height_and_weight_give_figures_by_body_surface_area(heart):
    heart.applies("oracle")
    assert "EDV/BSA" not in figures(heart)
    heart.ui.heightSpinBox.value = 180
    heart.ui.weightSpinBox.value = 80
    heart.looks()
    shown = figures(heart)
    assert float(shown["EDV/BSA"].split()[0]) == pytest.approx(max(heart.truth_ml) / 2, abs=0.1)
    heart.ui.heightSpinBox.value = 0
    heart.looks()
    assert "EDV/BSA" not in figures(heart)


def test_structures_are_shown_in_3d_also_where_the_sequence_shows_another_image(heart):
    heart.applies("oracle")
    heart.ui.show3DCheckBox.click()
    heart.looks()
    assert slicer.app.layoutManager().layout in SOLID_IDS.values()
    segmentation = heart.parameters.segmentation
    assert segmentation.GetSegmentation().ContainsRepresentation(SURFACE)
    assert segmentation.GetDisplayNode().GetVisibility3D()
    heart.ui.endSystoleButton.click()
    heart.looks()
    assert heart.parameters.segmentation.GetSegmentation().ContainsRepresentation(SURFACE)
    heart.ui.show3DCheckBox.click()
    heart.looks()
    assert not segmentation.GetDisplayNode().GetVisibility3D()
    assert slicer.app.layoutManager().layout not in SOLID_IDS.values()


def test_tables_and_page_are_written(heart, tmp_path):
    heart.applies("oracle")
    heart.panel.function.export(tmp_path / "heart.csv")
    with (tmp_path / "heart.csv").open(encoding="utf-8", newline="") as file:
        assert {row["figure"] for row in csv.DictReader(file)} == {"EDV", "ESV", "SV", "EF"}
    with (tmp_path / "heart volumes.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["time"] for row in rows] == [f"{STEP * n} ms" for n in range(FRAMES)]
    heart.panel.function.report(tmp_path / "heart.html")
    page = (tmp_path / "heart.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 6
    heart.panel.function.report(tmp_path / "nowhere" / "heart.html")
    assert "could not be written" in heart.is_told()
    heart.panel.function.export(tmp_path / "nowhere" / "heart.csv")
    assert len(heart.host.dialogs.take()) == 1  # of two files
    (tmp_path / "heart volumes.csv").write_text("mine")
    heart.host.dialogs.answer(str(tmp_path / "heart.csv"), qt.QMessageBox.Cancel)
    heart.ui.functionExportButton.click()
    assert "heart volumes.csv already exists" in heart.host.dialogs.take()[-1].text
    assert (tmp_path / "heart volumes.csv").read_text() == "mine"


def test_a_saved_scene_has_it_all_again(heart, tmp_path):
    heart.applies("oracle")
    before = figures(heart)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    heart.looks()
    assert not heart.ui.functionCollapsibleButton.isVisible()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    heart.looks()
    assert figures(heart) == before
    assert len(heart.panel.function._record.pictures) == 2


def test_another_model_and_a_single_image_show_no_function(heart):
    heart.parameters.wholeSequence = False
    heart.applies("oracle")
    assert not heart.ui.functionCollapsibleButton.isVisible()
    heart.parameters.wholeSequence = True
    heart.parameters.model = "tiny"
    heart.looks()
    heart.applies("oracle")
    assert not heart.ui.functionCollapsibleButton.isVisible()
    assert slicer.util.getNodesByClass("vtkMRMLTextNode") == []


def test_what_belongs_to_a_segmentation_goes_with_it(heart):
    heart.applies("oracle")
    assert function_nodes.find(heart.parameters.segmentation, function_nodes.CHART) is not None
    slicer.mrmlScene.RemoveNode(heart.parameters.segmentation)
    heart.looks()
    function_nodes.remove_orphans(slicer.mrmlScene)
    roles = {node.GetAttribute("CSAMSegment.Role") for node in slicer.util.getNodesByClass("vtkMRMLNode")}
    assert not {role for role in roles if role and role.startswith("function")}


def test_a_correction_of_end_diastole_changes_curve_and_figures_and_its_undoing_brings_them_back(heart):
    heart.applies("oracle")
    before = figures(heart)
    segmentation, volume = heart.parameters.segmentation, heart.parameters.inputVolume
    [segment] = segmentation.GetSegmentation().GetSegmentIDs()
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume).copy()
    smaller = voxels.copy()
    smaller[: len(smaller) // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(smaller, segmentation, segment, volume)
    heart.looks()
    record = heart.panel.function._record
    assert record.edits[0][1] == pytest.approx(smaller.sum() * 0.3)
    table = function_nodes.find(segmentation, function_nodes.CURVE).GetTable()
    assert table.GetValueByName(0, "volume (ml)").ToDouble() == pytest.approx(smaller.sum() * 0.3)
    assert figures(heart) != before
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, segmentation, segment, volume)
    heart.looks()
    assert heart.panel.function._record.edits == {}
    assert figures(heart) == before


def test_a_correction_counts_also_if_the_user_goes_to_another_frame_at_once(heart):
    heart.applies("oracle")
    before = figures(heart)
    smaller = erases(heart)
    heart.browser.SetSelectedItemNumber(3)
    heart.looks()
    assert heart.panel.function._record.edits == {0: {1: pytest.approx(smaller.sum() * 0.3)}}
    assert figures(heart) != before


def test_a_correction_counts_also_if_the_user_leaves_frame_and_segmentation_at_once(heart):
    heart.applies("oracle")
    segmentation, smaller = heart.parameters.segmentation, erases(heart)
    heart.browser.SetSelectedItemNumber(3)
    heart.parameters.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    heart.looks()
    assert not heart.ui.functionCollapsibleButton.isVisible()
    heart.parameters.segmentation = segmentation
    heart.looks()
    assert heart.panel.function._record.edits == {0: {1: pytest.approx(smaller.sum() * 0.3)}}


def test_a_correction_counts_also_where_the_unit_of_the_sequence_was_changed(heart):
    heart.applies("oracle")
    heart.browser.GetMasterSequenceNode().SetIndexUnit("s")
    smaller = halves(heart)
    assert heart.panel.function._record.edits == {0: {1: pytest.approx(smaller.sum() * 0.3)}}
    heart.ui.endDiastoleButton.click()
    assert heart.browser.GetSelectedItemNumber() == int(np.argmax(heart.truth_ml[1:])) + 1


def test_a_new_run_shows_the_chart_and_a_correction_leaves_it_hidden(heart):
    heart.parameters.chartVisible = False
    heart.applies("oracle")
    assert heart.parameters.chartVisible
    heart.parameters.chartVisible = False
    segmentation, volume = heart.parameters.segmentation, heart.parameters.inputVolume
    [segment] = segmentation.GetSegmentation().GetSegmentIDs()
    smaller = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume).copy()
    smaller[: len(smaller) // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(smaller, segmentation, segment, volume)
    heart.looks()
    assert heart.panel.function._record.edits
    assert not heart.parameters.chartVisible


def test_names_of_figures_take_two_lines_where_the_panel_is_narrow(heart):
    heart.applies("oracle")
    heart.ui.heightSpinBox.value = 180
    heart.ui.weightSpinBox.value = 80
    heart.looks()
    table, heights = heart.ui.functionTable, {}
    for width in (400, 700, 400):
        heart.host.screenshot(heart.widget.parent, f"function-{width}", width=width)
        rows = [table.rowHeight(row) for row in range(table.rowCount)]
        assert all(high >= table.sizeHintForRow(row) for row, high in enumerate(rows))
        assert table.height == table.horizontalHeader().height + sum(rows) + 4
        heights[width] = table.height
    assert heights[400] > heights[700]


def test_a_second_run_with_the_same_figures_shows_its_chart_too(heart):
    heart.applies("oracle")
    heart.parameters.chartVisible = False
    heart.looks()
    heart.applies("oracle")
    assert heart.parameters.chartVisible


def test_the_figures_stay_with_their_frames_when_one_is_removed_from_the_sequence(heart):
    heart.applies("oracle")
    before, systole = figures(heart), int(np.argmin(heart.truth_ml))
    heart.browser.GetMasterSequenceNode().RemoveDataNodeAtValue("0")
    for number in range(FRAMES - 1):
        heart.browser.SetSelectedItemNumber(number)
        heart.looks()
    assert heart.panel.function._record.edits == {}
    assert figures(heart) == before
    heart.ui.endSystoleButton.click()
    assert heart.browser.GetSelectedItemNumber() == systole - 1
    heart.ui.endDiastoleButton.click()
    assert heart.browser.GetSelectedItemNumber() == systole - 1
    slicer.mrmlScene.RemoveNode(heart.browser)
    heart.looks()
    assert not heart.ui.endDiastoleButton.enabled
    assert not heart.ui.endSystoleButton.enabled


def test_a_frame_whose_structure_a_user_removes_is_not_end_systole(heart):
    heart.applies("oracle")
    before = figures(heart)
    heart.browser.SetSelectedItemNumber(5)
    heart.looks()
    segments = heart.parameters.segmentation.GetSegmentation()
    segments.RemoveSegment(segments.GetNthSegmentID(0))
    heart.looks()
    assert heart.panel.function._record.edits == {5: {1: 0.0}}
    assert figures(heart)["EF"] == before["EF"]
    assert "frame 6" in heart.ui.functionLabel.text


@pytest.mark.parametrize(
    ("kind", "role"),
    [("Table", function_nodes.CURVE), ("PlotSeries", function_nodes.SERIES), ("PlotChart", function_nodes.CHART)],
)
def test_the_curve_is_whole_again_after_a_part_of_it_was_removed(heart, kind, role):
    heart.applies("oracle")
    segmentation = heart.parameters.segmentation
    nodes = slicer.util.getNodesByClass(f"vtkMRML{kind}Node")
    slicer.mrmlScene.RemoveNode(next(node for node in nodes if node.GetAttribute("CSAMSegment.Role") == role))
    heart.looks()
    halves(heart)
    chart, curve = (function_nodes.find(segmentation, role) for role in (function_nodes.CHART, function_nodes.CURVE))
    series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    assert [one.GetYColumnName() for one in series] == [
        "low (ml)",
        "high (ml)",
        "volume (ml)",
        "ED",
        "ES",
        "implausible",
    ]
    assert {one.GetTableNode() for one in series} == {curve}
    others = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    assert {one for one in others if one.GetAttribute("CSAMSegment.Role") == function_nodes.SERIES} == {*series}
    [view] = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNodeID() == chart.GetID()


def test_the_3d_view_turns_to_the_structures_when_it_is_asked_for(heart, monkeypatch):
    told = []
    monkeypatch.setattr(LayoutManager, "resetThreeDViews", lambda manager: told.append(manager.layout))
    heart.applies("oracle")
    heart.looks(0.2)
    assert told == []
    heart.ui.show3DCheckBox.click()
    heart.looks(0.2)
    heart.browser.SetSelectedItemNumber(2)
    heart.looks(0.2)
    [layout] = told
    assert layout in SOLID_IDS.values()


def test_slice_views_stay_as_they_are_when_structures_come_back_in_3d(heart, monkeypatch):
    heart.applies("oracle")
    heart.ui.show3DCheckBox.click()
    heart.looks(0.2)
    told, segmentation = [], heart.parameters.segmentation
    for reset in ("resetSliceViews", "resetThreeDViews"):
        monkeypatch.setattr(LayoutManager, reset, lambda manager, reset=reset: told.append(reset))
    for chosen in (None, segmentation):
        heart.parameters.segmentation = chosen
        heart.looks(0.2)
    assert told == ["resetThreeDViews"]


def erases(user) -> np.ndarray:
    """Erases half of the cavity on the frame that is shown; its voxels then."""
    segmentation, volume = user.parameters.segmentation, user.parameters.inputVolume
    segment = segmentation.GetSegmentation().GetNthSegmentID(0)
    smaller = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume).copy()
    smaller[: len(smaller) // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(smaller, segmentation, segment, volume)
    return smaller


def halves(user) -> np.ndarray:
    """The same, and waits until it was measured."""
    smaller = erases(user)
    user.looks()
    return smaller


def test_an_update_of_a_frame_changes_the_figures_and_its_undoing_brings_them_back(heart):
    heart.applies("oracle")
    halves(heart)
    corrected = figures(heart)
    heart.makes_the_worker("quick")
    heart.ui.updateButton.click()
    heart.ends()
    segmentation, volume = heart.parameters.segmentation, heart.parameters.inputVolume
    segment = segmentation.GetSegmentation().GetNthSegmentID(0)
    updated = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
    for number in (0, 4, 0):
        heart.browser.SetSelectedItemNumber(number)
        heart.looks()
        record = heart.panel.function._record
        assert record.now[0].structure(1).volume_ml == pytest.approx(updated.sum() * 0.3)
        assert record.now[4].structure(1).volume_ml == pytest.approx(heart.truth_ml[4])
    heart.panel.restorePrevious()
    heart.looks()
    assert figures(heart) == corrected


def test_a_frame_that_is_segmented_anew_and_found_empty_is_not_end_systole(heart):
    heart.applies("oracle")
    before = figures(heart)
    heart.parameters.wholeSequence = False
    heart.browser.SetSelectedItemNumber(5)
    heart.looks()
    heart.applies("empty")
    record = heart.panel.function._record
    assert record.edits == {5: {1: 0.0}}
    assert figures(heart)["EF"] == before["EF"]
    assert "frame 6" in heart.ui.functionLabel.text


def test_a_record_of_an_earlier_version_follows_corrections_too(heart):
    heart.applies("oracle")
    record, segmentation = heart.panel.function._record, heart.parameters.segmentation
    function_nodes.write_record(replace(record, model=""), segmentation)
    heart.panel.function.show(heart.panel._find())
    assert heart.panel.function._record.model == ""
    smaller = halves(heart)
    assert heart.panel.function._record.edits[0][1] == pytest.approx(smaller.sum() * 0.3)


def test_what_is_drawn_in_another_structure_of_a_frame_changes_no_figure(heart):
    heart.applies("oracle")
    before = figures(heart)
    teacher = Teacher(heart).opens()
    heart.volume = heart.parameters.inputVolume
    segment = teacher.adds()
    teacher.draws(segment, 0, 5)
    teacher.fills()
    teacher.draws(segment, 2, width=30)
    assert "was edited" in heart.ui.editedLabel.text
    assert figures(heart) == before
