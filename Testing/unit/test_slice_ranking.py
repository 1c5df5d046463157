"""Which slices are probably wrong: the facts of neighbouring slices, and what is learned from them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from unit import small

from csam.errors import ModelError
from csam.model import Calibration, Model
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.learn_ranking import FEWEST_PATIENTS, SliceFacts, fit
from csam.uncertainty.slice_ranking import (
    FACTS,
    OF_PICTURES,
    REASONS,
    SliceRisk,
    of_errors,
    of_pictures,
    of_stack,
)

PIXEL = (1.25, 1.25)


@pytest.fixture(scope="module")
def model():
    return small.model()


def tapering(radii=(16, 18, 17, 14, 10, 6), size=96, centre=(48, 48)) -> np.ndarray:
    """A stack of discs (S, H, W), 1 inside."""
    rows, columns = np.indices((size, size))
    return np.stack([((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= r**2) & (r > 0) for r in radii]).astype(
        np.uint8
    )


def picture(truth: np.ndarray, seed: int = 0) -> np.ndarray:
    return 100.0 + 80.0 * truth + np.random.default_rng(seed).normal(0, 5, truth.shape)


def fact(name: str, labels: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    return of_pictures(labels, picture(labels) if image is None else image, PIXEL)[:, OF_PICTURES.index(name)]


def test_a_slice_whose_area_jumps_stands_out():
    assert fact("area_jumps", tapering((16, 18, 8, 14, 10, 6))).argmax() == 2


def test_a_slice_whose_structure_lies_aside_stands_out():
    labels = tapering()
    labels[3] = np.roll(labels[3], 12, axis=1)
    assert fact("place_jumps", labels).argmax() == 3
    assert fact("alone", labels).argmax() == 3


def test_a_structure_that_begins_large_beside_an_empty_slice_ends_abruptly():
    abrupt = fact("ends_abruptly", tapering((0, 18, 17, 14, 10, 3)))
    assert abrupt.argmax() == 1
    assert abrupt[5] == 0  # the stack ends there: nobody sees what comes next


def test_the_slice_beyond_the_found_end_looks_as_if_one_was_missed_where_the_picture_goes_on():
    truth = tapering((16, 18, 17, 14, 12, 11))
    missed = truth.copy()
    missed[5] = 0
    beyond = fact("looks_like_more", missed, picture(truth))
    assert beyond[5] > 0.8
    assert not beyond[:5].any()
    assert fact("looks_like_more", missed, picture(missed))[5] < 0.2  # there the picture has ended too
    assert fact("beyond_an_end", missed)[5] > 0.5


def test_a_picture_unlike_its_neighbours_stands_out():
    labels = tapering()
    image = picture(labels)
    image[2] = np.random.default_rng(1).normal(100, 30, image[2].shape)
    assert fact("picture_differs", labels, image).argmax() == 2


def test_the_facts_turn_with_the_stack():
    labels = tapering((0, 16, 9, 17, 14, 10))
    labels[3] = np.roll(labels[3], 9, axis=1)
    image = picture(tapering((5, 16, 18, 17, 14, 10)))
    facts = of_pictures(labels, image, PIXEL)
    np.testing.assert_allclose(of_pictures(labels[::-1], image[::-1], PIXEL)[::-1], facts, atol=1e-6)
    turned = of_pictures(labels.transpose(0, 2, 1)[:, ::-1], image.transpose(0, 2, 1)[:, ::-1], PIXEL)
    np.testing.assert_allclose(turned, facts, atol=1e-6)


def test_the_facts_know_neither_the_size_of_pixels_nor_the_units_of_the_picture():
    labels = tapering((0, 16, 9, 17, 14, 10))
    image = picture(tapering((5, 16, 18, 17, 14, 10)))
    facts = of_pictures(labels, image, PIXEL)
    np.testing.assert_allclose(of_pictures(labels, 30 * image + 500, PIXEL), facts, atol=1e-3)
    finer = [np.repeat(np.repeat(a, 2, 1), 2, 2) for a in (labels, image)]
    np.testing.assert_allclose(of_pictures(*finer, (0.625, 0.625)), facts, atol=0.12)


@pytest.mark.parametrize("scale", [1e12, 1e35, 1e-25])
def test_pictures_with_huge_or_tiny_values_have_the_same_facts(scale):
    labels = tapering((0, 16, 9, 17, 14, 10))
    image = picture(tapering((5, 16, 18, 17, 14, 10)))
    np.testing.assert_allclose(of_pictures(labels, scale * image, PIXEL), of_pictures(labels, image, PIXEL), atol=1e-3)


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_short_stacks_have_facts_too(slices):
    labels = tapering()[:slices]
    assert np.isfinite(of_pictures(labels, picture(labels), PIXEL)).all()


def test_a_picture_with_values_that_are_not_finite_or_all_alike_has_finite_facts():
    labels = tapering()
    image = picture(labels)
    image[1, 40:60] = np.nan
    image[2] = 7
    assert np.isfinite(of_pictures(labels, image, PIXEL)).all()


def test_where_nothing_was_found_there_are_no_facts():
    labels = np.zeros((4, 32, 32), np.uint8)
    assert not of_stack(labels, np.full(labels.shape, 0.1), picture(labels), PIXEL).any()


def test_error_probabilities_are_told_apart_by_what_was_found():
    error, inside, slices = np.array([0.5, 0.5, 0.1]), np.array([True, False, False]), np.array([0, 0, 2])
    within, without, probably = of_errors(error, inside, slices, 3, largest=10).T
    assert within[0] > within[2] == 0
    assert without[0] > without[2] > without[1] == 0
    assert probably[0] > 0 == probably[2]


def stacks(patients: int, seed: int = 0) -> list[SliceFacts]:
    """Stacks in which the area that jumps is wrong, and nothing else tells."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(patients):
        facts = random.uniform(0, 1, (8, len(FACTS)))
        wrong = 100 * np.exp(3 * facts[:, FACTS.index("area_jumps")]) * random.uniform(0.8, 1.2, 8)
        found.append(SliceFacts(str(number), facts, wrong))
    return found


