"""Tiles over a slice: all of it at a glance, what was found closely, nothing twice and nothing left out."""

import numpy as np
import pytest

from csam.image.geometry import pad_amounts
from csam.pipeline.tiles import LEANINGS, close_pass, close_passes, everywhere, first_pass, fitted, surroundings

FIELD = (32, 32)


def inside(shape):
    return tuple(slice(0, n) for n in shape)


@pytest.mark.parametrize("tiles_of", [everywhere, first_pass])
@pytest.mark.parametrize("shape", [(32, 32), (33, 70), (100, 64)])
def test_the_weights_of_all_tiles_add_up_to_one(tiles_of, shape):
    total = np.zeros(shape)
    for tile in tiles_of(shape, FIELD):
        total[tile.place] += tile.weights
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_the_first_look_takes_fewer_tiles():
    assert len(first_pass((50, 50), FIELD)) == 4
    assert len(everywhere((50, 50), FIELD)) == 9


def found_at(shape, *places):
    found = np.zeros(shape, bool)
    for place in places:
        found[place] = True
    return found


PLACES = {
    "nothing": [],
    "one": [np.s_[30:40, 50:62]],
    "a single pixel in the corner": [np.s_[79:80, 95:96]],
    "two hearts": [np.s_[5:15, 5:15], np.s_[60:72, 70:90]],
    "larger than a tile": [np.s_[8:70, 20:26], np.s_[60:66, 20:90]],
}


@pytest.mark.parametrize("leaning", [(0, 0), *LEANINGS])
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES.keys())
def test_what_was_found_lies_in_a_close_look_away_from_its_edges(places, leaning):
    found = found_at((80, 96), *places)
    tiles, first = close_pass(found, FIELD, inside(found.shape), leaning)
    total = first.astype(float)
    for tile in tiles:
        assert tile.weights.shape == FIELD
        total[tile.place] += tile.weights
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert (first[found] <= 0.5).all(), "no more than half is the first look's"
    assert not found[np.sum([covered(tile, found.shape) for tile in tiles], 0) == 0].any() if tiles else not places
    assert (first == 1).all() == (not places)


def test_one_tile_lies_in_the_middle_of_what_fits_into_it():
    tiles, _ = close_pass(found_at((80, 96), np.s_[30:36, 40:44], np.s_[44:50, 56:60]), FIELD, inside((80, 96)))
    assert [(tile.rows.start, tile.columns.start) for tile in tiles] == [(24, 34)]


def covered(tile, shape):
    mask = np.zeros(shape, int)
    mask[tile.place] = 1
    return mask


def test_close_passes_share_out_the_samples_and_look_from_several_places():
    found = found_at((80, 96), np.s_[30:36, 40:44])
    passes = close_passes(found, FIELD, inside(found.shape), 5)
    assert [list(numbers) for numbers, _, _ in passes] == [[0, 3], [1, 4], [2]]
    (one,), (other,), (third,) = (tiles for _, tiles, _ in passes)
    assert one.rows.start < other.rows.start == third.rows.start
    assert one.columns.start == third.columns.start < other.columns.start


def test_two_samples_are_taken_from_two_places():
    found = found_at((80, 96), np.s_[30:36, 40:44])
    passes = close_passes(found, FIELD, inside(found.shape), 2)
    assert [list(numbers) for numbers, _, _ in passes] == [[0], [1]]


def test_a_single_sample_is_taken_in_the_middle():
    found = found_at((80, 96), np.s_[30:36, 40:44])
    ((numbers, tiles, _),) = close_passes(found, FIELD, inside(found.shape), 1)
    assert list(numbers) == [0]
    assert [(tile.rows.start, tile.columns.start) for tile in tiles] == [(17, 26)]


def test_where_something_is_found_everywhere_tiles_are_no_more_than_everywhere():
    found = np.ones((80, 96), bool)
    (numbers, tiles, first), (others, none, whole) = close_passes(found, FIELD, inside(found.shape), 4)
    assert [list(numbers), list(others)] == [[0, 2], [1, 3]]
    assert [(t.rows, t.columns) for t in tiles] == [(t.rows, t.columns) for t in everywhere(found.shape, FIELD)]
    assert not first.any()
    assert not none
    assert (whole == 1).all()
    (alone,) = close_passes(found, FIELD, inside(found.shape), 1)
    assert list(alone[0]) == [0]


def test_where_nothing_is_found_there_is_no_close_pass():
    found = np.zeros((80, 96), bool)
    passes = close_passes(found, FIELD, inside(found.shape), 4)
    assert not any(tiles for _, tiles, _ in passes)
    assert all((first == 1).all() for _, _, first in passes)


def test_two_hearts_far_apart_take_two_tiles():
    assert len(close_pass(found_at((80, 96), *PLACES["two hearts"]), FIELD, inside((80, 96)))[0]) == 2


@pytest.mark.parametrize(
    ("image", "field"), [((20, 100), (24, 32)), ((5, 5), (16, 8)), ((128, 128), (32, 32)), ((17, 16), (24, 16))]
)
def test_a_small_image_is_padded_to_the_next_multiple_alone(image, field):
    assert fitted(image, FIELD, 8) == field


@pytest.mark.parametrize(("start", "stop"), [(40, 44), (0, 4), (96, 100), (20, 60)])
def test_a_region_is_read_by_the_tiles_of_the_whole_image_that_come_near_it(start, stop):
    starts = sorted({tile.columns.start for tile in first_pass((32, 100), FIELD)})
    near = [first for first in starts if first < stop + 16 and first + 32 > start - 16]
    seen = surroundings(start, stop, 32, 100)
    assert (seen.start, seen.stop) == (near[0], near[-1] + 32)
    assert seen.start <= max(0, start - 4)
    assert seen.stop >= min(100, stop + 4)


def test_a_region_of_an_image_that_is_smaller_than_the_field_of_view_is_read_with_all_of_it():
    assert surroundings(2, 5, 32, 10) == slice(0, 10)


@pytest.mark.parametrize("image", [(20, 100), (100, 20), (27, 33), (5, 70)])
def test_a_close_look_stays_in_an_image_that_is_padded_along_one_axis(image):
    field = fitted(image, FIELD, 8)
    padding = [pad_amounts(n, f) for n, f in zip(image, field, strict=True)]
    lies = tuple(slice(before, before + n) for (before, _), n in zip(padding, image, strict=True))
    found = np.zeros([n + sum(pad) for n, pad in zip(image, padding, strict=True)], bool)
    found[lies] = True
    tiles, first = close_pass(found, field, lies)
    total = first.astype(float)
    for tile in tiles:
        total[tile.place] += tile.weights
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_a_small_structure_in_an_image_of_two_tiles_is_not_everywhere():
    found = found_at((32, 48), np.s_[14:18, 22:26])
    assert len(everywhere(found.shape, FIELD)) == 2  # three places would be more
    passes = close_passes(found, FIELD, inside(found.shape), 4)
    assert [list(numbers) for numbers, _, _ in passes] == [[0, 2], [1, 3]]
    assert all(len(tiles) == 1 for _, tiles, _ in passes)
