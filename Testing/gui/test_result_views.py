"""What a user sees around the panel: layout, slice views, legend, chart and region."""

import re

import numpy as np
import pytest
import slicer
import vtk

from CSAMSegmentLib.logic import slice_views
from CSAMSegmentLib.logic.map_legend import MADE, find_legend
from CSAMSegmentLib.logic.parameters import OverlayKind
from CSAMSegmentLib.logic.slice_chart import ranges
from CSAMSegmentLib.logic.thick_slice_layout import IDS, layout_xml

FOUR_UP = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
RED = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView


def layout() -> int:
    return slicer.app.layoutManager().layout


def slice_nodes() -> list:
    return slicer.util.getNodesByClass("vtkMRMLSliceNode")


def chart():
    [node] = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    return node


def visible_legends() -> list:
    return [node for node in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode") if node.GetVisibility()]


def set_areas(done, *values) -> None:
    """As a run writes them: a table of its own."""
    table = vtk.vtkTable()
    table.DeepCopy(done.nodes["slices"].GetTable())
    for row, value in enumerate(values):
        table.GetColumnByName("expected wrong area (mm2)").SetValue(row, value)
    done.nodes["slices"].SetAndObserveTable(table)
    done.looks()


# The chart ------------------------------------------------------------------------------------------------------------


def test_axes_begin_at_zero_and_leave_room_for_the_outermost_markers():
    (left, right), (bottom, top) = ranges([(1, 368), (9, 464)])
    assert (left, right, bottom) == (0.5, 9.5, 0)
    assert top > 464 * 1.05
    (left, right), _ = ranges([(1, 2), (101, 2)])
    assert (left, right) == (-2, 104), "half a slice of a hundred is less than a marker"
    assert ranges([(3, 0.0)]) == ((2.5, 3.5), (0.0, 1.0))
    assert ranges([]) == ((0.5, 1.5), (0.0, 1.0))


def test_the_chart_follows_its_table_and_leaves_a_zoom_alone_until_then(done, tmp_path):
    def shown():
        return chart().GetXAxisRange(), chart().GetYAxisRange()

    set_areas(done, 10, 20, 30, 40, 50, 380)
    assert [chart().GetXAxisRangeAuto(), chart().GetYAxisRangeAuto()] == [False, False]
    assert shown() == ((0.5, 6.5), (0, pytest.approx(1.08 * 380)))
    set_areas(done, 464)
    assert shown() == ((0.5, 6.5), (0, pytest.approx(1.08 * 464)))
    chart().SetYAxisRange(0, 100)
    done.ui.nextButton.click()
    done.ui.reviewedButton.click()
    done.looks()
    assert shown()[1] == (0, 100), "a tick changes no value"
    set_areas(done, 500)
    assert shown()[1] == (0, pytest.approx(540))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks()
    assert shown() == ((0.5, 6.5), (0, pytest.approx(540)))


# The layout -----------------------------------------------------------------------------------------------------------


def test_the_layout_comes_with_a_result_goes_with_the_user_and_comes_back(done):
    large = slice_views.acquisition_view(done.volume, 2).GetLayoutName()
    assert layout() == IDS[large, True]
    done.widget.exit()
    assert layout() == FOUR_UP
    done.widget.enter()
    done.looks()
    assert layout() == IDS[large, True]
    [view] = [node for node in slice_nodes() if node.GetLayoutName() == large]
    view.SetOrientation("Coronal")
    done.ui.chartCheckBox.click()
    done.looks()
    assert layout() == IDS[large, False], "the view that a user has turned stays large"
    done.ui.chartCheckBox.click()
    done.looks()
    done.ui.nextButton.click()
    done.ui.editButton.click()
    assert layout() == IDS[large, True], "a correction is made in the same plane"
    slicer.util.selectModule("CSAMSegment")
    slicer.util.selectModule("Data")
    assert layout() == FOUR_UP


def test_a_layout_that_the_user_chose_is_never_changed_unless_the_chart_is_asked_for(done):
    manager = slicer.app.layoutManager()
    manager.setLayout(RED)
    done.widget.exit()
    assert layout() == RED
    done.widget.enter()
    done.looks()
    done.applies()
    assert layout() == RED
    done.ui.chartCheckBox.click()
    done.looks()
    assert layout() == RED
    done.ui.chartCheckBox.click()
    done.looks()
    assert layout() in IDS.values()
    done.widget.exit()
    assert layout() == RED


def test_a_scene_that_was_saved_in_our_layout_is_loaded_in_it_also_before_the_module_is_opened(done, tmp_path):
    ours = layout()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks()
    assert layout() == ours
    done.widget.exit()
    assert layout() == FOUR_UP
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert node.GetViewArrangement() == ours
    assert node.IsLayoutDescription(ours)
    done.widget.enter()
    done.looks()
    done.widget.exit()
    assert layout() == FOUR_UP


def test_every_layout_shows_the_three_planes_the_large_one_first(host):
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    for (large, with_chart), number in IDS.items():
        assert number > 100, "Slicer's own end there"
        xml = layout_xml(large, with_chart)
        assert re.findall('singletontag="([A-Za-z]+)', xml)[0] == large
        assert sorted(re.findall('singletontag="([A-Za-z0-9]+)', xml)) == sorted(
            ["Red", "Green", "Yellow", *["PlotView1"] * with_chart]
        )
        assert node.AddLayoutDescription(number, xml)
        slicer.app.layoutManager().setLayout(number)
        assert node.GetCurrentLayoutDescription() == xml, "Slicer reads it"


@pytest.mark.parametrize("angle", [0, 20, 45, 60, 90])
@pytest.mark.parametrize("axis", [0, 2])
def test_the_large_view_steps_by_one_acquired_slice_however_the_stack_lies(host, angle, axis):
    a, b = np.radians(angle), np.radians(angle / 2)
    around_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    around_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    spacing, shape = [1.5, 1.5, 1.5], [30, 30, 30]
    spacing[axis], shape[2 - axis] = 7.3, 8
    volume = host.scene_host.add_volume(np.zeros(shape, "i2"), spacing, (11, -7, 3), around_x @ around_z)
    volume.SetAndObserveTransformNodeID(host.scene_host.add_transform(np.diag([1.0, 1, 1, 1])).GetID())
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.SetSliceSpacingModeToPrescribed()
    slice_views.show_image(volume)
    node = slice_views.acquisition_view(volume, axis)
    slicer.app.layoutManager().resetSliceViews()
    logic = slicer.app.layoutManager().sliceWidget(node.GetLayoutName()).sliceLogic()
    extent, step = [0.0, 0.0], vtk.reference(0.0)
    assert logic.GetSliceOffsetRangeResolution(extent, step)
    assert float(step) == pytest.approx(7.3, abs=1e-6)
    assert (extent[1] - extent[0]) == pytest.approx(7 * 7.3, abs=1e-4)
    assert (node.GetSliceOffset() - extent[0]) / 7.3 == pytest.approx(round((node.GetSliceOffset() - extent[0]) / 7.3))
    shown = {int(np.argmax(np.abs(slice_views._normal(n) @ slice_views.axes(volume)))) for n in slice_nodes()}
    assert shown == {0, 1, 2}, "each plane in a view of its own"


# The legend -----------------------------------------------------------------------------------------------------------


def test_the_legend_reads_per_cent_in_the_view_of_the_plane_of_acquisition_alone(done, tmp_path):
    def is_right():
        volume = done.nodes["error_probability"]
        [legend] = visible_legends()
        assert legend is find_legend(volume)
        assert (legend.GetTitleText(), legend.GetLabelFormat()) == ("Error probability (%)", "%.0f")
        scale = legend.GetPrimaryDisplayNode()
        assert scale is not volume.GetDisplayNode()
        assert (scale.GetWindowLevelMin(), scale.GetWindowLevelMax()) == (0, 50)
        assert scale.GetColorNodeID() == volume.GetDisplayNode().GetColorNodeID()
        assert volume.GetVolumeDisplayNode().GetWindowLevelMax() == 0.5, "what is drawn stays as it was"
        assert max(legend.GetSize()) < 0.2
        view = slice_views.acquisition_view(done.panel._find().volume, 2)
        assert [legend.GetNthViewNodeID(n) for n in range(legend.GetNumberOfViewNodeIDs())] == [view.GetID()]

    is_right()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks()
    is_right()
    [legend] = visible_legends()
    legend.SetPosition(0.5, 0.5)
    for _ in range(2):
        done.ui.legendCheckBox.click()
        done.looks()
    assert tuple(legend.GetPosition()) == (0.5, 0.5), "what a user changes in it stays"
    legend.SetAttribute(MADE, None)  # as of an older scene
    legend.SetTitleText("of an older scene")
    legend.SetAndObservePrimaryDisplayNode(done.nodes["error_probability"].GetDisplayNode())
    legend.SetSize(0.12, 0.45)
    legend.RemoveAllViewNodeIDs()
    for _ in range(2):
        done.ui.legendCheckBox.click()
        done.looks()
    is_right()


def test_the_legend_says_what_another_window_or_colour_means(done):
    display = done.nodes["error_probability"].GetDisplayNode()
    display.SetWindowLevelMinMax(0, 0.2)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
    [legend] = visible_legends()
    scale = legend.GetPrimaryDisplayNode()
    assert scale.GetWindowLevelMax() == pytest.approx(20)
    assert scale.GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    done.ui.overlayKindComboBox.currentIndex = 1
    done.looks()
    [legend] = visible_legends()
    assert (legend.GetTitleText(), legend.GetLabelFormat()) == ("Entropy (nats)", "%.2f")
    assert legend.GetPrimaryDisplayNode() is done.nodes["entropy"].GetDisplayNode()


class Bounds:
    """A segmentation by its box in the world, RAS."""

    def __init__(self, *bounds):
        self.bounds = bounds

    def GetRASBounds(self, found):
        found[:] = self.bounds


def test_the_legend_stands_in_a_corner_without_structures(host):
    volume = host.scene_host.add_volume(np.zeros((8, 64, 64), "i2"), (4, 4, 8))
    slice_views.show_image(volume)
    [node] = [node for node in slice_nodes() if node.GetLayoutName() == "Red"]
    node.SetDimensions(400, 400, 1)
    node.SetFieldOfView(256, 256, 8)
    node.GetSliceToRAS().SetElement(0, 3, 126)
    node.GetSliceToRAS().SetElement(1, 3, 126)
    node.UpdateMatrices()
    lower_right, upper_right, upper_left = slice_views.CORNERS

    def corner(left, right, back, front):
        return slice_views.free_corner(node, Bounds(left, right, back, front, 0, 60))

    assert corner(90, 160, 90, 160) == lower_right
    assert corner(0, 160, 0, 100) == upper_right, "Slicer shows the patient's right on the left"
    assert corner(0, 100, 0, 250) == upper_left
    assert corner(0, 250, 0, 250) == lower_right
    assert slice_views.free_corner(node, Bounds(1, -1, 1, -1, 1, -1)) == lower_right


# The region -----------------------------------------------------------------------------------------------------------


def test_a_region_is_a_frame_wherever_it_was_made_and_stays_as_the_user_then_draws_it(user):
    user.loads()
    user.opens()
    made_elsewhere = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "heart")
    made_elsewhere.CreateDefaultDisplayNodes()
    assert made_elsewhere.GetDisplayNode().GetFillVisibility()
    user.parameters.region = made_elsewhere
    user.looks()
    display = made_elsewhere.GetDisplayNode()
    assert (display.GetFillVisibility(), display.GetFillOpacity()) == (False, 0)
    assert display.GetOutlineVisibility()
    assert not display.GetPropertiesLabelVisibility()
    display.SetFillVisibility(True)
    display.SetFillOpacity(0.3)
    user.parameters.region = None
    user.looks()
    user.parameters.region = made_elsewhere
    user.looks()
    assert (display.GetFillVisibility(), display.GetFillOpacity()) == (True, 0.3)


def test_a_scene_that_was_saved_with_the_old_name_of_the_error_probability_still_loads(done, tmp_path):
    node = done.parameters.parameterNode
    node.SetParameter("overlayKind", "CHANCE_OF_ERROR")  # as version 0.1.0 wrote it
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks()
    assert done.parameters.parameterNode.GetParameter("overlayKind") == "CHANCE_OF_ERROR"
    assert done.parameters.overlayKind is OverlayKind.ERROR_PROBABILITY
    kinds = done.ui.overlayKindComboBox
    assert [kinds.itemText(index) for index in range(kinds.count)] == [kind.label() for kind in OverlayKind]
    assert kinds.currentText == "Error probability"
    kinds.currentIndex = 1
    done.looks()
    assert done.parameters.overlayKind is OverlayKind.ENTROPY
