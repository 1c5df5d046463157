"""How good a model is, and how good its error probabilities: a model run on cases with known truth.

The measures themselves are in ``measures``; here a result is brought together with its truth. ``summary`` makes of the
cases' figures those of a data set.

Of a case that is known in part (``csam.image.unknown``), voxels count where they are known, and slices that are known
whole. It has no volume, surface distance or case quality to measure: these are of all of a structure.
Of a case with structures that nobody has labelled, all of that is measured of the labelled ones; its error
probabilities count where a labelled structure was found, for elsewhere nobody knows what is right.

Step: evaluate.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
import torch

from ..errors import InputError
from ..image import geometry
from ..image.geometry import pixel_area, voxel_volume
from ..image.stack import resize_labels, stack_of
from ..image.unknown import UNKNOWN, structures
from ..model import Model
from ..network.devices import choose_device
from ..pipeline import input_check
from ..pipeline.segment import segment
from ..pipeline.sliding_window import Sampling
from ..result import Options, Result
from ..uncertainty.slice_ranking import CERTAIN, of_pictures
from . import measures
from .dataset import Case

REGION_MM = 10.0
"""Uncertainty is assessed in the union of prediction and truth, dilated by this: background flatters every measure."""
FIRST = 3
"""How many slices a reviewer is expected to look at."""
DISPLACED = (0.2, 0.8)
"""A truth counts as displaced where moving it gains so much Dice, and reaches so much."""


@dataclass(frozen=True)
class Voxels:
    """One entry a voxel of the region, and of those with an error probability elsewhere.

    error_probability: float32. truth, found: labels, the truth UNKNOWN in places. slice: index. region: is it inside,
    and known.
    """

    error_probability: np.ndarray
    truth: np.ndarray
    found: np.ndarray
    slice: np.ndarray
    region: np.ndarray


@dataclass(frozen=True)
class CaseMeasures:
    """One case. Tuples hold one value a structure, None where a measure is not defined; slices count as in the image.

    intervals_ml: low, mean and high of the volume. slice_scores: mm² expected to be wrong; slice_wrong_mm2: what is.
    energy_distance: of the samples, None unless it was asked for and every structure is labelled. moved_mm, moved_dice:
    how far, and to what Dice, the truth can be moved, where that makes a poor Dice a good one (``displacement``); None
    elsewhere. assessed: whether the error probability is one to assess the model by; if not, the figures of
    uncertainty are None. slice_facts: what the slices' labels and pictures show
    (``csam.uncertainty.slice_ranking.of_pictures``), None where no image was given. known_slices: whether each slice is
    known whole, None for a case that is; truth_ml and hausdorff_mm are None in all others, but for the labelled
    structures of a case that lacks others. figure_scale: of the calibration that the case is assessed with.
    """

    name: str
    patient: str
    dice: tuple[float | None, ...]
    hausdorff_mm: tuple[float | None, ...]
    truth_ml: tuple[float | None, ...]
    volume_ml: tuple[float, ...]
    intervals_ml: tuple[tuple[float, float, float], ...]
    case_quality: float
    slice_scores: tuple[float, ...]
    slice_wrong_mm2: tuple[float, ...]
    pixel_mm2: float
    empty_slices: int
    empty_slices_wrong: int
    voxels: Voxels
    energy_distance: float | None = None
    moved_mm: float | None = None
    moved_dice: float | None = None
    assessed: bool = True
    slice_facts: np.ndarray | None = None
    known_slices: tuple[bool, ...] | None = None
    figure_scale: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean_dice(self) -> float:
        found = measures.mean(self.dice)
        return 1.0 if found is None else found

    @property
    def relative_volume_difference(self) -> list[float | None]:
        return list(map(measures.relative_volume_difference, self.truth_ml, self.volume_ml))

    @property
    def whole(self) -> bool:
        """Whether the label of every voxel is known."""
        return self.known_slices is None

    def of_known_slices(self, values: Sequence | np.ndarray) -> np.ndarray:
        """Those of the values, one a slice, whose slice is known whole."""
        return np.asarray(values)[slice(None) if self.known_slices is None else np.array(self.known_slices)]

    @property
    def error_probability(self) -> np.ndarray:
        """Of the voxels of the region."""
        return self.voxels.error_probability[self.voxels.region]

    @property
    def wrong(self) -> np.ndarray:
        """Whether a voxel's label is wrong, of the voxels of the region."""
        return (self.voxels.truth != self.voxels.found)[self.voxels.region]

    @property
    def figures(self) -> dict:
        """Every measure of the case by itself, by name, as JSON has them."""
        known = self.voxels.truth != UNKNOWN
        truth, found, error_probability = (
            part[known] for part in (self.voxels.truth, self.voxels.found, self.voxels.error_probability)
        )
        filtered = [
            measures.filtered_score(truth == value, found == value, error_probability)
            for value, dice in enumerate(self.dice, 1)
            if dice is not None
        ]
        of_slices = [self.of_known_slices(values) for values in (self.slice_scores, self.slice_wrong_mm2)]
        of_uncertainty = {
            "intervals_ml": self.intervals_ml,
            "case_quality": self.case_quality,
            "roi_calibration_error": measures.calibration_error(self.error_probability, self.wrong),
            "voxel_error_auroc": measures.error_auroc(self.error_probability, self.wrong),
            "worst_slice_first": measures.worst_is_among_first(*of_slices, 1),
            "worst_slice_in_first_three": measures.worst_is_among_first(*of_slices, FIRST),
            "slice_spearman": measures.rank_correlation(*of_slices),
            "qu_brats_score": measures.mean(filtered),
        }
        return {
            "patient": self.patient,
            "known_slices": None if self.whole else int(sum(self.known_slices)),
            "dice": self.dice,
            "hausdorff_95_mm": self.hausdorff_mm,
            "relative_volume_difference": self.relative_volume_difference,
            "truth_ml": self.truth_ml,
            "volume_ml": self.volume_ml,
            **(of_uncertainty if self.assessed else dict.fromkeys(of_uncertainty)),
            "energy_distance": self.energy_distance,
            "moved_mm": self.moved_mm,
            "moved_dice": self.moved_dice,
        }

    @property
    def remark(self) -> str:
        """What a user should look into, or nothing."""
        if self.moved_mm is None:
            return ""
        return (
            f"{self.name}: the labels may be shifted. Moved by {self.moved_mm:.0f} mm, they would fit the result with "
            f"a Dice of {self.moved_dice:.2f} for all structures together. Check that they lie on the image."
        )


