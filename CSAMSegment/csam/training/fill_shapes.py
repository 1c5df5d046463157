"""Stacks of thick slices of made-up shapes: no anatomy, all kinds of borders, exact truth.

For a network that has to follow any structure. Blobs, rings, pairs of lobes and flat shapes lie beside and above each
other, drift, turn, grow and end along the stack; each has its own grey value and texture, often one close to its
neighbour's. A slice is the mean of sub-slices, then comes a coil's bias, a point spread and noise. Everything is in
pixels; the idea is that of SynthSeg and AnyStar (Billot 2023, Dey 2024): what looks unlike any scan teaches to rely on
what is common to all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

Array = np.ndarray
SUB_SLICES = 2
SMALLEST = 40
"""Pixels of the structure in a slice, below which the slice counts as one at the structure's end."""


@dataclass(frozen=True)
class ShapeStack:
    """image: (S, H, W) float32, about 0 to 1. mask: (S, H, W) bool, one structure."""

    image: Array
    mask: Array


def random_stack(random: np.random.Generator, slices: int, size: int) -> ShapeStack:
    """A stack of ``slices`` × size × size with one structure of some 25 to 60 pixels across near its middle."""
    while True:
        stack = _stack(random, slices, size)
        if (stack.mask.sum((1, 2)) > SMALLEST).sum() >= 3:
            return stack


def _stack(random: np.random.Generator, slices: int, size: int) -> ShapeStack:
    z = (np.arange(slices * SUB_SLICES, dtype=np.float32) + 0.5) / SUB_SLICES
    x, y = _bent_plane(random, z, size)
    target = random.uniform(0.22, 0.5) * size / 2
    picture = np.zeros((len(z), size, size), np.float32)
    tone, behind = random.uniform(0, 1, 2)
    picture += _texture(random, picture.shape, behind + 0.2 * np.sign(behind - tone))
    others = int(random.integers(3, 9))
    place = int(random.integers(max(0, others - 3), others + 1))  # most often in front, or nearly so
    inside = np.zeros(picture.shape, bool)
    for n in range(others + 1):
        mine = n == place
        if mine:
            centre, radius = random.normal(0, 0.04 * size, 2), target
        else:
            centre, radius = random.uniform(-0.45, 0.45, 2) * size, random.uniform(0.06, 0.4) * size
        level = _shape(random, z, x, y, centre, radius)
        near = tone + random.normal(0, 0.15)
        grey = tone if mine else near if random.random() < 0.25 else random.uniform(0, 1)
        covered = level > 0
        if mine and random.random() < 0.35:  # a ring with something else inside
            wall = radius * random.uniform(0.18, 0.45) * np.exp(_walk(random, z, 0.12))[:, None, None]
            core = level > wall
            picture = np.where(core, _texture(random, picture.shape, random.uniform(0, 1)), picture)
            covered &= ~core
        picture = np.where(covered, _texture(random, picture.shape, grey), picture)
        inside = covered if mine else inside & ~covered
    image = picture.reshape(slices, SUB_SLICES, size, size).mean(1)
    mask = inside.reshape(slices, SUB_SLICES, size, size).mean(1) > 0.5
    return ShapeStack(_scan(random, image), mask)


