"""Update the rest: the slices that a user has reviewed or corrected stay, the others follow them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from csam.errors import InputError
from csam.image.geometry import pixel_area
from csam.interactive.drawing import FillOptions

from .closed_voxels import closed_voxels
from .drawn_slices import drawn_indices, find_slices, reviewed_of
from .fill_run import FillRun, plan_fill
from .segment_voxels import segment_voxels
from .sequence_browser import check_shows
from .shown_result import ShownResult
from .volume_geometry import raster_from_volume


@dataclass(frozen=True)
class Update:
    """What ``CSAMSegmentLogic.startFill`` needs. name, reviewed, others: as it takes them.

    undo: takes back what was done to the scene for it, where it does not come to a result.
    keep: called right before the segments change, as for an editor's undo.
    """

    plan: FillRun
    name: str
    reviewed: tuple[int, ...]
    others: tuple[Any, ...] = ()
    undo: Callable[[], None] = lambda: None
    keep: Callable[[], None] = lambda: None


def plan_update(result: ShownResult | None, seed: int = 0, device: str = "auto", editor=None) -> Update:
    """An update of a result as its segments are now.

    editor: a vtkMRMLSegmentEditorNode whose settings hold, as for ``closed_voxels``. Raises InputError when no slice
    is reviewed or corrected, every slice is, or the result is of another image than the one that is shown.
    """
    if result is None or result.segmentation.GetScene() is None or result.volume is None:
        raise InputError("There is no result, or its image is no longer in the scene. Segment an image first.")
    report = result.report()
    check_shows(result.volume, report.get("sequence_item"), "This is the result")
    segments = {result.segment_id(entry.value): entry.value for entry in result.structures()}
    segments = {one: value for one, value in segments.items() if one in result.segments}
    if not segments:
        raise InputError("The segments of this result were removed. Segment the image again.")
    axis, reviewed = "ijk"[result.slice_axis], reviewed_of(result.rows())
    closed = closed_voxels(result.segmentation, result.volume, segments, editor)
    if result.is_taught:
        drawn = drawn_indices(find_slices(result.segmentation, result.volume, list(segments), axis, reviewed))
        beyond = bool(((report.get("provenance") or {}).get("options") or {}).get("beyond"))
        options = FillOptions(seed, device, axis, beyond)
        plan = plan_fill(result.volume, result.segmentation, segments, drawn, options, closed=closed)
        return Update(plan, result.model, reviewed)
    drawn = sorted({*reviewed, *corrected_slices(result)})
    if not drawn:
        raise InputError("No slice is corrected or ticked as reviewed. Correct one or two slices and tick them first.")
    options = FillOptions(seed, device, axis)
    plan = plan_fill(result.volume, result.segmentation, segments, drawn, options, update=True, closed=closed)
    scene = result.volume.GetScene()
    further = report.get("further_images") or ()
    others = [scene.GetNodeByID(str(image[0])) for image in further if isinstance(image, list) and image]
    return Update(plan, result.model, reviewed, tuple(node for node in others if node is not None))


def corrected_slices(result: ShownResult) -> list[int]:
    """The slices, from 0, in which a structure does not have the area that the run has found."""
    table, axis = result.slices.GetTable(), result.slice_axis
    pixel = pixel_area(raster_from_volume(result.volume), axis)
    changed: set[int] = set()
    for entry in result.structures():
        identifier, column = result.segment_id(entry.value), table.GetColumnByName(f"{entry.name} (mm2)")
        if column is None or identifier not in result.segments:
            continue
        mask = segment_voxels(result.segmentation, identifier, result.volume)
        areas = np.moveaxis(mask, 2 - axis, 0).sum((1, 2)) * pixel
        indices = table.GetColumnByName("index")
        for row in range(table.GetNumberOfRows()):
            index = indices.GetVariantValue(row).ToInt()
            found = column.GetVariantValue(row).ToDouble()
            if 0 <= index < len(areas) and abs(areas[index] - found) > pixel / 2 + 1e-5 * found:  # six digits are saved
                changed.add(index)
    return sorted(changed)
