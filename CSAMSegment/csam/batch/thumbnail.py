"""A small picture of a case: the slice to look at first, with the outlines of what was found."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ..image import geometry
from ..image.raster import Raster, voxels_of
from ..pipeline.report import OUTLINES, window_of
from ..result import Result

SIZE = 144
"""Pixels, of the longer edge."""


def thumbnail(image: sitk.Image | Raster, result: Result) -> sitk.Image:
    """RGB, 8 bits, square pixels. image: the first channel. Without any slice to look at first: the middle one."""
    oriented = geometry.orientation(image.GetDirection(), result.slice_axis)
    picture, labels = (oriented.to_stack(voxels_of(one)) for one in (image, result.labels))
    ranked = result.ranked_slices()
    number = ranked[0].index if ranked else len(picture) // 2
    here = len(picture) - 1 - number if oriented.flips[0] else number
    spacing = [image.GetSpacing()[axis] for axis in oriented.axes]
    window, spacing = window_of(labels > 0, spacing), spacing[1:]
    gray, found = picture[here][window].astype(np.float32), labels[here][window]
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
