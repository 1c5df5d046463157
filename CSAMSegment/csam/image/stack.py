"""Images become the stack that a network sees: one orientation, the model's in-plane spacing, normalised intensity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from ..errors import InputError
from . import geometry
from .intensity import Intensity
from .unknown import UNKNOWN

MOST_PIXELS = 2**24
"""Of a slice at the model's spacing; more are taken for a mistake in the header."""


@dataclass(frozen=True)
class Stack:
    """values: (C, S, h, w) float32 at the model's in-plane spacing. orientation: leads back to the image.

    shape: the native stack's (S, H, W). spacing: the native slice, row and column spacing in mm.
    """

    values: torch.Tensor
    orientation: geometry.Orientation
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def pixels(self) -> float:
        """How many native pixels one of ``values`` stands for."""
        return math.prod(self.shape[1:]) / math.prod(self.values.shape[-2:])


def stack_of(images: Sequence[sitk.Image], in_plane_spacing: float, intensity: Intensity, slice_axis: str) -> Stack:
    """The stack of one or more channels on the same grid.

    slice_axis: "auto", "i", "j", "k", or "sagittal", "coronal", "axial": the image axis nearest to that plane's normal.
    Raises InputError for images that are not scalar volumes, or channels on different grids.
    """
    geometry.check_channels(images)
    first = images[0]
    axis = geometry.axis_for(first, slice_axis)
    oriented = geometry.orientation(first.GetDirection(), axis)
    spacing = tuple(first.GetSpacing()[a] for a in oriented.axes)
    channels = [intensity(oriented.to_stack(geometry.array_of(image))) for image in images]
    shape = channels[0].shape
    size = tuple(geometry.resized_length(n, s, in_plane_spacing) for n, s in zip(shape[1:], spacing[1:], strict=True))
    if max(size) > 8192 or math.prod(size) > MOST_PIXELS:
        raise InputError(
            f"At the model's {in_plane_spacing:g} mm a slice would have {size[0]}×{size[1]} pixels (its spacing "
            f"is {spacing[1]:g}×{spacing[2]:g} mm). Correct the spacing in the image's header."
        )
    values = torch.stack([resize(torch.from_numpy(np.ascontiguousarray(c)), size) for c in channels])
    return Stack(values, oriented, shape, spacing)


def resize(stack: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Slices (S, H, W) → (S, *size) over the same extent, linear, smoothed first where pixels get larger."""
    if stack.shape[-2:] == tuple(size):
        return stack
    return F.interpolate(stack[:, None], size=size, mode="bilinear", antialias=True, align_corners=False)[:, 0]


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> torch.Tensor:
    """Labels (S, H, W) → (S, *size), int64: the class that covers most of the new pixel, of those that are known.

    UNKNOWN where most of the pixel is. A nearest neighbour would move the border.
    """
    shares = {v: resize(torch.from_numpy((labels == v).astype(np.float32)), size) for v in np.unique(labels).tolist()}
    unknown = shares.pop(UNKNOWN, None)
    if not shares:
        return torch.full_like(unknown, UNKNOWN, dtype=torch.int64)
    found = torch.tensor([*shares])[torch.stack([*shares.values()]).argmax(0)]
    return found if unknown is None else found.masked_fill(unknown > 0.5, UNKNOWN)
