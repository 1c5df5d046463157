"""Pictures of slices for a page: the image, the outline of each structure, and where its labels may be wrong.

Drawn with numpy and written as PNG by hand: the application has no matplotlib.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..image.geometry import orientation
from ..image.raster import voxels_of
from ..result import Result

WIDTH = 260
"""Pixels of a picture."""
FIRST = 3
"""Slices of a frame that are shown."""
MARGIN_MM = 25.0
SHOWN_FROM = 0.1
"""Error probability from which on a pixel is tinted."""
OUTLINES = ((46, 230, 230), (125, 255, 107), (255, 138, 216), (255, 211, 77), (138, 180, 255))
"""RGB of the structures in turn: none is near the tint, or a grey."""
TINT = np.array([255.0, 140.0, 0.0])
BRIGHT = (1.0, 99.5)
"""Percentiles of what is shown that become black and white, unless what was found is far darker than the brightest."""
ROOM, FAINTEST = 1.3, 0.15
"""White is so many times as bright as what was found, and at least this share of the brightest: noise stays dark."""


@dataclass(frozen=True)
class SlicePicture:
    """One slice as a PNG file, with what it is, in words."""

    title: str
    png: bytes


def pictures_of(image, result: Result, frame: int) -> tuple[SlicePicture, ...]:
    """Pictures of the slices of a frame, from 0, that are to be looked at first. image: its first channel."""
    first = result.ranked_slices()[:FIRST]
    pixels = slice_pictures(
        *(voxels_of(one) for one in (image, result.labels, result.error_probability)),
        image.GetSpacing(),
        image.GetDirection(),
        result.slice_axis,
        [score.index for score in first],
    )
    titles = [
        f"Frame {frame + 1}, slice {s.index + 1}: expected wrong area {s.expected_wrong_area_mm2:.0f} mm²"
        for s in first
    ]
    return tuple(SlicePicture(title, png_of(one)) for title, one in zip(titles, pixels, strict=True))


def slice_pictures(
    image: np.ndarray,
    labels: np.ndarray,
    error: np.ndarray,
    spacing: Sequence[float],
    direction: Sequence[float],
    axis: int,
    chosen: Sequence[int],
) -> list[np.ndarray]:
    """Some slices of a result as RGB (rows, columns, 3), uint8, all of one part of them: round what was found.

    image, labels, error: voxels (k, j, i), the last the error probability. spacing, direction: of the image, as
    SimpleITK has them. axis: along which the slices are stacked. chosen: indices along it.
    """
    finite = np.isfinite(image)
    image = image if finite.all() else np.where(finite, image, image[finite].min())  # as the network takes it
    oriented = orientation(direction, axis)
    stacks = [oriented.to_stack(array) for array in (image, labels, error)]
    pixel = [spacing[a] for a in oriented.axes[1:]]
    rows, columns = _window((stacks[1] > 0).any(0), pixel)
    low, high = _greys(*(stack[:, rows, columns] for stack in stacks[:2]))
    found = []
    for index in chosen:
        place = len(stacks[0]) - 1 - index if oriented.flips[0] else index
        picture, values, wrong = (stack[place, rows, columns].astype(float) for stack in stacks)
        grey = np.clip((picture - low) / max(high - low, 1e-9), 0, 1)
        found.append(_painted(grey, values, wrong, pixel))
    return found


def _greys(image: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The values that become black and white: what was found is well seen beside fat that lies nearer to the coil."""
    low, upper, high = np.percentile(image, (BRIGHT[0], 75.0, BRIGHT[1]))
    inside = image[labels > 0]
    if inside.size:
        darkest_white = max(upper, low + FAINTEST * (high - low))
        high = min(high, max(darkest_white, low + ROOM * (np.percentile(inside, 99) - low)))
    return float(low), float(high)


def png_of(pixels: np.ndarray) -> bytes:
    """A PNG file (ISO/IEC 15948) of RGB pixels (rows, columns, 3), uint8."""
    rows, columns = pixels.shape[:2]
    lines = np.zeros((rows, 1 + 3 * columns), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = pixels.reshape(rows, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines.tobytes())), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _painted(grey, values, wrong, pixel) -> np.ndarray:
    shape = (max(1, round(WIDTH * grey.shape[0] * pixel[0] / (grey.shape[1] * pixel[1]))), WIDTH)
    painted = np.repeat(255 * _resized(grey, shape)[..., None], 3, axis=2)
    share = np.clip(_resized(wrong, shape), 0, 0.5)
    share[share < SHOWN_FROM] = 0
    painted += share[..., None] * (TINT - painted)
    for value in np.unique(values[values > 0]).astype(int):
        inside = np.pad(_resized((values == value).astype(float), shape) > 0.5, 1)
        core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        painted[inside[1:-1, 1:-1] & ~core] = OUTLINES[(value - 1) % len(OUTLINES)]
    return np.clip(np.rint(painted), 0, 255).astype(np.uint8)


def _resized(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(rows, columns) of another size, linear between the pixels' centres."""
    for axis, count in enumerate(shape):
        length = array.shape[axis]
        at = np.clip((np.arange(count) + 0.5) * length / count - 0.5, 0, length - 1)
        low = np.minimum(at.astype(int), max(length - 2, 0))
        rest = np.expand_dims(at - low, 1 - axis)
        upper = np.minimum(low + 1, length - 1)
        array = np.take(array, low, axis) * (1 - rest) + np.take(array, upper, axis) * rest
    return array


def _window(mask: np.ndarray, pixel: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns that hold a mask (rows, columns) and a margin; all of them where it is empty."""
    ranges = []
    for axis, size in enumerate(pixel):
        found, margin = np.flatnonzero(mask.any(1 - axis)), round(MARGIN_MM / size)
        end = mask.shape[axis]
        ranges.append(slice(max(0, found[0] - margin), min(end, found[-1] + margin + 1)) if len(found) else slice(end))
    return ranges[0], ranges[1]
