"""The table of a batch as cases.csv, and as one HTML page with a thumbnail a case: both from what is on disk."""

from __future__ import annotations

import base64
import csv
import io
import time
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from ..image.files import write_text
from ..model.card import NOT_A_DEVICE
from .folder import PAGE, TABLE, THUMBNAIL, BatchFolder
from .row import FAULT, Row, counted, worst_first

INTERVAL = 10.0
"""Seconds from one writing of table and page to the next, while a batch runs."""
STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; margin-bottom: .2em; } p.about { color: #555; margin-top: 0; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: #555; }
th, td { padding: .45em .8em .45em 0; border-bottom: 1px solid #ddd; vertical-align: top; }
img { display: block; border-radius: 3px; }
td.case { font-weight: 600; overflow-wrap: anywhere; } a { color: inherit; }
ul { margin: 0; padding-left: 1.1em; } .warning { color: #8a4b00; } .fault { color: #b3261e; }
small { color: #777; } footer { color: #777; margin: 1.5em 0; }
"""
WORDS = (
    "Expected Dice: the overlap with the truth that the model expects, 1 is perfect. 90 % interval: in 9 of 10 scans "
    "like the validation scans, the true volume lies in it. Validation scans: those on which the model was measured."
)
"""What the page explains to whoever has nothing else to read."""
HEAD = (
    '<table>\n<tr><th width=160><th width="17%">Case<th width="15%">Expected Dice'
    '<th width="24%">Volumes (90 % interval)<th>What to look at</tr>'
)


class Pages:
    """Keeps table and page up to date while a batch runs. rows: those that are known at its beginning."""

    def __init__(self, out: BatchFolder, rows: Iterable[Row] = ()):
        self._out, self._rows, self._written = out, {row.case: row for row in rows}, float("-inf")
        self._pause = INTERVAL

    def add(self, row: Row) -> None:
        """Takes a row in; writes both where the last writing is long ago."""
        self._rows[row.case] = row
        if time.monotonic() - self._written > self._pause:
            try:
                self.write()
            except OSError:  # open in another program: the next writing tries again
                self._written = time.monotonic()

    def drop(self, row: Row) -> None:
        """Forgets a row."""
        self._rows.pop(row.case, None)

    def write(self) -> None:
        """Writes both, whole or not at all."""
        begun = time.monotonic()
        rows = worst_first(self._rows.values())
        write_text(self._out.path / TABLE, table(rows))
        write_text(self._out.path / PAGE, page(self._out, rows))
        self._written = time.monotonic()
        self._pause = max(INTERVAL, 20 * (self._written - begun))  # a long page is written less often


def table(rows: Sequence[Row]) -> str:
    """The rows as CSV, in their order: one column a figure."""
    names = structures_of(rows)
    head = ["place", "case", "state", "expected_dice", "share_of_validation_scans_below"]
    head += [f"{name}{part}" for name in names for part in (" ml", " low ml", " high ml")]
    head += ["first_slices", "warnings", "fault", "images", "model", "seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for place, row in enumerate(rows, 1):
        found = {s.name: (s.volume_ml, s.low_ml, s.high_ml) for s in row.structures}
        writer.writerow(
            [
                place,
                row.case,
                row.state,
                _number(row.expected_dice, 3),
                _number(row.case_rank if row.expected_dice is not None else None, 3),
                *(_number(value, 2) for name in names for value in found.get(name, (None,) * 3)),
                " ".join(str(index + 1) for index in row.first_slices),
                " | ".join(row.warnings),
                row.fault,
                " | ".join(row.images),
                row.model,
                _number(row.seconds, 2),
            ]
        )
    return text.getvalue()


def structures_of(rows: Iterable[Row]) -> list[str]:
    """The names of all structures, in the order in which they come."""
    return [*dict.fromkeys(s.name for row in rows for s in row.structures)]


def page(out: BatchFolder, rows: Sequence[Row]) -> str:
    """The rows as an HTML page of its own: pictures are in it, and links lead to the folders of the results."""
    said = out.description() or {}
    model = said.get("model", {})
    about = f"{said.get('folder', '')} · model {model.get('name', '')} {model.get('version', '')}"
    counts = counted(rows)
    lines = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<title>{escape(out.path.resolve().name)}: {counts}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<h1>{counts}, worst first</h1>\n<p class=about>{escape(about)}<br>{WORDS}</p>",
        HEAD,
        *(_line(out, row) for row in rows),
        f"</table>\n<footer>{NOT_A_DEVICE}</footer>\n</body>\n</html>\n",
    ]
    return "\n".join(lines)


def _line(out: BatchFolder, row: Row) -> str:
    if row.state == FAULT:
        words = f"<td colspan=3 class=fault>{escape(row.fault)}"
        return f"<tr><td class=picture><td class=case>{escape(row.case)}{words}</tr>"
    dice = "Nothing was found." if row.expected_dice is None else f"{row.expected_dice:.2f}"
    if row.case_rank is not None and row.expected_dice is not None:
        dice += f"<br><small>higher than in {100 * row.case_rank:.0f} % of the validation scans</small>"
    volumes = "<br>".join(
        f"{escape(s.name)}: {s.volume_ml:.1f} ml ({s.low_ml:.1f} to {s.high_ml:.1f})" for s in row.structures
    )
    first = ", ".join(str(index + 1) for index in row.first_slices)
    look = f"Begin with the slices {first}." if first else ""
    if row.warnings:
        look += f"<ul class=warning>{''.join(f'<li>{escape(warning)}' for warning in row.warnings)}</ul>"
    link = f'<a href="cases/{quote(row.case)}/">{escape(row.case)}</a>'
    return f"<tr><td class=picture>{_picture(out, row)}<td class=case>{link}<td>{dice}<td>{volumes}<td>{look}</tr>"


def _picture(out: BatchFolder, row: Row) -> str:
    try:
        data = (out.results / row.case / THUMBNAIL).read_bytes()
    except OSError:
        return ""
    first = f"slice {row.first_slices[0] + 1}" if row.first_slices else "middle slice"
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(data).decode()}" alt="{first}"><small>{first}</small>'


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
