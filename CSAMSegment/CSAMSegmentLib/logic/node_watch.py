"""Notices when one of some nodes changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import slicer
import vtk

CHANGED = (vtk.vtkCommand.ModifiedEvent,)
IMAGE_CHANGED = (
    vtk.vtkCommand.ModifiedEvent,
    slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,
    slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
)
"""A volume gets other voxels, another place, or is moved by a transform above it."""


class NodeWatch:
    """Follows some nodes at a time.

    onChanged: called with what VTK gives when one of them has one of the events.
    """

    def __init__(self, events: tuple, onChanged: Callable):
        self._events, self._onChanged = events, onChanged
        self._tags: dict = {}  # not through Slicer's mixin: that keeps every node it has ever observed

    def follow(self, nodes: Iterable) -> None:
        """Watch these nodes, None among them, and no others."""
        wanted = {node for node in nodes if node is not None}
        for node in self._tags.keys() - wanted:
            for tag in self._tags.pop(node):
                node.RemoveObserver(tag)
        for node in wanted - self._tags.keys():
            self._tags[node] = [node.AddObserver(event, self._onChanged) for event in self._events]
