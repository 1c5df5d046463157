"""The published networks once more, straight from the formulas of the paper: functions of a state dict, float64.

Written to check csam.attention and csam.networks against; shares no code with them.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


class Published:
    """state: names to tensors. Gates are at the mean of their distribution."""

    def __init__(self, state, semantic: bool, positional: bool, slice: bool, uncertainty: bool):
        self.state = {name: value.double() for name, value in state.items()}
        self.switches = semantic, positional, slice, uncertainty

    def affine(self, name, vector):
        return self.state[f"{name}.weight"] @ vector + self.state[f"{name}.bias"]

    def mlp(self, name, vector):
        return self.affine(f"{name}.2", self.affine(f"{name}.0", vector).clamp(min=0))

    def conv(self, name, x, padding=0):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], padding=padding)

    def slice_gate(self, name, x):
        """(a, μ, d, F) of x (S, C, H, W); the last three are None without uncertainty."""
        slices = x.reshape(len(x), -1)
        a = self.mlp(f"{name}linear", slices.max(1).values) + self.mlp(f"{name}linear", slices.mean(1))
        if not self.switches[3]:
            return a, None, None, None
        t = a.clamp(min=0)
        factor = self.affine(f"{name}factor", t).reshape(len(x), -1)
        return a, self.affine(f"{name}mean", t), self.affine(f"{name}log_diag", t).exp(), factor

    def csam(self, name, x):
        semantic, positional, slice_, uncertainty = self.switches
        if semantic:
            by_channel = x.transpose(0, 1).reshape(x.shape[1], -1)
            mlp = f"{name}semantic_att.linear"
            gate = self.mlp(mlp, by_channel.max(1).values) + self.mlp(mlp, by_channel.mean(1))
            x = x * gate.sigmoid().reshape(1, -1, 1, 1)
        if positional:
            by_pixel = x.reshape(-1, *x.shape[2:])
            maps = torch.stack([by_pixel.max(0).values, by_pixel.mean(0)])[None]
            x = x * self.conv(f"{name}positional_att.conv", maps, padding=3).sigmoid()
        if slice_:
            a, mean, _, _ = self.slice_gate(f"{name}slice_att.", x)
            x = x * (mean if uncertainty else a).sigmoid().reshape(-1, 1, 1, 1)
        return x

    def block(self, name, x):
        """2 × (conv 3×3, InstanceNorm without affine, LeakyReLU)."""
        for layer in (0, 3):
            x = self.conv(f"{name}.conv.{layer}", x, padding=1)
            x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
            x = torch.where(x > 0, x, 0.01 * x)
        return x

    def unet(self, x, levels):
        skips = []
        for level in range(levels):
            x = self.block(f"encoder.conv.{level}", halved(x) if level else x)
            skips.append(self.csam(f"encoder.attentions.{level}.", x))
        x = skips.pop()
        for step in range(levels - 1):
            up = self.conv(f"decoder.conv.{step}.upconv.1", doubled(x), padding=1)
            x = self.block(f"decoder.conv.{step}.conv", torch.cat([up, skips.pop()], 1))
        return self.conv("conv_final", x)

    def unet_plus_plus(self, x, levels):
        """The logits of every head, the shallowest first."""
        nodes, gated = {}, {}
        for i in range(levels):
            nodes[i, 0] = self.block(f"conv.{i}.0", halved(nodes[i - 1, 0]) if i else x)
            if i < levels - 1:
                gated[i] = self.csam(f"attentions.{i}.", nodes[i, 0])
            for j in range(1, i + 1):
                level = i - j
                before = [gated[level], *(nodes[level, n] for n in range(1, j))]
                joined = torch.cat([*before, doubled(nodes[level + 1, j - 1])], 1)
                nodes[level, j] = self.block(f"conv.{level}.{j}", joined)
        return [self.conv(f"final.{n}", nodes[0, n + 1]) for n in range(levels - 1)]


def halved(x):
    s, c, h, w = x.shape
    return x.reshape(s, c, h // 2, 2, w // 2, 2).amax((3, 5))


def doubled(x):
    """Bilinear ×2 with corners aligned, as a matrix for rows and one for columns."""
    rows, columns = (interpolation(n) for n in x.shape[2:])
    return torch.einsum("ri,scij,qj->scrq", rows, x, columns)


def interpolation(n):
    matrix = np.zeros((2 * n, n))
    for row, place in enumerate(np.linspace(0, n - 1, 2 * n)):
        low = min(int(place), n - 2)
        matrix[row, low : low + 2] = [1 - (place - low), place - low]
    return torch.from_numpy(matrix)
