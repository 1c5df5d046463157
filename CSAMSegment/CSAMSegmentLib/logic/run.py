"""One segmentation under way: what it was started on, how far it is, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from csam.errors import CSAMError, InputError
from csam.result import Progress, Result

from .fill_run import FillRun
from .frames import Frame
from .result_nodes import Output
from .texts import tr as _
from .volume_geometry import ijk_to_world


class JobLike(Protocol):
    """A request under way; ``csam.client.Job`` is one."""

    def poll(self) -> list[Progress | Result | dict | CSAMError]: ...


class ClientLike(Protocol):
    """What the logic needs of the worker's client; ``csam.client.WorkerClient`` has it."""

    def submit(self, header: dict[str, Any], images: Sequence) -> JobLike: ...

    def cancel(self, job: JobLike) -> None: ...

    def close(self, wait: bool = True) -> None: ...

    def log_lines(self) -> list[str]: ...


@dataclass
class Run:
    """One segmentation under way, and how it ended.

    plan: of a filling between drawn slices, None of a model's run. reviewed: the slices that are ticked in its list.
    keep: called right before nodes that are there already change. frame: of a sequence, the one that it is of.
    progress: the latest. finished: whether it has ended: with an output, or with an error (Cancelled among them).
    """

    volumes: tuple[Any, ...]
    model: Any
    segmentation: Any = None
    uncertainty: Any = None
    maps: tuple[str, ...] = ("error_probability",)
    plan: FillRun | None = None
    reviewed: tuple[int, ...] = ()
    keep: Callable[[], None] = lambda: None
    frame: Frame | None = None
    progress: Progress = field(default_factory=lambda: Progress(0.0, _("Waiting for the worker")))
    output: Output | None = None
    error: CSAMError | None = None
    _request: tuple | None = None
    _job: JobLike | None = None
    _states: list = field(default_factory=list)
    _cancelling: bool = False
    _steps: Iterator[None] | None = None

    @property
    def finished(self) -> bool:
        return self.output is not None or self.error is not None

    @property
    def writing(self) -> bool:
        """Whether its result is there and is being written: ``poll`` takes a few milliseconds, and wants to be soon."""
        return self._steps is not None

    def release(self) -> None:
        """Let go of the voxels that it was started with, and take back a result that is not whole."""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()
        self._states, self._request, self._job = [], None, None


def missing_node(run: Run) -> str | None:
    """Which of a run's nodes has left the scene, in words; None where none has."""
    for what, node in (
        *(("input", volume) for volume in run.volumes),
        ("output", run.segmentation),
        ("output", run.uncertainty),
    ):
        if node is not None and node.GetScene() is None:
            return f'The {what} "{node.GetName()}" was removed from the scene'
    return None


def state_of(volume) -> tuple:
    """What tells ``check_unchanged`` that a volume is as it was: its place and its voxels."""
    data = volume.GetImageData()
    return ijk_to_world(volume), data, data.GetPointData().GetScalars().GetMTime()


def check_unchanged(run: Run) -> None:
    """A result for other voxels than those that the volume now has, or for other places, must not be shown."""
    for volume, (matrix, data, time_of_voxels) in zip(run.volumes, run._states, strict=True):
        same = data.GetPointData().GetScalars().GetMTime() == time_of_voxels and _same_voxels(
            volume.GetImageData(), data
        )
        if not (same and np.allclose(ijk_to_world(volume), matrix, atol=1e-4)):
            raise InputError(
                f'The volume "{volume.GetName()}" was moved or changed while it was being segmented. Run it again.'
            )
    if run.plan is not None:
        run.plan.check_unchanged()


def _same_voxels(now, before) -> bool:
    """Whether two vtkImageData are the same or alike: a sequence's browser copies an image anew at every event."""
    if now is before:
        return True
    if (
        now is None
        or now.GetPointData().GetScalars() is None
        or now.GetExtent() != before.GetExtent()
        or now.GetScalarType() != before.GetScalarType()
    ):
        return False
    return np.array_equal(*(vtk_to_numpy(data.GetPointData().GetScalars()) for data in (now, before)))
