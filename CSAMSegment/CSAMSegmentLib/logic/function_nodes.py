"""The nodes of a sequence's measures: the record of its frames, the figures, the curve over time and its chart.

The record, a text node, holds all of it (``csam.sequence.record``); tables and chart are made from it. All of them are
saved and restored with the scene.
"""

from __future__ import annotations

import math

import slicer
import vtk

from csam.errors import InputError
from csam.sequence.measures import Measured
from csam.sequence.record import Record, from_json, to_json
from csam.sequence.tables import FIGURES, figure_rows

from .result_nodes import INPUT, ROLE, SEGMENTATION
from .slice_chart import place_beside
from .texts import tr as _
from .transaction import Transaction

RECORD, CURVE, FIGURE_TABLE, CHART, SERIES = (
    f"function {part}" for part in ("record", "curve", "figures", "chart", "series")
)
FRAME, TIME, VOLUME, LOW, HIGH, ODD = "frame", "time", "volume (ml)", "low (ml)", "high (ml)", "implausible"
LINE, BAND, MARK, CROSS = (0.77, 0.25, 0.18), (0.95, 0.72, 0.68), (0.12, 0.23, 0.37), (0.9, 0.55, 0.0)


def find(segmentation, role: str):
    """The node of a segmentation's measures that has a role; None where there is none."""
    kind = "vtkMRMLTextNode" if role == RECORD else "vtkMRMLPlotChartNode" if role == CHART else "vtkMRMLTableNode"
    if segmentation is None or segmentation.GetScene() is None:
        return None
    for node in slicer.util.getNodesByClass(kind, segmentation.GetScene()):
        if node.GetAttribute(ROLE) == role and node.GetNodeReferenceID(SEGMENTATION) == segmentation.GetID():
            return node
    return None


def read_record(segmentation) -> Record | None:
    """The record beside a segmentation; None where there is none, or a damaged one."""
    node = find(segmentation, RECORD)
    try:
        return from_json(node.GetText() or "") if node is not None else None
    except InputError:
        return None


def write_record(record: Record, segmentation) -> None:
    """Write a record beside a segmentation with its tables and chart, new or in place of those before; all or nothing.

    Raises InputError for a given number out of range.
    """
    found = record.found
    curved = next((one for one in found if one.curve is not None), None)
    if curved is None:
        return
    with Transaction(segmentation.GetScene()) as transaction:
        name = record.title.rpartition(": ")[2]
        node = _node(transaction, segmentation, RECORD, f"{name} function")
        node.SetText(to_json(record))
        table = _node(transaction, segmentation, FIGURE_TABLE, f"{name} function figures")
        table.SetAndObserveTable(figures_table(found))
        table.SetLocked(True)
        curve = _node(transaction, segmentation, CURVE, f"{name} volume over time")
        curve.SetAndObserveTable(curve_table(record, curved))
        curve.SetLocked(True)
        chart = find(segmentation, CHART) or _chart(transaction, segmentation, name, record, curved)
        if chart.GetNumberOfPlotSeriesNodes() != len(_looks(curved)):  # it is new, or a user has removed some
            _add_series(transaction, segmentation, name, chart, curved)
        for number in range(chart.GetNumberOfPlotSeriesNodes()):  # also where a user has removed the table before
            chart.GetNthPlotSeriesNode(number).SetAndObserveTableNodeID(curve.GetID())
        _fit(chart, record, curved)


def figures_table(found) -> vtk.vtkTable:
    """A row for each figure, as ``csam.sequence.tables.FIGURES`` names the columns; not known: NaN."""
    columns = zip(*figure_rows(found), strict=True)
    return _table(
        (name, [math.nan if v is None else v for v in values]) for name, values in zip(FIGURES, columns, strict=True)
    )


def curve_table(record: Record, curved: Measured) -> vtk.vtkTable:
    """A row for each frame. ED, ES and implausible hold the volume where the frame is that, else NaN."""
    volumes = [frame.structure(curved.structure) for frame in record.now]

    def only(wanted) -> list[float]:
        return [
            one.volume_ml if frame.index in wanted else math.nan
            for one, frame in zip(volumes, record.frames, strict=True)
        ]

    return _table(
        (
            (FRAME, [frame.index + 1 for frame in record.frames]),
            (TIME, _places(record)[0]),
            (VOLUME, [one.volume_ml for one in volumes]),
            (LOW, [one.low_ml for one in volumes]),
            (HIGH, [one.high_ml for one in volumes]),
            *((mark, only({index})) for mark, index in curved.marks.items()),
            (ODD, only({*curved.implausible})),
        )
    )


