"""Notices when a chosen image is filled, changed or moved."""

from __future__ import annotations

from collections.abc import Iterable

import slicer
import vtk


class ImageWatch:
    """Follows the chosen images.

    onChanged: called when one of them gets other voxels, another place, or is moved by a transform above it.
    """

    def __init__(self, onChanged):
        self._onChanged = onChanged
        self._tags: dict = {}  # not through Slicer's mixin: that keeps every node it has ever observed

    def follow(self, volumes: Iterable) -> None:
        """Watch these volume nodes, None among them, and no others."""
        wanted = {volume for volume in volumes if volume is not None}
        for volume in self._tags.keys() - wanted:
            for tag in self._tags.pop(volume):
                volume.RemoveObserver(tag)
        for volume in wanted - self._tags.keys():
            self._tags[volume] = [volume.AddObserver(event, self._onEvent) for event in _events()]

    def _onEvent(self, *_event) -> None:
        self._onChanged()


def _events() -> tuple:
    return (
        vtk.vtkCommand.ModifiedEvent,
        slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,
        slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
    )
