"""The Result part of the panel: structures with volume and interval, expected Dice, warnings, copy and export."""

from __future__ import annotations

import re
from pathlib import Path

import qt
import slicer

from csam.errors import CSAMError

from ..logic import texts
from ..logic.shown_result import ShownResult
from ..logic.structure_volumes import table_text, write_csv
from ..logic.texts import tr as _


class ResultView:
    """Shows the figures of a result. onRestore: called when the user asks for the result before."""

    def __init__(self, ui, onRestore):
        self._ui = ui
        self._result: ShownResult | None = None
        self._edited: dict[int, float] = {}
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

    def show(self, result: ShownResult | None, canRestore: bool, model: str = "") -> None:
        """Show a result, or that there is none. canRestore: whether the one before can be put back.

        model: the name of the chosen one; of another one's result it is said whose it is.
        """
        self._result = result
        if result is None:
            self._edited = {}
        self._ui.copyButton.enabled = self._ui.exportButton.enabled = result is not None
        self._ui.restoreButton.enabled = canRestore
        self._fill()
        report = result.report() if result is not None else {}
        quality = report.get("case_quality")
        if quality is None:
            said = _("No result yet.")
        elif result.is_empty:
            said = _("Nothing was found, so there is no expected Dice. Look at every slice.")
        else:
            said = texts.quality(quality, report.get("case_rank"), result.extent)
        self._ui.qualityLabel.text = said
        warnings = result.warnings() if result is not None else []
        if result is not None and not result.is_taught and model not in ("", result.model):
            warnings = [_('This is the result of the model "{name}".').format(name=result.model), *warnings]
        self._ui.warningsLabel.text = texts.bullets(warnings)
        self._ui.warningsLabel.setVisible(bool(warnings))

    def showEdits(self, volumes: dict[int, float]) -> None:
        """Show the volumes of structures that a user has edited, in ml by label value, in place of the run's."""
        self._edited = volumes
        self._fill()

    @property
    def isEdited(self) -> bool:
        """Whether a user has changed a structure since the run."""
        return bool(self._edited)

    def corrected(self, model: str):
        """The segmentation in which a user has corrected what this model had found; None where nobody has."""
        ours = self._result is not None and self._result.model == model
        return self._result.segmentation if ours and self.isEdited else None

    def _fill(self) -> None:
        table = self._ui.resultTable
        structures = self._result.structures() if self._result is not None else []
        table.setRowCount(len(structures))
        for row, entry in enumerate(structures):
            now = self._edited.get(entry.value)
            tip = _(
                "{name}: {volume:.2f} ml; mean of the samples {mean:.2f} ml, 90 % interval {low:.2f} to {high:.2f} ml"
            ).format(name=entry.name, volume=entry.volume_ml, mean=entry.mean_ml, low=entry.low_ml, high=entry.high_ml)
            if now is not None:
                tip = _("Edited: {now:.2f} ml. Found by the run: {tip}").format(now=now, tip=tip)
            volume = texts.millilitres(entry.volume_ml) if now is None else texts.millilitres(now) + " ✎"
            for column, text in enumerate((entry.name, volume, texts.interval(entry.low_ml, entry.high_ml))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(tip)
                if column == 0:
                    item.setIcon(_swatch(self._color(entry.value)))
                table.setItem(row, column, item)
        said = texts.edits(
            (entry.name, self._edited[entry.value], entry.volume_ml)
            for entry in structures
            if entry.value in self._edited
        )
        self._ui.editedLabel.text = said
        self._ui.editedLabel.setVisible(bool(said))
        table.resizeRowsToContents()
        height = table.horizontalHeader().height + sum(table.rowHeight(row) for row in range(len(structures))) + 4
        table.setFixedHeight(min(height, 180))

    def _color(self, value: int) -> tuple[float, float, float]:
        """The colour of a structure's segment; grey when a user has deleted it."""
        segmentation = self._result.segmentation.GetSegmentation()
        segment = segmentation.GetSegment(self._result.segment_id(value))
        return segment.GetColor() if segment is not None else (0.5, 0.5, 0.5)

    def copy(self, *_arguments) -> None:
        """Put the table on the clipboard, columns apart by tabs."""
        slicer.app.clipboard().setText(table_text(self._result, "\t"))
        slicer.util.showStatusMessage(_("The table of volumes is on the clipboard."), 3000)

    def _onExport(self, *_arguments) -> None:
        image = self._result.volume
        suggestion = f"{image.GetName() if image else 'volumes'} {self._result.model}.csv"
        suggestion = re.sub(r'[\\/:*?"<>|]', "_", suggestion)
        path = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export the volumes"), suggestion, _("Comma-separated values") + " (*.csv)"
        )
        whole = path if not path or path.lower().endswith(".csv") else path + ".csv"
        question = _("{name} already exists. Replace it?").format(name=whole)
        if path and (whole == path or not Path(whole).exists() or slicer.util.confirmOkCancelDisplay(question)):
            self.export(whole)

    def export(self, path) -> None:
        """Write the table to a file; an error is shown."""
        try:
            write_csv(self._result, path)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))


def _swatch(color):
    pixels = qt.QPixmap(12, 12)
    pixels.fill(qt.QColor(*(round(255 * channel) for channel in color)))
    return qt.QIcon(pixels)
