"""Random transforms of a training example, in-plane: MONAI's, and two that MONAI lacks.

All work on {"image": (C·S, h, w), "label": (S, h, w)}: the slices are channels, so that they move together under an
affine or elastic transform, and no transform can mix two of them.

Step: train.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from monai import transforms as mt
    from monai.data import set_track_meta

from ..image.stack import resize

KEYS = ("image", "label")
BOTH = ("bilinear", "nearest")


class SlicesOutOfLine(mt.RandomizableTransform):
    """Moves some slices, with their labels, by whole pixels: a breath held at another depth for each slice.

    prob: of an example. most: pixels. share: of the slices.
    """

    def __init__(self, prob: float, most: int, share: float = 0.3):
        super().__init__(prob)
        self.most, self.share = most, share

    def __call__(self, data: dict) -> dict:
        self.randomize(None)
        if not self._do_transform:
            return data
        slices = len(data["label"])
        moved = np.flatnonzero(self.R.random(slices) < self.share)
        shifts = self.R.randint(-self.most, self.most + 1, (slices, 2))
        out = {key: data[key].clone() for key in KEYS}
        for index in moved:
            for key in KEYS:
                out[key][index::slices] = _shift(out[key][index::slices], *map(int, shifts[index]))
        return out


def _shift(pictures: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """(n, h, w) moved by whole pixels; what comes in is 0."""
    return F.pad(pictures, (right, -right, down, -down))


class LowResolution(mt.RandomizableTransform):
    """Takes the picture to fewer pixels and back: a scan of coarser in-plane resolution. Labels stay as they are."""

    def __init__(self, prob: float, coarsest: float):
        super().__init__(prob)
        self.coarsest = coarsest

    def __call__(self, data: dict) -> dict:
        self.randomize(None)
        if not self._do_transform:
            return data
        factor, image = self.R.uniform(1, self.coarsest), data["image"]
        size = image.shape[-2:]
        return data | {"image": resize(resize(image, [max(2, round(n / factor)) for n in size]), size)}


def transforms(size: tuple[int, int], free_orientation: bool = True) -> mt.Compose:
    """The transforms in their order, cut to ``size`` (rows, columns).

    free_orientation: quarter turns, mirrored rows and columns too, for structures that no orientation tells apart:
    scanners store what they like and a data set may have lost its header.
    """
    set_track_meta(False)  # plain tensors: MONAI's own slow down every layer after them
    affine = {
        "rotate_range": 0.5 if free_orientation else 0.3,
        "scale_range": [(-0.2, 0.2)],  # MONAI takes it for the rows; columns too were worse
        "shear_range": (0.1, 0.1),
        "mode": BOTH,
        "padding_mode": "zeros",
        "spatial_size": size,
        "prob": 1.0,
    }
    apart = max(8, min(size) // 4)
    # A quarter turn keeps the shape of a square only.
    turns = [mt.RandRotate90d(KEYS, prob=0.5, max_k=3)] if size[0] == size[1] else []
    mirrors = [mt.RandFlipd(KEYS, prob=0.5, spatial_axis=axis) for axis in (0, 1)]
    return mt.Compose(
        [
            mt.OneOf(
                [
                    mt.RandAffined(KEYS, **affine),
                    mt.Rand2DElasticd(KEYS, spacing=(apart, apart), magnitude_range=(1, apart / 8), **affine),
                ],
                weights=(0.75, 0.25),
            ),
            *([*turns, *mirrors] if free_orientation else []),
            SlicesOutOfLine(prob=0.2, most=max(1, min(size) // 32)),
            LowResolution(prob=0.15, coarsest=2.0),
            mt.RandGaussianSmoothd("image", prob=0.15, sigma_x=(0.3, 0.9), sigma_y=(0.3, 0.9)),
            mt.RandBiasFieldd("image", prob=0.3, degree=2, coeff_range=(0.0, 0.25)),
            mt.RandAdjustContrastd("image", prob=0.5, gamma=(0.5, 2.2)),
            mt.RandGaussianNoised("image", prob=0.3, std=0.1),
        ]
    )
