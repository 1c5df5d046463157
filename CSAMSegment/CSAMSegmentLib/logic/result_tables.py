"""The two tables of a result: volumes of the structures, and the slices with their expected wrong area."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import vtk

from csam.result import Result, StructureVolume

from .volume_geometry import point_in_ras

LABEL = "label"
SLICE, INDEX, RANK, WRONG_AREA, REVIEWED = "slice", "index", "rank", "expected wrong area (mm2)", "reviewed"
WHY = "why"
STRUCTURE, VOLUME, MEAN, LOW, HIGH = "structure", "volume (ml)", "mean (ml)", "low (ml)", "high (ml)"


@dataclass(frozen=True)
class SliceRow:
    """One slice in the table of slices.

    number: from 1, as people count. index: from 0 along the image's slice axis, as Slicer's Data Probe shows.
    rank: 1 is the slice to look at first. point: its worst point, world RAS. reviewed: ticked by the user.
    why: what puts it before others, in a few words; empty where nothing does, and in tables of version 1.0.
    """

    number: int
    index: int
    rank: int
    expected_wrong_area_mm2: float
    point: tuple[float, float, float]
    reviewed: bool
    why: str = ""


def read_volumes(node) -> list[StructureVolume]:
    """The rows of a table node of volumes, in the order of the model's labels."""
    table = node.GetTable()
    rows = []
    for row in range(table.GetNumberOfRows()):
        figures = (table.GetValueByName(row, name).ToDouble() for name in (VOLUME, MEAN, LOW, HIGH))
        name = table.GetValueByName(row, STRUCTURE).ToString()
        rows.append(StructureVolume(table.GetValueByName(row, LABEL).ToInt(), name, *figures))
    return rows


def volumes_table(result: Result):
    """A vtkTable with a row for each structure; low and high are the ends of the 90 % interval."""
    entries = result.structures
    return _table(
        _column(STRUCTURE, [entry.name for entry in entries], vtk.vtkStringArray),
        _column(LABEL, [entry.value for entry in entries], vtk.vtkIntArray),
        _column(VOLUME, [entry.volume_ml for entry in entries]),
        _column(MEAN, [entry.mean_ml for entry in entries]),
        _column(LOW, [entry.low_ml for entry in entries]),
        _column(HIGH, [entry.high_ml for entry in entries]),
    )


def slices_table(result: Result, reviewed: Collection[int] = ()):
    """A vtkTable with a row for each slice in the order of the axis, and the area of each structure in it.

    reviewed: the slices, from 0, that are ticked already.
    """
    scores = result.slices
    points = [point_in_ras(score.worst_point) for score in scores]
    areas = [
        _column(f"{entry.name} (mm2)", [score.areas_mm2[position] for score in scores])
        for position, entry in enumerate(result.structures)
        if all(len(score.areas_mm2) > position for score in scores)
    ]
    return _table(
        _column(SLICE, [score.index + 1 for score in scores], vtk.vtkIntArray),
        _column(INDEX, [score.index for score in scores], vtk.vtkIntArray),
        _column(RANK, [score.rank for score in scores], vtk.vtkIntArray),
        _column(WRONG_AREA, [score.expected_wrong_area_mm2 for score in scores]),
        *(_column(axis, [point[position] for point in points]) for position, axis in enumerate("RAS")),
        _column(REVIEWED, [int(score.index in reviewed) for score in scores], vtk.vtkIntArray),
        _column(WHY, [score.reason for score in scores], vtk.vtkStringArray),
        *areas,
    )


def read_slices(node) -> list[SliceRow]:
    """The rows of a table node of slices, the slice to look at first in front."""
    table = node.GetTable()
    rows = []
    for row in range(table.GetNumberOfRows()):
        value = {
            name: table.GetValueByName(row, name).ToDouble()
            for name in (SLICE, INDEX, RANK, WRONG_AREA, *"RAS", REVIEWED)
        }
        point = (value["R"], value["A"], value["S"])
        numbers = (int(value[SLICE]), int(value[INDEX]), int(value[RANK]))
        why = table.GetValueByName(row, WHY).ToString() if table.GetColumnByName(WHY) else ""
        rows.append(SliceRow(*numbers, value[WRONG_AREA], point, bool(value[REVIEWED]), why))
    return sorted(rows, key=lambda row: row.rank)


def set_reviewed(node, number: int, reviewed: bool = True) -> None:
    """Tick a slice, by its number from 1, as looked at; the tick is saved with the scene."""
    table = node.GetTable()
    for row in range(table.GetNumberOfRows()):
        if table.GetValueByName(row, SLICE).ToInt() == number:
            table.GetColumnByName(REVIEWED).SetValue(row, int(reviewed))
            table.Modified()
            node.Modified()
            node.StorableModified()
            return
    raise ValueError(f'The table "{node.GetName()}" has no slice {number}.')


def _column(name: str, values: list, kind=vtk.vtkDoubleArray):
    column = kind()
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    return column


def _table(*columns):
    table = vtk.vtkTable()
    for column in columns:
        table.AddColumn(column)
    return table
