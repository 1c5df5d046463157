"""What a case's voxels tell, found in one reading: what is wrong with it, and what a plan needs to know of it.

Step: read the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image import geometry
from ..image.fingerprint import fingerprint
from ..image.unknown import UNKNOWN, structures, with_unknown

SAMPLED = 2000
"""Voxels of the structures whose values are kept, spread evenly."""
ALIKE = 0.005
"""Largest values of two slices within this share count as one."""


@dataclass(frozen=True)
class CaseFacts:
    """size, spacing (mm), direction (9 cosines): of the image.

    box: first and last index of the structures on each axis, None where the labels are empty. voxels: by label value,
    of the structures that are there. values: (channels, n) of voxels of the structures. lowest: smallest finite value
    of each channel. scaled_slices: whether all slices, along the axis of the largest spacing, share one maximum, for
    somebody scaled each of them. fingerprint: of the images (``csam.image.fingerprint``). known, shown: on each axis,
    how many slices hold a voxel that is not unknown, and how many a structure. whole: whether the label of every voxel
    is known.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    direction: tuple[float, ...]
    box: tuple[tuple[int, int], ...] | None
    voxels: Mapping[int, int]
    values: np.ndarray
    lowest: tuple[float, ...]
    scaled_slices: bool
    fingerprint: str
    known: tuple[int, int, int] = (0, 0, 0)
    shown: tuple[int, int, int] = (0, 0, 0)
    whole: bool = True


def examine_case(
    images: Sequence[sitk.Image], truth: sitk.Image, names: Sequence[str], classes: int, ignore: int | None = None
) -> tuple[CaseFacts | None, list[str]]:
    """The facts of a case, None when it has faults, and the faults. names: of the images, for the faults.

    ignore: the value in the labels of what is unknown.
    """
    faults = []
    for image, name in zip((*images, truth), (*names, "the file of labels"), strict=True):
        try:
            geometry.check_image(image, name)
            geometry.orientation(image.GetDirection(), 0)
        except InputError as error:
            faults.append(str(error))
    if faults:
        return None, faults
    for image, name in zip(images, names, strict=True):
        if not geometry.same_grid(image, truth):
            faults.append(
                f"{name} and its labels do not have the same size, spacing, origin and direction "
                f"({_difference(image, truth)})"
            )
    labels = sitk.GetArrayViewFromImage(truth)
    present, counts = np.unique(labels, return_counts=True)
    unnamed = [value for value in present.tolist() if value not in range(classes) and value != ignore]
    if unnamed:
        faults.append(f"its labels hold the values {unnamed[:5]}, which dataset.json does not name")
    elif present.tolist() == [ignore]:
        faults.append("every voxel of its labels is unknown: at least one slice has to be drawn or reviewed")
    arrays = [sitk.GetArrayViewFromImage(image) for image in images]
    with np.errstate(over="ignore"):  # as they will be used: too large for float32 is not finite
        arrays = [a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays]
    finite = [np.isfinite(array) for array in arrays]
    faults += [f"{name} holds no finite value" for mask, name in zip(finite, names, strict=True) if not mask.any()]
    if faults:
        return None, faults
    labels = with_unknown(labels, ignore)
    structured = structures(labels) if ignore is not None else labels != 0
    known = labels != UNKNOWN if ignore is not None else np.ones(labels.shape, bool)
    inside = np.flatnonzero(structured)
    some = inside[:: max(1, len(inside) // SAMPLED)]
    for mask, name in zip(finite, names, strict=True):
        if len(some) and not mask.ravel()[some].any():
            faults.append(f"{name} holds no finite value inside the structures")
    if faults:
        return None, faults
    corners = np.unravel_index(inside, labels.shape)[::-1]
    first = images[0]
    axis = 2 - geometry.slice_axis(first.GetSize(), first.GetSpacing(), first.GetDirection())
    brightest = np.stack([a.max(tuple(b for b in range(3) if b != axis)) for a in arrays]).astype(float)
    facts = CaseFacts(
        size=first.GetSize(),
        spacing=first.GetSpacing(),
        direction=first.GetDirection(),
        box=tuple((int(c.min()), int(c.max())) for c in corners) if len(inside) else None,
        voxels={int(v): int(n) for v, n in zip(present, counts, strict=True) if v and v != ignore},
        values=np.stack([a.ravel()[some] for a in arrays]).astype(np.float32),
        lowest=tuple(float(a[mask].min()) for a, mask in zip(arrays, finite, strict=True)),
        scaled_slices=bool((np.ptp(brightest, 1) <= ALIKE * np.abs(brightest).max(1)).all())
        and first.GetSize()[2 - axis] > 1,
        fingerprint=fingerprint(arrays),
        known=_slices(known),
        shown=_slices(structured),
        whole=bool(known.all()),
    )
    return facts, []


def _slices(mask: np.ndarray) -> tuple[int, int, int]:
    """How many slices of an array (k, j, i) hold some of it, along i, j and k."""
    return tuple(int(mask.any(tuple(b for b in range(3) if b != 2 - axis)).sum()) for axis in range(3))


def _difference(image: sitk.Image, truth: sitk.Image) -> str:
    """What two grids differ in, with as many digits as tell them apart."""
    said = []
    for what in ("Size", "Spacing", "Origin", "Direction"):
        first, second = (getattr(grid, f"Get{what}")() for grid in (image, truth))
        if first != second:
            digits = next((d for d in (3, 5, 9) if _numbers(first, d) != _numbers(second, d)), 17)
            said.append(f"{what.lower()} {_numbers(first, digits)}, and {_numbers(second, digits)}")
    return "; ".join(said)


def _numbers(values: Sequence[float], digits: int) -> str:
    return "(" + ", ".join(str(v) if isinstance(v, int) else f"{v:.{digits}g}" for v in values) + ")"
