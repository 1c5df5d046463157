"""The whole pipeline: images in, label image, uncertainty maps, slice scores and volumes out."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from .. import __version__
from ..errors import Cancelled, InputError
from ..image import geometry
from ..image.geometry import AXES
from ..image.stack import Stack, resize, stack_of
from ..model import Calibration, Model
from ..network.devices import choose_device, said_of, unusable_devices
from ..network.number_format import format_for
from ..network.orientations import StackOrientation
from ..network.parallel import Threads
from ..result import REGION, SLICES, WHOLE, Options, Progress, ProgressCallback, Result, SliceScore, StructureVolume
from ..uncertainty import continuity, slice_ranking
from ..uncertainty.expected_error import case_quality, expected_dice, is_poor, poor, smoothed, volume_interval
from ..uncertainty.measures import calibrated_error_probability, entropy, mutual_information
from ..uncertainty.slice_ranking import SliceRisk
from . import input_check
from .sliding_window import Sampling, Slab, network_on

CPU = torch.device("cpu")

SPOT_MM = 10.0
"""Width of the neighbourhood whose mean error probability finds a slice's worst point."""

ERROR_AT_A_BREAK, SMALLEST_BREAK_MM2 = 0.9, 50.0
"""Error probability where a structure is missing between two slices that show it, and the least area that counts as
one."""

RIVAL = 0.2
"""Share of a structure in pieces beside its largest from which on it is said that they were left out."""

__all__ = ["Options", "Progress", "Result", "SliceScore", "StructureVolume", "segment"]


def segment(
    images: Sequence[sitk.Image] | sitk.Image,
    model: Model,
    options: Options = Options(),
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
    slices: Sequence[int] | None = None,
) -> Result:
    """Segments a volume and says where the result is not to be trusted.

    images: one scalar volume a channel of the model, on one grid. progress: called often with a Progress. cancelled:
    asked often; the run ends with Cancelled once it returns True, within a fraction of a second on a CPU.
    slices: indices along the slice axis of those wanted first, a few beside each other. The result holds these alone,
    as the whole run gives them, but in a fraction of its time (a larger one with several orientations); elsewhere all
    is background, volumes are those of these slices, and what other slices would tell is not known yet: which piece of
    a structure is the largest, and whether it is missing between two slices. Raises InputError, ModelError or
    DeviceError, each with a sentence for a user.

    >>> result = segment([sitk.ReadImage("cine.nrrd")], Model.load("cardiac-lv"))  # doctest: +SKIP
    """
    started = time.monotonic()
    images = [images] if isinstance(images, sitk.Image) else list(images)
    cancelled = cancelled or (lambda: False)
    reached = 0.0

    def pause() -> None:
        if cancelled():
            raise Cancelled

    def report(fraction: float, stage: str) -> None:
        nonlocal reached
        pause()
        fraction = reached = max(fraction, reached)  # a piece that is run again does not turn the clock back
        if progress:
            spent = time.monotonic() - started
            progress(Progress(fraction, stage, spent / fraction * (1 - fraction) if fraction > 0.05 else None))

    report(0.0, "Checking the image")
    warnings = list(input_check.check(images, model, options.slice_axis))
    axis = input_check.chosen_axis(images[0], model, options.slice_axis)
    part = [slice(0, n) for n in images[0].GetSize()]
    if options.region is not None:
        part = geometry.region_indices(images[0], *options.region)
    device = choose_device(options.device)
    if (options.device, device) == ("auto", "cpu"):
        warnings += filter(None, [said_of(unusable_devices())])
    report(0.01, "Reading the model")
    network, device, said = network_on(model, device)
    warnings += said
    if options.test_time_augmentation and not model.free_orientation:
        warnings.append(f"{model.name} knows one orientation: test-time augmentation only takes longer.")
    report(0.03, "Preparing the slices")
    stack = stack_of(images, model.in_plane_spacing, model.intensity, AXES[axis])
    orientations = model.orientations if options.test_time_augmentation else (StackOrientation(),)
    sampling = Sampling(
        network,
        model.field_of_view,
        device,
        max(options.samples, len(orientations)),
        options.seed,
        "mean" if options.samples == 1 else "antithetic",
        orientations=orientations,
        focused=not options.test_time_augmentation,
        tick=lambda fraction: report(0.05 + 0.93 * fraction, "Segmenting and sampling"),
        pause=pause,
    )
    output = _Output(images[0], stack, part, model, options)
    chosen = range(output.count) if slices is None else output.positions(slices)
    threads = Threads(pause)
    for slab in sampling.slabs(stack.values, output.placed(chosen), output.seen if options.region else None):
        output.take(slab, threads)
    report(0.99, "Measuring")
    provenance = {
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "options": asdict(options),
        "device": sampling.device,
        "device_name": torch.cuda.get_device_name(sampling.device) if "cuda" in sampling.device else platform.machine(),
        "threads": torch.get_num_threads(),
        "number_format": str(format_for(sampling.network, sampling.device)).removeprefix("torch."),
        "versions": {"csam": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 2),
    }
    return output.result(sampling, threads, chosen, axis, (*warnings, *sampling.warnings), provenance)


