"""Which slice to draw next: where drawing mends most, in the slice itself and around it."""

import numpy as np
import pytest

from csam.interactive.next_slice import expected_gain


def test_where_all_slices_are_alike_the_middle_one_mends_most():
    gain = expected_gain([0, 1, 1, 1, 1, 1, 0], [0, 6])
    assert gain.argmax() == 3
    assert gain == pytest.approx(gain[::-1])
    assert (gain[[0, 6]] == 0).all()


def test_a_slice_mends_at_least_its_own_error_and_at_most_all_of_it():
    wrong = np.array([0, 3.0, 1, 0, 2, 5, 0])
    gain = expected_gain(wrong, [0, 3, 6])
    assert (gain >= wrong).all()
    assert (gain <= wrong.sum()).all()


def test_a_slice_between_wrong_ones_comes_before_a_wrong_one_at_the_edge():
    assert expected_gain([0, 2, 2, 2, 0], [0, 4]).argmax() == 2
    assert expected_gain([0, 9, 2, 2, 0], [0, 4]).argmax() == 1


def test_what_lies_behind_a_drawn_slice_is_not_mended():
    assert expected_gain([0, 1, 0, 1, 1, 0], [0, 2, 5])[1] == 1


def test_beyond_the_last_drawn_slice_a_slice_mends_those_behind_it():
    # Distances 1, 2, 3 become 0, 1, 2; then 1 * 1 / 2, 0, 1; then 2 / 3, 2 / 3, 0.
    assert expected_gain([0, 1, 1, 1], [0]) == pytest.approx(
        [0, 1 + 1 / 2 + 1 / 3, 1 / 2 + 1 + 2 / 3, 1 / 3 + 2 / 3 + 1]
    )
