"""Which slices are probably wrong: what a reviewer sees at once, beside what the probabilities expect.

A network can be sure of an error: of a structure one slice above its base, of an apex it missed. Then its slices tell
more than its probabilities: the structure jumps, or ends abruptly, or the picture is not like its neighbours'. These
facts of every slice, and the area that the probabilities expect to be wrong, give the area to expect. How much each
counts is learned from slices with a truth (``csam.training.learn_ranking``). Pure functions of arrays, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

OF_ERRORS = ("wrong_inside", "wrong_outside", "probably_wrong")
"""Facts of the error probabilities (``of_errors``)."""
OF_PICTURES = (
    "area",
    "area_jumps",
    "place_jumps",
    "shape_jumps",
    "missing_between",
    "alone",
    "ends_abruptly",
    "beyond_an_end",
    "looks_like_more",
    "leaks",
    "faint",
    "picture_differs",
)
"""Facts of labels and pictures (``of_pictures``)."""
FACTS = OF_ERRORS + OF_PICTURES
"""In the order of the columns. All rise from 0."""

REASONS = {
    "area_jumps": "the area does not fit the neighbours",
    "place_jumps": "the structure is shifted against the neighbours",
    "shape_jumps": "the shape is unlike a neighbour's",
    "missing_between": "a part that both neighbours show is missing",
    "alone": "a part that neither neighbour shows is marked",
    "ends_abruptly": "the structure ends abruptly here",
    "beyond_an_end": "nothing is marked, but the next slice shows a structure",
    "looks_like_more": "the image looks as if something was missed",
    "leaks": "the surroundings look like the structure",
    "faint": "the structure hardly stands out from its surroundings",
    "picture_differs": "the image is unlike the neighbours",
}
"""For a reviewer, of the facts that say something by themselves."""

CERTAIN = 1e-3
"""Error probabilities below this are not counted."""
PROBABLY = 0.3
"""Error probability from which on a voxel counts as probably wrong."""
SMALLEST = 0.003
"""Share of the largest area below which an expected wrong area makes no difference."""
REMARKABLE = 1.25
"""How many times a fact must raise a slice's share above that of the stack's middle slice to be its reason."""


@dataclass(frozen=True)
class SliceRisk:
    """Shares out the area that a stack's probabilities expect to be wrong among its slices, by their facts.

    A slice's share is proportional to exp(Σ weight · fact). So the stack's sum stays what the probabilities expect, at
    any hospital, and the facts tell where in the stack it lies.
    facts: name → (weight, highest): the weight, at least 0, and the highest value that was seen in learning, above
    which a fact counts no more. Those not named count nothing.
    """

    facts: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def parts(self, found: np.ndarray) -> np.ndarray:
        """What every fact adds to the logarithm: (S, len(FACTS)) → the same shape."""
        weights, highest = np.array([self.facts.get(name, (0.0, 0.0)) for name in FACTS]).T
        return weights * np.minimum(found, highest)

    def expected(self, found: np.ndarray, total: float) -> np.ndarray:
        """Facts (S, len(FACTS)) and the stack's expected wrong area → that of every slice, which add up to it."""
        logarithm = self.parts(found).sum(1)
        rate = np.exp(logarithm - logarithm.max())
        return total * rate / rate.sum()

    def reasons(self, found: np.ndarray) -> list[str]:
        """A few words for every slice that a fact puts clearly before the stack's middle slice; empty for others."""
        parts = self.parts(found)
        more = parts - np.median(parts, axis=0)
        more[:, [name not in REASONS for name in FACTS]] = 0
        first = more.argmax(1)
        return [
            REASONS[FACTS[fact]] if row[fact] > np.log(REMARKABLE) else ""
            for row, fact in zip(more, first, strict=True)
        ]


