"""The pictures of Sunnybrook's copies are moved by half a pixel, onto their labels."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

SCRIPT = Path(__file__).resolve().parents[2] / "Resources/cardiac-lv-myo/join_data_sets.py"


@pytest.fixture(scope="module")
def join():
    spec = importlib.util.spec_from_file_location("join_data_sets", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_pictures_move_by_half_a_pixel_and_keep_their_numbers(join, kind):
    rows, columns = np.mgrid[:48, :40]
    blob = np.exp(-((rows - 20) ** 2 + (columns - 18) ** 2) / 50)
    array = np.stack([200 * blob, 90 * blob, np.zeros_like(blob)]).astype(kind)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.25, 1.25, 8))
    result = join.moved(image)
    assert result.GetSpacing() == image.GetSpacing()
    there = sitk.GetArrayFromImage(result)
    assert there.dtype == kind
    for before, after in zip(array, there, strict=True):
        assert before.min() <= after.min()
        assert after.max() <= before.max()
    for slice_ in (0, 1):
        assert ndimage.center_of_mass(there[slice_]) == pytest.approx((20.5, 18.5), abs=0.05)
