"""The window and the pixels in which a structure is seen: the same at any spacing, and bounded."""

import numpy as np
import pytest
import torch
from unit.small_fill import disc

from csam.interactive.region import LARGEST, MARGIN, MULTIPLE, SPAN, normalised, region_of


def smooth(height, width):
    rows, columns = np.mgrid[:height, :width]
    return torch.from_numpy((np.sin(rows / 15) + np.cos(columns / 11)).astype(np.float32))[None]


@pytest.mark.parametrize("spacing", [(1e-4, 1e-4), (0.3, 0.3), (1.5, 1.5), (7.0, 7.0), (1.0, 3.0), (4.0, 1.0)])
@pytest.mark.parametrize("size", [64, 512])
def test_a_structure_spans_as_many_pixels_at_any_spacing(spacing, size):
    mask = disc((size, size), (size / 2, size / 2), size / 5)
    region = region_of([mask], spacing)
    across = max(2 * size / 5 * s / p for s, p in zip(spacing, region.pixel, strict=True))
    assert across == pytest.approx(SPAN, rel=0.15)
    assert region.pixel[0] == pytest.approx(region.pixel[1], rel=0.15)
    assert all(n % MULTIPLE == 0 for n in region.size)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 2.0)])
def test_a_margin_lies_around_everything_that_is_drawn(spacing):
    masks = [disc((100, 90), (30, 30), 12), disc((100, 90), (60, 50), 6), np.zeros((100, 90), bool)]
    region = region_of(masks, spacing)
    for n, (start, length, low, high) in enumerate(
        ((region.top, region.extent[0], 18, 66), (region.left, region.extent[1], 18, 56))
    ):
        margin = (MARGIN - 3) * region.pixel[n] / spacing[n]
        assert start < low - margin
        assert start + length > high + margin


def test_a_tiny_structure_gets_no_finer_pixels_than_a_quarter_of_the_image_s():
    mask = np.zeros((40, 40), bool)
    mask[20, 20] = True
    region = region_of([mask], (2.0, 2.0))
    assert min(region.pixel) >= 0.45


@pytest.mark.parametrize("count", [1, 40])
def test_a_structure_that_wanders_through_a_large_image_is_seen_in_a_bounded_window(count):
    masks = [disc((512, 512), (10 + 12 * n, 500 - 12 * n), 8) for n in range(count)]
    region = region_of(masks, (0.7, 0.7))
    assert max(region.size) <= LARGEST + MULTIPLE


def test_a_long_thin_structure_is_seen_in_a_bounded_window():
    mask = np.zeros((512, 512), bool)
    mask[5:507, 250:253] = True
    region = region_of([mask], (0.4, 0.4))
    assert max(region.size) <= LARGEST + MULTIPLE
    assert region.seen(torch.from_numpy(mask).float()[None]).max() > 0.1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 1.3)])
@pytest.mark.parametrize("centre", [(48, 40), (2, 3), (94, 78)])
def test_what_is_seen_comes_back_to_a_part_of_a_pixel(centre, spacing):
    mask = disc((96, 80), centre, 14)
    region = region_of([mask], spacing)
    picture = smooth(96, 80)
    back = region.back(region.seen(picture), (96, 80), -9.0)
    rows, columns = (slice(max(0, c - 10), c + 10) for c in centre)
    assert (back - picture)[0, rows, columns].abs().max() < 0.02 * float(picture.max() - picture.min())


def test_beyond_the_image_its_edge_goes_on_and_beyond_the_window_nothing_is_said():
    mask = disc((64, 64), (0, 63), 9)
    region = region_of([mask], (1.0, 1.0))
    assert region.top < 0
    assert region.left + region.extent[1] > 64
    seen = region.seen(smooth(64, 64))
    assert torch.isfinite(seen).all()
    assert seen.shape[1:] == region.size
    back = region.back(seen, (64, 64), -9.0)
    assert (back[0, 50:, :20] == -9).all()
    assert back[0, 0, 63] > -9


def test_the_distances_of_drawn_slices_are_in_the_pixels_that_are_seen():
    mask = disc((200, 200), (100, 90), 40)
    region = region_of([mask], (0.5, 0.5))
    shape = region.shapes({3: mask}, (0.5, 0.5))[3]
    assert shape.distance.max() == pytest.approx(SPAN / 2, abs=1.5)
    assert shape.outline.centre == pytest.approx([(n - 1) / 2 for n in region.size], abs=1.0)
    assert np.count_nonzero(shape.distance > 0) == pytest.approx(np.pi * (SPAN / 2) ** 2, rel=0.1)


def test_values_come_between_0_and_1_and_those_of_a_flat_window_are_finite():
    values = normalised(1000 * smooth(40, 40) - 300)
    assert (float(values.min()), float(values.max())) == (0, 1)
    assert torch.isfinite(normalised(torch.full((3, 8, 8), 7.0))).all()
