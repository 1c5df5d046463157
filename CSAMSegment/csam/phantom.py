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

from .errors import InputError

LABELS = {"left ventricular cavity": 1, "myocardium": 2, "right ventricular cavity": 3}
PHASES = ("diastole", "systole")
SMALLEST_FIELD = 120.0
"""Millimetres of field of view that a heart needs."""
DOUBT = 0.12
"""Error that a fraction taken from distances may have; nearer to a tie, points in the voxel are counted."""

Array = np.ndarray


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
) -> Phantom:
    """One short-axis stack of size × size × slices voxels; bit-identical for equal arguments.

    The slices run from above the base (atria, great vessels: no ventricle) to below the apex. The default 12 slices of
    8 mm leave one or two without a ventricle at either end; fewer slices show the middle of the ventricles. A voxel
    bears a label where the structures together fill more than half of its volume: that of the one that fills most.
    Papillary muscles and trabeculae count as cavity, as in expert contours.

    seed: whole number from 0; the same heart is drawn at both phases.
    spacing: (i, j, k) in mm.
    direction: nine direction cosines, row by row. Given: pixels lie as the heart is displayed, i towards the lateral
        wall (the right ventricle at the left of the picture), j towards the inferior wall, k towards the apex, whatever
        that means in patient space. None: an oblique short-axis plane, right-handed and true to the patient: k runs
        left, anterior and down to the apex, so that j has to run upwards, from the inferior to the anterior wall.
    Raises InputError if an argument is out of range.
    """
    spacing = _check(seed, slices, size, spacing, phase)
    cosines = None if direction is None else _check_direction(direction)
    random, texture = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    anatomy = _Anatomy.draw(random, slices * spacing[2], spacing[2], phase)
    look = _Look.draw(random)
    oblique = _oblique(random)
    grid = _Grid.over(size, spacing, anatomy.heart)

    picture = np.empty((slices, size, size), np.float32)
    fractions = np.zeros((3, slices, size, size), np.float32)
    for k in range(slices):
        picture[k], fractions[:, k] = _slice(anatomy, look, grid, k)
    labels = _labels(anatomy, grid, fractions)
    picture = _acquire(picture, anatomy, look, grid, texture)

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


def _check(seed, slices, size, spacing, phase) -> tuple[float, float, float]:
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
    if phase not in PHASES:
        raise InputError(f"The phantom's phase is {phase!r}; choose {' or '.join(PHASES)}.")
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


# --- anatomy ---------------------------------------------------------------------------------------------------------
# Millimetres. x to the right of the picture (lateral wall), y down (inferior wall), both from the left ventricle's
# axis at the base; z from the first slice's upper face towards the apex. Angles from +x towards +y.


def _profile(t: Array, power: float) -> Array:
    """Radius of a ventricle relative to its largest, at the fraction t of its length; 0 beyond the apex."""
    t = np.maximum(t, 0)
    return np.sqrt(np.maximum(1 - t**power, 0)) * (1 - 0.06 * np.exp(-((t / 0.18) ** 2)))


def _ellipse(x: Array, y: Array, cx, cy, a, b, tilt: float = 0.0) -> Array:
    """Signed distance to an ellipse to first order, negative inside."""
    c, s = math.cos(tilt), math.sin(tilt)
    dx, dy = x - cx, y - cy
    u, v = (c * dx + s * dy) / a, (c * dy - s * dx) / b
    rho = np.sqrt(u * u + v * v) + np.float32(1e-4)
    return (rho - 1) * rho / np.sqrt((u / a) ** 2 + (v / b) ** 2 + np.float32(1e-10))


Waves = tuple[tuple[int, float, float], ...]


def _waves(random: np.random.Generator, *orders: tuple[int, float]) -> Waves:
    """Harmonics (order, amplitude, phase) of an outline, from pairs of order and largest amplitude."""
    return tuple((n, float(random.uniform(0.3, 1) * a), float(random.uniform(0, 2 * math.pi))) for n, a in orders)


def _wave(c: Array, s: Array, waves: Waves) -> Array:
    """Sum of amplitude · cos(order · angle - phase) where c and s are the angle's cosine and sine."""
    total, (cn, sn) = 0.0, (c, s)
    for order in range(1, waves[-1][0] + 1):
        total = total + sum(a * (math.cos(p) * cn + math.sin(p) * sn) for n, a, p in waves if n == order)
        cn, sn = cn * c - sn * s, sn * c + cn * s
    return total


def _clear_of_the_middle(z: float, thickness: float) -> float:
    """z, moved out of the middle quarter of its slice, where a base's slightest tilt would cut a label in two."""
    place = z / thickness % 1
    if abs(place - 0.5) >= 0.13:
        return z
    return z + (0.37 - place if place < 0.5 else 0.63 - place) * thickness


