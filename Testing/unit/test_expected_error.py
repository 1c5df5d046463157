"""Error probability spreads a pixel, agrees with what was expected, and never loses its sum."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csam.uncertainty.expected_error import expected_dice, smoothed, stated_error, volume_interval


def test_an_error_probability_is_smoothed_as_a_gaussian_of_that_width_does():
    error = np.random.default_rng(0).random((40, 30))
    inside = (slice(8, -8), slice(8, -8))  # at the picture's edge the two repeat it in other ways
    expected = gaussian_filter(error, (1.4, 2.0))
    np.testing.assert_allclose(smoothed(error, (1.4, 2.0))[inside], expected[inside], atol=0.01)


@pytest.mark.parametrize("width", [12.0, 26.5, 27.0, 40.0])
def test_a_gaussian_much_wider_than_itk_holds_at_once_is_one_all_the_same(width):
    error = np.zeros((320, 280))
    error[150:170, 130:150] = 1
    expected = gaussian_filter(error, width, mode="nearest", truncate=6)
    np.testing.assert_allclose(smoothed(error, (width, width)), expected, atol=2e-3)


def test_rows_and_columns_have_their_own_width_and_the_sum_stays():
    error = np.zeros((41, 41))
    error[20, 20] = 1
    found = smoothed(error, (3.0, 1.0))
    assert found.sum() == pytest.approx(1, abs=1e-4)
    i, j = np.indices(found.shape) - 20
    assert (found * i**2).sum() == pytest.approx(9, rel=0.1)
    assert (found * j**2).sum() == pytest.approx(1, rel=0.1)


def test_doubt_beside_a_border_is_added_and_that_on_it_stays():
    error = np.zeros((21, 21))
    error[:, 10] = 0.5
    stated, spread = stated_error(error, (1.0, 1.0)), smoothed(error, (1.0, 1.0))
    np.testing.assert_allclose(stated[:, 10], 0.5)
    np.testing.assert_array_equal(stated[:, 11], spread[:, 11])
    assert stated[10, 11] > 0.1
    np.testing.assert_array_equal(stated_error(error, (1.0, 1.0), keeps_peaks=False), spread)


def test_the_expected_dice_is_that_of_the_probabilities():
    p = np.array([0.9, 0.8, 0.3, 0.0])
    label = p > 0.5
    difference = (1 - p[label]).sum() + p[~label].sum()
    assert expected_dice(difference, label.sum(), p.sum()) == pytest.approx(2 * p[label].sum() / (2 + p.sum()))
    assert expected_dice(0, 0, 0) == 1


def test_the_interval_lies_around_the_volume_and_above_nothing():
    assert volume_interval(10, 2, 1.5) == (7, 13)
    assert volume_interval(1, 2) == (0, 3)
