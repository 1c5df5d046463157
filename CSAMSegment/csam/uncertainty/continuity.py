"""What slices say of each other: pieces that a lost slice tore apart, the slice that was lost, and unsure ends.

Slices are thick, so that a structure seen in the slices on both sides of a slice runs through it. A slice without
signal, or one that moved, comes out as confident background all the same; no probability of its own betrays it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

BROKEN = 0.5
"""A slice is broken where it lacks more than this share of what both its neighbours have in common."""
SURROUNDED, OPEN = 0.5, 0.25
"""A piece is surrounded where so much of its outline borders on the other structure; half as much is enough for one
that goes on in a slice beside it. In the 266 slices of Sunnybrook's end diastole the cavity's does with 0.79 and more.
Of the pieces that models found in patients unseen to them, nearly all true ones had from 0.26 at an end of the stack;
false ones had up to 0.67, but did not go on. What other parts would keep: Testing/bench/inside.py."""

SURE = 0.75
"""Mean probability, of one structure or another, from which on a structure stays beyond the slices of the one that it
goes with. No wall that the models found beyond the cavity was as sure (Testing/bench/end_slices.py); the bound is for a
cavity that closes."""


def missing_between(mask: np.ndarray, smallest: int = 1) -> np.ndarray:
    """Voxels of broken slices that lie inside the structure of both neighbours but not in the slice: (S, H, W) bool.

    mask: one structure, (S, H, W). smallest: pixels that the neighbours must have in common to count. First and last
    slices have one neighbour and are never broken.
    """
    whole, box = np.zeros_like(mask), box_of(mask)
    missing, mask = whole[box], mask[box]
    common = mask[:-2] & mask[2:]
    lacking = common & ~mask[1:-1]
    shared = common.sum((1, 2))
    broken = (lacking.sum((1, 2)) > BROKEN * shared) & (shared >= smallest)
    missing[1:-1] = lacking & broken[:, None, None]
    return whole


def largest_piece(mask: np.ndarray, cut: Sequence[tuple[bool, bool]] = ()) -> np.ndarray:
    """The structure (S, H, W) without all but its largest piece; pieces that one slice parts count as one.

    Voxels touch across faces, edges and corners; of two pieces of one size the first in the order of voxels stays.
    cut: for each axis, whether the image goes on before and behind; what touches such a border counts as one piece, for
    it may be joined beyond.
    """
    box = box_of(mask)
    mask, whole = mask[box], mask
    if not mask.size:
        return whole
    bridged = mask.copy()
    bridged[1:-1] |= mask[:-2] & mask[2:]
    labelled = sitk.ConnectedComponent(sitk.GetImageFromArray(bridged.astype(np.uint8)), True)
    pieces = sitk.GetArrayFromImage(labelled) * mask
    touching = {
        int(piece)
        for axis, sides in enumerate(cut)
        for place, goes_on in zip((0, -1), sides, strict=True)
        if goes_on and (box[axis].start == 0 if place == 0 else box[axis].stop == whole.shape[axis])
        for piece in np.unique(pieces.take(place, axis))
    }
    several = sorted(touching - {0})
    if len(several) > 1:
        pieces[np.isin(pieces, several)] = several[0]
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = np.zeros_like(whole)
    largest[box] = pieces == sizes.argmax()
    return largest


def inside_pieces(mask: np.ndarray, around: np.ndarray) -> np.ndarray:
    """The pieces of a structure's slices that another one surrounds, (S, H, W) bool; all where it surrounds none.

    mask, around: both structures. A piece is surrounded where enough of its outline borders on the other structure.
    Less is enough where most of the piece lies over a surrounded one of the slice before or behind: at the base of the
    heart the wall is open. Pixels touch across edges; the border of the array is no outline.
    """
    kept, open_ones = np.zeros_like(mask), []
    for here in np.flatnonzero(mask.any((1, 2))):
        pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask[here].astype(np.uint8))))
        outline, bordering = np.zeros((2, pieces.max() + 1))
        for axis in (0, 1):
            for one, other in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
                place, beside = ((slice(None),) * axis + (side,) for side in (one, other))
                edge = pieces[place] * ~mask[here][beside]
                outline += np.bincount(edge.ravel(), minlength=len(outline))
                bordering += np.bincount((edge * around[here][beside]).ravel(), minlength=len(outline))
        kept[here] = (bordering >= SURROUNDED * outline)[pieces] & mask[here]
        open_here = (bordering >= OPEN * outline) & (bordering < SURROUNDED * outline)
        open_ones += [(here, pieces == number) for number in np.flatnonzero(open_here) if number]
    surrounded = kept.copy()
    for here, piece in open_ones:
        beside = surrounded[[at for at in (here - 1, here + 1) if 0 <= at < len(mask)]].any(0)
        if 2 * np.count_nonzero(piece & beside) >= np.count_nonzero(piece):
            kept[here] |= piece
    return kept if kept.any() else mask


def unsure_ends(mask: np.ndarray, other: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Slices (S,) bool at the ends of a structure, before the first and behind the last of another one, from the
    outermost inwards as long as the structure is unsure there; none where no slice shows the other one.

    mask, other: both structures, (S, H, W) bool. background: its probability, (S, H, W).
    """
    ends = np.zeros(len(mask), bool)
    found, shown = (np.flatnonzero(one.any((1, 2))) for one in (mask, other))
    if not len(shown):
        return ends
    for inwards in (found[found < shown[0]], found[found > shown[-1]][::-1]):
        for here in inwards:
            if 1 - background[here][mask[here]].mean() >= SURE:
                break
            ends[here] = True
    return ends


def box_of(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds all that is true; nothing at all where nothing is."""
    box, inside = [], mask
    for axis in range(mask.ndim):  # what one axis rules out, the next need not look at
        found = np.flatnonzero(inside.any(tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0))
        inside = inside[(slice(None),) * axis + (box[-1],)]
    return tuple(box)
