"""What both the training and the tuning on a case make small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BORDER = 4.0
"""Weight of the cross-entropy beside the Dice: its mean is over the whole window, of which borders are a small part."""


def fill_loss(log_odds: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy and soft Dice over the slices that count. log_odds, truth: (n, h, w). weight: (n,), 0 to 1."""
    weight = weight[:, None, None].expand_as(log_odds)
    entropy = F.binary_cross_entropy_with_logits(log_odds, truth, reduction="none")
    probability = torch.sigmoid(log_odds)
    both = (weight * probability * truth).sum()
    either = (weight * (probability + truth)).sum()
    mean = (weight * entropy).sum() / weight.sum().clamp_min(1e-6)
    return BORDER * mean + 1 - (2 * both + 1) / (either + 1)
