"""Muon: hidden convolutions step by their orthogonalised momentum, everything else by AdamW.

Keller Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/, with the step length of Liu et al., 2025,
https://arxiv.org/abs/2502.16982, so that one learning rate serves both. ``torch.optim.Muon`` takes neither
convolutions nor full precision: it rounds to bfloat16, which processors without it compute many times more slowly.

Step: train.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Five rounds of s → as + bs³ + cs⁵ take every singular value from 0.003 to 1 near 1 (0.7 to 1.2)."""
ROUNDS = 5
LENGTH = 0.2
"""Root mean square of AdamW's steps, about, in units of the learning rate (Liu et al., section 2.2)."""


class Muon(torch.optim.AdamW):
    """AdamW; a parameter group with ``orthogonal`` set steps by Muon instead. The state is saved as any optimiser's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        taken = []
        for group in self.param_groups:
            if group.get("orthogonal"):
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._step_orthogonal(weight, group["lr"], group["weight_decay"])
                        taken.append((weight, weight.grad))
                        weight.grad = None  # AdamW passes over it
        value = super().step(closure)
        for weight, gradient in taken:
            weight.grad = gradient
        return value

    def _step_orthogonal(self, weight: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if "momentum" not in state:
            state["step"] = torch.zeros(())  # AdamW looks for it in every state that it loads
            state["momentum"] = torch.zeros_like(weight)
        state["step"] += 1
        momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        update = orthogonalised(weight.grad.lerp(momentum, MOMENTUM).flatten(1))  # Nesterov's
        weight.mul_(1 - rate * decay)
        weight.add_(update.view_as(weight), alpha=-rate * LENGTH * max(update.shape) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """U Vᵀ, about, of matrix = U S Vᵀ by Newton and Schulz's iteration.

    The same rounds on the Gram matrix alone are cheaper, but in float32 their rounding grows until two processes no
    longer train like one.
    """
    if len(matrix) > matrix.shape[1]:
        return orthogonalised(matrix.T).T
    a, b, c = QUINTIC
    matrix = matrix / (matrix.norm() + 1e-7)
    for _ in range(ROUNDS):
        gram = matrix @ matrix.T
        matrix = a * matrix + (b * gram + c * gram @ gram) @ matrix
    return matrix


def optimizer(network: nn.Module, width: int | None, learning_rate: float, weight_decay: float) -> Muon:
    """For a network whose hidden convolutions have ``width`` channels or more on either side.

    What has fewer, the first layer, the last and the gates, is left to AdamW; everything is where width is None.
    """
    parameters = list(network.parameters())
    hidden = {id(p) for p in parameters if width and p.ndim >= 4 and min(p.shape[:2]) >= width}
    groups = [
        {"params": [p for p in parameters if id(p) in hidden], "orthogonal": True},
        {"params": [p for p in parameters if id(p) not in hidden]},
    ]
    return Muon([g for g in groups if g["params"]], lr=learning_rate, weight_decay=weight_decay)
