"""Stacks do not depend on how an image is stored; images come back as they went in."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from unit import small

from csam.errors import InputError
from csam.image import geometry
from csam.image.geometry import Orientation, axis_for, orientation, slice_axis
from csam.image.raster import Raster

IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)
HALF = float(np.sqrt(0.5))
TURNED_45 = (HALF, -HALF, 0, HALF, HALF, 0, 0, 0, 1)
TURNED_45_TWICE = (HALF, -0.5, 0.5, HALF, 0.5, -0.5, 0, HALF, HALF)
LEFT_HANDED = (-1, 0, 0, 0, 1, 0, 0, 0, 1)
DIRECTIONS = pytest.mark.parametrize(
    "direction",
    [IDENTITY, small.OBLIQUE, LEFT_HANDED, TURNED_45, TURNED_45_TWICE],
    ids=["straight", "oblique", "left-handed", "45 degrees", "45 degrees about two axes"],
)


def stack_of(image, choice="auto"):
    axis = axis_for(image, choice)
    oriented = orientation(image.GetDirection(), axis)
    return oriented.to_stack(sitk.GetArrayFromImage(image)), oriented


@DIRECTIONS
@pytest.mark.parametrize(
    ("spacing", "choice"),
    [
        ((1.5, 1.5, 8.0), "auto"),
        ((1, 1, 1), "auto"),
        ((1, 1, 1), "axial"),
        ((2, 1, 1), "coronal"),
        ((1, 1, 1), "sagittal"),
    ],
    ids=str,
)
def test_the_stack_is_the_same_however_the_image_is_stored(direction, spacing, choice):
    original = small.image((7, 6, 5), spacing, direction)
    expected, first = stack_of(original, choice)
    for way, stored in small.stored_in_every_way(original):
        found, oriented = stack_of(stored, choice)
        assert oriented.patient_axes == first.patient_axes, way
        np.testing.assert_array_equal(found, expected, err_msg=str(way))


@DIRECTIONS
def test_a_cube_of_equal_spacing_is_cut_the_same_however_it_is_stored(direction):
    original = small.image((6, 6, 6), (1, 1, 1), direction)
    expected, _ = stack_of(original)
    assert all(np.array_equal(stack_of(stored)[0], expected) for _, stored in small.stored_in_every_way(original))


def test_storing_an_image_otherwise_moves_none_of_its_voxels():
    original = small.image((7, 6, 5), (1.5, 1.5, 8.0), small.OBLIQUE)
    for _, stored in small.stored_in_every_way(original):
        np.testing.assert_array_equal(small.on_grid(stored, original), sitk.GetArrayFromImage(original))


@pytest.mark.parametrize(
    ("size", "spacing", "expected"),
    [
        ((256, 256, 12), (1.25, 1.25, 8.0), 2),
        ((12, 256, 256), (8.0, 1.25, 1.25), 0),
        ((256, 20, 256), (0.6, 3.0, 0.6), 1),
        ((64, 64, 5), (2.0, 2.0, 2.0), 2),
        ((64, 5, 64), (2.0, 2.01, 2.0), 1),
        ((9, 64, 64), (2.0, 2.0, 1.97), 0),
        ((64, 64, 64), (2.0, 2.0, 2.0), 2),
        ((30, 50, 200), (6.4, 4.0, 0.5), 0),
        ((256, 256, 1), (1.25, 1.25, 1.0), 2),
        ((256, 1, 256), (1.25, 0.1, 0.3), 1),
        ((256, 256, 9), (1.25, 1.25, 1.0), 2),
        ((9, 256, 256), (1.0, 1.25, 1.25), 0),
        ((64, 50, 80), (3.0, 2.0, 2.0), 0),
        ((64, 50, 80), (2.9, 2.0, 2.0), 1),
    ],
    ids=[
        "thick slices",
        "sagittal storage",
        "coronal storage",
        "equal spacing: fewest samples",
        "nearly equal spacing: fewest samples",
        "first axis has the fewest",
        "a cube: axial",
        "elongated pixels: fewest samples",
        "one frame of DICOM",
        "one sample, whatever the spacings",
        "gaps smaller than pixels: fewest samples",
        "the same, stored sagittally",
        "a ratio that tells",
        "a ratio that does not tell",
    ],
)
def test_slices_run_along_the_largest_spacing_or_the_fewest_samples(size, spacing, expected):
    assert slice_axis(size, spacing) == expected


@given(
    size=st.tuples(*[st.integers(1, 6)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.3, 1.0, 1.25, 1.5, 1.9, 4.0, 8.0])] * 3),
    axes=st.permutations(range(3)),
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_the_slice_axis_is_the_same_line_in_space_however_the_axes_are_stored(size, spacing, axes, flips):
    cosines = np.array(small.OBLIQUE).reshape(3, 3)
    stored = cosines[:, axes] * flips
    there = slice_axis([size[a] for a in axes], [spacing[a] for a in axes], stored.ravel().tolist())
    assert axes[there] == slice_axis(size, spacing, small.OBLIQUE)


@given(
    size=st.tuples(*[st.integers(1, 300)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
)
def test_an_axis_of_one_sample_is_the_slice_axis_and_else_the_fewest_samples_decide_what_spacings_do_not(size, spacing):
    axis = slice_axis(size, spacing)
    if 1 in size:
        assert size[axis] == 1
    elif not geometry.spacing_tells(spacing, axis):
        rivals = [a for a in range(3) if spacing[a] * geometry.SPACING_TELLS > max(spacing)]
        assert size[axis] == min(size) or size[axis] == min(size[a] for a in rivals)


def test_the_choice_of_the_user_and_of_the_model_comes_first():
    image = small.image((7, 6, 5), (1, 1, 8), (0, 0, 1, 1, 0, 0, 0, 1, 0))  # i to P, j to S, k to L
    assert [axis_for(image, c) for c in "ijk"] == [0, 1, 2]
    assert axis_for(image, "coronal") == 0
    assert axis_for(image, "axial") == 1
    assert axis_for(image, "sagittal") == 2
    assert axis_for(image, "auto") == 2


def test_an_axial_stack_runs_up_with_rows_to_the_back_and_columns_to_the_left():
    oriented = orientation(IDENTITY, 2)
    assert oriented == Orientation((2, 1, 0), (False, False, False), ("S", "P", "L"))


def test_a_coronal_stack_shows_the_head_at_the_top():
    assert orientation(IDENTITY, 1) == Orientation((1, 2, 0), (False, True, False), ("P", "S", "L"))
    assert orientation(IDENTITY, 0) == Orientation((0, 2, 1), (False, True, False), ("L", "S", "P"))


@given(
    axes=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_a_stack_leads_back_to_the_array_it_came_from(axes, flips, shape):
    oriented = Orientation(tuple(axes), flips, ("S", "P", "L"))
    array = np.arange(np.prod(shape)).reshape(shape)
    stack = oriented.to_stack(array)
    np.testing.assert_array_equal(oriented.from_stack(stack), array)
    for position in itertools.product(*map(range, stack.shape)):
        i, j, k = oriented.index(*position, shape[::-1])
        assert array[k, j, i] == stack[position]


def test_a_stack_is_a_view_that_can_be_written_through():
    array = np.zeros((2, 3, 4))
    orientation(small.OBLIQUE, 1).to_stack(array)[1, 0, 0] = 5
    assert (array == 5).sum() == 1


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0, 0, 1, 0), (0,) * 9, (np.nan,) * 9])
def test_a_singular_direction_is_refused_in_words(cosines):
    with pytest.raises(InputError, match=r"direction matrix.*singular"):
        orientation(cosines, 0)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (sitk.Image([4, 4, 3, 2], sitk.sitkInt16), "series of 2 volumes of 4×4×3"),
        (sitk.Image([4, 4], sitk.sitkInt16), "2 dimensions; 3 were expected"),
        (sitk.Image([4, 4, 3], sitk.sitkVectorUInt8, 3), "3 values per voxel"),
        (sitk.Image([4, 4, 3], sitk.sitkComplexFloat32), "complex of 32-bit float voxels"),
        (sitk.Image([4, 4, 3], sitk.sitkLabelUInt8), "label of 8-bit unsigned integer voxels"),
        (Raster(np.zeros((3, 4, 4)), (1, 1, 5), origin=(0.0, float("inf"), 0.0)), "origin .*inf"),
    ],
    ids=["series", "picture", "colour", "complex", "label map", "origin"],
)
def test_what_is_no_scalar_volume_is_refused_in_words(image, said):
    with pytest.raises(InputError, match=said):
        geometry.check_image(image)


def test_voxels_and_pixels_whose_axes_lean_are_smaller_than_their_spacings_say():
    leaning = Raster(np.zeros((3, 4, 4)), (1.5, 2.0, 8.0), direction=(1, 0, 0.6, 0, 1, 0, 0, 0, 0.8))
    assert geometry.voxel_volume(leaning) == pytest.approx(1.5 * 2.0 * 8.0 * 0.8)
    assert geometry.pixel_area(leaning, 2) == pytest.approx(1.5 * 2.0)
    assert geometry.pixel_area(leaning, 1) == pytest.approx(1.5 * 8.0 * 0.8)


def test_one_volume_of_a_series_can_be_taken():
    array = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 5)).astype(np.int16)
    volumes = [sitk.GetImageFromArray(volume) for volume in array]
    series = sitk.JoinSeries(volumes)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(geometry.frame(series, 1)), array[1])
    with pytest.raises(InputError, match="volumes 0 to 1; there is no volume 2"):
        geometry.frame(series, 2)
    with pytest.raises(InputError, match="a series of volumes was expected"):
        geometry.frame(volumes[0], 0)


def test_values_that_are_not_finite_become_the_smallest():
    array = np.array([[[np.nan, 3.0], [np.inf, -2.0]]])
    found = geometry.array_of(sitk.GetImageFromArray(array))
    np.testing.assert_array_equal(found, [[[-2, 3], [-2, -2]]])
    with pytest.raises(InputError, match="no finite value"):
        geometry.array_of(sitk.GetImageFromArray(np.full((1, 2, 2), np.nan)))


@pytest.mark.parametrize(
    "change",
    [{"spacing": (2.0, 2.05, 8.0)}, {"origin": (-12, 7, 31.5)}, {"direction": TURNED_45}, {"size": (20, 18, 7)}],
    ids=lambda change: next(iter(change)),
)
def test_grids_that_differ_are_told_apart(change):
    assert not geometry.same_grid(small.image(), small.image(**change))


def test_grids_that_differ_by_rounding_are_the_same():
    assert geometry.same_grid(small.image(), small.image(origin=(-12.001, 7.001, 31.0)))


@DIRECTIONS
def test_a_region_covers_the_voxels_whose_cells_it_touches(direction):
    image = small.image((20, 18, 6), direction=direction)
    low, high = (2, 3, 1), (9, 11, 4)
    corners = [image.TransformIndexToPhysicalPoint(corner) for corner in (low, high)]
    if direction in (IDENTITY, LEFT_HANDED):
        assert geometry.region_indices(image, *corners) == (slice(2, 10), slice(3, 12), slice(1, 5))
    low_corner, high_corner = np.min(corners, 0), np.max(corners, 0)
    for part, a, b in zip(geometry.region_indices(image, low_corner, high_corner), low, high, strict=True):
        assert part.start <= a
        assert part.stop >= b + 1


def test_a_region_larger_than_the_image_is_all_of_it_and_one_beside_it_is_refused():
    image = small.image()
    assert geometry.region_indices(image, (-1e4,) * 3, (1e4,) * 3) == (slice(0, 20), slice(0, 18), slice(0, 6))
    with pytest.raises(InputError, match="lies outside the image"):
        geometry.region_indices(image, (500, 500, 500), (600, 600, 600))


@given(length=st.integers(1, 600), spacing=st.floats(0.2, 5), target=st.floats(0.2, 5))
def test_resizing_keeps_the_extent_to_half_a_pixel(length, spacing, target):
    found = geometry.resized_length(length, spacing, target)
    assert found >= 1
    assert abs(found * target - length * spacing) <= max(target, spacing) / 2 + 1e-6 or found == 1


@pytest.mark.parametrize(("length", "window"), [(10, 10), (11, 10), (12, 10), (13, 10), (40, 10), (3, 1), (5, 2)])
def test_slices_that_two_windows_share_are_blended_in_their_middle_alone(length, window):
    starts, weights = geometry.slice_windows(length, window)
    total = np.zeros(length)
    for start, some in zip(starts, weights, strict=True):
        total[start : start + window] += some
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert np.count_nonzero(weights) <= length + 3 * (len(starts) - 1)
    assert starts[-1] + window == length
