"""The options of the Segment Editor's effect: the widgets, in the order in which they are used, and nothing else."""

from __future__ import annotations

import ctk
import qt

from ..logic.texts import tr as _

VISIBLE, SELECTED = "visible", "selected"
LIST_ROWS = 5


class FillForm:
    """Lays the widgets out in a scripted effect's options frame."""

    def __init__(self, effect):
        self.drawnLabel = _words("fillDrawnLabel")
        effect.addOptionsWidget(self.drawnLabel)

        self.sliceList = qt.QListWidget()
        self.sliceList.objectName = "fillSliceList"
        self.sliceList.setToolTip(
            _("Ticked slices count as drawn and stay as they are: tick or untick them here. Select a slice to see it.")
        )
        self.sliceList.setMinimumHeight(LIST_ROWS * 18)
        self.sliceList.setMaximumHeight(LIST_ROWS * 24)
        effect.addOptionsWidget(self.sliceList)
        self.markButton = _button("fillMarkButton", _("Mark or unmark the slice in view"))
        self.markButton.setToolTip(
            _("Tick or untick the slice in view. A ticked slice counts as drawn, even if empty.")
        )
        effect.addOptionsWidget(self.markButton)

        self.segmentsComboBox = qt.QComboBox()
        self.segmentsComboBox.objectName = "fillSegmentsComboBox"
        self.segmentsComboBox.addItem(_("Visible segments"), VISIBLE)
        self.segmentsComboBox.addItem(_("Selected segment"), SELECTED)
        self.segmentsComboBox.setToolTip(_("Which segments are filled. All others stay as they are."))
        effect.addLabeledOptionsWidget(_("Fill:"), self.segmentsComboBox)
        self.beyondCheckBox = qt.QCheckBox(_("Beyond the first and last drawn slice"))
        self.beyondCheckBox.objectName = "fillBeyondCheckBox"
        self.beyondCheckBox.setToolTip(_("Also fill the slices before the first drawn slice and behind the last."))
        effect.addOptionsWidget(self.beyondCheckBox)

        self.previewButton = _button("fillPreviewButton", _("Preview"))
        self.autoUpdateCheckBox = qt.QCheckBox(_("Auto-update"))
        self.autoUpdateCheckBox.objectName = "fillAutoUpdateCheckBox"
        self.autoUpdateCheckBox.setToolTip(_("Update the preview when a drawn slice is edited."))
        effect.addOptionsWidget(_row(self.previewButton, self.autoUpdateCheckBox))
        self.progressBar = qt.QProgressBar()
        self.progressBar.objectName = "fillProgressBar"
        self.progressBar.setTextVisible(False)
        effect.addOptionsWidget(self.progressBar)
        self.messageLabel = _words("fillMessageLabel")
        effect.addOptionsWidget(self.messageLabel)

        self.opacitySlider = ctk.ctkSliderWidget()
        self.opacitySlider.objectName = "fillOpacitySlider"
        self.opacitySlider.maximum, self.opacitySlider.singleStep = 1.0, 0.05
        self.opacitySlider.setToolTip(_("How strongly the preview covers the image."))
        effect.addLabeledOptionsWidget(_("Opacity:"), self.opacitySlider)
        self.nextLabel = _words("fillNextLabel")
        self.nextButton = _button("fillNextButton", _("Go there"))
        self.nextButton.setToolTip(_("Go to that slice, at its worst point."))
        self.nextRow = _row(self.nextLabel, self.nextButton)
        effect.addOptionsWidget(self.nextRow)

        self.cancelButton = _button("fillCancelButton", _("Cancel"))
        self.cancelButton.setToolTip(_("Stop the filling, or remove the preview. The segments stay as they are."))
        self.applyButton = _button("fillApplyButton", _("Apply"))
        self.applyButton.setToolTip(_("Put the preview into the segments. Undo takes it back."))
        effect.addOptionsWidget(_row(self.cancelButton, self.applyButton))


def _button(name: str, text: str):
    button = qt.QPushButton(text)
    button.objectName = name
    return button


def _words(name: str):
    """A label for sentences."""
    label = qt.QLabel()
    label.objectName = name
    label.setWordWrap(True)
    return label


def _row(first, second):
    """Two widgets side by side."""
    frame = qt.QFrame()
    layout = qt.QHBoxLayout(frame)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(first, 1)
    layout.addWidget(second)
    return frame
