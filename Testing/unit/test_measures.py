"""Every measure against a value worked out by hand, or said once more in plain numpy."""

import itertools

import numpy as np
import pytest

from csam.training import measures


def mask(*corners, shape=(4, 12, 12)):
    """A box given by its slices, rows and columns."""
    out = np.zeros(shape, bool)
    out[tuple(slice(*c) for c in corners)] = True
    return out


NOTHING = np.zeros((4, 12, 12), bool)


def test_dice_is_twice_the_overlap_over_the_sum():
    assert measures.dice(mask((0, 2), (0, 2), (0, 2)), mask((0, 2), (1, 3), (0, 2))) == pytest.approx(2 * 4 / 16)
    assert measures.dice(mask((0, 1), (0, 2), (0, 2)), NOTHING) == 0
    assert measures.dice(NOTHING, NOTHING) is None


def test_the_best_shift_is_the_one_that_overlaps_most_and_of_those_the_shortest():
    one = mask((1, 3), (2, 5), (3, 9))
    assert measures.best_shift(one, np.roll(one, (1, 4, -2), (0, 1, 2))) == ((1, 4, -2), 2 * 3 * 6)
    assert measures.best_shift(one, one) == ((0, 0, 0), 2 * 3 * 6)
    inside = mask((1, 3), (2, 5), (5, 7))  # lies in the other wherever it is moved from 3 to 7
    assert measures.best_shift(inside, one) == ((0, 0, 0), 2 * 3 * 2)
    assert measures.best_shift(one, NOTHING) == measures.best_shift(NOTHING, one) == ((0, 0, 0), 0)


def test_the_surface_distance_is_in_millimetres_of_each_axis():
    one = mask((1, 2), (2, 8), (2, 8))
    assert measures.hausdorff_95(one, one, (8, 1, 2)) == 0
    assert measures.hausdorff_95(one, mask((1, 2), (5, 11), (2, 8)), (8, 1, 2)) == pytest.approx(3)
    assert measures.hausdorff_95(one, mask((1, 2), (2, 8), (5, 11)), (8, 1, 2)) == pytest.approx(6)
    assert measures.hausdorff_95(one, mask((2, 3), (2, 8), (2, 8)), (8, 1, 2)) == pytest.approx(8)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_measured_in_its_plane(axis):
    one, two = (np.expand_dims(mask(rows, (4, 34), shape=(40, 40)), axis) for rows in ((2, 32), (6, 36)))
    spacing = np.insert([1.5, 1.0], axis, 8.0)
    assert measures.hausdorff_95(one, two, spacing) == pytest.approx(4 * 1.5)


def test_the_surface_distance_of_nothing_is_defined():
    assert measures.hausdorff_95(NOTHING, NOTHING, (8, 1, 2)) is None
    diagonal = np.sqrt((4 * 8) ** 2 + 12**2 + (12 * 2) ** 2)
    assert measures.hausdorff_95(mask((0, 1), (0, 1), (0, 1)), NOTHING, (8, 1, 2)) == pytest.approx(diagonal)


def test_the_volume_difference_is_positive_where_too_much_was_found():
    assert measures.relative_volume_difference(40, 50) == 0.25
    assert measures.relative_volume_difference(40, 0) == -1
    assert measures.relative_volume_difference(0, 5) is None


ERROR = np.array([0.1, 0.1, 0.1, 0.5, 0.9, 0.9])
WRONG = np.array([0, 0, 1, 1, 1, 0], bool)


def test_the_calibration_error_weighs_the_gap_of_each_bin_by_its_voxels():
    expected = (3 * abs(0.1 - 1 / 3) + 1 * abs(0.5 - 1) + 2 * abs(0.9 - 0.5)) / 6
    assert measures.calibration_error(ERROR, WRONG) == pytest.approx(expected)
    assert measures.calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert measures.calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_the_adaptive_error_has_bins_of_equally_many_voxels():
    rng = np.random.default_rng(0)
    error = rng.random(3000) ** 3
    wrong = rng.random(3000) < 0.4 * error
    parts = np.array_split(np.argsort(error), measures.BINS)
    expected = np.mean([abs(error[p].mean() - wrong[p].mean()) for p in parts])
    assert measures.adaptive_calibration_error(error, wrong) == pytest.approx(expected)
    assert measures.adaptive_calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_the_reliability_diagram_shows_the_bins_that_hold_voxels():
    stated, observed, count = measures.reliability(ERROR, WRONG)
    assert stated == pytest.approx([0.1, 0.5, 0.9])
    assert observed == pytest.approx([1 / 3, 1, 0.5])
    assert count.tolist() == [3, 1, 2]


@pytest.mark.parametrize(
    ("count", "expected"), [([3, 60, 49, 50], [0, 1, 0, 1]), ([3, 7, 7], [0, 1, 1]), ([], [])], ids=str
)
def test_a_bin_of_few_voxels_says_nothing_unless_all_have_few(count, expected):
    assert measures.enough(np.array(count)).tolist() == expected


