"""Examples for the network that fills the slices between drawn ones: any structure, some of its slices drawn.

Three sources: made-up shapes (``fill_shapes``), the labels of a data set, and parts of its pictures that
stand out from what is around them, whatever they are. None of them is meant to teach an anatomy.

Step: train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from ..image.distance import signed_distance
from ..image.geometry import pad_amounts
from ..image.unknown import UNKNOWN
from ..interactive.inputs import network_input
from ..interactive.interpolation import REACH
from ..interactive.region import normalised, region_of
from .augment import Example
from .fill_shapes import ShapeStack, random_stack

MADE_UP, STANDS_OUT = 0.6, 0.25
"""Shares of the examples; the rest are a data set's labels."""
FLAWED = 0.35
"""Share of the examples that start from an earlier result."""
FROM_EDGE = 20
"""Pixels from the edge of a picture to the middle of what stands out."""
BEYOND = 0.3
"""Weight of the slices beyond the drawn ones, where nothing but the image tells."""


@dataclass(frozen=True)
class FillExample:
    """What a step learns from. x: (S, C, h, w). prior: (S, h, w) log odds. truth: (S, h, w), 0 or 1. weight: (S,)."""

    x: torch.Tensor
    prior: torch.Tensor
    truth: torch.Tensor
    weight: torch.Tensor


def fill_example(random: np.random.Generator, cases: Sequence[Example], num_slices: int) -> FillExample:
    """A random example. cases: (1, S, h, w) values and (S, h, w) labels of a data set, or none."""
    while True:
        kind = random.random() if cases else 0.0
        if kind < MADE_UP:
            stack = random_stack(random, int(random.integers(5, 15)), 112)
        else:
            case = cases[random.integers(len(cases))]
            stack = _stands_out(random, case) if kind < MADE_UP + STANDS_OUT else _labelled(random, case)
        if stack is not None and (stack := _thinned(random, stack)) is not None:
            return _example(random, stack, num_slices)


def _labelled(random, case: Example) -> ShapeStack | None:
    """None where something is unknown: a structure might go on there."""
    values = [v for v in np.unique(case.labels.numpy()) if v]
    if UNKNOWN in values:
        return None
    return ShapeStack(case.values[0].numpy(), case.labels.numpy() == random.choice(values)) if values else None


def _stands_out(random, case: Example) -> ShapeStack | None:
    """A connected part of about one grey value around a point, within a disc; None where there is no decent one."""
    image = case.values[0].numpy()
    slices, height, width = image.shape
    if slices < 4 or min(height, width) <= 2 * FROM_EDGE:
        return None
    smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(image), [1.0, 1.0, 0.3]))
    z, y, x = (
        int(random.integers(low, n - low)) for n, low in zip(image.shape, (1, FROM_EDGE, FROM_EDGE), strict=True)
    )
    radius = random.uniform(12, 36)
    rows, columns = np.ogrid[:height, :width]
    disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    part = (np.abs(smooth - smooth[z, y, x]) < random.uniform(0.06, 0.2)) & disc
    opened = sitk.BinaryMorphologicalOpening(sitk.GetImageFromArray(part.astype(np.uint8)), [1, 1, 0])
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(opened))
    if not pieces[z, y, x]:
        return None
    mask = pieces == pieces[z, y, x]
    if random.random() < 0.5:
        holes = [sitk.BinaryFillhole(sitk.GetImageFromArray(one.astype(np.uint8))) for one in mask]
        mask = np.stack([sitk.GetArrayFromImage(one) > 0 for one in holes])
    areas = mask.sum((1, 2))
    fits = (areas > 60).sum() >= 3 and areas.max() < 0.75 * disc.sum()
    return ShapeStack(image, mask) if fits else None


