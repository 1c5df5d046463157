"""The anatomy of a phantom: two ventricles, and the chest around them, chosen at random.

Millimetres. x to the right of the picture (lateral wall), y down (inferior wall), both from the left ventricle's
axis at the base; z from the first slice's upper face towards the apex. Angles from +x towards +y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .shapes import Array, Waves, between, ellipse, profile, smooth, wave, waves


def _clear_of_the_middle(z: float, thickness: float) -> float:
    """z, moved out of the middle quarter of its slice, where a base's slightest tilt would cut a label in two."""
    place = z / thickness % 1
    if abs(place - 0.5) >= 0.13:
        return z
    return z + (0.37 - place if place < 0.5 else 0.63 - place) * thickness


@dataclass(frozen=True)
class Ventricles:
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
    closing: float = 0.0
    """Share of the cavity's radius that papillary muscles and trabeculae fill towards the apex in systole. It stays
    cavity, as in the contours of Sunnybrook (https://smial.sri.utoronto.ca/LV_Challenge/Data.html). 0 in a beat of a
    given ejection fraction."""

    @staticmethod
    def at_random(
        random: np.random.Generator,
        extent: float,
        thickness: float,
        contraction: float,
        fraction: float | None = None,
        thick_walled: bool = False,
    ) -> Ventricles:
        """contraction: from 0, end diastole, to 1, end systole. fraction: ejection fraction; None for one at random."""

        def u(low, high):
            return float(random.uniform(low, high))

        length = u(61, 73)
        volume = min(max(random.normal(145, 32), 104), 215) * (length / 67) ** 1.5
        taper = u(2.0, 2.9)
        wall = min(max(random.normal(9.3, 1.7), 7.0), 14.5)
        ejected = min(max(random.normal(0.57, 0.1), 0.25), 0.72)
        if thick_walled:  # as in hypertrophic cardiomyopathy
            volume, wall, ejected = 0.75 * volume, min(1.8 * wall, 22), min(ejected + 0.05, 0.8)
        ejected = contraction * (ejected if fraction is None else fraction)
        right_depth, above = u(27, 37), u(0.72, 1.12) * thickness
        integral = float(np.mean(profile(np.linspace(0, 1, 400), taper) ** 2))
        radius = math.sqrt(volume * 1000 / (math.pi * length * integral))
        spare = extent - length - 8
        base = max(above, spare / 3) if spare > above else spare / 2
        right_length = u(0.82, 0.93)
        if contraction:  # the base descends towards the apex; the muscle keeps its volume
            shorter = length * (1 - 0.36 * ejected)
            muscle = ((radius + wall) ** 2 - radius**2) * length / shorter
            radius *= math.sqrt((1 - ejected) * length / shorter)
            wall = math.sqrt(radius**2 + muscle) - radius
            base, length, right_depth = base + length - shorter, shorter, right_depth * (1 - 0.25 * contraction)
        base = _clear_of_the_middle(base, thickness)
        lag = _clear_of_the_middle(base + u(0, 4), thickness) - base
        return Ventricles(
            base=base,
            length=length,
            radius=radius,
            wall=wall,
            apical_wall=u(4.5, 6.5),
            taper=taper,
            waves=waves(random, (2, 0.05), (3, 0.025), (4, 0.012)),
            lean=(u(-4, 6), u(-4, 4)),
            tilt=(u(-0.02, 0.02), u(-0.02, 0.02)),
            septum=math.pi + u(0.0, 0.45),
            right_depth=right_depth,
            right_length=right_length * length,
            right_lag=lag,
            right_waves=waves(random, (2, 0.05), (3, 0.07), (5, 0.025)),
            closing=contraction * (u(0.1, 0.8) if thick_walled else u(0, 0.5)) if fraction is None else 0.0,
        )

    def outer_radius(self, z: Array) -> Array:
        """Mean epicardial radius of the left ventricle; the base's radius above the base."""
        t = (z - self.base) / (self.length + self.apical_wall)
        return (self.radius + self.wall) * profile(t, self.taper)

    def inner_radius(self, z: Array) -> Array:
        """Mean endocardial radius of the left ventricle; the base's radius above the base."""
        return self.radius * profile((z - self.base) / self.length, self.taper)

    def axis(self, z: Array) -> tuple[Array, Array]:
        """Where the left ventricle's axis meets the plane z."""
        t = (z - self.base) / self.length
        return self.lean[0] * t, self.lean[1] * t

    def _around_axis(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Distance from the axis in the plane, and the cosine and sine of the angle there."""
        cx, cy = self.axis(z)
        dx, dy = x - cx, y - cy
        r = np.sqrt(dx * dx + dy * dy) + np.float32(1e-3)
        return r, dx / r, dy / r

    def blood(self, x: Array, y: Array, z: Array) -> Array:
        """Signed in-plane distance (negative inside) to the blood that muscle leaves in a closing cavity."""
        r, c, s = self._around_axis(x, y, z)
        deep = np.clip((z - self.base) / (0.65 * self.length), 0, 1)
        left = 1 - self.closing * deep**2 * (3 - 2 * deep)
        ripple = (1 + 4 * self.closing) * wave(c, s, self.waves)  # what is left open is no circle
        return r - self.inner_radius(z) * left * (1 + ripple)

    def distances(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Signed in-plane distances (negative inside) to the endocardium, the epicardium of the left ventricle and the
        right ventricle's outline, as if the ventricles went on above the base. They broadcast x, y and z."""
        r, c, s = self._around_axis(x, y, z)
        dx, dy = r * c, r * s
        ripple = wave(c, s, self.waves)
        inner, outer = self.inner_radius(z), self.outer_radius(z)
        sc, ss = math.cos(self.septum), math.sin(self.septum)
        endocardium = r - inner * (1 + ripple) + 2 * (inner <= 0)
        epicardium = r - outer * (1 + 0.8 * ripple) - (outer - inner) * 0.06 * (sc * c + ss * s) + 2 * (outer <= 0)
        shape = profile((z - self.base) / self.right_length, 2.3)
        depth = np.maximum(self.right_depth * shape, 0.01)
        half = 0.55 * outer + 0.5 * depth
        centre = outer + depth - half
        across = np.maximum((outer + 0.12 * self.right_depth) * (0.5 + 0.5 * shape), 0.01)
        right = ellipse(dx, dy, centre * sc, centre * ss, half, across, self.septum)
        right = right - wave(c, s, self.right_waves) * depth
        return endocardium, epicardium, right + 1000 * (shape <= 0)

    def below_base(self, x: Array, y: Array, z: Array) -> tuple[Array, Array]:
        """Millimetres below the mitral and the tricuspid plane."""
        below = z - self.base - self.tilt[0] * x - self.tilt[1] * y
        return below, below - self.right_lag


@dataclass(frozen=True)
class Anatomy:
    """A chest around a pair of ventricles. Organs: tuples of x, y, half axes, tilt and what their painters add.

    base: the ventricles' base in diastole, from which depth in the chest is counted at either phase."""

    heart: tuple[float, float]
    ventricles: Ventricles
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
    def at_random(
        random: np.random.Generator,
        extent: float,
        thickness: float,
        contraction: float,
        fraction: float | None = None,
        thick_walled: bool = False,
    ) -> Anatomy:
        def u(*bounds):
            """Uniform numbers, one for each pair of bounds; a single one as a number."""
            pairs = np.reshape(bounds, (-1, 2))
            values = tuple(float(random.uniform(low, high)) for low, high in pairs)
            return values if len(values) > 1 else values[0]

        seed = int(random.integers(2**32))
        diastole, ventricles = (
            Ventricles.at_random(np.random.default_rng(seed), extent, thickness, part, fraction, thick_walled)
            for part in (0.0, contraction)
        )
        chest, wall, approach = u(10, 32, 46, 66, 155, 182, 142, 162, -0.65, -0.2), u(8, 24, 11, 22), u(0.35, 0.58)
        return Anatomy(
            ventricles=ventricles,
            base=diastole.base,
            heart=u(-6, 16, -12, 8),
            chest=_around(diastole, chest, sum(wall) + 9, approach),
            outline=waves(random, (2, 4.0), (3, 6.0), (4, 4.0), (7, 1.5)),
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
        bend = between(self.bend, (z - self.base + 20) / 55)
        return x + smooth(bend[0], x, y), y[:, None] + smooth(bend[1], x, y)


def _around(v: Ventricles, chest: tuple[float, ...], wall: float, approach: float) -> tuple[float, ...]:
    """The chest, grown where the heart would not fit into its wall."""
    cx, cy, a, b, tilt = chest
    depth = np.array([-5.0, 15.0, 35.0, 55.0])
    outer = v.outer_radius(np.maximum(depth, 0) + v.base)
    right = outer + v.right_depth * profile(np.maximum(depth, 0) / v.right_length, 2.3)
    excess = 0.0
    septum = v.septum
    for angle, reach in ((septum - 0.6, right), (septum, right), (septum + 0.7, right), (4.7, 1.2 * outer)):
        x, y = reach * math.cos(angle), reach * math.sin(angle)
        excess = max(excess, float(np.max(ellipse(x, y, cx, cy + approach * depth, a, b, tilt))) + wall)
    return cx, cy, a + excess, b + excess, tilt
