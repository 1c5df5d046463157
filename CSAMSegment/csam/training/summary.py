"""Figures of a data set from the figures of its cases.

Step: evaluate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import measures
from .evaluate import CaseMeasures


def summarise(cases: Sequence[CaseMeasures], names: Sequence[str]) -> dict:
    """Figures over all cases, by name; ``csam.model.card`` has the words. Of uncertainty: of assessed cases."""

    def by_structure(measure: str) -> dict[str, float | None]:
        return {n: _round(measures.mean([getattr(case, measure)[i] for case in cases])) for i, n in enumerate(names)}

    means = [case.mean_dice for case in cases]
    shown = [case for case in cases if case.dice != (None,) * len(names)] or cases  # an empty scan has no Dice
    assessed = [case for case in cases if case.assessed]
    whole = sum(case.whole for case in cases)
    of_uncertainty = _summary_of_uncertainty(assessed or cases)
    return {
        "cases": len(cases),
        "patients": len({case.patient for case in cases}),
        "cases_known_whole": None if whole == len(cases) else whole,
        "dice": by_structure("dice"),
        "dice_mean": _round(np.mean([case.mean_dice for case in shown])),
        "dice_lowest": _round(np.min(means)),
        "hausdorff_95_mm": by_structure("hausdorff_mm"),
        "relative_volume_difference": by_structure("relative_volume_difference"),
        "empty_slices": int(sum(case.empty_slices for case in cases)),
        "empty_slices_with_structure": int(sum(case.empty_slices_wrong for case in cases)),
        **(of_uncertainty if assessed else dict.fromkeys(of_uncertainty)),
        "energy_distance": _round(measures.mean([case.energy_distance for case in cases])),
    }


def _summary_of_uncertainty(cases: Sequence[CaseMeasures]) -> dict:
    """The figures of uncertainty, which pool the regions' voxels.

    The case quality is good when high: its Spearman correlation with Dice is best at 1, and the area under the
    risk-coverage curve (risk 1 - Dice) lies between that of the perfect order and that of none.
    """
    figures = [case.figures for case in cases]
    error_probability, wrong = (
        np.concatenate([getattr(case, part) for case in cases]) for part in ("error_probability", "wrong")
    )
    volumes = [
        (true, low, high)
        for case in cases
        for true, (low, _, high) in zip(case.truth_ml, case.intervals_ml, strict=True)
        if true
    ]
    whole = [case for case in cases if case.whole]
    means, qualities = [case.mean_dice for case in whole], [case.case_quality for case in whole]
    risks = 1 - np.array(means)
    widths = [(high - low) / true for true, low, high in volumes]
    return {
        "roi_calibration_error": _round(measures.calibration_error(error_probability, wrong)),
        "roi_adaptive_calibration_error": _round(measures.adaptive_calibration_error(error_probability, wrong)),
        "roi_brier_score": _round(measures.brier_score(error_probability, wrong)),
        "roi_log_loss": _round(measures.log_loss(error_probability, wrong)),
        "roi_share_wrong": _round(wrong.mean()) if len(wrong) else None,
        "voxel_error_auroc": _round(measures.error_auroc(error_probability, wrong)),
        "voxel_error_aupr": _round(measures.error_aupr(error_probability, wrong)),
        "qu_brats_score": _round(measures.mean([f["qu_brats_score"] for f in figures])),
        "case_quality_spearman": _round(measures.rank_correlation(qualities, means)),
        "case_quality_aurc": _round(measures.area_under_risk_coverage(qualities, risks)),
        "aurc_of_perfect_order": _round(measures.area_under_risk_coverage(means, risks)),
        "aurc_of_no_order": _round(risks.mean()) if whole else None,
        "worst_slice_first": _round(measures.mean([f["worst_slice_first"] for f in figures])),
        "worst_slice_in_first_three": _round(measures.mean([f["worst_slice_in_first_three"] for f in figures])),
        "slice_spearman": _round(measures.mean([f["slice_spearman"] for f in figures])),
        "interval_coverage": _round(measures.mean([low <= true <= high for true, low, high in volumes])),
        "interval_relative_width": _round(np.median(widths)) if widths else None,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
