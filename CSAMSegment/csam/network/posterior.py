"""Samples from the joint posterior of the slice gates.

The gates act on the skips and the bottleneck only; the encoder never sees them. So the encoder, the semantic and
positional gates and the gates' distributions are computed once, and a sample costs a part of the decoder
(``csam.network.decoding``). As InstanceNorm works slice by slice, the decoder can run on a few slices at a time: that
bounds the memory, and lets any subset of the slices be sampled alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .attention import CSAM, GateDistribution, apply_slice_gate
from .decoding import Gates, decoding
from .gate_sampling import sample_gates
from .parallel import Threads

CPU_ELEMENTS = 2**21
"""Elements of the widest feature map that a CPU decodes at a time: what its cache holds is handled fastest."""


def elements_at_once(device: torch.device | str) -> int:
    """How many elements of the widest feature map to handle at a time: bounds memory and the wait for a cancel.

    On CUDA as many as fit into the free memory, counted as 16 such maps of 4 bytes an element at a time.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 64
    return CPU_ELEMENTS if device.type == "cpu" else 4 * CPU_ELEMENTS


class GatePosterior:
    """The part of a forward pass that all samples share.

    network: a CSAMUNet or CSAMUNetPlusPlus. x: (S, C, H, W), in the number format that the feature maps are to have.
    threads: does the work of a network in evaluation mode, and may end it. elements: of the widest feature map, to be
    encoded at a time.
    distributions: one GateDistribution a level, None where the network has no slice attention.
    """

    def __init__(self, network, x: Tensor, threads: Threads | None = None, elements: int | None = None):
        network.check_input(x)
        self.network = network
        self.threads = threads or Threads()
        self._decoding = None if network.training else decoding(network, self.threads, x.dtype)
        self.distributions: list[GateDistribution | None]

        if network.training:
            self.features = network.encode(x)
            gated = [_content_and_distribution(*each) for each in zip(network.gates, self.features, strict=True)]
        else:
            self.features = self._decoding.encode(x, elements or elements_at_once(x.device))
            gated = [self._decoding.gate(*each) for each in zip(network.gates, self.features, strict=True)]
        self.content, self.distributions = map(list, zip(*gated, strict=True))

    @property
    def num_slices(self) -> int:
        return self.features[0].shape[0]

    def one_sample(self, generator: torch.Generator | None = None) -> list[Tensor | None]:
        """One sample of all gates together: the gates' logits (S,) of every level."""
        return [d and d.rsample(generator=generator) for d in self.distributions]

    def mean(self) -> list[Tensor | None]:
        """The gates' logits at their mean: what the network uses in evaluation."""
        return [d and d.mean for d in self.distributions]

    def logits(self, gates: list[Tensor | None], slices: slice = slice(None)) -> Tensor:
        """The network's output for these gates, for all slices or some: (slices, K, H, W). The plain way."""
        gated = [
            content[slices] if gate is None else apply_slice_gate(content[slices], gate[slices])
            for content, gate in zip(self.content, gates, strict=True)
        ]
        return self.network.decode([level[slices] for level in self.features], gated)

    def sample_gates(self, samples: int, generator: torch.Generator | None = None, rule: str = "independent") -> Gates:
        """The gates' logits (samples, S) of every level; for the rules see ``csam.network.gate_sampling.sample_gates``.

        Infinite where the network has no slice gate: always open.
        """
        always = torch.full((samples, self.num_slices), torch.inf, device=self.features[0].device)
        gates = sample_gates(self.distributions, samples, generator, rule)
        return [always if level is None else level for level in gates]

    def sampler(self, slices: slice = slice(None)) -> Callable[[Gates], Tensor]:
        """A function from gates (samples, S) a level to logits (samples, slices, K, H, W), for all slices or some.

        Equal to ``logits`` but for rounding, in a fraction of the time: what the samples share is computed here, once.
        Only for a network in evaluation mode, without gradients.
        """
        shared = self._decoding.shared([f[slices] for f in self.features], [c[slices] for c in self.content])
        return lambda gates: self._decoding.logits(shared, [g[:, slices] for g in gates])


def _content_and_distribution(gates: CSAM, features: Tensor) -> tuple[Tensor, GateDistribution | None]:
    content = gates.content_gates(features)
    return content, gates.slice_att.gate_distribution(content) if gates.slice else None


def sample_logits(
    network, x: Tensor, samples: int, generator: torch.Generator | None = None, rule: str = "independent"
) -> Iterator[Tensor]:
    """Yields ``samples`` logits of shape (S, K, H, W), one for each sample of the gates' joint posterior.

    x: (S, C, H, W). generator: seeds the samples; torch's own when None. rule: see ``gate_sampling.sample_gates``. A
    network in evaluation mode gives logits without gradients.
    """
    if network.training:
        posterior = GatePosterior(network, x)
        gates = posterior.sample_gates(samples, generator, rule)
        for sample in range(samples):
            yield posterior.logits([level[sample] for level in gates])
        return
    with torch.no_grad():
        posterior = GatePosterior(network, x)
        gates = posterior.sample_gates(samples, generator, rule)
        most = elements_at_once(x.device) // network.elements_per_slice(x)
        chunk = posterior.threads.share(len(x), most, x.device)
        pieces = [slice(first, first + chunk) for first in range(0, len(x), chunk)]
        samplers = posterior.threads.map(posterior.sampler, pieces, x.device)
    for sample in range(samples):
        with torch.no_grad():
            this = [level[[sample]] for level in gates]
            logits = torch.cat(
                posterior.threads.map(lambda sampler: sampler(this)[0], samplers, x.device)  # noqa: B023
            )
        yield logits
