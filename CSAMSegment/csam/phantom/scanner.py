"""What a scanner makes of a phantom's signal: contrast, coils, point spread, noise, and the reconstruction's mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy
from .shapes import Array, Grid, smooth


@dataclass(frozen=True)
class Appearance:
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
    def at_random(random: np.random.Generator) -> Appearance:
        def u(low, high):
            return float(random.uniform(low, high))

        return Appearance(
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


def acquire(picture: Array, anatomy: Anatomy, appearance: Appearance, grid: Grid, random: np.random.Generator) -> Array:
    """Texture, coil bias, noise, point spread, magnitude, reconstruction's mask; uint16."""
    size = len(grid.x)
    tap = appearance.spread**2 / 2 / (1 + appearance.spread**2)
    out = np.empty(picture.shape, np.uint16)
    for k in range(len(picture)):
        coarse, fine = (smooth(random.standard_normal((n, n), np.float32), grid.x, grid.y) for n in (15, 45))
        signal = picture[k] * (1 + appearance.texture * (coarse + 0.7 * fine)) * _bias(anatomy, appearance, grid, k)
        noise = random.standard_normal((2, size, size), np.float32) * np.float32(appearance.noise)
        real, imaginary = _blur(signal + noise[0], tap), _blur(noise[1], tap)
        out[k] = np.clip(np.sqrt(real * real + imaginary * imaginary) * appearance.scale, 0, 65535)
    out[:, ~_mask(appearance, grid)] = 0
    return out


def _bias(anatomy: Anatomy, appearance: Appearance, grid: Grid, k: int) -> Array:
    """Receive sensitivity: 1 at the middle of the left ventricle, more near the coils on the body's surface."""
    cx, cy, a, b, tilt = anatomy.chest
    c, s = math.cos(tilt), math.sin(tilt)

    def sensitivity(x, y, depth):
        total = appearance.floor
        for angle, gain, reach in appearance.coils:
            u, w = (a + 8) * math.cos(angle), (b + 8) * math.sin(angle)
            dx, dy = x - cx - c * u + s * w, y - cy - anatomy.approach * depth - s * u - c * w
            total = total + gain / (1 + (dx * dx + dy * dy) / reach**2) ** 1.5
        return total

    depth = (k + 0.5) * grid.spacing[2] - anatomy.base
    nodes = np.linspace(-250, 250, 29)
    field = sensitivity(nodes[None], nodes[:, None], depth) / sensitivity(0.0, 0.0, 30.0)
    return smooth(field.astype(np.float32), grid.x, grid.y)


def _blur(image: Array, tap: float) -> Array:
    """In-plane point spread: three taps along either axis."""
    for axis in (0, 1):
        image = image * np.float32(1 - 2 * tap) + (np.roll(image, 1, axis) + np.roll(image, -1, axis)) * np.float32(tap)
    return image


def _mask(appearance: Appearance, grid: Grid) -> Array:
    """Where the reconstruction keeps the picture: all of it, a circle, or an area bent by gradient unwarping."""
    u = np.linspace(-1, 1, len(grid.x), dtype=np.float32)
    x, y = u[None], u[:, None]
    if appearance.mask == "circle":
        return x * x + y * y < 0.85
    if appearance.mask == "warp":
        return np.abs(x) < 0.9 + 0.12 * y * y
    return np.ones((len(u), len(u)), bool)
