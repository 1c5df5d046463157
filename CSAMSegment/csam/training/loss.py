"""What a training makes small: the loss of one stack.

Step: train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..image.unknown import UNKNOWN
from ..network.posterior import GatePosterior


def cross_entropy_and_dice(
    logits: Tensor, truth: Tensor, unlabelled: Sequence[int] = (), held: Mapping[int, Sequence[int]] | None = None
) -> Tensor:
    """Cross-entropy + Dice of what is known: of pixels whose truth is UNKNOWN neither has a term, nor a gradient.

    logits: (S, K, H, W). truth: (S, 1, H, W), 0 to K - 1 or UNKNOWN → a number, 0 where nothing is known. unlabelled:
    classes that nobody has labelled, whose pixels lie in the truth's background: see ``merged``. held: by class, those
    that its outer contour holds, itself among them; the Dice is that of all these together. A wall that is thin
    would otherwise be learned too thick, as the Dice of an unsure thin structure is best when it is drawn too large.
    With all known and nothing inside anything it is MONAI's DiceCELoss(to_onehot_y, softmax, batch, without the
    background's Dice) to the last bit. MONAI's MaskedDiceLoss is not used: it masks what comes before the softmax, and
    a pixel of equal logits is no pixel of no structure.
    """
    from monai.losses import DiceLoss

    known = truth != UNKNOWN
    probabilities = logits.softmax(1) * known
    regions = [
        [value for value in (held or {}).get(outer, (outer,)) if value not in unlabelled]
        for outer in range(1, logits.shape[1])
        if outer not in unlabelled
    ]
    found = torch.cat([probabilities[:, region].sum(1, keepdim=True) for region in regions], 1)
    wanted = torch.cat([torch.isin(truth, truth.new_tensor(region)) for region in regions], 1).to(logits.dtype)
    if unlabelled:
        logits, truth = merged(logits, truth, unlabelled)
    entropy = F.cross_entropy(logits, truth[:, 0].long(), ignore_index=UNKNOWN, reduction="sum") / known.sum().clamp(1)
    return DiceLoss(batch=True)(found, wanted) + entropy


def merged(logits: Tensor, truth: Tensor, unlabelled: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Logits and truth of fewer classes: background stands for itself and for all that is unlabelled.

    Its probability becomes the sum of theirs, so that a pixel of an unlabelled structure is not taught to be anything
    in particular, but not to be a labelled one. The marginal loss of Shi et al., Medical Image Analysis 70 (2021),
    https://doi.org/10.1016/j.media.2021.101979, for data sets that are labelled in part.
    """
    labelled = [c for c in range(1, logits.shape[1]) if c not in unlabelled]
    background = logits[:, [0, *unlabelled]].logsumexp(1, keepdim=True)
    numbers = torch.zeros(UNKNOWN + 1, dtype=torch.long, device=truth.device)
    numbers[labelled] = torch.arange(1, len(labelled) + 1, device=truth.device)
    numbers[UNKNOWN] = UNKNOWN
    return torch.cat((background, logits[:, labelled]), 1), numbers[truth.long()]


class Loss(nn.Module):
    """The loss of one stack: cross-entropy + Dice, averaged over the samples of the gates and the network's heads.

    held: as ``cross_entropy_and_dice`` takes it. x: (S, C, H, W), truth: (S, 1, H, W), UNKNOWN where nobody has
    labelled, unlabelled: classes that nobody has → the loss, and the mean spread of every level's gate logits.
    """

    def __init__(self, network: nn.Module, samples: int, held: Mapping[int, Sequence[int]] | None = None):
        super().__init__()
        self.network, self.samples, self.held = network, samples, held

    def forward(self, x: Tensor, truth: Tensor, unlabelled: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
        posterior = GatePosterior(self.network, x)
        outputs = [posterior.logits(posterior.one_sample()) for _ in range(self.samples)]
        heads = [head.float() for out in outputs for head in (out if isinstance(out, list) else [out])]
        spreads = [d.variance.detach().sqrt().mean() for d in posterior.distributions if d is not None]
        return sum(cross_entropy_and_dice(head, truth, unlabelled, self.held) for head in heads) / len(heads), (
            torch.stack(spreads) if spreads else x.new_zeros(0)
        )
