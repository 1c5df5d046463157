"""Outlines in millimetres, and fields that vary gently over a slice: what a phantom is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def profile(t: Array, power: float) -> Array:
    """Radius of a ventricle relative to its largest, at the fraction t of its length; 0 beyond the apex."""
    t = np.maximum(t, 0)
    return np.sqrt(np.maximum(1 - t**power, 0)) * (1 - 0.06 * np.exp(-((t / 0.18) ** 2)))


def ellipse(x: Array, y: Array, cx, cy, a, b, tilt: float = 0.0) -> Array:
    """Signed distance to an ellipse to first order, negative inside."""
    c, s = math.cos(tilt), math.sin(tilt)
    dx, dy = x - cx, y - cy
    u, v = (c * dx + s * dy) / a, (c * dy - s * dx) / b
    rho = np.sqrt(u * u + v * v) + np.float32(1e-4)
    return (rho - 1) * rho / np.sqrt((u / a) ** 2 + (v / b) ** 2 + np.float32(1e-10))


Waves = tuple[tuple[int, float, float], ...]


def waves(random: np.random.Generator, *orders: tuple[int, float]) -> Waves:
    """Harmonics (order, amplitude, phase) of an outline, from pairs of order and largest amplitude."""
    return tuple((n, float(random.uniform(0.3, 1) * a), float(random.uniform(0, 2 * math.pi))) for n, a in orders)


def wave(c: Array, s: Array, waves: Waves) -> Array:
    """Sum of amplitude · cos(order · angle - phase) where c and s are the angle's cosine and sine."""
    total, (cn, sn) = 0.0, (c, s)
    for order in range(1, waves[-1][0] + 1):
        total = total + sum(a * (math.cos(p) * cn + math.sin(p) * sn) for n, a, p in waves if n == order)
        cn, sn = cn * c - sn * s, sn * c + cn * s
    return total


def between(levels: Array, position: float) -> Array:
    """Linear interpolation along the first axis; constant beyond its ends."""
    position = min(max(position, 0.0), len(levels) - 1.001)
    low = int(position)
    return levels[low] + np.float32(position - low) * (levels[low + 1] - levels[low])


def smooth(nodes: Array, x: Array, y: Array) -> Array:
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
class Grid:
    """Pixel centres in the anatomy's frame."""

    x: Array
    y: Array
    spacing: tuple[float, float, float]

    @staticmethod
    def over(size: int, spacing: tuple[float, float, float], heart: tuple[float, float]) -> Grid:
        centred = np.arange(size) - (size - 1) / 2
        x, y = ((centred * s - h).astype(np.float32) for s, h in zip(spacing[:2], heart, strict=True))
        return Grid(x, y, spacing)

    def levels(self, k: int, count: int) -> Array:
        """Middles of count sub-slices of slice k, shape (count, 1, 1)."""
        z = (k + (np.arange(count) + 0.5) / count) * self.spacing[2]
        return z.astype(np.float32)[:, None, None]
