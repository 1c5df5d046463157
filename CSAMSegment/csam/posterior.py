"""Samples from the joint posterior of the slice gates.

The gates act on the skips and the bottleneck only; the encoder never sees them. So the encoder, the semantic and
positional gates and the gates' distributions are computed once, and a sample costs one pass of the decoder. As
InstanceNorm works slice by slice, the decoder can run on a few slices at a time: that bounds the memory, and lets any
subset of the slices be sampled alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .attention import GateDistribution, apply_slice_gate


class GatePosterior:
    """The part of a forward pass that all samples share.

    network: a CSAMUNet or CSAMUNetPlusPlus. x: (S, C, H, W).
    distributions: one GateDistribution a level, None where the network has no slice attention.
    """

    def __init__(self, network, x: Tensor):
        network.check_input(x)
        self.network = network
        self.features = network.encode(x)
        self.content = [gate.content_gates(f) for gate, f in zip(network.gates, self.features, strict=True)]
        self.distributions: list[GateDistribution | None] = [
            gate.slice_att.gate_distribution(content) if gate.slice else None
            for gate, content in zip(network.gates, self.content, strict=True)
        ]

    @property
    def num_slices(self) -> int:
        return self.features[0].shape[0]

    def draw(self, generator: torch.Generator | None = None) -> list[Tensor | None]:
        """One joint draw: the gates' logits (S,) of every level."""
        return [d and d.rsample(generator=generator) for d in self.distributions]

    def mean(self) -> list[Tensor | None]:
        """The gates' logits at their mean: what the network uses in evaluation."""
        return [d and d.mean for d in self.distributions]

    def logits(self, gates: list[Tensor | None], slices: slice = slice(None)) -> Tensor:
        """The network's output for these gates, for all slices or some: (slices, K, H, W)."""
        gated = [
            content[slices] if gate is None else apply_slice_gate(content[slices], gate[slices])
            for content, gate in zip(self.content, gates, strict=True)
        ]
        return self.network.decode([level[slices] for level in self.features], gated)


def sample_logits(network, x: Tensor, samples: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Yields ``samples`` logits of shape (S, K, H, W), drawn from the gates' joint posterior.

    x: (S, C, H, W). generator: seeds the draws; torch's own when None. A network in evaluation mode gives logits
    without gradients.
    """
    gradients = torch.is_grad_enabled() and network.training
    with torch.set_grad_enabled(gradients):
        posterior = GatePosterior(network, x)
    for _ in range(samples):
        with torch.set_grad_enabled(gradients):
            logits = posterior.logits(posterior.draw(generator))
        yield logits
