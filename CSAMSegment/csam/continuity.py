"""What neighbouring slices say of each other: pieces that a lost slice tore apart, and the slice that was lost.

Slices are thick, so that a structure seen in the slices on both sides of a slice runs through it. A slice without
signal, or one that moved, comes out as confident background all the same; no probability of its own betrays it.
"""

from __future__ import annotations

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


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The structure (S, H, W) without all but its largest piece; pieces that one slice parts count as one.

    Voxels touch across faces, edges and corners; of two pieces of one size the first in the order of voxels stays.
    """
    bridged = mask.copy()
    bridged[1:-1] |= mask[:-2] & mask[2:]
    labelled = sitk.ConnectedComponent(sitk.GetImageFromArray(bridged.astype(np.uint8)), True)
    pieces = sitk.GetArrayFromImage(labelled) * mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax() if sizes.any() else mask
