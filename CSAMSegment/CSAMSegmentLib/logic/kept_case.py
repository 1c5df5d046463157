"""Any image and segmentation as a case to learn from, and a case of a data set back in the scene.

Example, in a script:
    >>> keep_case("hearts", "p1", [volume], segmentation, {"Segment_1": "right ventricle"}, only_drawn=True)
    >>> opened = open_case(cases[0], contents)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from csam.errors import InputError
from csam.image.geometry import axis_for, check_channels
from csam.image.unknown import known_slices
from csam.training.add_case import Collection, collection
from csam.training.dataset import Case
from csam.training.dataset_json import CONTENTS, Contents, read_contents

from .drawn_slices import drawn_indices, find_slices, mark, recorded_axis
from .new_structure import tie
from .result_nodes import KEPT
from .segment_voxels import segment_labels
from .texts import tr as _
from .volume_geometry import image_from_volume, volume_from_image


@dataclass(frozen=True)
class Opened:
    """A case in the scene. volumes: one a channel. whole: whether every voxel's label is known."""

    volumes: tuple[Any, ...]
    segmentation: Any
    whole: bool


def folder_mark(folder: str | Path) -> str:
    """What tells a data set from others; its path is nobody's business who is given the scene."""
    return hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:16]


def kept_as(segmentation, folder: str | Path) -> str:
    """The name of the case of a data set that a segmentation is; empty where it is none of that data set."""
    name, _blank, place = (segmentation.GetAttribute(KEPT) or "").partition(" ")
    return name if place == folder_mark(folder) else ""


def contents_of(folder: str | Path) -> Contents | None:
    """What the data set of a folder holds; None where one is to be begun there. Raises InputError for a damaged one."""
    return read_contents(Path(folder))[0] if (Path(folder) / CONTENTS).exists() else None


def open_data_set(folder: str | Path, labels: Sequence[str]) -> Collection:
    """The data set of a folder, or one to be begun, for cases with these labels. Raises InputError where the one that
    is there has no label of such a name, or no case can be added."""
    contents = contents_of(folder)
    if contents is None:
        return collection(folder, ("image",), list(labels))
    known = {name.casefold() for name in contents.labels}
    strange = [name for name in labels if name.casefold() not in known]
    if strange:
        raise InputError(
            f"The data set has the labels {', '.join(contents.labels)}, not {', '.join(strange)}. Give the segments "
            "labels of the data set, or choose another folder."
        )
    return collection(folder, contents.channels, contents.labels, contents.modalities)


def keep_case(
    folder: str | Path,
    name: str,
    volumes: Sequence,
    segmentation,
    labels: Mapping[str, str],
    only_drawn: bool = False,
    replace: bool = False,
    slice_axis: str = "auto",
) -> int:
    """Add images and segments as a case; returns how many the data set has then.

    volumes: one a channel of the data set. labels: the label of each segment that is kept, by segment ID. only_drawn:
    whether slices that do not count as drawn (``drawn_slices``) are unknown. slice_axis: of the slices, as in
    ``Options``, where the segments do not remember it. Labels of the data set without a segment are kept as not
    labelled in this case. Raises InputError for what cannot be kept.
    """
    if not labels:
        raise InputError("No segment is ticked. Tick the segments that a model shall learn.")
    cases = open_data_set(folder, list(dict.fromkeys(labels.values())))
    if any(volume is None for volume in volumes) or len(volumes) != len(cases.channels):
        raise InputError(f"The data set has the channels {', '.join(cases.channels)}. Choose an image for each.")
    contents = contents_of(folder)
    names = list(contents.labels) if contents is not None else list(dict.fromkeys(labels.values()))
    places = {one.casefold(): value for value, one in enumerate(names, 1)}
    values = {segment: places[label.casefold()] for segment, label in labels.items()}
    if len({*values.values()}) < len(values):
        raise InputError(
            "Two segments have the same label. Give each its own label, or join them in the Segment Editor."
        )
    images = [image_from_volume(volume) for volume in volumes]
    check_channels(images)
    truth = sitk.GetImageFromArray(segment_labels(segmentation, values, volumes[0]))
    truth.CopyInformation(images[0])
    axis = "ijk"[recorded_axis(segmentation, volumes[0], [*values], slice_axis)]
    known = drawn_indices(find_slices(segmentation, volumes[0], [*values], axis)) if only_drawn else None
    if known is not None and not known:
        raise InputError(
            "No slice counts as drawn, so there is nothing to learn from. Draw in a slice, or choose All slices are "
            "labelled."
        )
    unlabelled = [one for value, one in enumerate(names, 1) if value not in values.values()]
    count = cases.add(name, images, truth, replace, known, axis, unlabelled)
    segmentation.SetAttribute(KEPT, f"{name} {folder_mark(folder)}")
    return count


def open_case(case: Case, contents: Contents) -> Opened:
    """Load a case's images and labels into the scene. Raises InputError where a file cannot be read.

    Slices that are known as wholes count as drawn in the segmentation, empty ones too; the others do not.
    """
    images, truth = case.read()
    several = [f"{case.name} {channel}" for channel in contents.channels]
    names = several if len(images) > 1 else [case.name]
    # Without the file's storage node: saving the scene does not write into the data set.
    volumes = [volume_from_image(image, name) for image, name in zip(images, names, strict=True)]
    slicer.util.setSliceViewerLayers(background=volumes[0])
    segmentation = slicer.mrmlScene.AddNewNodeByClass(
        "vtkMRMLSegmentationNode", _("{name} labels").format(name=case.name)
    )
    tie(segmentation, volumes[0])
    segmentation.CreateDefaultDisplayNodes()
    values, identifiers = sitk.GetArrayViewFromImage(truth), []
    for value, label in enumerate(contents.labels, 1):
        if value in case.unlabelled:
            continue
        identifier = segmentation.GetSegmentation().AddEmptySegment("", label)
        identifiers.append(identifier)
        mask = (values == value).astype(np.uint8)
        if mask.any():
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, identifier, volumes[0])
    axis, known, part = known_slices(values, axis_for(truth, "auto"))
    whole = len(known) == values.shape[2 - axis]
    for drawn, indices in ((True, () if whole else known), (False, part)):
        for index in indices:
            mark(segmentation, volumes[0], identifiers, index, drawn, "ijk"[axis])
    segmentation.SetAttribute(KEPT, f"{case.name} {folder_mark(case.labels.parents[1])}")
    return Opened(tuple(volumes), segmentation, whole)
