"""Keeps what a user has corrected as a case to train on: image and segments, in a data set on disk.

Example, in a script:
    >>> result = find_result(output.segmentation, "cardiac-lv")
    >>> save_case(result, [volume], logic.library.find("cardiac-lv")[1], "hearts", "case001")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import qt
import SimpleITK as sitk
import slicer

from csam.errors import CSAMError, InputError
from csam.image.geometry import check_channels
from csam.training.add_case import Collection, case_name, collection
from csam.training.model_match import values_by_name

from ..logic.kept_case import folder_mark
from ..logic.segments import segment_id
from ..logic.sequence_browser import check_shows
from ..logic.shown_result import ShownResult
from ..logic.texts import tr as _
from ..logic.volume_geometry import image_from_volume

FOLDER = "CSAMSegment/TrainingFolder"
"""The setting that keeps the data set added to last."""
CASE = "CSAMSegment.Case"
"""The attribute of a result's table that tells its image's ID, its case's name, and a mark of the folder."""


def check_case(result: ShownResult | None, volumes: Sequence, model) -> None:
    """Raises InputError when a result is not that of these images, as they are now and as wholes.

    volumes: one for each channel of the model.
    """
    if result is None or result.segmentation.GetScene() is None or result.volume is None:
        raise InputError("There is no result, or its image is no longer in the scene. Segment an image first.")
    if model is None or model.name != result.model:
        raise InputError(f'This is the result of the model "{result.model}". Choose that model to keep it.')
    report = result.report()
    further = report.get("further_images")
    if not (isinstance(further, list) and all(isinstance(image, list) and len(image) == 2 for image in further)):
        further = [(None, None)] * (len(volumes) - 1)  # of older results, and damaged ones, nothing is known
    same = [volume is not None and _is(volume, *image) for volume, image in zip(volumes[1:], further, strict=False)]
    if volumes[0] is not result.volume or not all(same) or len(further) != len(volumes) - 1:
        names = ", ".join([result.volume.GetName(), *(name or "another image" for _identifier, name in further)])
        raise InputError(f"This is the result of the images: {names}. Choose these again to keep it.")
    check_shows(result.volume, report.get("sequence_item"), "This is the result")
    if _within(report, "provenance", "options", "region") is not None:
        raise InputError("Only a region was segmented, so the rest is unknown. Segment the whole image to keep it.")


def _within(report, *names: str):
    """A field of a field of a report, None where any of them is not there."""
    for name in names:
        report = report.get(name) if isinstance(report, dict) else None
    return report


def _is(volume, identifier: str | None, name: str | None) -> bool:
    """Whether a volume is that of an ID and name; of the name where a loaded scene has given other IDs."""
    gone = identifier is not None and slicer.mrmlScene.GetNodeByID(identifier) is None
    return identifier in (None, volume.GetID()) or (gone and volume.GetName() == name)


def open_collection(folder, model) -> Collection:
    """The data set in a folder, for cases of this model. Raises InputError as ``csam.training.add_case`` does."""
    names = [label.name for label in sorted(model.labels, key=lambda label: label.value)]
    channels, modalities = zip(*((channel.name, channel.modality) for channel in model.channels), strict=True)
    return collection(folder, channels, names, modalities, values_by_name(model))


def save_case(
    result: ShownResult, volumes: Sequence, model, folder, name: str, replace: bool = False, reviewed_only: bool = False
) -> int:
    """Add the image and the model's segments as they are now to a data set; returns how many cases it has then.

    volumes: one for each channel of the model. name, replace: as in ``csam.training.add_case.Collection.add``.
    reviewed_only: whether the labels of slices that are not ticked as reviewed are kept as unknown.
    Raises InputError when the images are not those of the result, or segments overlap, and what ``collect`` raises.
    """
    images, truth = case_of(result, volumes, model)
    known = [row.index for row in result.rows() if row.reviewed] if reviewed_only else None
    count = open_collection(folder, model).add(name, images, truth, replace, known, "ijk"[result.slice_axis])
    if result.report().get("sequence_item") is None:
        result.volumes.SetAttribute(CASE, f"{result.volume.GetID()} {name} {folder_mark(folder)}")
    return count


def case_of(result: ShownResult | None, volumes: Sequence, model) -> tuple[list[sitk.Image], sitk.Image]:
    """The images and the labels that would be kept. Raises InputError where they are none of a case."""
    check_case(result, volumes, model)
    images = [image_from_volume(volume) for volume in volumes]
    check_channels(images)
    truth = sitk.GetImageFromArray(labels_now(result, model))
    truth.CopyInformation(images[0])
    return images, truth


def kept_as(result: ShownResult, folder) -> str:
    """The name under which the result was kept in a folder before, empty where it was not."""
    image, name, place = [*(result.volumes.GetAttribute(CASE) or "").split(" ", 2), "", "", ""][:3]
    return name if (image, place) == (result.volume.GetID(), folder_mark(folder)) else ""


