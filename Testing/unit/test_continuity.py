"""A structure that runs through a stack, with a slice lost, moved, or tapering as anatomy does."""

import numpy as np
import pytest

from csam.uncertainty.continuity import SURE, box_of, inside_pieces, largest_piece, missing_between, unsure_ends


def cone(slices=8, size=32):
    """Discs that shrink from slice to slice."""
    i, j = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    return np.stack([(i - 16) ** 2 + (j - 16) ** 2 < (12 - k) ** 2 for k in range(slices)])


def test_a_lost_slice_is_missing_what_its_neighbours_have_in_common():
    mask = cone()
    mask[3] = False
    found = missing_between(mask)
    np.testing.assert_array_equal(found[3], mask[2] & mask[4])
    assert not np.delete(found, 3, axis=0).any()


def test_a_structure_that_tapers_or_ends_is_not_broken():
    mask = cone()
    mask[6:] = False
    assert not missing_between(mask).any()
    assert not missing_between(mask[::-1]).any()
    assert not missing_between(np.zeros_like(mask)).any()


@pytest.mark.parametrize(("kept", "broken"), [(0.4, True), (0.6, False)])
def test_half_of_the_common_part_decides(kept, broken):
    mask = np.ones((3, 10, 10), bool)
    mask[1, int(10 * kept) :] = False
    assert missing_between(mask).any() == broken


def test_what_is_too_small_to_run_through_breaks_nothing():
    mask = np.zeros((3, 10, 10), bool)
    mask[[0, 2], 4:6, 4:6] = True
    assert missing_between(mask, smallest=4).sum() == 4
    assert not missing_between(mask, smallest=5).any()


def test_short_stacks_have_no_slice_between():
    for slices in (1, 2):
        assert not missing_between(np.ones((slices, 4, 4), bool)).any()


def test_a_stray_piece_goes_and_the_structure_stays():
    mask, stray = cone(), np.zeros((8, 32, 32), bool)
    stray[2:4, 0:2, 0:2] = True
    np.testing.assert_array_equal(largest_piece(mask | stray), mask)


def test_a_structure_torn_by_one_lost_slice_stays_whole():
    mask = cone()
    mask[4] = False
    np.testing.assert_array_equal(largest_piece(mask), mask)


def test_what_two_lost_slices_part_are_two_pieces():
    mask = cone()
    mask[3:5] = False
    found = largest_piece(mask)
    assert found[:3].any()
    assert not found[5:].any()


def test_nothing_has_no_piece():
    assert not largest_piece(np.zeros((3, 4, 4), bool)).any()
    assert largest_piece(np.ones((1, 4, 4), bool)).all()


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 5, 9), (5, 19, 14)])
def test_a_box_holds_all_that_is_true_and_no_more(place):
    mask = np.zeros((6, 20, 15), bool)
    mask[place] = mask[2, 7, 9] = True
    box = box_of(mask)
    assert mask[box].sum() == mask.sum()
    assert mask[box].shape == tuple(1 + abs(a - b) for a, b in zip(place, (2, 7, 9), strict=True))
    assert mask[box_of(np.zeros_like(mask))].size == 0


@pytest.mark.parametrize("rule", [largest_piece, missing_between])
def test_what_lies_around_a_structure_changes_nothing(rule):
    mask = cone()
    mask[3] = False
    wide = np.pad(mask, ((2, 3), (20, 40), (1, 2)))
    np.testing.assert_array_equal(rule(wide)[2:-3, 20:-40, 1:-2], rule(mask))
    assert not rule(np.zeros_like(wide)).any()


def test_what_stays_away_from_the_borders_of_a_region_is_joined_nowhere():
    mask = np.zeros((3, 12, 12), bool)
    mask[:, 2:5, 2:6] = mask[:, 8:10, 8:10] = True  # the corners of all that was found, but not of the region
    everywhere = ((True, True),) * 3
    assert largest_piece(mask[:, :, :], everywhere[:1] + ((True, True), (True, True))).sum() == mask.sum()  # all slices
    kept = largest_piece(mask, ((False, False), (True, True), (True, True)))
    assert kept[:, 2:5, 2:6].all()
    assert not kept[:, 8:10, 8:10].any()


