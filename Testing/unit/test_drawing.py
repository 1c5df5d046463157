"""What is drawn: which slices count, and what is said of a drawing that cannot be used."""

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small
from unit.small_fill import ROD, drawn, image_of, rod

from csam.errors import InputError
from csam.image.unknown import UNKNOWN
from csam.interactive.drawing import FillOptions, Structure, read_drawing


@pytest.fixture(scope="module")
def labels():
    return rod()


@pytest.fixture(scope="module")
def image(labels):
    return image_of(labels)


def test_the_slices_without_an_unknown_voxel_are_the_drawn_ones(labels, image):
    drawing = read_drawing(image, drawn(labels, [1, 4]), ROD)
    assert drawing.drawn == (1, 4)
    assert drawing.axis == 2
    assert drawing.spacing == (8.0, 2.0, 2.0)
    assert drawing.labels.dtype == np.uint8
    assert (drawing.labels[[0, 2, 3, 5, 6]] == UNKNOWN).all()


def test_a_slice_that_is_drawn_empty_is_a_drawn_one(labels, image):
    voxels = labels.copy()
    voxels[6] = 0
    assert read_drawing(image, drawn(voxels, [2, 6]), ROD).drawn == (2, 6)


def test_a_slice_that_is_known_in_part_is_kept_but_is_no_drawn_one(labels, image):
    voxels = sitk.GetArrayFromImage(drawn(labels, [1, 4]))
    voxels[2, :10] = 0
    drawing = read_drawing(image, small.placed(voxels), ROD)
    assert drawing.drawn == (1, 4)
    assert (drawing.labels[2, :10] == 0).all()


def test_the_slices_to_fill_lie_between_the_drawn_ones_or_everywhere(labels, image):
    drawing = read_drawing(image, drawn(labels, [1, 4]), ROD)
    assert drawing.wanted(beyond=False) == [2, 3]
    assert drawing.wanted(beyond=True) == [0, 2, 3, 5, 6]
    assert read_drawing(image, drawn(labels, [3]), ROD).wanted(beyond=False) == [0, 1, 2, 4, 5, 6]


def test_slices_are_told_by_their_index_in_the_image(labels):
    turned = sitk.Flip(image_of(labels), (False, False, True), False)
    drawing = read_drawing(turned, sitk.Flip(drawn(labels, [1, 4]), (False, False, True), False), ROD)
    assert [drawing.image_index(n) for n in drawing.drawn] in ([5, 2], [2, 5])
    assert {5, 2} == {drawing.image_index(n) for n in drawing.drawn}


def test_the_named_axis_is_that_of_the_slices(labels, image):
    voxels = np.full(labels.shape, UNKNOWN, np.uint8)
    voxels[:, :, 15] = labels[:, :, 15]
    drawing = read_drawing(image, small.placed(voxels), ROD, "i")
    assert drawing.axis == 0
    assert len(drawing.drawn) == 1
    assert drawing.image_index(drawing.drawn[0]) == 15


@pytest.mark.parametrize("kind", [sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkFloat32])
def test_a_drawing_may_have_any_pixel_type(labels, image, kind):
    drawing = read_drawing(image, sitk.Cast(drawn(labels, [1, 4]), kind), ROD)
    assert drawing.drawn == (1, 4)
    assert drawing.labels[1].sum() == labels[1].sum()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: small.placed(v, spacing=(2.0, 2.0, 9.0)), "does not lie on the image's grid"),
        (lambda v: small.placed(v[:, 1:]), r"40×47×7 voxels.*40×48×7 voxels"),
        (lambda v: small.placed(np.where(v == 1, 7, v)), "the value 7, which no structure has"),
        (lambda v: small.placed(np.where(v == 1, 0.5, v)), "the value 0.5"),
        (lambda v: small.placed(np.where(v == 1, np.nan, v)), "the value nan"),
        (lambda v: small.placed(np.where(v == 1, -1, v.astype(np.int16))), "the value -1"),
        (lambda v: small.placed(np.full_like(v, UNKNOWN)), "No slice is drawn"),
        (lambda v: small.placed(np.where(v == 1, 0, v)), "No slice is drawn"),
        (lambda v: small.placed(np.where(v == UNKNOWN, 0, v)), "Every slice is drawn"),
    ],
)
def test_a_drawing_that_cannot_be_used_is_refused_in_words(labels, image, change, said):
    voxels = sitk.GetArrayFromImage(drawn(labels, [1, 4]))
    with pytest.raises(InputError, match=said):
        read_drawing(image, change(voxels), ROD)


def test_a_drawing_without_named_structures_is_refused(labels, image):
    with pytest.raises(InputError, match="No structure was named"):
        read_drawing(image, drawn(labels, [1, 4]), [])


def test_two_structures_of_one_value_are_refused(labels, image):
    with pytest.raises(InputError, match="value, 1"):
        read_drawing(image, drawn(labels, [1, 4]), [Structure(1, "one"), Structure(1, "other")])


@pytest.mark.parametrize("value", [0, UNKNOWN, -1, 300, 1.0, True, "1"])
def test_a_structure_has_a_value_from_1_to_254(value):
    with pytest.raises(InputError, match="give one from 1 to 254"):
        Structure(value, "rod")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seed", -1, "The seed is -1"),
        ("seed", 0.5, "The seed is 0.5"),
        ("slice_axis", "x", "choose auto, i, j or k"),
    ],
)
def test_options_that_make_no_sense_are_refused(field, value, said):
    with pytest.raises(InputError, match=said):
        FillOptions(**{field: value})