class _Output:
    """The native images, filled slice by slice in the stack's orientation."""

    def __init__(self, image: sitk.Image, stack: Stack, part: Sequence[slice], model: Model, options: Options):
        self.image, self.stack, self.part, self.model = image, stack, part, model
        self.calibration, self.augmented = model.calibration_for(options), options.test_time_augmentation
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
        _, row, column = stack.spacing
        self.pixel_area = geometry.pixel_area(image, stack.orientation.axes[0])
        self.spot = tuple(max(1, 2 * int(SPOT_MM / 2 / s) + 1) for s in (row, column))
        self.background = np.ones(shape, np.float32) if any(label.connected for label in model.labels) else None

    def _view(self, array: np.ndarray) -> np.ndarray:
        return self.stack.orientation.to_stack(array)[self.box]

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

    def placed(self, chosen: range) -> range:
        """Slices of the region as those of the stack."""
        return range(chosen.start + self.box[0].start, chosen.stop + self.box[0].start)

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
        mean = resize(slab.mean_probabilities[offset], size)[(slice(None), *cut)]
        best, labels = mean[0], torch.zeros(mean.shape[1:], dtype=torch.uint8 if classes <= 256 else torch.int16)
        for k in range(1, classes):  # as max(0), which walks through memory class by class
            labels.masked_fill_(mean[k] > best, k)
            best = torch.maximum(best, mean[k])
        # Interpolated itself: the entropy of interpolated probabilities would show borders, not disagreement.
        information = mutual_information(slab.mean_probabilities[[offset]], slab.expected_entropy[[offset]])
        stated = 1 - best
        error = calibrated_error_probability(1 - smoothed(stated.numpy(), self.width), self.calibration.error_map)
        self._view(self.labels)[here] = labels.numpy()
        self._view(self.maps["error"])[here] = error
        self._view(self.maps["entropy"])[here] = entropy(mean[None])[0].numpy()
        self._view(self.maps["mutual_information"])[here] = resize(information, size)[(0, *cut)].numpy()
        if self.probabilities is not None:
            for k in range(classes):
                self._view(self.probabilities[..., k])[here] = mean[k].numpy()
        if self.background is not None:
            self._view(self.background)[here] = mean[0].numpy()
        expected = F.threshold(mean, 0.01, 0.0).sum((1, 2)).double().numpy()
        # ``uncertainty.expected_difference``: where the label is k, 1 - p_k in the place of p_k.
        flat = labels.flatten().numpy()
        swapped = np.bincount(flat, (stated - best).flatten().numpy(), minlength=classes)
        return expected + swapped, expected, np.bincount(flat, minlength=classes)

    def _keep_largest(self, value: int) -> float:
        """Turns all but the largest piece of a structure into background; returns the share of it that stays.

        Which piece is the structure, their sizes tell: what is removed was right with its probability times its share.
        """
        labels, error, background = map(self._view, (self.labels, self.maps["error"], self.background))
        mask = labels == value
        other = mask & ~continuity.largest_piece(mask, self.cut)
        found, removed = np.count_nonzero(mask), np.count_nonzero(other)
        if not removed:
            return 1.0
        kept = 1 - removed / found
        before, chance = 1 - background[other], (1 - background[other]) * (1 - kept)
        labels[other] = 0
        error[other] = calibrated_error_probability(1 - chance, self.calibration.error_map)
        self.found[value] -= removed
        self.difference[value] += float((chance - (1 - before)).sum())
        self.expected[value] -= float((before - chance).sum())
        return kept

    def _mark_breaks(self) -> tuple[str, ...]:
        """Raises the error probability of what is missing between two slices that show a structure; a sentence a
        slice."""
        labels, error, said = self._view(self.labels), self._view(self.maps["error"]), []
        chance = calibrated_error_probability(np.float32(1 - ERROR_AT_A_BREAK), self.calibration.error_map)
        for label in self.model.labels:
            missing = continuity.missing_between(labels == label.value, round(SMALLEST_BREAK_MM2 / self.pixel_area))
            error[missing] = np.maximum(error[missing], chance)
            lost = ERROR_AT_A_BREAK * np.count_nonzero(missing)
            self.difference[label.value] += lost
            self.expected[label.value] += lost
            said += [
                f"In slice {self._index(here)[self.stack.orientation.axes[0]] + 1} (the first is 1) {label.name} is "
                "missing, between two slices that show it. Check that slice's picture and its place in the stack."
                for here in np.flatnonzero(missing.any((1, 2)))
            ]
        return tuple(said)

    def _shared_out(self, scores: Sequence[SliceScore], risk: SliceRisk) -> list[SliceScore]:
        """The scores of all slices with the expected wrong area where the facts of the slices put it."""
        labels, error = self._view(self.labels), self._view(self.maps["error"])
        picture = self._view(geometry.array_of(self.image))
        facts = slice_ranking.of_stack(labels, error, picture, self.stack.spacing[1:])
        if not facts.any():
            return list(scores)
        shared = risk.expected(facts, sum(score.expected_wrong_area_mm2 for score in scores)).tolist()
        told = zip(scores, shared, risk.reasons(facts), strict=True)
        return [replace(score, expected_wrong_area_mm2=area, reason=reason) for score, area, reason in told]

    def _score(self, here: int) -> SliceScore:
        """A slice by itself, not yet ranked."""
        labels, error = (self._view(a)[here].copy() for a in (self.labels, self.maps["error"]))
        rows, columns = self.spot  # one axis after the other: the same mean in far fewer steps
        spots = F.avg_pool2d(torch.from_numpy(error)[None], (rows, 1), 1, (rows // 2, 0))
        spots = F.avg_pool2d(spots, (1, columns), 1, (0, columns // 2))
        row, column = np.unravel_index(int(spots.argmax()), error.shape)
        index = self._index(here, int(row), int(column))
        counts = np.bincount(labels.ravel(), minlength=len(self.found)) * self.pixel_area
        areas = tuple(float(counts[label.value]) for label in self.model.labels)
        point = self.image.TransformIndexToPhysicalPoint(index)
        expected = float(error.sum(dtype=np.float64) * self.pixel_area)
        return SliceScore(index[self.stack.orientation.axes[0]], expected, point, 0, areas)

    def result(
        self,
        sampling: Sampling,
        threads: Threads,
        chosen: range,
        axis: int,
        warnings: tuple[str, ...],
        provenance: dict,
    ) -> Result:
        whole = len(chosen) == self.count
        kept = {
            label.value: self._keep_largest(label.value) for label in self.model.labels if whole and label.connected
        }
        hints = tuple(
            f"{1 - kept[label.value]:.0%} of what looked like {label.name} lay apart from its largest piece and was "
            "left out. Check that the right piece was kept."
            for label in self.model.labels
            if kept.get(label.value, 1.0) < 1 - RIVAL
        )
        warnings += self._mark_breaks() if whole else ()
        warnings += tuple(
            f"{label.name} was not found. The expected Dice says nothing of a structure that is not there."
            for label in self.model.labels
            if whole and not (self.labels == label.value).any()
        )
        if self.calibration == Calibration():
            how = ("without", "with")[self.augmented] + " test-time augmentation"
            how = f" {how}" if self.model.free_orientation else ""
            warnings += (
                f"{self.model.name} is not calibrated{how}: how often its interval, its error probability and its "
                f"expected Dice hold was never measured.",
            )
        scores = threads.map(self._score, chosen, CPU)
        if whole and self.calibration.slice_risk:
            scores = self._shared_out(scores, self.calibration.slice_risk)
        worst_first = sorted(scores, key=lambda score: (-score.expected_wrong_area_mm2, score.index))
        slices = [replace(score, rank=rank) for rank, score in enumerate(worst_first, 1)]
        areas = sampling.areas[:, self.box[0]].sum(1)
        voxel_ml = geometry.voxel_volume(self.image) / 1000
        sampled_ml = areas * self.stack.pixels * voxel_ml
        structures = []
        for label in self.model.labels:
            scale = self.calibration.volume_scale.get(label.value, 1.0)
            # Of the samples no pieces are known; the same share of each is taken to be stray.
            sampled = sampled_ml[:, label.value] * kept.get(label.value, 1.0)
            difference = float(self.difference[label.value]) * voxel_ml
            volume = int(np.count_nonzero(self.labels == label.value)) * voxel_ml
            low, high = volume_interval(volume, difference, scale)
            structures.append(StructureVolume(label.value, label.name, volume, float(sampled.mean()), low, high))
        everywhere = all(part == slice(0, n) for part, n in zip(self.part, self.image.GetSize(), strict=True))
        extent = SLICES if not whole else WHOLE if everywhere else REGION
        sums = zip(*(part[1:] for part in (self.difference, self.found, self.expected)), strict=True)
        expected = float(np.mean([expected_dice(*s) for s in sums]))
        quality = case_quality(expected, self.calibration.dice_scale)
        reference = self.calibration.case_quality
        comparable = extent == WHOLE and reference and self.found[1:].any()
        case_rank = float(np.mean(np.less(reference, quality))) if comparable else None
        if extent == WHOLE:
            hints += input_check.sizes(structures, self.model)
            warnings = (*((poor(quality, case_rank),) if is_poor(case_rank) else ()), *warnings)
        if case_rank is None or is_poor(case_rank):  # where the case quality is good they have been wrong
            warnings += hints
        images = {name: geometry.like(array, self.image) for name, array in self.maps.items()}
        return Result(
            labels=geometry.like(self.labels, self.image),
            error_probability=images["error"],
            entropy=images["entropy"],
            mutual_information=images["mutual_information"],
            probabilities=None if self.probabilities is None else geometry.like(self.probabilities, self.image),
            slice_axis=axis,
            slices=tuple(sorted(slices, key=lambda score: score.index)),
            structures=tuple(structures),
            case_quality=quality,
            warnings=warnings,
            provenance=provenance,
            case_rank=case_rank,
            extent=extent,
        )
