"""The whole pipeline: images in, label image, uncertainty maps, slice scores and volumes out."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone

import numpy as np
import SimpleITK as sitk
import torch

from .. import __version__
from ..errors import Cancelled
from ..image import geometry
from ..image.geometry import AXES
from ..image.stack import stack_of
from ..model import Calibration, Model
from ..network.devices import choose_device, said_of, unusable_devices
from ..network.number_format import format_for
from ..network.parallel import Threads
from ..result import REGION, SLICES, WHOLE, Options, Progress, ProgressCallback, Result, SliceScore, StructureVolume
from ..uncertainty.expected_error import case_quality
from . import input_check
from .cpu_fallback import network_on
from .native_grid import NativeGrid
from .result_warnings import Findings, one_orientation, result_warnings
from .sliding_window import Sampling

__all__ = ["Options", "Progress", "Result", "SliceScore", "StructureVolume", "segment"]


def segment(
    images: Sequence[sitk.Image] | sitk.Image,
    model: Model,
    options: Options = Options(),
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
    slices: Sequence[int] | None = None,
) -> Result:
    """Segments a volume and says where the result is not to be trusted.

    images: one scalar volume a channel of the model, on one grid. progress: called often with a Progress. cancelled:
    asked often; the run ends with Cancelled once it returns True, within a fraction of a second on a CPU.
    slices: indices along the slice axis of those wanted first, a few beside each other. The result holds these alone,
    as the whole run gives them, but in a fraction of its time (a larger one with several orientations); elsewhere all
    is background, volumes are those of these slices, and what other slices would tell is not known yet: which piece of
    a structure is the largest, and whether it is missing between two slices. Raises InputError, ModelError or
    DeviceError, each with a sentence for a user.

    >>> result = segment([sitk.ReadImage("cine.nrrd")], Model.load("cardiac-lv"))  # doctest: +SKIP
    """
    started = time.monotonic()
    images = [images] if isinstance(images, sitk.Image) else list(images)
    cancelled = cancelled or (lambda: False)
    reached = 0.0

    def pause() -> None:
        if cancelled():
            raise Cancelled

    def report(fraction: float, stage: str) -> None:
        nonlocal reached
        pause()
        fraction = reached = max(fraction, reached)  # a piece that is run again does not turn the clock back
        if progress:
            spent = time.monotonic() - started
            progress(Progress(fraction, stage, spent / fraction * (1 - fraction) if fraction > 0.05 else None))

    report(0.0, "Checking the image")
    warnings = list(input_check.check(images, model, options.slice_axis))
    axis = input_check.chosen_axis(images[0], model, options.slice_axis)
    part = [slice(0, n) for n in images[0].GetSize()]
    if options.region is not None:
        part = geometry.region_indices(images[0], *options.region)
    device = choose_device(options.device)
    if (options.device, device) == ("auto", "cpu"):
        warnings += filter(None, [said_of(unusable_devices())])
    report(0.01, "Reading the model")
    network, device, said = network_on(model, device)
    warnings += said
    if options.test_time_augmentation and not model.free_orientation:
        warnings.append(one_orientation(model))
    report(0.03, "Preparing the slices")
    stack = stack_of(images, model.in_plane_spacing, model.intensity, AXES[axis])
    orientations = model.orientations if options.test_time_augmentation else model.default_orientations
    sampling = Sampling(
        network,
        model.field_of_view,
        device,
        max(options.samples, len(orientations)) if options.test_time_augmentation else options.samples,
        options.seed,
        "mean" if options.samples == 1 else "antithetic",
        orientations=orientations,
        number_format=format_for,
        focused=not options.test_time_augmentation,
        tick=lambda fraction: report(0.05 + 0.93 * fraction, "Segmenting and sampling"),
        pause=pause,
    )
    grid = NativeGrid(images[0], stack, part, model, options)
    wanted = range(grid.count) if slices is None else grid.positions(slices)
    threads = Threads(pause)
    for slab in sampling.slabs(stack.values, grid.placed(wanted), grid.seen if options.region else None):
        grid.take(slab, threads)
    report(0.99, "Measuring")
    provenance = {
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256},
        "options": asdict(options),
        "device": sampling.device,
        "device_name": torch.cuda.get_device_name(sampling.device) if "cuda" in sampling.device else platform.machine(),
        "threads": torch.get_num_threads(),
        "number_format": str(format_for(sampling.network, sampling.device)).removeprefix("torch."),
        "versions": {"csam": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 2),
    }
    return _result(grid, sampling, threads, wanted, axis, (*warnings, *sampling.warnings), options, provenance)


def _result(
    grid: NativeGrid,
    sampling: Sampling,
    threads: Threads,
    wanted: range,
    axis: int,
    said: tuple[str, ...],
    options: Options,
    provenance: dict,
) -> Result:
    """Corrects and measures what lies on the grid. wanted: the slices of the region that were asked for."""
    model, calibration = grid.model, grid.calibration
    complete = len(wanted) == grid.count
    kept, breaks = {}, ()
    if complete:
        for label in model.labels:
            inside = grid.keep_inside(label.value, label.inside) if label.inside else 1.0
            kept[label.value] = inside * (grid.keep_largest(label.value) if label.connected else 1.0)
        for label in model.labels:
            if label.slices_of:
                kept[label.value] *= grid.keep_slices(label.value, label.slices_of)
        breaks = grid.mark_breaks()
    slices = grid.ranked(wanted, threads)
    structures = grid.structures(sampling.areas, kept)
    extent = SLICES if not complete else WHOLE if grid.is_whole else REGION
    quality = case_quality(grid.expected_dice(), calibration.dice_scale)
    reference = calibration.case_quality
    comparable = extent == WHOLE and reference and grid.found[1:].any()
    case_rank = float(np.mean(np.less(reference, quality))) if comparable else None
    findings = Findings(
        extent,
        structures,
        quality,
        case_rank,
        calibrated=calibration != Calibration(),
        augmented=options.test_time_augmentation,
        breaks=breaks,
        not_found=[label.name for label in model.labels if complete and not (grid.labels == label.value).any()],
        left_out=[(label.name, 1 - kept.get(label.value, 1.0)) for label in model.labels],
    )
    return Result(
        **grid.images(),
        slice_axis=axis,
        slices=slices,
        structures=structures,
        case_quality=quality,
        warnings=result_warnings(findings, model, said),
        provenance=provenance,
        case_rank=case_rank,
        extent=extent,
    )