def measure(
    case: Case,
    truth: sitk.Image,
    result: Result,
    values: Sequence[int],
    samples: np.ndarray | None = None,
    image: sitk.Image | None = None,
) -> CaseMeasures:
    """Compares a result with the truth on the same grid. values: the structures' label values, 1, 2 ...

    samples: sampled labels and the truth on their grid, stacked (n + 1, S, h, w), for the energy distance. image: the
    first channel, for the facts of the slices.
    """
    expected, found = (sitk.GetArrayFromImage(image) for image in (truth, result.labels))
    if expected.shape != found.shape:
        raise InputError(f"{case.name}: the truth has {expected.shape} voxels (k, j, i), the image {found.shape}.")
    spacing = truth.GetSpacing()
    voxel_ml = voxel_volume(truth) / 1000
    labelled = [value for value in values if value not in case.unlabelled]
    along, axes = 2 - result.slice_axis, tuple(2 - a for a in range(3) if a != result.slice_axis)
    pixel_mm2 = pixel_area(truth, result.slice_axis)
    known = expected != UNKNOWN
    complete, of_slices = bool(known.all()), known.all(axis=axes)
    whole = complete and not case.unlabelled
    of_labelled = np.isin(found, labelled)
    structured = structures(expected)
    empty = of_slices & ~structured.any(axis=axes)
    error_probability = sitk.GetArrayViewFromImage(result.error_probability)
    region = region_of_interest(structured | (found > 0), truth)
    counted = region & known & (of_labelled | (not case.unlabelled))
    kept = region | (error_probability > CERTAIN)
    pairs = [(expected == value, known & (found == value)) for value in values]
    there = [value in labelled for value in values]
    slices = (np.moveaxis(mask, along, 0) for mask in (structured, known & of_labelled))
    moved_mm, moved_dice = displacement(*slices, [spacing[2 - a] for a in sorted(axes)])
    return CaseMeasures(
        name=case.name,
        patient=case.patient,
        dice=tuple(measures.dice(*pair) if t else None for pair, t in zip(pairs, there, strict=True)),
        hausdorff_mm=tuple(
            measures.hausdorff_95(*pair, spacing[::-1]) if complete and t else None
            for pair, t in zip(pairs, there, strict=True)
        ),
        truth_ml=tuple(
            float(mask.sum() * voxel_ml) if complete and t else None for (mask, _), t in zip(pairs, there, strict=True)
        ),
        volume_ml=tuple(s.volume_ml for s in result.structures),
        intervals_ml=tuple((s.low_ml, s.mean_ml, s.high_ml) for s in result.structures),
        case_quality=result.case_quality,
        slice_scores=tuple(s.expected_wrong_area_mm2 for s in sorted(result.slices, key=lambda s: s.index)),
        slice_wrong_mm2=tuple((pixel_mm2 * (known & (expected != found)).sum(axis=axes)).tolist()),
        pixel_mm2=pixel_mm2,
        empty_slices=int(empty.sum()),
        empty_slices_wrong=int((empty & of_labelled.any(axis=axes)).sum()),
        voxels=Voxels(
            error_probability[kept].astype(np.float32),
            expected[kept],
            found[kept],
            np.nonzero(kept)[along].astype(np.uint16),
            counted[kept],
        ),
        energy_distance=None
        if samples is None or case.unlabelled
        else measures.generalised_energy_distance(*_known_part(samples), len(values) + 1),
        moved_mm=moved_mm,
        moved_dice=moved_dice,
        slice_facts=None if image is None else _facts(result.labels, image, result.slice_axis),
        known_slices=None if whole else tuple((of_slices & (not case.unlabelled)).tolist()),
    )