def of_stack(labels: np.ndarray, error: np.ndarray, image: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
    """All facts of a stack, from arrays (S, H, W): (S, len(FACTS)). See ``of_errors`` and ``of_pictures``."""
    counted = error > CERTAIN
    inside, slices = (labels > 0)[counted], np.nonzero(counted)[0]
    errors = of_errors(error[counted], inside, slices, len(labels), largest_area(labels))
    return np.concatenate([errors, of_pictures(labels, image, pixel)], axis=1)


def of_errors(error: np.ndarray, inside: np.ndarray, slices: np.ndarray, count: int, largest: int) -> np.ndarray:
    """What the error probabilities say of each slice: (count, len(OF_ERRORS)) float64.

    error, inside, slices: one entry a voxel above CERTAIN: its error probability, whether it has a label, its slice.
    largest: pixels of the largest slice of all structures together, see ``largest_area``. The expected wrong areas of
    what was found and of the background are logarithms, the area that is probably wrong a root: areas grow faster
    than what one sees of them.
    """
    if not largest:
        return np.zeros((count, len(OF_ERRORS)))
    within, without, probably = (
        np.bincount(slices, error * part, count) / largest
        for part in (inside, ~inside, (error > PROBABLY) / np.maximum(error, CERTAIN))
    )
    return np.stack([np.log1p(within / SMALLEST), np.log1p(without / SMALLEST), np.sqrt(probably)], 1)


def largest_area(labels: np.ndarray) -> int:
    """Pixels of the slice that shows most of all structures together: (S, H, W) → a number, the unit of areas here."""
    return int((labels > 0).sum((1, 2)).max(initial=0))


def of_pictures(labels: np.ndarray, image: np.ndarray, pixel: tuple[float, float]) -> np.ndarray:
    """What each slice of a stack shows: (S, len(OF_PICTURES)) float64, zeros where nothing was found in all of them.

    labels: (S, H, W), 0 is background. image: (S, H, W), any scale. pixel: mm of rows and columns. Areas count in
    shares of the largest slice, lengths in its radius, intensities in the slice's own contrast: organs, pixels and
    scanners may differ. The order of the slices and the sides of the picture make no difference.
    """
    found = np.zeros((len(labels), len(OF_PICTURES)))
    inside = labels > 0
    counts = inside.sum((1, 2))
    if not counts.any():
        return found
    largest = counts.max()
    area = counts / largest
    radius = float(np.sqrt(largest * pixel[0] * pixel[1] / np.pi))  # mm

    def pixels(radii: float) -> list[int]:
        return [max(1, round(radii * radius / p)) for p in pixel]

    box = _around(inside, pixels(0.7))
    labels, inside = labels[box], inside[box]
    image = np.nan_to_num(image[box].astype(np.float32)).astype(np.float64)  # squares of float32 overflow
    places = _places(inside, counts, pixel) / radius
    faint, more, leaks = _contrasts(inside, image, counts, pixels(0.3), pixels(0.12))
    differ = [_count(a != b) / largest for a, b in pairwise(labels)]
    unlike = [1 - _correlation(a, b) for a, b in pairwise(image)]
    last = len(labels) - 1
    for s in range(len(labels)):
        near = [t for t in (s - 1, s + 1) if 0 <= t <= last]
        row = dict.fromkeys(OF_PICTURES, 0.0)
        row["area"] = np.sqrt(area[s])
        row["shape_jumps"] = max([differ[min(s, t)] for t in near], default=0.0)
        if len(near) == 2:
            before, behind = inside[near]
            row["missing_between"] = _count(before & behind & ~inside[s]) / largest
            row["alone"] = _count(inside[s] & ~before & ~behind) / largest
            row["area_jumps"] = abs(area[s] - area[near].mean())
        elif near and last > 1:  # half the distance from where the next two lead
            row["area_jumps"] = abs(area[s] - max(0.0, 2 * area[near[0]] - area[2 * near[0] - s])) / 2
        shown = [t for t in near if counts[t]]
        if counts[s]:
            row["place_jumps"] = float(np.linalg.norm(places[s] - places[shown].mean(0))) if len(shown) == 2 else 0.0
            row["ends_abruptly"] = np.sqrt(area[s]) if len(shown) < len(near) else 0.0
        else:
            row["beyond_an_end"] = max([np.sqrt(area[t]) for t in near], default=0.0)
        row |= {"faint": faint[s], "looks_like_more": more[s], "leaks": leaks[s] / largest}
        row["picture_differs"] = min([unlike[min(s, t)] for t in near], default=0.0)
        found[s] = list(row.values())
    return found


def _around(inside: np.ndarray, margin: Sequence[int]) -> tuple[slice, slice, slice]:
    """The box of the structures in all slices, widened by a margin of pixels."""
    box = [slice(None)]
    for axis, extra in zip((1, 2), margin, strict=True):
        hit = np.flatnonzero(inside.any((0, 3 - axis)))
        box.append(slice(max(0, hit[0] - extra), hit[-1] + 1 + extra))
    return tuple(box)


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))


def _places(inside: np.ndarray, counts: np.ndarray, pixel: Sequence[float]) -> np.ndarray:
    """Centre of the structures in every slice, mm: (S, 2)."""
    sums = [inside.sum(3 - axis) @ np.arange(inside.shape[axis]) * p for axis, p in zip((1, 2), pixel, strict=True)]
    return np.stack(sums, 1) / np.maximum(counts, 1)[:, None]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Of two pictures; 0 where one of them is all of one value."""
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return max(0.0, float((first * second).sum() / size)) if size > 0 else 0.0


def _contrasts(
    inside: np.ndarray, image: np.ndarray, counts: np.ndarray, wide: Sequence[int], thin: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every slice: how far its structure stands out less than usual; how far a slice without looks as if it had
    one; and pixels of a thin ring around it that look like the structure.

    What stands out is the median inside minus that of a ring around, by the spread of both. Without a structure of its
    own, the nearest slices' masks are looked through. The first is 0 as usual, 1 for nothing; the second the reverse.
    """
    contrast, leaks = np.zeros(len(inside)), np.zeros(len(inside))
    shown = np.flatnonzero(counts)
    for s, picture in enumerate(image):
        away = np.abs(shown - s)
        mask = inside[shown[away == away.min()]].any(0)
        ring = _grown(mask, wide) & ~mask
        spread = float(np.std(picture[mask | ring]))
        if not ring.any() or not spread > 0:
            continue
        within, around = float(np.median(picture[mask])), float(np.median(picture[ring]))
        contrast[s] = (within - around) / spread
        beside = picture[_grown(mask, thin) & ~mask]
        alike = np.sign(within - around) * (beside - (within + around) / 2) > 0
        leaks[s] = _count(alike) if counts[s] else 0
    usual = float(np.median(contrast[shown]))
    if abs(usual) < 1e-6:
        return np.zeros(len(inside)), np.zeros(len(inside)), leaks
    faint = np.where(counts > 0, np.clip(1 - contrast / usual, 0, 2), 0)
    more = np.where(counts > 0, 0, np.clip(contrast / usual, 0, 1.5))
    return faint, more, leaks


def _grown(mask: np.ndarray, margin: Sequence[int]) -> np.ndarray:
    """A mask widened by a rectangle, one axis after the other."""
    for axis, extra in enumerate(margin):
        sums = np.cumsum(mask, axis)
        wide = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis)
        n = mask.shape[axis]
        low, high = (np.clip(np.arange(n) + d, 0, n) for d in (-extra, extra + 1))
        mask = wide.take(high, axis) > wide.take(low, axis)
    return mask
