"""Figures of a method over scans, from what ``assess`` kept of each; calibrations are cross-fitted by patient."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import numpy as np
from assessment import Assessed
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from csam.training import measures
from csam.training.calibrate import error_map
from csam.uncertainty.measures import calibrated_error_probability

NOMINAL = 0.9


def halves(cases: Sequence[Assessed]) -> list[tuple[list[Assessed], list[Assessed]]]:
    """(fitted on, measured on), both ways round, split by patient."""
    patients = sorted({case.patient for case in cases})
    first = set(patients[::2])
    a, b = ([c for c in cases if (c.patient in first) == inside] for inside in (True, False))
    return [(a, b), (b, a)]


def pooled(cases: Sequence[Assessed], maps: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(maps), np.concatenate([case.wrong for case in cases])


def of(cases: Sequence[Assessed], kind: str) -> list[np.ndarray]:
    return [case.maps[kind] for case in cases]


def by_temperature(stated: np.ndarray, temperature: float) -> np.ndarray:
    """Two classes: the logit of the stated probability divided by the temperature."""
    return expit(logit(np.clip(stated, 1e-6, 1 - 1e-6).astype(np.float64)) / temperature)


def temperature(stated: np.ndarray, wrong: np.ndarray) -> float:
    found = minimize_scalar(
        lambda t: measures.log_loss(by_temperature(stated, np.exp(t)), wrong), (-1.5, 2), bounds=(-2, 3)
    )
    return float(np.exp(found.x))


CALIBRATIONS = {
    "as it is": lambda stated, wrong: lambda new: new,
    "temperature": lambda stated, wrong: partial(by_temperature, temperature=temperature(stated, wrong)),
    "isotonic": lambda stated, wrong: partial(_through, error_map=error_map(stated, wrong)),
}


def _through(stated: np.ndarray, error_map: Sequence) -> np.ndarray:
    return calibrated_error_probability(1 - stated, error_map)


def calibrated(cases: Sequence[Assessed], kind: str, how: str) -> list[np.ndarray]:
    """Every case's map of a kind through the calibration of the other half of the patients."""
    out = {}
    for fitted, measured in halves(cases):
        found = CALIBRATIONS[how](*pooled(fitted, of(fitted, kind)))
        out |= {case.name: found(case.maps[kind]) for case in measured}
    return [out[case.name] for case in cases]


def voxels(cases: Sequence[Assessed]) -> dict:
    """Calibration and error detection of the maps."""
    figures = {}
    for kind, how in (
        *product(("1 - p", "smoothed", "1 - p, breaks"), CALIBRATIONS),
        ("entropy", ""),
        ("mutual information", ""),
    ):
        stated, wrong = pooled(cases, calibrated(cases, kind, how) if how else of(cases, kind))
        row = {"AUROC": measures.error_auroc(stated, wrong), "AUPR": measures.error_aupr(stated, wrong)}
        if how:
            row |= {
                "ECE": measures.calibration_error(stated, wrong),
                "ACE": measures.adaptive_calibration_error(stated, wrong),
                "Brier": measures.brier_score(stated, wrong),
                "NLL": measures.log_loss(stated, wrong),
            }
        figures[f"{kind}, {how}" if how else kind] = row
    return figures


def case_scores(cases: Sequence[Assessed]) -> dict:
    """Spearman with the true Dice (a score that rises with errors: best at -1) and AURC, for every candidate."""
    true = np.array([case.dice for case in cases])
    found = {}
    for name in cases[0].case_scores:
        scores = np.array([case.case_scores[name] for case in cases])
        found[name] = {
            "Spearman": measures.rank_correlation(scores, true),
            "AURC": measures.area_under_risk_coverage(-scores, 1 - true),
            "mean": float(scores.mean()),
            "error of Dice": float(np.abs(1 - scaled(cases, name) - true).mean()),
        }
    found["(perfect order)"] = {"Spearman": -1.0, "AURC": measures.area_under_risk_coverage(true, 1 - true)}
    guess = np.abs(true - np.median(true)).mean()
    found["(no order)"] = {"Spearman": 0.0, "AURC": float(1 - true.mean()), "error of Dice": float(guess)}
    return found


def scaled(cases: Sequence[Assessed], name: str) -> np.ndarray:
    """The score times the factor that makes it 1 - Dice on the other half of the patients."""
    out = {}
    for fitted, measured in halves(cases):
        factor = sum(1 - case.dice for case in fitted) / max(1e-9, sum(case.case_scores[name] for case in fitted))
        out |= {case.name: factor * case.case_scores[name] for case in measured}
    return np.array([out[case.name] for case in cases])


