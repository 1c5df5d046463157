"""How good a model is, and how good its doubt: measures on cases with known truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .dataset import Case
from .errors import InputError
from .model import Model
from .result import Options, Result
from .segment import segment

REGION_MM = 10.0
"""Uncertainty is judged in the union of prediction and truth, dilated by this: background flatters every measure."""
BINS = 15


@dataclass(frozen=True)
class CaseMeasures:
    """One case. dice, covered: one value a structure, None where neither truth nor prediction has it.

    doubt, wrong: error probability and actual error (0 or 1) of every voxel of the region.
    top_slice: whether the slice with the largest wrong area is among the three ranked first.
    """

    name: str
    patient: str
    dice: tuple[float | None, ...]
    truth_ml: tuple[float, ...]
    intervals_ml: tuple[tuple[float, float, float], ...]
    case_quality: float
    top_slice: bool
    empty_slices_wrong: int
    empty_slices: int
    doubt: np.ndarray
    wrong: np.ndarray

    @property
    def mean_dice(self) -> float:
        known = [d for d in self.dice if d is not None]
        return float(np.mean(known)) if known else 1.0


def measure(case: Case, truth: sitk.Image, result: Result, values: Sequence[int]) -> CaseMeasures:
    """Compares a result with the truth on the same grid."""
    expected, found = (sitk.GetArrayFromImage(image) for image in (truth, result.labels))
    if expected.shape != found.shape:
        raise InputError(f"{case.name}: the truth has {expected.shape} voxels (k, j, i), the image {found.shape}.")
    voxel_ml = float(np.prod(truth.GetSpacing())) / 1000
    dice = []
    for value in values:
        a, b = expected == value, found == value
        total = int(a.sum()) + int(b.sum())
        dice.append(2 * int((a & b).sum()) / total if total else None)
    wrong = expected != found
    region = region_of_interest((expected > 0) | (found > 0), truth)
    axes = tuple(2 - a for a in range(3) if a != result.slice_axis)
    wrong_area = wrong.sum(axis=axes)
    first = [score.index for score in result.ranked_slices()[:3]]
    empty = ~expected.any(axis=axes)
    return CaseMeasures(
        name=case.name,
        patient=case.patient,
        dice=tuple(dice),
        truth_ml=tuple(float((expected == value).sum() * voxel_ml) for value in values),
        intervals_ml=tuple((s.low_ml, s.mean_ml, s.high_ml) for s in result.structures),
        case_quality=result.case_quality,
        top_slice=bool(wrong_area[first].max() >= wrong_area.max()),
        empty_slices_wrong=int((empty & found.any(axis=axes)).sum()),
        empty_slices=int(empty.sum()),
        doubt=sitk.GetArrayViewFromImage(result.error_probability)[region].astype(np.float32),
        wrong=wrong[region],
    )


def region_of_interest(mask: np.ndarray, image: sitk.Image) -> np.ndarray:
    """The mask (k, j, i) dilated by REGION_MM."""
    radius = [max(1, round(REGION_MM / s)) for s in image.GetSpacing()]
    return sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(mask.astype(np.uint8)), radius)) > 0


def calibration_error(doubt: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error of the error probability, in BINS bins of equal width (Naeini et al. 2015)."""
    bins = np.minimum((doubt * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    gap = np.abs(np.bincount(bins, doubt, BINS) - np.bincount(bins, wrong, BINS))
    return float(gap.sum() / max(1, count.sum()))


def summarise(cases: Sequence[CaseMeasures], names: Sequence[str]) -> dict:
    """Figures over all cases; those of uncertainty pool the voxels of all regions."""
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    dice = {name: [case.dice[i] for case in cases if case.dice[i] is not None] for i, name in enumerate(names)}
    doubt, wrong = (np.concatenate([getattr(case, part) for case in cases]) for part in ("doubt", "wrong"))
    covered = [
        low <= true <= high
        for case in cases
        for true, (low, _, high) in zip(case.truth_ml, case.intervals_ml, strict=True)
        if true > 0
    ]
    widths = [
        (high - low) / true
        for case in cases
        for true, (low, _, high) in zip(case.truth_ml, case.intervals_ml, strict=True)
        if true > 0
    ]
    means, qualities = [case.mean_dice for case in cases], [case.case_quality for case in cases]
    both = 0 < wrong.sum() < len(wrong)
    ranked = len(cases) > 2 and np.ptp(means) > 0 and np.ptp(qualities) > 0
    return {
        "cases": len(cases),
        "patients": len({case.patient for case in cases}),
        "dice": {name: _round(np.mean(known)) if known else None for name, known in dice.items()},
        "dice_mean": _round(np.mean(means)),
        "dice_lowest": _round(np.min(means)),
        "roi_calibration_error": _round(calibration_error(doubt, wrong)),
        "voxel_error_auroc": _round(roc_auc_score(wrong, doubt)) if both else None,
        "case_quality_spearman": _round(spearmanr(qualities, means).statistic) if ranked else None,
        "interval_coverage": _round(np.mean(covered)) if covered else None,
        "interval_relative_width": _round(np.median(widths)) if widths else None,
        "worst_slice_in_first_three": _round(np.mean([case.top_slice for case in cases])),
        "empty_slices": int(sum(case.empty_slices for case in cases)),
        "empty_slices_with_structure": int(sum(case.empty_slices_wrong for case in cases)),
    }


def _round(value: float) -> float:
    return round(float(value), 4)


def evaluate(
    model: Model,
    cases: Iterable[Case],
    options: Options = Options(),
    log: Callable[[str], None] = print,
    cancelled: Callable[[], bool] | None = None,
) -> list[CaseMeasures]:
    """Runs the model on every case, a line of the log each."""
    values = [label.value for label in model.labels]
    measured = []
    for case in cases:
        images, truth = case.read()
        result = segment(images, model, options, cancelled=cancelled)
        one = measure(case, truth, result, values)
        dice = "  ".join("-" if d is None else f"{d:.4f}" for d in one.dice)
        volumes = "  ".join(
            f"{true:.1f} ml in {mean:.1f} [{low:.1f}, {high:.1f}]"
            for true, (low, mean, high) in zip(one.truth_ml, one.intervals_ml, strict=True)
        )
        log(f"{case.name:24s} Dice {dice}  case quality {one.case_quality:.3f}  volume {volumes}")
        measured.append(one)
    return measured


def report(cases: Sequence[CaseMeasures], summary: dict, path: Path | None, log: Callable[[str], None] = print) -> None:
    """Prints the summary; writes it and the cases to a JSON file."""
    log(f"\n{summary['cases']} cases of {summary['patients']} patients")
    for name, value in summary.items():
        if name not in ("cases", "patients"):
            log(f"  {name:30s} {value}")
    if path is not None:
        rows = [{k: v for k, v in asdict(case).items() if k not in ("doubt", "wrong")} for case in cases]
        path.write_text(json.dumps({"summary": summary, "cases": rows}, indent=2, default=float) + "\n")
