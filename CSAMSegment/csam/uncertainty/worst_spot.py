"""Where to look first in a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

SPOT_MM = 10.0
"""Width of the neighbourhood whose mean error probability finds a slice's worst point."""


def worst_spot(error: np.ndarray, spacing: Sequence[float]) -> tuple[int, int]:
    """Row and column with the highest mean error probability around. error: (H, W). spacing: rows, columns, mm."""
    rows, columns = (max(1, 2 * int(SPOT_MM / 2 / s) + 1) for s in spacing)
    spots = torch.from_numpy(error)[None]  # one axis after the other: the same mean in far fewer steps
    spots = F.avg_pool2d(spots, (rows, 1), 1, (rows // 2, 0))
    spots = F.avg_pool2d(spots, (1, columns), 1, (0, columns // 2))
    row, column = np.unravel_index(int(spots.argmax()), error.shape)
    return int(row), int(column)
