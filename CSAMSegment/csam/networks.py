"""The paper's networks, under the name that other programs import. The code is in ``csam.network.networks``.

Parameter names are those of the published code, so that its checkpoints load.

Example:
    >>> import torch
    >>> from csam.networks import CSAMUNet, from_state_dict
    >>> network = CSAMUNet(input_channels=1, num_classes=3, num_levels=3, base_channels=16, num_slices=20)
    >>> from_state_dict(network.state_dict())(torch.zeros(20, 1, 64, 64)).shape
    torch.Size([20, 3, 64, 64])
"""

from .network.networks import (
    CSAMUNet,
    CSAMUNetPlusPlus,
    from_state_dict,
)

__all__ = [
    "CSAMUNet",
    "CSAMUNetPlusPlus",
    "from_state_dict",
]
