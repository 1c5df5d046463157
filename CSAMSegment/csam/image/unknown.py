"""Voxels whose label is unknown: nobody has labelled them, so they teach nothing and measure nothing.

nnU-Net's ignore label (https://github.com/MIC-DKFZ/nnUNet, documentation/ignore_label.md). In a file it is the highest
value of its data set; once read it is UNKNOWN, whatever number the file has. No structure has that number.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

UNKNOWN = 255
"""The label of such a voxel, in arrays and tensors: the highest value of uint8."""
IGNORE = "ignore"
"""Its name in dataset.json."""
MOST_STRUCTURES = UNKNOWN - 1


def with_unknown(labels: np.ndarray, value: int | None) -> np.ndarray:
    """The labels as uint8, UNKNOWN where a file has its own ``value`` for that; as they are where it has none."""
    return labels if value is None else np.where(labels == value, UNKNOWN, labels).astype(np.uint8)


def known_slices_only(labels: np.ndarray, slices: Collection[int], axis: int) -> np.ndarray:
    """The labels as uint8, UNKNOWN in all other slices. slices: indices along an axis of the array.

    Raises IndexError where there is no such slice.
    """
    some = np.isin(np.arange(labels.shape[axis]), [*slices])
    if some.sum() < len({*slices}):
        raise IndexError(f"of the slices {sorted(slices)} not all are among 0 to {len(some) - 1}")
    shape = [-1 if a == axis else 1 for a in range(labels.ndim)]
    return np.where(some.reshape(shape), labels, UNKNOWN).astype(np.uint8)


def known_slices(labels: np.ndarray, usual: int) -> tuple[int, list[int], list[int]]:
    """The axis (0, 1, 2) along which labels are known slice by slice, or else the usual one; the slices that are known,
    and those of which a part is. labels: (k, j, i)."""
    voxels = labels != UNKNOWN
    for axis in (*sorted(range(3), key=lambda one: one != usual), usual):
        slices = np.moveaxis(voxels, 2 - axis, 0)
        some, every = slices.any((1, 2)), slices.all((1, 2))
        if np.array_equal(some, every):
            break
    return axis, np.flatnonzero(every).tolist(), np.flatnonzero(some & ~every).tolist()


def structures(labels: np.ndarray) -> np.ndarray:
    """Where a structure is known to be."""
    return (labels != 0) & (labels != UNKNOWN)
