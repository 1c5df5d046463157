"""What goes into a run and what comes out of it: frozen data classes, without torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import SimpleITK as sitk

from .errors import InputError


@dataclass(frozen=True)
class Options:
    """How to run. Every field has a default that suits a first run.

    samples: how many of the gates' posterior, 1 to 1000; 1 is a single pass with the gates at their mean.
    seed: same seed, same device, same result.
    device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1" or "mps".
    slice_axis: "auto", or the image's own axis "i", "j" or "k" along which the slices are stacked.
    region: corners (low, high) of a box in patient space, LPS millimetres, to which the run is limited; None for all.
    keep_probabilities: also return the mean probability of every class.
    test_time_augmentation: samples everywhere, and over every orientation that the model was taught: slower, for
      poor images. Samples are taken from one orientation after the other, one of each at least.
    """

    samples: int = 4
    seed: int = 0
    device: str = "auto"
    slice_axis: str = "auto"
    region: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    keep_probabilities: bool = False
    test_time_augmentation: bool = False

    def __post_init__(self):
        if not (isinstance(self.samples, int) and 1 <= self.samples <= 1000):
            raise InputError(f"The number of samples is {self.samples!r}; give a whole number from 1 to 1000.")
        if not (isinstance(self.seed, int) and 0 <= self.seed < 2**63):
            raise InputError(f"The seed is {self.seed!r}; give a whole number from 0 to 2^63 - 1.")
        if self.slice_axis not in ("auto", "i", "j", "k"):
            raise InputError(f"The slice axis is {self.slice_axis!r}; choose auto, i, j or k.")
        if self.region is not None and not _is_box(self.region):
            raise InputError(f"The region is {self.region!r}; give two corners of three numbers each, LPS millimetres.")


def _is_box(region) -> bool:
    try:
        return len(region) == 2 and all(len(c) == 3 and all(math.isfinite(v) for v in c) for c in region)
    except TypeError:
        return False


@dataclass(frozen=True)
class Progress:
    """fraction: 0 to 1. stage: a few words for a user. seconds_left: None while unknown."""

    fraction: float
    stage: str
    seconds_left: float | None = None


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class SliceScore:
    """One slice of the stack, ranked by the area that is expected to be labelled wrong.

    index: along the image's own slice axis, from 0.
    expected_wrong_area_mm2: sum of the error probability times the pixel area; with a model that has learned what
        neighbouring slices tell (``csam.uncertainty.slice_ranking``), its share of the stack's sum by that.
    worst_point: patient coordinates (LPS, mm) of the centre of the spot with the highest mean error probability.
    rank: 1 is the slice to look at first.
    areas_mm2: area of each structure in this slice, in the order of ``Result.structures``.
    reason: in a few words what puts it before others, or nothing.
    """

    index: int
    expected_wrong_area_mm2: float
    worst_point: tuple[float, float, float]
    rank: int
    areas_mm2: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class StructureVolume:
    """Volume of one structure in millilitres.

    volume_ml: of the segmentation itself. low_ml, high_ml: the calibrated 90 % interval around it. mean_ml: of the
    samples.
    """

    value: int
    name: str
    volume_ml: float
    mean_ml: float
    low_ml: float
    high_ml: float


WHOLE, REGION, SLICES = "whole", "region", "slices"
"""What of the image a result is of: all of it, a box, or some of its slices."""

NOT_OF_A_CASE = {
    REGION: " inside the region (not comparable with that of whole scans)",
    SLICES: " in these slices (not comparable with that of whole scans)",
}


@dataclass(frozen=True)
class Result:
    """Everything a run gives. All images lie on the input's own grid.

    labels: label image, unsigned integer, 0 is background.
    error_probability: of the voxel's label, float32, 0 to 1, calibrated on validation data.
    entropy, mutual_information: in nats, float32.
    probabilities: vector image, float32, one component a class (background first), or None.
    slice_axis: the image axis (0, 1, 2 for i, j, k) along which the slices are stacked.
    slices: one score a slice, in the order of the axis.
    structures: one entry a structure, in the order of the model's labels.
    case_quality: the Dice that the probabilities expect, 0 to 1, calibrated: what tells a poor case.
        The mean over the structures: one that is not found counts 1 where it is probable nowhere, else 0. Of an empty
        result it says nothing.
        Of a part of the image it is the Dice inside that part, which tells nothing of the case: there is nothing like
        it among the validation scans.
    case_rank: share of the validation scans with a lower one, 0 to 1; None for a model without calibration, for an
        empty result, and for a part of the image.
    warnings: sentences about what does not fit the model.
    provenance: model, options, versions, device, seconds.
    extent: "whole", "region" or "slices": what of the image was segmented. A region that holds the image is the whole.
    """

    labels: sitk.Image
    error_probability: sitk.Image
    entropy: sitk.Image
    mutual_information: sitk.Image
    probabilities: sitk.Image | None
    slice_axis: int
    slices: tuple[SliceScore, ...]
    structures: tuple[StructureVolume, ...]
    case_quality: float
    warnings: tuple[str, ...] = ()
    provenance: Mapping = field(default_factory=dict)
    case_rank: float | None = None
    extent: str = WHOLE

    @property
    def is_empty(self) -> bool:
        """Whether no structure was found at all: the case quality then says nothing."""
        return not any(structure.volume_ml for structure in self.structures)

    @property
    def expected_dice(self) -> str:
        """The case quality in words; of a part of the image, that it is no more than that."""
        if self.is_empty:
            return "unknown, because nothing was found"
        return f"{self.case_quality:.2f}{NOT_OF_A_CASE.get(self.extent, '')}"

    def ranked_slices(self) -> list[SliceScore]:
        """The slices, the one to look at first in front."""
        return sorted(self.slices, key=lambda score: score.rank)
