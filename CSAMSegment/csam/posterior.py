"""Samples of the gates' joint posterior, under the name that other programs import.

The code is in ``csam.network.posterior``; what a further sample costs, and why it is exact: Resources/docs/sampling.md.

Example:
    >>> import torch
    >>> from csam.networks import CSAMUNet
    >>> from csam.posterior import sample_logits
    >>> network = CSAMUNet(input_channels=1, num_classes=2, num_levels=3, base_channels=16, num_slices=8).eval()
    >>> samples = sample_logits(network, torch.zeros(8, 1, 32, 32), samples=4)
    >>> [logits.shape for logits in samples][0]
    torch.Size([8, 2, 32, 32])
"""

from .network.posterior import GatePosterior, sample_logits

__all__ = [
    "GatePosterior",
    "sample_logits",
]
