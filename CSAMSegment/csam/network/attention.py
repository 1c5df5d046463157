"""The cross-slice attention module (CSAM) of Hung et al., WACV 2024, https://arxiv.org/abs/2311.04942.

One volume goes through at a time, its slices as the batch: every tensor has shape (S, C, H, W). Parameter names
equal those of the published code, so that its checkpoints load with ``strict=True``.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError

DIAGONAL_FLOOR = 1e-5
"""Added to the covariance's diagonal, as stochastic segmentation networks do: exp alone can reach zero."""
OPEN = 2.0
"""The logit of every gate before training: σ(2) = 0.88, the same for all, as an LSTM's forget gates begin open
(Jozefowicz et al., 2015, https://proceedings.mlr.press/v37/jozefowicz15.html)."""
SMALL_LOG_VARIANCE = -2.0
"""Of the slice gates' logits before training."""
LARGEST_LOG_VARIANCE = 20.0
"""A gate is fully open or shut long before; beyond 88 exp is infinite in float32 and its gradient not a number."""


@dataclass(frozen=True)
class GateDistribution:
    """The normal distribution N(mean, F Fᵀ + diag(diagonal)) of one level's slice-gate logits.

    Unlike ``torch.distributions.LowRankMultivariateNormal`` it factorises nothing, which sampling does not need and
    half precision and MPS may lack.

    mean: (S,). factor F: (S, rank). diagonal: (S,), variances.
    """

    mean: Tensor
    factor: Tensor
    diagonal: Tensor

    @property
    def covariance_matrix(self) -> Tensor:
        """(S, S)."""
        return self.factor @ self.factor.T + torch.diag(self.diagonal)

    @property
    def variance(self) -> Tensor:
        """(S,), the covariance's diagonal."""
        return self.factor.square().sum(1) + self.diagonal

    def rsample(self, sample_shape: tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Samples μ + F ε₁ + √d ε₂ of shape (*sample_shape, S); gradients reach mean, factor and diagonal.

        The noise is made where the generator lives (the CPU without one): a seed means the same on all devices.
        """
        device = generator.device if generator is not None else "cpu"
        shape = tuple(sample_shape)
        low_rank = torch.randn(*shape, self.factor.shape[1], generator=generator, device=device).to(self.factor)
        independent = torch.randn(*shape, self.mean.shape[0], generator=generator, device=device).to(self.mean)
        return self.mean + low_rank @ self.factor.T + self.diagonal.sqrt() * independent

    def sample(self, sample_shape: tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """As ``rsample``, without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)


def _begin(layer: nn.Linear | nn.Conv2d, value: float) -> None:
    """Lets a layer give one value whatever comes in: a gate has to learn what to shut.

    torch's usual weights open every gate by another, random amount, and the spread of the slice gates' logits is wide.
    """
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, value)


def wide(x: Tensor) -> torch.dtype:
    """The format in which a map is summed up and its gates are computed: float32, or float64 for maps in that."""
    return torch.promote_types(x.dtype, torch.float32)


