"""The curve of a training: Slicer's plot nodes on tables of loss and validation Dice, which grow while it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import slicer

from .result_nodes import ROLE
from .texts import tr as _

CHART_ROLE, CURVE_ROLE = "learning chart", "learning curve"
STEP = "step"
CURVES = (("loss", (0.20, 0.40, 0.75)), ("validation_dice", (0.90, 0.50, 0.10)))
"""The columns of the log that are drawn, and their colours."""


def find_chart():
    """The chart of the training, None where there is none."""
    charts = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    return next((chart for chart in charts if chart.GetAttribute(ROLE) == CHART_ROLE), None)


def update_chart(rows: Sequence[Mapping[str, Any]]):
    """Let the chart, made where it is not there, show the rows of a log. It is not saved with the scene."""
    chart = find_chart() or _make()
    if not _is_whole(chart):
        _remove_curves()
        _add_curves(chart)
    highest, last = 1.0, 1.0
    for number, (column, _color) in enumerate(CURVES):
        points = [(row[STEP], row[column]) for row in rows if row.get(column) is not None]
        table = chart.GetNthPlotSeriesNode(number).GetTableNode()
        steps, values = np.array(points, float).reshape(-1, 2).T
        slicer.util.updateTableFromArray(table, [steps.copy(), values.copy()], [STEP, column])
        highest, last = max([highest, *values]), max([last, *steps])
    was_modifying = chart.StartModify()
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.0, 1.03 * last)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, 1.05 * highest)
    chart.EndModify(was_modifying)
    return chart


def remove_chart() -> None:
    """Remove the chart with its tables."""
    chart = find_chart()
    if chart is not None:
        _remove_curves()
        slicer.mrmlScene.RemoveNode(chart)


def _remove_curves() -> None:
    """Remove series and tables, also those of which a user has removed the other part."""
    for kind in ("vtkMRMLPlotSeriesNode", "vtkMRMLTableNode"):
        for node in slicer.util.getNodesByClass(kind):
            if node.GetAttribute(ROLE) == CURVE_ROLE:
                slicer.mrmlScene.RemoveNode(node)


def _is_whole(chart) -> bool:
    """Whether nobody has removed a part of it."""
    series = [chart.GetNthPlotSeriesNode(number) for number in range(len(CURVES))]
    return all(one is not None and one.GetTableNode() is not None for one in series)


def _make():
    scene = slicer.mrmlScene
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", scene.GenerateUniqueName(_("Learning")))
    chart.SetAttribute(ROLE, CHART_ROLE)
    chart.SetSaveWithScene(False)
    chart.SetTitle(_("Learning"))
    chart.SetXAxisTitle(_("step"))
    chart.SetYAxisTitle(_("loss, Dice"))
    chart.SetLegendVisibility(True)
    return chart


def _add_curves(chart) -> None:
    scene = slicer.mrmlScene
    names = {"loss": _("Training loss"), "validation_dice": _("Validation Dice")}
    chart.RemoveAllPlotSeriesNodeIDs()
    for column, color in CURVES:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(names[column]))
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", names[column])
        for node in (table, series):
            node.SetAttribute(ROLE, CURVE_ROLE)
            node.SetSaveWithScene(False)
            node.SetHideFromEditors(True)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(STEP)
        series.SetYColumnName(column)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleCircle if column != "loss" else series.MarkerStyleNone)
        series.SetLineStyle(series.LineStyleSolid)
        series.SetLineWidth(2)
        series.SetColor(*color)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
