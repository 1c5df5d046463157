"""The network over the slices of one structure: log odds for each slice wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..image.geometry import pad_amounts, slice_windows
from ..network.number_format import bfloat16_in_hardware
from .inputs import network_input
from .interpolation import DrawnShapes


@dataclass(frozen=True)
class Scene:
    """What is known of one structure, in the network's pixels.

    values: (S, h, w), 0 to 1. shapes: of the drawn slices. found: (S, h, w) signed distances of an earlier result, or
    None.
    """

    values: Tensor
    shapes: Mapping[int, DrawnShapes]
    found: np.ndarray | None = None


def predict(
    network: nn.Module | None, scene: Scene, indices: Sequence[int], pause: Callable[[], None] = lambda: None
) -> Tensor:
    """Log odds (n, h, w) of the slices ``indices``: what interpolation says, and what the network adds to it.

    Without a network by interpolation alone. pause: called often; it raises Cancelled to end.
    """
    if network is None:
        return network_input(scene.values, scene.shapes, indices, scene.found)[1]
    device = next(network.parameters()).device
    low, high = min(indices), max(indices) + 1
    x, prior = network_input(scene.values, scene.shapes, range(low, high), scene.found)
    change = torch.zeros_like(prior)
    with torch.inference_mode():
        for places, weights in windows(high - low, network.num_slices):
            pause()
            with autocast(device):
                out = network(x[places].to(device))[:, 0].float().cpu()
            change.index_add_(0, torch.tensor(places), out * weights[:, None, None])
    return (prior + change)[[index - low for index in indices]]


def windows(count: int, num_slices: int) -> list[tuple[list[int], Tensor]]:
    """Windows of the network's slices that cover ``count``: their slices, and the weight of each; a short stack repeats
    its edge slices, which then share their weight."""
    if count >= num_slices:
        starts, weights = slice_windows(count, num_slices)
        return [
            (list(range(start, start + num_slices)), torch.from_numpy(weight))
            for start, weight in zip(starts, weights, strict=True)
        ]
    front = pad_amounts(count, num_slices)[0]
    places = np.clip(np.arange(num_slices) - front, 0, count - 1)
    times = np.bincount(places, minlength=count)
    return [(places.tolist(), torch.from_numpy((1 / times[places]).astype(np.float32)))]


def autocast(device: torch.device):
    """bfloat16 where the hardware multiplies it."""
    kind = device.type if device.type in ("cuda", "cpu") else "cpu"
    return torch.autocast(kind, torch.bfloat16, enabled=bfloat16_in_hardware(str(device)))