def _thinned(random, stack: ShapeStack) -> ShapeStack | None:
    """Turned, mirrored, thinned out, slices out of line; None where little is left."""
    image, mask = stack.image, stack.mask
    if len(image) > 8 and random.random() < 0.25:
        start = int(random.integers(2))
        image, mask = image[start::2], mask[start::2]
    if random.random() < 0.5:
        image, mask = image[::-1], mask[::-1]
    turns = int(random.integers(4))
    image, mask = np.rot90(image, turns, (1, 2)), np.rot90(mask, turns, (1, 2))
    if random.random() < 0.5:
        image, mask = image[:, :, ::-1], mask[:, :, ::-1]
    image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
    if random.random() < 0.2:
        for index in range(len(image)):
            by = tuple(random.integers(-3, 4, 2))
            image[index], mask[index] = np.roll(image[index], by, (0, 1)), np.roll(mask[index], by, (0, 1))
    there = mask.any((1, 2))
    return ShapeStack(image, mask) if there.sum() >= 3 and len(image) >= 4 else None


def _drawn(random, there: np.ndarray, count: int) -> list[int]:
    """Which slices are drawn: mostly evenly spaced from end to end, sometimes any; some empty ones beside the ends."""
    number = int(random.choice([1, 2, 3, 4, 5], p=[0.1, 0.2, 0.4, 0.2, 0.1]))
    number = min(number, len(there) - 1)
    if random.random() < 0.6 and number > 1:
        chosen = {int(there[round(place)]) for place in np.linspace(0, len(there) - 1, number)}
    else:
        chosen = set(random.choice(there, number, replace=False).tolist())
    for empty in (there[0] - 1, there[-1] + 1):
        if 0 <= empty < count and random.random() < 0.25:
            chosen.add(int(empty))
    return sorted(chosen)


def _example(random, stack: ShapeStack, num_slices: int) -> FillExample:
    count = len(stack.image)
    drawn = _drawn(random, np.flatnonzero(stack.mask.any((1, 2))), count)
    region = region_of([stack.mask[index] for index in drawn], (1.0, 1.0))
    values = normalised(region.seen(torch.from_numpy(stack.image).float()))
    values = _other_contrast(random, values)
    shapes = region.shapes({index: stack.mask[index] for index in drawn}, (1.0, 1.0))
    undrawn = [n for n in range(drawn[0], drawn[-1]) if n not in drawn] or list(range(count))
    first = int(np.clip(random.choice(undrawn) - random.integers(num_slices), 0, max(0, count - num_slices)))
    front = pad_amounts(count, num_slices)[0] if count < num_slices else 0
    indices = np.clip(np.arange(num_slices) + first - front, 0, count - 1).tolist()
    truth = (region.seen(torch.from_numpy(stack.mask).float()) > 0.5).float()
    found = flawed(random, truth.numpy() > 0) if random.random() < FLAWED else None
    x, prior = network_input(values, shapes, indices, found)
    truth = truth[indices]
    inner = range(drawn[0], drawn[-1]) if found is None else range(count)
    weights = [0.0 if n in drawn else 1.0 if n in inner else BEYOND for n in indices]
    return FillExample(x, prior, truth, torch.tensor(weights))


def flawed(random, mask: np.ndarray) -> np.ndarray:
    """A result as a model might give it, wrong in a way that changes little from slice to slice.

    mask: (S, h, w), the truth → signed distances, pixels, at most REACH from the outline.
    """
    slices = len(mask)
    distance = np.stack([signed_distance(one, (1.0, 1.0)) for one in mask])
    there = np.flatnonzero(mask.any((1, 2)))
    for end, beyond in ((there[0], -1), (there[-1], 1)):
        if random.random() < 0.2:  # missed at its end, or found beyond it
            distance[end] = -REACH
        elif random.random() < 0.25 and 0 <= end + beyond < slices:
            distance[end + beyond] = distance[end] - random.uniform(0, 3)
    size = random.uniform(0, 8)
    knots = random.normal(0, size, (1, 1, 2 + slices // int(random.integers(2, 6)), 4, 4)).astype(np.float32)
    error = F.interpolate(torch.from_numpy(knots), mask.shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    return np.clip(distance + error + random.normal(0, size / 3), -REACH, REACH).astype(np.float32)


def _other_contrast(random, values: torch.Tensor) -> torch.Tensor:
    if random.random() < 0.5:
        values = values ** float(np.exp(random.uniform(-0.7, 0.7)))
    if random.random() < 0.25:
        values = 1 - values
    if random.random() < 0.3:
        noise = random.standard_normal(values.shape, np.float32) * random.uniform(0, 0.1)
        values = values + torch.from_numpy(noise.astype(np.float32))
    return values
