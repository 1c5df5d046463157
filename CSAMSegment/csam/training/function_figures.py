"""Ventricular function against the truth: the factors of its intervals, and how far EDV, ESV, SV and EF are off.

A patient counts whose cavity is known in two scans or more: the one with the largest true volume is end diastole, that
with the smallest end systole. The factors are conformal, on the residual of the figure itself, not of its two volumes
(``csam.cardiac.function``).

Step: calibrate, evaluate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..cardiac import ejection_fraction, prior_half_width, stroke_volume, ventricular_function
from ..cardiac.function import EDV, EF, ESV, SV
from ..model import Measure
from ..model.description import VENTRICULAR_FUNCTION
from ..result import StructureVolume
from . import measures
from .evaluate import CaseMeasures

UNITS = {EDV: ("EDV, ml", 1.0), ESV: ("ESV, ml", 1.0), SV: ("SV, ml", 1.0), EF: ("EF, points", 100.0)}
"""As the card names them, and what a figure is multiplied with for that."""


@dataclass(frozen=True)
class Beat:
    """One patient: the cavity as found at both phases, the true volumes (ml), and the factors of the calibration."""

    patient: str
    ed: StructureVolume
    es: StructureVolume
    true_edv: float
    true_esv: float
    factors: Mapping[str, float]

    @property
    def true(self) -> dict[str, float]:
        return _figures(self.true_edv, self.true_esv)

    @property
    def found(self) -> dict[str, float]:
        return _figures(self.ed.volume_ml, self.es.volume_ml)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of the figures that have one, EF as a share."""
        known = ventricular_function(self.ed, self.es, factors=self.factors)
        return {
            one.name: tuple(end / (100 if one.name == EF else 1) for end in (one.low, one.high))
            for one in known
            if one.low is not None
        }


def beats(cases: Sequence[CaseMeasures], values: Sequence[int], offered: Sequence[Measure]) -> list[Beat]:
    """The patients of the cases, where the model offers ventricular function. values: of the cases' structures.

    Left out is who has no cavity at end diastole, true or found: there is nothing to divide by.
    """
    cavity = next((one.structures["cavity"] for one in offered if one.kind == VENTRICULAR_FUNCTION), None)
    if cavity is None:
        return []
    place, scans = [*values].index(cavity), defaultdict(list)
    for case in cases:
        if case.truth_ml[place] is not None:
            scans[case.patient].append(case)
    found = []
    for patient, of in scans.items():
        ed, es = (choose(of, key=lambda case: case.truth_ml[place]) for choose in (max, min))
        if ed is not es and ed.truth_ml[place] > 0 and ed.volume_ml[place] > 0:
            volumes = (_volume(case, place, cavity) for case in (ed, es))
            found.append(Beat(patient, *volumes, ed.truth_ml[place], es.truth_ml[place], ed.figure_scale))
    return found


def factors(found: Sequence[Beat]) -> dict[str, float]:
    """By figure, the factor on its prior half-width that covers the truth of ``measures.NOMINAL`` of the patients.

    The intervals of the volumes are those of the calibration that the factors belong to.
    """
    if not found:
        return {}
    return {
        name: measures.conformal_factor(
            [measures.needed_factor(b.found[name] - b.true[name], prior_half_width(name, b.ed, b.es)) for b in found]
        )
        for name in (EF, SV)
    }


def summary(found: Sequence[Beat]) -> dict:
    """Figures over all patients by name, for ``csam.model.card``; nothing without patients.

    Guessing gives everybody the mean of the others: what an error is worth is told beside it.
    """
    if not found:
        return {}
    true, seen = ({n: np.array([getattr(b, part)[n] for b in found]) for n in UNITS} for part in ("true", "found"))
    covered, widths = defaultdict(list), defaultdict(list)
    for beat in found:
        for name, (low, high) in beat.intervals.items():
            covered[name].append(low <= beat.true[name] <= high)
            widths[name].append(high - low)

    def by_name(of, scaled: bool = True) -> dict[str, float]:
        values = {name: of(name) for name in UNITS}
        return {
            words: round(float(values[name]) * (factor if scaled else 1), 3)
            for name, (words, factor) in UNITS.items()
            if values[name] is not None
        }

    return {
        "function_patients": len(found),
        "function_error": by_name(lambda name: np.abs(seen[name] - true[name]).mean()),
        "function_bias": by_name(lambda name: (seen[name] - true[name]).mean()),
        "function_error_of_guessing": by_name(lambda name: _guessing(true[name])),
        "function_interval_coverage": by_name(lambda name: measures.mean(covered[name]), scaled=False),
        "function_interval_width": by_name(lambda name: np.median(widths[name]) if widths[name] else None),
    }


def _figures(edv: float, esv: float) -> dict[str, float]:
    return {EDV: edv, ESV: esv, SV: stroke_volume(edv, esv), EF: ejection_fraction(edv, esv)}


def _volume(case: CaseMeasures, place: int, value: int) -> StructureVolume:
    low, mean, high = case.intervals_ml[place]
    return StructureVolume(value, "cavity", case.volume_ml[place], mean, low, high)


def _guessing(true: np.ndarray) -> float | None:
    """The mean error of guessing that somebody is as the mean of the others."""
    count = len(true)
    return np.abs(true - (true.sum() - true) / (count - 1)).mean() if count > 1 else None
