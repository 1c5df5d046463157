"""One case after the other, each from its files to its result on disk.

Example:
    >>> batch = Batch("scans", "results", "cardiac-lv", model.digest, Options())  # doctest: +SKIP
    >>> for row in one_by_one(batch, find_cases(Path("scans")).cases, model):  # doctest: +SKIP
    ...     print(row.case, row.expected_dice, row.fault)
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..errors import Cancelled, DeviceLost, InputError, told_of
from ..image import dicom, files, geometry
from ..image.fingerprint import fingerprint
from ..image.raster import voxels_of
from ..model import Model
from ..pipeline.thumbnail import thumbnail
from ..result import Options, Result
from .cases import Case, source_of
from .folder import BatchFolder, FolderError
from .row import Row

Segment = Callable[[list[sitk.Image]], Result]
NEVER_A_FAULT = (Cancelled, DeviceLost, FolderError)
"""Errors that are not a case's own: what comes after it would end with them too."""


@dataclass(frozen=True)
class Batch:
    """What is the same for every case.

    folder: of the cases. out: of the results. model: a path, or a shipped model's name; digest: its own.
    channels: how many images it takes. frame: the volume of 4-D images, from 0.
    """

    folder: str
    out: str
    model: str
    digest: str
    options: Options
    channels: int = 1
    frame: int | None = None

    def source(self, case: Case) -> dict[str, Any]:
        """What a result of a case is of (``source_of``), and which volume of it. Raises OSError."""
        frame = {} if self.frame is None else {"frame": self.frame}
        return source_of(case, Path(self.folder)) | frame


def one_by_one(batch: Batch, cases: Iterable[Case], model: Model) -> Iterator[Row]:
    """Segments the cases that are not done yet, in this process; the rows as they come. Raises FolderError."""
    for case in cases:
        yield attempt(case, batch, whole_run(model, batch.options))


def whole_run(model: Model, options: Options) -> Segment:
    """The pipeline as ``attempt`` wants it: on the CPU where a GPU answers this process no more."""

    def run(images: list[sitk.Image]) -> Result:
        from ..pipeline.cpu_fallback import on_cpu_if_lost
        from ..pipeline.segment import segment

        return on_cpu_if_lost(lambda wanted: segment(images, model, wanted), options)

    return run


def attempt(case: Case, batch: Batch, segment: Segment) -> Row:
    """A case from its files to its result, unless it is done. What fails is written down as its fault.

    Raises Cancelled, DeviceLost and FolderError alone.
    """
    out = BatchFolder(Path(batch.out))

    def work() -> Row:
        source = batch.source(case)
        known = out.done(case.name, source)
        if known is not None:
            out.forget_faults([case.name])  # of a run that could not read it
            return known
        images, said = read_case(case, Path(batch.folder), batch.frame, batch.channels)
        return finish(out, case.name, source, images, segment, said)

    return or_fault(out, case.name, case.images, work)


def finish(
    out: BatchFolder,
    name: str,
    source: dict[str, Any],
    images: list[sitk.Image],
    segment: Segment,
    said: Sequence[str] = (),
    keep_images: bool = False,
) -> Row:
    """Segments images and keeps the result. said: warnings of reading them."""
    result = segment(images)
    result = replace(result, warnings=(*said, *result.warnings)) if said else result
    mark = fingerprint([voxels_of(image) for image in images])
    return out.keep(name, source, result, thumbnail(images[0], result), images if keep_images else (), mark)


def or_fault(out: BatchFolder, name: str, images: Sequence[str], work: Callable[[], Row]) -> Row:
    """What the work gives, or the fault that ended it."""
    try:
        return work()
    except NEVER_A_FAULT:
        raise
    except Exception as error:  # one case that fails stops no other
        return out.fail(name, images, str(told_of(error)), "".join(traceback.format_exception(error)))


def read_case(
    case: Case, folder: Path, frame: int | None = None, channels: int | None = None
) -> tuple[list[sitk.Image], list[str]]:
    """The images of a case, one a channel, and what there is to say of them. Raises InputError.

    frame: the volume of 4-D images. channels: how many volumes of a 4-D image are channels of one image.
    """
    said: list[str] = []
    if case.series:
        images = [dicom.read_series(folder / case.images[0], case.series)]
    else:
        images = [files.read_image(folder / path, note=said.append) for path in case.images]
    if frame is not None:
        images = [geometry.frame(image, frame) for image in images]
    return channels_of(images, channels), said


def channels_of(images: list[sitk.Image], channels: int | None) -> list[sitk.Image]:
    """The images, or the volumes of a single 4-D image that has as many as there are channels."""
    if len(images) == 1 and images[0].GetDimension() == 4 and images[0].GetSize()[3] == channels:
        return [geometry.frame(images[0], channel) for channel in range(channels)]
    return images


def check_model(model: Model, batch: Batch) -> None:
    """Raises InputError where a model is not that of the batch, as on another computer."""
    if model.digest != batch.digest:
        raise InputError(
            f"The model {batch.model} on this computer ({model.name} {model.version}) is not the one with which the "
            "batch was started. Install the same version of CSAMSegment, or give the model as a folder that every "
            "computer can read."
        )
