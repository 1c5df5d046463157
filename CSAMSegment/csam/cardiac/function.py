"""Ventricular function from the volumes at end diastole (ED) and end systole (ES), each figure with its interval.

Formulas: Schulz-Menger et al., Standardized image interpretation and post-processing in cardiovascular magnetic
resonance, 2020 update, J Cardiovasc Magn Reson 2020;22:19. Papillary muscles and trabeculae count as cavity, as in the
contours that the shipped models learned from; a convention that leaves them out has smaller volumes and a larger mass.

**Intervals.** The errors of one patient's two volumes go together: a border set further out is so in both. An
interval of their ratio put together from the ends of both intervals is far too wide. So the interval of EF and SV is
conformal by itself: the ``factor`` on a prior half-width that held the true figure of 9 in 10 patients of the
calibration (Lei et al., J Am Stat Assoc 2018;113:1094, section 2.2 and 5.2: locally weighted residuals).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError
from ..result import StructureVolume

DENSITY = 1.05
"""Of myocardium, g/ml (Schulz-Menger 2020)."""
EDV, ESV, SV, EF, MASS = "EDV", "ESV", "SV", "EF", "mass"
WORDS = {
    EDV: "End-diastolic volume (EDV)",
    ESV: "End-systolic volume (ESV)",
    SV: "Stroke volume (SV)",
    EF: "Ejection fraction (EF)",
    MASS: "Myocardial mass at ED",
}


@dataclass(frozen=True)
class Figure:
    """A number with its 90 % interval. value, low, high: None where they are not known.

    name: short, as in tables of figures. words: for a user. unit: "ml", "%", "g", "ml/m²" ...
    """

    name: str
    words: str
    unit: str
    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """As "54.2 % (50.1 to 58.3)".

        >>> Figure("EF", "Ejection fraction", "%", 54.21, 50.1, 58.33).text
        '54.2 % (50.1 to 58.3)'
        """
        if self.value is None:
            return "not known"
        digits = 1 if abs(self.value) >= 1 else 2
        low, high = ("unknown" if one is None else f"{one:.{digits}f}" for one in (self.low, self.high))
        inside = "no interval" if self.low is None else f"{low} to {high}"
        return f"{self.value:.{digits}f} {self.unit} ({inside})"


def stroke_volume(edv: float, esv: float) -> float:
    """EDV - ESV, ml."""
    return edv - esv


def ejection_fraction(edv: float, esv: float) -> float:
    """(EDV - ESV) / EDV, a share. Raises InputError where EDV is not above 0."""
    if not edv > 0:
        raise InputError(f"The end-diastolic volume is {edv:g} ml: there is no ejection fraction.")
    return (edv - esv) / edv


def myocardial_mass(volume_ml: float) -> float:
    """Grams of so many millilitres of myocardium."""
    return DENSITY * volume_ml


def body_surface_area(height_cm: float, weight_kg: float) -> float:
    """m², √(height × weight / 3600). Mosteller, N Engl J Med 1987;317:1098.

    Raises InputError for what no human measures: a height in metres, a weight in grams.
    """
    if not 30 <= height_cm <= 260:
        raise InputError(f"The height is {height_cm:g}; give centimetres, from 30 to 260.")
    if not 1 <= weight_kg <= 400:
        raise InputError(f"The weight is {weight_kg:g}; give kilograms, from 1 to 400.")
    return math.sqrt(height_cm * weight_kg / 3600)


def prior_half_width(name: str, ed: StructureVolume, es: StructureVolume) -> float:
    """What a factor makes the half-width of the interval of SV (ml) or EF (a share) of.

    Of EF: the half-widths of both volumes, against EDV. Of SV: SV itself; its error goes with its size, and hardly
    with these half-widths (measured by cross-validation on 29 patients, Resources/docs/cardiac-function.md).
    """
    if name == SV:
        return abs(stroke_volume(ed.volume_ml, es.volume_ml))
    return math.hypot(*(one.high_ml - one.volume_ml for one in (ed, es))) / ed.volume_ml


def ventricular_function(
    ed: StructureVolume,
    es: StructureVolume,
    myocardium: StructureVolume | None = None,
    factors: Mapping[str, float] | None = None,
    surface: float | None = None,
) -> tuple[Figure, ...]:
    """EDV, ESV, SV, EF, and with a myocardium (at end diastole) its mass.

    ed, es: the cavity at end diastole and end systole; the intervals of their volumes are those of EDV and ESV.
    factors: of the calibration, by "EF" and "SV"; without one, that figure has no interval. surface: of the body, m²;
    given, EDV, ESV, SV and mass follow once more by it.
    """
    factors = factors or {}
    stroke = stroke_volume(ed.volume_ml, es.volume_ml)
    found = [
        Figure(EDV, WORDS[EDV], "ml", ed.volume_ml, ed.low_ml, ed.high_ml),
        Figure(ESV, WORDS[ESV], "ml", es.volume_ml, es.low_ml, es.high_ml),
        Figure(SV, WORDS[SV], "ml", stroke, *_around(stroke, SV, ed, es, factors, math.inf)),
    ]
    if ed.volume_ml > 0:
        fraction = ejection_fraction(ed.volume_ml, es.volume_ml)
        low, high = _around(fraction, EF, ed, es, factors, 1.0)
        percent = (None if one is None else 100 * one for one in (fraction, low, high))
        found.append(Figure(EF, WORDS[EF], "%", *percent))
    else:
        found.append(Figure(EF, WORDS[EF], "%", None))
    if myocardium is not None:
        ends = (myocardium.volume_ml, myocardium.low_ml, myocardium.high_ml)
        found.append(Figure(MASS, WORDS[MASS], "g", *map(myocardial_mass, ends)))
    if surface is not None:
        found += [_by_surface(one, surface) for one in found if one.name != EF]
    return tuple(found)


def _around(value: float, name: str, ed, es, factors: Mapping[str, float], highest: float):
    if name not in factors or not ed.volume_ml > 0:
        return None, None
    half = factors[name] * prior_half_width(name, ed, es)
    return max(0.0, value - half), min(highest, value + half)


def _by_surface(figure: Figure, surface: float) -> Figure:
    numbers = (None if one is None else one / surface for one in (figure.value, figure.low, figure.high))
    words = f"{figure.name[0].upper()}{figure.name[1:]} per body surface area"  # short: a panel's table is narrow
    return Figure(f"{figure.name}/BSA", words, f"{figure.unit}/m²", *numbers)