def slice_scores(cases: Sequence[Assessed]) -> dict:
    """How well every candidate orders a scan's slices by their true wrong area."""
    table = {name: [case.slice_scores[name] for case in cases] for name in cases[0].slice_scores}
    for kind in ("1 - p", "smoothed"):
        maps = calibrated(cases, kind, "isotonic")
        table[f"calibrated {kind}"] = [_by_slice(case, stated) for case, stated in zip(cases, maps, strict=True)]
    table["(area of the structure)"] = [_by_slice(case, case.inside.astype(float)) for case in cases]
    table["(ends of the stack first)"] = [np.abs(np.arange(n := len(c.wrong_area)) - (n - 1) / 2) for c in cases]
    wrong = [case.wrong_area for case in cases]
    out = {}
    for name, scores in table.items():
        pairs = list(zip(scores, wrong, strict=True))
        out[name] = {
            "top 1": measures.mean([measures.worst_is_among_first(s, w, 1) for s, w in pairs]),
            "top 3": measures.mean([measures.worst_is_among_first(s, w, 3) for s, w in pairs]),
            "Spearman": measures.mean([measures.rank_correlation(s, w) for s, w in pairs]),
            "found in 3": measures.mean([_share(s, w, 3) for s, w in pairs]),
        }
    out["(chance)"] = {
        "top 1": float(np.mean([1 / len(w) for w in wrong])),
        "top 3": float(np.mean([min(1, 3 / len(w)) for w in wrong])),
        "Spearman": 0.0,
        "found in 3": measures.mean([3 * w.mean() / np.sort(w)[-3:].sum() if w.any() else None for w in wrong]),
    }
    return out


def _by_slice(case: Assessed, values: np.ndarray) -> np.ndarray:
    return np.bincount(case.slices, values, len(case.wrong_area))


def _share(scores: np.ndarray, wrong: np.ndarray, first: int) -> float | None:
    """Share of the wrong area in the slices ranked first, relative to the most that so many slices hold."""
    best = np.sort(wrong)[::-1][:first].sum()
    return float(wrong[np.argsort(-scores, kind="stable")[:first]].sum() / best) if best else None


def interval(samples: np.ndarray, difference: float = 0.0) -> tuple[float, float, float]:
    """Mean and 90 % interval of sampled volumes, ml: their quantiles, and no closer than ``difference``."""
    mean = float(np.mean(samples))
    low, high = np.quantile(samples, [(1 - NOMINAL) / 2, (1 + NOMINAL) / 2])
    return mean, max(0.0, mean - max(mean - low, difference)), mean + max(high - mean, difference)


INTERVALS = {
    "samples and error probability": lambda c: interval(c.sampled_ml, c.difference_ml),
    "samples": lambda c: interval(c.sampled_ml),
    "error probability around volume": lambda c: (
        c.found_ml,
        c.found_ml - c.difference_ml,
        c.found_ml + c.difference_ml,
    ),
    "share of the volume": lambda c: (c.found_ml, 0.9 * c.found_ml, 1.1 * c.found_ml),
}


def volume_intervals(cases: Sequence[Assessed]) -> dict:
    """Coverage and median relative width of 90 % intervals, scaled on the other half (split conformal)."""
    out = {}
    for name, make in INTERVALS.items():
        covered, widths, scores = [], [], []
        for fitted, measured in halves(cases):
            needed = []
            for c in fitted:
                middle, low, high = make(c)
                half = high - middle if c.truth_ml > middle else middle - low
                needed.append(abs(c.truth_ml - middle) / half if half > 0 else np.inf)
            rank = min(len(needed), int(np.ceil((len(needed) + 1) * NOMINAL)))
            scale = np.sort(needed)[rank - 1]
            scale = scale if np.isfinite(scale) else 1.0
            for c in measured:
                middle, low, high = make(c)
                low, high = max(0, middle - scale * (middle - low)), middle + scale * (high - middle)
                low, high = min(low, c.found_ml), max(high, c.found_ml)
                covered.append(low <= c.truth_ml <= high)
                widths.append((high - low) / c.truth_ml)
                outside = max(low - c.truth_ml, c.truth_ml - high, 0)
                scores.append((high - low + 2 / (1 - NOMINAL) * outside) / c.truth_ml)
        out[name] = {
            "coverage": np.mean(covered),
            "median width": np.median(widths),
            "mean width": np.mean(widths),
            "interval score": np.mean(scores),
        }
    return out
