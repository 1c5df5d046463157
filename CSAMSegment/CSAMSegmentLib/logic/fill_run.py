"""One filling of the slices between drawn ones: what the worker is asked, and what its answer changes.

Example, in a script:
    >>> drawn = drawn_indices(find_slices(segmentation, volume, ["Segment_1"]))
    >>> plan = plan_fill(volume, segmentation, ["Segment_1"], drawn)
    >>> job = client.submit(*plan.request())
    >>> labelmaps = plan.labelmaps(job.result())

Only voxels of the chosen segments change, and only in slices that are not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from csam.errors import InputError
from csam.image.geometry import pixel_area, voxel_volume
from csam.image.raster import Raster, voxels_of
from csam.interactive.drawing import (
    NOTHING_BETWEEN,
    NOTHING_DRAWN,
    UNKNOWN,
    FillOptions,
    Structure,
    slices_to_fill,
)
from csam.process.client import fill_request
from csam.result import Result

from .closed_voxels import closed_voxels
from .drawn_slices import are_carried, filled_record, slice_axis_of
from .filled_model import FilledModel, filled_model
from .frames import Frame, shown_frame
from .output_checks import check_grid, check_outputs
from .segment_voxels import is_on_grid, labelmap_of, segment_labels
from .sequence_browser import check_shows, shown_item
from .volume_geometry import raster_from_volume

MOST = UNKNOWN - 1


@dataclass(frozen=True, eq=False)
class Before:
    """The frame before, whose segments are carried. labels: uint8 (k, j, i) with the values that the FillRun has."""

    image: Raster
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class FillRun:
    """One filling, fixed when it begins.

    segments: IDs of the chosen segments with the value of each in ``labels``. axis: of the slices, 0 to 2. drawn: the
    slices that are drawn, from 0. labels: uint8 (k, j, i) on the volume's grid, as they were at the beginning.
    closed: bool (k, j, i), voxels that must stay as they are. update: whether ``labels`` are a result that is to
    follow its drawn slices. warnings: what to say with the result. item: the frame that the volume shows, in words.
    before: of a carry. carried: whether the labels are carried ones, now or earlier. frame: the one that it is of,
    where there are several.
    """

    volume: Any
    segmentation: Any
    segments: Mapping[str, int]
    axis: int
    drawn: tuple[int, ...]
    labels: np.ndarray
    closed: np.ndarray
    options: FillOptions
    update: bool = False
    warnings: tuple[str, ...] = ()
    item: str | None = None
    before: Before | None = None
    carried: bool = False
    frame: Frame | None = None

    @property
    def changing(self) -> list[int]:
        """The slices that the filling may change, rising."""
        everywhere = self.update or self.options.beyond or self.before is not None
        return slices_to_fill(self.labels.shape[2 - self.axis], self.drawn, everywhere)

    def request(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and images for ``WorkerClient.submit``."""
        image = raster_from_volume(self.volume)
        drawing = self.labels.copy()
        slices = np.moveaxis(drawing, 2 - self.axis, 0)
        slices[[index for index in range(len(slices)) if index not in self.drawn]] = UNKNOWN
        content = self.segmentation.GetSegmentation()
        structures = [Structure(value, content.GetSegment(one).GetName()) for one, value in self.segments.items()]
        before = self.before
        drawing, found = (
            Raster(voxels, image.GetSpacing(), image.GetOrigin(), image.GetDirection())
            for voxels in (drawing, self.labels if before is None else before.labels)
        )
        options = replace(self.options, slice_axis="ijk"[self.axis])
        if before is not None:
            return fill_request([image], drawing, structures, options, found, before=before.image)
        case = " ".join((self.segmentation.GetID(), self.volume.GetID(), self.item or "", *self.segments))
        return fill_request([image], drawing, structures, options, found if self.update else None, case)

    def merged(self, result: Result) -> Result:
        """The worker's result with the labels that the segments shall have: drawn slices, and voxels that are closed,
        as they were. Raises InputError when it does not lie on the volume's grid."""
        check_grid(result.labels, self.volume)
        labels, new = self.labels.copy(), voxels_of(result.labels)
        mine, theirs, closed = (np.moveaxis(array, 2 - self.axis, 0) for array in (labels, new, self.closed))
        for index in self.changing:
            mine[index] = np.where(closed[index], mine[index], theirs[index])
        if not np.array_equal(labels, new):
            result = _with_labels(result, labels, self.axis)
        return replace(result, warnings=(*self.warnings, *result.warnings))

    def masks(self, result: Result) -> dict[str, np.ndarray]:
        """Every chosen segment as it shall be, by ID: bool (k, j, i) on the volume's grid."""
        labels = voxels_of(self.merged(result).labels)
        return {identifier: labels == value for identifier, value in self.segments.items()}

    def labelmaps(self, result: Result) -> dict[str, Any]:
        """``masks`` as vtkOrientedImageData in the coordinates of the segmentation."""
        masks = self.masks(result)
        return {one: labelmap_of(mask, self.volume, self.segmentation) for one, mask in masks.items()}

    def model(self, merged: Result, name: str) -> FilledModel:
        """What a ``merged`` result is written as; name: ``TAUGHT``, or that of the model whose result it updates."""
        labels = voxels_of(merged.labels)
        records = {
            one: filled_record(labels == value, self.axis, self.drawn, self.carried)
            for one, value in self.segments.items()
        }
        return filled_model(name, self.segmentation, self.segments, records)

    def check_unchanged(self) -> None:
        """Raise InputError where the chosen segments are not as they were when the filling began."""
        for what, node in (("segmentation", self.segmentation), ("image", self.volume)):
            if node.GetScene() is None:
                raise InputError(f'The {what} "{node.GetName()}" was removed while it was being filled.')
        if self.item is None and shown_item(self.volume) is not None:
            name = self.volume.GetName()
            raise InputError(f'The image "{name}" became a frame of a sequence while it was filled. Fill it again.')
        check_shows(self.volume, self.item, "This filling is")
        content = self.segmentation.GetSegmentation()
        if any(content.GetSegment(identifier) is None for identifier in self.segments):
            raise InputError("A segment was removed while it was being filled. Nothing was changed.")
        now = segment_labels(self.segmentation, self.segments, self.volume, ())
        for identifier, value in self.segments.items():
            if not np.array_equal(now == value, self.labels == value):
                name = content.GetSegment(identifier).GetName()
                raise InputError(f'The segment "{name}" was changed while it was being filled. Fill it again.')