def frame_of_point(series, row: int) -> int | None:
    """The frame, from 0, whose point of the curve was clicked; None for a series of another chart."""
    if series.GetAttribute(ROLE) != SERIES:
        return None
    table = series.GetTableNode().GetTable()
    return table.GetValueByName(row, FRAME).ToInt() - 1 if 0 <= row < table.GetNumberOfRows() else None


def remove_orphans(scene) -> None:
    """Remove what belongs to a segmentation that is gone."""
    for kind in ("vtkMRMLTextNode", "vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode"):
        for node in slicer.util.getNodesByClass(kind, scene):
            ours = node.GetAttribute(ROLE) in (RECORD, CURVE, FIGURE_TABLE, CHART, SERIES)
            if ours and node.GetNodeReference(SEGMENTATION) is None:
                scene.RemoveNode(node)


def _places(record: Record) -> tuple[list[float], str]:
    """Where the frames stand on the axis of time, and its name; by their number where a time is no number."""
    parts = [frame.time.split(" ") for frame in record.frames]
    try:
        unit = parts[0][1] if len(parts[0]) > 1 else ""
        name = _("time ({unit})").format(unit=unit) if unit else _("time")
        return [float(part[0]) for part in parts], name
    except ValueError:
        return [frame.index + 1.0 for frame in record.frames], _("frame")


def _node(transaction, segmentation, role: str, name: str):
    node = find(segmentation, role)
    if node is not None:
        return node
    kind = "vtkMRMLTextNode" if role == RECORD else "vtkMRMLTableNode"
    return _add(transaction, segmentation, kind, role, name)


def _add(transaction, segmentation, kind: str, role: str, name: str):
    def fill(node) -> None:
        node.SetAttribute(ROLE, role)
        node.SetNodeReferenceID(SEGMENTATION, segmentation.GetID())
        node.SetNodeReferenceID(INPUT, segmentation.GetNodeReferenceID(INPUT))

    node = transaction.add(kind, name, fill)
    place_beside(segmentation, node)
    return node


def _chart(transaction, segmentation, name: str, record: Record, curved: Measured):
    chart = _add(transaction, segmentation, "vtkMRMLPlotChartNode", CHART, f"{name} volume over time chart")
    structure = record.frames[0].structure(curved.structure).name
    chart.SetTitle(_("{structure} over time, 90 % interval").format(structure=structure))
    chart.SetXAxisTitle(_places(record)[1])
    chart.SetYAxisTitle(_("volume (ml)"))
    chart.SetLegendVisibility(False)
    return chart


def _looks(curved: Measured) -> list[tuple]:
    """The curve, its band as two thin lines, and points for phases and implausible frames: column, colour, width of
    the line and size of the points."""
    lines = [(LOW, BAND, 2, 0), (HIGH, BAND, 2, 0), (VOLUME, LINE, 3, 7)]
    return [*lines, *((mark, MARK, 0, 14) for mark in curved.marks), (ODD, CROSS, 0, 14)]


def _add_series(transaction, segmentation, name: str, chart, curved: Measured) -> None:
    """Give a chart its series, in place of those that there are."""
    chart.RemoveAllPlotSeriesNodeIDs()
    for series in slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode", segmentation.GetScene()):
        if series.GetAttribute(ROLE) == SERIES and series.GetNodeReference(SEGMENTATION) is segmentation:
            transaction.remove(series)
    for column, color, width, size in _looks(curved):
        series = _add(transaction, segmentation, "vtkMRMLPlotSeriesNode", SERIES, f"{name} {column}")
        series.SetXColumnName(TIME)
        series.SetYColumnName(column)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetLineStyle(series.LineStyleSolid if width else series.LineStyleNone)
        series.SetLineWidth(width)
        cross = series.MarkerStyleCross if column == ODD else series.MarkerStyleCircle
        series.SetMarkerStyle(cross if size else series.MarkerStyleNone)
        series.SetMarkerSize(size)
        series.SetColor(*color)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())


def _fit(chart, record: Record, curved: Measured) -> None:
    places = _places(record)[0]
    margin = 0.03 * (max(places) - min(places)) or 0.5
    highest = max(frame.structure(curved.structure).high_ml for frame in record.now)
    for axis, low, high in (("X", min(places) - margin, max(places) + margin), ("Y", 0.0, 1.08 * highest or 1.0)):
        getattr(chart, f"Set{axis}AxisRangeAuto")(False)
        getattr(chart, f"Set{axis}AxisRange")(low, high)


def _table(columns) -> vtk.vtkTable:
    table = vtk.vtkTable()
    for name, values in columns:
        column = vtk.vtkStringArray() if any(isinstance(value, str) for value in values) else vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
    return table
