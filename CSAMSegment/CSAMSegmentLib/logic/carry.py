"""Carry to the next frame: what stands on one frame of a sequence becomes a proposal on the next, fitted to its image.

On the next frame no slice counts as drawn but those that the user had drawn there before, and these stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from csam.errors import InputError
from csam.interactive.drawing import FillOptions

from .closed_voxels import closed_voxels
from .drawn_slices import drawn_indices, find_slices, reviewed_of
from .fill_run import Before, plan_fill
from .filled_model import TAUGHT
from .frames import follow, in_every_frame, not_in_frames, shown_frame
from .segment_voxels import segment_labels
from .sequence_browser import leave_browser
from .sequence_run import check_followed
from .shown_result import find_result
from .transaction import Transaction
from .update_rest import Update
from .volume_geometry import raster_from_volume


def plan_carry(volume, segmentation, segments: Sequence[str], options: FillOptions, editor=None) -> Update:
    """Go to the next frame, and say what is to be done there.

    volume: shows the frame to carry from. segments: IDs. editor: a vtkMRMLSegmentEditorNode whose settings hold, as
    for ``closed_voxels``. Raises InputError, with a sentence for a user, and leaves the scene as it was.
    """
    here = shown_frame(volume)
    if here is None:
        raise InputError("The image is not a frame of a sequence, so there is no next frame to carry to.")
    if here.next is None:
        raise InputError("This is the last frame of the sequence. There is no next frame to carry to.")
    check_followed(here.browser, [volume], (here.item, here.next.item))
    values = {identifier: value for value, identifier in enumerate(segments, 1)}
    before = Before(raster_from_volume(volume), segment_labels(segmentation, values, volume))
    if not before.labels.any():
        raise InputError("The chosen segments are empty on this frame. Draw and fill them first.")
    with Transaction(volume.GetScene()) as transaction:
        # One that followed already is saved from now on: that stays on purpose, as no content of it changes.
        if follow(segmentation, here):
            transaction.on_failure(leave_browser, segmentation)
        transaction.on_failure(not_in_frames, in_every_frame(segmentation, segments, here))
        transaction.on_failure(here.show)
        here.next.show()
        _check_grid(before, volume)
        result = find_result(segmentation, TAUGHT)
        reviewed = reviewed_of(result.rows()) if result is not None and result.is_taught else ()
        drawn = drawn_indices(find_slices(segmentation, volume, segments, options.slice_axis, reviewed))
        closed = closed_voxels(segmentation, volume, segments, editor)
        plan = plan_fill(volume, segmentation, values, drawn, options, closed=closed, before=before)
        return Update(plan, TAUGHT, reviewed, undo=transaction.hand_over().close)


def _check_grid(before: Before, volume) -> None:
    now = raster_from_volume(volume)
    same = before.image.GetSize() == now.GetSize() and all(
        np.allclose(getattr(before.image, part)(), getattr(now, part)(), atol=1e-3)
        for part in ("GetSpacing", "GetOrigin", "GetDirection")
    )
    if not same:
        raise InputError("The next frame does not lie on the grid of this one. Draw it by itself.")
