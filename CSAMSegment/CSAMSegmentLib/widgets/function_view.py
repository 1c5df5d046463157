"""The Function part of the panel: figures of a sequence, its curve, the way to ED and ES, 3D, tables and report."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import qt
import slicer

from csam.errors import CSAMError, InputError
from csam.sequence.measures import HEIGHT, WEIGHT, Frame, given_names
from csam.sequence.record import Record
from csam.sequence.tables import FIGURES, VOLUMES, csv_text, figure_rows, volume_rows

from ..logic import function_nodes, texts
from ..logic.sequence_browser import sequence_browser, value_in
from ..logic.shown_result import ShownResult, result_at
from ..logic.structure_volumes import edited, measure
from ..logic.surface import hide_surface, show_surface
from ..logic.text_file import write_text
from ..logic.texts import tr as _
from .keys_and_timers import make_timer


class FunctionView:
    """Shows what a model's measures make of a sequence. onView: called when another chart, or 3D, is to be shown."""

    def __init__(self, ui, onView):
        self._ui, self._onView = ui, onView
        self._result: ShownResult | None = None
        self._record: Record | None = None
        self._shown = "", ""  # the ID of the segmentation, and the record as text
        self._seen = "", ""  # the same ID, and the place of the frame
        self._isNew = False
        table = ui.functionTable
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        self._rowsTimer = make_timer(0, self._fitRows, once=True)  # when every column has its new width
        header.sectionResized.connect(lambda *_section: self._rowsTimer.start())
        for button, mark in ((ui.endDiastoleButton, 0), (ui.endSystoleButton, 1)):
            button.clicked.connect(lambda *_a, mark=mark: self._goToMark(mark))
        for box in (ui.heightSpinBox, ui.weightSpinBox):
            box.valueChanged.connect(self._onBody)
        ui.curveCheckBox.toggled.connect(lambda on: self._onView(bool(on)))
        ui.show3DCheckBox.toggled.connect(self._onToggled)
        ui.functionExportButton.clicked.connect(self._onExport)
        ui.functionReportButton.clicked.connect(self._onReport)
        self.show(None)

    @property
    def chart(self):
        """The chart to be shown in place of that of the slices, None for the latter."""
        wanted = self._record is not None and self._ui.curveCheckBox.checked
        return function_nodes.find(self._result.segmentation, function_nodes.CHART) if wanted else None

    @property
    def solid(self) -> bool:
        """Whether a 3D view is to be shown."""
        return self._record is not None and self._ui.show3DCheckBox.checked

    def show(self, result: ShownResult | None) -> None:
        """Show the measures beside a result; nothing where there are none."""
        before = self._result
        if before is not None and (result is None or result.segmentation is not before.segmentation):
            self._follow(before)  # its sequence may show another frame since
        browser = self._follow(result)
        self._ui.functionCollapsibleButton.setVisible(self._record is not None)
        self._ui.endDiastoleButton.enabled = self._ui.endSystoleButton.enabled = browser is not None
        if self.solid:
            show_surface(result.segmentation, again=False)  # of the image that the sequence shows now

    def _follow(self, result: ShownResult | None):
        """Take up the record beside a result, and the frame that the sequence shows; the sequence's browser."""
        self._result = result
        node = function_nodes.find(result.segmentation, function_nodes.RECORD) if result is not None else None
        text = node.GetText() if node is not None else ""
        shown = result.segmentation.GetID() if result is not None else "", text
        if shown != self._shown:
            self._shown = shown
            self._record = function_nodes.read_record(result.segmentation) if text else None
            self._fill()
            self._onView(self._isNew)
            self._isNew = False
        browser = sequence_browser(result.segmentation) if self._record is not None else None
        before, self._seen = self._seen, (shown[0], _place(browser))
        if before[0] == shown[0] and before[1] != self._seen[1]:
            self._onLeft(browser, before[1])
        return browser

    def close(self) -> None:
        """The panel goes."""
        self._rowsTimer.stop()

    def onNew(self) -> None:
        """A run over a sequence has ended: its curve is to be seen."""
        self._ui.curveCheckBox.checked = self._isNew = True

    def onEdits(self, volumes: dict[int, float]) -> None:
        """The image that is shown was measured. volumes: in ml by label value, those that its result's table does not
        have: a user has corrected them. The result itself may have come after the record, as from *Update the rest*."""
        if self._record is not None:
            self._correct(_place(sequence_browser(self._result.segmentation)), self._result, volumes)

    def _onLeft(self, browser, place: str) -> None:
        """The sequence shows another frame: a last edit of the one before may not have been measured yet."""
        items = range(browser.GetNumberOfItems()) if browser is not None else ()
        item = next((item for item in items if value_in(browser, item) == place), None)
        there = result_at(self._result, browser, item) if item is not None else None
        if there is not None:
            self._correct(place, there, measure(there))

    def _correct(self, place: str, result: ShownResult, volumes: dict[int, float]) -> None:
        """Let the record follow the volumes of a frame. result: as it stands there."""
        record = self._record
        frame = self._frame(place)
        if frame is None or record.model not in ("", result.model):  # "" in scenes of earlier versions
            return
        now = {one.value: one.volume_ml for one in result.structures()} | volumes
        now = {value: volume for value, volume in now.items() if frame.structure(value) is not None}
        here = edited(self._result, now, frame.structures)
        edits = {index: of for index, of in {**record.edits, frame.index: here}.items() if of}
        if edits != record.edits:
            function_nodes.write_record(replace(record, edits=edits), self._result.segmentation)
            self.show(self._result)

    def _frame(self, place: str) -> Frame | None:
        """The frame of the record at a place; its time has a unit behind that, which may have been changed since."""
        frames = (one for one in self._record.frames if f"{one.time} ".startswith(f"{place} "))
        return min(frames, key=lambda one: len(one.time), default=None)  # of "rest" and "rest 2", the former

    def onPoint(self, series, row: int) -> None:
        """A point of a chart was clicked: to its frame."""
        frame = function_nodes.frame_of_point(series, row)
        if frame is not None:
            self._go(frame)

    def _fill(self) -> None:
        record, table = self._record, self._ui.functionTable
        found = record.found if record is not None else ()
        figures = [figure for one in found for figure in one.figures]
        table.setRowCount(len(figures))
        for row, figure in enumerate(figures):
            value = "–" if figure.value is None else f"{figure.value:.1f} {figure.unit}"
            inside = "–" if figure.low is None else texts.interval(figure.low, figure.high)
            for column, text in enumerate((figure.words, value, inside)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(f"{figure.words}: {figure.text}")
                table.setItem(row, column, item)
        self._fitRows()
        said = texts.bullets(record.said) if record is not None else ""
        self._ui.functionLabel.text = said
        self._ui.functionLabel.setVisible(bool(said))
        body = record is not None and HEIGHT in given_names(record.measures)
        for box, name in ((self._ui.heightSpinBox, HEIGHT), (self._ui.weightSpinBox, WEIGHT)):
            box.setVisible(body)
            box.blockSignals(True)
            box.value = record.given.get(name, 0.0) if record is not None else 0.0
            box.blockSignals(False)
        marks = [*self._marks().items()]
        for button, position in ((self._ui.endDiastoleButton, 0), (self._ui.endSystoleButton, 1)):
            button.setVisible(position < len(marks))
            if position < len(marks):
                mark, frame = marks[position]
                button.text = _("{mark}: frame {number}").format(mark=mark, number=frame + 1)

    def _fitRows(self) -> None:
        """Names take two lines where the panel is narrow."""
        table = self._ui.functionTable
        table.resizeRowsToContents()
        height = table.horizontalHeader().height + sum(table.rowHeight(row) for row in range(table.rowCount)) + 4
        table.setFixedHeight(min(height, 260))

    def _marks(self) -> dict[str, int]:
        return {mark: frame for one in self._record.found for mark, frame in one.marks.items()} if self._record else {}

    def _goToMark(self, position: int) -> None:
        self._go([*self._marks().values()][position])

    def _go(self, frame: int) -> None:
        """Have the sequence show a frame of the record, from 0: others may have been removed from it since."""
        browser = sequence_browser(self._result.segmentation) if self._record is not None else None
        if browser is None:
            return
        frames = [self._frame(value_in(browser, item)) for item in range(browser.GetNumberOfItems())]
        wanted = self._record.frames[frame]
        if wanted in frames:
            browser.SetSelectedItemNumber(frames.index(wanted))
        else:
            told = _("The frame at {place} is no longer in the sequence.").format(place=wanted.time)
            slicer.util.showStatusMessage(told, 3000)

    def _onBody(self, *_arguments) -> None:
        """Height or weight were given: the figures by body surface area follow."""
        if self._record is None:
            return
        numbers = {HEIGHT: self._ui.heightSpinBox.value, WEIGHT: self._ui.weightSpinBox.value}
        record = replace(self._record, given={name: value for name, value in numbers.items() if value > 0})
        try:
            function_nodes.write_record(record, self._result.segmentation)
        except InputError:  # while it is being typed
            return
        self.show(self._result)

    def _onToggled(self, *_arguments) -> None:
        if self._result is not None and self._record is not None:
            (show_surface if self.solid else hide_surface)(self._result.segmentation)
        self._onView()

    def _onExport(self, *_arguments) -> None:
        path = self._ask(_("Export the figures"), "csv", _("Comma-separated values"))
        if path and (not _beside(path).exists() or _mayReplace(_beside(path))):
            self.export(path)

    def _onReport(self, *_arguments) -> None:
        path = self._ask(_("Save the report"), "html", _("Web page"))
        if path:
            self.report(path)

    def export(self, path) -> None:
        """Write the figures to a file, and every image's volumes beside it; an error is shown."""
        found = self._record.found
        if self._write(Path(path), csv_text(FIGURES, figure_rows(found))):
            self._write(_beside(path), csv_text(VOLUMES, volume_rows(self._record.now, found)))

    def report(self, path) -> None:
        """Write the page to a file; an error is shown."""
        self._write(Path(path), self._record.html())

    def _write(self, path: Path, text: str) -> bool:
        """Whether it could be written; an error is shown."""
        try:
            write_text(path, text)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
            return False
        return True

    def _ask(self, title: str, ending: str, kind: str) -> str:
        name = re.sub(r'[\\/:*?"<>|]', "_", self._record.title.rpartition(": ")[2])
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), title, f"{name} function.{ending}", f"{kind} (*.{ending})"
        )
        whole = path if not path or path.lower().endswith(f".{ending}") else f"{path}.{ending}"
        return "" if whole != path and Path(whole).exists() and not _mayReplace(whole) else whole


def _place(browser) -> str:
    """Where the frame that a browser shows stands in its sequence."""
    item = browser.GetSelectedItemNumber() if browser is not None else -1
    return value_in(browser, item) if item >= 0 else ""


def _beside(path) -> Path:
    """Where the volumes of every image go, beside the file of the figures."""
    path = Path(path)
    return path.with_name(f"{path.stem} volumes{path.suffix}")


def _mayReplace(path) -> bool:
    return slicer.util.confirmOkCancelDisplay(_("{name} already exists. Replace it?").format(name=path))
