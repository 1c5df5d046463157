"""A small picture of a case: one slice, with the outlines of its structures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..image import geometry
from ..image.raster import Raster, voxels_of
from ..image.unknown import UNKNOWN, structures
from ..result import Result
from .report import OUTLINES, window_of

SIZE = 144
"""Pixels, of the longer edge."""


def thumbnail(image: sitk.Image | Raster, result: Result) -> sitk.Image:
    """RGB, 8 bits, square pixels: the slice to look at first, or the middle one where there is none.

    image: the first channel.
    """
    ranked = result.ranked_slices()
    oriented = geometry.orientation(image.GetDirection(), result.slice_axis)
    picture, labels = (oriented.to_stack(voxels_of(one)) for one in (image, result.labels))
    number = ranked[0].index if ranked else len(picture) // 2
    here = len(picture) - 1 - number if oriented.flips[0] else number
    spacing = [image.GetSpacing()[axis] for axis in oriented.axes]
    return _outlined(picture[here], labels[here], labels > 0, spacing)


def thumbnail_of_labels(image: sitk.Image, truth: sitk.Image) -> sitk.Image:
    """The same of a case with known labels: the slice in which most is labelled, or the middle one of what is known.

    truth: on the grid of the image, ``csam.image.unknown.UNKNOWN`` where nobody has labelled it.
    """
    axis = geometry.axis_for(truth, "auto")
    oriented = geometry.orientation(image.GetDirection(), axis)
    picture, labels = (oriented.to_stack(voxels_of(one)) for one in (image, truth))
    shown, known = structures(labels), np.flatnonzero((labels != UNKNOWN).any((1, 2)))
    here = int(shown.sum((1, 2)).argmax()) if shown.any() else int(known[len(known) // 2]) if len(known) else 0
    spacing = [image.GetSpacing()[axis] for axis in oriented.axes]
    return _outlined(picture[here], np.where(shown[here], labels[here], 0), shown, spacing)


def as_ppm(picture: sitk.Image) -> bytes:
    """The picture as a file of the PPM format, which every toolkit reads."""
    width, height = picture.GetSize()
    return b"P6 %d %d 255\n" % (width, height) + sitk.GetArrayViewFromImage(picture).tobytes()


def _outlined(gray: np.ndarray, found: np.ndarray, mask: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    """A slice and its labels (H, W), cut to what the mask (S, H, W) holds. spacing: of slices, rows, columns, mm."""
    window, spacing = window_of(mask, spacing), spacing[1:]
    gray, found = gray[window].astype(np.float32), found[window]
    gray = np.where(np.isfinite(gray), gray, 0)
    low, high = np.percentile(gray, [1, 99.5])
    scale = SIZE / max(n * step for n, step in zip(gray.shape, spacing, strict=True))
    shape = [max(1, round(n * step * scale)) for n, step in zip(gray.shape, spacing, strict=True)]
    rows, columns = (
        np.minimum((np.arange(to) + 0.5) * n / to, n - 1).astype(int) for to, n in zip(shape, gray.shape, strict=True)
    )
    gray, found = gray[np.ix_(rows, columns)], found[np.ix_(rows, columns)]
    colors = np.repeat(np.clip((gray - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)[..., None], 3, -1)
    edge = np.zeros(found.shape, bool)
    edge[1:] |= found[1:] != found[:-1]
    edge[:, 1:] |= found[:, 1:] != found[:, :-1]
    edge[:-1] |= found[1:] != found[:-1]
    edge[:, :-1] |= found[:, 1:] != found[:, :-1]
    for value in np.unique(found[found > 0]):
        colors[edge & (found == value)] = [*bytes.fromhex(OUTLINES[(int(value) - 1) % len(OUTLINES)][1:])]
    return sitk.GetImageFromArray(np.ascontiguousarray(colors), isVector=True)
