"""Keeps what a person has corrected as a case to train on: image and segments, in a data set on disk.

Example, in a script:
    >>> result = find_result(output.segmentation, "cardiac-lv")
    >>> save_case(result, [volume], logic.library.find("cardiac-lv")[1], "hearts", "case001")
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import qt
import SimpleITK as sitk
import slicer

from csam.errors import CSAMError, InputError
from csam.training.collect import add_case, free_name

from .geometry import image_from_volume
from .i18n import tr as _
from .results import ShownResult
from .segments import segment_id

FOLDER = "CSAMSegment/TrainingFolder"
"""The setting that keeps the data set added to last."""


def save_case(result: ShownResult, volumes: Sequence, model, folder, name: str) -> int:
    """Add the image and the model's segments as they are now to a data set; returns how many cases it has then.

    volumes: one for each channel of the model. folder, name: as in ``csam.training.collect.add_case``.
    Raises InputError when the image is not that of the result, or segments overlap, and what ``add_case`` raises.
    """
    if model is None or model.name != result.model or not volumes or volumes[0] is not result.volume or None in volumes:
        raise InputError(
            f'The result is that of the model "{result.model}". Choose it, and the images that it was run on.'
        )
    images = [image_from_volume(volume) for volume in volumes]
    truth = sitk.GetImageFromArray(labels_now(result, model, volumes[0]))
    truth.CopyInformation(images[0])
    names = [label.name for label in sorted(model.labels, key=lambda label: label.value)]
    return add_case(folder, name, images, truth, [channel.name for channel in model.channels], names)


def labels_now(result: ShownResult, model, volume) -> np.ndarray:
    """The model's segments as they are now on the volume's grid, (k, j, i), by label value; deleted ones are empty.

    Raises InputError when two of them overlap: a voxel has one label.
    """
    segmentation, owner = result.segmentation.GetSegmentation(), {}
    labels = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
    for label in model.labels:
        identifier = segment_id(result.model, label.value)
        segment = segmentation.GetSegment(identifier)
        if segment is None:
            continue
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(result.segmentation, identifier, volume) > 0
        shared = np.unique(labels[mask])
        if shared.any():
            raise InputError(
                f'The segments "{owner[int(shared.max())]}" and "{segment.GetName()}" overlap; every voxel needs one '
                "label. Take one of them away there, in the Segment Editor."
            )
        labels[mask] = label.value
        owner[label.value] = segment.GetName()
    return labels


class TrainingCaseView:
    """The button that keeps a case. find: gives the result that is shown. input: the panel's InputView."""

    def __init__(self, ui, find, input):
        self._ui, self._find, self._input = ui, find, input
        ui.keepCaseButton.clicked.connect(self.keep)

    def show(self, result: ShownResult | None) -> None:
        self._ui.keepCaseButton.enabled = result is not None

    def keep(self, *_arguments) -> None:
        """Ask where and under what name, and keep the case; an error is shown."""
        result = self._find()
        rows = result.rows()
        left = sum(not row.reviewed for row in rows)
        question = _(
            "{left} of {all} slices are not ticked as reviewed. What is wrong in them would be learned. Keep the case?"
        ).format(left=left, all=len(rows))
        if left and not slicer.util.confirmOkCancelDisplay(question):
            return
        settings, title = slicer.app.userSettings(), _("Data set to add the case to")
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, settings.value(FOLDER, ""))
        if not folder:
            return
        name = _ask_name(free_name(folder))
        if not name:
            return
        try:
            with slicer.util.WaitCursor():
                count = save_case(result, self._input.volumes(), self._input.model, folder, name)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
            return
        settings.setValue(FOLDER, folder)
        told = _("{name} is kept: {count} cases in {folder}.").format(name=name, count=count, folder=folder)
        slicer.util.showStatusMessage(told, 5000)


def _ask_name(suggestion: str) -> str:
    """The case's name as a person gives it, empty when they cancel."""
    dialog = qt.QInputDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(_("Keep for training"))
    dialog.setLabelText(_("Name of the case, not of the patient. Scans of one patient: p1_1, p1_2; of another: p2_1."))
    dialog.setTextValue(suggestion)
    accepted = dialog.exec()
    name = dialog.textValue().strip()
    dialog.deleteLater()
    return name if accepted else ""
