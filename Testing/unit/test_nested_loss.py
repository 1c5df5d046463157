"""A structure that holds another one: the Dice of the loss takes both together, the cross-entropy each by itself."""

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from unit import small

from csam.training.loss import cross_entropy_and_dice
from csam.training.prepare import prepare

HELD = {1: (1,), 2: (2, 1), 3: (3,)}


def some(classes: int = 4):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, classes, 6, 7, generator=generator)
    return logits, torch.randint(0, classes, (2, 1, 6, 7), generator=generator)


def test_the_dice_is_that_of_the_regions_inside_the_outer_contours():
    logits, truth = some()
    p = logits.softmax(1)
    found = torch.stack((p[:, 1], p[:, 1] + p[:, 2], p[:, 3]), 1)
    wanted = torch.cat((truth == 1, (truth == 1) | (truth == 2), truth == 3), 1).float()
    expected = DiceLoss(batch=True)(found, wanted) + torch.nn.functional.cross_entropy(logits, truth[:, 0])
    assert torch.isclose(cross_entropy_and_dice(logits, truth, (), HELD), expected)


def test_nothing_inside_anything_is_monai_s_loss():
    logits, truth = some()
    alone = {value: (value,) for value in (1, 2, 3)}
    expected = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)(logits, truth)
    assert cross_entropy_and_dice(logits, truth, (), alone) == expected


def test_a_structure_that_nobody_has_labelled_counts_in_no_region():
    logits, truth = some()
    truth = truth * (truth != 1)  # the inner one is not labelled: it lies in the truth's background
    loss = cross_entropy_and_dice(logits, truth, (1,), HELD)
    p = logits.softmax(1)
    among = torch.cat(((logits[:, [0, 1]]).logsumexp(1, keepdim=True), logits[:, 2:]), 1)
    numbers = torch.tensor([0, 0, 1, 2])[truth[:, 0]]
    dice = DiceLoss(batch=True)(p[:, 2:], torch.cat((truth == 2, truth == 3), 1).float())
    assert torch.isclose(loss, dice + torch.nn.functional.cross_entropy(among, numbers))


@pytest.mark.parametrize("inside", [False, True])
def test_a_training_takes_what_is_inside_from_the_card(tmp_path, inside):
    small.dataset(tmp_path)
    card = {"labels": [{"name": "bright ball", "inside": "grey ball"}]} if inside else {}
    plan = {"base_channels": 2, "num_levels": 2, "field_of_view": [16, 16], "num_slices": 4, "patient_pattern": "(.*)_"}
    held = prepare(tmp_path, plan).begin(card).held
    assert held == {1: (1,), 2: (2, 1) if inside else (2,)}
