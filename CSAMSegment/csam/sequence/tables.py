"""The tables of a series: volumes frame by frame, and the figures of its measures; as rows, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from .measures import Frame, Measured

VOLUMES = (
    *("frame", "time", "structure", "volume (ml)", "low (ml)", "high (ml)", "expected dice"),
    *("mark", "implausible", "edited"),
)
FIGURES = ("figure", "value", "unit", "low", "high", "words")


def volume_rows(frames: Sequence[Frame], found: Sequence[Measured] = ()) -> list[tuple]:
    """A row for each frame and structure, by ``VOLUMES``; frames count from 1, as people do."""
    marks = {(one.structure, index): mark for one in found for mark, index in one.marks.items()}
    implausible = {(one.structure, index) for one in found for index in one.implausible}
    return [
        (
            frame.index + 1,
            frame.time,
            one.name,
            one.volume_ml,
            *((None, None) if one.value in frame.edited else (one.low_ml, one.high_ml)),
            frame.case_quality,
            marks.get((one.value, frame.index), ""),
            "yes" if (one.value, frame.index) in implausible else "",
            "yes" if one.value in frame.edited else "",
        )
        for frame in frames
        for one in frame.structures
    ]


def figure_rows(found: Sequence[Measured]) -> list[tuple]:
    """A row for each figure, by ``FIGURES``."""
    return [(f.name, f.value, f.unit, f.low, f.high, f.words) for one in found for f in one.figures]


def csv_text(header: Sequence[str], rows: Iterable[Sequence], separator: str = ",") -> str:
    """As spreadsheets read it: four digits, nothing where a number is not known."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue()


def _cell(value) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def described(frames: Sequence[Frame], found: Sequence[Measured]) -> dict[str, Any]:
    """Both as JSON has them; frames count from 0, as everywhere in files for programs."""
    return {"frames": [asdict(frame) for frame in frames], "measures": [asdict(one) for one in found]}
