"""What tells whether two images hold the same voxels, whatever their files, names and headers are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def fingerprint(channels: Sequence[np.ndarray]) -> str:
    """SHA-256 over the voxels of all channels, as float32; the same in whatever order the channels come.

    channels: one array (k, j, i) each. Values that are not finite count as the smallest finite one, which a run and a
    data set put in their place (``csam.image.geometry.array_of``).
    """
    found = []
    for array in channels:
        with np.errstate(over="ignore"):  # too large for float32 is not finite
            voxels = np.ascontiguousarray(array, np.float32)
        finite = np.isfinite(voxels)
        if not finite.all():
            voxels = np.where(finite, voxels, voxels[finite].min() if finite.any() else 0).astype(np.float32)
        found.append(hashlib.sha256(f"{array.shape}".encode() + voxels.tobytes()).hexdigest())
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()
