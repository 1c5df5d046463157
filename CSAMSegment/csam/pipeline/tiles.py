"""Where a network runs over a slice: a first pass over all of it, then a close pass where something was found.

Sizes and places are pixels at the model's spacing. Pure functions of numbers and masks, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..image.geometry import fields, windows

FOUND = 0.02
"""Probability of any structure, anywhere in a window of slices, from which on a place gets a close pass."""
EDGE = 8
"""What was found keeps a field of view's length divided by this from a tile's edges, where the image goes on."""
SHARE = 0.5
"""How much of a close pass's middle is its own; the rest is the first pass's, whose tiles lie otherwise."""

LEANINGS = ((-1, -1), (1, 1), (1, -1))
"""Where the tiles of a close pass lie beside the middle of what they are for, along rows and columns; each for its part
of the samples. Seen from several places, borders come out better than from one, and errors show more."""
FEWEST = 2
"""Places that several samples are taken from at least."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """rows, columns: the place of a tile. weights: (rows, columns) float32, how much it counts at each pixel."""

    rows: slice
    columns: slice
    weights: np.ndarray

    @property
    def place(self) -> tuple:
        return (..., self.rows, self.columns)


def up_to(length: int, multiple: int) -> int:
    """The next multiple."""
    return -(-length // multiple) * multiple


def fitted(image: Size, field: Size, multiple: int) -> Size:
    """The field of view for an image that may be smaller: padded as little as a network can take."""
    rows, columns = (min(f, up_to(n, multiple)) for n, f in zip(image, field, strict=True))
    return (2 * multiple if rows == columns == multiple else rows, columns)


def surroundings(start: int, stop: int, field: int, length: int) -> slice:
    """What to read along an axis for a region: those tiles of the whole image that come within half a field of view.

    So the network sees what it would see in a run of the whole image, and finds there what it would find.
    """
    starts = windows(max(length, field), field, 1 / EDGE)[0]
    near = [first for first in starts if first < stop + field // 2 and first + field > start - field // 2]
    return slice(near[0], min(length, near[-1] + field))


def everywhere(image: Size, field: Size) -> list[Tile]:
    """Tiles over all of an image, half of each in the next; their weights add up to 1 at every pixel."""
    return _grid(*(fields(n, f) for n, f in zip(image, field, strict=True)), field)


def first_pass(image: Size, field: Size) -> list[Tile]:
    """As few tiles as cover an image and overlap by an EDGE.

    Of the field's own size: a network that was shown more at once took other things for a structure.
    """
    return _grid(*(windows(n, f, 1 / EDGE) for n, f in zip(image, field, strict=True)), field)


def _grid(rows: tuple, columns: tuple, size: Size) -> list[Tile]:
    return [
        Tile(slice(top, top + size[0]), slice(left, left + size[1]), np.outer(by_row, by_column))
        for top, by_row in zip(*rows, strict=True)
        for left, by_column in zip(*columns, strict=True)
    ]


def close_pass(
    found: np.ndarray, field: Size, inside: tuple[slice, slice], leaning: Size = (0, 0)
) -> tuple[list[Tile], np.ndarray]:
    """Tiles of the field's size over what was found, and the weights (H, W) of the first pass.

    One tile over it all where that fits, else one for each piece, and several over a piece that is larger.
    found: (H, W) bool. inside: where in it the image lies; tiles stay there where they fit. leaning: one of
    ``LEANINGS``; 0 is the middle itself.
    The weights, the first pass's among them, add up to 1 at every pixel: they fade over an EDGE towards a tile's
    edges, but for those of the image.
    """
    corners = _corners(found, field, inside, leaning)
    ramps = [np.outer(*(_ramp(c, f, i) for c, f, i in zip(at, field, inside, strict=True))) for at in corners]
    places = [tuple(slice(c, c + f) for c, f in zip(at, field, strict=True)) for at in corners]
    total = np.zeros(found.shape)
    for place, ramp in zip(places, ramps, strict=True):
        total[place] += ramp
    first = np.maximum(1 / SHARE - 1, 1 - total)
    whole = first + total
    tiles = [Tile(*p, (ramp / whole[p]).astype(np.float32)) for p, ramp in zip(places, ramps, strict=True)]
    return tiles, (first / whole).astype(np.float32)


def close_passes(
    found: np.ndarray, field: Size, inside: tuple[slice, slice], samples: int
) -> list[tuple[range, list[Tile], np.ndarray]]:
    """Close passes that share out the samples, by their numbers: the numbers, the tiles, the first pass's weights.

    From fewer places where these would be more tiles than everywhere. If two places are too many, it is the tiles
    everywhere, for every second sample; the others are the first pass's: what lies everywhere leaves nothing to look
    closer at, and all samples would take long.
    """
    every = everywhere(found.shape, field)
    places = LEANINGS[:samples] if samples > 1 else ((0, 0),)
    passes = [close_pass(found, field, inside, leaning) for leaning in places]
    while sum(len(tiles) for tiles, _ in passes) > len(every):
        if len(passes) <= FEWEST:
            first = np.zeros(found.shape, np.float32)
            shares = [(range(0, samples, 2), every, first), (range(1, samples, 2), [], first + 1)]
            return [share for share in shares if share[0]]
        passes.pop()
    return [(range(first, samples, len(passes)), *made) for first, made in enumerate(passes)]


def _corners(found: np.ndarray, field: Size, inside: tuple[slice, slice], leaning: Size) -> list[Size]:
    corners: list[Size] = []
    left = found.copy()
    room = [f - 2 * (f // EDGE) for f in field]  # of a tile, for what is not to lie at its edge
    while left.any():
        piece = left if not corners and all(n <= r for n, r in zip(_extent(left), room, strict=True)) else None
        if piece is None:
            pieces = sitk.GetArrayFromImage(
                sitk.ConnectedComponent(sitk.GetImageFromArray(left.astype(np.uint8)), True)
            )
            piece = pieces == pieces.ravel()[np.flatnonzero(pieces)[0]]
        axes = [
            _along(np.flatnonzero(piece.any(1 - axis)), field[axis], room[axis], inside[axis], leaning[axis])
            for axis in (0, 1)
        ]
        for top in axes[0]:
            for left_ in axes[1]:
                core = tuple(_core(corner, f, i) for corner, f, i in zip((top, left_), field, inside, strict=True))
                if left[core].any():
                    corners.append((top, left_))
                    left[core] = False
        left &= ~piece
    return corners


def _extent(mask: np.ndarray) -> tuple[int, int]:
    return tuple(int(np.ptp(np.flatnonzero(mask.any(1 - axis)))) + 1 for axis in (0, 1))


def _along(indices: np.ndarray, field: int, room: int, inside: slice, leaning: int) -> list[int]:
    """First pixels of tiles along an axis, over a piece that has these indices and, where there is room, more of what
    lies on one side of it."""
    first, stop = int(indices[0]), int(indices[-1]) + 1
    more = 2 * field // EDGE
    if stop - first <= room:
        more = min(more, room - (stop - first))
    first, stop = (first - more if leaning < 0 else first), (stop + more if leaning > 0 else stop)
    middles = [(first + stop) / 2]
    if stop - first > room:
        starts = windows(stop - first, room, 0.25)[0]
        middles = [first + start + room / 2 for start in starts]
    most = max(0, inside.stop - field)  # an image that is padded is as long as one tile
    return sorted({min(max(round(middle - field / 2), 0), most) for middle in middles})


def _core(corner: int, field: int, inside: slice) -> slice:
    """A tile without the edges beyond which the image goes on."""
    edge = field // EDGE
    start = 0 if corner <= inside.start else corner + edge
    return slice(start, None if corner + field >= inside.stop else corner + field - edge)


def _ramp(corner: int, field: int, inside: slice) -> np.ndarray:
    """(field,) rising from an edge beyond which the image goes on, 1 elsewhere."""
    edge = max(1, field // EDGE)
    rise = np.minimum(1, np.arange(1, field + 1) / (edge + 1))
    weights = np.ones(field)
    if corner > inside.start:
        weights *= rise
    if corner + field < inside.stop:
        weights *= rise[::-1]
    return weights
