"""Shape interpolation between drawn slices, blind to the image.

Signed distances of the two nearest drawn slices are moved so that their centres of mass lie on one line through the
stack, and blended by distance: shape-based interpolation (Raya and Udupa, IEEE Trans Med Imaging 1990;9:32) that
follows a structure which runs aslant. A ring is interpolated as its outline and its holes, each by itself, so that it
stays a ring where it moves by more than the width of its wall. Where a third slice tells of it, its size follows a
curve, not a straight line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..image.distance import signed_distance

Array = np.ndarray

ENCLOSED = 0.25
"""Share of a ring's hole that an open ring has to half enclose."""
ROUND, MOST = 0.75, 1.1
"""Share of the rounding that is taken; the widest a structure may get, of its widest drawn neighbour."""
FADING = 0.5
"""What is left of a correction one slice on."""
REACH = 16.0
"""Pixels from an outline up to which a correction is told apart."""


@dataclass(frozen=True)
class Shape:
    """One outline in a drawn slice. distance: signed, mm. centre: of mass, mm (row, column), None where it is empty."""

    distance: Array
    centre: tuple[float, float] | None


@dataclass(frozen=True)
class DrawnShapes:
    """A drawn slice as its filled outline and its holes. distance: signed, of the structure itself."""

    outline: Shape
    holes: Shape

    @property
    def distance(self) -> Array:
        return np.minimum(self.outline.distance, -self.holes.distance)

    @property
    def empty(self) -> bool:
        return self.outline.centre is None


def drawn_shapes(mask: Array, spacing: Sequence[float]) -> DrawnShapes:
    """Mask (H, W) of a drawn slice → its shapes."""
    filled = without_holes(mask)
    return DrawnShapes(_shape(filled, spacing), _shape(filled & ~mask, spacing))


def without_holes(mask: Array) -> Array:
    return sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))) > 0


def _shape(mask: Array, spacing: Sequence[float]) -> Shape:
    if not mask.any():
        return Shape(signed_distance(mask, spacing), None)
    centre = [float(place.mean()) * s for place, s in zip(np.nonzero(mask), spacing, strict=True)]
    return Shape(signed_distance(mask, spacing), tuple(centre))


def neighbours(index: int, drawn: Sequence[int]) -> tuple[int | None, int | None]:
    """The nearest drawn slices, one on either side; a drawn slice is its own neighbour on both."""
    below = [other for other in drawn if other <= index]
    above = [other for other in drawn if other >= index]
    return (max(below) if below else None), (min(above) if above else None)


def interpolate(index: int, shapes: Mapping[int, DrawnShapes], spacing: Sequence[float]) -> Array:
    """Signed distance, mm, of the structure in slice ``index``.

    Between two drawn slices their blend; towards an empty one the structure shrinks away. Beyond the first and the last
    the nearest one as it is: where a structure ends there is for the image to tell.
    """
    below, above = neighbours(index, list(shapes))
    if below is None or above is None or below == above:
        return shapes[above if below is None else below].distance
    share = (index - below) / (above - below)
    one, other = as_ring(shapes[below], shapes[above], spacing), as_ring(shapes[above], shapes[below], spacing)
    more = rounding(index, shapes, spacing)
    outline = _blend(one.outline, other.outline, share, spacing) + more
    holes = _blend(one.holes, other.holes, share, spacing)
    ring = one.holes.centre is not None or other.holes.centre is not None
    return np.minimum(outline, -holes - more if ring else -holes)


def rounding(index: int, shapes: Mapping[int, DrawnShapes], spacing: Sequence[float]) -> float:
    """By how much a structure is wider in slice ``index`` than on the straight line between its drawn neighbours, mm.

    Organs are round along the stack too: the radius of the circle of the same area follows a parabola through the drawn
    neighbours and the next drawn slice on either side. Of that, ROUND is taken. 0 where there is no third drawn slice.
    """
    drawn = sorted(shapes)
    below, above = neighbours(index, drawn)
    place = drawn.index(below)
    thirds = [drawn[n] for n in (place - 1, place + 2) if 0 <= n < len(drawn)]
    thirds = [n for n in thirds if not shapes[n].empty]
    if shapes[below].empty or shapes[above].empty or not thirds:
        return 0.0
    radius = {n: _radius(shapes[n].outline, spacing) for n in (below, above, *thirds)}
    straight = np.interp(index, (below, above), (radius[below], radius[above]))
    curved = np.mean([_parabola(index, [(n, radius[n]) for n in (below, above, third)]) for third in thirds])
    return float(ROUND * (min(curved, MOST * max(radius.values())) - straight))


