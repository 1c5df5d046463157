"""CSAM's gates, under the name that other programs import. The code is in ``csam.network.attention``.

x has the shape (S, C, H, W): the slices of one volume are the batch (Hung et al., WACV 2024, arXiv 2311.04942).

Example:
    >>> import torch
    >>> from csam.attention import CSAM
    >>> gates = CSAM(num_slices=20, num_channels=64).eval()
    >>> gates(torch.zeros(20, 64, 32, 32)).shape
    torch.Size([20, 64, 32, 32])
"""

from .network.attention import CSAM, GateDistribution, PositionalAttention, SemanticAttention, SliceAttention

__all__ = [
    "CSAM",
    "GateDistribution",
    "PositionalAttention",
    "SemanticAttention",
    "SliceAttention",
]
