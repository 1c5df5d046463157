"""A network that has learned from this case: each drawn slice predicted from the others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .inputs import network_input, soft
from .interpolation import REACH
from .loss import fill_loss
from .predict import Scene, autocast

STEPS, MORE_STEPS = 30, 12
"""Of the first round, and of those that go on from its weights."""
RATE = 2e-3
TURN, ZOOM, MOVE = 0.25, 0.15, 0.08
"""Radians, share and share of the window's half by which a slice is turned, zoomed and moved."""
ASTRAY, GROWN = 0.7, 2.0
"""How far interpolation is made to go astray: as much of the above, and a standard deviation of pixels. A network that
cannot rely on it has to look at the image."""


@dataclass(frozen=True)
class Lesson:
    """Drawn slices as the network would see them if they were not drawn.

    x: (n, C, h, w), without what interpolation says. distance: (n, h, w), to the structure's own outline, pixels.
    """

    x: Tensor
    distance: Tensor


def lesson_of(scene: Scene, random: np.random.Generator) -> Lesson | None:
    """Every drawn slice from all others, and from some of them. None where a single one is drawn."""
    drawn = sorted(scene.shapes)
    parts = []
    for index in drawn:
        others = [n for n in drawn if n != index]
        choices = [others]
        if len(others) > 1:
            choices += [sorted(random.choice(others, random.integers(1, len(others)), replace=False)) for _ in "ab"]
        for chosen in choices:
            shapes = {n: scene.shapes[n] for n in chosen}
            if shapes and not all(shape.empty for shape in shapes.values()):
                x = network_input(scene.values, shapes, [index])[0][:, :-1]
                parts.append((x, torch.from_numpy(np.clip(scene.shapes[index].distance, -2 * REACH, 2 * REACH))[None]))
    return Lesson(*(torch.cat(part) for part in zip(*parts, strict=True))) if parts else None


def tuned(
    network: nn.Module, scene: Scene, seed: int, report: Callable[[float], None], kept: dict | None = None
) -> nn.Module:
    """A copy of the network, tuned. report: told the fraction done; it raises Cancelled to end.

    kept: holds the weights from one round to the next. A case of which one slice is drawn teaches nothing: the network
    as it is. Same seed, same result.
    """
    lesson = lesson_of(scene, np.random.default_rng(seed))
    if lesson is None:
        return network
    device = next(network.parameters()).device
    own = copy.deepcopy(network).train()
    for parameter in own.parameters():
        parameter.requires_grad_(True)
    steps = STEPS
    if kept and "weights" in kept:
        own.load_state_dict(kept["weights"])
        steps = MORE_STEPS
    optimizer = torch.optim.AdamW(own.parameters(), RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.2)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        report(step / steps)
        x, prior, truth = varied(lesson, own.num_slices, generator)
        with autocast(device):
            change = own(x.to(device))[:, 0].float().cpu()
        loss = fill_loss(change + prior, truth, torch.ones(len(x)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(own.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    own.eval()
    if kept is not None:
        kept["weights"] = {name: value.detach().to("cpu", copy=True) for name, value in own.state_dict().items()}
    return own


def varied(lesson: Lesson, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """``count`` slices of a lesson at random, turned, zoomed, moved, and of other contrast.

    What interpolation would say of them is their own outline, astray: that of the other drawn slices is farther off
    than it will be, and always to the same side at either end of the structure.
    """
    chosen = torch.randint(len(lesson.x), (count,), generator=generator)
    x, distance = lesson.x[chosen], lesson.distance[chosen, None]
    both = _placement(count, generator, 1.0)
    seen = _warp(torch.cat((x, distance), 1), both)
    guessed = _warp(distance, both @ _placement(count, generator, ASTRAY))[:, 0]
    guessed = guessed + GROWN * torch.randn(count, 1, 1, generator=generator)
    prior, log_odds = soft(guessed, 1 + torch.randint(3, (count, 1, 1), generator=generator))
    gamma = torch.exp(0.6 * (torch.rand(count, 1, 1, 1, generator=generator) - 0.5))
    pictures = seen[:, :3].clamp(0, 1) ** gamma
    noise = 0.03 * torch.randn(pictures.shape, generator=generator)
    x = torch.cat((pictures + noise, seen[:, 3:-1], prior[:, None]), 1)
    return x, log_odds, (seen[:, -1] > 0).float()


def _placement(count: int, generator: torch.Generator, share: float) -> Tensor:
    """Random rotations, zooms and moves as matrices (count, 3, 3)."""
    turn, zoom, down, right = (2 * torch.rand(4, count, generator=generator) - 1) * share
    scale, angle = torch.exp(ZOOM * zoom), TURN * turn
    matrix = torch.zeros(count, 3, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale * torch.cos(angle)
    matrix[:, 0, 1], matrix[:, 1, 0] = -scale * torch.sin(angle), scale * torch.sin(angle)
    matrix[:, 0, 2], matrix[:, 1, 2], matrix[:, 2, 2] = MOVE * right, MOVE * down, 1
    return matrix


def _warp(pictures: Tensor, placement: Tensor) -> Tensor:
    grid = F.affine_grid(placement[:, :2], list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
