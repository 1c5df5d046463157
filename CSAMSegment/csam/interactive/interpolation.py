"""Shape interpolation between drawn slices, blind to the image.

Signed distances of the two nearest drawn slices are moved so that their centres of mass lie on one line through the
stack, and blended by distance: shape-based interpolation (Raya and Udupa, IEEE Trans Med Imaging 1990;9:32) that
follows a structure which runs aslant. A ring is interpolated as its outline and its holes, each by itself, so that it
stays a ring where it moves by more than the width of its wall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

Array = np.ndarray
NOWHERE = -1e3
"""Signed distance, mm, where nothing is known to be: far outside."""

FADING = 0.7
"""What is left of a correction one slice on."""
REACH = 16.0
"""Pixels from an outline up to which a correction is told apart."""


def signed_distance(mask: Array, spacing: Sequence[float]) -> Array:
    """Mask (H, W) → millimetres to its outline, float32, positive inside; its zero lies between the pixels' centres.

    spacing: of rows and columns. An empty mask is NOWHERE throughout.
    """
    if not mask.any():
        return np.full(mask.shape, NOWHERE, np.float32)
    return _beyond(~mask, spacing) - _beyond(mask, spacing)


def _beyond(mask: Array, spacing: Sequence[float]) -> Array:
    """Distance from each pixel outside the mask to the mask's nearest pixel; 0 inside."""
    if not mask.any():
        return np.full(mask.shape, -NOWHERE, np.float32)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(s) for s in reversed(spacing)])
    distance = sitk.SignedMaurerDistanceMap(image, False, False, True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0)


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
    filled = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))) > 0
    return DrawnShapes(_shape(filled, spacing), _shape(filled & ~mask, spacing))


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
    one, other = shapes[below], shapes[above]
    outline = _blend(one.outline, other.outline, share, spacing)
    holes = _blend(one.holes, other.holes, share, spacing)
    return np.minimum(outline, -holes)


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
