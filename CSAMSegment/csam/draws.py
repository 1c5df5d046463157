"""Where in the gates' posterior to take samples: plain draws, draws in mirrored pairs, or points of a quadrature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .attention import GateDistribution
from .errors import InputError

RULES = ("mean", "independent", "antithetic", "quadrature")


def draw_gates(
    distributions: Sequence[GateDistribution | None],
    samples: int,
    generator: torch.Generator | None = None,
    rule: str = "independent",
) -> list[Tensor | None]:
    """The gates' logits of every sample, (samples, S) a level; None where a level has no slice gate.

    mean: every sample at the mean.
    independent: joint draws, level after level of one sample after the other.
    antithetic: as many joint draws as independent, the second half the mirror images of the first, about the mean
      (Hammersley & Morton 1956). Every sample is a draw from the same distribution; what is odd in the deviations
      cancels in a sample mean. A sample and the next are independent, unless there are only two.
    quadrature: points for the maps only. All slices move together, so nothing across slices may be read off them.
    """
    if rule not in RULES:
        raise InputError(f"The sampling rule is {rule!r}; choose one of {', '.join(RULES)}.")
    if rule == "mean":
        return [d and d.mean.expand(samples, -1) for d in distributions]
    if rule == "quadrature":
        return _quadrature(distributions, samples)
    drawn = samples if rule == "independent" else math.ceil(samples / 2)
    draws = [[d and d.rsample(generator=generator) for d in distributions] for _ in range(drawn)]
    gates = []
    for level, distribution in enumerate(distributions):
        if distribution is not None:
            first = torch.stack([draw[level] for draw in draws])
            first = torch.cat((first, 2 * distribution.mean - first[: samples - drawn]))
        gates.append(distribution and first)
    return gates


def _quadrature(distributions, samples):
    raise NotImplementedError
