"""Notices a moment after an edit that segments have changed, and has their volumes measured again."""

from __future__ import annotations

from collections.abc import Iterator

import slicer

from ..logic.node_watch import NodeWatch
from ..logic.shown_result import ShownResult
from ..logic.structure_volumes import count, edited
from .keys_and_timers import make_timer

DELAY = 300
"""Milliseconds after the last change of a segment: a stroke of the brush is many changes."""
EDITED = (
    *(slicer.vtkSegmentation.SourceRepresentationModified, slicer.vtkSegmentation.RepresentationModified),
    *(slicer.vtkSegmentation.SegmentModified, slicer.vtkSegmentation.SegmentAdded),
    slicer.vtkSegmentation.SegmentRemoved,
)
OTHER = (slicer.vtkMRMLSegmentationNode.SegmentationChangedEvent,)


class EditWatch:
    """Follows the segments of the result that is shown.

    onMeasured: called with what ``edited`` gives, whenever it has been measured or is no longer true.
    """

    def __init__(self, onMeasured):
        self._onMeasured = onMeasured
        self._watches = NodeWatch(EDITED, self._onChange), NodeWatch(OTHER, self._onOther)
        self._result: ShownResult | None = None
        self._volumes: dict[int, float] = {}
        self._parts: Iterator[None] = iter(())
        self._told: dict[int, float] = {}
        self._startTimer = make_timer(DELAY, self._start, once=True)
        self._partTimer = make_timer(0, self._next)

    def follow(self, result: ShownResult | None) -> None:
        """Watch the segments of a result, None for none; measures them a moment later."""
        before, self._result = self._result, result
        for watch in self._watches:
            watch.follow([result.segmentation] if result is not None else [])
        if _tables(before) != _tables(result):
            self._onOther()

    def stop(self) -> None:
        """Watch no more."""
        self.follow(None)
        self._startTimer.stop()
        self._partTimer.stop()

    @property
    def busy(self) -> bool:
        """Whether something is still to be measured."""
        return self._startTimer.isActive() or self._partTimer.isActive()

    def measure(self) -> None:
        """Measure at once what is still to be measured."""
        if self._startTimer.isActive():
            self._startTimer.stop()
            self._start()
        while self._partTimer.isActive():
            self._next()

    def _onOther(self, *_event) -> None:
        """Another result is shown, or, where a sequence's browser has moved, that of another image."""
        self._parts = iter(())  # what is half counted may be gone
        self._onChange()  # first: whoever is told asks whether all is measured
        if self._told:
            self._tell({})

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
        self._told = volumes
        self._onMeasured(volumes)


def _tables(result: ShownResult | None):
    return None if result is None else (result.segmentation, result.volumes, result.volumes.GetTable())
