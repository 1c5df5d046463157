"""Drawn slices in, all slices out: labels, error probability, which slice to draw next, volumes."""

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
from ..errors import Cancelled, InputError
from ..image import geometry
from ..network.devices import choose_device
from ..result import Progress, ProgressCallback, Result
from .drawing import NOTHING_BETWEEN, UNKNOWN, Drawing, FillOptions, Structure, read_drawing
from .fill_model import FillModel
from .filled import Filled
from .one_structure import Filling, fill_structure

__all__ = ["UNKNOWN", "Drawing", "FillOptions", "Structure", "fill"]


def fill(
    images: Sequence[sitk.Image] | sitk.Image,
    drawn: sitk.Image,
    structures: Sequence[Structure],
    model: FillModel | None,
    options: FillOptions = FillOptions(),
    found: sitk.Image | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
    memory: dict | None = None,
    before: sitk.Image | None = None,
) -> Result:
    """Fills the slices that are not drawn.

    images: scalar volumes on one grid; the first is looked at. drawn: labels on their grid, UNKNOWN where nothing is
    known; a slice counts as drawn when all of it is known, empty or not. structures: which values are which. model:
    None for interpolation alone. found: an earlier result on that grid, whose undrawn slices are to follow what the
    drawn ones changed of it; each of its structures has to be named. progress, cancelled: as ``csam.segment.segment``
    has them. memory: keeps what was learned from this case's drawn slices from one round to the next; an empty dict at
    first, untouched by a run that is cancelled. before: another frame on that grid, from which ``found`` is carried;
    then no slice needs to be drawn.

    What is drawn comes back as it is, to the voxel, with the error probability 0. Raises InputError, ModelError or
    DeviceError, each with a sentence for a user, and Cancelled.

    >>> result = fill(image, drawn, [Structure(1, "prostate")], FillModel.load("slice-fill"))  # doctest: +SKIP
    """
    started = time.monotonic()
    images = [images] if isinstance(images, sitk.Image) else list(images)
    cancelled = cancelled or (lambda: False)

    reached = 0.0

    def report(fraction: float, stage: str) -> None:
        nonlocal reached
        if cancelled():
            raise Cancelled
        if progress:
            spent = time.monotonic() - started
            fraction = reached = max(fraction, reached)  # a GPU's work may begin again on the CPU
            progress(Progress(fraction, stage, spent / fraction * (1 - fraction) if fraction > 0.05 else None))

    report(0.0, "Reading what is drawn")
    if not images:
        raise InputError("No image was given. Give the one that was drawn on.")
    geometry.check_channels(images)
    if before is not None:
        if found is None:
            raise InputError("There is nothing to carry: give the labels of the other frame too.")
        if not geometry.same_grid(images[0], before):
            raise InputError("The two frames do not lie on one grid. Draw the second one by itself.")
    drawing = read_drawing(images[0], drawn, structures, options.slice_axis, found is not None, before is not None)
    earlier = None
    if found is not None:
        if not geometry.same_grid(images[0], found):
            raise InputError("The result that is to be updated lies on another grid than the image. Run again first.")
        earlier = np.ascontiguousarray(drawing.orientation.to_stack(sitk.GetArrayFromImage(found)))
    wanted = drawing.wanted(options.beyond or earlier is not None)
    if not wanted:
        raise InputError(NOTHING_BETWEEN)
    device = choose_device(options.device) if model else "cpu"
    image, other = (
        None if one is None else np.ascontiguousarray(drawing.orientation.to_stack(geometry.array_of(one)))
        for one in (images[0], before)
    )
    filled = Filled(images[0], drawing, structures, wanted, model.calibration if model else None)
    learned = None if memory is None else {value: dict(kept) for value, kept in memory.items()}
    there = [s for s in structures if any(drawing.mask(s.value, n).any() for n in drawing.drawn) or _in(earlier, s)]
    for number, structure in enumerate(there):
        share = (0.02 + 0.95 * number / len(there), 0.95 / len(there))
        tell = lambda fraction, stage, s=structure, at=share: report(at[0] + at[1] * fraction, f"{stage}: {s.name}")  # noqa: E731
        filling = Filling(image, drawing, structure.value, wanted, earlier, device, options, model, other)
        part = fill_structure(filling, tell, learned)
        device = part.device  # a GPU that failed once is left alone
        filled.add(structure, part)
    report(0.98, "Choosing the labels")
    provenance = {
        "model": {"name": model.name, "version": model.version, "sha256": model.sha256} if model else None,
        "options": asdict(options),
        "drawn": [drawing.image_index(index) for index in drawing.drawn],
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if "cuda" in device else platform.machine(),
        "versions": {"csam": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    result = filled.result([s for s in structures if s not in there], started, provenance)
    report(1.0, "Done")
    if memory is not None:  # a run that was cancelled leaves no trace
        memory.update(learned)
    return result


def _in(earlier: np.ndarray | None, structure: Structure) -> bool:
    return earlier is not None and bool((earlier == structure.value).any())
