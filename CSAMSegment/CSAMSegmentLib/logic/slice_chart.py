"""The chart of the slices: Slicer's plot nodes on the table of slices, saved and restored with the scene."""

from __future__ import annotations

import slicer

from .result_nodes import ROLE, SEGMENTATION
from .result_tables import SLICE, WRONG_AREA
from .texts import tr as _

CHART_ROLE, SERIES_ROLE = "chart", "series"
COLOR = (0.85, 0.33, 0.10)


def find_chart(slices):
    """The chart of a table of slices, None when there is none."""
    for series in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode"):
        if series.GetAttribute(ROLE) == SERIES_ROLE and series.GetTableNodeID() == slices.GetID():
            for chart in slicer.util.getNodesByClass("vtkMRMLPlotChartNode"):
                if chart.HasPlotSeriesNodeID(series.GetID()):
                    return chart
    return None


def ensure_chart(slices, name: str):
    """The chart of a table of slices, made when it is not there.

    slices: vtkMRMLTableNode of ``Output.slices``. name: of the image.
    Returns a vtkMRMLPlotChartNode.
    """
    chart = find_chart(slices)
    if chart is not None:
        return chart
    scene = slices.GetScene()
    series, chart = (
        scene.AddNewNodeByClass(f"vtkMRMLPlot{kind}Node", scene.GenerateUniqueName(f"{name} {what}"))
        for kind, what in (("Series", "expected wrong area"), ("Chart", "expected wrong area per slice"))
    )
    series.SetAttribute(ROLE, SERIES_ROLE)
    series.SetAndObserveTableNodeID(slices.GetID())
    series.SetXColumnName(SLICE)
    series.SetYColumnName(WRONG_AREA)
    series.SetPlotType(series.PlotTypeScatter)
    series.SetMarkerStyle(series.MarkerStyleCircle)
    series.SetMarkerSize(9)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetLineWidth(2)
    series.SetColor(*COLOR)
    chart.SetAttribute(ROLE, CHART_ROLE)
    chart.SetNodeReferenceID(SEGMENTATION, slices.GetNodeReferenceID(SEGMENTATION))
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle(_("Expected wrong area per slice"))
    chart.SetXAxisTitle(_("slice"))
    chart.SetYAxisTitle(_("expected wrong area (mm²)"))
    chart.SetLegendVisibility(False)
    place_beside(slices, chart, series)
    return chart


def points(slices) -> tuple[tuple[float, float], ...]:
    """The points of the chart of a table of slices: number and expected wrong area (mm²) of each."""
    table = slices.GetTable()
    return tuple(
        tuple(table.GetValueByName(row, name).ToDouble() for name in (SLICE, WRONG_AREA))
        for row in range(table.GetNumberOfRows())
    )


def ranges(drawn) -> tuple[tuple[float, float], tuple[float, float]]:
    """Both axes' ranges for points as ``points`` gives them: from 0 upwards, with room for the outermost markers."""
    if not drawn:
        return (0.5, 1.5), (0.0, 1.0)
    numbers, areas = zip(*drawn, strict=True)
    margin = max(0.5, 0.03 * (max(numbers) - min(numbers)))  # half a slice is too little for a marker beside many
    return (min(numbers) - margin, max(numbers) + margin), (0.0, 1.08 * max(areas) or 1.0)


def fit_chart(chart, drawn) -> None:
    """Let a chart show all of its points. Slicer keeps an automatic range when the table changes: a cut curve."""
    was_modifying = chart.StartModify()
    for axis, (low, high) in zip("XY", ranges(drawn), strict=True):
        getattr(chart, f"Set{axis}AxisRangeAuto")(False)
        getattr(chart, f"Set{axis}AxisRange")(low, high)
    chart.EndModify(was_modifying)


def remove_orphans(scene) -> None:
    """Remove charts whose table of slices is gone, as when a result is taken back."""
    for series in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode", scene):
        if series.GetAttribute(ROLE) == SERIES_ROLE and series.GetTableNode() is None:
            for chart in slicer.util.getNodesByClass("vtkMRMLPlotChartNode", scene):
                if chart.HasPlotSeriesNodeID(series.GetID()):
                    scene.RemoveNode(chart)
            scene.RemoveNode(series)


def show_chart(chart) -> None:
    """Let the plot views show a chart."""
    for node in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"):
        node.SetPlotChartNodeID(chart.GetID())
    selection = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    if selection is not None:
        selection.SetActivePlotChartID(chart.GetID())


def place_beside(neighbour, *nodes) -> None:
    """Move nodes to the place of another in the subject hierarchy."""
    hierarchy = neighbour.GetScene().GetSubjectHierarchyNode()
    theirs = hierarchy.GetItemByDataNode(neighbour) if hierarchy else 0
    for node in nodes:
        item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
        if theirs and item:
            hierarchy.SetItemParent(item, hierarchy.GetItemParent(theirs))
