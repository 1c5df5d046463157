"""An image as numpy voxels and where they lie: unlike a SimpleITK image it is made, sent and received without a copy.

Example:
    >>> raster = Raster(np.zeros((12, 256, 256), np.int16), (1.4, 1.4, 8.0))
    >>> raster.GetSize()
    (256, 256, 12)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk


@dataclass(frozen=True, eq=False)
class Raster:
    """What the engine asks of an image before it computes, under SimpleITK's names.

    voxels: (k, j, i), or (k, j, i, components). spacing, origin, direction: as SimpleITK has them, LPS, mm.
    """

    voxels: np.ndarray
    spacing: Sequence[float]
    origin: Sequence[float] = (0.0, 0.0, 0.0)
    direction: Sequence[float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def GetSize(self) -> tuple[int, ...]:
        return self.voxels.shape[2::-1]

    def GetDimension(self) -> int:
        return 3

    def GetNumberOfComponentsPerPixel(self) -> int:
        return self.voxels.shape[3] if self.voxels.ndim == 4 else 1

    def GetPixelIDTypeAsString(self) -> str:
        return ("vector of " if self.voxels.ndim == 4 else "") + self.voxels.dtype.name

    def GetSpacing(self) -> tuple[float, ...]:
        return tuple(self.spacing)

    def GetOrigin(self) -> tuple[float, ...]:
        return tuple(self.origin)

    def GetDirection(self) -> tuple[float, ...]:
        return tuple(self.direction)


def voxels_of(image: sitk.Image | Raster) -> np.ndarray:
    """The voxels of either kind of image, not copied: (k, j, i), or with the components as a last axis."""
    return image.voxels if isinstance(image, Raster) else sitk.GetArrayViewFromImage(image)
