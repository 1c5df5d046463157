"""Training examples from whole scans: a window of slices, a field of view, and MONAI's random transforms.

Slices may come without the structure: a data set that keeps only slices that show it would otherwise teach the
network to find it in every slice. So some end slices are replaced by what lies beside the structure.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .geometry import pad_amounts


@dataclass(frozen=True)
class Example:
    """values: (C, S, h, w) float32, 0 to 1. labels: (S, h, w) integer. Both at the model's spacing."""

    values: torch.Tensor
    labels: torch.Tensor


def crop(example: Example, centres: np.ndarray, size: tuple[int, int]) -> Example:
    """A window of ``size`` around one centre (row, column) a slice; what lies outside is black background."""
    half = [s // 2 for s in size]
    margin = max(size)
    values = F.pad(example.values, (margin, margin, margin, margin))
    labels = F.pad(example.labels, (margin, margin, margin, margin))
    starts = np.round(centres).astype(int) - half + margin
    starts = np.clip(starts, 0, np.array(values.shape[-2:]) - size)
    cut = [(s, slice(r, r + size[0]), slice(c, c + size[1])) for s, (r, c) in enumerate(starts)]
    return Example(
        torch.stack([values[:, s, r, c] for s, r, c in cut], 1), torch.stack([labels[s, r, c] for s, r, c in cut])
    )


def window_of_slices(count: int, num_slices: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of num_slices neighbouring slices; a short stack repeats its edge slices, shared out at random."""
    if count >= num_slices:
        start = rng.integers(0, count - num_slices + 1)
        return np.arange(start, start + num_slices)
    before = rng.integers(0, num_slices - count + 1) if rng.random() < 0.5 else pad_amounts(count, num_slices)[0]
    return np.clip(np.arange(num_slices) - before, 0, count - 1)


def draw_example(
    example: Example, num_slices: int, size: tuple[int, int], rng: np.random.Generator, empty_slices: bool
) -> Example:
    """A random window of slices and a random place in-plane, somewhat larger than ``size`` for the transforms to cut.

    empty_slices: replace some of the end slices by places away from every structure.
    """
    indices = window_of_slices(example.values.shape[1], num_slices, rng)
    picked = Example(example.values[:, indices], example.labels[indices])
    shape = np.array(picked.labels.shape[-2:])
    rows, columns = torch.nonzero(picked.labels.any(0), as_tuple=True)
    found = len(rows) > 0
    if found and rng.random() < 0.8:
        middle = np.array([rows.float().mean(), columns.float().mean()]) + rng.uniform(-0.3, 0.3, 2) * size
    else:
        middle = rng.uniform(0, 1, 2) * shape
    if empty_slices and found and rng.random() < 0.5:
        front, behind = rng.integers(0, min(4, num_slices // 2 + 1), 2)
        picked = _roll_away(picked, [*range(front), *range(num_slices - behind, num_slices)], rng)
    centres = np.repeat(middle[None], num_slices, 0)
    return crop(picked, centres, tuple(int(1.25 * s) for s in size))


def _roll_away(example: Example, slices: list[int], rng: np.random.Generator) -> Example:
    """Moves some slices round by half a picture, so that what lay at the border is where the structure was."""
    values, labels = example.values.clone(), example.labels.clone()
    shift = [
        int(n // 2 * turn) for n, turn in zip(labels.shape[-2:], [(1, 0), (0, 1), (1, 1)][rng.integers(3)], strict=True)
    ]
    values[:, slices] = values[:, slices].roll(shift, (-2, -1))
    labels[slices] = labels[slices].roll(shift, (-2, -1))
    return Example(values, labels)


def transforms(size: tuple[int, int, int]):
    """MONAI's random transforms for dictionaries {"image": (C, S, h, w), "label": (1, S, h, w)}, cut to ``size``.

    Geometry stays in-plane: thick slices are never mixed. Orientation is free (quarter turns, mirrored rows, columns
    and slice order), for scanners store what they like and a data set may have lost its header.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai import transforms as mt
    keys = ("image", "label")
    # A quarter turn keeps the shape of a square only.
    quarter_turns = [mt.RandRotate90d(keys, prob=0.5, max_k=3, spatial_axes=(1, 2))] if size[1] == size[2] else []
    return mt.Compose(
        [
            mt.RandAffined(
                keys,
                prob=1.0,
                spatial_size=size,
                rotate_range=(0.5, 0, 0),
                scale_range=(0, 0.2, 0.2),
                shear_range=(0, 0, 0, 0, 0.1, 0.1),
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            *quarter_turns,
            mt.RandFlipd(keys, prob=0.5, spatial_axis=0),
            mt.RandFlipd(keys, prob=0.5, spatial_axis=1),
            *([] if quarter_turns else [mt.RandFlipd(keys, prob=0.5, spatial_axis=2)]),
            mt.RandGaussianSmoothd("image", prob=0.15, sigma_x=(0.01, 0.02), sigma_y=(0.3, 0.9), sigma_z=(0.3, 0.9)),
            mt.RandBiasFieldd("image", prob=0.3, degree=2, coeff_range=(0.0, 0.25)),
            mt.RandAdjustContrastd("image", prob=0.5, gamma=(0.6, 1.7)),
            mt.RandGaussianNoised("image", prob=0.3, std=0.05),
            mt.EnsureTyped(keys, track_meta=False),  # plain tensors: MONAI's own slow down every layer after them
        ]
    )


class Augmenter:
    """Draws training examples that depend on nothing but (seed, step): a resumed training sees the same ones."""

    def __init__(self, num_slices: int, size: tuple[int, int], seed: int, empty_slices: bool = True):
        self.num_slices, self.size, self.seed, self.empty_slices = num_slices, size, seed, empty_slices
        self.transforms = transforms((num_slices, *size))

    def __call__(self, cases: list[Example], step: int) -> Example:
        rng = np.random.default_rng((self.seed, step))
        drawn = draw_example(cases[rng.integers(len(cases))], self.num_slices, self.size, rng, self.empty_slices)
        self.transforms.set_random_state(int(rng.integers(2**31)))
        out = self.transforms({"image": drawn.values, "label": drawn.labels[None].float()})
        return Example(out["image"].float(), out["label"][0].round().long())
