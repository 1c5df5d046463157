"""The errors of a case's numbers, as the benchmark tells them."""

import json
import sys

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


def test_the_table_has_a_row_for_both_and_the_order_of_slices(tmp_path, monkeypatch, capsys):
    cases = {
        name: case("a", truth, found) | {"case_quality": 0.9, "dice": [dice], "worst_slice_in_first_three": True}
        for name, truth, found, dice in (("one", 100, 90, 0.8), ("two", 40, 45, 0.9))
    }
    (tmp_path / "figures.json").write_text(json.dumps({"cases": cases}))
    (tmp_path / "labelsTr").mkdir()
    for name in cases:
        sitk.WriteImage(sitk.Image(8, 8, 6, sitk.sitkUInt8), str(tmp_path / "labelsTr" / f"{name}.nii.gz"))
    line = ["case_errors", str(tmp_path / "figures.json"), "--dataset", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    case_errors.main()
    ejection, expected, order = capsys.readouterr().out.splitlines()[1:]
    assert ejection.split()[-4:] == ["10.000", "-10.000", "10.000", "0.000"]
    assert expected.split()[-4:] == ["0.050", "+0.050", "0.100", "0.050"]
    assert order == "Worst slice among the first 3: 1.00, chance 0.38"
