"""Cardiac function: end diastole and end systole are found whatever one frame does, and figures are what they say."""

import numpy as np
import pytest

from csam.cardiac import (
    body_surface_area,
    curve_of,
    myocardial_mass,
    order,
    ventricular_function,
)
from csam.cardiac.curve import LIMIT, _told_by_neighbours
from csam.errors import InputError
from csam.phantom.beat import contraction_at
from csam.result import StructureVolume


def beat(frames: int, fraction: float, start: float = 0.0, edv: float = 140.0) -> np.ndarray:
    return edv * np.array([1 - fraction * contraction_at(start + n / frames) for n in range(frames)])


def volume(ml: float, low: float, high: float) -> StructureVolume:
    return StructureVolume(1, "Cavity", ml, ml, low, high)


@pytest.mark.parametrize("frames", [12, 20, 31])
@pytest.mark.parametrize("start", [0.0, 0.4])
def test_end_diastole_and_end_systole_are_found_wherever_the_series_begins(frames, start):
    volumes = beat(frames, 0.6, start)
    curve = curve_of(volumes)
    assert volumes[curve.end_diastole] >= 0.985 * volumes.max()
    assert volumes[curve.end_systole] <= 1.02 * volumes.min()
    assert curve.implausible == ()
    assert curve.cyclic


@pytest.mark.parametrize("frames", [*range(6, 20), 25, 30])
def test_smoothing_costs_less_than_a_point_of_ejection_fraction(frames):
    for start in np.linspace(0, 1 / frames, 12, endpoint=False):
        volumes = beat(frames, 0.5, start)
        curve = curve_of(volumes)
        found, known = volumes[[curve.end_diastole, curve.end_systole]], (volumes.max(), volumes.min())
        assert abs(found[1] / found[0] - known[1] / known[0]) < 0.01


@pytest.mark.parametrize("frames", range(12, 41))
def test_no_frame_of_a_whole_beat_is_implausible(frames):
    for fraction in (0.2, 0.5, 0.7):
        for start in np.linspace(0, 1 / frames, 5):
            volumes = beat(frames, fraction, start)
            assert np.abs(volumes - _told_by_neighbours(volumes, True)).max() < LIMIT * volumes.max()
            assert curve_of(volumes).implausible == ()


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.4])
def test_a_frame_that_jumps_is_implausible_and_is_neither_phase(factor):
    for frame in range(25):
        volumes = beat(25, 0.5)
        volumes[frame] *= factor
        curve = curve_of(volumes)
        assert curve.implausible == (frame,)
        assert frame not in (curve.end_diastole, curve.end_systole)
        assert abs(curve.volumes_ml[curve.end_diastole] - 140) < 3
        assert abs(curve.volumes_ml[curve.end_systole] - 70) < 3


@pytest.mark.parametrize("frames", [2, 3, 6, 20])
def test_a_frame_in_which_nothing_was_found_is_no_end_systole(frames):
    volumes = np.append(beat(frames, 0.5), 0)
    curve = curve_of(volumes)
    assert curve.implausible == (frames,)
    assert curve.volumes_ml[curve.end_systole] == volumes[:-1].min()
    assert curve_of(volumes, trusted=[frames]).end_systole == frames


def test_many_empty_frames_are_all_implausible():
    volumes = beat(12, 0.5)
    volumes[3:6] = 0
    assert curve_of(volumes).implausible == (3, 4, 5)


def test_a_frame_that_was_corrected_is_believed():
    volumes = beat(20, 0.5)
    volumes[0] = 190
    assert curve_of(volumes).implausible == (0,)
    curve = curve_of(volumes, trusted=[0])
    assert (curve.end_diastole, curve.implausible) == (0, ())


def test_frames_beside_one_that_jumps_are_not_implausible_for_it():
    volumes = beat(20, 0.5)
    volumes[7] = 250
    assert curve_of(volumes).implausible == (7,)


def test_a_series_that_ends_in_mid_beat_is_no_circle():
    volumes = beat(40, 0.6)[:16]  # to end systole
    curve = curve_of(volumes)
    assert not curve.cyclic
    assert (curve.end_diastole, curve.implausible) == (0, ())
    assert volumes[curve.end_systole] == volumes.min()


def test_noise_alone_makes_no_jump_and_where_all_jump_nobody_is_singled_out():
    rng = np.random.default_rng(0)
    implausible = [len(curve_of(beat(25, 0.5) * np.exp(rng.normal(0, 0.025, 25))).implausible) for _ in range(200)]
    assert sum(implausible) <= 5
    assert curve_of(np.where(np.arange(20) % 2, 10.0, 120.0)).implausible == ()


def test_two_frames_are_a_curve_and_worse_input_is_refused():
    curve = curve_of([60, 130])
    assert (curve.end_diastole, curve.end_systole, curve.implausible) == (1, 0, ())
    for volumes in ([100], [], [100, float("nan")], [100, -1], [0, 0, 0]):
        with pytest.raises(InputError):
            curve_of(volumes)


def test_the_order_holds_every_frame_once_the_first_and_that_at_a_third_in_front():
    for count in range(1, 60):
        found = order(count)
        assert sorted(found) == [*range(count)]
        assert found[:2] == (0, round(count / 3)) or count < 3


def test_the_figures_are_those_of_the_formulas():
    ed, es, muscle = volume(150, 140, 160), volume(60, 54, 66), StructureVolume(2, "Myocardium", 100, 100, 90, 110)
    found = {f.name: f for f in ventricular_function(ed, es, muscle, {"EF": 0.5, "SV": 0.2}, surface=2.0)}
    assert (found["EDV"].value, found["EDV"].low, found["EDV"].high) == (150, 140, 160)
    assert found["SV"].value == 90
    assert (found["SV"].low, found["SV"].high) == pytest.approx((72, 108))
    half = 50 * np.hypot(10, 6) / 150
    assert (found["EF"].value, found["EF"].low, found["EF"].high) == pytest.approx((60, 60 - half, 60 + half))
    assert (found["mass"].value, found["mass"].low, found["mass"].high) == pytest.approx((105, 94.5, 115.5))
    assert found["EDV/BSA"].value == 75
    assert found["EDV/BSA"].unit == "ml/m²"
    assert "EF/BSA" not in found


def test_without_a_calibration_stroke_volume_and_fraction_have_no_interval():
    found = {f.name: f for f in ventricular_function(volume(150, 140, 160), volume(60, 54, 66))}
    assert found["EF"].low is None
    assert found["EF"].text == "60.0 % (no interval)"
    nothing = {f.name: f for f in ventricular_function(volume(0, 0, 5), volume(0, 0, 5), factors={"EF": 1.0})}
    assert nothing["EF"].text == "not known"


def test_intervals_stay_where_figures_can_be():
    found = ventricular_function(volume(100, 10, 190), volume(5, 0, 60), factors={"EF": 5.0, "SV": 5.0})
    figures = {f.name: f for f in found}
    assert (figures["EF"].low, figures["EF"].high) == (0, 100)
    assert figures["SV"].low == 0


def test_body_surface_and_mass():
    assert body_surface_area(180, 80) == pytest.approx(2.0)
    assert myocardial_mass(100) == pytest.approx(105)
    for height, weight in ((1.8, 80), (180, 80000)):
        with pytest.raises(InputError):
            body_surface_area(height, weight)
