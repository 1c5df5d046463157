"""The paper's networks: a 2D U-Net and a UNet++ whose slices attend to each other through CSAM.

Structure and parameter names are those of the published code (C2BAMUNet and CSAMUNetPlusPlus), with the defects that
kept it from running settled. Both share one shape: ``encode`` gives the features of every level, which no gate
changes; ``decode`` turns features and gated features into logits. ``csam.posterior`` relies on that split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError, ModelError
from .attention import CSAM


class ConvBlock(nn.Module):
    """2 × (conv 3×3, InstanceNorm2d without affine, LeakyReLU)."""

    def __init__(self, input_channels: int, output_channels: int):
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (input_channels, output_channels):
            layers += [
                nn.Conv2d(channels, output_channels, kernel_size=3, padding=1),
                nn.InstanceNorm2d(output_channels),
                nn.LeakyReLU(),
            ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UpBlock(nn.Module):
    """Bilinear ×2 (align_corners), conv 3×3 to half the channels, concatenate (upsampled first), ConvBlock."""

    def __init__(self, input_channels: int, output_channels: int):
        super().__init__()
        self.upconv = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
            nn.Conv2d(input_channels, output_channels, kernel_size=3, padding=1),
        )
        self.conv = ConvBlock(2 * output_channels, output_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv(torch.cat((self.upconv(x), skip), dim=1))


class Encoder(nn.Module):
    """The U-Net's contracting path and the gates on each of its levels."""

    def __init__(self, input_channels: int, widths: list[int], gates: nn.Sequential):
        super().__init__()
        self.conv = nn.Sequential(*(ConvBlock(i, o) for i, o in zip([input_channels, *widths], widths, strict=False)))
        self.attentions = gates


class Decoder(nn.Module):
    """The U-Net's expanding path, deepest block first."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.conv = nn.Sequential(*(UpBlock(2 * width, width) for width in reversed(widths[:-1])))


class _CSAMNetwork(nn.Module):
    """What both networks share: the architecture's numbers, the input check, the forward pass."""

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        num_levels: int,
        base_channels: int = 64,
        num_slices: int = 20,
        semantic: bool = True,
        positional: bool = True,
        slice: bool = True,
        uncertainty: bool = True,
        rank: int = 5,
    ):
        super().__init__()
        self.architecture = {
            "network": type(self).__name__,
            "input_channels": input_channels,
            "num_classes": num_classes,
            "num_levels": num_levels,
            "base_channels": base_channels,
            "num_slices": num_slices,
            "semantic": semantic,
            "positional": positional,
            "slice": slice,
            "uncertainty": uncertainty,
            "rank": rank,
        }
        too_small = [k for k, v in self.architecture.items() if type(v) is int and v < (2 if k == "num_levels" else 1)]
        if too_small:
            raise InputError(f"{too_small[0]} is {self.architecture[too_small[0]]}; a network needs more.")
        self.num_levels = num_levels
        self.num_slices = num_slices
        self.widths = [base_channels * 2**level for level in range(num_levels)]

    def _make_gates(self) -> nn.Sequential:
        switches = [self.architecture[k] for k in ("semantic", "positional", "slice", "uncertainty", "rank")]
        return nn.Sequential(*(CSAM(self.num_slices, width, *switches) for width in self.widths))

    @property
    def gates(self) -> nn.Sequential:
        """The CSAM of every level, shallowest first."""
        raise NotImplementedError

    @property
    def encoder_blocks(self) -> Sequence[ConvBlock]:
        """The contracting path's block of every level, shallowest first."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> list[Tensor]:
        """x (S, input_channels, H, W) → one tensor a level, level i of shape (S, base·2^i, H/2^i, W/2^i), un-gated."""
        features = []
        for level, block in enumerate(self.encoder_blocks):
            x = block(F.max_pool2d(x, 2) if level else x)
            features.append(x)
        return features

    def decode(self, features: list[Tensor], gated: list[Tensor]) -> Tensor | list[Tensor]:
        """Features and gated features of any subset of the slices → logits (S, num_classes, H, W)."""
        raise NotImplementedError

    def check_input(self, x: Tensor) -> None:
        """Raises InputError unless x fits the network."""
        multiple = 2 ** (self.num_levels - 1)
        channels = self.architecture["input_channels"]
        fits = x.ndim == 4 and x.shape[1] == channels and 0 not in x.shape
        # A single pixel at the deepest level has no spread that InstanceNorm could divide by.
        if not fits or any(n % multiple for n in x.shape[2:]) or x.shape[2] * x.shape[3] == multiple**2:
            raise InputError(
                f"The network takes (slices, {channels}, height, width) with height and width multiples of {multiple}, "
                f"one of them at least {2 * multiple}; it was given {tuple(x.shape)}."
            )

    def elements_per_slice(self, x: Tensor) -> int:
        """Elements of the widest feature map of one slice of x."""
        return self.widths[0] * x.shape[-2] * x.shape[-1]

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        self.check_input(x)
        features = self.encode(x)
        return self.decode(features, [gate(level) for gate, level in zip(self.gates, features, strict=True)])


class CSAMUNet(_CSAMNetwork):
    """The paper's U-Net: CSAM on every skip and on the bottleneck, un-gated features go down the encoder.

    Input (S, input_channels, H, W), H and W multiples of 2^(num_levels-1); output logits (S, num_classes, H, W).
    S is num_slices whenever slice attention is on.

    >>> CSAMUNet(1, 3, num_levels=3, base_channels=8, num_slices=5)(torch.rand(5, 1, 32, 32)).shape
    torch.Size([5, 3, 32, 32])
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoder = Encoder(self.architecture["input_channels"], self.widths, self._make_gates())
        self.decoder = Decoder(self.widths)
        self.conv_final = nn.Conv2d(self.widths[0], self.architecture["num_classes"], kernel_size=1)

    @property
    def gates(self) -> nn.Sequential:
        return self.encoder.attentions

    @property
    def encoder_blocks(self) -> nn.Sequential:
        return self.encoder.conv

    def decode(self, features: list[Tensor], gated: list[Tensor]) -> Tensor:
        x = gated[-1]
        for block, skip in zip(self.decoder.conv, reversed(gated[:-1]), strict=True):
            x = block(x, skip)
        return self.conv_final(x)


