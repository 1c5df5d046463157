"""What is unknown teaches nothing: the loss, and what a network learns from a few drawn slices."""

import pytest
import torch

from csam.image.unknown import UNKNOWN
from csam.training.loss import cross_entropy_and_dice

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
