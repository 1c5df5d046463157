"""The table of a batch's cases, worst first; a row moves where its case changes, the others stay."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping

import qt

from csam.batch.row import DONE, FAULT, RUNNING, Row, place_of

from ..logic import texts
from ..logic.texts import tr as _

CASE, VOLUMES, DICE, WARNINGS, STATE = range(5)
WIDEST = 90
"""Pixels of a column: a longer name of a case is cut, and whole in its tooltip; volumes and state stay in view."""
TURN = 40
"""Rows that change in one call: a few milliseconds."""


class BatchTable:
    """Shows rows. onOpen: called with the name of a case that is to be opened."""

    def __init__(self, table, onOpen: Callable[[str], None]):
        self._table, self._onOpen = table, onOpen
        self._places: list[tuple] = []  # of the rows, in their order
        self._at: dict[str, tuple] = {}
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(VOLUMES, qt.QHeaderView.Stretch)
        header.setMaximumSectionSize(WIDEST)
        table.setFixedHeight(240)
        table.cellDoubleClicked.connect(lambda row, _column: self._onOpen(self._places[row][-1]))

    def clear(self) -> None:
        self._table.setRowCount(0)
        self._places, self._at = [], {}

    @property
    def chosen(self) -> str:
        """The name of the case in the selected row, empty where there is none."""
        row = self._table.currentRow()
        return self._places[row][-1] if 0 <= row < len(self._places) else ""

    def choose(self, name: str) -> None:
        """Select the row of a case."""
        self._table.setCurrentCell(self._places.index(self._at[name]), CASE)

    def follow(self, changed: list[str], rows: Mapping[str, Row]) -> None:
        """Show the rows whose names are in ``changed``, as many as one call has room for, and take them out of it."""
        chosen, several = self.chosen, {*changed[:TURN]}
        del changed[:TURN]
        for name in several:
            self._put(rows[name])
        if chosen and chosen != self.chosen:
            self.choose(chosen)

    def _put(self, row: Row) -> None:
        place, before = place_of(row), self._at.get(row.case)
        if before != place:
            if before is not None:
                index = bisect.bisect_left(self._places, before)
                del self._places[index]
                self._table.removeRow(index)
            bisect.insort(self._places, place)
            self._table.insertRow(bisect.bisect_left(self._places, place))
            self._at[row.case] = place
        self._fill(bisect.bisect_left(self._places, place), row)

    def _fill(self, index: int, row: Row) -> None:
        tip = tooltip(row)
        for column, text in enumerate(cells(row)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(tip)
            if row.state == FAULT and column == STATE:
                item.setForeground(qt.QBrush(qt.QColor("#d03030")))
            self._table.setItem(index, column, item)


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, in the order of the columns."""
    volumes = "; ".join(
        f"{s.name} {texts.millilitres(s.volume_ml)} ml ({texts.interval(s.low_ml, s.high_ml)})" for s in row.structures
    )
    if len(row.structures) == 1:  # the tooltip names it
        [one] = row.structures
        volumes = f"{texts.millilitres(one.volume_ml)} ml ({texts.interval(one.low_ml, one.high_ml)})"
    dice = "" if row.state != DONE else _("nothing found") if row.expected_dice is None else f"{row.expected_dice:.2f}"
    states = {DONE: _("done"), FAULT: _("failed"), RUNNING: _("running")}
    return (
        row.case,
        row.fault or volumes,
        dice,
        str(len(row.warnings) or ""),
        states.get(row.state, _("waiting")),
    )


def tooltip(row: Row) -> str:
    """All that is known of a case, as lines."""
    lines = [row.case, row.fault]
    for s in row.structures:
        text = _("{name}: {volume} ml, 90 % interval {interval} ml")
        interval = texts.interval(s.low_ml, s.high_ml)
        lines.append(text.format(name=s.name, volume=texts.millilitres(s.volume_ml), interval=interval))
    if row.expected_dice is not None:
        lines.append(texts.quality(row.expected_dice, row.case_rank, row.extent))
    return "\n".join(filter(None, [*lines, *row.warnings]))
