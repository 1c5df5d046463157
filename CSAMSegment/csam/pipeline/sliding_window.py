"""Runs a network over a whole stack, in slice windows and tiles, and blends what comes out.

Finished slices leave as soon as no later window touches them, so the memory is that of one window, whatever the
length of the stack, and does not grow with the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CSAMError, DeviceError, in_short, is_out_of_memory, smaller_pieces_may_help
from ..image.geometry import pad_amounts, slice_windows
from ..network.devices import check_answers
from ..network.orientations import StackOrientation
from ..network.parallel import Threads
from ..network.posterior import GatePosterior, elements_at_once
from ..result import Options
from ..uncertainty.measures import FirstPass, SampleReducer
from . import tiles
from .cpu_fallback import TOO_LARGE, copied_to_the_cpu, on_the_cpu


@dataclass(frozen=True)
class Slab:
    """Finished slices. first: index of the first. mean_probabilities: (n, K, h, w). expected_entropy: (n, h, w)."""

    first: int
    mean_probabilities: Tensor
    expected_entropy: Tensor


@dataclass
class Sampling:
    """How a stack is run, and what the samples added up to.

    samples: 0 for one pass with the gates at their mean. rule: where to take them, see ``gate_sampling.sample_gates``.
    orientations: how the network sees the stack; the samples are taken over one after the other, and again from the
    first.
    focused: a first pass over everything, with the gates at their mean, and samples only where that found something:
    there each close pass sees the stack in one orientation, so that orientations cost nothing.
    areas: (samples, S, K) in pixels; complete once all slabs have been taken.
    number_format: says in which one the maps are computed, such as ``csam.network.number_format.format_for``.
    tick: called often with the finished fraction. pause: called many times a second; what it raises ends the run.
    """

    network: torch.nn.Module
    field_of_view: tuple[int, int]
    device: str = "cpu"
    samples: int = Options.samples
    seed: int = 0
    rule: str = "antithetic"
    orientations: Sequence[StackOrientation] = (StackOrientation(),)
    focused: bool = False
    number_format: Callable[[torch.nn.Module, str], torch.dtype] = lambda network, device: torch.float32
    tick: Callable[[float], None] = lambda fraction: None
    pause: Callable[[], None] = lambda: None
    areas: np.ndarray = field(default=None, init=False)
    warnings: list[str] = field(default_factory=list, init=False)
    _chunk_limit: int = field(default=2**31, init=False)

    @torch.inference_mode()
    def slabs(
        self, values: Tensor, only: range | None = None, box: tuple[slice, slice] | None = None
    ) -> Iterator[Slab]:
        """values: (C, S, h, w) → slabs in the order of the slices.

        box: rows and columns that are asked for, of all by default. The network sees what surrounds them; what lies
        further off is background in the slabs.

        only: a range of slices that is asked for, of all by default. They come out as they would among all, because
        slices are independent once the gates are sampled; the others cost no sample.
        """
        num_slices = self.network.num_slices
        count, *whole = values.shape[1:]
        passes, classes = max(1, self.samples), self.network.architecture["num_classes"]
        only = range(count) if only is None else only
        area = tuple(slice(0, n) for n in whole)
        if box is not None:
            area = tuple(
                tiles.surroundings(part.start, part.stop, field, n)
                for part, field, n in zip(box, self.field_of_view, whole, strict=True)
            )
        image = tuple(part.stop - part.start for part in area)
        before, behind = pad_amounts(count, num_slices)
        index = np.clip(np.arange(-before, count + behind), 0, count - 1)
        multiple = 2 ** (self.network.architecture["num_levels"] - 1)
        field = tiles.fitted(image, self.field_of_view, multiple)
        paddings = [pad_amounts(n, f) for n, f in zip(image, field, strict=True)]
        # As little as can be, and of the image's own border: zeros are an edge that no scan has (bench/padding.py).
        padded = F.pad(values[(slice(None), index, *area)], (*paddings[1], *paddings[0]), mode="replicate")
        inside = tuple(slice(pad[0], pad[0] + n) for pad, n in zip(paddings, image, strict=True))
        counted = torch.zeros(padded.shape[-2:])  # neither what lies in the padding nor around the box counts as area
        shifts = (pad[0] - part.start for pad, part in zip(paddings, area, strict=True))
        counted[tuple(slice(b.start + n, b.stop + n) for b, n in zip(box or area, shifts, strict=True))] = 1
        asked = slice(before + only.start, before + only.stop)  # in the padded stack
        runs = []
        for start, slice_weights in zip(*slice_windows(len(index), num_slices), strict=True):
            # Padding takes part in the gates, but nobody asks what is in it.
            counts = np.flatnonzero(slice_weights)
            known = slice(max(before - start, counts[0]), min(before + count - start, counts[-1] + 1))
            wanted = slice(max(asked.start - start, known.start), min(asked.stop - start, known.stop))
            if wanted.start < wanted.stop:
                runs.append((start, slice_weights, known, wanted))
        self.areas = np.zeros((passes, len(index), classes))
        probabilities = torch.zeros(num_slices, classes, *padded.shape[-2:])
        entropies = torch.zeros(num_slices, *padded.shape[-2:])
        for number, (start, slice_weights, known, wanted) in enumerate(runs):
            weight = torch.from_numpy(slice_weights)[:, None, None]
            here = slice(start, start + num_slices)
            x = padded[:, here].transpose(0, 1)

            def tick(fraction: float, position: int = number) -> None:
                self.tick((position + fraction) / len(runs))

            for tile, numbers, reducer in self._passes(x, known, wanted, field, inside, counted, tick):
                blend = weight * torch.from_numpy(tile.weights) * (len(numbers) / passes)
                probabilities[tile.place] += blend[:, None] * reducer.mean_probabilities.cpu()
                entropies[tile.place] += blend * reducer.expected_entropy.cpu()
                self.areas[numbers, here] += slice_weights[:, None] * reducer.areas
            last = number + 1 == len(runs)
            done = num_slices if last else runs[number + 1][0] - start
            first, stop = max(start, asked.start), min(start + done, asked.stop)
            if first < stop:
                window = slice(first - start, stop - start)
                cut = (probabilities[(window, slice(None), *inside)], entropies[(window, *inside)])
                yield Slab(first - before, *(cut if box is None else _within(*cut, whole, area)))
            if not last:
                probabilities, entropies = (
                    torch.cat((buffer[done:], torch.zeros_like(buffer[:done]))) for buffer in (probabilities, entropies)
                )
        self.areas = self.areas[:, before : before + count]

    def _passes(
        self,
        x: Tensor,
        known: slice,
        wanted: slice,
        field: tiles.Size,
        inside: tuple[slice, slice],
        counted: Tensor,
        tick: Callable[[float], None],
    ) -> Iterator[tuple[tiles.Tile, range, SampleReducer | FirstPass]]:
        """The tiles of a window of slices, x (S, C, rows, columns), the numbers of the samples that each is for, and
        what these add up to.

        known: slices that the window is there for, all of which say where to sample; wanted: those to be sampled.
        inside: where the image lies. counted: (rows, columns), how much a pixel counts as area.
        """
        size = tuple(x.shape[-2:])
        every, spent, samples = tiles.everywhere(size, field), 0.0, max(1, self.samples)
        parts = [(range(samples), every, None)]
        if self.focused and len(every) > 1:
            passes = tiles.first_pass(size, field)
            spent = 0.5
            first = torch.zeros(len(x), self.network.architecture["num_classes"], *size)
            entropies = torch.zeros(len(x), *size)
            for number, tile in enumerate(passes):

                def told(fraction: float, number: int = number) -> None:
                    tick(spent * (number + fraction) / len(passes))

                weights = torch.from_numpy(tile.weights)
                reducer = self._piece(x[tile.place], known, weights, told, None)
                first[tile.place] += weights * reducer.mean_probabilities.cpu()
                entropies[tile.place] += weights * reducer.expected_entropy.cpu()
            found = np.zeros(size, bool)
            found[inside] = first[(known, slice(1, None), *inside)].sum(1).amax(0) > tiles.FOUND
            parts = tiles.close_passes(found, field, inside, samples)
            for numbers, _close, weights in parts:
                area = counted * torch.from_numpy(weights)
                whole = tiles.Tile(slice(0, size[0]), slice(0, size[1]), weights)
                yield whole, numbers, FirstPass.of(first, entropies, area, len(numbers))
        count, done = sum(len(close) for _numbers, close, _weights in parts), 0
        for numbers, close, _weights in parts:
            for tile in close:

                def told(fraction: float, done: int = done) -> None:
                    tick(spent + (1 - spent) * (done + fraction) / count)

                area = counted[tile.place] * torch.from_numpy(tile.weights)
                yield tile, numbers, self._piece(x[tile.place], wanted, area, told, numbers if self.samples else None)
                done += 1
        if not count:
            tick(1.0)

    def _piece(
        self, x: Tensor, wanted: slice, weights: Tensor, tick: Callable[[float], None], numbers: range | None
    ) -> SampleReducer:
        """Samples of a window and tile, x (S, C, rows, columns), by their numbers; None: one with gates at their mean.

        Whatever a GPU fails at is done on the CPU; where its memory may be short, smaller pieces are tried before.
        Raises DeviceLost where it answers no more: then not even the weights can be had from it.
        """
        while True:
            chunk = self._chunk_limit
            try:
                largest = elements_at_once(self.device) // self.network.elements_per_slice(x)
                # Several samples at a time keep a GPU busy; a CPU gains nothing by them.
                largest = max(1, min(largest, len(x) * (1 if self.device == "cpu" or not numbers else len(numbers))))
                chunk = min(largest, self._chunk_limit)
                return self._sample(
                    x.contiguous().to(self.device), wanted, weights.to(self.device), chunk, tick, numbers
                )
            except CSAMError:
                raise
            except (MemoryError, RuntimeError) as error:
                if self.device == "cpu":
                    if not is_out_of_memory(error):
                        raise
                    raise DeviceError(TOO_LARGE) from error
                smaller, said, reason = smaller_pieces_may_help(error), on_the_cpu(error), in_short(error)
            check_answers(self.device, reason)  # here, where the error no longer holds on to the tensors
            if smaller and 1 < chunk < 2**31:
                self._chunk_limit = chunk // 2
                self._warn("The GPU had too little memory free, so the run went on in smaller pieces.")
            else:
                self._warn(said)
                self.network = copied_to_the_cpu(self.network)  # whoever lent it finds it where it was
                self.device, self._chunk_limit = "cpu", 2**31

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _sample(
        self,
        x: Tensor,
        wanted: slice,
        weights: Tensor,
        chunk: int,
        tick: Callable[[float], None],
        numbers: range | None,
    ) -> SampleReducer:
        """chunk: how many slices are handled at a time, or, if those wanted are fewer, slices times samples."""
        rule, passes = ("mean", range(1)) if numbers is None else (self.rule, range(self.samples))
        numbers, count = passes if numbers is None else numbers, wanted.stop - wanted.start
        finished, told = [], 0.0

        def watch() -> None:
            nonlocal told
            self.pause()
            fraction = sum(finished) / (len(numbers) * count)
            if fraction > told:
                tick(fraction)
                told = fraction

        threads = Threads(watch)
        shape = (len(x), self.network.architecture["num_classes"], *x.shape[-2:])
        reducer = SampleReducer(len(numbers), shape, weights)
        slices = threads.share(count, chunk, x.device)
        pieces = [slice(at, min(at + slices, wanted.stop)) for at in range(wanted.start, wanted.stop, slices)]
        at_once = max(1, chunk // slices) if chunk > count else 1
        together = at_once * torch.get_num_threads()  # one piece alone is shared out by its samples

        def run_orientation(orientation: StackOrientation, those: range) -> None:
            # The same seed in every piece: sample number i means the same deviation everywhere.
            generator = torch.Generator().manual_seed(self.seed + those.start)
            seen = orientation.apply(x).contiguous().to(self.number_format(self.network, self.device))
            posterior = GatePosterior(self.network, seen, threads, chunk * self.network.elements_per_slice(x))
            gates = posterior.sample_gates(len(those), generator, rule)

            def work(some: slice) -> None:
                sampler = posterior.sampler(orientation.place(some, len(x)))

                def take(first: int) -> Tensor:
                    return sampler([level[first : first + at_once] for level in gates])

                for begin in range(0, len(those), together):
                    firsts = range(begin, min(begin + together, len(those)), at_once)
                    for at, logits in enumerate(torch.cat(threads.map(take, firsts, x.device)), begin):
                        reducer.add(numbers.index(those[at]), orientation.undo(logits), some)
                        finished.append(len(logits))

            threads.map(work, pieces, x.device)

        if self.focused:
            run_orientation(self.orientations[numbers.start % len(self.orientations)], numbers)
        else:
            for first, orientation in enumerate(self.orientations[: len(passes)]):
                run_orientation(orientation, passes[first :: len(self.orientations)])
        watch()
        return reducer


def _within(probabilities: Tensor, entropies: Tensor, whole: Sequence[int], area: tuple) -> tuple[Tensor, Tensor]:
    """What is known of an area, in slices of the whole size that are background elsewhere."""
    mean = torch.zeros(*probabilities.shape[:2], *whole)
    mean[:, 0] = 1
    mean[(..., *area)] = probabilities
    expected = torch.zeros(len(entropies), *whole)
    expected[(..., *area)] = entropies
    return mean, expected


def mean_probabilities(network, values: Tensor, field_of_view: tuple[int, int], device: str = "cpu") -> Tensor:
    """Probabilities (S, K, h, w) of a stack (C, S, h, w) with the gates at their mean."""
    run = Sampling(network, field_of_view, device, samples=0)
    return torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
