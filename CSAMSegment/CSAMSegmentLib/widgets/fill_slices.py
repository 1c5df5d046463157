"""Which slices count as drawn: in words, and as a list in which a user ticks them."""

from __future__ import annotations

from ..logic import fill_texts
from ..logic.drawn_slices import SliceState, find_slices, mark, slice_axis_of
from ..logic.slice_in_view import show_slice, shown_slice

CHECKED, UNCHECKED = 2, 0  # qt.Qt.Checked, qt.Qt.Unchecked; items give them as ints


class FillSlices:
    """The upper part of the form.

    onMarked: called when the user has said of a slice that it counts as drawn, or does not.
    """

    def __init__(self, form, onMarked):
        self._form, self._onMarked = form, onMarked
        self._volume = self._segmentation = None
        self._segments: list[str] = []
        self._axis = "auto"
        self.states: list[SliceState] = []
        form.sliceList.itemChanged.connect(self._onTicked)
        form.sliceList.currentRowChanged.connect(self._onChosen)
        form.markButton.clicked.connect(self._onMark)

    @property
    def drawn(self) -> tuple[int, ...]:
        """The slices that count as drawn, from 0, rising."""
        return tuple(state.index for state in self.states if state.drawn)

    def read(self, volume, segmentation, segments: list[str], axis: str = "auto") -> None:
        """Look at the drawing. axis: of the slices, as in ``Options.slice_axis``. Raises InputError where it cannot be
        read."""
        self.states = find_slices(segmentation, volume, segments, axis)
        self._volume, self._segmentation, self._segments, self._axis = volume, segmentation, segments, axis
        self._show(fill_texts.drawn(self.states, len(segments)))

    def clear(self, reason: str) -> None:
        """There is nothing to be filled."""
        self.states, self._volume, self._segmentation, self._segments = [], None, None, []
        self._show(reason)

    def _show(self, words: str) -> None:
        form = self._form
        form.drawnLabel.text = words
        form.markButton.enabled = bool(self.states)
        form.sliceList.enabled = bool(self.states)
        form.sliceList.blockSignals(True)
        if form.sliceList.count != len(self.states):
            form.sliceList.clear()
            form.sliceList.addItems([""] * len(self.states))  # Qt's own items: they can be ticked
        for state in self.states:
            item = form.sliceList.item(state.index)
            item.setText(fill_texts.one_slice(state))
            item.setCheckState(CHECKED if state.drawn else UNCHECKED)
        form.sliceList.blockSignals(False)

    def _onTicked(self, _item) -> None:
        for state in self.states:
            ticked = int(self._form.sliceList.item(state.index).checkState()) == CHECKED
            if ticked != state.drawn:
                self._mark(state.index, ticked)
                return

    def _onChosen(self, row: int) -> None:
        if 0 <= row < len(self.states):
            show_slice(self._volume, slice_axis_of(self._volume, self._axis), row)

    def _onMark(self, *_arguments) -> None:
        index = shown_slice(self._volume, slice_axis_of(self._volume, self._axis))
        if index is None:
            self._form.messageLabel.text = fill_texts.NO_VIEW
            return
        self._mark(index, not self.states[index].drawn)
        self._form.sliceList.blockSignals(True)
        self._form.sliceList.setCurrentRow(index)
        self._form.sliceList.blockSignals(False)

    def _mark(self, index: int, drawn: bool) -> None:
        mark(self._segmentation, self._volume, self._segments, index, drawn, self._axis)
        self._onMarked()
