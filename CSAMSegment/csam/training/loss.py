"""What a training makes small: the loss of one stack.

Step: train.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..network.posterior import GatePosterior


class Loss(nn.Module):
    """The loss of one stack: cross-entropy + Dice, averaged over the samples of the gates and the network's heads.

    x: (S, C, H, W), truth: (S, 1, H, W) → the loss, and the mean spread of every level's gate logits.
    """

    def __init__(self, network: nn.Module, samples: int):
        super().__init__()
        from monai.losses import DiceCELoss

        self.network, self.samples = network, samples
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)

    def forward(self, x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        posterior = GatePosterior(self.network, x)
        outputs = [posterior.logits(posterior.one_sample()) for _ in range(self.samples)]
        heads = [head.float() for out in outputs for head in (out if isinstance(out, list) else [out])]
        spreads = [d.variance.detach().sqrt().mean() for d in posterior.distributions if d is not None]
        return sum(self.loss(head, truth) for head in heads) / len(heads), (
            torch.stack(spreads) if spreads else x.new_zeros(0)
        )
