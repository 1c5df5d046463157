"""The result of a filling on the image's own grid: labels, error probability, what to draw next, volumes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
import torch

from ..image import geometry
from ..result import SLICES, WHOLE, Result, SliceScore, StructureVolume
from ..uncertainty.expected_error import case_quality, expected_dice, volume_interval
from ..uncertainty.worst_spot import worst_spot
from .certainty import assured
from .drawing import UNKNOWN, Drawing, Structure
from .fill_model import FillCalibration
from .next_slice import expected_gain
from .one_structure import LogOdds

OUTSIDE = -12.0
"""Log odds of a structure beyond its region."""


class Filled:
    """Collects the structures' log odds, then chooses the labels slice by slice."""

    def __init__(
        self,
        image: sitk.Image,
        drawing: Drawing,
        structures: Sequence[Structure],
        wanted: Sequence[int],
        calibration: FillCalibration | None,
    ):
        self.image, self.drawing, self.structures, self.wanted = image, drawing, structures, wanted
        self.calibration = calibration or FillCalibration()
        self._parts: list[tuple[Structure, LogOdds]] = []

    def add(self, structure: Structure, part: LogOdds) -> None:
        self._parts.append((structure, part))

    def result(self, missing: Sequence[Structure], started: float, provenance: Mapping) -> Result:
        """missing: structures that no drawn slice shows."""
        drawing = self.drawing
        shape = drawing.labels.shape
        labels = np.where(drawing.labels == UNKNOWN, 0, drawing.labels).astype(np.uint8)
        error, entropy = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        sums = {s.value: np.zeros(3) for s in self.structures}  # difference, found, expected; pixels
        for place, index in enumerate(self.wanted):
            chosen, probability, of_each = self._slice(place, shape[1:])
            open_ = drawing.labels[index] == UNKNOWN
            labels[index][open_] = chosen[open_]
            error[index] = np.where(open_, 1 - probability, 0)
            entropy[index] = np.where(open_, _entropy(probability), 0)
            for structure, p in of_each:
                mine = (labels[index] == structure.value) & open_
                p = np.where(open_, p, 0)
                sums[structure.value] += (
                    float(np.where(mine, 1 - p, np.where(p > 0.01, p, 0)).sum()),
                    np.count_nonzero(mine),
                    float(p.sum()),
                )
        for structure in self.structures:
            whole = np.count_nonzero((labels == structure.value)[list(drawing.drawn)])
            sums[structure.value] += (0, whole, whole)
        complete = len(self.wanted) + len(drawing.drawn) == shape[0]
        quality = float(np.mean([expected_dice(*sums[s.value]) for s in self.structures]))
        warnings = [text for _, part in self._parts for text in part.warnings]
        warnings += [f"{s.name} was not filled: no drawn slice shows it." for s in missing]
        back = drawing.orientation.from_stack
        return Result(
            labels=geometry.like(np.ascontiguousarray(back(labels)), self.image),
            error_probability=geometry.like(np.ascontiguousarray(back(error)), self.image),
            entropy=geometry.like(np.ascontiguousarray(back(entropy)), self.image),
            mutual_information=geometry.like(np.zeros(back(error).shape, np.float32), self.image),
            probabilities=None,
            slice_axis=drawing.axis,
            slices=self._scores(labels, error),
            structures=self._volumes(labels, sums),
            case_quality=case_quality(quality, self.calibration.dice_scale),
            warnings=tuple(dict.fromkeys(warnings)),
            provenance={**provenance, "seconds": round(time.monotonic() - started, 2)},
            extent=WHOLE if complete else SLICES,
        )

    def _slice(self, place: int, shape: tuple[int, int]):
        """Labels, their probability (H, W), and every structure's probability of one slice."""
        odds, sure = [torch.zeros(shape)], [torch.zeros(shape)]  # of the background
        for _, part in self._parts:
            said, before = (
                part.region.back(values[place : place + 1], shape, OUTSIDE)[0] for values in (part.values, part.untuned)
            )
            apart = min((abs(part.indices[place] - drawn) for drawn in self.drawing.drawn), default=1)
            odds.append(said)
            sure.append(assured(said, before, apart, part.known, self.calibration.error_odds))
        which = torch.stack(odds).argmax(0)
        probabilities = torch.softmax(torch.stack(sure), 0)
        of_chosen = probabilities.gather(0, which[None])[0]
        values = np.array([0, *(structure.value for structure, _ in self._parts)], np.uint8)
        of_each = [(structure, p.numpy()) for (structure, _), p in zip(self._parts, probabilities[1:], strict=True)]
        return values[which.numpy()], of_chosen.numpy(), of_each

    def _scores(self, labels: np.ndarray, error: np.ndarray) -> tuple[SliceScore, ...]:
        """The slice to draw next comes first, that to correct next where a result is updated; what is drawn last."""
        area = geometry.pixel_area(self.image, self.drawing.axis)
        scores = []
        for index in range(len(labels)):
            row, column = worst_spot(error[index], self.drawing.spacing[1:])
            where = self.drawing.orientation.index(index, row, column, self.image.GetSize())
            counts = np.bincount(labels[index].ravel(), minlength=256) * area
            scores.append(
                SliceScore(
                    where[self.drawing.axis],
                    float(error[index].sum(dtype=np.float64) * area),
                    self.image.TransformIndexToPhysicalPoint(where),
                    0,
                    tuple(float(counts[s.value]) for s in self.structures),
                    "drawn" if index in self.drawing.drawn else "",
                )
            )
        worth = [score.expected_wrong_area_mm2 for score in scores]
        if not any(part.known.update for _, part in self._parts):
            worth = expected_gain(worth, self.drawing.drawn)
        order = sorted(range(len(scores)), key=lambda n: (scores[n].reason != "", -worth[n], n))
        ranked = [replace(scores[n], rank=rank) for rank, n in enumerate(order, 1)]
        return tuple(sorted(ranked, key=lambda score: score.index))

    def _volumes(self, labels: np.ndarray, sums: Mapping[int, np.ndarray]) -> tuple[StructureVolume, ...]:
        voxel = geometry.voxel_volume(self.image) / 1000
        volumes = []
        for structure in self.structures:
            volume = int(np.count_nonzero(labels == structure.value)) * voxel
            difference, _, expected = (float(n) for n in sums[structure.value] * voxel)
            low, high = volume_interval(volume, difference, self.calibration.volume_scale)
            volumes.append(StructureVolume(structure.value, structure.name, volume, expected, low, high))
        return tuple(volumes)


def _entropy(probability: np.ndarray) -> np.ndarray:
    """Of a choice between the label and everything else, nats."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return -(p * np.log(p) + (1 - p) * np.log1p(-p)).astype(np.float32)