def _walk(random: np.random.Generator, z: Array, size: float) -> Array:
    """A smooth function along the stack of standard deviation ``size``, one number a sub-slice."""
    knots = random.normal(0, size, 2 + len(z) // (SUB_SLICES * int(random.integers(2, 5))))
    return np.interp(z, np.linspace(z[0], z[-1], len(knots)), knots).astype(np.float32)


def _bent_plane(random: np.random.Generator, z: Array, size: int) -> tuple[Array, Array]:
    """Coordinates (z, rows, columns) from the middle, in pixels, bent smoothly and otherwise in every slice."""
    strength = random.uniform(0, 0.05) * size
    knots = torch.from_numpy(random.normal(0, strength, (2, 1, 3 + len(z) // 8, 5, 5)).astype(np.float32))
    bend = F.interpolate(knots, (len(z), size, size), mode="trilinear", align_corners=True)[:, 0].numpy()
    middle = np.arange(size, dtype=np.float32) - (size - 1) / 2
    return middle[None, None, :] + bend[0], middle[None, :, None] + bend[1]


def _shape(random, z: Array, x: Array, y: Array, centre, radius: float) -> Array:
    """Pixels to the outline of one shape, positive inside, (z, rows, columns)."""
    drift = radius * random.choice([0.03, 0.1, 0.2])
    count = z[-1] + 0.5
    lean = random.normal(0, drift, 2)
    middle = random.uniform(0.2, 0.8) * count
    cx = centre[0] + lean[0] * (z - middle) + _walk(random, z, drift)
    cy = centre[1] + lean[1] * (z - middle) + _walk(random, z, drift)
    size = radius * np.exp(_walk(random, z, random.uniform(0.05, 0.3)))
    if random.random() < 0.6:  # it ends within the stack, or about there
        half = random.uniform(0.35, 0.8) * count
        size = size * np.maximum(1 - (np.abs(z - middle) / half) ** random.uniform(1.5, 4), 0) ** 0.5 - 0.5
    angle = random.uniform(0, np.pi) + _walk(random, z, random.choice([0.05, 0.4]))
    flat = random.choice([1.0, random.uniform(1, 1.6), random.uniform(1.3, 3.0)])
    dx, dy = x - cx[:, None, None], y - cy[:, None, None]
    if random.random() < 0.2:  # two lobes, mirrored
        apart = size * random.uniform(0.4, 0.75)
        c, s = np.cos(angle), np.sin(angle)
        lobes = [
            _star(
                random,
                z,
                dx + n * (apart * c)[:, None, None],
                dy + n * (apart * s)[:, None, None],
                0.62 * size,
                angle + n * random.normal(0.5, 0.3),
                flat,
            )
            for n in (-1, 1)
        ]
        return np.maximum(*lobes)
    return _star(random, z, dx, dy, size, angle, flat)


def _star(random, z: Array, dx: Array, dy: Array, size: Array, angle: Array, flat: float) -> Array:
    """A wavy ellipse: ``flat`` times as long as wide."""
    c, s = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u, v = (dx * c + dy * s) / np.float32(np.sqrt(flat)), (dy * c - dx * s) * np.float32(np.sqrt(flat))
    r = np.sqrt(u * u + v * v) + np.float32(1e-3)
    cosine, sine = u / r, v / r
    wave, one, other = np.float32(0), np.ones_like(cosine), np.zeros_like(sine)
    rough = random.choice([0.0, 0.1, 0.2])
    for order in range(1, 5):  # cos and sin of the multiple angles, by recursion
        one, other = one * cosine - other * sine, one * sine + other * cosine
        if order > 1 and rough:
            a, b = (_walk(random, z, rough / order)[:, None, None] + random.normal(0, rough / order) for _ in "ab")
            wave = wave + a * one + b * other
    return size[:, None, None] * (1 + wave) - r


def _texture(random, shape, grey: float) -> Array:
    """(z, rows, columns) around a grey value: flat, or mottled on some scale, drifting along the stack."""
    drift = _walk(random, np.arange(shape[0], dtype=np.float32), 0.04)[:, None, None]
    texture = np.float32(grey) + drift
    strength = random.choice([0.0, 0.04, 0.12])
    if strength:
        coarse = int(random.choice([2, 4, 8, 16]))
        knots = random.standard_normal((1, shape[0], -(-shape[1] // coarse), -(-shape[2] // coarse)), np.float32)
        mottle = F.interpolate(torch.from_numpy(knots), shape[1:], mode="bilinear", align_corners=False)[0].numpy()
        texture = texture + np.float32(strength * 1.5) * mottle
    return texture


def _scan(random, image: Array) -> Array:
    """Point spread, coil bias, gain of each slice, noise."""
    slices, height, width = image.shape
    picture = torch.from_numpy(np.ascontiguousarray(image, np.float32))[:, None]
    for _ in range(int(random.integers(0, 4))):
        picture = F.avg_pool2d(F.pad(picture, (0, 1, 0, 1), mode="replicate"), 2, 1)
        picture = torch.flip(picture, (2, 3))
    if (random.random()) < 0.5:
        knots = torch.from_numpy(random.normal(0, random.uniform(0, 0.3), (1, 1, 4, 3, 3)).astype(np.float32))
        bias = F.interpolate(knots, (slices, height, width), mode="trilinear", align_corners=True)[0, 0]
        picture = picture * torch.exp(bias)[:, None]
    gain = np.exp(random.normal(0, random.choice([0.0, 0.05, 0.2]), slices)).astype(np.float32)
    noise = random.standard_normal(image.shape, np.float32) * np.float32(random.choice([0.01, 0.04, 0.1]))
    return picture[:, 0].numpy() * gain[:, None, None] + noise