def plan_fill(
    volume,
    segmentation,
    segments: Sequence[str] | Mapping[str, int],
    drawn: Sequence[int],
    options: FillOptions = FillOptions(),
    update: bool = False,
    closed: np.ndarray | None = None,
    before: Before | None = None,
) -> FillRun:
    """What a filling needs, read from the scene; nothing is changed.

    volume: the image, of several channels the first. segments: IDs, or IDs with a label value for each. drawn: slices
    from 0. update: the segments are a result; slices that are not drawn are segmented anew from it, as those of
    segments that were carried always are. closed: bool (k, j, i), voxels that stay as they are; None for those of all
    other segments. before: the frame from which the segments are carried. Raises InputError, each with a sentence for
    a user.
    """
    if segmentation is None:
        raise InputError("There is no segmentation. Choose one, or make a new one, and draw in it.")
    check_outputs((volume,), segmentation)
    if not segments:
        raise InputError("No segment is chosen. Choose the segment that you have drawn.")
    if len(segments) > MOST:
        raise InputError(f"{len(segments)} segments are chosen; at most {MOST} can be filled at once. Choose fewer.")
    if not isinstance(segments, Mapping):
        segments = {identifier: value for value, identifier in enumerate(segments, 1)}
    axis = slice_axis_of(volume, options.slice_axis)
    count = volume.GetImageData().GetDimensions()[axis]
    drawn = tuple(sorted({int(index) for index in drawn if 0 <= index < count}))
    labels = segment_labels(segmentation, segments, volume, drawn, axis)
    carried = before is not None or are_carried(segmentation, list(segments), axis, count)
    update = before is None and (update or carried)
    slices = np.moveaxis(labels, 2 - axis, 0)
    if before is None and (not drawn or not (update or slices[list(drawn)].any())):
        raise InputError(NOTHING_DRAWN)
    if len(drawn) == count:
        raise InputError("Every slice counts as drawn: nothing is left to fill. Untick the slices to fill.")
    if closed is None:
        closed = closed_voxels(segmentation, volume, segments)
    warnings = tuple(
        f'The segment "{segmentation.GetSegmentation().GetSegment(one).GetName()}" was not on the grid of the image '
        f'"{volume.GetName()}". It has been resampled to that grid.'
        for one in segments
        if not is_on_grid(segmentation, one, volume)
    )
    plan = FillRun(
        volume, segmentation, dict(segments), axis, drawn, labels, closed, options, update, warnings,
        shown_item(volume), before, carried, shown_frame(volume),
    )  # fmt: skip
    if not plan.changing:
        raise InputError(NOTHING_BETWEEN)
    return plan


def _with_labels(result: Result, labels: np.ndarray, axis: int) -> Result:
    """A result with other labels, and the areas and volumes of those; the intervals reach as far as they must."""
    old = result.labels
    image = Raster(labels, old.GetSpacing(), old.GetOrigin(), old.GetDirection())
    values = [entry.value for entry in result.structures]
    slices = np.moveaxis(labels, 2 - axis, 0)
    counts = np.array([np.bincount(one.ravel(), minlength=UNKNOWN + 1)[values] for one in slices])
    areas, volumes = counts * pixel_area(image, axis), counts.sum(0) * voxel_volume(image) / 1000
    scores = tuple(replace(score, areas_mm2=tuple(areas[score.index].tolist())) for score in result.slices)
    structures = tuple(
        replace(entry, volume_ml=volume, low_ml=min(entry.low_ml, volume), high_ml=max(entry.high_ml, volume))
        for entry, volume in zip(result.structures, volumes.tolist(), strict=True)
    )
    return replace(result, labels=image, slices=scores, structures=structures)