class CSAMUNetPlusPlus(_CSAMNetwork):
    """The paper's UNet++: CSAM on X^{i,0} wherever it enters a decoder node; one head a depth.

    In training the output is the list of all heads' logits, shallowest first (deep supervision); in evaluation the
    deepest head's. The deepest CSAM is in the state dict, as published, and has no part in the result.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        widths = self.widths

        def inputs(level: int, node: int) -> int:
            if node:
                return widths[level] * node + widths[level + 1]
            return widths[level - 1] if level else self.architecture["input_channels"]

        self.conv = nn.Sequential(
            *(
                nn.Sequential(*(ConvBlock(inputs(i, j), widths[i]) for j in range(self.num_levels - i)))
                for i in range(self.num_levels)
            )
        )
        self.attentions = self._make_gates()
        self.final = nn.Sequential(
            *(nn.Conv2d(widths[0], self.architecture["num_classes"], kernel_size=1) for _ in range(self.num_levels - 1))
        )
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    @property
    def gates(self) -> nn.Sequential:
        return self.attentions

    @property
    def encoder_blocks(self) -> list[ConvBlock]:
        return [nodes[0] for nodes in self.conv]

    def decode(self, features: list[Tensor], gated: list[Tensor]) -> Tensor | list[Tensor]:
        # nodes[i] holds X^{i,0}, gated, and X^{i,1} ... as far as they have been computed.
        nodes = [[level] for level in gated]
        below = list(features)
        for j in range(1, self.num_levels):
            row = []
            for i in range(self.num_levels - j):
                node = self.conv[i][j](torch.cat((*nodes[i], self.up(below[i + 1])), dim=1))
                nodes[i].append(node)
                row.append(node)
            below = row
        if self.training:
            return [head(node) for head, node in zip(self.final, nodes[0][1:], strict=True)]
        return self.final[-1](nodes[0][-1])


NETWORKS = {network.__name__: network for network in (CSAMUNet, CSAMUNetPlusPlus)}


def build(architecture: Mapping) -> CSAMUNet | CSAMUNetPlusPlus:
    """A network with fresh weights from its ``architecture``."""
    numbers = dict(architecture)
    return NETWORKS[numbers.pop("network")](**numbers)


def read_architecture(state_dict: Mapping[str, Tensor]) -> dict:
    """The architecture, read from a state dict's names and shapes alone. Raises ModelError if it is not a CSAM network.

    Without slice attention nothing tells the number of slices: any will do, and 20 is given.
    """
    plus_plus = "conv.0.0.conv.0.weight" in state_dict
    gates = "attentions" if plus_plus else "encoder.attentions"
    try:
        first = state_dict["conv.0.0.conv.0.weight" if plus_plus else "encoder.conv.0.conv.0.weight"]
        levels = len(
            {
                key.split(".")[1 if plus_plus else 2]
                for key in state_dict
                if key.startswith("conv." if plus_plus else "encoder.conv.")
            }
        )
        head = state_dict[f"final.{levels - 2}.weight" if plus_plus else "conv_final.weight"]
        slice_mlp = state_dict.get(f"{gates}.0.slice_att.linear.2.weight")
        factor = state_dict.get(f"{gates}.0.slice_att.factor.weight")
        num_slices = 20 if slice_mlp is None else slice_mlp.shape[0]
        return {
            "network": "CSAMUNetPlusPlus" if plus_plus else "CSAMUNet",
            "input_channels": first.shape[1],
            "num_classes": head.shape[0],
            "num_levels": levels,
            "base_channels": first.shape[0],
            "num_slices": num_slices,
            "semantic": f"{gates}.0.semantic_att.linear.0.weight" in state_dict,
            "positional": f"{gates}.0.positional_att.conv.weight" in state_dict,
            "slice": slice_mlp is not None,
            "uncertainty": factor is not None,
            "rank": 5 if factor is None else factor.shape[0] // num_slices,
        }
    except (KeyError, IndexError, AttributeError, ZeroDivisionError) as error:
        known = ", ".join(list(state_dict)[:3]) or "nothing"
        raise ModelError(
            f"These weights are not those of a CSAM U-Net or UNet++: {error} is missing (found {known} ...). "
            "Give the state dict of a network trained with CSAM."
        ) from error


def from_state_dict(state_dict: Mapping[str, Tensor]) -> CSAMUNet | CSAMUNetPlusPlus:
    """The network in evaluation mode with these weights, float32; its architecture is read off the state dict.

    A checkpoint trained with the published code drops in, also one saved from ``nn.DataParallel`` (names that begin
    with ``module.``). Raises ModelError if names or shapes do not fit.
    """
    if not isinstance(state_dict, Mapping):
        raise ModelError(f"A plain state dict was expected, names and tensors; found {type(state_dict).__name__}.")
    odd = [key for key, value in state_dict.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if odd:
        raise ModelError(f"A plain state dict was expected, names and tensors; its entry {odd[0]!r} is something else.")
    state_dict = {key.removeprefix("module."): value for key, value in state_dict.items()}
    return build_with_weights(read_architecture(state_dict), state_dict)


def build_with_weights(architecture: Mapping, state_dict: Mapping[str, Tensor]) -> CSAMUNet | CSAMUNetPlusPlus:
    """The network in evaluation mode with a float32 copy of these weights. Raises ModelError if they do not fit.

    Names and shapes are compared before memory is taken, so that a few numbers cannot ask for much of it.
    """
    try:
        with torch.device("meta"):
            network = build(architecture)
        network.load_state_dict(state_dict, strict=True, assign=True)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"The weights do not fit the network {architecture['network']}: {reason:.200}") from error
    for parameter in network.parameters():
        parameter.data = parameter.data.to(torch.float32, copy=True)
    return network.eval()