def _known_part(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of stacked samples and, last, their truth: the former (n, voxels) and the latter (voxels,) where it is known."""
    known = samples[-1] != UNKNOWN
    return samples[:-1, known], samples[-1][known]


def _facts(labels: sitk.Image, image: sitk.Image, axis: int) -> np.ndarray:
    along, (column, row) = 2 - axis, (a for a in range(3) if a != axis)
    slices = [np.moveaxis(geometry.array_of(some), along, 0) for some in (labels, image)]
    spacing = image.GetSpacing()
    return of_pictures(*slices, (spacing[row], spacing[column]))


def displacement(
    truth: np.ndarray, found: np.ndarray, pixel: Sequence[float]
) -> tuple[float, float] | tuple[None, None]:
    """How far the truth would have to lie elsewhere in its slices, in mm, and the Dice there: where DISPLACED, or None.

    truth, found: (slices, rows, columns), all structures as one. pixel: mm of rows and columns. Slices move each for
    themselves, as labels do that were drawn on another breath-hold or picture; the mean of their ways, by area.
    """
    gain, enough = DISPLACED
    here = measures.dice(truth, found)
    if here is None or here > 1 - gain:
        return None, None
    shifts, overlaps = zip(*map(measures.best_shift, truth, found), strict=True)
    there = 2 * sum(overlaps) / float(truth.sum() + found.sum())
    if there < max(enough, here + gain):
        return None, None
    return float(np.average(np.linalg.norm(np.multiply(shifts, pixel), axis=1), weights=overlaps)), there


def region_of_interest(mask: np.ndarray, image: sitk.Image) -> np.ndarray:
    """The mask (k, j, i) dilated by REGION_MM."""
    radius = [max(1, round(REGION_MM / s)) for s in image.GetSpacing()]
    return sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(mask.astype(np.uint8)), radius)) > 0


def evaluate(
    model: Model,
    cases: Iterable[Case],
    options: Options = Options(),
    log: Callable[[str], None] = print,
    cancelled: Callable[[], bool] | None = None,
    energy_distance: bool = False,
) -> list[CaseMeasures]:
    """Runs the model on every case, a line of the log each, and at the end one for what does not fit the model.

    energy_distance: also measure that, at twice the time.
    """
    values = [label.value for label in model.labels]
    measured, misfits = [], defaultdict(list)  # of sentences that differ in their numbers alone
    for case in cases:
        images, truth = case.read()
        for sentence in input_check.check(images, model, options.slice_axis):
            misfits[re.sub(r"[\d.]+", "", sentence)].append((case.name, sentence))
        result = segment(images, model, options, cancelled=cancelled)
        samples = samples_and_truth(model, images, truth, options) if energy_distance else None
        one = measure(case, truth, result, values, samples, images[0])
        dice = "  ".join("-" if d is None else f"{d:.4f}" for d in one.dice)
        volumes = "  ".join(
            f"{volume:.1f} ml [{low:.1f}, {high:.1f}], true {'unknown' if true is None else f'{true:.1f}'}"
            for true, volume, (low, _, high) in zip(one.truth_ml, one.volume_ml, one.intervals_ml, strict=True)
        )
        log(f"{case.name:24s} Dice {dice}  before calibration: expected {one.case_quality:.3f}, volume {volumes}")
        if one.remark:
            log(one.remark)
        measured.append(one)
    for alike in misfits.values():
        some = ", ".join(name for name, _ in alike[:3]) + " ..." * (len(alike) > 3)
        log(f"Note for {len(alike)} of {len(measured)} scans ({some}), of the first: {alike[0][1]}")
    return measured


def samples_and_truth(model: Model, images: Sequence[sitk.Image], truth: sitk.Image, options: Options) -> np.ndarray:
    """Labels of every sample at the model's spacing, and last the truth there: (samples + 1, S, h, w)."""
    stack = stack_of(images, model.in_plane_spacing, model.intensity, model.slice_axis)
    device, found = choose_device(options.device), []
    orientations = model.orientations if options.test_time_augmentation else model.default_orientations
    for sample in range(options.samples):
        orientation = orientations[sample % len(orientations)]
        run = Sampling(
            model.network(device),
            model.field_of_view,
            device,
            samples=1 if options.samples > 1 else 0,  # as in a run
            seed=options.seed + sample,
            orientations=[orientation],
        )
        found.append(torch.cat([slab.mean_probabilities for slab in run.slabs(stack.values)]).argmax(1))
    labels = stack.orientation.to_stack(sitk.GetArrayFromImage(truth))
    return torch.stack([*found, resize_labels(labels, stack.values.shape[-2:])]).numpy()
