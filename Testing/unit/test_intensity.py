"""Intensity normalisation: limits by slice, by volume, or fixed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from csam.errors import ModelError
from csam.image.intensity import Intensity


def stack():
    return np.random.default_rng(0).normal(100, 30, (4, 20, 20)).astype(np.float32) * np.array([1, 2, 3, 4]).reshape(
        4, 1, 1
    ).astype(np.float32)


def test_by_slice_every_slice_fills_the_range():
    out = Intensity("slice")(stack())
    assert out.dtype == np.float32
    assert (out.min((1, 2)) == 0).all()
    assert (out.max((1, 2)) == 1).all()


def test_by_volume_darker_slices_stay_darker():
    means = Intensity("volume")(stack()).mean((1, 2))
    assert (np.diff(means) > 0.05).all()


def test_fixed_limits_are_values():
    out = Intensity("fixed", -100, 300)(np.array([[[-500, -100, 100, 300, 900]]], np.float32))
    np.testing.assert_allclose(out, [[[0, 0, 0.5, 1, 1]]])


@pytest.mark.parametrize("scope", ["slice", "volume"])
def test_a_picture_without_contrast_becomes_zero(scope):
    np.testing.assert_array_equal(Intensity(scope)(np.full((2, 5, 5), 7.0)), 0)


@given(arrays(np.float32, array_shapes(min_dims=3, max_dims=3), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_the_result_lies_between_zero_and_one(values):
    for scope in ("slice", "volume", "fixed"):
        out = Intensity(scope)(values)
        assert np.isfinite(out).all()
        assert ((out >= 0) & (out <= 1)).all()


@given(factor=st.floats(0.01, 100), offset=st.floats(-1000, 1000))
def test_percentiles_do_not_care_for_scale_and_offset(factor, offset):
    values = stack().astype(np.float64)
    np.testing.assert_allclose(Intensity("volume")(factor * values + offset), Intensity("volume")(values), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("patient", 0, 1), "intensity.scope"),
        (("slice", 5, 5), "intensity.lower"),
        (("volume", -1, 99), "percentiles"),
        (("slice", 1, 101), "percentiles"),
        (("fixed", float("nan"), 1), "intensity.lower"),
    ],
)
def test_limits_that_make_no_sense_are_refused_by_name(arguments, field):
    with pytest.raises(ModelError, match=field):
        Intensity(*arguments)
