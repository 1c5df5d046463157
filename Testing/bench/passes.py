"""Single passes of a network over a scan, kept on disk: what every way of telling uncertainty is made of.

A pass is one orientation of the stack (csam.network.orientations) under one setting of the gates: at their mean, or a
sample. Test-time augmentation averages orientations, CSAM's gates average samples, an ensemble averages models; so each
pass is computed once and the ways are compared on the same ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from csam.image.geometry import fields, pad_amounts, windows
from csam.network.orientations import ORIENTATIONS, StackOrientation
from csam.network.posterior import GatePosterior

MIRRORED = tuple(
    StackOrientation(orientation.quarter_turns, orientation.mirrored, not orientation.reversed)
    for orientation in ORIENTATIONS
)
"""The eight symmetries of a stack beside csam.network.orientations.ORIENTATIONS: those that turn left into right."""


def name(orientation: StackOrientation) -> str:
    return f"turn{orientation.quarter_turns}" + "-mirrored" * orientation.mirrored + "-reversed" * orientation.reversed


def key(orientation: StackOrientation, sample: int | None) -> str:
    """The name of a pass. sample: number of the gates' sample, None for the gates at their mean."""
    return f"{name(orientation)}/{'mean' if sample is None else sample}"


@torch.inference_mode()
def run(
    network,
    values: Tensor,
    field_of_view: tuple[int, int],
    orientation: StackOrientation,
    samples: Sequence[int | None],
) -> Iterator[tuple[int | None, Tensor]]:
    """Probabilities (S, K, h, w) of a stack (C, S, h, w) under each sample, in windows and tiles as in a real run."""
    seen = orientation.apply(values.transpose(0, 1)).transpose(0, 1)
    field_of_view = field_of_view[::-1] if orientation.quarter_turns % 2 else field_of_view
    count, *image = seen.shape[1:]
    before, behind = pad_amounts(count, network.num_slices)
    index = np.clip(np.arange(-before, count + behind), 0, count - 1)
    (top, bottom), (left, right) = (pad_amounts(n, f) for n, f in zip(image, field_of_view, strict=True))
    padded = F.pad(seen[:, index], (left, right, top, bottom))
    classes = network.architecture["num_classes"]
    sums = torch.zeros(len(samples), len(index), classes, *padded.shape[-2:])
    in_plane = (fields(n, size) for n, size in zip(sums.shape[3:], field_of_view, strict=True))
    pieces = [windows(len(index), network.num_slices), *in_plane]
    for places in product(*(zip(*piece, strict=True) for piece in pieces)):
        (s, r, c), weights = zip(*places, strict=True)
        here = (
            slice(s, s + network.num_slices),
            slice(None),
            slice(r, r + field_of_view[0]),
            slice(c, c + field_of_view[1]),
        )
        x = padded.transpose(0, 1)[here].contiguous()
        blend = torch.from_numpy(np.einsum("s,r,c->src", *weights))[:, None]
        posterior = GatePosterior(network, x)
        sampler = posterior.sampler()
        for number, sample in enumerate(samples):
            # As in csam.pipeline.sliding_window, sample number i is the same deviation in every window and tile.
            how = (None, "mean") if sample is None else (torch.Generator().manual_seed(sample), "independent")
            (logits,) = sampler(posterior.sample_gates(1, *how))
            sums[(number, *here)] += blend * logits.softmax(1)
    inside = (
        slice(None),
        slice(before, before + count),
        slice(None),
        slice(top, top + image[0]),
        slice(left, left + image[1]),
    )
    for sample, probabilities in zip(samples, sums[inside], strict=True):
        yield sample, orientation.undo(probabilities)


class Passes:
    """The passes of one scan by one model in a file; what is missing is computed and added."""

    def __init__(self, path: Path):
        self.path = path
        self.values: dict[str, np.ndarray] = dict(np.load(path)) if path.exists() else {}

    def complete(
        self, network, values: Tensor, field_of_view: tuple[int, int], wanted: dict[StackOrientation, Sequence]
    ) -> None:
        """wanted: the samples of each orientation. Every pass is kept as its foreground classes, (K - 1, S, h, w)
        float16."""
        missing = {
            orientation: [d for d in samples if key(orientation, d) not in self.values]
            for orientation, samples in wanted.items()
        }
        for orientation, samples in missing.items():
            if not samples:
                continue
            started = time.perf_counter()
            for sample, probabilities in run(network, values, field_of_view, orientation, samples):
                self.values[key(orientation, sample)] = probabilities[:, 1:].transpose(0, 1).numpy().astype(np.float16)
            self.values[f"seconds/{name(orientation)}/{len(samples)}"] = np.float64(time.perf_counter() - started)
        if any(missing.values()):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self.path.with_suffix(".tmp.npz")
            np.savez(temporary, **self.values)
            os.replace(temporary, self.path)

    def stacked(self, passes_wanted: Sequence[tuple[StackOrientation, int | None]]) -> np.ndarray:
        """(passes, K, S, h, w) float32, background first."""
        foreground = np.stack([self.values[key(orientation, sample)] for orientation, sample in passes_wanted]).astype(
            np.float32
        )
        return np.concatenate([1 - foreground.sum(1, keepdims=True), foreground], 1)


def relative_costs(network, field_of_view: tuple[int, int], repeats: int = 5) -> Callable[[Sequence], float]:
    """How long a method's passes take, in single passes of the whole network.

    A orientation costs what its samples share, a sample the rest of the decoder; medians of interleaved runs: the
    machine may be shared.
    """
    x = torch.rand(network.num_slices, network.architecture["input_channels"], *field_of_view)
    once, every = [], []
    with torch.inference_mode():
        for _ in range(repeats + 1):  # the first warms up
            started = time.perf_counter()
            posterior = GatePosterior(network, x)
            sampler, gates = posterior.sampler(), posterior.sample_gates(1)
            between = time.perf_counter()
            sampler(gates)
            once.append(between - started)
            every.append(time.perf_counter() - between)
    orientation, sample = np.median(once[1:]), np.median(every[1:])

    def cost(method: Sequence[tuple[StackOrientation, int | None]]) -> float:
        orientations = len({orientation for orientation, _ in method})
        return float((orientations * orientation + len(method) * sample) / (orientation + sample))

    return cost
