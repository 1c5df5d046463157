"""How long a run will take: a small piece of it measured in the worker, and the size of the whole.

Only the measuring needs torch.

Example:
    >>> speed = Speed(fixed=0.5, sample=1.0)                           # seconds for one full window of slices
    >>> speed.seconds(work(image, model), samples=20)                 # doctest: +SKIP
    20.5
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..image import geometry
from ..image.raster import Raster
from ..model import Model
from . import tiles
from .input_check import chosen_axis

FIRST_PASS = 0.4
"""What a tile's first pass costs beside one with all the samples."""
CLOSE_PASSES = 1.5
"""What the close passes cost, which share out the samples, beside a tile with all of them."""
MEASURED_PART = 4
"""The measured piece is the field of view divided by this in area: a fraction of a second on a CPU."""


@dataclass(frozen=True)
class Speed:
    """Seconds for one window of slices over the whole field of view: fixed for every orientation, sample for
    each."""

    fixed: float
    sample: float
    num_orientations: int = 1

    def seconds(self, work: float, samples: int, augmented: bool = False) -> float:
        """For a run of this much work (see ``work``). augmented: with test-time augmentation."""
        orientations = self.num_orientations if augmented else 1
        return work * (orientations * self.fixed + max(orientations, samples) * self.sample)


def measure(model: Model, device: str) -> tuple[Speed, str]:
    """The speed of a model, from windows of a smaller field of view, and the device that it is of. Runs torch.

    That is not the device asked for where that one fails and the CPU does its work.
    """
    import torch

    from ..network.number_format import format_for
    from .cpu_fallback import network_on
    from .sliding_window import Sampling

    multiple = 2 ** (model.architecture["num_levels"] - 1)
    divisor = math.sqrt(MEASURED_PART)
    piece = tuple(max(2 * multiple, round(length / divisor / multiple) * multiple) for length in model.field_of_view)
    network, device, _warnings = network_on(model, device)
    sampling = Sampling(network, piece, device, number_format=format_for)
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
    return Speed(share * max(one - sample, 0.0), share * sample, len(model.orientations)), sampling.device


def work(
    image: sitk.Image | Raster,
    model: Model,
    slice_axis: str = "auto",
    region: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None,
    augmented: bool = False,
) -> float:
    """The size of a run, in windows of slices over the field of view. region, augmented: as in ``Options``.

    Of the default run, which takes its samples where something is found, one place is foretold for a window.
    Raises InputError for a region outside the image.
    """
    axis = chosen_axis(image, model, slice_axis)
    size, oriented = image.GetSize(), geometry.orientation(image.GetDirection(), axis)
    part = [slice(0, n) for n in size] if region is None else geometry.region_indices(image, *region)
    slices, *box = oriented.box(part, size)
    count, overlap = 1, 0.5 if augmented else 1 / tiles.EDGE
    for other, field, asked in zip(oriented.axes[1:], model.field_of_view, box, strict=True):
        length = geometry.resized_length(size[other], image.GetSpacing()[other], model.in_plane_spacing)
        if region is not None:
            width = size[other] / length
            seen = tiles.surroundings(int(asked.start / width), math.ceil(asked.stop / width), field, length)
            length = seen.stop - seen.start
        count *= len(geometry.windows(max(length, field), field, overlap)[0])
    passes = count if augmented or count == 1 else FIRST_PASS * count + CLOSE_PASSES
    slices = slices.stop - slices.start
    if size[axis] <= model.num_slices:
        return passes * slices / model.num_slices
    _starts, weights = geometry.slice_windows(int(size[axis]), model.num_slices)
    return float(passes * np.count_nonzero(weights) / model.num_slices * min(1, slices / size[axis]))