def _radius(shape: Shape, spacing: Sequence[float]) -> float:
    return float(np.sqrt(np.count_nonzero(shape.distance > 0) * spacing[0] * spacing[1] / np.pi))


def _parabola(at: float, points: Sequence[tuple[float, float]]) -> float:
    """Through three points (Lagrange)."""
    total = 0.0
    for x, y in points:
        for other, _ in points:
            y *= 1.0 if other == x else (at - other) / (x - other)
        total += y
    return total


def as_ring(shapes: DrawnShapes, ring: DrawnShapes, spacing: Sequence[float]) -> DrawnShapes:
    """An open ring as a ring, beside a closed one: what it half encloses counts as its hole.

    So the myocardium, which is open where the outflow tract leaves it, does not fill up on the way there.
    """
    if ring.holes.centre is None or shapes.holes.centre is not None or shapes.empty:
        return shapes
    radius = _radius(ring.holes, spacing)
    area = np.pi * radius**2
    around = without_holes(shapes.distance > -radius)  # the middle of a round cavity lies just beyond the radius
    closed = signed_distance(around, spacing) > radius
    cavity = closed & (shapes.distance <= 0)
    if np.count_nonzero(cavity) * spacing[0] * spacing[1] < ENCLOSED * area:
        return shapes
    return DrawnShapes(_shape(closed | (shapes.distance > 0), spacing), _shape(cavity, spacing))


def corrected(index: int, shapes: Mapping[int, DrawnShapes], found: Array) -> Array:
    """Signed distance of a structure in slice ``index`` where an earlier result is at hand: that of the result, and
    what the nearest drawn slices changed of theirs, FADING with every slice in between.

    found: (S, H, W) signed distances of the earlier result, in the unit of the shapes', at most REACH from its outline.
    """
    change, weights = np.zeros_like(found[index]), 0.0
    for drawn in {n for n in neighbours(index, list(shapes)) if n is not None}:
        weight = FADING ** abs(index - drawn)
        change += np.float32(weight) * (np.clip(shapes[drawn].distance, -REACH, REACH) - found[drawn])
        weights += weight
    return found[index] + change / np.float32(max(1.0, weights))


def _blend(one: Shape, other: Shape, share: float, spacing: Sequence[float]) -> Array:
    """share: 0 is one, 1 the other."""
    if one.centre is None and other.centre is None:
        return one.distance
    one, other = _or_vanishing(one, other), _or_vanishing(other, one)
    centre = [(1 - share) * a + share * b for a, b in zip(one.centre, other.centre, strict=True)]
    blended = np.zeros(one.distance.shape, np.float32)
    for shape, weight in ((one, 1 - share), (other, share)):
        move = [(to - at) / s for to, at, s in zip(centre, shape.centre, spacing, strict=True)]
        blended += np.float32(weight) * shift(shape.distance, move)
    return blended


def _or_vanishing(shape: Shape, other: Shape) -> Shape:
    """An empty shape as the other one shrunk to nothing."""
    if shape.centre is not None:
        return shape
    return Shape(other.distance - other.distance.max(), other.centre)


def shift(values: Array, move: Sequence[float]) -> Array:
    """(H, W) moved by a fraction of pixels (rows, columns), linear; the edge is repeated."""
    for axis, by in enumerate(move):
        places = np.arange(values.shape[axis]) - by
        low = np.floor(places).astype(int)
        part = (places - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part
        last = values.shape[axis] - 1
        first, second = (values.take(np.clip(low + n, 0, last), axis) for n in (0, 1))
        values = first + part * (second - first)
    return values