def test_pieces_that_nothing_surrounds_are_not_kept():
    around, mask = np.zeros((2, 3, 20, 20), bool)
    around[:, 3:12, 3:12] = True
    mask[:, 5:10, 5:10] = True
    around &= ~mask
    atrium = np.zeros_like(mask)
    atrium[0, 14:18, 14:18] = True
    np.testing.assert_array_equal(inside_pieces(mask | atrium, around), mask)


def test_a_ring_that_is_open_by_less_than_half_surrounds():
    around, mask = np.zeros((2, 1, 20, 20), bool)
    around[0, 3:12, 3:12] = True
    mask[0, 5:10, 5:10] = True
    around &= ~mask
    around[:, :, 10:] = False  # one side of four
    np.testing.assert_array_equal(inside_pieces(mask, around), mask)
    around[:, 10:] = around[:, :5] = False  # three of four
    mask[0, 0, 0], around[0, 0, 1:3] = True, True
    assert np.argwhere(inside_pieces(mask, around)).tolist() == [[0, 0, 0]]


def test_a_wall_that_is_open_at_the_base_surrounds_what_goes_on_in_the_next_slice():
    around, mask = np.zeros((2, 3, 20, 20), bool)
    around[:, 3:12, 3:12] = True
    mask[:, 5:10, 5:10] = True
    around &= ~mask
    around[0, :, 8:] = around[0, 8:] = False  # less than half of the outline at the base
    np.testing.assert_array_equal(inside_pieces(mask, around), mask)
    elsewhere = mask.copy()
    elsewhere[0] = np.roll(mask[0], 3, (0, 1))  # over the cavity of the next slice with less than half
    elsewhere[0] &= ~around[0]
    kept = inside_pieces(elsewhere, around)
    assert not kept[0].any()
    np.testing.assert_array_equal(kept[1:], mask[1:])
    around[0] = False  # an atrium, over the cavity but without a wall
    assert not inside_pieces(mask, around)[0].any()


@pytest.mark.parametrize(("bordering", "stays"), [(5, True), (4, False)])
def test_a_quarter_of_the_outline_is_enough_for_what_goes_on(bordering, stays):
    around, mask = np.zeros((2, 2, 20, 20), bool)
    around[1, 3:12, 3:12] = True
    mask[:, 5:10, 5:10] = True  # an outline of 20 pixels
    around &= ~mask
    around[0, 4, 5 : 5 + bordering] = True
    assert inside_pieces(mask, around)[0].any() == stays


def test_where_nothing_surrounds_anything_all_is_kept():
    mask = np.zeros((2, 8, 8), bool)
    mask[:, 2:5, 2:5] = True
    np.testing.assert_array_equal(inside_pieces(mask, np.zeros_like(mask)), mask)


@pytest.mark.parametrize(
    ("walls", "cavity", "ends"),
    [
        ("?!", "", ""),  # without a cavity nobody knows
        ("??!!??", "..CC..", "0145"),
        ("?!?!!", "...CC", "0"),  # behind a sure slice nothing is torn out
        ("?.?!!!", "...CCC", "02"),
        ("!?!", "C.C", ""),  # between two slices of the cavity
        ("!!", "CC", ""),
    ],
)
def test_an_end_is_unsure_from_the_outermost_slice_to_the_first_sure_one(walls, cavity, ends):
    """A letter a slice: a wall that is sure (!) or not (?), a cavity (C)."""
    mask, other = np.zeros((2, len(walls), 6, 6), bool)
    mask[:, 1:5, 1:5] = np.array([one != "." for one in walls])[:, None, None]
    other[:, 2:4, 2:4] = np.array([one == "C" for one in cavity.ljust(len(walls), ".")])[:, None, None]
    background = np.where(mask, 1 - np.array([SURE + 0.1 * (one == "!") - 0.05 for one in walls])[:, None, None], 1)
    assert "".join(map(str, np.flatnonzero(unsure_ends(mask & ~other, other, background)))) == ends
