"""The Result part of the panel: structures with volume and interval, case quality, warnings, copy and export."""

from __future__ import annotations

import qt
import slicer

from csam.errors import CSAMError

from . import words
from .export import table_text, write_csv
from .i18n import tr as _
from .results import ShownResult
from .tables import HIGH, LOW, MEAN, STRUCTURE, VOLUME


class ResultView:
    """Shows the figures of a result. onRestore: called when the person asks for the result before."""

    def __init__(self, ui, onRestore):
        self._ui = ui
        self._result: ShownResult | None = None
        table = ui.resultTable
        table.verticalHeader().hide()
        header = table.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ui.copyButton.clicked.connect(self.copy)
        ui.exportButton.clicked.connect(self._onExport)
        ui.restoreButton.clicked.connect(onRestore)
        self.show(None, False)

    def show(self, result: ShownResult | None, canRestore: bool) -> None:
        """Show a result, or that there is none. canRestore: whether the one before can be put back."""
        self._result = result
        self._ui.copyButton.enabled = self._ui.exportButton.enabled = result is not None
        self._ui.restoreButton.enabled = canRestore
        self._fill()
        report = result.report() if result is not None else {}
        quality = report.get("case_quality")
        said = _("No result yet.") if quality is None else words.quality(quality, report.get("case_rank"))
        self._ui.qualityLabel.text = said
        self._ui.warningsLabel.text = words.bullets(report.get("warnings") or ())
        self._ui.warningsLabel.setVisible(bool(report.get("warnings")))

    def _fill(self) -> None:
        table = self._ui.resultTable
        values = self._result.volumes.GetTable() if self._result is not None else None
        rows = values.GetNumberOfRows() if values is not None else 0
        table.setRowCount(rows)
        colors = _colors(self._result)
        for row in range(rows):
            name = values.GetValueByName(row, STRUCTURE).ToString()
            volume, mean, low, high = (values.GetValueByName(row, key).ToDouble() for key in (VOLUME, MEAN, LOW, HIGH))
            tip = _(
                "{name}: {volume:.2f} ml; mean of the samples {mean:.2f} ml, 90 % interval {low:.2f} to {high:.2f} ml"
            )
            tip = tip.format(name=name, volume=volume, mean=mean, low=low, high=high)
            texts = (name, words.millilitres(volume), words.interval(low, high))
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(tip)
                if column == 0 and row < len(colors):
                    item.setIcon(_swatch(colors[row]))
                table.setItem(row, column, item)
        height = table.horizontalHeader().height + sum(table.rowHeight(row) for row in range(rows)) + 4
        table.setFixedHeight(max(76, min(height, 180)))

    def copy(self, *_arguments) -> None:
        """Put the table on the clipboard, columns apart by tabs."""
        slicer.app.clipboard().setText(table_text(self._result, "\t"))
        slicer.util.showStatusMessage(_("The table of volumes is on the clipboard."), 3000)

    def _onExport(self, *_arguments) -> None:
        image = self._result.volume
        suggestion = f"{image.GetName() if image else 'volumes'} {self._result.model}.csv"
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export the volumes"), suggestion, _("Comma-separated values") + " (*.csv)"
        )
        if path:
            self.export(path)

    def export(self, path) -> None:
        """Write the table to a file; an error is shown."""
        try:
            write_csv(self._result, path)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))


def _colors(result: ShownResult | None) -> list:
    if result is None:
        return []
    segmentation = result.segmentation.GetSegmentation()
    return [segmentation.GetSegment(identifier).GetColor() for identifier in result.segments]


def _swatch(color):
    pixels = qt.QPixmap(12, 12)
    pixels.fill(qt.QColor(*(round(255 * channel) for channel in color)))
    return qt.QIcon(pixels)
