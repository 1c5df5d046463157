"""The signed distance to an outline in a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

Array = np.ndarray
NOWHERE = -1e3
"""Signed distance, mm, where nothing is known to be: far outside."""


def signed_distance(mask: Array, spacing: Sequence[float]) -> Array:
    """Mask (H, W) → millimetres to its outline, float32, positive inside; its zero lies between the pixels' centres.

    spacing: of rows and columns. An empty mask is NOWHERE throughout.
    """
    if not mask.any():
        return np.full(mask.shape, NOWHERE, np.float32)
    return _beyond(~mask, spacing) - _beyond(mask, spacing)


def _beyond(mask: Array, spacing: Sequence[float]) -> Array:
    """Distance from each pixel outside the mask to the mask's nearest pixel; 0 inside."""
    if not mask.any():
        return np.full(mask.shape, -NOWHERE, np.float32)
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(s) for s in reversed(spacing)])
    distance = sitk.SignedMaurerDistanceMap(image, False, False, True)
    return np.maximum(sitk.GetArrayFromImage(distance), 0)
