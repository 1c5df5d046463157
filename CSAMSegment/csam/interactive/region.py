"""The part of the slices and the pixels in which the network sees a structure: it always spans about as many pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..image.distance import signed_distance
from ..image.stack import resize
from .interpolation import DrawnShapes, Shape, drawn_shapes

SPAN = 44
"""Pixels across the structure where it is largest."""
MARGIN = 24
"""Pixels around everything that is drawn, on each side."""
MULTIPLE = 16
LARGEST = 160
"""Pixels of a side; a structure that moves farther through the stack gets larger pixels."""
FINEST = 0.25
"""Of the image's own pixels: finer ones would hold no more."""


@dataclass(frozen=True)
class Region:
    """A window of the stack's slices, which may reach beyond them, and its pixels.

    top, left: of the window, in the stack's pixels. extent: rows, columns of the window in the stack's pixels. size:
    rows, columns in the network's pixels, multiples of MULTIPLE. pixel: mm of one of those, rows and columns.
    """

    top: int
    left: int
    extent: tuple[int, int]
    size: tuple[int, int]
    pixel: tuple[float, float]

    def cut(self, values: torch.Tensor) -> torch.Tensor:
        """(n, H, W) of the stack → the window (n, *extent); beyond the stack its edge is repeated."""
        height, width = values.shape[-2:]
        rows = torch.arange(self.top, self.top + self.extent[0]).clamp(0, height - 1)
        columns = torch.arange(self.left, self.left + self.extent[1]).clamp(0, width - 1)
        return values[:, rows][:, :, columns]

    def seen(self, values: torch.Tensor) -> torch.Tensor:
        """(n, H, W) of the stack, float → (n, *size): as the network sees it."""
        return resize(self.cut(values), self.size)

    def back(self, values: torch.Tensor, shape: tuple[int, int], outside: float) -> torch.Tensor:
        """(n, *size) → (n, *shape) on the stack's own pixels; ``outside`` beyond the window."""
        window = F.interpolate(values[:, None], size=self.extent, mode="bilinear", align_corners=False)[:, 0]
        whole = values.new_full((len(values), *shape), outside)
        (rows, into_rows), (columns, into_columns) = (
            _overlap(start, length, whole_length)
            for start, length, whole_length in zip((self.top, self.left), self.extent, shape, strict=True)
        )
        whole[:, into_rows, into_columns] = window[:, rows, columns]
        return whole

    def distances(self, masks: Iterable[np.ndarray], spacing: Sequence[float]) -> torch.Tensor:
        """Masks (H, W) of slices of the stack → signed distances (n, *size) to their outlines, in the network's pixels.

        spacing: of rows and columns, mm.
        """
        seen = [self.seen(torch.from_numpy(signed_distance(mask, spacing))[None]) for mask in masks]
        return torch.cat(seen) / float(np.mean(self.pixel))

    def shapes(self, masks: Mapping[int, np.ndarray], spacing: Sequence[float]) -> dict[int, DrawnShapes]:
        """Drawn slices (H, W) of the stack → their shapes in the window, in the network's pixels."""
        return {index: self._shapes(mask, spacing) for index, mask in masks.items()}

    def _shapes(self, mask: np.ndarray, spacing: Sequence[float]) -> DrawnShapes:
        whole = drawn_shapes(mask, spacing)
        unit = float(np.mean(self.pixel))

        def seen(shape: Shape) -> Shape:
            distance = self.seen(torch.from_numpy(shape.distance)[None])[0].numpy() / unit
            if shape.centre is None:
                return Shape(distance, None)
            centre = [
                (at / s + 0.5 - start) * n / length - 0.5
                for at, s, start, n, length in zip(
                    shape.centre, spacing, (self.top, self.left), self.size, self.extent, strict=True
                )
            ]
            return Shape(distance, tuple(centre))

        return DrawnShapes(seen(whole.outline), seen(whole.holes))


def _overlap(start: int, length: int, whole: int) -> tuple[slice, slice]:
    """The part of a window from ``start`` that lies within 0 to whole: in the window and in the whole."""
    low, high = max(start, 0), min(start + length, whole)
    return slice(low - start, max(high, low) - start), slice(low, max(high, low))


def region_of(masks: Sequence[np.ndarray], spacing: Sequence[float]) -> Region:
    """The region around what is drawn: masks (H, W), of which one is not empty. spacing: rows and columns, mm."""
    boxes = np.array([_box(mask) for mask in masks if mask.any()], float)  # (n, 2 ends, 2 axes)
    spacing = np.asarray(spacing, float)
    extents = (boxes[:, 1] - boxes[:, 0]) * spacing
    low, high = boxes[:, 0].min(0), boxes[:, 1].max(0)
    pixel = max(float(extents.max()) / SPAN, FINEST * float(spacing.min()))
    pixel = max(pixel, float(((high - low) * spacing).max()) / (LARGEST - 2 * MARGIN))
    pixels = (high - low) * spacing / pixel + 2 * MARGIN
    size = [int(np.ceil(n / MULTIPLE)) * MULTIPLE for n in pixels]
    extent = [max(1, round(n * pixel / s)) for n, s in zip(size, spacing, strict=True)]
    corner = [round((a + b - e) / 2) for a, b, e in zip(low, high, extent, strict=True)]
    return Region(
        *corner, tuple(extent), tuple(size), tuple(e * s / n for e, s, n in zip(extent, spacing, size, strict=True))
    )


def _box(mask: np.ndarray) -> list[list[int]]:
    """Of what is in a mask: first rows and columns, and those after the last."""
    found = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    return [[int(f[0]) for f in found], [int(f[-1]) + 1 for f in found]]


def normalised(values: torch.Tensor) -> torch.Tensor:
    """The window (S, h, w) → 0 to 1 between its percentiles 0.5 and 99.5, clipped."""
    sample = values.flatten()[:: max(1, values.numel() // 100_000)]
    low, high = torch.quantile(sample, torch.tensor([0.005, 0.995]))
    return ((values - low) / (high - low).clamp_min(1e-6)).clamp(0, 1)
