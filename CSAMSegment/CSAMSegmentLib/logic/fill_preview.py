"""A filling that is looked at before it is applied: a segmentation of its own, over the one that is edited.

It is hidden from lists and never saved. The edited segmentation and its display are left alone.
"""

from __future__ import annotations

import numpy as np
import slicer

from csam.result import Result

from .segment_voxels import labelmap_of
from .segments import LABELMAP
from .transaction import Transaction


class FillPreview:
    """At most one preview node. ``show`` makes or refills it, ``remove`` takes it out of the scene."""

    def __init__(self):
        self.node = None

    def show(self, run, result: Result, opacity: float) -> None:
        """Show what a run will put into the slices that it changes. run: the FillRun of the result."""
        self.remove()
        edited = run.segmentation
        node = slicer.vtkMRMLSegmentationNode()
        node.SetName(f"{edited.GetName()} preview")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        parent = edited.GetParentTransformNode()
        if parent is not None:
            node.SetAndObserveTransformNodeID(parent.GetID())
        labels = np.zeros_like(run.labels)
        for identifier, mask in run.masks(result).items():
            labels[mask] = run.segments[identifier]
        keep = np.zeros(labels.shape[2 - run.axis], bool)
        keep[run.changing] = True
        np.moveaxis(labels, 2 - run.axis, 0)[~keep] = 0
        layer = labelmap_of(labels, run.volume, edited)
        for identifier, value in run.segments.items():
            original, segment = edited.GetSegmentation().GetSegment(identifier), slicer.vtkSegment()
            segment.SetName(original.GetName())
            segment.SetColor(original.GetColor())
            segment.SetLabelValue(value)
            segment.AddRepresentation(LABELMAP, layer)
            node.GetSegmentation().AddSegment(segment, identifier)
        self.node = edited.GetScene().AddNode(node)
        self.node.CreateDefaultDisplayNodes()
        display = self.node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility3D(False)
        self.set_opacity(opacity)

    @property
    def is_there(self) -> bool:
        """Whether a preview stands in the scene."""
        return self.node is not None and self.node.GetScene() is not None

    def set_opacity(self, opacity: float) -> None:
        """How much of the image the preview covers, 0 to 1."""
        if self.is_there:
            self.node.GetDisplayNode().SetOpacity(opacity)

    def remove(self) -> None:
        """Take the preview out of the scene, with its display."""
        if self.is_there:
            Transaction(self.node.GetScene()).remove(self.node)
        self.node = None
