"""Training examples: slices stay whole, pictures and labels move together, and a step always makes the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csam.training.augment import Augmenter, Example, ahead, choose_slices, crop, random_example, thicken


def example(slices=6, rows=24, columns=20, channels=1):
    """Every pixel of the picture tells its slice and label: slice number / 10 + label."""
    labels = torch.zeros(slices, rows, columns, dtype=torch.uint8)
    labels[:, 8:14, 6:12] = 1
    labels[:, 15:18, 12:16] = 2
    numbers = torch.arange(slices).float()[:, None, None] / 10 * (slices < 10)
    return Example((numbers + labels).expand(channels, -1, -1, -1).clone(), labels)


def label_of(values):
    return values.floor()


@given(count=st.integers(1, 30), wanted=st.integers(1, 30), seed=st.integers(0, 100), free=st.booleans())
def test_chosen_slices_are_neighbours_in_order_or_reversed_with_repeated_edges(count, wanted, seed, free):
    indices = choose_slices(count, wanted, np.random.default_rng(seed), free_orientation=free)
    assert len(indices) == wanted
    assert indices.min() >= 0
    assert indices.max() < count
    assert set(np.diff(indices)) <= ({0, 1} if not free or indices[-1] >= indices[0] else {0, -1})
    assert len(set(indices)) == min(count, wanted)


@given(count=st.integers(4, 30), wanted=st.integers(1, 30), seed=st.integers(0, 100))
def test_dropped_slices_leave_gaps_and_the_order_of_the_others(count, wanted, seed):
    indices = choose_slices(count, wanted, np.random.default_rng(seed), dropped=True, free_orientation=False)
    assert len(indices) == wanted
    assert (np.diff(indices) >= 0).all()
    assert len(set(indices)) < count


def test_dropping_leaves_out_a_slice_or_two_or_every_second_one():
    left = {len(set(choose_slices(10, 10, np.random.default_rng(seed), dropped=True))) for seed in range(50)}
    assert left == {5, 8, 9}


def test_a_stack_of_three_slices_loses_none():
    assert len(set(choose_slices(3, 3, np.random.default_rng(0), dropped=True))) == 3


def test_thicker_slices_are_weighted_means_of_neighbours_and_keep_a_constant_stack():
    values = torch.rand(2, 5, 4, 4)
    thick = thicken(values, 0.25)
    torch.testing.assert_close(thick[:, 2], 0.25 * values[:, 1] + 0.5 * values[:, 2] + 0.25 * values[:, 3])
    torch.testing.assert_close(thick[:, 0], 0.75 * values[:, 0] + 0.25 * values[:, 1])
    torch.testing.assert_close(thicken(torch.ones(1, 3, 2, 2), 0.3), torch.ones(1, 3, 2, 2))


@settings(max_examples=200)
@given(
    row=st.integers(-60, 80), column=st.integers(-60, 80), rows=st.sampled_from([4, 10, 40]), columns=st.integers(3, 50)
)
def test_a_crop_cuts_picture_and_labels_at_the_same_place_and_pads_with_background(row, column, rows, columns):
    whole = example()
    cut = crop(whole, (row, column), (rows, columns))
    assert cut.values.shape == (1, 6, rows, columns)
    assert cut.labels.shape == (6, rows, columns)
    for s in range(6):
        inside = cut.labels[s] > 0
        torch.testing.assert_close(cut.values[0, s][inside], cut.labels[s][inside] + s / 10)
    if (row, column, rows, columns) == (12, 10, 10, 8):
        np.testing.assert_array_equal(cut.labels[0], whole.labels[0, 7:17, 6:14])


def test_a_crop_in_the_middle_is_that_part_of_the_picture():
    whole = example()
    cut = crop(whole, (12, 10), (10, 8))
    assert torch.equal(cut.values, whole.values[..., 7:17, 6:14])
    assert torch.equal(cut.labels, whole.labels[:, 7:17, 6:14])


@settings(max_examples=60)
@given(
    slices=st.integers(1, 9), num_slices=st.integers(1, 9), seed=st.integers(0, 10_000), empty=st.booleans(),
    free=st.booleans(), rows=st.sampled_from([9, 24, 70]),
)  # fmt: skip
def test_a_taken_example_has_the_labels_of_its_picture(slices, num_slices, seed, empty, free, rows):
    """Neighbours differ by a tenth: the mean with them never reaches the next label."""
    taken = random_example(example(slices, rows), num_slices, (12, 16), np.random.default_rng(seed), empty, free)
    assert taken.values.shape == (1, num_slices, 15, 20)
    assert taken.labels.shape == (num_slices, 15, 20)
    torch.testing.assert_close(label_of(taken.values[0] + 1e-4), taken.labels.float())


def test_slices_without_structure_are_only_made_at_the_ends():
    emptied = []
    for seed in range(200):
        taken = random_example(example(12), 12, (8, 8), np.random.default_rng(seed), True)
        shown = (taken.labels > 0).flatten(1).any(1)
        assert len(set(shown[3:9].tolist())) == 1
        assert (shown[1:] != shown[:-1]).sum() <= 2
        emptied.append((~shown).sum().item())
    assert len([count for count in emptied if 0 < count < 12]) > 40


def test_without_empty_slices_all_slices_show_the_same_place():
    for seed in range(50):
        shown = random_example(example(), 6, (12, 12), np.random.default_rng(seed), False).labels.flatten(1).any(1)
        assert shown.all() or not shown.any()


@pytest.mark.parametrize("rows", [12, 20, 60])
def test_a_window_reaches_little_beyond_the_picture(rows):
    """Of the inner window, without the margin for the transforms, at most a tenth of a side may be outside."""
    lit = Example(torch.ones(1, 3, rows, 60), torch.zeros(3, rows, 60, dtype=torch.uint8))
    for seed in range(40):
        taken = random_example(lit, 3, (20, 20), np.random.default_rng(seed), False).values[0, 0, 2:22, 2:22]
        assert (taken.amax(1) > 0).sum() >= min(rows, 20) - 3
        assert (taken.amax(0) > 0).sum() >= 17


def test_a_scan_without_any_structure_can_be_taken():
    blank = Example(torch.rand(1, 6, 24, 20), torch.zeros(6, 24, 20, dtype=torch.uint8))
    assert not random_example(blank, 6, (12, 12), np.random.default_rng(0), True).labels.any()


def disc(size=96, radius=10.0):
    """A bright disc and its label, three slices of it."""
    row, column = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    inside = (((row - size / 2) ** 2 + (column - size / 2) ** 2) < radius**2).expand(3, -1, -1)
    return Example(inside[None].float(), inside.to(torch.uint8))


@pytest.mark.parametrize("zoom", [0.7, 0.83, 1.0, 1.2, 1.4])
def test_an_example_comes_smaller_or_larger_with_its_labels_where_the_picture_is(zoom):
    taken = random_example(disc(), 3, (48, 48), np.random.default_rng(1), False, True, zoom)
    assert taken.labels.shape == (3, 60, 60)
    area = float(taken.labels[1].sum())
    assert area == pytest.approx(float(disc().labels[1].sum()) * zoom**2, rel=0.06)
    seen, label = taken.values[0, 1] > 0.5, taken.labels[1] > 0
    assert 2 * (seen & label).sum() / (seen.sum() + label.sum()) > 0.98
    grid = np.indices(label.shape)
    centres = [(grid * m.numpy()).sum((1, 2)) / float(m.sum()) for m in (taken.values[0, 1], label)]
    np.testing.assert_allclose(*centres, atol=0.25)


def test_about_half_of_the_examples_are_enlarged_or_shrunk():
    """A disc in the middle of a wide picture; what the affine adds is a fifth of the rows, either way."""
    augmenter = Augmenter(3, (48, 48), seed=0, empty_slices=False, zoom=(0.7, 1.4))
    areas = np.array([float(augmenter([disc(200)], step).labels[1].sum()) for step in range(120)])
    ratio = np.sqrt(areas[areas > 0] / float(disc().labels[1].sum()))
    assert np.quantile(ratio, 0.05) < 0.8
    assert np.quantile(ratio, 0.95) > 1.2
    assert 0.3 < np.mean(np.abs(np.log(ratio)) < 0.1) < 0.85


@pytest.fixture(scope="module")
def augmenter():
    return Augmenter(5, (16, 16), seed=3)


def test_a_step_always_draws_the_same_whatever_was_taken_before(augmenter):
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


def test_items_of_a_step_differ_and_do_not_depend_on_who_draws_them(augmenter):
    cases = [example(), example(4)]
    first, second = (augmenter(cases, 7, item) for item in (0, 1))
    assert not torch.equal(first.values, second.values)
    assert torch.equal(second.values, Augmenter(5, (16, 16), seed=3)(cases, 7, 1).values)


def test_further_cases_are_taken_for_their_share_of_the_examples():
    dark = [Example(torch.zeros(1, 6, 24, 20), torch.zeros(6, 24, 20, dtype=torch.uint8))]
    for share, expected in ((0.0, 0), (1.0, 20), (0.5, 10)):
        augmenter = Augmenter(5, (16, 16), seed=0, extra_share=share)
        dark_ones = sum(not augmenter([example()], step, extra=dark).labels.any() for step in range(20))
        assert abs(dark_ones - expected) <= (6 if 0 < share < 1 else 3)


def test_stacks_of_many_sizes_and_channels_give_examples_of_one_size():
    augmenter = Augmenter(5, (16, 16), seed=0)
    cases = [example(2, 20, 20, channels=2), example(9, 60, 31, channels=2), example(1, 24, 90, channels=2)]
    assert {tuple(augmenter(cases, step).values.shape) for step in range(20)} == {(2, 5, 16, 16)}


def test_no_slice_takes_anything_from_another_but_by_thickness(monkeypatch):
    """A stack in which one slice alone is not black: whatever is done in-plane, the others stay black."""
    monkeypatch.setattr("csam.training.augment.THICKER", 0)
    monkeypatch.setattr("csam.training.transforms.mt.RandGaussianNoised", lambda *_, **__: lambda data: data)
    augmenter = Augmenter(6, (16, 16), seed=1, empty_slices=False)
    values = torch.zeros(1, 6, 24, 20)
    values[:, 2] = 0.5 + 0.5 * torch.rand(24, 20)
    labels = torch.zeros(6, 24, 20, dtype=torch.uint8)
    labels[2] = 1
    for step in range(60):
        out = augmenter([Example(values, labels)], step)
        lit = out.values[0].flatten(1).amax(1) > 1e-6
        assert torch.equal(lit, out.labels.flatten(1).any(1))


def test_examples_made_ahead_come_in_order_and_an_error_is_the_callers():
    assert list(ahead(lambda step: [step], 3, 7)) == [[3], [4], [5], [6]]
    assert list(ahead(lambda step: [step], 7, 7)) == []
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda step: [1 / (step - 4)], 3, 7))


def test_drawing_an_example_leaves_torchs_random_state_alone(augmenter):
    """The gates of a training step draw from it, while the next example is made in another thread."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for step in range(30):
        augmenter([example()], step)
    assert torch.equal(torch.rand(3), expected)