@dataclass(frozen=True)
class _Ventricles:
    """Both ventricles as surfaces; the truth is read from here."""

    base: float
    length: float
    radius: float
    wall: float
    apical_wall: float
    taper: float
    waves: Waves
    lean: tuple[float, float]
    tilt: tuple[float, float]
    septum: float
    right_depth: float
    right_length: float
    right_lag: float
    right_waves: Waves

    @staticmethod
    def draw(random: np.random.Generator, extent: float, thickness: float, phase: str) -> _Ventricles:
        def u(low, high):
            return float(random.uniform(low, high))

        length = u(61, 73)
        volume = min(max(random.normal(145, 32), 104), 215) * (length / 67) ** 1.5
        taper = u(2.0, 2.9)
        wall = min(max(random.normal(9.3, 1.7), 7.0), 14.5)
        ejected = min(max(random.normal(0.57, 0.1), 0.25), 0.72)
        right_depth, above = u(27, 37), u(0.72, 1.12) * thickness
        integral = float(np.mean(_profile(np.linspace(0, 1, 400), taper) ** 2))
        radius = math.sqrt(volume * 1000 / (math.pi * length * integral))
        spare = extent - length - 8
        base = max(above, spare / 3) if spare > above else spare / 2
        right_length = u(0.82, 0.93)
        if phase == "systole":  # the base descends towards the apex; the muscle keeps its volume
            shorter = length * (1 - 0.36 * ejected)
            muscle = ((radius + wall) ** 2 - radius**2) * length / shorter
            radius *= math.sqrt((1 - ejected) * length / shorter)
            wall = math.sqrt(radius**2 + muscle) - radius
            base, length, right_depth = base + length - shorter, shorter, right_depth * 0.75
        base = _clear_of_the_middle(base, thickness)
        lag = _clear_of_the_middle(base + u(0, 4), thickness) - base
        return _Ventricles(
            base=base,
            length=length,
            radius=radius,
            wall=wall,
            apical_wall=u(4.5, 6.5),
            taper=taper,
            waves=_waves(random, (2, 0.05), (3, 0.025), (4, 0.012)),
            lean=(u(-4, 6), u(-4, 4)),
            tilt=(u(-0.02, 0.02), u(-0.02, 0.02)),
            septum=math.pi + u(0.0, 0.45),
            right_depth=right_depth,
            right_length=right_length * length,
            right_lag=lag,
            right_waves=_waves(random, (2, 0.05), (3, 0.07), (5, 0.025)),
        )

    def outer_radius(self, z: Array) -> Array:
        """Mean epicardial radius of the left ventricle; the base's radius above the base."""
        t = (z - self.base) / (self.length + self.apical_wall)
        return (self.radius + self.wall) * _profile(t, self.taper)

    def inner_radius(self, z: Array) -> Array:
        """Mean endocardial radius of the left ventricle; the base's radius above the base."""
        return self.radius * _profile((z - self.base) / self.length, self.taper)

    def axis(self, z: Array) -> tuple[Array, Array]:
        """Where the left ventricle's axis meets the plane z."""
        t = (z - self.base) / self.length
        return self.lean[0] * t, self.lean[1] * t

    def distances(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Signed in-plane distances (negative inside) to the endocardium, the epicardium of the left ventricle and the
        right ventricle's outline, as if the ventricles went on above the base. They broadcast x, y and z."""
        cx, cy = self.axis(z)
        dx, dy = x - cx, y - cy
        r = np.sqrt(dx * dx + dy * dy) + np.float32(1e-3)
        c, s = dx / r, dy / r
        wave = _wave(c, s, self.waves)
        inner, outer = self.inner_radius(z), self.outer_radius(z)
        sc, ss = math.cos(self.septum), math.sin(self.septum)
        endocardium = r - inner * (1 + wave) + 2 * (inner <= 0)
        epicardium = r - outer * (1 + 0.8 * wave) - (outer - inner) * 0.06 * (sc * c + ss * s) + 2 * (outer <= 0)
        shape = _profile((z - self.base) / self.right_length, 2.3)
        depth = np.maximum(self.right_depth * shape, 0.01)
        half = 0.55 * outer + 0.5 * depth
        centre = outer + depth - half
        across = np.maximum((outer + 0.12 * self.right_depth) * (0.5 + 0.5 * shape), 0.01)
        right = _ellipse(dx, dy, centre * sc, centre * ss, half, across, self.septum)
        right = right - _wave(c, s, self.right_waves) * depth
        return endocardium, epicardium, right + 1000 * (shape <= 0)

    def below_base(self, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
        """Millimetres below the mitral and the tricuspid plane."""
        below = z - self.base - self.tilt[0] * x - self.tilt[1] * y
        return below, below - self.right_lag


@dataclass(frozen=True)
class _Anatomy:
    """A chest around a pair of ventricles. Organs: tuples of x, y, half axes, tilt and what their painters add.

    base: the ventricles' base in diastole, from which depth in the chest is counted at either phase."""

    heart: tuple[float, float]
    ventricles: _Ventricles
    base: float
    chest: tuple[float, float, float, float, float]
    outline: Waves
    fat: float
    muscle: float
    approach: float
    epicardial_fat: float
    diaphragm: tuple[float, float, float, float]
    liver: tuple[float, float, float, float, float]
    stomach: tuple[float, float, float, float, float]
    spleen: tuple[float, float, float, float, float]
    bowel: tuple[tuple[float, ...], ...]
    aorta: tuple[float, float, float]
    ribs: tuple[tuple[float, ...], ...]
    papillary: tuple[tuple[float, ...], ...]
    vessels: tuple[tuple[float, ...], ...]
    liver_vessels: tuple[tuple[float, ...], ...]
    atria: tuple[float, ...]
    trabeculae: float
    bend: Array
    loops: Array
    strands: Array

    @staticmethod
    def draw(random: np.random.Generator, extent: float, thickness: float, phase: str) -> _Anatomy:
        def u(*bounds):
            """Uniform numbers, one for each pair of bounds; a single one as a number."""
            pairs = np.reshape(bounds, (-1, 2))
            values = tuple(float(random.uniform(low, high)) for low, high in pairs)
            return values if len(values) > 1 else values[0]

        seed = int(random.integers(2**32))
        diastole, ventricles = (
            _Ventricles.draw(np.random.default_rng(seed), extent, thickness, p) for p in ("diastole", phase)
        )
        chest, wall, approach = u(10, 32, 46, 66, 155, 182, 142, 162, -0.65, -0.2), u(8, 24, 11, 22), u(0.35, 0.58)
        return _Anatomy(
            ventricles=ventricles,
            base=diastole.base,
            heart=u(-6, 16, -12, 8),
            chest=_around(diastole, chest, sum(wall) + 9, approach),
            outline=_waves(random, (2, 4.0), (3, 6.0), (4, 4.0), (7, 1.5)),
            fat=wall[0],
            muscle=wall[1],
            approach=approach,
            epicardial_fat=u(2.2, 4.5),
            diaphragm=u(2, 6, 30, 70, 4, 16, -0.35, -0.1),
            liver=u(-62, -40, 15, 24, 60, 78, 20, 32, 0.02, 0.3),
            stomach=u(5, 30, 26, 40, 24, 36, 12, 18, -0.2, 0.35),
            spleen=u(62, 80, 70, 88, 15, 20, 36, 50, -0.2, 0.3),
            bowel=tuple(u(-90, 60, 45, 140, 10, 27, 8, 18, -0.9, 0.9, 0, 1, -40, 80, 18, 50) for _ in range(15)),
            aorta=u(16, 30, 92, 106, 10, 13),
            ribs=tuple((0.34 * n + u(-0.09, 0.09), *u(-0.25, 0.25, 6, 11, 3.5, 6.5, 0.2, 0.5)) for n in range(18)),
            papillary=tuple((middle + u(-0.25, 0.25), *u(0.6, 0.72, 4.0, 6.5, 0.18, 0.3)) for middle in (-0.75, 1.95)),
            vessels=tuple(
                u(42, 100, -55, 40, 0.7, 2.6, -0.6, 0.6, -0.6, 0.6, 0.4, 1, -15, 45, 6, 30) for _ in range(60)
            ),
            liver_vessels=tuple(u(-1, 1, -1, 1, 1.5, 5, 1, 2.4, 0, 3.1, -10, 80) for _ in range(16)),
            atria=u(0.9, 1.1, 0.9, 1.1, 0.9, 1.1, -5, 5, -5, 5),
            trabeculae=u(5, 12),
            bend=random.normal(0, 4.0, (3, 2, 11, 11)).astype(np.float32),
            loops=random.standard_normal((3, 31, 31), np.float32),
            strands=random.standard_normal((6, 111, 111), np.float32),
        )

    def warp(self, x: Array, y: Array, z: float) -> tuple[Array, Array]:
        """Coordinates (rows, columns) bent by a few mm, so that organs are no geometry lesson."""
        bend = _between(self.bend, (z - self.base + 20) / 55)
        return x + _smooth(bend[0], x, y), y[:, None] + _smooth(bend[1], x, y)


def _around(v: _Ventricles, chest: tuple[float, ...], wall: float, approach: float) -> tuple[float, ...]:
    """The chest, grown where the heart would not fit into its wall."""
    cx, cy, a, b, tilt = chest
    depth = np.array([-5.0, 15.0, 35.0, 55.0])
    outer = v.outer_radius(np.maximum(depth, 0) + v.base)
    right = outer + v.right_depth * _profile(np.maximum(depth, 0) / v.right_length, 2.3)
    excess = 0.0
    septum = v.septum
    for angle, reach in ((septum - 0.6, right), (septum, right), (septum + 0.7, right), (4.7, 1.2 * outer)):
        x, y = reach * math.cos(angle), reach * math.sin(angle)
        excess = max(excess, float(np.max(_ellipse(x, y, cx, cy + approach * depth, a, b, tilt))) + wall)
    return cx, cy, a + excess, b + excess, tilt


# --- the picture -----------------------------------------------------------------------------------------------------


def _between(levels: Array, position: float) -> Array:
    """Linear interpolation along the first axis; constant beyond its ends."""
    position = min(max(position, 0.0), len(levels) - 1.001)
    low = int(position)
    return levels[low] + np.float32(position - low) * (levels[low + 1] - levels[low])


def _smooth(nodes: Array, x: Array, y: Array) -> Array:
    """Nodes (n, n) spread over ±250 mm, interpolated at the columns x and the rows y."""

    def places(values):
        position = np.clip((values + 250) / 500, 0, 0.9999) * (len(nodes) - 1)
        low = position.astype(int)
        return low, (0.5 - 0.5 * np.cos(np.pi * (position - low))).astype(np.float32)

    (column, cx), (row, cy) = places(x), places(y)
    lines = nodes[:, column] * (1 - cx) + nodes[:, column + 1] * cx
    low = lines[row]
    return low + cy[:, None] * (lines[row + 1] - low)


@dataclass(frozen=True)
class _Look:
    """Signal of tissues relative to blood (fat negative: opposed in phase), coils, point spread, noise, scale."""

    myocardium: float
    right_blood: float
    fat: float
    lung: float
    liver: float
    spleen: float
    muscle: float
    coils: tuple[tuple[float, ...], ...]
    floor: float
    spread: float
    noise: float
    texture: float
    scale: float
    mask: str

    @staticmethod
    def draw(random: np.random.Generator) -> _Look:
        def u(low, high):
            return float(random.uniform(low, high))

        return _Look(
            myocardium=1 / u(2.4, 3.9),
            right_blood=u(0.85, 1.08),
            fat=-u(0.85, 1.45),
            lung=u(0.04, 0.12),
            liver=u(0.28, 0.46),
            spleen=u(0.3, 0.5),
            muscle=u(0.2, 0.32),
            coils=tuple((angle + u(-0.25, 0.25), u(0.3, 1.2), u(32, 52)) for angle in (-2.3, -1.6, -0.7, 0.2, 2.2)),
            floor=u(0.03, 0.12),
            spread=u(0.6, 0.95),
            noise=u(0.03, 0.12),
            texture=u(0.03, 0.07),
            scale=u(120, 420),
            mask=str(random.choice(["none", "circle", "warp"], p=[0.2, 0.5, 0.3])),
        )


@dataclass(frozen=True)
class _Grid:
    """Pixel centres in the anatomy's frame."""

    x: Array
    y: Array
    spacing: tuple[float, float, float]

    @staticmethod
    def over(size: int, spacing: tuple[float, float, float], heart: tuple[float, float]) -> _Grid:
        centred = np.arange(size) - (size - 1) / 2
        x, y = ((centred * s - h).astype(np.float32) for s, h in zip(spacing[:2], heart, strict=True))
        return _Grid(x, y, spacing)

    def levels(self, k: int, count: int) -> Array:
        """Middles of count sub-slices of slice k, shape (count, 1, 1)."""
        z = (k + (np.arange(count) + 0.5) / count) * self.spacing[2]
        return z.astype(np.float32)[:, None, None]


class _Canvas:
    """Signed signal of a few sub-slices, painted from back to front; shape (sub-slices, rows, columns)."""

    def __init__(self, x: Array, y: Array, z: Array, anatomy: _Anatomy, pixel: float, data: Array | None = None):
        self.x, self.y, self.z, self.pixel = x, y, z, pixel
        self.depth = z - anatomy.base
        self.bent_x, self.bent_y = anatomy.warp(x, y, float(z.mean()))
        self.data = np.zeros((len(z), len(y), len(x)), np.float32) if data is None else data

    def cover(self, distance: Array) -> Array:
        """Part of the pixel on the inner side of an edge at this distance."""
        return np.clip(0.5 - distance * np.float32(1 / self.pixel), 0, 1)

    def paint(self, cover: Array, value: Array | float) -> None:
        self.data += cover * (value - self.data)

    def ellipse(self, cx, cy, a, b, tilt, value, rim=0.0, rim_value=0.0, weight=1.0) -> None:
        """A bent ellipse, its parameters numbers or one a sub-slice; rim: width of a wall within it."""
        reach = float(np.max(np.maximum(a, b))) + 12
        columns = _within(self.x, np.min(cx) - reach, np.max(cx) + reach)
        rows = _within(self.y, np.min(cy) - reach, np.max(cy) + reach)
        part = self.data[:, rows, columns]
        if not part.size or np.max(weight) < 0.05:
            return
        distance = _ellipse(self.bent_x[rows, columns], self.bent_y[rows, columns], cx, cy, a, b, tilt)
        if rim:
            part += self.cover(distance) * weight * (rim_value - part)
        part += self.cover(distance + rim) * weight * (value - part)


def _within(values: Array, low: float, high: float) -> slice:
    """The part of a rising axis from low to high."""
    return slice(int(np.searchsorted(values, low)), int(np.searchsorted(values, high)))


def _slice(anatomy: _Anatomy, look: _Look, grid: _Grid, k: int) -> tuple[Array, Array]:
    """Signed signal (rows, columns) of slice k, and the fractions (3, rows, columns) its ventricles' labels fill."""
    pixel = math.sqrt(grid.spacing[0] * grid.spacing[1])
    chest = _Canvas(grid.x, grid.y, grid.levels(k, 2), anatomy, pixel)
    _paint_chest(chest, anatomy, look)
    picture = chest.data.mean(0)
    fractions = np.zeros((3, *picture.shape), np.float32)
    columns, rows = _within(grid.x, -98, 62), _within(grid.y, -78, 62)
    levels = grid.levels(k, max(4, min(12, round(0.75 * grid.spacing[2]))))
    data = np.repeat(picture[None, rows, columns], len(levels), axis=0)
    heart = _Canvas(grid.x[columns], grid.y[rows], levels, anatomy, pixel, data)
    fractions[:, rows, columns] = _paint_heart(heart, anatomy, look)
    picture[rows, columns] = heart.data.mean(0)
    return picture, fractions


def _paint_chest(canvas: _Canvas, anatomy: _Anatomy, look: _Look) -> None:
    """Body wall, lungs, diaphragm, abdomen, spine, aorta; all but the heart."""
    v, depth = anatomy.ventricles, canvas.depth
    x, y, z = canvas.bent_x, canvas.bent_y, canvas.z
    cx, cy, a, b, tilt = anatomy.chest
    cy = cy + anatomy.approach * depth
    dx, dy = x - cx, y - cy
    r = np.sqrt(dx * dx + dy * dy) + 1
    c, s = dx / r, dy / r
    body = _ellipse(x, y, cx, cy, a, b, tilt) - _wave(c, s, anatomy.outline)
    fat = anatomy.fat * (1 + 0.45 * _wave(c, s, ((1, 1.0, 0.9), (3, 0.4, 2.0), (5, 0.25, 4.0))))
    fat = np.maximum(fat, 3)
    wall = fat + anatomy.muscle * (1 + 0.45 * _wave(c, s, ((2, 0.5, 0.3), (4, 0.6, 1.0))))
    canvas.data += np.float32(0.005)
    canvas.paint(canvas.cover(body), 0.3)
    canvas.paint(canvas.cover(body + 1.8), look.fat)
    layer = np.cos((body + fat) * np.float32(0.62) + 2.5 * _wave(c, s, ((3, 1.0, 0.0), (4, 0.7, 1.0))))
    canvas.paint(canvas.cover(body + fat), look.muscle)
    canvas.paint(canvas.cover(body + fat + 2) * np.clip(3 * layer - 2.1, 0, 1), look.fat * 0.8)
    canvas.paint(canvas.cover(body + wall - 2.0), look.fat * 0.8)
    inside = canvas.cover(body + wall)
    canvas.paint(inside, look.lung)
    before = canvas.data * (1 - inside)
    for vx, vy, radius, mx, my, signal, middle, run in anatomy.vessels:
        weight = np.exp(-(((depth - middle) / run) ** 2))
        canvas.ellipse(vx + mx * depth, vy + my * depth, radius, radius * 1.4, mx, 0.8 * signal, weight=weight)
    reach = v.outer_radius(np.maximum(z, v.base)) + 0.4 * v.right_depth
    rx, ry = reach * math.cos(v.septum + 0.75), reach * math.sin(v.septum + 0.75)
    canvas.data[...] = before + inside * canvas.data

    # Fat fills the angles that the right side of the heart makes with the diaphragm and the chest wall.
    abdomen = _below_diaphragm(canvas, anatomy, body + wall)
    _, epicardium, right = v.distances(canvas.x, canvas.y[:, None], np.maximum(z, v.base))
    heart = np.minimum(np.minimum(epicardium, right - 3), _ellipse(x, y, -14, 0, 38, 34) + 4 * np.abs(z - v.base + 12))
    strip = _ellipse(x, y, rx - 8, ry - 22, 3.5 + 0.06 * np.maximum(depth, 0), 46, -0.35)
    heart = np.minimum(heart, strip) - np.maximum(16 - np.abs(heart - strip), 0) ** 2 / 64
    soft = np.clip(14 - 0.5 * x + 0.45 * depth, 6, 46)
    for other in (abdomen, -body - wall):
        fillet = np.minimum(heart, other) - np.maximum(soft - np.abs(heart - other), 0) ** 2 / (4 * soft)
        canvas.paint(canvas.cover(fillet + 2) * inside, look.fat * 0.95)
    _paint_abdomen(canvas, anatomy, look, abdomen)

    # The plane dips towards the back, so that spine and aorta leave the picture at the bottom as the slices descend.
    ax, ay, ar = anatomy.aorta
    canvas.ellipse(ax - 14, ay + 48 + 1.7 * depth, 22, 28, 0.1, 0.42, 2.0, 0.06)
    canvas.ellipse(ax, ay + 1.6 * depth, ar + 1.2, 1.4 * ar + 1.2, 0.15, 0.95, 1.2, 0.2)
    for angle, offset, length, width, marrow in anatomy.ribs:
        inset = anatomy.fat + (0.6 + offset) * anatomy.muscle
        angle = angle + 0.004 * depth
        u, w = (a - inset) * np.cos(angle), (b - inset) * np.sin(angle)
        px, py = cx + math.cos(tilt) * u - math.sin(tilt) * w, cy + math.sin(tilt) * u + math.cos(tilt) * w
        along = float(np.mean(angle)) + math.pi / 2 + tilt
        canvas.ellipse(px, py, length, width, along, marrow, 1.6, 0.04)


def _below_diaphragm(canvas: _Canvas, anatomy: _Anatomy, wall: Array) -> Array:
    """Signed distance to the abdomen. The diaphragm carries the heart and falls off beside its lateral wall.

    wall: signed distance to the chest's inner wall."""
    x, y = canvas.bent_x, canvas.bent_y
    fall, dome = anatomy.diaphragm[1:3]
    lateral = np.maximum(x - 12 - 0.4 * canvas.depth, 0) / 52
    medial = np.maximum(-30 - x, 0) / 60
    edge = _diaphragm(canvas, anatomy) + fall * lateral**2 + dome * medial**2
    return np.maximum((edge - y) / np.sqrt(1 + (2 * fall / 52 * lateral) ** 2), wall)


def _diaphragm(canvas: _Canvas, anatomy: _Anatomy) -> Array:
    """Height of the diaphragm below the heart; beyond the apex it rises to the heart's place."""
    v, z = anatomy.ventricles, canvas.z
    gap, _, _, slope = anatomy.diaphragm
    base = v.outer_radius(np.full_like(z, v.base))
    rise = 1.3 * np.maximum(z - v.base - v.length - 2, 0)
    return 0.55 * base + 0.45 * v.outer_radius(z) + gap + 0.3 * slope * canvas.depth - rise


def _paint_abdomen(canvas: _Canvas, anatomy: _Anatomy, look: _Look, abdomen: Array) -> None:
    """Fat, liver, stomach, spleen and bowel; abdomen: signed distance to where they lie."""
    depth, under = canvas.depth, _diaphragm(canvas, anatomy)
    canvas.paint(canvas.cover(abdomen), look.muscle)
    inside = canvas.cover(abdomen + 2.5)
    before = canvas.data * (1 - inside)
    loops = _smooth(_between(anatomy.loops, float(depth.mean() + 20) / 45), canvas.x, canvas.y)
    canvas.data[...] = look.fat * np.clip(0.8 + 0.15 * loops, 0.3, 1.2)
    canvas.paint(np.clip(4 * (loops - 0.75), 0, 1) * (canvas.y[:, None] > 60), look.muscle + 0.05)
    sx, sy, sa, sb, st = anatomy.spleen
    canvas.ellipse(sx, sy + 0.15 * depth, sa + 1, sb + 1, st, look.spleen, 1.0, 0.1)
    for ox, oy, oa, ob, ot, kind, middle, run in anatomy.bowel:
        size = np.sqrt(np.maximum(1 - ((depth - middle) / run) ** 2, 0.02))
        present = size > 0.3
        canvas.ellipse(ox, oy, oa * size, ob * size, ot, 0.1 + 0.55 * kind, 3.0, look.muscle + 0.08, present)
        canvas.ellipse(ox + 2, oy, oa * size * 0.4, ob * size * 0.3, ot, 0.7 - 0.6 * kind, weight=present)
    gx, gy, ga, gb, gt = anatomy.stomach
    canvas.ellipse(gx, under + gy, ga, gb, gt, 0.3, 3.5, look.muscle + 0.1)
    for n in range(5):
        canvas.ellipse(gx + (n - 2) * 0.28 * ga, under + gy + 3 * (-1) ** n, 0.1 * ga, 0.35 * gb, 0.6, 0.6)
    lx, ly, la, lb, lt = anatomy.liver
    size = np.clip(1.05 - 0.005 * np.abs(depth - 10), 0.45, 1)
    lx, ly = lx - 12 * (1 - size), under + ly
    canvas.ellipse(lx, ly, la * size, lb * size, lt, look.liver, 1.0, 0.1)
    for vx, vy, va, vb, vt, level in anatomy.liver_vessels:
        weight = 0.7 * np.exp(-(((depth - level) / 14) ** 2))
        canvas.ellipse(lx + vx * la * 0.7, ly + vy * lb * 0.55, va, vb, vt, 0.75, weight=weight)
    canvas.data[...] = before + inside * canvas.data


def _paint_heart(canvas: _Canvas, anatomy: _Anatomy, look: _Look) -> Array:
    """Fat, atria and great vessels, ventricles. Returns the fractions of each pixel that the labels fill."""
    v = anatomy.ventricles
    x, y, z = canvas.x, canvas.y[:, None], canvas.z
    endocardium, epicardium, right = v.distances(x, y, z)
    below, below_right = v.below_base(x, y, z)
    step = float(z[1, 0, 0] - z[0, 0, 0])
    ventricle = np.clip(0.5 + below / step, 0, 1)
    right_ventricle = np.clip(0.5 + below_right / step, 0, 1)

    # Fat fills the grooves between the chambers and lies beyond the apex; there is little on the lateral wall.
    t = np.clip((z - v.base) / v.length, 0, 1)
    soft = 5.0
    gap = epicardium - right + 2.4
    groove = np.maximum(soft - np.abs(gap), 0) ** 2 / (4 * soft)
    level = float(canvas.depth.mean()) + 20
    strands = _smooth(_between(anatomy.strands, level / 20), canvas.x, canvas.y)
    lumps = _smooth(_between(anatomy.loops, level / 45), canvas.x, canvas.y)
    layer = anatomy.epicardial_fat * np.clip(0.5 + 0.5 * np.tanh(gap / 12) + 0.4 * lumps + 0.8 * t, 0, 2.5)
    cx, cy = v.axis(z)
    tip = 8 * np.exp(-(((z - v.base - v.length - 6) / 9) ** 2)) + 0.01
    sac = np.minimum(epicardium, right - 2.4) - groove - layer
    sac = np.minimum(sac, _ellipse(x, y, cx, cy, tip * 1.5, tip, 0.4))
    canvas.paint(canvas.cover(sac - 1.2), 0.12)
    canvas.paint(canvas.cover(sac), look.fat)
    _paint_above_base(canvas, anatomy, look)

    cover_epicardium = canvas.cover(epicardium) * ventricle
    cover_right = canvas.cover(np.maximum(right, -epicardium)) * right_ventricle
    cover_endocardium = canvas.cover(endocardium) * ventricle
    canvas.paint(canvas.cover(np.maximum(right - 2.4, -epicardium)) * right_ventricle, look.myocardium)
    edge = np.clip(1 + right / (3 + 9 * t), 0, 1)
    canvas.paint(cover_right, look.right_blood * (1 - (0.3 + 0.5 * t) * np.clip(strands, 0, 1) * edge))
    canvas.paint(cover_epicardium, look.myocardium)
    # Expert contours run outside the trabeculae, which make the blood pool ragged and its edge soft.
    inner = v.inner_radius(z)
    thickness = np.minimum(anatomy.trabeculae * np.minimum(0.4 + 2 * t, 1), 0.6 * inner + 0.1)
    muscular = np.clip(1 + endocardium / thickness, 0, 1) ** 1.5
    trabeculae = np.clip(1.6 * muscular + 0.45 * (strands - 0.25) * np.minimum(4 * muscular, 1), 0, 1)
    canvas.paint(cover_endocardium, 1 - (1 - look.myocardium) * trabeculae)
    for angle, place, r, start in anatomy.papillary:
        grown = np.clip((t - start) / 0.15, 0, 1) * np.clip((0.86 - t) / 0.15, 0, 1)
        radius = r * np.sqrt(grown) * min(1.0, 0.4 + v.radius / 40) + 0.01
        out = np.minimum(place + 0.25 * np.maximum(t - 0.5, 0), 1) * inner
        px, py = cx + out * math.cos(angle), cy + out * math.sin(angle)
        muscle = _ellipse(x, y, px, py, radius * 1.3, radius, angle) - 0.18 * radius * strands
        canvas.paint(canvas.cover(muscle) * cover_endocardium * (radius > 0.5), look.myocardium * 1.1)
    cavity = cover_endocardium.mean(0)
    return np.stack([cavity, np.maximum(cover_epicardium.mean(0) - cavity, 0), cover_right.mean(0)])


def _paint_above_base(canvas: _Canvas, anatomy: _Anatomy, look: _Look) -> None:
    """Atria, aortic root and pulmonary trunk, where the ventricles will not cover them."""
    v = anatomy.ventricles
    up = v.base - canvas.z
    here = np.clip(0.5 + (up + 6) / 2, 0, 1)
    if not here.any():
        return
    left, root, right, mx, my = anatomy.atria
    s = (v.radius + v.wall) / 36
    blood, ra, wall = 0.95, look.right_blood, look.myocardium
    canvas.ellipse(-12 * s, -12 * s, 46 * s, 37 * s, 0.4, look.fat, weight=here)
    canvas.ellipse((-43 + mx) * s, (10 + my) * s, 24 * s * right, 30 * s * right, 0.3, ra, 2.4, wall, here)
    canvas.ellipse((-34 + my) * s, -26 * s, 17 * s, 9 * s, -0.7, ra, 2.0, wall, here)
    canvas.ellipse((-14 + my) * s, -40 * s - 0.1 * up, 18 * s, 15 * s, -0.3, ra, 2.2, wall, here)
    canvas.ellipse(26 * s, -13 * s, 14 * s, 8 * s, 0.9, 0.9 * blood, 1.8, wall, here)
    canvas.ellipse((5 + mx) * s, (13 + my) * s, 32 * s * left, 22 * s * left, 0.5, blood, 2.4, wall, here)
    canvas.ellipse(-14 * s, -12 * s, 17 * s * root, 16 * s * root, 0.0, blood, 2.2, wall, here)


# --- truth -----------------------------------------------------------------------------------------------------------


def _labels(anatomy: _Anatomy, grid: _Grid, fractions: Array) -> Array:
    """Fractions (3, slices, rows, columns) → labels; close calls are settled by counting points in the voxel."""
    labels = _label(fractions)
    sx, sy, sz = grid.spacing
    doubt = min(0.5, DOUBT * max(sx / sy, sy / sx) * max(1.0, sz / 16))
    heart = fractions.sum(0)
    shares = np.sort(fractions, axis=0)
    close = np.argwhere((np.abs(heart - 0.5) < doubt) | ((shares[2] - shares[1] < 2 * doubt) & (heart > 0.3)))
    for part in np.array_split(close, max(1, len(close) // 500)):
        labels[tuple(part.T)] = _vote(anatomy, grid, part, (4, 4, 16))
    return labels


def _vote(anatomy: _Anatomy, grid: _Grid, voxels: Array, counts: tuple[int, int, int]) -> Array:
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


# --- the scanner -----------------------------------------------------------------------------------------------------


def _acquire(picture: Array, anatomy: _Anatomy, look: _Look, grid: _Grid, random: np.random.Generator) -> Array:
    """Texture, coil bias, noise, point spread, magnitude, reconstruction's mask; uint16."""
    size = len(grid.x)
    tap = look.spread**2 / 2 / (1 + look.spread**2)
    out = np.empty(picture.shape, np.uint16)
    for k in range(len(picture)):
        coarse, fine = (_smooth(random.standard_normal((n, n), np.float32), grid.x, grid.y) for n in (15, 45))
        signal = picture[k] * (1 + look.texture * (coarse + 0.7 * fine)) * _bias(anatomy, look, grid, k)
        noise = random.standard_normal((2, size, size), np.float32) * np.float32(look.noise)
        real, imaginary = _blur(signal + noise[0], tap), _blur(noise[1], tap)
        out[k] = np.clip(np.sqrt(real * real + imaginary * imaginary) * look.scale, 0, 65535)
    out[:, ~_mask(look, grid)] = 0
    return out


def _bias(anatomy: _Anatomy, look: _Look, grid: _Grid, k: int) -> Array:
    """Receive sensitivity: 1 at the middle of the left ventricle, more near the coils on the body's surface."""
    cx, cy, a, b, tilt = anatomy.chest
    c, s = math.cos(tilt), math.sin(tilt)

    def sensitivity(x, y, depth):
        total = look.floor
        for angle, gain, reach in look.coils:
            u, w = (a + 8) * math.cos(angle), (b + 8) * math.sin(angle)
            dx, dy = x - cx - c * u + s * w, y - cy - anatomy.approach * depth - s * u - c * w
            total = total + gain / (1 + (dx * dx + dy * dy) / reach**2) ** 1.5
        return total

    depth = (k + 0.5) * grid.spacing[2] - anatomy.base
    nodes = np.linspace(-250, 250, 29)
    field = sensitivity(nodes[None], nodes[:, None], depth) / sensitivity(0.0, 0.0, 30.0)
    return _smooth(field.astype(np.float32), grid.x, grid.y)


def _blur(image: Array, tap: float) -> Array:
    """In-plane point spread: three taps along either axis."""
    for axis in (0, 1):
        image = image * np.float32(1 - 2 * tap) + (np.roll(image, 1, axis) + np.roll(image, -1, axis)) * np.float32(tap)
    return image


def _mask(look: _Look, grid: _Grid) -> Array:
    """Where the reconstruction keeps the picture: all of it, a circle, or an area bent by gradient unwarping."""
    u = np.linspace(-1, 1, len(grid.x), dtype=np.float32)
    x, y = u[None], u[:, None]
    if look.mask == "circle":
        return x * x + y * y < 0.85
    if look.mask == "warp":
        return np.abs(x) < 0.9 + 0.12 * y * y
    return np.ones((len(u), len(u)), bool)
