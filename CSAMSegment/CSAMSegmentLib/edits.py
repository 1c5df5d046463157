"""What corrections do to the volumes: measured again from the voxels of the segments, a moment after an edit.

Nothing of it is stored: the voxels are, and a structure is edited when they are not as many as the run has found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from .results import ShownResult
from .segments import LABELMAP, segment_id
from .timers import make_timer

DELAY = 300
"""Milliseconds after the last change of a segment: a stroke of the brush is many changes."""
PART = 2_000_000
"""Voxels that are counted in one turn of the event loop."""


def measure(result: ShownResult) -> dict[int, float]:
    """The volume of each of a result's structures as its segment is now, in ml by label value; see ``count``."""
    volumes: dict[int, float] = {}
    for _part in count(result, volumes):
        pass
    return volumes


def count(result: ShownResult, volumes: dict[int, float]) -> Iterator[None]:
    """Fill ``volumes``, in ml by label value, a part of the voxels at each step.

    A structure whose segment was deleted has 0 ml; one whose segment has no labelmap (its voxels are a surface's) is
    left out.
    """
    segmentation = result.segmentation.GetSegmentation()
    for structure in result.structures():
        segment = segmentation.GetSegment(segment_id(result.model, structure.value))
        layer = segment.GetRepresentation(LABELMAP) if segment is not None else None
        if segment is not None and layer is None:
            continue
        found, scalars = 0, layer.GetPointData().GetScalars() if layer is not None else None
        if scalars is not None:
            voxels, label = vtk_to_numpy(scalars), segment.GetLabelValue()
            for start in range(0, len(voxels), PART):
                found += int(np.count_nonzero(voxels[start : start + PART] == label))
                yield
        volumes[structure.value] = found * math.prod(layer.GetSpacing()) / 1000 if layer is not None else 0.0


def edited(result: ShownResult, volumes: dict[int, float]) -> dict[int, float]:
    """Those of ``measure`` that are not what the run has found."""
    voxel = math.prod(result.volume.GetSpacing()) / 1000 if result.volume is not None else 0.0
    found = {structure.value: structure.volume_ml for structure in result.structures()}
    return {
        value: volume
        for value, volume in volumes.items()
        if abs(volume - found[value]) > voxel / 2 + 1e-5 * found[value]  # a saved table has six digits
    }


class EditWatch:
    """Follows the segments of the result that is shown. widget: gives addObserver and removeObserver.

    onMeasured: called with what ``edited`` gives, whenever it has changed.
    """

    def __init__(self, widget, onMeasured):
        self._widget, self._onMeasured = widget, onMeasured
        self._result: ShownResult | None = None
        self._volumes: dict[int, float] = {}
        self._parts: Iterator[None] = iter(())
        self._told: dict[int, float] = {}
        self._startTimer = make_timer(DELAY, self._start, once=True)
        self._partTimer = make_timer(0, self._next)

    def follow(self, result: ShownResult | None) -> None:
        """Watch the segments of a result, None for none; measures them a moment later."""
        before, self._result = self._result, result
        if _node(before) is not _node(result):
            for event in _events():
                if before is not None:
                    self._widget.removeObserver(before.segmentation, event, self._onChange)
                if result is not None:
                    self._widget.addObserver(result.segmentation, event, self._onChange)
        if _tables(before) != _tables(result):
            self._tell({})
            self._onChange()

    def stop(self) -> None:
        """Watch no more."""
        self.follow(None)
        self._startTimer.stop()
        self._partTimer.stop()

    @property
    def busy(self) -> bool:
        """Whether something is still to be measured."""
        return self._startTimer.isActive() or self._partTimer.isActive()

    def _onChange(self, *_event) -> None:
        self._partTimer.stop()
        self._startTimer.start()

    def _start(self) -> None:
        self._volumes = {}
        if self._result is not None and self._result.segmentation.GetScene() is not None:
            self._parts = count(self._result, self._volumes)
            self._partTimer.start()

    def _next(self) -> None:
        try:
            next(self._parts)
        except StopIteration:
            self._partTimer.stop()
            self._tell(edited(self._result, self._volumes))

    def _tell(self, volumes: dict[int, float]) -> None:
        if volumes != self._told:
            self._told = volumes
            self._onMeasured(volumes)


def _node(result: ShownResult | None):
    return None if result is None else result.segmentation


def _tables(result: ShownResult | None):
    return None if result is None else (result.segmentation, result.volumes, result.volumes.GetTable())


def _events() -> tuple:
    kind = slicer.vtkSegmentation
    return (
        *(kind.SourceRepresentationModified, kind.RepresentationModified),
        *(kind.SegmentModified, kind.SegmentAdded, kind.SegmentRemoved),
    )
