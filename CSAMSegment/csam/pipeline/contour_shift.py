"""Contours that lie elsewhere: a hospital may draw its contours further in or out than those a model has learned.

The shift is a distance in millimetres for each structure, outwards positive, measured by ``csam calibrate --contours``.
Each point takes its probabilities from the point that lies so far inwards, so that labels, error probability and
volumes all follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..image.distance import signed_distance

NEAREST = 0.5
"""Millimetres; a contour that is nearer counts no more."""


def shifted(
    probabilities: Tensor, shift: Mapping[int, float], held: Mapping[int, tuple[int, ...]], spacing: Sequence[float]
) -> Tensor:
    """Probabilities of a slice, (K, H, W), with the contours moved.

    shift: by label value, mm. held: as ``csam.model.within`` gives it. spacing: of rows and columns, mm. Between two
    contours that move differently, the nearer one counts more.
    """
    labels = probabilities.argmax(0).numpy()
    total, weights = np.zeros((2, *labels.shape)), np.full(labels.shape, 1e-9)
    for value, distance in shift.items():
        mask = np.isin(labels, held[value])
        if distance and mask.any() and not mask.all():
            inwards = signed_distance(mask, spacing)
            weight = 1 / (np.abs(inwards) + NEAREST)
            total += weight * distance * np.stack(np.gradient(inwards, *spacing))
            weights += weight
        elif mask.any():  # one that stays holds its neighbours
            weights += 1 / (np.abs(signed_distance(mask, spacing)) + NEAREST)
    rows, columns = (move / weights / step for move, step in zip(total, spacing, strict=True))
    if not (rows.any() or columns.any()):
        return probabilities
    height, width = labels.shape
    y, x = np.mgrid[:height, :width]
    grid = np.stack([2 * (x + columns) / max(width - 1, 1) - 1, 2 * (y + rows) / max(height - 1, 1) - 1], -1)
    grid = torch.from_numpy(grid).to(probabilities.dtype)
    return F.grid_sample(probabilities[None], grid[None], "bilinear", "border", align_corners=True)[0]