def labels_now(result: ShownResult, model) -> np.ndarray:
    """The model's segments as they are now on the grid of the image, (k, j, i), by value; deleted ones are empty.

    Raises InputError when two of them overlap, for a voxel has one label, or one has no voxels to be read.
    """
    segmentation, owner = result.segmentation.GetSegmentation(), {}
    labels = np.zeros(slicer.util.arrayFromVolume(result.volume).shape, np.uint8)
    for label in model.labels:
        segment = segmentation.GetSegment(segment_id(result.model, label.value))
        if segment is None:
            continue
        mask = _voxels(result, segment_id(result.model, label.value)) > 0
        shared = np.unique(labels[mask])
        if shared.any():
            raise InputError(
                f'The segments "{owner[int(shared.max())]}" and "{segment.GetName()}" overlap, but a voxel can have '
                "only one label. Erase one of them there in the Segment Editor."
            )
        labels[mask] = label.value
        owner[label.value] = segment.GetName()
    return labels


def _voxels(result: ShownResult, identifier: str) -> np.ndarray:
    """A segment's voxels on the grid of the image. The node that Slicer's export leaves behind goes again."""
    kind = "vtkMRMLLabelMapVolumeDisplayNode"
    before = {node.GetID() for node in slicer.util.getNodesByClass(kind)}
    try:
        return slicer.util.arrayFromSegmentBinaryLabelmap(result.segmentation, identifier, result.volume)
    except RuntimeError as error:
        raise InputError(f"A segment's voxels cannot be read: {error}") from error
    finally:
        for node in slicer.util.getNodesByClass(kind):
            if node.GetID() not in before:
                slicer.mrmlScene.RemoveNode(node)


def keeps(keep: Callable[[], str]) -> bool:
    """Whether a case was kept; what ``keep`` says is shown, or its error. It says nothing where the user cancels."""
    try:
        told = keep()
    except CSAMError as error:
        slicer.util.errorDisplay(str(error))
        return False
    if told:
        slicer.util.showStatusMessage(told, 5000)
    return bool(told)


class TrainingCaseView:
    """The button that keeps a case. find: gives the result that is shown. input: the panel's InputView."""

    def __init__(self, ui, find, input):
        self._ui, self._find, self._input = ui, find, input
        ui.keepCaseButton.clicked.connect(self.keep)

    def show(self, result: ShownResult | None) -> None:
        may_be_kept = result is not None and not result.is_taught
        self._ui.keepCaseButton.enabled = self._ui.reviewedOnlyCheckBox.enabled = may_be_kept

    def keep(self, *_arguments) -> None:
        """Ask where and under what name, and keep the case; an error is shown."""
        keeps(self._keep)

    def _keep(self) -> str:
        """What to say at the end, nothing when the user has cancelled."""
        result, model = self._find(), self._input.model
        case_of(result, self._input.volumes(), model)
        reviewed_only = bool(self._ui.reviewedOnlyCheckBox.checked)
        objections = _objections(result, model, reviewed_only)
        if objections and not slicer.util.confirmOkCancelDisplay(" ".join([*objections, _("Keep the case?")])):
            return ""
        settings, title = slicer.app.userSettings(), _("Choose the data set to add the case to")
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, settings.value(FOLDER, ""))
        if not folder:
            return ""
        cases = open_collection(folder, model)
        settings.setValue(FOLDER, folder)
        kept = kept_as(result, folder)
        name = ask_name(kept if kept and cases.has(kept) else cases.free_name())
        if not name:
            return ""
        replace, question = cases.has(case_name(name)), question_about(name, cases)
        if question and not slicer.util.confirmOkCancelDisplay(question):
            return ""
        with slicer.util.WaitCursor():
            count = save_case(
                self._find(), self._input.volumes(), self._input.model, folder, name, replace, reviewed_only
            )
        return _("{name} is kept. Cases in {folder}: {count}.").format(name=name, count=count, folder=folder)


def _objections(result: ShownResult, model, reviewed_only: bool) -> list[str]:
    """What speaks against learning from a result as it is, a sentence each. Raises InputError where nothing is left."""
    rows, said = result.rows(), []
    left = sum(not row.reviewed for row in rows)
    if reviewed_only and left == len(rows):
        raise InputError(
            "No slice is ticked as reviewed, so there is nothing to learn from. Tick the slices that are right, or "
            "untick Reviewed only."
        )
    if left and not reviewed_only:
        text = _("{left} of {all} slices are not ticked as reviewed. A model would learn errors in them as truth.")
        said.append(text.format(left=left, all=len(rows)))
    for label in model.labels:
        if segment_id(result.model, label.value) not in result.segments:
            text = _('The segment "{name}" is missing. A model would learn that the structure is not there.')
            said.append(text.format(name=label.name))
    return said


def question_about(name: str, cases: Collection) -> str:
    """What to ask before a case is kept under a name; empty where nothing speaks against it."""
    before, after = cases.patients(), cases.patients([name])
    if cases.has(case_name(name)):
        return _("The data set has a case {name} already. Replace it?").format(name=name)
    if before != after:
        return _(
            "The part of a case's name before the last underscore is the patient. If you add a case {name}, the cases "
            "so far count as those of {after} patient(s) instead of {before}. Use this name?"
        ).format(name=name, after=after, before=before)
    return ""


def ask_name(suggestion: str) -> str:
    """The case's name as a user gives it, empty when they cancel."""
    dialog = qt.QInputDialog(slicer.util.mainWindow())
    dialog.setWindowTitle(_("Keep for training"))
    dialog.setLabelText(
        _("Enter a name that does not identify the patient. Scans of one patient: p1_1, p1_2; of another: p2_1.")
    )
    dialog.setTextValue(suggestion)
    accepted = dialog.exec()
    name = dialog.textValue().strip()
    dialog.deleteLater()
    return name if accepted else ""
