"""A structure carried from one frame to the next: it moves as the image does, along the stack too."""

import numpy as np
import pytest
import SimpleITK as sitk
from unit.small_fill import ROD, disc, drawn, image_of, rod

from csam.errors import Cancelled, InputError
from csam.image.unknown import UNKNOWN
from csam.interactive.drawing import FillOptions, Structure
from csam.interactive.fill import fill

OPTIONS = FillOptions(device="cpu")


def dice(a, b) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def carry(first, second, slices=(), structures=ROD, **more):
    """The rod of the first frame on the second."""
    images = image_of(first), image_of(second, seed=1)
    labels = sitk.GetImageFromArray(first)
    labels.CopyInformation(images[0])
    drawing = drawn(second, list(slices)) if slices else sitk.GetImageFromArray(np.full_like(second, UNKNOWN))
    drawing.CopyInformation(images[0])
    return fill(images[1], drawing, structures, None, OPTIONS, labels, before=images[0], **more)


def voxels(result, name="labels"):
    return sitk.GetArrayFromImage(getattr(result, name))


def test_it_follows_a_motion_within_the_slices():
    first, second = rod(), np.roll(rod(radius=7.0), 3, 2)
    found = voxels(carry(first, second)) > 0
    assert dice(first > 0, second > 0) < 0.75
    assert dice(found, second > 0) > 0.93


def test_it_follows_a_motion_along_the_stack():
    shape = (48, 40)
    cone = np.stack([disc(shape, (24, 20), radius) for radius in (0, 14, 13, 12, 10, 8, 6, 3, 0)]).astype(np.uint8)
    moved = np.concatenate([np.zeros((1, *shape), np.uint8), cone[:-1]])
    found = voxels(carry(cone, moved)) > 0
    assert dice(found, moved > 0) > dice(cone > 0, moved > 0) + 0.05


def test_what_is_drawn_on_the_next_frame_stays():
    first, second = rod(), np.roll(rod(), 3, 2)
    second[3] = 0
    second[3, 5:9, 5:9] = 1
    result = carry(first, second, [3])
    assert np.array_equal(voxels(result)[3], second[3])
    assert not voxels(result, "error_probability")[3].any()
    assert [score.reason for score in result.slices if score.index == 3] == ["drawn"]


@pytest.mark.filterwarnings("error")
def test_a_structure_that_the_first_frame_does_not_show_stays_in_its_drawn_slice():
    first, second = rod(), np.roll(rod(), 3, 2)
    second[3] = 0
    second[3, 5:9, 5:9] = 2
    found = voxels(carry(first, second, [3], structures=[*ROD, Structure(2, "other")]))
    assert np.array_equal(found == 2, second == 2)
    assert (found[2] == 1).any()


def test_every_slice_is_to_be_looked_at_and_has_an_error_probability():
    result = carry(rod(), np.roll(rod(), 2, 2))
    assert {score.reason for score in result.slices} == {""}
    error = voxels(result, "error_probability")
    assert (error.max((1, 2)) > 0.1).all()
    assert result.extent == "whole"


def test_the_same_frames_give_the_same_result():
    assert np.array_equal(*(voxels(carry(rod(), np.roll(rod(), 2, 2)), "error_probability") for _ in "ab"))


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_a_thin_stack_is_carried(slices):
    first = rod(slices, lean=(0, 0))
    second = np.roll(first, 2, 2)
    assert dice(voxels(carry(first, second)) > 0, second > 0) > 0.9


def test_a_cancel_is_heard():
    asked = iter(range(100))
    with pytest.raises(Cancelled):
        carry(rod(), rod(), cancelled=lambda: next(asked) > 2)


def test_frames_on_two_grids_and_frames_without_labels_are_refused():
    first = image_of(rod())
    other = sitk.Image(first)
    other.SetSpacing((1.0, 1.0, 3.0))
    labels = sitk.GetImageFromArray(rod())
    labels.CopyInformation(first)
    unknown = sitk.GetImageFromArray(np.full_like(rod(), UNKNOWN))
    unknown.CopyInformation(first)
    with pytest.raises(InputError, match="do not lie on one grid"):
        fill(first, unknown, ROD, None, OPTIONS, labels, before=other)
    with pytest.raises(InputError, match="nothing to carry"):
        fill(first, unknown, ROD, None, OPTIONS, before=first)
