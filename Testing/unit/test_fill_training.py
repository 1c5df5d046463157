"""The training of the network that fills slices: examples from all sources, and steps that can be stopped."""

import numpy as np
import pytest
import torch
from unit import small
from unit.small_fill import PLAN, disc

from csam.errors import InputError
from csam.image.unknown import UNKNOWN
from csam.interactive.inputs import CHANNELS
from csam.interactive.interpolation import REACH
from csam.interactive.loss import fill_loss
from csam.training import fill_examples, fill_training
from csam.training.augment import Example
from csam.training.fill_examples import fill_example, flawed
from csam.training.fill_recipe import example_of
from csam.training.fill_shapes import random_stack
from csam.training.fill_training import FillPlan, new_network, train_fill


def case(unknown=False) -> Example:
    """A bright cone and a grey one in 8 slices of 96×88 pixels."""
    labels = np.zeros((8, 96, 88), np.int64)
    for index in range(8):
        labels[index][disc((96, 88), (40 + index, 34), 18 - index)] = 1
        labels[index][disc((96, 88), (60, 66 - index), 8 + index)] = 2
    values = np.choose(labels, (0.1, 0.8, 0.5)) + np.random.default_rng(0).normal(0, 0.02, labels.shape)
    if unknown:
        labels[3:5] = UNKNOWN
    return Example(torch.from_numpy(values.astype(np.float32))[None], torch.from_numpy(labels))


def quiet(*_, **__):
    pass


@pytest.mark.parametrize(
    ("made_up", "stands_out"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)], ids=["shapes", "part", "label"]
)
def test_examples_of_every_source_are_finite_and_of_the_right_shapes(monkeypatch, made_up, stands_out):
    monkeypatch.setattr(fill_examples, "MADE_UP", made_up)
    monkeypatch.setattr(fill_examples, "STANDS_OUT", stands_out)
    for seed in range(6):
        example = fill_example(np.random.default_rng(seed), [case()], 4)
        count, channels, height, width = example.x.shape
        assert (count, channels) == (4, CHANNELS)
        assert example.prior.shape == example.truth.shape == (4, height, width)
        assert example.weight.shape == (4,)
        assert all(torch.isfinite(part).all() for part in vars(example).values())
        assert set(example.truth.unique().tolist()) <= {0.0, 1.0}
        assert ((example.weight >= 0) & (example.weight <= 1)).all()
        assert example.weight.max() > 0
        assert example.x[:, 3:].abs().max() <= 1


def test_the_same_seed_gives_the_same_example():
    one, other = (fill_example(np.random.default_rng(3), [case()], 4) for _ in "ab")
    assert all(torch.equal(a, b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


def test_without_cases_shapes_are_made_up():
    assert fill_example(np.random.default_rng(0), [], 4).x.shape[:2] == (4, CHANNELS)


def test_small_pictures_and_unknown_labels_are_no_structures(monkeypatch):
    monkeypatch.setattr(fill_examples, "MADE_UP", 0.0)
    random = np.random.default_rng(0)
    assert fill_examples._labelled(random, case(unknown=True)) is None
    tiny = Example(torch.zeros(1, 2, 16, 16), torch.zeros(2, 16, 16, dtype=torch.int64))
    assert fill_examples._stands_out(random, tiny) is None
    assert fill_examples._labelled(random, tiny) is None


def test_a_made_up_stack_holds_a_structure_in_three_slices_or_more():
    for seed in range(4):
        stack = random_stack(np.random.default_rng(seed), 6, 112)
        assert stack.image.shape == stack.mask.shape == (6, 112, 112)
        assert np.isfinite(stack.image).all()
        assert stack.mask.any((1, 2)).sum() >= 3


def test_a_flawed_result_stays_near_the_truth_it_was_made_of():
    mask = case().labels.numpy() == 1
    for seed in range(4):
        found = flawed(np.random.default_rng(seed), mask)
        assert found.shape == mask.shape
        assert np.abs(found).max() <= REACH
    middle = np.mean([(flawed(np.random.default_rng(s), mask) > 0)[4][mask[4]].mean() for s in range(8)])
    assert middle > 0.6


def test_the_loss_ignores_what_is_drawn():
    generator = torch.Generator().manual_seed(0)
    odds, truth = torch.randn(3, 8, 8, generator=generator), (torch.rand(3, 8, 8, generator=generator) > 0.5).float()
    weight = torch.tensor([1.0, 0.0, 1.0])
    odds.requires_grad_(True)
    loss = fill_loss(odds, truth, weight)
    loss.backward()
    assert (odds.grad[1] == 0).all()
    assert (odds.grad[[0, 2]] != 0).any()
    other = truth.clone()
    other[1] = 1 - other[1]
    assert fill_loss(odds, other, weight) == loss
    assert torch.isfinite(fill_loss(odds, truth, torch.zeros(3)))


def test_a_right_and_certain_answer_costs_less_than_a_wrong_one():
    truth = torch.zeros(2, 8, 8)
    truth[:, 2:6, 2:6] = 1
    weight = torch.ones(2)
    losses = [fill_loss(sign * 8 * (2 * truth - 1), truth, weight) for sign in (1, 0, -1)]
    assert losses == sorted(losses)
    assert losses[0] < 0.05


def test_a_new_network_adds_nothing_to_the_interpolation():
    network = new_network(PLAN).eval()
    assert (network(torch.randn(4, CHANNELS, 32, 32)) == 0).all()


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(fill_training, "SAVED_EVERY", 2)
    expected = weights(train_fill([case()], PLAN, tmp_path / "whole", quiet))
    start = weights(new_network(PLAN))
    assert any((value != start[name]).any() for name, value in expected.items())

    made = []

    def stopping(random, cases, count):
        made.append(1)
        if len(made) > 3:
            raise KeyboardInterrupt
        return fill_example(random, cases, count)

    monkeypatch.setattr(fill_training, "fill_example", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_fill([case()], PLAN, tmp_path / "parts", quiet)
    assert torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["step"] == 2
    monkeypatch.setattr(fill_training, "fill_example", fill_example)
    found = weights(train_fill([case()], PLAN, tmp_path / "parts", quiet))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    again = weights(train_fill([case()], PLAN, tmp_path / "parts", quiet))
    assert all(torch.equal(again[name], value) for name, value in expected.items())


def test_a_folder_with_a_training_of_another_plan_is_refused(tmp_path):
    train_fill([], FillPlan(steps=1, batch=1, num_slices=4, num_levels=2, base_channels=4), tmp_path, quiet)
    with pytest.raises(InputError, match="another plan"):
        train_fill([], PLAN, tmp_path, quiet)


def test_a_case_is_read_between_0_and_1_without_the_structures_left_out(tmp_path):
    from csam.training.dataset import read_dataset

    data = read_dataset(small.dataset(tmp_path, patients=1))
    example = example_of(data.cases[0], [2])
    assert example.values.shape == (1, *example.labels.shape) == (1, 6, 18, 20)
    assert (float(example.values.min()), float(example.values.max())) == (0, 1)
    assert example.labels.unique().tolist() == [0, 1]
    assert example_of(data.cases[0], []).labels.unique().tolist() == [0, 1, 2]