def test_the_scores_of_the_stated_chance():
    assert measures.brier_score(ERROR, WRONG) == pytest.approx((2 * 0.01 + 0.81 + 0.25 + 0.01 + 0.81) / 6)
    expected = -(2 * np.log(0.9) + np.log(0.1) + np.log(0.5) + np.log(0.9) + np.log(0.1)) / 6
    assert measures.log_loss(ERROR, WRONG) == pytest.approx(expected)
    certain = measures.log_loss(np.zeros(1, np.float32), np.ones(1, bool))
    assert certain == pytest.approx(-np.log(measures.SMALLEST_CHANCE))
    assert measures.brier_score(np.zeros(0), np.zeros(0, bool)) is None
    assert measures.log_loss(np.zeros(0), np.zeros(0, bool)) is None


def test_errors_are_found_when_the_wrong_voxels_have_higher_probabilities_than_the_right_ones():
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(ERROR[WRONG], ERROR[~WRONG])]
    assert measures.error_auroc(ERROR, WRONG) == pytest.approx(np.mean(pairs))
    # Down the thresholds .9, .5, .1 the recall grows by 1/3 each, at a precision of 1/2, 2/3 and 1/2.
    assert measures.error_aupr(ERROR, WRONG) == pytest.approx((1 / 2 + 2 / 3 + 1 / 2) / 3)
    for measure in (measures.error_auroc, measures.error_aupr):
        assert measure(ERROR, np.zeros(6, bool)) is None
        assert measure(ERROR, np.ones(6, bool)) is None


def test_the_rank_correlation_needs_three_values_that_vary():
    assert measures.rank_correlation([1, 2, 30], [5, 6, 7]) == pytest.approx(1)
    assert measures.rank_correlation([1, 2, 30], [5, 6, 1]) == pytest.approx(-0.5)
    assert measures.rank_correlation([1, 2], [5, 6]) is None
    assert measures.rank_correlation([1, 1, 1], [5, 6, 7]) is None


def test_the_risk_falls_when_poor_cases_are_set_aside():
    risk = [0.3, 0.1, 0.2]
    assert measures.risk_coverage([0.5, 0.9, 0.7], risk) == pytest.approx([0.1, 0.15, 0.2])
    assert measures.area_under_risk_coverage([0.5, 0.9, 0.7], risk) == pytest.approx(0.15)
    assert measures.area_under_risk_coverage([], []) is None


def test_cases_of_equal_quality_count_in_no_order():
    assert measures.risk_coverage([1, 1, 1], [0.3, 0.1, 0.2]) == pytest.approx([0.2, 0.2, 0.2])
    assert measures.risk_coverage([1, 2, 1], [0.3, 0.1, 0.2]) == pytest.approx([0.1, 0.175, 0.2])


def test_the_worst_slice_is_looked_for_among_the_first():
    wrong = [0, 5, 9, 9]
    assert measures.worst_is_among_first([1, 4, 2, 3], wrong, 2)  # either of two equally bad slices will do
    assert not measures.worst_is_among_first([1, 4, 2, 3], wrong, 1)
    assert measures.worst_is_among_first([1, 4, 2, 3], [0, 0, 0, 0], 1) is None


def test_of_equal_scores_the_earlier_slice_comes_first():
    assert not measures.worst_is_among_first([1, 1, 1], [0, 0, 3], 2)
    assert measures.worst_is_among_first([1, 1, 1], [3, 0, 0], 1)


def test_the_energy_distance_of_two_samples():
    """d(s, y) is 0 and 1/2; d(s, s') is 0 twice and 1/2 twice."""
    truth = np.array([1, 1, 0, 0])
    samples = np.array([[1, 1, 0, 0], [0, 1, 1, 0]])
    assert measures.generalised_energy_distance(samples, truth, 2) == pytest.approx(2 * 0.25 - 0.25)
    assert measures.generalised_energy_distance(truth[None], truth, 2) == 0
    assert measures.generalised_energy_distance(1 - truth[None], truth, 2) == pytest.approx(2)


def test_a_structure_that_is_in_no_sample_and_not_in_the_truth_counts_as_agreed():
    truth = np.array([[1, 0]])
    assert measures.generalised_energy_distance(np.zeros((1, 1, 2), int), truth, 3) == pytest.approx(2 * 0.5)


def test_error_probability_in_the_wrong_voxels_alone_is_worth_more_than_in_the_right_ones():
    truth, found = np.array([1, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 1, 0, 0], bool)
    wrong = truth != found
    good, useless, bad = (
        measures.filtered_score(truth, found, d.astype(float)) for d in (wrong, np.full(6, 0.5), ~wrong)
    )
    assert good > useless > bad
    # Certain voxels stay at every threshold, wrong ones until the last: Dice is 1 but at the threshold 1.
    dice = measures.dice(truth, found)
    assert good == pytest.approx((1 - 0.005 * (1 - dice) + 1 + 1) / 3, abs=1e-6)


def test_the_filtered_score_of_a_certain_prediction_is_its_dice_and_two_full_marks():
    truth, found = np.array([1, 1, 1, 0], bool), np.array([1, 1, 0, 1], bool)
    score = measures.filtered_score(truth, found, np.zeros(4))
    assert score == pytest.approx((measures.dice(truth, found) + 2) / 3)
    assert measures.filtered_score(truth & False, found & False, np.zeros(4)) is None


def test_undefined_values_take_no_part_in_a_mean():
    assert measures.mean([1.0, None, 2.0]) == 1.5
    assert measures.mean([None]) is None
    assert measures.mean([True, False]) == 0.5
