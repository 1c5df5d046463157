"""The errors of a case's numbers, as the benchmark tells them."""

import case_errors
import numpy as np
import pytest
import SimpleITK as sitk


def case(patient: str, truth: float, found: float) -> dict:
    return {"patient": patient, "truth_ml": [truth], "volume_ml": [found]}


def test_end_diastole_is_the_larger_true_volume_whatever_the_order():
    small, large = case("a", 50, 60), case("a", 100, 90)
    assert case_errors.pairs({"1": small, "2": large, "3": case("b", 1, 1)}) == [(large, small)]


def test_the_ejection_fraction_is_the_share_that_leaves_the_ventricle():
    assert case_errors.ejection_fraction(case("a", 120, 100), case("a", 48, 45), "truth_ml") == pytest.approx(60)
    assert case_errors.ejection_fraction(case("a", 120, 100), case("a", 48, 45), "volume_ml") == pytest.approx(55)


def test_chance_is_the_error_of_saying_everyones_mean():
    found = case_errors.errors([3, 5], [2, 6])
    assert found == {"mean": 1.0, "bias": 0.0, "largest": 1.0, "chance": 2.0}
    assert case_errors.chance_of_first([6, 12, 2]) == pytest.approx((0.5 + 0.25 + 1) / 3)


def test_slices_are_counted_along_the_thick_axis(tmp_path):
    labels = sitk.GetImageFromArray(np.zeros((20, 9, 20), np.uint8))
    labels.SetSpacing((1, 8, 1))
    (tmp_path / "labelsTr").mkdir()
    sitk.WriteImage(labels, str(tmp_path / "labelsTr" / "a.nii.gz"))
    assert case_errors.slices_of(tmp_path, "a") == 9
