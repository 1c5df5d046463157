"""Where in the gates' posterior to take samples: each for itself, in mirrored pairs, or at the points of a
quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .attention import GateDistribution

RULES = ("mean", "independent", "antithetic", "quadrature")


def sample_gates(
    distributions: Sequence[GateDistribution | None],
    samples: int,
    generator: torch.Generator | None = None,
    rule: str = "independent",
) -> list[Tensor | None]:
    """The gates' logits of every sample, (samples, S) a level; None where a level has no slice gate.

    mean: every sample at the mean.
    independent: at random, level after level of one sample after the other.
    antithetic: as many samples as independent, the second half the mirror images of the first, about the mean
      (Hammersley & Morton 1956). Every sample follows the same distribution; what is odd in the deviations
      cancels in a sample mean. A sample and the next are independent, unless there are only two.
    quadrature: points for the maps only. All slices move together, so nothing across slices may be read off them.
    """
    if rule not in RULES:
        raise InputError(f"The sampling rule is {rule!r}; choose one of {', '.join(RULES)}.")
    if rule == "mean":
        return [d and d.mean.expand(samples, -1) for d in distributions]
    if rule == "quadrature":
        return _quadrature(distributions, samples)
    fresh = samples if rule == "independent" else math.ceil(samples / 2)
    taken = [[d and d.rsample(generator=generator) for d in distributions] for _ in range(fresh)]
    gates = []
    for level, distribution in enumerate(distributions):
        if distribution is not None:
            first = torch.stack([sample[level] for sample in taken])
            first = torch.cat((first, 2 * distribution.mean - first[: samples - fresh]))
        gates.append(distribution and first)
    return gates


def _quadrature(distributions: Sequence[GateDistribution | None], points: int) -> list[Tensor | None]:
    """Equally weighted points with the mean and covariance of a voxel's gates: exact for polynomials of degree 2.

    Of one voxel's slice, the gates of the levels are independent normal variables; in units of their deviations the
    points are rows of the discrete Fourier basis (Stroud, "Numerical integration formulas of degree two", 1960). An
    even number of at least two a level leaves room for odd frequencies alone: then the points come in mirrored pairs,
    and degree 3 is exact (Stroud, "Remarks on the disposition of points in numerical integration formulas", 1957).
    """
    levels = len(distributions)
    if points <= levels:
        raise InputError(f"A quadrature over {levels} levels needs at least {levels + 1} samples; {points} were asked.")
    step = 2 if points >= 2 * levels and points % 2 == 0 else 1
    turns = torch.arange(points, dtype=torch.float64) * 2 * math.pi / points
    gates = []
    for level, distribution in enumerate(distributions):
        frequency = 1 + step * (level // 2)
        wave = torch.sin(frequency * turns) if level % 2 else torch.cos(frequency * turns)
        deviation = (wave * wave.square().mean().rsqrt()).to(torch.float32)
        if distribution is not None:
            deviation = distribution.mean + deviation[:, None].to(distribution.mean) * distribution.variance.sqrt()
        gates.append(distribution and deviation)
    return gates
