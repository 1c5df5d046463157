"""The Review part of the panel: the slices by rank, the way from one to the next, ticks, and the Segment Editor."""

from __future__ import annotations

import qt
import slicer

from ..logic import slice_views
from ..logic.result_tables import SliceRow, set_reviewed
from ..logic.shown_result import ShownResult
from ..logic.texts import tr as _
from .keys_and_timers import drop_shortcuts, make_shortcuts

RANK, SLICE, AREA, REVIEWED = range(4)


def sentence(why: str) -> str:
    """What a user reads of the reason why a slice comes before others."""
    return _("Why this slice: {why}.").format(why=why)


class ReviewView:
    """Walks a user through the slices, the one with rank 1 first.

    onGo: called before the views go to a slice. onEdit: called with the segmentation, the image and the segment that
    are to be edited; whether the panel itself does it. current: position in the list, -1 before the first.
    isEditing: while the module Segment Editor is being opened for a correction.
    """

    def __init__(self, ui, onGo, onEdit):
        self._ui, self._onGo, self._onEdit = ui, onGo, onEdit
        self._result: ShownResult | None = None
        self._rows: list[SliceRow] = []
        self.current = -1
        self.isEditing = False
        self._editor, self._keys = None, []
        table = ui.sliceTable
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(qt.QHeaderView.Stretch)
        for column in (RANK, SLICE):  # the others need the room
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        table.connect("currentCellChanged(int,int,int,int)", self._onCell)
        table.cellClicked.connect(self._onClicked)
        table.itemChanged.connect(self._onItem)
        ui.previousButton.clicked.connect(self.previous)
        ui.nextButton.clicked.connect(self.next)
        ui.reviewedButton.clicked.connect(self.markReviewed)
        ui.editButton.clicked.connect(self.edit)
        self.show(None)

    # What is shown ------------------------------------------------------------------------------------------------

    def show(self, result: ShownResult | None) -> None:
        """Show the slices of a result; the place in the list is kept while it is the same result."""
        same = result is not None and self._result is not None and result.slices is self._result.slices
        self._result = result
        rows = result.rows() if result is not None else []
        if not same or [row.number for row in rows] != [row.number for row in self._rows]:
            self.current = -1
        elif rows == self._rows:
            self._fillSegments()
            return
        self._rows = rows
        self._fill()
        self._fillSegments()
        for widget in (self._ui.nextButton, self._ui.previousButton, self._ui.reviewedButton, self._ui.editButton):
            widget.enabled = bool(rows)
        self._showCount()

    def restart(self) -> None:
        """Begin again at the top of the list."""
        self.current = -1
        self._rows = []

    def _fill(self) -> None:
        table = self._ui.sliceTable
        table.blockSignals(True)
        table.setRowCount(len(self._rows))
        for position, row in enumerate(self._rows):
            texts = (str(row.rank), str(row.number), f"{row.expected_wrong_area_mm2:.0f} mm²", "")
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setTextAlignment(qt.Qt.AlignCenter)
                if column == REVIEWED:
                    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
                    item.setCheckState(qt.Qt.Checked if row.reviewed else qt.Qt.Unchecked)
                if row.why:
                    item.setToolTip(sentence(row.why))
                table.setItem(position, column, item)
        table.resizeRowsToContents()
        if self.current >= 0:
            table.setCurrentCell(self.current, RANK)
        else:
            table.clearSelection()
            table.setCurrentCell(-1, -1)
        table.blockSignals(False)

    def _fillSegments(self) -> None:
        selector = self._ui.segmentComboBox
        segments = self._result.segments if self._result is not None else {}
        shown = [(selector.itemData(index), selector.itemText(index)) for index in range(selector.count)]
        if shown != list(segments.items()):
            chosen = selector.currentData
            selector.clear()
            for identifier, name in segments.items():
                selector.addItem(name, identifier)
            if chosen in segments:
                selector.currentIndex = list(segments).index(chosen)
        selector.enabled = len(segments) > 1

    def _showCount(self) -> None:
        done = sum(row.reviewed for row in self._rows)
        text = _("{done} of {all} slices reviewed").format(done=done, all=len(self._rows)) if self._rows else ""
        self._ui.reviewedLabel.text = text
        self._ui.reviewedLabel.setVisible(bool(text))
        why = self._rows[self.current].why if 0 <= self.current < len(self._rows) else ""
        self._ui.whyLabel.text = sentence(why) if why else ""
        self._ui.whyLabel.setVisible(bool(why))

    # Walking ------------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> dict:
        """What each key does, by its letter."""
        toggle = self._ui.overlayCheckBox.toggle
        return {"N": self.next, "P": self.previous, "M": self.markReviewed, "O": toggle}

    def next(self, *_arguments) -> None:
        """To the next slice in the list that is not reviewed, from the top again after the last."""
        later = (*range(self.current + 1, len(self._rows)), *range(max(self.current, 0)))
        left = (position for position in later if not self._rows[position].reviewed)
        self.go(next(left, min(self.current + 1, len(self._rows) - 1)))

    def previous(self, *_arguments) -> None:
        """To the slice before in the list."""
        self.go(max(self.current - 1, 0))

    def go(self, position: int) -> None:
        """Bring every slice view to the worst point of a slice in the list."""
        if not 0 <= position < len(self._rows):
            return
        self.current = position
        table = self._ui.sliceTable
        table.blockSignals(True)
        table.setCurrentCell(position, RANK)
        table.blockSignals(False)
        self._showCount()
        self._onGo()
        slice_views.jump(self._result.place_now(self._rows[position].point))

    def goToSlice(self, index: int) -> None:
        """To the slice with an index from 0 along the axis, as the chart counts its points."""
        for position, row in enumerate(self._rows):
            if row.index == index:
                self.go(position)

    def first(self, *_arguments) -> None:
        """To the slice with rank 1."""
        self.go(0)

    def markReviewed(self, *_arguments) -> None:
        """Tick the slice, and go to the next that is left."""
        if 0 <= self.current < len(self._rows):
            self._ui.sliceTable.item(self.current, REVIEWED).setCheckState(qt.Qt.Checked)
        self.next()

    def edit(self, *_arguments) -> None:
        """Correct the chosen segment at the slice that is looked at: in the panel, else in the Segment Editor."""
        result, segment = self._result, self._ui.segmentComboBox.currentData
        volume = result.volume
        there = segment if segment in result.segments else ""  # a user may have deleted it
        if volume is not None and self._onEdit(result.segmentation, volume, there):
            self.go(max(self.current, 0))
            return
        self.isEditing = True
        try:
            slicer.util.selectModule("SegmentEditor")
        finally:
            self.isEditing = False
        editor = slicer.util.getModuleWidget("SegmentEditor").editor
        editor.setSegmentationNode(result.segmentation)
        if volume is not None:
            editor.setSourceVolumeNode(volume)
        if there:
            editor.setCurrentSegmentID(segment)
        self._takeKeys(editor)
        self.go(max(self.current, 0))  # last: the editor may have moved the views to the segment's middle

    def _takeKeys(self, editor) -> None:
        """The keys of the list in the Segment Editor, too."""
        if editor is self._editor:
            return
        self.close()
        self._editor = editor
        self._keys = make_shortcuts(
            editor, {key: lambda step=step: self._onEditorKey(step) for key, step in self.keys.items()}
        )

    def _onEditorKey(self, step) -> None:
        if not self._rows or self._editor.segmentationNode() is not self._result.segmentation:
            return
        step()
        if self.current >= 0:
            number, count = self._rows[self.current].number, self._ui.reviewedLabel.text
            slicer.util.showStatusMessage(_("Slice {number}. {count}").format(number=number, count=count), 3000)

    def close(self) -> None:
        """Give the Segment Editor's keys back."""
        drop_shortcuts(self._keys)
        self._editor, self._keys = None, []

    def _onCell(self, row, column, *_before) -> None:
        if row >= 0:
            self.go(row)

    def _onClicked(self, row, column) -> None:
        if row == self.current and column != REVIEWED:
            self.go(row)  # back to the spot, after scrolling away from it

    def _onItem(self, item) -> None:
        if item.column() != REVIEWED:
            return
        row = self._rows[item.row()]
        reviewed = int(item.checkState()) == int(qt.Qt.Checked)
        if reviewed != row.reviewed:
            set_reviewed(self._result.slices, row.number, reviewed)
            self._rows = self._result.rows()
            self._showCount()
