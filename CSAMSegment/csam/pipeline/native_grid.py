"""What the samples say on the image's own grid: labels and maps, filled slice by slice, corrected, and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from ..errors import InputError
from ..image import geometry
from ..image.stack import Stack, resize
from ..model import Model, within
from ..network.parallel import Threads
from ..result import Options, SliceScore, StructureVolume
from ..uncertainty import continuity, slice_ranking
from ..uncertainty.expected_error import expected_dice, stated_error, volume_interval
from ..uncertainty.measures import calibrated_error_probability, entropy, mutual_information
from ..uncertainty.slice_ranking import SliceRisk
from ..uncertainty.worst_spot import worst_spot
from .contour_shift import shifted
from .sliding_window import Slab

CPU = torch.device("cpu")

ERROR_AT_A_BREAK, SMALLEST_BREAK_MM2 = 0.9, 50.0
"""Error probability where a structure is missing between two slices that show it, and the least area that counts as
one."""


class NativeGrid:
    """The native images, filled slice by slice in the stack's orientation."""

    def __init__(self, image: sitk.Image, stack: Stack, part: Sequence[slice], model: Model, options: Options):
        self.image, self.stack, self.part, self.model = image, stack, part, model
        self.calibration = model.calibration_for(options)
        self.held = within(model.labels)
        self.box = stack.orientation.box(part, image.GetSize())
        shape = image.GetSize()[::-1]
        classes = len(model.labels) + 1
        self.labels = np.zeros(shape, np.uint8 if classes <= 256 else np.uint16)
        self.maps = {name: np.zeros(shape, np.float32) for name in ("error", "entropy", "mutual_information")}
        self.probabilities = None
        if options.keep_probabilities:
            self.probabilities = np.zeros((*shape, classes), np.float32)
            self.probabilities[..., 0] = 1
        self.difference, self.expected, self.found = np.zeros(classes), np.zeros(classes), np.zeros(classes)
        # A pixel of the model, in pixels of the image.
        self.width = tuple(n / m for n, m in zip(stack.shape[1:], stack.values.shape[-2:], strict=True))
        self.pixel_area = geometry.pixel_area(image, stack.orientation.axes[0])
        leaves_out = any(label.connected or label.inside or label.slices_of for label in model.labels)
        self.background = np.ones(shape, np.float32) if leaves_out else None

    def _as_stack(self, array: np.ndarray) -> np.ndarray:
        """The region of an array of the image, (slices, rows, columns): what is written there changes the array."""
        return self.stack.orientation.to_stack(array)[self.box]

    @property
    def is_whole(self) -> bool:
        """Whether the region is all of the image."""
        return all(part == slice(0, n) for part, n in zip(self.part, self.image.GetSize(), strict=True))

    @property
    def cut(self) -> list[tuple[bool, bool]]:
        """Of slices, rows and columns, whether the image goes on before and behind the region."""
        return [(part.start > 0, part.stop < n) for part, n in zip(self.box, self.stack.shape, strict=True)]

    @property
    def count(self) -> int:
        """How many slices the region has."""
        return self.box[0].stop - self.box[0].start

    @property
    def seen(self) -> tuple[slice, slice]:
        """The region's rows and columns at the model's spacing, rounded outwards."""
        return tuple(
            slice(int(part.start / width), min(n, math.ceil(part.stop / width)))
            for part, width, n in zip(self.box[1:], self.width, self.stack.values.shape[-2:], strict=True)
        )

    def placed(self, wanted: range) -> range:
        """Slices of the region as those of the stack."""
        return range(wanted.start + self.box[0].start, wanted.stop + self.box[0].start)

    def positions(self, slices: Sequence[int]) -> range:
        """The region's slices from the first to the last of these indices along the image's slice axis."""
        indices = [self._index(here)[self.stack.orientation.axes[0]] for here in range(self.count)]
        unknown = [index for index in slices if index not in indices]
        if unknown or not slices:
            raise InputError(
                f"The slices asked for are {list(slices)}; give some from {min(indices)} to {max(indices)}."
            )
        found = [indices.index(index) for index in slices]
        return range(min(found), max(found) + 1)

    def _index(self, here: int, row: int = 0, column: int = 0) -> list[int]:
        """The image's index (i, j, k) of a point of the region."""
        point = (p + part.start for p, part in zip((here, row, column), self.box, strict=True))
        return list(self.stack.orientation.index(*point, self.image.GetSize()))

    def take(self, slab: Slab, threads: Threads) -> None:
        """Brings the slab's probabilities to the native grid, slice by slice, and chooses the labels there."""
        for sums in threads.map(lambda offset: self._take(slab, offset), range(len(slab.mean_probabilities)), CPU):
            for total, part in zip((self.difference, self.expected, self.found), sums, strict=True):
                total += part

    def _take(self, slab: Slab, offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One slice of the slab; its expected difference, its expected and its found size of each class, in pixels."""
        size, cut, classes = self.stack.shape[1:], self.box[1:], len(self.found)
        here = slab.first + offset - self.box[0].start
        mean = resize(slab.mean_probabilities[offset], size)
        if self.model.contour_shift:
            mean = shifted(mean, self.model.contour_shift, self.held, self.stack.spacing[1:])
        mean = mean[(slice(None), *cut)]
        best, labels = mean[0], torch.zeros(mean.shape[1:], dtype=torch.uint8 if classes <= 256 else torch.int16)
        for k in range(1, classes):  # as max(0), which walks through memory class by class
            labels.masked_fill_(mean[k] > best, k)
            best = torch.maximum(best, mean[k])
        # Interpolated itself: the entropy of interpolated probabilities would show borders, not disagreement.
        information = mutual_information(slab.mean_probabilities[[offset]], slab.expected_entropy[[offset]])
        stated = 1 - best
        error = stated_error(stated.numpy(), self.width, self.calibration.keeps_peaks)
        error = calibrated_error_probability(1 - error, self.calibration.error_map)
        self._as_stack(self.labels)[here] = labels.numpy()
        self._as_stack(self.maps["error"])[here] = error
        self._as_stack(self.maps["entropy"])[here] = entropy(mean[None])[0].numpy()
        self._as_stack(self.maps["mutual_information"])[here] = resize(information, size)[(0, *cut)].numpy()
        if self.probabilities is not None:
            for k in range(classes):
                self._as_stack(self.probabilities[..., k])[here] = mean[k].numpy()
        if self.background is not None:
            self._as_stack(self.background)[here] = mean[0].numpy()
        expected = F.threshold(mean, 0.01, 0.0).sum((1, 2)).double().numpy()
        # ``uncertainty.expected_difference``: where the label is k, 1 - p_k in the place of p_k.
        flat = labels.flatten().numpy()
        swapped = np.bincount(flat, (stated - best).flatten().numpy(), minlength=classes)
        return expected + swapped, expected, np.bincount(flat, minlength=classes)

    def keep_inside(self, value: int, around: int) -> float:
        """Turns what of a structure does not lie inside another into background; returns the share of it that stays."""
        labels = self._as_stack(self.labels)
        mask = labels == value
        return self._remove(value, mask, mask & ~continuity.inside_pieces(mask, labels == around))

    def keep_largest(self, value: int) -> float:
        """Turns all but the largest piece of a structure into background; returns the share of it that stays."""
        mask = self._as_stack(self.labels) == value
        return self._remove(value, mask, mask & ~continuity.largest_piece(mask, self.cut))

    def keep_slices(self, value: int, other: int) -> float:
        """Turns a structure into background where it is unsure beyond the slices of another one; returns the share of
        it that stays: all where the region may have cut the other one off. The error probability is then that the
        structure was right."""
        if any(map(any, self.cut[1:])):
            return 1.0
        labels, background = map(self._as_stack, (self.labels, self.background))
        mask = labels == value
        unsure = continuity.unsure_ends(mask, labels == other, background)[:, None, None]
        return self._remove(value, mask, mask & unsure, 1.0)

    def _remove(self, value: int, mask: np.ndarray, other: np.ndarray, right: float | None = None) -> float:
        """Turns a part of a structure into background; returns the share of the structure that stays.

        right: how likely the part was right, as a factor on the probability that was found there; None for its share of
        the structure, where the sizes of the pieces tell which of them it is.
        """
        labels, error, background = map(self._as_stack, (self.labels, self.maps["error"], self.background))
        if not other.any():
            return 1.0
        removed = np.count_nonzero(other) / np.count_nonzero(mask)
        before = 1 - background[other]
        chance = before * (removed if right is None else right)
        labels[other] = 0
        error[other] = calibrated_error_probability(1 - chance, self.calibration.error_map)
        self.found[value] -= np.count_nonzero(other)
        self.difference[value] += float((chance - (1 - before)).sum())
        self.expected[value] -= float((before - chance).sum())
        return 1 - removed

    def mark_breaks(self) -> tuple[tuple[int, str], ...]:
        """Raises the error probability of what is missing between two slices that show a structure.

        Returns the index of every such slice along the image's slice axis, and the structure's name.
        """
        labels, error, found = self._as_stack(self.labels), self._as_stack(self.maps["error"]), []
        chance = calibrated_error_probability(np.float32(1 - ERROR_AT_A_BREAK), self.calibration.error_map)
        for label in self.model.labels:
            missing = continuity.missing_between(labels == label.value, round(SMALLEST_BREAK_MM2 / self.pixel_area))
            error[missing] = np.maximum(error[missing], chance)
            lost = ERROR_AT_A_BREAK * np.count_nonzero(missing)
            self.difference[label.value] += lost
            self.expected[label.value] += lost
            broken = np.flatnonzero(missing.any((1, 2)))
            found += [(self._index(here)[self.stack.orientation.axes[0]], label.name) for here in broken]
        return tuple(found)

    def _shared_out(self, scores: Sequence[SliceScore], risk: SliceRisk) -> list[SliceScore]:
        """The scores of all slices with the expected wrong area where the facts of the slices put it."""
        labels, error = self._as_stack(self.labels), self._as_stack(self.maps["error"])
        picture = self._as_stack(geometry.array_of(self.image))
        facts = slice_ranking.of_stack(labels, error, picture, self.stack.spacing[1:])
        if not facts.any():
            return list(scores)
        shared = risk.expected(facts, sum(score.expected_wrong_area_mm2 for score in scores)).tolist()
        told = zip(scores, shared, risk.reasons(facts), strict=True)
        return [replace(score, expected_wrong_area_mm2=area, reason=reason) for score, area, reason in told]

    def ranked(self, wanted: range, threads: Threads) -> tuple[SliceScore, ...]:
        """The scores of these slices of the region, in the order of the image's slices."""
        scores = threads.map(self._score, wanted, CPU)
        if len(wanted) == self.count and self.calibration.slice_risk:
            scores = self._shared_out(scores, self.calibration.slice_risk)
        worst_first = sorted(scores, key=lambda score: (-score.expected_wrong_area_mm2, score.index))
        slices = [replace(score, rank=rank) for rank, score in enumerate(worst_first, 1)]
        return tuple(sorted(slices, key=lambda score: score.index))

    def _score(self, here: int) -> SliceScore:
        """A slice by itself, not yet ranked."""
        labels, error = (self._as_stack(a)[here].copy() for a in (self.labels, self.maps["error"]))
        index = self._index(here, *worst_spot(error, self.stack.spacing[1:]))
        counts = np.bincount(labels.ravel(), minlength=len(self.found)) * self.pixel_area
        areas = tuple(float(counts[label.value]) for label in self.model.labels)
        point = self.image.TransformIndexToPhysicalPoint(index)
        expected = float(error.sum(dtype=np.float64) * self.pixel_area)
        return SliceScore(index[self.stack.orientation.axes[0]], expected, point, 0, areas)

    def structures(self, areas: np.ndarray, kept: dict[int, float]) -> tuple[StructureVolume, ...]:
        """The volumes with their intervals. areas: of the samples in pixels of the model, (samples, S, K), of all
        slices of the stack. kept: by label, the share that was not left out."""
        voxel_ml = geometry.voxel_volume(self.image) / 1000
        sampled_ml = areas[:, self.box[0]].sum(1) * self.stack.pixels * voxel_ml
        structures = []
        for label in self.model.labels:
            scale = self.calibration.volume_scale.get(label.value, 1.0)
            # Of the samples no pieces are known; the same share of each is taken to be stray.
            sampled = sampled_ml[:, label.value] * kept.get(label.value, 1.0)
            difference = float(self.difference[label.value]) * voxel_ml
            volume = int(np.count_nonzero(self.labels == label.value)) * voxel_ml
            low, high = volume_interval(volume, difference, scale)
            structures.append(StructureVolume(label.value, label.name, volume, float(sampled.mean()), low, high))
        return tuple(structures)

    def expected_dice(self) -> float:
        """The Dice that the probabilities expect, the mean over the structures; not calibrated."""
        sums = zip(*(part[1:] for part in (self.difference, self.found, self.expected)), strict=True)
        return float(np.mean([expected_dice(*s) for s in sums]))

    def images(self) -> dict[str, sitk.Image | None]:
        """The images of a Result, by the names of its fields."""
        return {
            "labels": geometry.like(self.labels, self.image),
            "error_probability": geometry.like(self.maps["error"], self.image),
            "entropy": geometry.like(self.maps["entropy"], self.image),
            "mutual_information": geometry.like(self.maps["mutual_information"], self.image),
            "probabilities": None if self.probabilities is None else geometry.like(self.probabilities, self.image),
        }