class SemanticAttention(nn.Module):
    """x · σ(MLP(max over S,H,W) + MLP(mean over S,H,W)), one shared MLP C → C//16 → C (at least one hidden unit)."""

    def __init__(self, num_channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, num_channels // reduction)
        self.linear = nn.Sequential(nn.Linear(num_channels, hidden), nn.ReLU(), nn.Linear(hidden, num_channels))
        _begin(self.linear[-1], OPEN / 2)  # it is counted twice

    def gate(self, largest: Tensor, mean: Tensor) -> Tensor:
        """(C,) from the maximum and the mean of every channel, (C,) each."""
        return torch.sigmoid(self.linear(largest.to(mean.dtype)) + self.linear(mean)).to(largest.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.amax((0, 2, 3)), x.mean((0, 2, 3), dtype=wide(x)))[:, None, None]


class PositionalAttention(nn.Module):
    """x · σ(Conv7×7([max over S,C ; mean over S,C])), one H×W map shared by all slices."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3)
        _begin(self.conv, OPEN)

    def gate(self, largest: Tensor, mean: Tensor) -> Tensor:
        """(H, W) from the maximum and the mean at every pixel, (H, W) each."""
        pooled = torch.stack((largest.to(mean.dtype), mean))
        return torch.sigmoid(self.conv(pooled[None]))[0, 0].to(largest.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.amax((0, 1)), x.mean((0, 1), dtype=wide(x)))


class SliceAttention(nn.Module):
    """One gate a slice: x · σ(z).

    a = MLP(max over C,H,W) + MLP(mean over C,H,W), one shared MLP S → 4S → S. Without uncertainty z = a. With it
    z ~ N(W_μ t, F Fᵀ + diag(exp(W_d t))), t = ReLU(a), F = W_F t: in training a reparameterised sample, in evaluation
    the mean, so that a forward pass is deterministic.
    """

    def __init__(self, num_slices: int, uncertainty: bool = True, rank: int = 5):
        super().__init__()
        self.num_slices = num_slices
        self.uncertainty = uncertainty
        self.rank = rank
        self.linear = nn.Sequential(
            nn.Linear(num_slices, 4 * num_slices), nn.ReLU(), nn.Linear(4 * num_slices, num_slices)
        )
        if uncertainty:
            self.mean = nn.Linear(num_slices, num_slices)
            self.log_diag = nn.Linear(num_slices, num_slices)
            self.factor = nn.Linear(num_slices, num_slices * rank)
            _begin(self.mean, OPEN)
            _begin(self.log_diag, SMALL_LOG_VARIANCE)
            nn.init.zeros_(self.factor.weight)
        else:
            _begin(self.linear[-1], OPEN / 2)

    def gate_distribution(self, x: Tensor) -> GateDistribution:
        """The distribution of the gate's logits for x of shape (S, C, H, W), at least in float32.

        Without uncertainty it has no spread. Raises InputError when S is not the number of slices it was built for.
        """
        return self.distribution(x.amax((1, 2, 3)), x.mean((1, 2, 3), dtype=wide(x)))

    def distribution(self, largest: Tensor, mean: Tensor) -> GateDistribution:
        """As ``gate_distribution``, from the maximum and the mean of every slice, (S,) each."""
        if len(mean) != self.num_slices:
            raise InputError(
                f"The stack has {len(mean)} slices and the network was built for {self.num_slices}; "
                "pad the stack by repeating its edge slices, or run it in windows."
            )
        with _without_autocast(mean.device.type):
            gate = self.linear(largest.to(mean.dtype)) + self.linear(mean)
            if not self.uncertainty:
                return GateDistribution(gate, gate.new_zeros(gate.shape[0], 0), torch.zeros_like(gate))
            hidden = torch.relu(gate)
            return GateDistribution(
                mean=self.mean(hidden),
                factor=self.factor(hidden).view(-1, self.rank),
                diagonal=self.log_diag(hidden).clamp_max(LARGEST_LOG_VARIANCE).exp() + DIAGONAL_FLOOR,
            )

    def forward(self, x: Tensor) -> Tensor:
        distribution = self.gate_distribution(x)
        sampled = self.training and self.uncertainty
        return apply_slice_gate(x, distribution.rsample() if sampled else distribution.mean)


def _without_autocast(device_type: str):
    """float32 even under mixed precision; some devices of older torch versions (MPS in 2.4) know no autocast at all."""
    if torch.amp.autocast_mode.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def apply_slice_gate(x: Tensor, logits: Tensor) -> Tensor:
    """x · σ(logits), x of shape (S, C, H, W), one logit a slice (S,)."""
    return x * torch.sigmoid(logits).to(x.dtype)[:, None, None, None]


class CSAM(nn.Module):
    """Semantic, positional and slice attention, in this order; each can be switched off.

    >>> CSAM(num_slices=7, num_channels=32)(torch.rand(7, 32, 16, 16)).shape
    torch.Size([7, 32, 16, 16])
    """

    def __init__(
        self,
        num_slices: int,
        num_channels: int,
        semantic: bool = True,
        positional: bool = True,
        slice: bool = True,
        uncertainty: bool = True,
        rank: int = 5,
    ):
        super().__init__()
        if semantic:
            self.semantic_att = SemanticAttention(num_channels)
        if positional:
            self.positional_att = PositionalAttention()
        if slice:
            self.slice_att = SliceAttention(num_slices, uncertainty, rank)
        self.semantic, self.positional, self.slice = semantic, positional, slice

    def content_gates(self, x: Tensor) -> Tensor:
        """The semantic and positional gates alone: the part that no sample of the slice gate changes."""
        if self.semantic:
            x = self.semantic_att(x)
        if self.positional:
            x = self.positional_att(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = self.content_gates(x)
        return self.slice_att(x) if self.slice else x
