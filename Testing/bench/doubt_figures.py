"""Figures of a method over scans, from what ``doubts.judge`` kept of each; calibrations are cross-fitted by patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from doubts import Judged
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from csam import measures
from csam.calibrate import error_map
from csam.uncertainty import error_probability, interval

NOMINAL = 0.9


def halves(cases: Sequence[Judged]) -> list[tuple[list[Judged], list[Judged]]]:
    """(fitted on, measured on), both ways round, split by patient."""
    patients = sorted({case.patient for case in cases})
    first = set(patients[::2])
    a, b = ([c for c in cases if (c.patient in first) == inside] for inside in (True, False))
    return [(a, b), (b, a)]


def pooled(cases: Sequence[Judged], doubts: Sequence[np.ndarray] | None = None) -> tuple[np.ndarray, np.ndarray]:
    doubts = [case.doubt["1 - p"] for case in cases] if doubts is None else doubts
    return np.concatenate(doubts), np.concatenate([case.wrong for case in cases])


def by_temperature(doubt: np.ndarray, temperature: float) -> np.ndarray:
    """Two classes: the logit of the doubt divided by the temperature."""
    return expit(logit(np.clip(doubt, 1e-6, 1 - 1e-6).astype(np.float64)) / temperature)


def temperature(doubt: np.ndarray, wrong: np.ndarray) -> float:
    found = minimize_scalar(
        lambda t: measures.log_loss(by_temperature(doubt, np.exp(t)), wrong), (-1.5, 2), bounds=(-2, 3)
    )
    return float(np.exp(found.x))


def calibrated(cases: Sequence[Judged], how: str) -> list[tuple[Judged, np.ndarray]]:
    """Every case with its doubt through the calibration of the other half of the patients."""
    out = []
    for fitted, measured in halves(cases):
        if how == "isotonic":
            found = error_map(*pooled(fitted))
            out += [(c, error_probability(1 - c.doubt["1 - p"], found)) for c in measured]
        elif how == "temperature":
            t = temperature(*pooled(fitted))
            out += [(c, by_temperature(c.doubt["1 - p"], t)) for c in measured]
        else:
            out += [(c, c.doubt["1 - p"]) for c in measured]
    return out


def voxels(cases: Sequence[Judged]) -> dict:
    """Calibration and error detection of the voxels' doubt."""
    figures = {}
    for how in ("raw", "temperature", "isotonic"):
        pairs = calibrated(cases, how)
        doubt, wrong = pooled([c for c, _ in pairs], [d for _, d in pairs])
        figures[how] = {
            "ECE": measures.calibration_error(doubt, wrong),
            "ACE": measures.adaptive_calibration_error(doubt, wrong),
            "Brier": measures.brier_score(doubt, wrong),
            "NLL": measures.log_loss(doubt, wrong),
            "AUROC": measures.error_auroc(doubt, wrong),
            "AUPR": measures.error_aupr(doubt, wrong),
        }
    for kind in ("entropy", "mutual information"):
        doubt, wrong = pooled(cases, [c.doubt[kind] for c in cases])
        figures[kind] = {"AUROC": measures.error_auroc(doubt, wrong), "AUPR": measures.error_aupr(doubt, wrong)}
    return figures


def case_scores(cases: Sequence[Judged]) -> dict:
    """Spearman with the true Dice (a good score of doubt: -1) and AURC, for every candidate score."""
    names = list(cases[0].case_scores)
    table = {name: [c.case_scores[name] for c in cases] for name in names}
    pairs = calibrated(cases, "isotonic")
    order = {(c.name): 1 - _dice_from(c, d) for c, d in pairs}
    table["1 - calibrated expected Dice"] = [order[c.name] for c in cases]
    true = np.array([c.dice for c in cases])
    found = {
        name: {
            "Spearman": measures.rank_correlation(scores, true),
            "AURC": measures.area_under_risk_coverage(-np.array(scores), 1 - true),
            "mean": float(np.mean(scores)),
        }
        for name, scores in table.items()
    }
    found["(perfect order)"] = {"Spearman": -1.0, "AURC": measures.area_under_risk_coverage(true, 1 - true)}
    found["(no order)"] = {"Spearman": 0.0, "AURC": float(1 - true.mean())}
    predicted = 1 - np.array(table["1 - calibrated expected Dice"])
    found["1 - calibrated expected Dice"]["mean absolute error of Dice"] = float(np.abs(predicted - true).mean())
    return found


def _dice_from(case: Judged, doubt: np.ndarray) -> float:
    """The Dice to expect if the doubt is right: 2 TP / (2 TP + FP + FN)."""
    false_positive, found = doubt[case.inside].sum(), case.inside.sum()
    true = found - false_positive
    return float(2 * true / max(1e-9, found + true + doubt[~case.inside].sum()))


def slice_scores(cases: Sequence[Judged]) -> dict:
    """How well every candidate orders a scan's slices by their true wrong area."""
    table = {name: {c.name: c.slice_scores[name] for c in cases} for name in cases[0].slice_scores}
    table["calibrated expected wrong area"] = {
        c.name: np.bincount(c.slices, d, len(c.wrong_area)) for c, d in calibrated(cases, "isotonic")
    }
    table["(area of the structure)"] = {
        c.name: np.bincount(c.slices, c.inside.astype(float), len(c.wrong_area)) for c in cases
    }
    table["(chance)"] = None
    out = {}
    for name, scores in table.items():
        if scores is None:
            slices = np.array([len(c.wrong_area) for c in cases])
            out[name] = {"top 1": float((1 / slices).mean()), "top 3": float((3 / slices).mean()), "Spearman": 0.0}
            continue
        out[name] = {
            **{
                f"top {n}": measures.mean(
                    [measures.worst_is_among_first(scores[c.name], c.wrong_area, n) for c in cases]
                )
                for n in (1, 3)
            },
            "Spearman": measures.mean([measures.rank_correlation(scores[c.name], c.wrong_area) for c in cases]),
            "found in 3": measures.mean([_share(scores[c.name], c.wrong_area, 3) for c in cases]),
        }
    return out


def _share(scores: np.ndarray, wrong: np.ndarray, first: int) -> float | None:
    """Share of the wrong area in the slices ranked first, relative to the most that so many slices hold."""
    best = np.sort(wrong)[::-1][:first].sum()
    return float(wrong[np.argsort(-scores, kind="stable")[:first]].sum() / best) if best else None


INTERVALS = {
    "samples and doubt": lambda c: interval(c.sampled_ml, c.difference_ml),
    "samples": lambda c: interval(c.sampled_ml),
    "doubt around volume": lambda c: (c.found_ml, c.found_ml - c.difference_ml, c.found_ml + c.difference_ml),
    "√doubt around volume": lambda c: (
        c.found_ml,
        c.found_ml - np.sqrt(c.difference_ml * 1),
        c.found_ml + np.sqrt(c.difference_ml),
    ),
    "share of the volume": lambda c: (c.found_ml, 0.9 * c.found_ml, 1.1 * c.found_ml),
}


def volume_intervals(cases: Sequence[Judged]) -> dict:
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