def test_what_tells_of_errors_is_learned():
    risk = fit(stacks(30))
    weights = {name: weight for name, (weight, _) in risk.facts.items()}
    assert max(weights, key=weights.get) == "area_jumps"
    assert min(weights.values()) > 0
    for stack in stacks(5, seed=1):
        stated = risk.expected(stack.facts, stack.wrong.sum())
        assert stated.argmax() == stack.wrong.argmax()


def test_too_few_patients_teach_nothing():
    assert fit(stacks(FEWEST_PATIENTS - 1)) is None
    assert fit(2 * stacks(FEWEST_PATIENTS - 1)) is None
    assert fit([replace(stack, wrong=0 * stack.wrong) for stack in stacks(30)]) is None


def test_the_expected_wrong_areas_keep_their_sum_and_an_unheard_of_fact_counts_as_the_highest_known():
    risk = SliceRisk({"area_jumps": (2.0, 0.5)})
    facts = np.zeros((4, len(FACTS)))
    facts[:, FACTS.index("area_jumps")] = 0, 0.1, 0.5, 1e6
    areas = risk.expected(facts, 300.0)
    assert areas.sum() == pytest.approx(300)
    assert areas[0] < areas[1] < areas[2] == areas[3]
    assert risk.reasons(facts) == ["", "", REASONS["area_jumps"], REASONS["area_jumps"]]


def test_a_model_keeps_its_slice_risk_and_one_of_before_has_none(model, tmp_path):
    risk = SliceRisk({"area_jumps": (2.0, 0.5), "leaks": (0.25, 0.1)})
    taught = replace(model, calibration=replace(model.calibration, slice_risk=risk))
    taught.save(tmp_path / "taught")
    assert Model.load(tmp_path / "taught").calibration.slice_risk == risk
    path = tmp_path / "taught" / "model.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["calibration"]["slice_risk"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert Model.load(tmp_path / "taught").calibration.slice_risk is None
    values["calibration"]["slice_risk"] = {"facts": {"mood": [1, 1]}}
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match="there is no fact 'mood'"):
        Model.load(tmp_path / "taught")
    values["calibration"]["slice_risk"] = {"facts": {"leaks": [-1, 1]}}
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError, match="leaks"):
        Model.load(tmp_path / "taught")


def test_a_run_ranks_its_slices_by_what_the_model_has_learned_of_neighbours(model):
    image = small.image()
    plain = segment(image, model, Options(samples=2))
    risk = SliceRisk({"area": (5.0, 1.0)})
    taught = replace(model, calibration=replace(model.calibration, slice_risk=risk))
    found = segment(image, taught, Options(samples=2))
    first, areas = found.ranked_slices()[0], [sum(score.areas_mm2) for score in found.slices]
    assert sum(first.areas_mm2) == max(areas)
    rate = np.exp(5 * np.sqrt(np.array(areas) / max(areas)))
    shares = [score.expected_wrong_area_mm2 for score in found.slices]
    np.testing.assert_allclose(np.divide(shares, sum(shares)), rate / rate.sum(), rtol=1e-5)
    before, after = (sum(s.expected_wrong_area_mm2 for s in result.slices) for result in (plain, found))
    assert after == pytest.approx(before)
    assert all(score.reason == "" for score in plain.slices)
    assert sorted(score.rank for score in found.slices) == list(range(1, len(areas) + 1))


def test_slices_that_are_asked_for_alone_keep_what_the_voxels_expect(model):
    taught = replace(model, calibration=Calibration(slice_risk=SliceRisk({"area": (5.0, 1.0)})))
    some = segment(small.image(), taught, Options(samples=2), slices=[2])
    plain = segment(small.image(), model, Options(samples=2), slices=[2])
    assert some.slices[0].expected_wrong_area_mm2 == pytest.approx(plain.slices[0].expected_wrong_area_mm2)
