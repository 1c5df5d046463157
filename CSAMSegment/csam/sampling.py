"""Runs a network over a whole stack, in slice windows and tiles, and blends what comes out.

Finished slices leave as soon as no later window touches them, so the memory is that of one window, whatever the
length of the stack, and does not grow with the number of samples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import DeviceError, is_out_of_memory
from .geometry import fields, pad_amounts, windows
from .posterior import GatePosterior, elements_at_once
from .precision import format_for
from .result import Options
from .team import Team
from .uncertainty import SampleReducer
from .views import View

ON_THE_CPU = "The GPU's memory did not suffice ({reason}): the run went on on the CPU, which is slower."


@dataclass(frozen=True)
class Slab:
    """Finished slices. first: index of the first. mean_probabilities: (n, K, h, w). expected_entropy: (n, h, w)."""

    first: int
    mean_probabilities: Tensor
    expected_entropy: Tensor


@dataclass
class Sampling:
    """How a stack is run, and what the samples added up to.

    samples: 0 for one pass with the gates at their mean. rule: where to take them, see ``csam.draws.draw_gates``.
    views: how the network sees the stack; the samples are taken from one after the other, and again from the first.
    areas: (samples, S, K) in pixels; complete once all slabs have been taken.
    tick: called often with the finished fraction. pause: called many times a second; what it raises ends the run.
    """

    network: torch.nn.Module
    field_of_view: tuple[int, int]
    device: str = "cpu"
    samples: int = Options.samples
    seed: int = 0
    rule: str = "antithetic"
    views: Sequence[View] = (View(),)
    tick: Callable[[float], None] = lambda fraction: None
    pause: Callable[[], None] = lambda: None
    areas: np.ndarray = field(default=None, init=False)
    warnings: list[str] = field(default_factory=list, init=False)
    _chunk_limit: int = field(default=2**31, init=False)

    @torch.inference_mode()
    def slabs(self, values: Tensor, only: range | None = None) -> Iterator[Slab]:
        """values: (C, S, h, w) → slabs in the order of the slices.

        only: a range of slices that is asked for, of all by default. They come out as they would among all, because
        slices are independent once the gates are drawn; the others cost no sample.
        """
        num_slices, (rows, columns) = self.network.num_slices, self.field_of_view
        count, *image = values.shape[1:]
        passes, classes = max(1, self.samples), self.network.architecture["num_classes"]
        only = range(count) if only is None else only
        before, behind = pad_amounts(count, num_slices)
        index = np.clip(np.arange(-before, count + behind), 0, count - 1)
        (top, bottom), (left, right) = pad_amounts(image[0], rows), pad_amounts(image[1], columns)
        padded = F.pad(values[:, index], (left, right, top, bottom))
        asked = slice(before + only.start, before + only.stop)  # in the padded stack
        starts, slice_weights = zip(
            *(
                (start, weights)
                for start, weights in zip(*windows(len(index), num_slices), strict=True)
                if start < asked.stop and asked.start < start + num_slices
            ),
            strict=True,
        )
        tiles = list(_tiles(padded.shape[-2:], self.field_of_view))
        self.areas = np.zeros((passes, len(index), classes))
        probabilities = torch.zeros(num_slices, classes, *padded.shape[-2:])
        entropies = torch.zeros(num_slices, *padded.shape[-2:])
        for number, start in enumerate(starts):
            # Padding takes part in the gates, but nobody asks what is in it.
            wanted = slice(max(asked.start - start, 0), min(asked.stop - start, num_slices))
            weight = torch.from_numpy(slice_weights[number])
            for tile, (row, column, tile_weight) in enumerate(tiles):
                inside = (..., slice(row, row + rows), slice(column, column + columns))
                # What lies in the padding must not count as area.
                counted = F.pad(torch.ones(image), (left, right, top, bottom))[inside] * tile_weight

                def tick(fraction: float, position: int = number * len(tiles) + tile) -> None:
                    self.tick((position + fraction) / (len(starts) * len(tiles)))

                x = padded[:, start : start + num_slices][inside].transpose(0, 1)
                reducer = self._piece(x, wanted, counted, tick)
                blend = weight[:, None, None] * tile_weight
                probabilities[inside] += blend[:, None] * reducer.mean_probabilities.cpu()
                entropies[inside] += blend * reducer.expected_entropy.cpu()
                here = slice(start, start + num_slices)
                self.areas[:, here] += slice_weights[number][:, None] * reducer.areas
            last = number + 1 == len(starts)
            done = num_slices if last else starts[number + 1] - start
            cut = (slice(top, top + image[0]), slice(left, left + image[1]))
            first, stop = max(start, asked.start), min(start + done, asked.stop)
            if first < stop:
                window = slice(first - start, stop - start)
                yield Slab(first - before, probabilities[(window, slice(None), *cut)], entropies[(window, *cut)])
            if not last:
                probabilities, entropies = (
                    torch.cat((buffer[done:], torch.zeros_like(buffer[:done]))) for buffer in (probabilities, entropies)
                )
        self.areas = self.areas[:, before : before + count]

    def _piece(self, x: Tensor, wanted: slice, weights: Tensor, tick: Callable[[float], None]) -> SampleReducer:
        """All samples of a window and tile, x (S, C, rows, columns): in smaller pieces, then on the CPU, if needed."""
        largest = elements_at_once(self.device) // self.network.elements_per_slice(x)
        # Several samples at a time keep a GPU busy; a CPU gains nothing by them.
        largest = max(1, min(largest, len(x) * (1 if self.device == "cpu" else max(1, self.samples))))
        while True:
            chunk = min(largest, self._chunk_limit)
            try:
                return self._sample(x.contiguous().to(self.device), wanted, weights.to(self.device), chunk, tick)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.device == "cpu":
                    raise DeviceError(
                        "This machine's memory does not suffice for this run. Close other programs, limit the run to a "
                        "region, or use a smaller model."
                    ) from error
                reason = str(error).split(".")[0]
            torch.cuda.empty_cache()  # here, where the error no longer holds on to the tensors
            if chunk > 1:
                self._chunk_limit = chunk // 2
                self._warn("The GPU's memory was short: the run went on in smaller pieces.")
            else:
                self._warn(ON_THE_CPU.format(reason=reason))
                self.device = "cpu"
                self.network = _copied_to_the_cpu(self.network)  # whoever lent it finds it where it was
                self._chunk_limit = largest

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _sample(
        self, x: Tensor, wanted: slice, weights: Tensor, chunk: int, tick: Callable[[float], None]
    ) -> SampleReducer:
        """chunk: how many slices are handled at a time, or, if those wanted are fewer, slices times samples."""
        passes, count = max(1, self.samples), wanted.stop - wanted.start
        finished, told = [], 0.0

        def watch() -> None:
            nonlocal told
            self.pause()
            fraction = sum(finished) / (passes * count)
            if fraction > told:
                tick(fraction)
                told = fraction

        team = Team(watch)
        shape = (len(x), self.network.architecture["num_classes"], *x.shape[-2:])
        reducer = SampleReducer(passes, shape, weights)
        # Every piece draws from the same seed, view after view: sample number i means the same deviation everywhere.
        generator = torch.Generator().manual_seed(self.seed)
        slices = team.share(count, chunk, x.device)
        pieces = [slice(at, min(at + slices, wanted.stop)) for at in range(wanted.start, wanted.stop, slices)]
        samples = max(1, chunk // slices) if chunk > count else 1
        together = samples * torch.get_num_threads()  # one piece alone is shared out by its samples

        def look(view: View, numbers: range) -> None:
            seen = view.apply(x).contiguous().to(format_for(self.network, self.device))
            posterior = GatePosterior(self.network, seen, team, chunk * self.network.elements_per_slice(x))
            gates = posterior.draws(len(numbers), generator, self.rule if self.samples else "mean")

            def work(some: slice) -> None:
                sampler = posterior.sampler(view.place(some, len(x)))

                def take(first: int) -> Tensor:
                    return sampler([level[first : first + samples] for level in gates])

                for begin in range(0, len(numbers), together):
                    firsts = range(begin, min(begin + together, len(numbers)), samples)
                    for number, logits in enumerate(torch.cat(team.map(take, firsts, x.device)), begin):
                        reducer.add(numbers[number], view.undo(logits), some)
                        finished.append(len(logits))

            team.map(work, pieces, x.device)

        for first, view in enumerate(self.views[:passes]):
            look(view, range(first, passes, len(self.views)))
        watch()
        return reducer


def _copied_to_the_cpu(network: torch.nn.Module) -> torch.nn.Module:
    """A copy that takes no memory where the network is."""
    here = {id(buffer): buffer.cpu() for buffer in network.buffers()}
    here |= {id(weight): torch.nn.Parameter(weight.detach().cpu(), False) for weight in network.parameters()}
    return copy.deepcopy(network, here)


def _tiles(image: tuple[int, int], field_of_view: tuple[int, int]) -> Iterator[tuple[int, int, Tensor]]:
    """Top, left and blending weights of every tile; the weights add up to 1 at every pixel."""
    (tops, row_weights), (lefts, column_weights) = (fields(n, f) for n, f in zip(image, field_of_view, strict=True))
    for top, by_row in zip(tops, row_weights, strict=True):
        for left, by_column in zip(lefts, column_weights, strict=True):
            yield top, left, torch.from_numpy(np.outer(by_row, by_column))


def mean_probabilities(network, values: Tensor, field_of_view: tuple[int, int], device: str = "cpu") -> Tensor:
    """Probabilities (S, K, h, w) of a stack (C, S, h, w) with the gates at their mean."""
    run = Sampling(network, field_of_view, device, samples=0)
    return torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
