"""Ventricular function against the truth: factors for ratios and differences, and what the card says of them."""

from dataclasses import replace

import numpy as np
import pytest
from unit import small
from unit.test_calibrate import case

from csam.model import Calibration, Measure
from csam.model.card import rows
from csam.training.calibrate import apply, cross_fitted, few_for_function, fit, summary
from csam.training.function_figures import beats, factors

OFFERED = (Measure("ventricular function", {"cavity": 1}),)
MODEL = small.model(small.network(num_classes=2), measures=OFFERED)


def scan(patient: str, true: float, found: float, half: float | None = None):
    half = 0.1 * found if half is None else half
    one = case(patient, (true,), ((max(0.0, found - half), found, found + half),))
    return replace(one, name=f"{patient}_{true:.0f}")


def hearts(count: int = 40, shared: float = 0.1, own: float = 0.02, seed: int = 0):
    """Both volumes of a patient are off by much together, and by little each."""
    rng, found = np.random.default_rng(seed), []
    for n in range(count):
        edv = rng.uniform(90, 220)
        both = rng.normal(0, shared)
        for true in (edv, edv * rng.uniform(0.3, 0.7)):
            found.append(scan(f"p{n:02d}", true, true * np.exp(both + rng.normal(0, own))))
    return found


def test_end_diastole_is_the_larger_true_volume_whatever_was_found():
    [one] = beats([scan("a", 60, 90), scan("a", 120, 80)], [1], OFFERED)
    assert (one.true_edv, one.true_esv, one.ed.volume_ml, one.es.volume_ml) == (120, 60, 80, 90)


def test_patients_with_one_scan_an_unknown_truth_or_no_cavity_do_not_count():
    unknown = replace(scan("b", 60, 60), truth_ml=(None,))
    cases = [scan("a", 100, 100), scan("b", 120, 120), unknown, scan("c", 90, 0), scan("c", 40, 40)]
    assert beats(cases, [1], OFFERED) == []
    assert beats([scan("a", 60, 60), scan("a", 120, 120)], [1], ()) == []


def test_intervals_of_cross_fitted_patients_cover_what_they_promise_and_are_narrow():
    cases = hearts(100)
    after = cross_fitted(cases, [1], OFFERED)
    figures = summary(after, MODEL)
    coverage, width = figures["function_interval_coverage"], figures["function_interval_width"]
    for name in ("EF, points", "SV, ml"):
        assert 0.85 <= coverage[name] <= 0.95
    ends = [100 * (b.es.high_ml / max(b.ed.low_ml, 1) - b.es.low_ml / b.ed.high_ml) for b in beats(after, [1], OFFERED)]
    assert width["EF, points"] < 0.4 * np.median(ends)


def test_the_factor_belongs_to_the_intervals_of_the_same_calibration():
    cases = hearts()
    found = fit(cases, [1], OFFERED)
    assert found.figure_scale == factors(beats([apply(one, found, [1]) for one in cases], [1], OFFERED))
    assert fit(cases, [1]).figure_scale == {}


def test_figures_tell_error_bias_and_what_guessing_gives():
    cases = [scan("a", 100, 110), scan("a", 50, 55), scan("b", 200, 220), scan("b", 150, 120)]
    figures = summary(cases, MODEL)
    assert figures["function_patients"] == 2
    assert figures["function_error"]["EDV, ml"] == 15
    assert figures["function_bias"]["ESV, ml"] == pytest.approx(-12.5)
    assert figures["function_error"]["EF, points"] == pytest.approx(100 * (0 + (1 - 120 / 220) - 0.25) / 2, abs=1e-3)
    assert figures["function_error_of_guessing"]["EF, points"] == pytest.approx(25)
    assert "EF, points" not in figures["function_interval_coverage"]
    words = [row[0] for row in rows({}, figures)]
    assert "Ventricular function, mean absolute error: EF, points" in words
    assert "function_error" not in summary(cases, replace(MODEL, measures=()))


def test_it_is_said_where_few_patients_teach_the_interval():
    assert "No patient has a scan at both phases" in few_for_function([scan("a", 100, 100)], MODEL)
    assert "4 patients cover 80% of new ones" in few_for_function(hearts(4), MODEL)
    assert few_for_function(hearts(9), MODEL) == ""
    assert few_for_function(hearts(4), replace(MODEL, measures=())) == ""


def test_a_calibration_without_patients_has_no_factors():
    assert Calibration().figure_scale == {}
    assert factors([]) == {}
