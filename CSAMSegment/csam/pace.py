"""How long a run will take: a small piece of it measured in the worker, and the size of the whole.

Only the measuring needs torch.

Example:
    >>> pace = Pace(fixed=0.5, sample=1.0)                           # seconds for one full window of slices
    >>> pace.seconds(work(image, model), samples=20)                 # doctest: +SKIP
    20.5
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from . import geometry
from .fit import chosen_axis
from .model import Model
from .raster import Raster

MEASURED_PART = 4
"""The measured piece is the field of view divided by this in area: a fraction of a second on a CPU."""


@dataclass(frozen=True)
class Pace:
    """Seconds for one window of slices over the whole field of view: fixed for every view in use, sample for each."""

    fixed: float
    sample: float
    num_views: int = 1

    def seconds(self, work: float, samples: int) -> float:
        """For a run of this much work (see ``work``)."""
        return work * (min(self.num_views, samples) * self.fixed + samples * self.sample)


def measure(model: Model, device: str) -> tuple[Pace, str]:
    """The pace of a model, from windows of a smaller field of view, and the device that it is of. Runs torch.

    That is not the device asked for where that one fails and the CPU does its work.
    """
    import torch

    from .sampling import Sampling, network_on

    multiple = 2 ** (model.architecture["num_levels"] - 1)
    side = math.sqrt(MEASURED_PART)
    piece = tuple(max(2 * multiple, round(length / side / multiple) * multiple) for length in model.field_of_view)
    network, device, _warnings = network_on(model, device)
    sampling = Sampling(network, piece, device)
    values = torch.zeros(len(model.channels), model.num_slices, *piece)

    def run(samples: int) -> float:
        sampling.samples, start = samples, time.perf_counter()
        for _slab in sampling.slabs(values):
            pass
        return time.perf_counter() - start

    def one_and_two() -> tuple[float, float]:
        return min(run(1), run(1)), run(2)  # the first one also warms up

    one, two = one_and_two()
    if sampling.device != device:  # something of it was the failed device's
        one, two = one_and_two()
    sample = max(two - one, one / 10)
    share = math.prod(model.field_of_view) / math.prod(piece)
    return Pace(share * max(one - sample, 0.0), share * sample, len(model.views)), sampling.device


def work(
    image: sitk.Image | Raster,
    model: Model,
    slice_axis: str = "auto",
    region: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None,
) -> float:
    """The size of a run, in windows of slices over the field of view. region: as in ``Options``."""
    axis = chosen_axis(image, model, slice_axis)
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize(), float)
    if region is not None:
        cosines = np.abs(np.reshape(image.GetDirection(), (3, 3)))
        size = np.minimum(size, np.ceil(np.subtract(*region[::-1]) @ cosines / spacing))
    tiles = 1
    _, *in_plane = geometry.orientation(image.GetDirection(), axis).axes
    for other, field in zip(in_plane, model.field_of_view, strict=True):
        length = geometry.resized_length(size[other], spacing[other], model.in_plane_spacing)
        tiles *= len(geometry.fields(max(length, field), field)[0])
    slices = max(1, int(size[axis]))
    if slices <= model.num_slices:
        return tiles * slices / model.num_slices
    return float(tiles * len(geometry.windows(slices, model.num_slices)[0]))
