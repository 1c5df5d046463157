"""The field's measures of a segmentation and of its error probabilities: one small pure function each, with its source.

Masks are boolean arrays. ``error_probability`` is that of every voxel's label, ``wrong`` whether it is wrong; both
are taken in a region around structure and prediction, for background flatters every measure. A measure that is not
defined for its input (no structure, no error, no spread) is None and takes no part in a mean.

Step: evaluate.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

BINS = 15
FEWEST_VOXELS = 50
NOMINAL = 0.9
"""What an interval promises to hold."""
SMALLEST_CHANCE = 1e-6
"""The negative log-likelihood takes no stated chance to be nearer to 0 or 1: one voxel would decide it."""


def dice(first: np.ndarray, second: np.ndarray) -> float | None:
    """2|A∩B| / (|A|+|B|); None when both are empty."""
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else None


def hausdorff_95(first: np.ndarray, second: np.ndarray, spacing: Sequence[float]) -> float | None:
    """95th percentile of the distances between the surfaces, in mm, the larger of both directions (MONAI).

    spacing: mm, in the order of the arrays' axes. None when both are empty; the image's diagonal, which no distance
    exceeds, when one of them is. A single slice is measured in its plane. At both ends of a stack all of the end slice
    counts as surface, as in MONAI and medpy: the fewer the slices, the more it flatters.
    """
    if not first.any() and not second.any():
        return None
    if not first.any() or not second.any():
        return float(np.linalg.norm(np.multiply(first.shape, spacing)))
    if first.ndim == 3 and 1 in first.shape:
        flat = first.shape.index(1)
        first, second, spacing = first.squeeze(flat), second.squeeze(flat), np.delete(spacing, flat)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from monai.metrics import compute_hausdorff_distance

        one, two = (torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (first, second))
        return float(compute_hausdorff_distance(one, two, include_background=True, percentile=95, spacing=[*spacing]))


def best_shift(truth: np.ndarray, found: np.ndarray) -> tuple[tuple[int, ...], int]:
    """The whole steps along every axis by which the truth, moved, overlaps most with what was found; and their overlap.

    Of shifts that overlap alike the shortest comes out; none where either is empty. Cross-correlation by Fourier
    transform (SciPy), over the box that holds both masks.
    """
    from scipy.signal import correlate, correlation_lags

    if not truth.any() or not found.any():
        return (0,) * truth.ndim, 0
    box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(truth | found))
    overlap = np.rint(correlate(found[box].astype(np.float32), truth[box].astype(np.float32), method="fft"))
    lags = np.meshgrid(*(correlation_lags(n, n) for n in truth[box].shape), indexing="ij")
    length = np.where(overlap == overlap.max(), np.square(lags).sum(0), np.inf)
    best = np.unravel_index(length.argmin(), length.shape)
    return tuple(int(lag[best]) for lag in lags), int(overlap[best])


def relative_volume_difference(truth: float | None, found: float) -> float | None:
    """(found - truth) / truth; None without a true volume."""
    return (found - truth) / truth if truth else None


def calibration_error(error_probability: np.ndarray, wrong: np.ndarray) -> float:
    """Expected calibration error, ECE, in BINS bins of equal width (Naeini et al. 2015)."""
    return _calibration_gap(error_probability, wrong, np.minimum((error_probability * BINS).astype(int), BINS - 1))


def adaptive_calibration_error(error_probability: np.ndarray, wrong: np.ndarray) -> float:
    """Adaptive calibration error, ACE, in BINS bins of equally many voxels (Nixon et al. 2019, arXiv 1904.01685)."""
    bins = np.empty(len(error_probability), int)
    bins[np.argsort(error_probability, kind="stable")] = (
        np.arange(len(error_probability)) * BINS // max(1, len(error_probability))
    )
    return _calibration_gap(error_probability, wrong, bins)


def _calibration_gap(error_probability: np.ndarray, wrong: np.ndarray, bins: np.ndarray) -> float:
    """Σ_b n_b/n |mean error probability - share wrong|: the sums over a bin differ by n_b times that."""
    gap = np.abs(np.bincount(bins, error_probability, BINS) - np.bincount(bins, wrong, BINS))
    return float(gap.sum() / max(1, len(error_probability)))


def reliability(error_probability: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean error probability, share wrong and count of every bin of ``calibration_error`` that holds a voxel."""
    bins = np.minimum((error_probability * BINS).astype(int), BINS - 1)
    count, stated, observed = (np.bincount(bins, weights, BINS) for weights in (None, error_probability, wrong))
    filled = count > 0
    return stated[filled] / count[filled], observed[filled] / count[filled], count[filled]


def enough(count: np.ndarray) -> np.ndarray:
    """Which bins hold so many voxels that their mean says something: FEWEST_VOXELS, or as many as the fullest."""
    return count >= min(FEWEST_VOXELS, count.max(initial=0))


def brier_score(error_probability: np.ndarray, wrong: np.ndarray) -> float | None:
    """Mean squared difference between the stated chance and what happened (Brier 1950)."""
    return float(np.mean((error_probability - wrong) ** 2)) if len(error_probability) else None


