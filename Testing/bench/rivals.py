"""The networks of the comparison: ours with all of its gates, with one and with none, and MONAI's DynUNet in 3-D."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from csam.network import posterior
from csam.network.attention import CSAM
from csam.network.networks import CSAMUNet, build
from csam.training.plan import Plan

OFF = {"semantic": False, "positional": False, "slice": False, "uncertainty": False}
RIVALS = {
    "2d-unet": OFF,
    "slice": OFF | {"slice": True, "uncertainty": True},
    "csam": {},
    "dynunet-3d": OFF,
}
"""Name → fields of the plan that differ from CSAM's U-Net."""
BEGINS_AS = {f"{gated}-after-2d": "2d-unet" for gated in ("slice", "csam")}
"""What a network was in the comparison that it goes on from, where it was another: gates it lacked begin open."""
RIVALS |= {later: RIVALS[later.removesuffix("-after-2d")] for later in BEGINS_AS}
WORDS = {
    "2d-unet": "2D U-Net (no gates)",
    "slice": "slice gate alone, uncertain",
    "csam": "CSAM U-Net",
    "dynunet-3d": "DynUNet 3D (MONAI)",
    "slice-after-2d": "slice gate alone, learned last",
    "csam-after-2d": "CSAM U-Net, its gates learned last",
}
SMALLEST = 4
"""nnU-Net halves an axis as long as this many voxels remain."""
WIDEST = 320


def plan_for(rival: str, plan: Plan) -> Plan:
    return replace(plan, **RIVALS[rival])


def network_for(rival: str, plan: Plan, channels: int, classes: int, slice_spacing: float) -> nn.Module:
    """Fresh weights from torch's present random state. slice_spacing: mm, for the 3-D network's kernels."""
    if rival == "dynunet-3d":
        return Volumetric(plan, channels, classes, slice_spacing)
    return build(plan_for(rival, plan).architecture(channels, classes))


def kernels_and_strides(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], levels: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Kernel size and stride of every level, as nnU-Net plans them (Isensee et al. 2021, ``get_pool_and_conv_props``).

    An axis is convolved once its spacing is less than twice the smallest, and halved as long as it is that and at
    least 2·SMALLEST voxels long.
    """
    size, mm = np.array(shape), np.array(spacing, float)
    kernels, strides = [], []
    stride = np.ones(3, int)
    for _ in range(levels):
        size, mm = size // stride, mm * stride
        kernels.append(np.where(mm < 2 * mm.min(), 3, 1).tolist())
        strides.append(stride.tolist())
        can = (size >= 2 * SMALLEST) & (size % 2 == 0)
        stride = np.where(can & (mm < 2 * mm[can].min(initial=np.inf)), 2, 1)
        if (stride == 1).all():
            break
    return kernels, strides


class Outsider(nn.Module):
    """A network that passes for one of ours: a stack's slices come as a batch.

    ``encode`` runs the whole of it; its single gate is off and ``decode`` passes on what it is given.
    """

    def __init__(self, plan: Plan, classes: int, architecture: dict):
        super().__init__()
        self.num_slices, self.num_levels = plan.num_slices, 1  # of gates: what goes on inside is its own affair
        self.architecture, self.base = architecture, plan.base_channels
        self.gates = nn.Sequential(CSAM(plan.num_slices, classes, **OFF))

    check_input = CSAMUNet.check_input

    def elements_per_slice(self, x: Tensor) -> int:
        return x.shape[-1] * x.shape[-2] * self.base

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.whole(x.float())]

    def decode(self, features: list[Tensor], gated: list[Tensor]) -> Tensor:
        return gated[0]

    def forward(self, x: Tensor) -> Tensor:
        self.check_input(x)
        return self.whole(x)

    def whole(self, x: Tensor) -> Tensor:
        """(S, C, H, W) → logits (S, K, H, W)."""
        raise NotImplementedError


class Volumetric(Outsider):
    """MONAI's DynUNet in 3-D."""

    def __init__(self, plan: Plan, channels: int, classes: int, slice_spacing: float):
        from monai.networks.nets import DynUNet

        shape = (plan.num_slices, *plan.field_of_view)
        spacing = (slice_spacing, plan.in_plane_spacing, plan.in_plane_spacing)
        kernels, strides = kernels_and_strides(shape, spacing, plan.num_levels)
        changes = {"network": "DynUNet", "num_levels": len(strides)}
        super().__init__(plan, classes, plan_for("dynunet-3d", plan).architecture(channels, classes) | changes)
        widths = [min(WIDEST, plan.base_channels * 2**level) for level in range(len(strides))]
        self.network = DynUNet(
            3, channels, classes, kernels, strides, strides[1:], filters=widths, norm_name="instance"
        )

    def whole(self, x: Tensor) -> Tensor:
        return self.network(x.transpose(0, 1)[None])[0].transpose(0, 1)


class Whole:
    """What csam.network.decoding is for our networks: all samples of a network without gates are its one output."""

    def __init__(self, network: Outsider):
        self.network = network

    def encode(self, x: Tensor, elements: int) -> list[Tensor]:
        return self.network.encode(x)

    def gate(self, gates, x: Tensor) -> tuple:
        return posterior._content_and_distribution(gates, x)

    def shared(self, features: list[Tensor], contents: list[Tensor]) -> Tensor:
        return features[0]

    def logits(self, shared: Tensor, gates: list[Tensor]) -> Tensor:
        return shared.expand(len(gates[0]), *shared.shape)


def let_in() -> None:
    """Lets the pipeline run an Outsider, which csam.posterior does not know how to decode."""
    ours = getattr(posterior, "decoding", None)
    if ours is not None:
        posterior.decoding = lambda network, threads, *dtype: (
            Whole(network) if isinstance(network, Outsider) else ours(network, threads, *dtype)
        )


let_in()


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def seeded(rival: str, plan: Plan, channels: int, classes: int, slice_spacing: float) -> nn.Module:
    """The network with the weights that the plan's seed gives."""
    torch.manual_seed(plan.seed)
    return network_for(rival, plan, channels, classes, slice_spacing)
