"""Shape interpolation between drawn slices: it follows what slants, stays a ring, is round, and ends."""

import numpy as np
import pytest
from unit.small_fill import dice, disc

from csam.image.distance import signed_distance
from csam.interactive.interpolation import corrected, drawn_shapes, interpolate, shift

SIZE, UNIT = (64, 72), (1.0, 1.0)


def shapes_of(masks, spacing=UNIT):
    return {index: drawn_shapes(mask, spacing) for index, mask in masks.items()}


def between(index, masks, spacing=UNIT):
    return interpolate(index, shapes_of(masks, spacing), spacing) > 0


def ring(centre, outer=16, wall=4):
    return disc(SIZE, centre, outer) & ~disc(SIZE, centre, outer - wall)


def test_the_zero_of_the_distance_lies_between_the_pixels_on_either_side_of_the_outline():
    mask = np.zeros((8, 20), bool)
    mask[:, 6:12] = True
    distance = signed_distance(mask, (1.0, 2.0))
    assert distance[4, 6] > 0 > distance[4, 5]
    assert distance[4, 6] == pytest.approx(-distance[4, 5])
    assert distance[4, 11] == pytest.approx(-distance[4, 12])
    assert distance[4, 6] - distance[4, 5] >= 2.0
    assert distance[4, 3] == pytest.approx(-3 * 2.0)
    assert ((distance > 0) == mask).all()


def test_distances_of_nothing_and_of_everything_are_far_off():
    assert (signed_distance(np.zeros((4, 4), bool), UNIT) < -100).all()
    assert (signed_distance(np.ones((4, 4), bool), UNIT) > 100).all()


@pytest.mark.parametrize("mask", [disc(SIZE, (30, 30), 11), ring((30, 30)), np.zeros(SIZE, bool)])
def test_a_drawn_slice_comes_out_as_it_was_drawn(mask):
    masks = {0: disc(SIZE, (20, 20), 8), 3: mask, 6: ring((40, 30))}
    assert (between(3, masks) == mask).all()


def test_a_slanting_cylinder_is_followed():
    masks = {0: disc(SIZE, (18, 20), 9), 4: disc(SIZE, (46, 50), 9)}
    for index in (1, 2, 3):
        truth = disc(SIZE, (18 + 7 * index, 20 + 7.5 * index), 9)
        assert dice(between(index, masks), truth) > 0.95
    straight = (1 - 0.5) * signed_distance(masks[0], UNIT) + 0.5 * signed_distance(masks[4], UNIT)
    assert dice(straight > 0, disc(SIZE, (32, 35), 9)) < 0.7


def test_a_slanting_cylinder_is_followed_on_pixels_that_are_not_square():
    masks = {0: disc(SIZE, (20, 20), 9), 2: disc(SIZE, (40, 50), 9)}
    assert dice(between(1, masks, (2.0, 0.5)), disc(SIZE, (30, 35), 9)) > 0.9


def test_a_ring_that_moves_by_more_than_its_wall_stays_a_ring():
    masks = {0: ring((26, 28)), 2: ring((38, 40))}
    found = between(1, masks)
    assert dice(found, ring((32, 34))) > 0.9
    assert not found[32, 34]


def test_an_open_ring_beside_a_closed_one_does_not_fill_up():
    closed = ring((32, 34))
    open_ = closed.copy()
    open_[28:37, 46:] = False  # a gap of twice the wall
    for masks in ({0: closed, 2: open_}, {0: open_, 2: closed}):
        found = between(1, masks)
        cavity = disc(SIZE, (32, 34), 10)
        assert np.count_nonzero(found & cavity) < 0.1 * cavity.sum()
        assert dice(found, closed) > 0.85


def test_a_disc_beside_a_ring_is_not_taken_for_an_open_ring():
    solid = disc(SIZE, (32, 34), 16)
    assert (between(2, {0: ring((32, 34)), 2: solid}) == solid).all()


def test_an_ellipsoid_is_met_better_than_by_a_straight_line():
    def radius(index):
        return 20 * np.sqrt(1 - (index / 7) ** 2)

    masks = {index: disc(SIZE, (32, 36), radius(index)) for index in (-6, 0, 6)}
    for index in (-4, -3, 3, 4):
        truth = disc(SIZE, (32, 36), radius(index))
        line = between(index, {n: masks[n] for n in ((0, 6) if index > 0 else (-6, 0))})
        assert dice(between(index, masks), truth) > dice(line, truth) + 0.02


def test_a_structure_gets_smaller_and_smaller_towards_a_slice_that_is_drawn_empty():
    masks = {0: disc(SIZE, (32, 36), 14), 5: np.zeros(SIZE, bool)}
    areas = [np.count_nonzero(between(index, masks)) for index in range(6)]
    assert areas == sorted(areas, reverse=True)
    assert areas[1] < areas[0]
    assert areas[5] == 0


def test_between_two_slices_drawn_empty_there_is_nothing():
    empty = np.zeros(SIZE, bool)
    assert not between(4, {0: disc(SIZE, (32, 36), 14), 3: empty, 5: empty}).any()


def test_beyond_the_ends_the_nearest_drawn_slice_goes_on():
    masks = {2: disc(SIZE, (20, 20), 8), 5: disc(SIZE, (40, 40), 12)}
    assert (between(0, masks) == masks[2]).all()
    assert (between(9, masks) == masks[5]).all()


def test_a_picture_is_moved_by_parts_of_a_pixel():
    slope = np.arange(10, dtype=np.float32)[:, None] + np.zeros((10, 6), np.float32)
    assert shift(slope, (0.25, 1.5))[3:8] == pytest.approx(slope[3:8] - 0.25)


def test_a_correction_fades_from_slice_to_slice():
    found = np.stack([np.clip(signed_distance(disc(SIZE, (32, 36), 10), UNIT), -16, 16)] * 8)
    shapes = shapes_of({0: disc(SIZE, (32, 36), 14)})
    areas = [np.count_nonzero(corrected(index, shapes, found) > 0) for index in range(8)]
    assert (corrected(0, shapes, found) > 0).tolist() == disc(SIZE, (32, 36), 14).tolist()
    assert areas == sorted(areas, reverse=True)
    assert np.count_nonzero(found[0] > 0) < areas[2] < areas[0]


def test_what_was_right_teaches_no_change():
    mask = ring((32, 34))
    found = np.stack([np.clip(signed_distance(mask, UNIT), -16, 16)] * 4)
    assert ((corrected(2, shapes_of({0: mask, 3: mask}), found) > 0) == mask).all()
