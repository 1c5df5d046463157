"""Training examples: slices stay whole, pictures and labels move together, and a step always draws the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit import small  # noqa: F401 one thread

from csam.augment import Augmenter, Example, crop, draw_example, window_of_slices


def example(slices=6, rows=24, columns=20, channels=1):
    """Every pixel of the picture tells its slice and label: slice number / 10 + label."""
    labels = torch.zeros(slices, rows, columns, dtype=torch.uint8)
    labels[:, 8:14, 6:12] = 1
    labels[:, 15:18, 12:16] = 2
    numbers = torch.arange(slices).float()[:, None, None] / 10
    return Example((numbers + labels).expand(channels, -1, -1, -1).clone(), labels)


def label_of(values):
    return values.floor()


@given(count=st.integers(1, 30), wanted=st.integers(1, 30), seed=st.integers(0, 100))
def test_a_window_of_slices_is_neighbouring_slices_with_repeated_edges(count, wanted, seed):
    indices = window_of_slices(count, wanted, np.random.default_rng(seed))
    assert len(indices) == wanted
    assert indices.min() >= 0
    assert indices.max() < count
    assert set(np.diff(indices)) <= {0, 1}
    assert len(set(indices)) == min(count, wanted)


def test_a_crop_cuts_picture_and_labels_at_the_same_place_and_pads_with_background():
    whole = example()
    centres = np.array([[12, 10], [0, 0], [23, 19], [5, 5], [100, 100], [12, 10]])
    cut = crop(whole, centres, (10, 8))
    assert cut.values.shape == (1, 6, 10, 8)
    for s in range(6):
        inside = cut.labels[s] > 0
        torch.testing.assert_close(cut.values[0, s][inside], cut.labels[s][inside] + s / 10)
    np.testing.assert_array_equal(cut.labels[0], whole.labels[0, 7:17, 6:14])
    assert not cut.labels[1, :5, :4].any()
    assert not cut.values[0, 4].any()


@settings(max_examples=60)
@given(slices=st.integers(1, 9), num_slices=st.integers(1, 9), seed=st.integers(0, 10_000), empty=st.booleans())
def test_a_drawn_example_has_the_labels_of_its_picture(slices, num_slices, seed, empty):
    drawn = draw_example(example(slices), num_slices, (12, 16), np.random.default_rng(seed), empty)
    assert drawn.values.shape == (1, num_slices, 15, 20)
    assert drawn.labels.shape == (num_slices, 15, 20)
    torch.testing.assert_close(label_of(drawn.values[0] + 1e-4), drawn.labels.float())


def test_slices_without_structure_are_only_made_at_the_ends():
    emptied = []
    for seed in range(200):
        drawn = draw_example(example(12), 12, (8, 8), np.random.default_rng(seed), True)
        shown = (drawn.labels > 0).flatten(1).any(1)
        assert len(set(shown[3:9].tolist())) == 1
        assert (shown[1:] != shown[:-1]).sum() <= 2
        emptied.append((~shown).sum().item())
    assert len([count for count in emptied if 0 < count < 12]) > 40


def test_without_empty_slices_all_slices_show_the_same_place():
    for seed in range(50):
        shown = draw_example(example(), 6, (12, 12), np.random.default_rng(seed), False).labels.flatten(1).any(1)
        assert shown.all() or not shown.any()


def test_a_scan_without_any_structure_can_be_drawn():
    blank = Example(torch.rand(1, 6, 24, 20), torch.zeros(6, 24, 20, dtype=torch.uint8))
    assert not draw_example(blank, 6, (12, 12), np.random.default_rng(0), True).labels.any()


@pytest.fixture(scope="module")
def augmenter():
    return Augmenter(5, (16, 16), seed=3)


def test_a_step_always_draws_the_same_whatever_was_drawn_before(augmenter):
    cases = [example(), example(4)]
    first = augmenter(cases, 7)
    augmenter(cases, 8)
    again, fresh = augmenter(cases, 7), Augmenter(5, (16, 16), seed=3)(cases, 7)
    for other in (again, fresh):
        assert torch.equal(first.values, other.values)
        assert torch.equal(first.labels, other.labels)
    assert not torch.equal(first.values, augmenter(cases, 8).values)
    assert not torch.equal(first.values, Augmenter(5, (16, 16), seed=4)(cases, 7).values)


def test_an_augmented_example_is_made_of_plain_tensors_of_the_size_asked_for(augmenter):
    for step in range(12):
        out = augmenter([example()], step)
        assert type(out.values) is type(out.labels) is torch.Tensor
        assert out.values.shape == (1, 5, 16, 16)
        assert out.labels.shape == (5, 16, 16)
        assert out.values.dtype == torch.float32
        assert out.labels.dtype == torch.int64
        assert set(out.labels.unique().tolist()) <= {0, 1, 2}
        assert torch.isfinite(out.values).all()


def test_a_field_of_view_that_is_no_square_keeps_its_shape():
    oblong = Augmenter(5, (24, 8), seed=0)
    assert {tuple(oblong([example()], step).labels.shape) for step in range(12)} == {(5, 24, 8)}


def test_picture_and_labels_move_together(augmenter):
    """Where the label says structure 2, the picture is brighter than where it says background, whatever was done."""
    compared = 0
    for step in range(40):
        out = augmenter([Example(example().labels[None].float() / 2, example().labels)], step)
        bright, dark = out.values[0][out.labels == 2], out.values[0][out.labels == 0]
        if len(bright) > 20:
            compared += 1
            assert bright.median() > dark.median() + 0.1
    assert compared > 10
