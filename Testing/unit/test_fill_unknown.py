"""Unknown slices of a training case are filled where that is sure, and nothing that is known changes."""

import numpy as np
import pytest
import SimpleITK as sitk

from csam.image.unknown import UNKNOWN
from csam.training.fill_unknown import fill_unknown

SLICES = 9


def ball() -> tuple[sitk.Image, np.ndarray]:
    """A bright ball in noise, 9 slices of 48 × 48, and where it is."""
    z, y, x = np.indices((SLICES, 48, 48))
    inside = ((z - 4) * 4) ** 2 + (y - 24) ** 2 + (x - 24) ** 2 < 15**2
    image = sitk.GetImageFromArray(
        (100 + 150 * inside + np.random.default_rng(0).normal(0, 5, inside.shape)).astype("f4")
    )
    image.SetSpacing((1.0, 1.0, 4.0))
    return image, inside


def known_in(slices, inside, image) -> sitk.Image:
    labels = np.full(inside.shape, UNKNOWN, np.uint8)
    labels[list(slices)] = inside[list(slices)]
    truth = sitk.GetImageFromArray(labels)
    truth.CopyInformation(image)
    return truth


def test_between_drawn_slices_what_is_sure_is_filled_and_the_border_stays_unknown():
    image, inside = ball()
    truth = known_in((2, 4, 6), inside, image)
    found = sitk.GetArrayFromImage(fill_unknown([image], truth, ("ball",), (), "auto"))
    sure = found != UNKNOWN
    assert not sure[[0, 1, 7, 8]].any(), "nothing is known before the first and behind the last drawn slice"
    assert np.array_equal(found[[2, 4, 6]], inside[[2, 4, 6]])
    filled = np.zeros(inside.shape, bool)
    filled[[3, 5]] = sure[[3, 5]]
    assert filled[[3, 5]].mean() > 0.7
    assert ((found == 1) & filled).sum() > 0.5 * inside[[3, 5]].sum()
    assert ((found == 1) != inside)[filled].mean() < 0.01
    assert not sure[[3, 5]].all()


def test_a_structure_that_no_drawn_slice_shows_may_be_anywhere_so_nothing_is_filled():
    image, inside = ball()
    truth = known_in((2, 6), inside, image)
    assert fill_unknown([image], truth, ("ball", "cube"), (), "auto") is truth
    filled = fill_unknown([image], truth, ("ball", "cube"), (2,), "auto")  # nobody has labelled cubes here
    assert filled is not truth


@pytest.mark.parametrize("slices", [(4,), (3, 4), range(SLICES)], ids=["one", "side by side", "all"])
def test_where_nothing_lies_between_drawn_slices_the_truth_stays(slices):
    image, inside = ball()
    truth = known_in(slices, inside, image)
    assert np.array_equal(
        sitk.GetArrayFromImage(fill_unknown([image], truth, ("ball",), (), "auto")), sitk.GetArrayFromImage(truth)
    )
