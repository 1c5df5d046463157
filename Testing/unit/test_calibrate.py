"""Calibration: the map rises from zero to what was observed, intervals cover what they promise."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from unit import small

from csam.errors import InputError
from csam.model import Calibration, Model
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.calibrate import (
    apply,
    assessment_note,
    calibrate,
    calibrate_on,
    calibrated,
    cross_fitted,
    dice_scale,
    error_map,
    few_for_intervals,
    fit,
    volume_scale,
)
from csam.training.dataset import Case, read_dataset
from csam.training.evaluate import CaseMeasures, Voxels, measure
from csam.training.measures import calibration_error
from csam.uncertainty.measures import calibrated_error_probability


def case(patient="p", truth=(50.0,), interval=((48.0, 50.0, 52.0),), error_probability=(0.1, 0.4), wrong=(False, True)):
    return CaseMeasures(
        name=f"{patient}_1",
        patient=patient,
        dice=(0.9,),
        hausdorff_mm=(3.0,),
        truth_ml=tuple(truth),
        volume_ml=tuple(mean for _, mean, _ in interval),
        intervals_ml=tuple(interval),
        case_quality=0.9,
        slice_scores=(3.0, 2.0),
        slice_wrong_mm2=(3.0, 2.0),
        pixel_mm2=2.0,
        empty_slices_wrong=0,
        empty_slices=0,
        voxels=voxels(error_probability, wrong),
    )


def voxels(error_probability, wrong):
    """All in the region and in slice 0; the truth is background."""
    nothing = np.zeros(len(error_probability), np.uint8)
    labels = np.asarray(wrong, bool).astype(np.uint8)
    return Voxels(
        np.asarray(error_probability, np.float32), nothing, labels, nothing, np.ones(len(error_probability), bool)
    )


def overconfident(count=40_000, seed=0, factor=0.5):
    """Voxels whose label is wrong ``factor`` times as often as they say."""
    rng = np.random.default_rng(seed)
    error_probability = rng.uniform(0, 0.6, count)
    return error_probability, rng.random(count) < factor * error_probability


def test_the_map_gives_the_observed_error():
    found = error_map(*overconfident())
    stated, observed = np.array(found).T
    for error_probability in (0.1, 0.3, 0.5):
        assert np.interp(error_probability, stated, observed) == pytest.approx(0.5 * error_probability, abs=0.03)
    assert found[0] == (0.0, 0.0)
    assert found[-1] == (1.0, 1.0)
    assert len(found) < 40


@settings(max_examples=60)
@given(
    error_probability=arrays(np.float32, st.shared(st.integers(1, 60), key="n"), elements=st.floats(0, 0.75, width=32)),
    wrong=arrays(bool, st.shared(st.integers(1, 60), key="n")),
)
def test_the_map_always_rises_from_zero_and_suits_a_model(error_probability, wrong):
    found = error_map(error_probability, wrong)
    stated, observed = np.array(found).T
    assert (np.diff(stated) > 0).all()
    assert (np.diff(observed) >= 0).all()
    assert found[0] == (0.0, 0.0)
    assert stated[-1] == 1
    assert 0 <= observed.min() <= observed.max() <= 1
    small.model(MODEL_NETWORK, calibration=Calibration(found)).check()


MODEL_NETWORK = small.network()


def test_calibrating_makes_the_stated_chance_true():
    error_probability, wrong = overconfident(seed=1)
    other = error_map(*overconfident(seed=2))
    assert (
        calibration_error(calibrated_error_probability(1 - error_probability, other), wrong)
        < 0.02
        < calibration_error(error_probability, wrong)
    )


def scattered(count, seed=0, error=5.0):
    """Cases whose intervals reach 2 ml to either side and whose truth lies around with another spread."""
    rng = np.random.default_rng(seed)
    truths = 50 + error * rng.standard_normal(count)
    return [case(f"p{n}", truth=(truth,)) for n, truth in enumerate(truths)]


def coverage(cases):
    return np.mean([low <= c.truth_ml[0] <= high for c in cases for low, _, high in c.intervals_ml])


def test_the_scaled_intervals_cover_nine_of_ten_truths_of_their_own_cases_and_of_others():
    cases = scattered(200)
    calibration = Calibration(volume_scale={1: volume_scale(cases, 0)})
    assert 0.89 <= coverage([apply(c, calibration, [1]) for c in cases]) <= 0.93
    assert 0.85 <= coverage([apply(c, calibration, [1]) for c in scattered(400, seed=1)]) <= 0.95
    assert coverage(cases) < 0.5


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_with_few_cases_the_scale_covers_all_of_them(count):
    cases = scattered(count, seed=3)
    scale = volume_scale(cases, 0)
    assert coverage([apply(c, Calibration(volume_scale={1: scale * 1.001}), [1]) for c in cases]) == 1


def test_intervals_that_were_too_wide_shrink():
    assert volume_scale(scattered(100, error=0.1), 0) < 0.5


def test_without_a_case_that_shows_the_structure_the_scale_is_one():
    assert volume_scale([case(truth=(0.0,), interval=((0.0, 0.0, 0.0),))], 0) == 1
    assert volume_scale([case(truth=(5.0,), interval=((0.0, 0.0, 0.0),))], 0) == 1


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_applying_a_calibration_afterwards_is_running_the_calibrated_model(tmp_path, scale):
    """What training measures of the calibrated model is what a user gets."""
    plain = small.model()
    calibration = Calibration(((0.0, 0.0), (0.3, 0.1), (1.0, 0.9)), {1: scale, 2: scale})
    image = small.image()
    truth = small.image(seed=5, dtype=np.uint8) > 120
    one = Case("a", "a", (), tmp_path)
    options = Options(samples=6)
    before = measure(one, truth, segment(image, plain, options), [1, 2])
    after = measure(one, truth, segment(image, replace(plain, calibration=calibration), options), [1, 2])
    found = apply(before, calibration, [1, 2])
    np.testing.assert_allclose(found.error_probability, after.error_probability, atol=1e-6)
    np.testing.assert_allclose(found.intervals_ml, after.intervals_ml, rtol=1e-6)
    np.testing.assert_allclose(found.slice_scores, after.slice_scores, rtol=1e-3)


def test_no_case_is_measured_with_what_it_taught():
    """One patient of four is odd: her own calibration would know it, that of the other half does not."""
    error_probability, wrong = overconfident(4000, seed=4, factor=0.2)
    cases = [case(f"p{n}", error_probability=error_probability, wrong=wrong) for n in range(4)]
    odd = replace(cases[0], voxels=voxels(error_probability, np.ones_like(wrong)))
    found = {c.patient: c for c in cross_fitted([odd, *cases[1:]], [1])}
    assert found["p0"].error_probability.mean() < 0.15  # assessed by p1 and p3, which were right
    assert found["p1"].error_probability.mean() > 0.3  # assessed by p0 and p2, of which one was wrong everywhere
    assert len(found) == 4


def test_halves_assessed_apart_keep_the_order_of_their_scans():
    """One half is far poorer than it expects: a factor for each half would put the poor scans first."""
    cases = [
        replace(case(f"p{n}"), case_quality=0.95 - 0.01 * n, dice=(0.9 - 0.05 * n - 0.2 * (n % 2),)) for n in range(4)
    ]
    before = sorted(cases, key=lambda one: one.case_quality)
    after = sorted(cross_fitted(cases, [1]), key=lambda one: one.case_quality)
    assert [one.patient for one in after] == [one.patient for one in before]


def test_scans_of_one_patient_stay_in_one_half():
    seen = []
    cases = [replace(case(patient), name=f"{patient}_{n}") for patient in ("a", "b", "c") for n in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "csam.training.calibrate.fit",
            lambda cases, values, offered: seen.append({c.patient for c in cases}) or Calibration(),
        )
        assert len(cross_fitted(cases, [1])) == 6
    assert seen == [{"b"}, {"a", "c"}]


def test_a_single_patient_is_left_as_measured_and_not_assessed():
    only = case("p")
    assert cross_fitted([only], [1]) == [replace(only, assessed=False)]


def test_a_model_calibrated_on_one_patient_says_that_its_error_probabilities_were_not_assessed(tmp_path):
    data = read_dataset(small.dataset(tmp_path / "data", patients=1))
    model = calibrate(small.model(), data.cases, tmp_path, log=lambda text: None)
    assert "one patient: not assessed" in model.metrics["note"]
    assert "half" not in model.metrics["note"]
    assert model.metrics["before_calibration"]["roi_calibration_error"] > 0
    assert model.metrics["validation"]["roi_calibration_error"] is None
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "one patient: not assessed" in card
    (line,) = [line for line in card.splitlines() if "ROI-ECE" in line]
    assert line.split(" | ")[2] == "-"
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["after_calibration"]["interval_coverage"] is None
    assert written["cases"]["p00_0"]["case_quality"] is None


def test_the_model_is_saved_before_its_figures_are_drawn(tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("no place left")

    monkeypatch.setattr("csam.training.figures.draw", fails)
    data = read_dataset(small.dataset(tmp_path / "data", patients=1))
    with pytest.raises(OSError, match="no place left"):
        calibrate(small.model(), data.cases, tmp_path, log=lambda text: None)
    assert Model.load(tmp_path / "model").metrics


def test_a_fit_holds_a_map_and_a_scale_for_every_structure():
    two = case(truth=(50.0, 20.0), interval=((48, 50, 52), (19, 20, 21)))
    found = fit([two, two], [1, 2])
    assert set(found.volume_scale) == {1, 2}
    assert found.error_map[0] == (0.0, 0.0)


def test_the_error_map_does_not_jump_where_a_single_voxel_is_wrong():
    rng = np.random.default_rng(0)
    error_probability = rng.uniform(0, 0.5, 20_000)
    wrong = rng.random(20_000) < error_probability
    error_probability[-1], wrong[-1] = 0.5, True
    pairs = error_map(error_probability, wrong)
    assert all(abs(observed - stated) < 0.05 for stated, observed in pairs[:-1])


def test_voxels_below_the_limit_are_not_expected_to_be_wrong():
    error_probability = np.concatenate([np.full(1000, 1e-4), np.full(1000, 0.3)])
    wrong = np.concatenate([np.arange(1000) < 20, np.arange(1000) < 300])
    (first, *_rest) = error_map(error_probability, wrong)
    assert first == (0.0, 0.0)
    assert np.interp(1e-5, *np.transpose(error_map(error_probability, wrong))) < 1e-4


def assessed(cases, **provenance):
    """The cases after calibration by a model that halves every error probability, and the words on it."""
    calibration = Calibration(((0.0, 0.0), (1.0, 0.5)))
    net = small.network(num_classes=2)
    model = small.model(net, calibration=calibration, provenance=provenance)
    return calibrated(cases, model), assessment_note(cases, model)


def test_patients_whom_the_model_has_not_seen_are_assessed_by_its_own_calibration():
    found, said = assessed([case("a"), case("b")])
    assert all(c.error_probability == pytest.approx([0.05, 0.2]) for c in found)
    assert "has not seen" in said


def test_patients_who_calibrated_the_model_are_assessed_by_each_other():
    error_probability, wrong = overconfident(2000, factor=0.9)
    cases = [case(name, error_probability=error_probability, wrong=wrong) for name in ("a", "b", "stranger")]
    found, said = assessed(cases, validation_patients=["a", "b"], training_patients=["c"])
    crossed = cross_fitted(cases[:2], [1])
    np.testing.assert_array_equal(found[0].error_probability, crossed[0].error_probability)
    np.testing.assert_allclose(found[2].error_probability, 0.5 * cases[2].error_probability, atol=1e-6)
    assert [c.name for c in found] == [c.name for c in cases]
    assert "2 of the 3 patients calibrated the model" in said


def test_a_single_patient_of_those_who_calibrated_the_model_is_not_assessed():
    found, said = assessed([case("a"), case("stranger")], validation_patients=["a", "b"])
    assert [c.assessed for c in found] == [False, True]
    assert "1 of the 2 patients calibrated the model: after calibration, one patient: not assessed." in said


def test_patients_are_known_by_the_models_own_reading_of_a_cases_name():
    cases = [replace(case(name), name=f"{name}_1", patient=f"other name of {name}") for name in "abc"]
    plan = {"patient_pattern": "(.*)_."}
    found, said = assessed(cases, plan=plan, training_patients=["a"], validation_patients=["b", "c"])
    assert "1 of the 3 patients were trained on" in said
    assert "2 of the 3 patients calibrated the model" in said
    np.testing.assert_array_equal(found[1].error_probability, cross_fitted(cases[1:], [1])[0].error_probability)


def test_a_renamed_copy_of_the_training_data_does_not_calibrate_the_model(tmp_path):
    provenance = {"training_patients": ["a"], "plan": {"patient_pattern": "(.*)_."}}
    model = small.model(MODEL_NETWORK, provenance=provenance)
    with pytest.raises(InputError, match="was trained on a_1,"):
        calibrate_on(model, None, [Case("a_1", "a_1", (), tmp_path)], tmp_path)


def test_patients_who_were_trained_on_are_told():
    assert "1 of the 2 patients were trained on" in assessed([case("a"), case("b")], training_patients=["b"])[1]


def test_a_model_is_not_calibrated_on_patients_it_was_trained_on(tmp_path):
    model = small.model(MODEL_NETWORK, provenance={"training_patients": ["a"]})
    with pytest.raises(InputError, match="was trained on a,"):
        calibrate_on(model, None, [Case("a_1", "a", (), tmp_path)], tmp_path)


def test_a_case_quality_is_scaled_until_it_is_the_dice_on_average():
    cases = [replace(case(), dice=(dice,), case_quality=quality) for dice, quality in ((0.9, 0.96), (0.7, 0.94))]
    assert dice_scale(cases) == 4
    assert dice_scale([replace(case(), dice=(1.0,), case_quality=1.0)]) == 1
    found = fit(cases, [1])
    assert [apply(one, found, [1]).case_quality for one in cases] == pytest.approx([0.84, 0.76])
    assert found.case_quality == (0.76, 0.84)


@pytest.mark.parametrize(("scans", "said"), [(1, "1 scan with structures cover 50%"), (8, "8 scans with"), (9, "")])
def test_intervals_of_few_scans_promise_less(scans, said):
    found = few_for_intervals([case("abcdefghi"[number]) for number in range(scans)])
    assert said in found
    assert bool(found) == bool(said)


def test_patients_who_selected_the_weights_are_assessed_by_a_calibration_that_others_taught():
    cases = [case("a"), case("b")]
    found, said = assessed(cases, validation_patients=["a", "b"], calibration_patients=["x", "y"])
    assert said == "2 of the 2 patients were used to select its weights, or to train a model that it started from."
    expected, _ = assessed(cases, validation_patients=["x", "y"])
    assert [one.case_quality for one in found] == [one.case_quality for one in expected]
