"""Training examples from whole scans: a choice of slices, a field of view, and random transforms.

Everything that concerns the third dimension happens here, where the neighbours of a slice are known: which slices, in
which order, how thick. After that a slice is on its own.

Slices may come without the structure: a data set that keeps only slices that show it would otherwise teach the
network to find it in every slice. So some end slices are replaced by what lies beside the structure.

Labels may be UNKNOWN. Such voxels move like all others, and what comes in beside the picture is black and background,
known as that. Slices and places are chosen so that a step sees something that is known.

Step: train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from ..image.geometry import pad_amounts
from ..image.stack import resize, resize_labels
from ..image.unknown import UNKNOWN
from .plan import Plan
from .transforms import transforms

DROPPED = 0.15
"""Share of the examples with slices left out: a gap in the stack, or a scan with fewer slices."""
THICKER = 0.15
"""Share of the examples whose slices are thicker than scanned."""
ZOOMED = 0.5
"""Share of the examples that come smaller or larger."""
MARGIN = 1.25
"""What is taken is so much wider than what the transforms cut out of it."""


@dataclass(frozen=True)
class Example:
    """values: (C, S, h, w) float32, 0 to 1. labels: (S, h, w) integer, UNKNOWN where nobody has labelled.

    Both at the model's spacing. unlabelled: structures that nobody has labelled at all; background may be any of them.
    """

    values: torch.Tensor
    labels: torch.Tensor
    unlabelled: tuple[int, ...] = ()


def crop(example: Example, centre: Sequence[float], size: tuple[int, int]) -> Example:
    """A window of ``size`` around a centre (row, column); what lies outside the picture is black background."""
    (height, width), (rows, columns) = example.labels.shape[-2:], size
    top, left = (
        int(np.clip(round(float(middle)) - extent // 2, 1 - extent, whole - 1))
        for middle, extent, whole in zip(centre, size, (height, width), strict=True)
    )
    grow = (-left, left + columns - width, -top, top + rows - height)  # below 0: cut
    return replace(example, values=F.pad(example.values, grow), labels=F.pad(example.labels, grow))


def enlarge(example: Example, size: tuple[int, int]) -> Example:
    """The whole example in ``size`` pixels (rows, columns): larger or smaller, picture and labels alike."""
    if example.labels.shape[-2:] == size:
        return example
    values = resize(example.values.flatten(0, 1), size).unflatten(0, example.values.shape[:2])
    return replace(example, values=values, labels=resize_labels(example.labels.numpy(), size))


def choose_slices(
    count: int,
    num_slices: int,
    rng: np.random.Generator,
    dropped: bool = False,
    free_orientation: bool = True,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Indices of num_slices slices next to each other; a short stack repeats its edge slices, shared out at random.

    dropped: leave out one or two slices, or every second one. free_orientation: either end may come first. known: which
    slices have a label, None for all: the more of them in a window, the more often it is taken, and never one without.
    """
    there = np.arange(count)
    if dropped and count > 3:
        left = there[rng.integers(2) :: 2] if rng.random() < 0.3 else np.delete(there, rng.integers(0, count, 2))
        there = left if known is None or known[left].any() else there
    count = len(there)
    if count >= num_slices:
        if known is None:
            start = rng.integers(0, count - num_slices + 1)
        else:
            labelled = np.convolve(known[there].astype(float), np.ones(num_slices), "valid")
            start = rng.choice(len(labelled), p=labelled / labelled.sum())
        indices = np.arange(start, start + num_slices)
    else:
        before = rng.integers(0, num_slices - count + 1) if rng.random() < 0.5 else pad_amounts(count, num_slices)[0]
        indices = np.clip(np.arange(num_slices) - before, 0, count - 1)
    chosen = there[indices]
    return chosen[::-1].copy() if free_orientation and rng.random() < 0.5 else chosen


def thicken(values: torch.Tensor, share: float) -> torch.Tensor:
    """Slices that reach into their neighbours: (C, S, h, w) → the same, ``share`` of each slice from either side.

    share: below 1/3, so that the slice itself outweighs each neighbour and its labels stay the right ones.
    """
    edge = torch.cat((values[:, :1], values, values[:, -1:]), 1)
    return share * edge[:, :-2] + (1 - 2 * share) * values + share * edge[:, 2:]


