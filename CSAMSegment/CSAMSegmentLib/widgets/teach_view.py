"""The part Teach by drawing: an editor, the segments to fill, the slices that count as drawn, and Fill the rest."""

from __future__ import annotations

import qt

from csam.errors import CSAMError, InputError
from csam.interactive.drawing import FillOptions

from ..logic.carry import plan_carry
from ..logic.closed_voxels import closed_voxels
from ..logic.drawn_slices import (
    CORRECTED,
    DRAWN,
    EMPTY,
    REVIEWED,
    are_carried,
    drawn_indices,
    find_slices,
    mark,
    reviewed_of,
    slice_axis_of,
)
from ..logic.fill_run import plan_fill
from ..logic.filled_model import TAUGHT
from ..logic.frames import follow, shown_frame
from ..logic.new_structure import add_structure, tie
from ..logic.node_watch import NodeWatch
from ..logic.segments import MODEL_TAG
from ..logic.shown_result import ShownResult
from ..logic.slice_in_view import show_slice
from ..logic.texts import tr as _
from ..logic.update_rest import Update
from .correction_watch import DELAY, EDITED, OTHER
from .embedded_editor import EmbeddedEditor
from .keys_and_timers import make_timer

SLICE, IS_DRAWN, WHY = range(3)


class TeachView:
    """Keeps the part as the segmentation is."""

    def __init__(self, ui):
        self._ui = ui
        self._parameters = self._segmentation = self._volume = None
        self._result: ShownResult | None = None
        self._states: list = []
        self._segments: dict[str, str] = {}
        self._left: set[str] = set()  # segments that the user does not want to be filled
        self.editor = EmbeddedEditor(ui.editorWidget)
        self._watch = NodeWatch((*EDITED, *OTHER), self._onEdit)
        self._timer = make_timer(DELAY, self.refresh, once=True)
        for table in (ui.fillSegmentsTable, ui.drawnTable):
            table.verticalHeader().hide()
            table.horizontalHeader().setHighlightSections(False)
            table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
            table.setFixedHeight(130)
        for column in (SLICE, IS_DRAWN):
            ui.drawnTable.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        ui.fillSegmentsTable.itemChanged.connect(self._onSegment)
        ui.drawnTable.itemChanged.connect(self._onDrawn)
        ui.drawnTable.cellClicked.connect(self._onSlice)
        ui.teachCollapsibleButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        ui.drawingSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onSegmentation)
        ui.newStructureButton.clicked.connect(self.newStructure)
        self.show(None, None, False)

    @property
    def isOpen(self) -> bool:
        """Whether the part is shown."""
        return not self._ui.teachCollapsibleButton.collapsed

    @property
    def busy(self) -> bool:
        """Whether it is still to follow an edit."""
        return self._timer.isActive()

    # What is shown ------------------------------------------------------------------------------------------------

    def show(self, parameters, result: ShownResult | None, canUndo: bool) -> None:
        """Show what is drawn in the chosen segmentation. result: the one that is shown. canUndo: the last filling."""
        self._parameters, self._result = parameters, result
        self._segmentation = parameters.segmentation if parameters is not None else None
        self._volume = parameters.inputVolume if parameters is not None else None
        self._ui.undoFillButton.enabled = canUndo
        self._ui.nextSliceButton.enabled = result is not None
        if parameters is None:
            self.editor.letGo()
            self._watch.follow(())
            self._timer.stop()
            return
        self._ui.drawingSelector.setCurrentNode(self._segmentation)
        self._watch.follow([self._segmentation])
        self.refresh()

    def refresh(self) -> None:
        """Follow the segments and what is drawn in them. While the part is not shown nothing is read."""
        self._timer.stop()
        if not self.isOpen or self._parameters is None:
            return
        self._ui.newStructureButton.enabled = self._volume is not None
        self.editor.show(self._segmentation, self._volume)
        self._segments = _segments(self._segmentation)
        self._keepFrame()
        self._fillSegments()
        problem = ""
        try:
            self._states = self._find()
        except CSAMError as error:
            self._states, problem = [], str(error)
        self._fillSlices()
        self._showFrame()
        drawn = [str(state.index + 1) for state in self._states if state.drawn]
        if self._volume is None:
            said = _("Choose the image to draw on, under Input.")
        elif not self._segments:
            said = _("Press New structure and draw it in two to five slices. Then press Fill the rest.")
        elif problem:
            said = problem
        elif self._isCarried():
            said = _("Carried from the frame before. Correct or tick slices, then press Fill the rest.")
        elif len(drawn) < 2:
            said = _("Draw the structure in two to five slices. Then press Fill the rest.")
        else:
            text = _("Drawn slices: {drawn} (of {count}). They stay as they are.")
            said = text.format(drawn=", ".join(drawn), count=len(self._states))
        self._ui.teachLabel.text = said
        self._ui.fillButton.enabled = 0 < len(drawn) < len(self._states)

    def _keepFrame(self) -> None:
        """What is drawn in a segmentation that follows a sequence is saved, also in one that was loaded from a file."""
        frame = shown_frame(self._volume)
        if frame is not None and self._segmentation is not None and frame.is_followed_by(self._segmentation):
            follow(self._segmentation, frame)

    def _isCarried(self) -> bool:
        try:
            axis = slice_axis_of(self._volume, self._parameters.sliceAxis.value)
            return bool(self._states) and are_carried(self._segmentation, self.chosen(), axis, len(self._states))
        except CSAMError:
            return False

    def _showFrame(self) -> None:
        """Which frame of a sequence is drawn on, and whether there is a next one."""
        frame = shown_frame(self._volume)
        for widget in (self._ui.teachFrameText, self._ui.carryButton):
            widget.setVisible(frame is not None)
        if frame is not None:
            said = _("Frame {number} of {count}")
            self._ui.teachFrameText.text = said.format(number=frame.item + 1, count=frame.browser.GetNumberOfItems())
            self._ui.carryButton.enabled = frame.next is not None and bool(self.chosen())

    def chosen(self) -> list[str]:
        """The IDs of the segments that are to be filled."""
        return [one for one in self._segments if one not in self._left]

    def _find(self) -> list:
        if self._volume is None or not self.chosen():
            return []
        axis = self._parameters.sliceAxis.value
        return find_slices(self._segmentation, self._volume, self.chosen(), axis, self._reviewed())

    def _reviewed(self) -> tuple[int, ...]:
        """The slices of an earlier filling of these segments that are ticked in the list."""
        result = self._result
        ours = result is not None and result.is_taught and {*result.segments} & {*self.chosen()}
        ours = ours and result.is_of_shown_image
        return reviewed_of(result.rows()) if ours else ()

    def _fillSegments(self) -> None:
        table = self._ui.fillSegmentsTable
        table.setVisible(len(self._segments) > 1)
        table.blockSignals(True)
        table.setRowCount(len(self._segments))
        for row, (identifier, name) in enumerate(self._segments.items()):
            table.setItem(row, 0, _tick(name, identifier not in self._left))
        table.resizeRowsToContents()
        table.blockSignals(False)

    def _fillSlices(self) -> None:
        words = {DRAWN: "", EMPTY: _("empty"), CORRECTED: _("corrected"), REVIEWED: _("reviewed")}
        table = self._ui.drawnTable
        table.blockSignals(True)
        table.setRowCount(len(self._states))
        for row, state in enumerate(self._states):
            number = qt.QTableWidgetItem(str(state.index + 1))
            number.setTextAlignment(qt.Qt.AlignCenter)
            table.setItem(row, SLICE, number)
            table.setItem(row, IS_DRAWN, _tick("", state.drawn))
            table.setItem(row, WHY, qt.QTableWidgetItem(words.get(state.why, "")))
        table.resizeRowsToContents()
        table.blockSignals(False)

    # What is done -------------------------------------------------------------------------------------------------

    def plan(self) -> Update:
        """What is to be filled. Raises InputError, with a sentence for a user."""
        self.refresh()
        if self._segmentation is None or not self._segments:
            raise InputError("There is nothing to fill yet. Press New structure and draw it in two to five slices.")
        chosen, options = self.chosen(), self._options(bool(self._ui.beyondCheckBox.checked))
        closed = closed_voxels(self._segmentation, self._volume, chosen, self.editor.node)
        drawn = drawn_indices(self._states)
        plan = plan_fill(self._volume, self._segmentation, chosen, drawn, options, closed=closed)
        return Update(plan, TAUGHT, self._reviewed())

    def carry(self) -> Update:
        """Go to the next frame of the sequence; what is to be done there. Raises InputError as ``plan`` does."""
        self.refresh()
        if self._segmentation is None or not self.chosen():
            raise InputError("There is nothing to carry yet. Press New structure, draw it and fill the rest first.")
        return plan_carry(self._volume, self._segmentation, self.chosen(), self._options(), self.editor.node)

    def _options(self, beyond: bool = False) -> FillOptions:
        parameters = self._parameters
        return FillOptions(parameters.seed, parameters.device, parameters.sliceAxis.value, beyond)

    def newStructure(self, *_arguments) -> None:
        """A new segment, and the brush to draw in it."""
        segmentation, identifier = add_structure(self._volume, self._segmentation)
        self._segmentation = self._parameters.segmentation = segmentation
        self._watch.follow([segmentation])
        self.refresh()
        self.editor.watchViews()
        self.editor.choose(identifier, "Paint")

    def edit(self, segmentation, volume, segment: str) -> None:
        """Open the part to correct a segment of a result."""
        self._segmentation, self._volume = segmentation, volume
        self._ui.teachCollapsibleButton.collapsed = False
        self.editor.show(segmentation, volume)
        self.editor.watchViews()
        if segment:
            self.editor.choose(segment)

    def enter(self) -> None:
        """The user opens the module."""
        if self.isOpen:
            self.editor.watchViews()

    def rest(self) -> None:
        """The user opens another module."""
        self.editor.rest()

    def close(self) -> None:
        """The panel goes."""
        self._timer.stop()
        self._watch.follow(())
        self.editor.close()

    # Events -------------------------------------------------------------------------------------------------------

    def _onEdit(self, *_event) -> None:
        self._timer.start()

    def _onCollapsed(self, collapsed: bool) -> None:
        if collapsed:
            self.editor.rest()
        else:
            self.refresh()
            self.editor.watchViews()

    def _onSegmentation(self, node) -> None:
        if self._parameters is None or node is self._parameters.segmentation:
            return
        if node is not None and self._volume is not None and not node.GetSegmentation().GetNumberOfSegments():
            tie(node, self._volume)  # one that was just made
            node.CreateDefaultDisplayNodes()
        self._parameters.segmentation = node

    def _onSegment(self, item) -> None:
        identifier = list(self._segments)[item.row()]
        (self._left.discard if _is_ticked(item) else self._left.add)(identifier)
        self._timer.start()  # not while the table tells of its change

    def _onDrawn(self, item) -> None:
        state = self._states[item.row()]
        if item.column() == IS_DRAWN and _is_ticked(item) != state.drawn:
            axis = self._parameters.sliceAxis.value
            mark(self._segmentation, self._volume, self.chosen(), state.index, _is_ticked(item), axis)
            self._timer.start()

    def _onSlice(self, row: int, column: int) -> None:
        if column != IS_DRAWN and row < len(self._states):
            axis = slice_axis_of(self._volume, self._parameters.sliceAxis.value)
            show_slice(self._volume, axis, self._states[row].index)


def _segments(segmentation) -> dict[str, str]:
    """The names of the segments that a user has drawn, by ID: all but those that a model has made."""
    content = segmentation.GetSegmentation() if segmentation is not None else None
    segments = {one: content.GetSegment(one) for one in content.GetSegmentIDs()} if content is not None else {}
    return {one: segment.GetName() for one, segment in segments.items() if not segment.HasTag(MODEL_TAG)}


def _tick(text: str, ticked: bool):
    item = qt.QTableWidgetItem(text)
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
    item.setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)
    return item


def _is_ticked(item) -> bool:
    return int(item.checkState()) == int(qt.Qt.Checked)