def log_loss(error_probability: np.ndarray, wrong: np.ndarray) -> float | None:
    """Mean negative log-likelihood of what happened, in nats."""
    if not len(error_probability):
        return None
    chance = np.clip(np.asarray(error_probability, np.float64), SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
    return float(-np.mean(np.log(np.where(wrong, chance, 1 - chance))))


def error_auroc(error_probability: np.ndarray, wrong: np.ndarray) -> float | None:
    """Area under the ROC curve of "this voxel is wrong" (scikit-learn); None unless some are wrong and some right."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(wrong, error_probability)) if 0 < np.count_nonzero(wrong) < len(wrong) else None


def error_aupr(error_probability: np.ndarray, wrong: np.ndarray) -> float | None:
    """Average precision of "this voxel is wrong" (scikit-learn); chance level is the share of wrong voxels."""
    from sklearn.metrics import average_precision_score

    return (
        float(average_precision_score(wrong, error_probability)) if 0 < np.count_nonzero(wrong) < len(wrong) else None
    )


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's correlation (SciPy); None for fewer than three values, or where one of them does not vary."""
    from scipy.stats import spearmanr

    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(spearmanr(first, second).statistic)


def risk_coverage(quality: Sequence[float], risk: Sequence[float]) -> np.ndarray:
    """Mean risk of the 1, 2, ... n cases of the highest quality (Geifman & El-Yaniv 2017, arXiv 1705.08500).

    Cases of equal quality come in no order: each counts with the mean of their risks.
    """
    _, group = np.unique(-np.asarray(quality, np.float64), return_inverse=True)
    shared = (np.bincount(group, risk) / np.bincount(group))[np.sort(group)]
    return np.cumsum(shared) / np.arange(1, len(shared) + 1)


def area_under_risk_coverage(quality: Sequence[float], risk: Sequence[float]) -> float | None:
    """AURC: the mean of the risk-coverage curve. The smaller, the better the worst cases are told."""
    return float(risk_coverage(quality, risk).mean()) if len(risk) else None


def worst_is_among_first(scores: Sequence[float], wrong_area: Sequence[float], first: int) -> bool | None:
    """Whether a slice with the largest wrong area is among the ``first`` with the highest scores.

    Of equal scores the earlier slice comes first, as in a result's ranking. None when nothing is wrong.
    """
    wrong_area = np.asarray(wrong_area)
    if not wrong_area.any():
        return None
    chosen = np.argsort(-np.asarray(scores, np.float64), kind="stable")[:first]
    return bool(wrong_area[chosen].max() == wrong_area.max())


def generalised_energy_distance(samples: np.ndarray, truth: np.ndarray, classes: int) -> float:
    """2 E d(s, y) - E d(s, s'), d = 1 - mean Dice of the structures (Kohl et al. 2018, arXiv 1806.05034).

    samples: labels (n, ...). truth: labels (...). A structure that neither has counts as agreed. The mean over s, s'
    takes in all n² pairs, as published.
    """
    flat, right = samples.reshape(len(samples), -1), truth.reshape(1, -1)

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        agreement = []
        for value in range(1, classes):
            one, two = ((labels == value).astype(np.float32) for labels in (first, second))
            total = one.sum(1)[:, None] + two.sum(1)[None]
            agreement.append(np.where(total > 0, 2 * (one @ two.T) / np.maximum(total, 1), 1).mean())
        return 1 - float(np.mean(agreement))

    return 2 * distance(flat, right) - distance(flat, flat)


def filtered_score(
    truth: np.ndarray, found: np.ndarray, error_probability: np.ndarray, steps: int = 100
) -> float | None:
    """The QU-BraTS score of one structure, 0 to 1 (Mehta et al. 2022, arXiv 2112.10074).

    Voxels whose error probability exceeds a threshold are set aside; over all thresholds from 0 to 1: (area under Dice
    of the rest + 1 - area under the share of true positives set aside + 1 - the same of true negatives) / 3. It rewards
    high error probabilities where the label is wrong and low ones where it is right. None when truth and prediction are
    empty.
    """
    from scipy.integrate import trapezoid

    if not truth.any() and not found.any():
        return None
    level = np.minimum(np.ceil(np.asarray(error_probability, np.float64) * steps).astype(int), steps)

    def kept(mask: np.ndarray) -> np.ndarray:
        """Voxels of the mask at or below each threshold."""
        return np.cumsum(np.bincount(level[mask], minlength=steps + 1))

    true_positives, true_negatives = kept(truth & found), kept(~truth & ~found)
    errors = kept(truth != found)
    overlap = np.where(errors > 0, 2 * true_positives / np.maximum(2 * true_positives + errors, 1), 1.0)
    set_aside = [(n[-1] - n) / max(1, n[-1]) for n in (true_positives, true_negatives)]
    areas = [float(trapezoid(curve, dx=1 / steps)) for curve in (overlap, *set_aside)]
    return (areas[0] + 1 - areas[1] + 1 - areas[2]) / 3


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of those values that are defined."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def needed_factor(error: float, half_width: float) -> float:
    """What a half-width has to be multiplied with to reach over an error; infinite for one of 0."""
    return abs(error) / half_width if half_width > 0 else np.inf


def conformal_factor(needed: Sequence[float]) -> float:
    """The factor that covers NOMINAL of those needed, and as many of new ones (split conformal); 1 where none is."""
    if not len(needed):
        return 1.0
    rank = min(len(needed), int(np.ceil((len(needed) + 1) * NOMINAL)))
    found = float(np.sort(needed)[rank - 1])
    return round(found, 4) if np.isfinite(found) else 1.0