def random_example(
    example: Example,
    num_slices: int,
    size: tuple[int, int],
    rng: np.random.Generator,
    empty_slices: bool,
    free_orientation: bool = True,
    zoom: float = 1.0,
) -> Example:
    """Some slices and a random place in-plane, MARGIN wider than ``size``.

    empty_slices: replace some of the end slices by places away from every structure. zoom: everything so many times as
    large.
    """
    values, labels = example.values, example.labels
    known = labels != UNKNOWN
    partly = not bool(known.all())
    labelled = known.any((1, 2)).numpy() if partly else None
    indices = choose_slices(values.shape[1], num_slices, rng, rng.random() < DROPPED, free_orientation, labelled)
    if rng.random() < THICKER:
        values = thicken(values, rng.uniform(0.1, 0.3))
    picked = replace(example, values=values[:, indices], labels=labels[indices])
    shape = np.array(picked.labels.shape[-2:])
    known = known[indices]
    rows, columns = torch.nonzero((picked.labels.bool() & known).any(0), as_tuple=True)
    found, extent = len(rows) > 0, np.array(size) / zoom
    if found and rng.random() < 0.8:
        middle = np.array([rows.float().mean(), columns.float().mean()]) + rng.uniform(-0.3, 0.3, 2) * extent
    elif partly:
        places = torch.nonzero(known.any(0)).numpy()
        middle = places[rng.integers(len(places))].astype(float)
    else:
        middle = rng.uniform(0, 1, 2) * shape
    # Tiles of inference do not reach beyond the picture; examples do so by a tenth.
    edge = np.minimum(extent, shape) / 2 - 0.1 * extent
    middle = np.clip(middle, edge, shape - edge)
    if empty_slices and found and rng.random() < 0.5:
        front, behind = rng.integers(0, min(4, num_slices // 2 + 1), 2)
        picked = _roll_away(picked, [*range(front), *range(num_slices - behind, num_slices)], rng)
    window = crop(picked, middle, tuple(int(MARGIN * e) for e in extent))
    return enlarge(window, tuple(int(MARGIN * s) for s in size))


def _roll_away(example: Example, slices: list[int], rng: np.random.Generator) -> Example:
    """Moves some slices round by half a picture, so that what lay at the border is where the structure was."""
    values, labels = example.values.clone(), example.labels.clone()
    shift = [
        int(n // 2 * turn) for n, turn in zip(labels.shape[-2:], [(1, 0), (0, 1), (1, 1)][rng.integers(3)], strict=True)
    ]
    values[:, slices] = values[:, slices].roll(shift, (-2, -1))
    labels[slices] = labels[slices].roll(shift, (-2, -1))
    return replace(example, values=values, labels=labels)


class Augmenter:
    """Makes training examples that depend on nothing but (seed, step, item): a resumed training sees the same ones."""

    def __init__(
        self,
        num_slices: int,
        size: tuple[int, int],
        seed: int,
        empty_slices: bool = True,
        free_orientation: bool = True,
        extra_share: float = 0.0,
        zoom: tuple[float, float] = (1.0, 1.0),
    ):
        self.num_slices, self.size, self.seed = num_slices, size, seed
        self.empty_slices, self.free_orientation, self.extra_share = empty_slices, free_orientation, extra_share
        self.zoom = np.log(zoom)
        self.transforms = transforms(size, free_orientation)

    @classmethod
    def of(cls, plan: Plan) -> Augmenter:
        """As a plan says."""
        names = ("num_slices", "field_of_view", "seed", "empty_slices", "free_orientation", "extra_share", "zoom")
        return cls(*(getattr(plan, name) for name in names))

    def __call__(self, cases: Sequence[Example], step: int, item: int = 0, extra: Sequence[Example] = ()) -> Example:
        """The example for an item of a step's batch; extra_share of them come from ``extra``, if there is any."""
        rng = np.random.default_rng((self.seed, step, item))
        if extra and rng.random() < self.extra_share:
            cases = extra
        case = cases[rng.integers(len(cases))]
        zoom = np.exp(rng.uniform(*self.zoom)) if self.zoom.any() and rng.random() < ZOOMED else 1.0
        picked = random_example(case, self.num_slices, self.size, rng, self.empty_slices, self.free_orientation, zoom)
        channels = len(picked.values)
        self.transforms.set_random_state(int(rng.integers(2**31)))
        # Slices as channels: in-plane transforms treat all alike, and none can mix them.
        out = self.transforms({"image": picked.values.flatten(0, 1), "label": picked.labels.float()})
        values, labels = out["image"].unflatten(0, (channels, -1)).contiguous(), out["label"].round().long()
        return replace(picked, values=values, labels=labels)


def ahead(make: Callable[[int], list[Example]], first: int, stop: int) -> Iterator[list[Example]]:
    """``make(step)`` for every step from ``first`` on, each made in a thread while the one before is in use."""
    with ThreadPoolExecutor(1, "examples") as thread:
        coming = thread.submit(make, first) if first < stop else None
        for step in range(first, stop):
            examples = coming.result()
            coming = thread.submit(make, step + 1) if step + 1 < stop else None
            yield examples
