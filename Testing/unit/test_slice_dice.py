"""A share of the loss's Dice that is measured slice by slice: what is small in a stack counts in its slice."""

import pytest
import torch
from unit import small

from csam.image.unknown import UNKNOWN
from csam.training.loss import cross_entropy_and_dice
from csam.training.plan import Plan
from csam.training.trainer import Trainer


def stack():
    """Two slices, one filled by a structure and one with four pixels of it → truth (2, 1, 16, 16)."""
    truth = torch.zeros(2, 1, 16, 16)
    truth[0, 0, 2:14, 2:14] = 1
    truth[1, 0, 7:9, 7:9] = 1
    return truth


def logits_of(labels: torch.Tensor) -> torch.Tensor:
    """Sure ones: the cross-entropy of two mistakes of the same size is the same."""
    there = torch.cat((1 - labels, labels), 1)
    return 12 * there - 6


def with_more(at: int) -> torch.Tensor:
    """The truth with twelve false pixels in a slice."""
    labels = stack()
    labels[at, 0, 15, :12] = 1
    return labels


def test_a_mistake_costs_more_in_the_slice_where_the_structure_is_small():
    losses = [cross_entropy_and_dice(logits_of(with_more(at)), stack(), by_slice=0.5) for at in (0, 1)]
    assert losses[1] > losses[0] + 0.05
    same = [cross_entropy_and_dice(logits_of(with_more(at)), stack()) for at in (0, 1)]
    assert torch.isclose(*same)


def test_ten_false_pixels_cost_half_the_dice_of_a_slice_without_a_structure():
    truth, labels = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    labels[0, 0, 4, :10] = 1
    sure = 10 * logits_of(labels)
    entropy = torch.nn.functional.cross_entropy(sure, truth[:, 0].long())
    assert torch.isclose(cross_entropy_and_dice(sure, truth, by_slice=1.0) - entropy, torch.tensor(0.5), atol=1e-3)


def test_a_slice_that_is_found_right_costs_nothing():
    truth = stack()
    truth[1] = 0
    assert cross_entropy_and_dice(10 * logits_of(truth), truth, by_slice=1.0) < 1e-4


def test_what_nobody_has_labelled_changes_nothing():
    truth, logits = stack(), logits_of(with_more(1))
    truth[1, 0, 15] = UNKNOWN
    logits[1, :, 15] = torch.tensor([[3.0], [-2.0]])
    logits.requires_grad_()
    one = cross_entropy_and_dice(logits, truth, by_slice=0.5)
    one.backward()
    assert not logits.grad[1, :, 15].any()
    assert logits.grad[0].any()


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_training_takes_the_share_from_its_plan(share):
    trainer = Trainer(Plan(dice_by_slice=share, precision="float32"), small.network(), "cpu")
    assert trainer.objective.by_slice == share
