"""What the network sees of a slice: the slice, the nearest drawn ones on either side, and what interpolation says.

Instance normalisation takes away whatever is the same all over a slice, such as the distance to the next drawn slice as
a number. So the distance is told by the softness of the interpolated border.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .interpolation import DrawnShapes, corrected, interpolate, neighbours

CHANNELS = 6
FIRM = 1.5
"""Pixels over which the interpolated border goes from no to yes beside a drawn slice; SOFTER more with every slice."""
SOFTER = 1.0
FARTHEST = 4
"""Slices from a drawn one, beyond which the border gets no softer."""
SUREST = 5.0
"""Log odds that interpolation gives at most."""


def network_input(
    values: torch.Tensor,
    shapes: Mapping[int, DrawnShapes],
    indices: Sequence[int],
    found: np.ndarray | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices as the network sees them, and the interpolation's log odds to which it adds.

    values: (S, h, w), 0 to 1. shapes: of the drawn slices, distances in pixels. indices: of the slices wanted. found:
    (S, h, w) signed distances of an earlier result, in pixels, that the drawn slices correct, or None. Returns
    (n, CHANNELS, h, w) and (n, h, w), float32.
    """
    drawn = sorted(shapes)
    channels, log_odds = [], []
    for index in indices:
        below, above = neighbours(index, drawn)
        below, above = (above if below is None else below), (below if above is None else above)
        apart = min(abs(index - below), abs(index - above))
        distance = interpolate(index, shapes, (1.0, 1.0)) if found is None else corrected(index, shapes, found)
        prior, certain = soft(torch.from_numpy(np.ascontiguousarray(distance, np.float32)), apart)
        outlines = [torch.from_numpy(np.tanh(shapes[n].distance / 4)) for n in (below, above)]
        channels.append(torch.stack([values[index], values[below], values[above], *outlines, prior]))
        log_odds.append(certain)
    return torch.stack(channels).float(), torch.stack(log_odds)


def soft(distance: torch.Tensor, apart: float | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolated distances, pixels, as a channel from -1 to 1, and as log odds. apart: slices to the next drawn."""
    ratio = distance / (FIRM + SOFTER * torch.as_tensor(apart).clamp(max=FARTHEST))
    return torch.tanh(ratio), SUREST * torch.tanh(ratio / SUREST)
