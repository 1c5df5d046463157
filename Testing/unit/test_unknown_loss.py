"""What is unknown teaches nothing: the loss, and what a network learns from a few drawn slices."""

import numpy as np
import pytest
import torch
from unit import small

from csam.image.unknown import UNKNOWN, known_slices_only
from csam.pipeline.sliding_window import mean_probabilities
from csam.training.augment import Augmenter, Example
from csam.training.loss import cross_entropy_and_dice
from csam.training.measures import dice
from csam.training.plan import Plan
from csam.training.train import quick_dice
from csam.training.trainer import Trainer

S, K, H, W = 4, 3, 9, 7


def logits_and_truth(seed: int = 0):
    made = torch.Generator().manual_seed(seed)
    return torch.randn(S, K, H, W, generator=made) * 3, torch.randint(0, K, (S, 1, H, W), generator=made)


def loss_and_gradient(logits, truth):
    logits = logits.clone().requires_grad_()
    loss = cross_entropy_and_dice(logits, truth)
    loss.backward()
    return loss.detach(), logits.grad


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_with_every_label_known_the_loss_is_monais_to_the_last_bit(dtype):
    from monai.losses import DiceCELoss

    logits, truth = logits_and_truth()
    ours, gradient = loss_and_gradient(logits, truth.to(dtype))
    theirs = logits.clone().requires_grad_()
    expected = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)(theirs, truth)
    expected.backward()
    assert torch.equal(ours, expected.detach())
    assert torch.equal(gradient, theirs.grad)


def test_what_is_predicted_where_the_label_is_unknown_changes_neither_loss_nor_gradient():
    logits, truth = logits_and_truth()
    unknown = torch.rand(S, 1, H, W, generator=torch.Generator().manual_seed(1)) < 0.4
    unknown[2] = True
    truth = truth.masked_fill(unknown, UNKNOWN)
    other = torch.where(unknown, 20 * torch.randn(S, K, H, W), logits)
    (loss, gradient), (same, alike) = loss_and_gradient(logits, truth), loss_and_gradient(other, truth)
    assert torch.equal(loss, same)
    assert torch.equal(gradient, alike)
    assert not gradient[unknown.expand_as(gradient)].any()
    assert gradient[~unknown.expand_as(gradient)].all()


def test_a_stack_with_unknown_slices_has_the_loss_of_its_known_ones():
    logits, truth = logits_and_truth()
    expected = cross_entropy_and_dice(logits[[0, 3]], truth[[0, 3]])
    truth[1:3] = UNKNOWN
    assert torch.allclose(cross_entropy_and_dice(logits, truth), expected)


def test_a_stack_of_which_nothing_is_known_has_no_gradient():
    loss, gradient = loss_and_gradient(logits_and_truth()[0], torch.full((S, 1, H, W), UNKNOWN))
    assert torch.isfinite(loss)
    assert not gradient.any()


def stack(drawn, seed):
    """Noise with a bright square, of which only some slices were drawn; and the truth of all."""
    made = np.random.default_rng(seed)
    truth = np.zeros((6, 24, 24), np.uint8)
    top, left = made.integers(3, 12, 2)
    truth[:, top : top + 9, left : left + 9] = 1
    values = torch.from_numpy((0.3 + 0.4 * truth + made.normal(0, 0.08, truth.shape)).astype(np.float32))
    return Example(values[None], torch.from_numpy(known_slices_only(truth, drawn, 0))), torch.from_numpy(truth)


PLAN = Plan(
    base_channels=4,
    num_levels=2,
    num_slices=4,
    in_plane_spacing=2.0,
    field_of_view=(16, 16),
    intensity="volume",
    steps=60,
    learning_rate=0.02,
    ema=0.5,
    precision="float32",
)


def trained(examples):
    trainer = Trainer(PLAN, small.network(num_classes=2, num_slices=4), "cpu")
    augment = Augmenter.of(PLAN)
    for step in range(PLAN.steps):
        trainer.train_step(augment(examples, step))
    return trainer.averaged_network()


def test_a_network_learns_all_slices_from_cases_of_which_three_were_drawn():
    network = trained([stack((0, 2, 5), seed)[0] for seed in range(4)])
    whole = [Example(one.values, truth) for one, truth in (stack(range(6), seed) for seed in (11, 12))]
    assert min(quick_dice(network, one, PLAN, "cpu") for one in whole) > 0.8


def test_the_validation_dice_is_that_of_the_known_slices():
    network = small.network(num_classes=2, num_slices=4)
    part, truth = stack((1, 4), 3)
    all_of_it = Example(part.values, truth)
    found = mean_probabilities(network, part.values, PLAN.field_of_view, "cpu").argmax(1).numpy()
    drawn = [1, 4]
    expected = dice(found[drawn] == 1, truth.numpy()[drawn] == 1)
    assert quick_dice(network, part, PLAN, "cpu") == pytest.approx(expected)
    assert quick_dice(network, all_of_it, PLAN, "cpu") != pytest.approx(expected)
