"""What neighbouring slices say of each other: pieces that a lost slice tore apart, and the slice that was lost.

Slices are thick, so that a structure seen in the slices on both sides of a slice runs through it. A slice without
signal, or one that moved, comes out as confident background all the same; no probability of its own betrays it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

BROKEN = 0.5
"""A slice is broken where it lacks more than this share of what both its neighbours have in common."""


def missing_between(mask: np.ndarray, smallest: int = 1) -> np.ndarray:
    """Voxels of broken slices that lie inside the structure of both neighbours but not in the slice: (S, H, W) bool.

    mask: one structure, (S, H, W). smallest: pixels that the neighbours must have in common to count. First and last
    slices have one neighbour and are never broken.
    """
    missing = np.zeros_like(mask)
    common = mask[:-2] & mask[2:]
    lacking = common & ~mask[1:-1]
    shared = common.sum((1, 2))
    broken = (lacking.sum((1, 2)) > BROKEN * shared) & (shared >= smallest)
    missing[1:-1] = lacking & broken[:, None, None]
    return missing


def largest_piece(mask: np.ndarray, cut: Sequence[tuple[bool, bool]] = ()) -> np.ndarray:
    """The structure (S, H, W) without all but its largest piece; pieces that one slice parts count as one.

    Voxels touch across faces, edges and corners; of two pieces of one size the first in the order of voxels stays.
    cut: for each axis, whether the image goes on before and behind; what touches such a border counts as one piece, for
    it may be joined beyond.
    """
    bridged = mask.copy()
    bridged[1:-1] |= mask[:-2] & mask[2:]
    labelled = sitk.ConnectedComponent(sitk.GetImageFromArray(bridged.astype(np.uint8)), True)
    pieces = sitk.GetArrayFromImage(labelled) * mask
    touching = {
        int(piece)
        for axis, sides in enumerate(cut)
        for place, goes_on in zip((0, -1), sides, strict=True)
        if goes_on
        for piece in np.unique(pieces.take(place, axis))
    }
    several = sorted(touching - {0})
    if len(several) > 1:
        pieces[np.isin(pieces, several)] = several[0]
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax() if sizes.any() else mask
