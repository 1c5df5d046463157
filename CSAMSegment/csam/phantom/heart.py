"""A seeded generator of short-axis cine-MR-like stacks of a heart, with exact truth.

The anatomy is a set of analytic shapes in millimetres. Each slice integrates several sub-slices across its thickness;
in-plane edges are covered in proportion to the distance from the shape. The picture follows the physics of balanced
steady-state free precession where that decides the look: fat is opposed in phase to water, so that the two cancel
where they share a voxel and every organ has its thin dark outline ("India ink"). Then come the receive coils' bias,
the in-plane point spread and Rician noise. Chamber sizes: Petersen et al., J Cardiovasc Magn Reson 2017;19:18
(healthy adults), widened towards dilated and hypertrophied hearts.

>>> phantom = cine_stack(seed=1)
>>> phantom.image.GetSize()
(256, 256, 12)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .anatomy import Anatomy
from .picture import paint_slice
from .scanner import Appearance, acquire
from .shapes import Array, Grid

LABELS = {"left ventricular cavity": 1, "myocardium": 2, "right ventricular cavity": 3}
PHASES = ("diastole", "systole")
SMALLEST_FIELD = 120.0
"""Millimetres of field of view that a heart needs."""
UNCLEAR = 0.12
"""Error that a fraction taken from distances may have; nearer to a tie, points in the voxel are counted."""


@dataclass(frozen=True)
class Phantom:
    """image: uint16, arbitrary units. labels: uint8, see LABELS; both on the same grid."""

    image: sitk.Image
    labels: sitk.Image


def cine_stack(
    seed: int = 0,
    slices: int = 12,
    size: int = 256,
    spacing: Sequence[float] = (1.25, 1.25, 8.0),
    phase: str = "diastole",
    direction: Sequence[float] | None = None,
    thick_walled: bool = False,
) -> Phantom:
    """One short-axis stack of size × size × slices voxels; bit-identical for equal arguments.

    The slices run from above the base (atria, great vessels: no ventricle) to below the apex. The default 12 slices of
    8 mm leave one or two without a ventricle at either end; fewer slices show the middle of the ventricles. A voxel
    bears a label where the structures together fill more than half of its volume: that of the one that fills most.
    Papillary muscles and trabeculae count as cavity, as in expert contours; in systole they fill much of it.

    seed: whole number from 0; the same heart comes out at both phases.
    spacing: (i, j, k) in mm.
    direction: nine direction cosines, row by row. Given: pixels lie as the heart is displayed, i towards the lateral
        wall (the right ventricle at the left of the picture), j towards the inferior wall, k towards the apex, whatever
        that means in patient space. None: an oblique short-axis plane, right-handed and true to the patient: k runs
        left, anterior and down to the apex, so that j has to run upwards, from the inferior to the anterior wall.
    thick_walled: a left ventricle as in hypertrophic cardiomyopathy, with little blood left in systole.
    Raises InputError if an argument is out of range.
    """
    if phase not in PHASES:
        raise InputError(f"The phantom's phase is {phase!r}; choose {' or '.join(PHASES)}.")
    return stack_at(float(PHASES.index(phase)), seed, slices, size, spacing, direction, thick_walled=thick_walled)


def stack_at(
    contraction: float,
    seed: int,
    slices: int,
    size: int,
    spacing: Sequence[float],
    direction: Sequence[float] | None,
    fraction: float | None = None,
    frame: int = 0,
    thick_walled: bool = False,
) -> Phantom:
    """As ``cine_stack``, at a contraction from 0, end diastole, to 1, end systole.

    fraction: ejection fraction, None for the seed's own. frame: of a beat; noise differs from frame to frame.
    """
    spacing = _check(seed, slices, size, spacing)
    cosines = None if direction is None else _check_direction(direction)
    random, texture = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    if frame:
        texture = np.random.default_rng([seed, frame])
    anatomy = Anatomy.at_random(random, slices * spacing[2], spacing[2], contraction, fraction, thick_walled)
    appearance = Appearance.at_random(random)
    oblique = _oblique(random)
    grid = Grid.over(size, spacing, anatomy.heart)

    picture = np.empty((slices, size, size), np.float32)
    fractions = np.zeros((3, slices, size, size), np.float32)
    for k in range(slices):
        picture[k], fractions[:, k] = paint_slice(anatomy, appearance, grid, k)
    labels = _labels(anatomy, grid, fractions)
    picture = acquire(picture, anatomy, appearance, grid, texture)

    if cosines is None:
        cosines, picture, labels = oblique, picture[:, ::-1], labels[:, ::-1]
    middle = np.array([(size - 1) / 2, (size - 1) / 2, (slices - 1) / 2]) * spacing
    origin = np.array([25.0, -15.0, 10.0]) - cosines @ middle
    images = []
    for array in (picture, labels):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.SetSpacing(spacing)
        image.SetOrigin(origin.tolist())
        image.SetDirection(cosines.ravel().tolist())
        images.append(image)
    return Phantom(*images)


# --- arguments -------------------------------------------------------------------------------------------------------


def _check(seed, slices, size, spacing) -> tuple[float, float, float]:
    def whole(value, name, low, high):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
            raise InputError(f"The {name} is {value!r}; give a whole number from {low} to {high}.")

    whole(seed, "phantom's seed", 0, 2**63 - 1)
    whole(slices, "phantom's number of slices", 1, 512)
    whole(size, "phantom's size in pixels", 32, 2048)
    try:
        numbers = tuple(float(value) for value in spacing)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(0.1 <= value <= 100 for value in numbers):
        raise InputError(f"The phantom's spacing is {spacing!r}; give three numbers from 0.1 to 100 mm (i, j, k).")
    field = size * min(numbers[:2])
    if field < SMALLEST_FIELD:
        raise InputError(
            f"The phantom's field of view is {field:g} mm ({size} pixels); a heart needs at least "
            f"{SMALLEST_FIELD:g} mm. Give more pixels or a larger in-plane spacing."
        )
    return numbers


def _check_direction(direction: Sequence[float]) -> Array:
    try:
        cosines = np.asarray(direction, float).reshape(3, 3)
    except (TypeError, ValueError):
        cosines = np.zeros((3, 3))
    if not np.allclose(cosines.T @ cosines, np.eye(3), atol=1e-4):
        raise InputError(
            f"The phantom's direction is {direction!r}; give nine cosines, row by row, whose columns are "
            "perpendicular and of length 1, or None for an oblique short-axis direction."
        )
    return cosines


def _oblique(random: np.random.Generator) -> Array:
    """A short-axis direction in LPS: columns i (lateral, to the left and back), j (up), k (left, forward and down)."""
    turn, dip = np.radians([random.uniform(36, 43), random.uniform(22, 32)])
    k = np.array([math.cos(dip) * math.cos(turn), -math.cos(dip) * math.sin(turn), -math.sin(dip)])
    up = np.array([0.0, 0.0, 1.0])
    j = up - (up @ k) * k
    j /= np.linalg.norm(j)
    return np.stack([np.cross(j, k), j, k], axis=1)


# --- truth -----------------------------------------------------------------------------------------------------------


def _labels(anatomy: Anatomy, grid: Grid, fractions: Array) -> Array:
    """Fractions (3, slices, rows, columns) → labels; close calls are settled by counting points in the voxel."""
    labels = _label(fractions)
    sx, sy, sz = grid.spacing
    unclear = min(0.5, UNCLEAR * max(sx / sy, sy / sx) * max(1.0, sz / 16))
    heart = fractions.sum(0)
    shares = np.sort(fractions, axis=0)
    close = np.argwhere((np.abs(heart - 0.5) < unclear) | ((shares[2] - shares[1] < 2 * unclear) & (heart > 0.3)))
    for part in np.array_split(close, max(1, len(close) // 500)):
        labels[tuple(part.T)] = _vote(anatomy, grid, part, (4, 4, 16))
    return labels


def _vote(anatomy: Anatomy, grid: Grid, voxels: Array, counts: tuple[int, int, int]) -> Array:
    """The labels of voxels (N, 3: k, row, column) by points on a regular grid of counts (i, j, k) in each."""
    (nx, ny, nz), (sx, sy, sz) = counts, grid.spacing
    k, row, column = voxels.T

    def offsets(n):
        return ((np.arange(n) + 0.5) / n - 0.5).astype(np.float32)

    x = (grid.x[column][:, None] + offsets(nx) * sx)[:, None, None, :]
    y = (grid.y[row][:, None] + offsets(ny) * sy)[:, None, :, None]
    z = (((k[:, None] + 0.5 + offsets(nz)) * sz).astype(np.float32))[:, :, None, None]
    v = anatomy.ventricles
    endocardium, epicardium, right = v.distances(x, y, z)
    below, below_right = v.below_base(x, y, z)
    # Each point stands for its share of the slice's thickness, so that the flat base needs no more points.
    below, below_right = (np.clip(0.5 + part * (nz / sz), 0, 1) for part in (below, below_right))
    cavity = (endocardium < 0) * below
    muscle = ((epicardium < 0) & (endocardium >= 0)) * below
    right = ((right < 0) & (epicardium >= 0)) * below_right
    filled = np.stack([part.mean((1, 2, 3)) for part in (cavity, muscle, right)])
    return _label(filled)


def _label(fractions: Array) -> Array:
    """The label of the structure that fills most of a voxel, where all of them together fill more than half."""
    return np.where(fractions.sum(0) > 0.5, fractions.argmax(0) + 1, 0).astype(np.uint8)
