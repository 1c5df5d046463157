"""What a training makes small: the loss of one stack.

Step: train.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..image.unknown import UNKNOWN
from ..network.posterior import GatePosterior


def cross_entropy_and_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy + Dice of what is known: of pixels whose truth is UNKNOWN neither has a term, nor a gradient.

    logits: (S, K, H, W). truth: (S, 1, H, W), 0 to K - 1 or UNKNOWN → a number, 0 where nothing is known. With all
    known it is MONAI's DiceCELoss(to_onehot_y, softmax, batch, without the background's Dice) to the last bit. MONAI's
    MaskedDiceLoss is not used: it masks what comes before the softmax, and a pixel of equal logits is no pixel of no
    structure.
    """
    from monai.losses import DiceLoss

    known = truth != UNKNOWN
    entropy = F.cross_entropy(logits, truth[:, 0].long(), ignore_index=UNKNOWN, reduction="sum") / known.sum().clamp(1)
    classes = torch.arange(logits.shape[1], device=truth.device).view(1, -1, 1, 1)
    dice = DiceLoss(include_background=False, batch=True)
    return dice(logits.softmax(1) * known, (truth == classes).to(logits.dtype)) + entropy


class Loss(nn.Module):
    """The loss of one stack: cross-entropy + Dice, averaged over the samples of the gates and the network's heads.

    x: (S, C, H, W), truth: (S, 1, H, W), UNKNOWN where nobody has labelled → the loss, and the mean spread of every
    level's gate logits.
    """

    def __init__(self, network: nn.Module, samples: int):
        super().__init__()
        self.network, self.samples = network, samples

    def forward(self, x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        posterior = GatePosterior(self.network, x)
        outputs = [posterior.logits(posterior.one_sample()) for _ in range(self.samples)]
        heads = [head.float() for out in outputs for head in (out if isinstance(out, list) else [out])]
        spreads = [d.variance.detach().sqrt().mean() for d in posterior.distributions if d is not None]
        return sum(cross_entropy_and_dice(head, truth) for head in heads) / len(heads), (
            torch.stack(spreads) if spreads else x.new_zeros(0)
        )
