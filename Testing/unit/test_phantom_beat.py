"""A beating phantom: its ejection fraction is the one asked for, and its frames are those of one heart."""

import numpy as np
import pytest
import SimpleITK as sitk

from csam.cardiac import curve_of, ejection_fraction
from csam.errors import InputError
from csam.phantom.beat import beating_heart, contraction_at
from csam.phantom.heart import cine_stack, stack_at

SMALL = {"size": 64, "spacing": (4.0, 4.0, 8.0)}


def cavity_ml(phantom) -> float:
    return float((sitk.GetArrayFromImage(phantom.labels) == 1).sum() * np.prod(phantom.labels.GetSpacing()) / 1000)


def test_a_beat_contracts_fills_and_ends_where_it_began():
    shares = np.linspace(0, 1, 400)
    values = np.array([contraction_at(share) for share in shares])
    assert (values[0], values[-1]) == pytest.approx((0, 0), abs=1e-3)
    assert values.max() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(values)).max() < 0.02


def test_the_ejection_fraction_is_the_one_asked_for():
    thin = {"slices": 32, "size": 48, "spacing": (5.0, 5.0, 3.0), "direction": None}
    for seed, fraction in ((0, 0.3), (1, 0.6)):
        volumes = [cavity_ml(stack_at(c, seed, fraction=fraction, **thin)) for c in (0.0, 1.0)]
        assert ejection_fraction(*volumes) == pytest.approx(fraction, abs=0.015)


def test_the_frames_are_a_beat_of_one_heart():
    frames = beating_heart(2, 12, 0.55, **SMALL)
    curve = curve_of([cavity_ml(frame) for frame in frames])
    assert (curve.end_diastole, curve.end_systole, curve.implausible) == (0, 4, ())
    volumes = [curve.volumes_ml[frame] for frame in (0, 4)]
    assert ejection_fraction(*volumes) == pytest.approx(0.55, abs=0.04)  # slices of 8 mm
    assert len({frame.image.GetDirection() for frame in frames}) == 1
    first, second = (sitk.GetArrayFromImage(frame.image)[0].astype(int) for frame in frames[:2])
    assert (first != second).any()  # noise of its own


def test_both_phases_are_those_of_cine_stack():
    one = cine_stack(3, phase="systole", **SMALL)
    other = stack_at(1.0, 3, 12, 64, (4.0, 4.0, 8.0), None)
    np.testing.assert_array_equal(*(sitk.GetArrayFromImage(p.image) for p in (one, other)))


@pytest.mark.parametrize("arguments", [{"ejection_fraction": 0.9}, {"frames": 1}])
def test_a_bad_argument_is_named(arguments):
    with pytest.raises(InputError, match="The phantom's"):
        beating_heart(**arguments)
