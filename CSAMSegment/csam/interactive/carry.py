"""A structure carried from one frame to the next: moved as the image has moved in between.

The two images are registered by demons with symmetric forces (Vercauteren et al., NeuroImage 2009;45:S61) in the
window around the structure. The motion is sought in three dimensions: where the base of a heart moves towards its apex,
a slice loses the structure, which no motion within slices can tell. Along the stack it is kept smooth, as thick slices
say little of it. Where the images differ by little but noise, the structure stays where it is. The network that fills
slices is not asked: it has not learned motion, and on a phantom it made the result worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .inputs import soft
from .interpolation import REACH
from .region import Region, normalised

LEVELS = ((4, 30), (2, 30), (1, 15))
"""From coarse to fine: by how much the pixels are coarsened, and steps of the registration."""
SMOOTH = (2.0, 2.0, 1.5)
"""Standard deviations of the smoothing of the motion: columns and rows in a level's pixels, slices."""
BLUR = 1.0
"""Pixels by which both images are blurred first: noise does not move."""
STILL = 0.55
"""Where more than this share of the images' squared difference is left after the motion, there was none to speak of."""
NEAR = 12.0
"""Pixels outside the structure within which the images are compared."""
APART = 0
"""The border is as firm as that of a drawn slice."""
SURENESS = -1.0
"""Stands for ``certainty.Circumstances.inner``: with it and APART, the error probability was truest on two phantoms on
which nothing is measured (seeds 7000 and 7001)."""


def carried(
    before: np.ndarray,
    now: np.ndarray,
    found: np.ndarray,
    region: Region,
    spacing: Sequence[float],
    report: Callable[[float], None] = lambda _: None,
) -> Tensor:
    """Log odds (S, h, w) of a structure in the region's pixels on the frame ``now``.

    before, now: (S, H, W) float32, two frames. found: (S, H, W) bool, the structure on the first. spacing: of slices,
    rows and columns, mm. report: told the fraction done; it raises Cancelled to end.
    """
    if len(now) == 1:  # nothing can be registered in three dimensions
        return carried(*(np.repeat(one, 2, 0) for one in (before, now, found)), region, spacing, report)[:1]
    if not found.any():  # drawn on the frame ``now`` alone
        return soft(torch.full((len(now), *region.size), -2 * REACH), APART)[1]
    thickness = spacing[0] / float(np.mean(region.pixel))
    first, second = (normalised(region.seen(torch.from_numpy(one))).numpy() for one in (before, now))
    shape = region.distances(found, spacing[1:]).clamp(-2 * REACH, 2 * REACH).numpy()
    way = motion(_image(second, thickness), _image(first, thickness), report)
    near = shape > -NEAR
    if _difference(second, _moved(first, way, thickness), near) < STILL * _difference(second, first, near):
        shape = _moved(shape, way, thickness)
    return soft(torch.from_numpy(shape), APART)[1]


def motion(
    now: sitk.Image, before: sitk.Image, report: Callable[[float], None] = lambda _: None
) -> sitk.DisplacementFieldTransform:
    """Takes points of ``now`` to where they were ``before``; two images on one grid."""
    now, before = (sitk.DiscreteGaussian(image, [BLUR**2, BLUR**2, 0.0], 32, 0.01, False) for image in (now, before))
    field = None
    for number, (coarser, steps) in enumerate(LEVELS):
        report(number / len(LEVELS))
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(steps)
        demons.SetStandardDeviations(SMOOTH)
        demons.SetSmoothDisplacementField(True)
        pair = _coarser(now, coarser), _coarser(before, coarser)
        field = demons.Execute(*pair) if field is None else demons.Execute(*pair, sitk.Resample(field, pair[0]))
    return sitk.DisplacementFieldTransform(sitk.Cast(sitk.Resample(field, now), sitk.sitkVectorFloat64))


def _coarser(image: sitk.Image, factor: int) -> sitk.Image:
    """With fewer pixels, and all of the slices."""
    blurred = sitk.DiscreteGaussian(image, [(factor / 2) ** 2] * 2 + [0.0]) if factor > 1 else image
    return sitk.Shrink(blurred, [factor, factor, 1])


def _image(values: np.ndarray, thickness: float) -> sitk.Image:
    """(S, h, w) with pixels of 1 and slices of ``thickness``."""
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing((1.0, 1.0, thickness))
    return image


def _moved(values: np.ndarray, way: sitk.Transform, thickness: float) -> np.ndarray:
    image = _image(values, thickness)
    return sitk.GetArrayFromImage(sitk.Resample(image, image, way, sitk.sitkLinear, float(values.min())))


def _difference(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    return float(np.square(one - other)[where].mean())
