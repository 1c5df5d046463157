"""A case of a batch as a result in the scene, ready to be reviewed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from csam.batch.cases import Case, safe_name, source_of
from csam.batch.folder import SCENE, BatchFolder
from csam.batch.run import read_case
from csam.batch.saved import REPORT, read_result
from csam.errors import InputError
from csam.image.files import read_json

from .map_display import MAPS
from .result_writer import write_result
from .shown_result import segmentation_of
from .transaction import Transaction
from .volume_geometry import volume_from_image

CASE = "CSAMSegment.BatchCase"
"""The attribute of a volume that tells which case of which batch it is."""


@dataclass(frozen=True)
class OpenedCase:
    """The nodes of a case. volumes: one a channel. model: its name."""

    volumes: tuple[Any, ...]
    segmentation: Any
    uncertainty: Any
    model: str


def open_case(out: BatchFolder, name: str, library) -> OpenedCase:
    """Loads the images of a case and shows its result, or finds it where it is open already.

    library: gives the model. Raises InputError where images or result are not what they were, ModelError where the
    model is not installed.
    """
    place, said = out.results / name, out.description()
    if said is None:
        raise InputError(f"{out.path} no longer holds a batch. Choose another folder for the results.")
    _path, model = library.find(said["model"]["name"])
    mark = _mark(place / REPORT)
    opened = [volume for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if _is(volume, mark)]
    if opened:
        segmentation = segmentation_of(opened[0], model.name)
        if segmentation is not None:
            return OpenedCase(tuple(opened), segmentation, None, model.name)
    images = _images(place, name, len(model.channels))
    result = read_result(place)
    titles = [name, *(f"{name} {channel.name}" for channel in model.channels[1:])]
    volumes = [volume_from_image(image, title) for image, title in zip(images, titles, strict=True)]
    try:
        output = write_result(result, volumes[0], model, maps=tuple(MAPS), others=volumes[1:])
    except BaseException:
        for volume in volumes:
            Transaction(slicer.mrmlScene).remove(volume)
        raise
    for volume in volumes:
        volume.SetAttribute(CASE, mark)
    return OpenedCase(tuple(volumes), output.segmentation, output.uncertainty, model.name)


def is_case_of(volume, out: BatchFolder) -> bool:
    """Whether a volume is an image of these results that ``open_case`` has loaded: it is segmented already."""
    report = out.results / safe_name(volume.GetName() or "") / REPORT
    return volume.GetAttribute(CASE) is not None and report.is_file() and _is(volume, _mark(report))


def _images(place: Path, name: str, channels: int) -> list:
    """The images that the result is of."""
    try:
        source = read_json(place / REPORT)["source"]
        case = Case(name, tuple(source["images"]), source["series"])
        folder = place if source["folder"] == SCENE else Path(source["folder"])
        changed = source["folder"] != SCENE and source_of(case, folder)["stamps"] != source["stamps"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The image of {name} cannot be found ({error}). Put it back where it was.") from error
    if changed:
        raise InputError(f"The image of {name} has changed since it was segmented. Press Start to segment it again.")
    return read_case(case, folder, source.get("frame"), channels)[0]


def _mark(report: Path) -> str:
    """What tells this result from others; its path is nobody's business who is given the scene."""
    try:
        stamp = report.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"The result {report.parent} is missing. Press Start to segment the case again.") from error
    return hashlib.sha256(f"{report.resolve()} {stamp}".encode()).hexdigest()[:16]


def _is(volume, mark: str) -> bool:
    return volume.GetAttribute(CASE) == mark
