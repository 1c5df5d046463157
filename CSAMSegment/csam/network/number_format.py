"""The number format that a network's feature maps are computed in: half the bits where the hardware multiplies them.

Which one is used, the hardware and a check of the result decide, never a clock: a measured time can come out either way
on a busy machine, and the same seed on the same device has to give the same bits. That it pays was measured once
(Testing/bench/formats.py). Statistics, the gates' distributions, logits and all that follows stay in float32.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from .posterior import GatePosterior

BOUND = 0.001
"""Mean change of the probabilities by a format, over a synthetic image, up to which it is used (shipped model:
2.5e-5)."""

PICTURE = 64
"""Rows and columns of that picture, at least."""

_chosen: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def bfloat16_in_hardware(device: str) -> bool:
    """Whether a device multiplies bfloat16: a processor with AMX tiles or AVX512_BF16, a CUDA GPU since Ampere.

    torch tells by private functions, which older versions lack; they then count as a device without.
    """
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported") if device == "cpu" else ()
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def hardware_format(device: str) -> torch.dtype:
    """The fastest format of a device: bfloat16, float16 on CUDA GPUs since Volta that lack it, else float32."""
    if bfloat16_in_hardware(device):
        return torch.bfloat16
    if device.startswith("cuda") and torch.cuda.get_device_capability(device) >= (7, 0):
        return torch.float16
    return torch.float32


def format_for(network, device: str) -> torch.dtype:
    """The hardware's format if this network's probabilities change by at most ``BOUND`` in it, else float32.

    network: one in evaluation mode, on the device. Found out once for each, from the same picture every time.
    """
    known = _chosen.setdefault(network, {})
    if device not in known:
        wanted = hardware_format(device)
        fits = wanted == torch.float32 or change(network, device, wanted) <= BOUND
        known[device] = wanted if fits else torch.float32
    return known[device]


@torch.inference_mode()
def change(network, device: str, dtype: torch.dtype) -> float:
    """Mean absolute change of the probabilities of a synthetic image by a format; infinite where they are no
    numbers."""

    def probabilities(dtype: torch.dtype) -> Tensor:
        posterior = GatePosterior(network, synthetic_image(network).to(device, dtype))
        return torch.softmax(posterior.sampler()(posterior.sample_gates(1, rule="mean")), 2)

    found = float((probabilities(dtype) - probabilities(torch.float32)).abs().mean())
    return found if found == found else float("inf")


def synthetic_image(network) -> Tensor:
    """Bright discs that move from slice to slice on a slanting ground, (S, C, H, W) from 0 to 1."""
    channels = network.architecture["input_channels"]
    side = max(PICTURE, 2**network.num_levels)
    slices, rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, network.num_slices),
        torch.linspace(-1, 1, side),
        torch.linspace(-1, 1, side),
        indexing="ij",
    )
    picture = 0.2 + 0.1 * rows
    for radius, row, value in ((0.5, -0.2, 0.5), (0.25, -0.3, 0.9), (0.2, 0.6, 0.7)):
        picture = picture.masked_fill((rows - row) ** 2 + (columns - 0.2 * slices) ** 2 < radius**2, value)
    return picture[:, None].expand(-1, channels, -1, -1).contiguous()
