"""A segment to draw in: added to a segmentation, or to a new one that is tied to its image."""

from __future__ import annotations

from .result_nodes import INPUT
from .texts import tr as _
from .transaction import Transaction


def add_structure(volume, segmentation=None) -> tuple:
    """Add an empty segment; returns the segmentation, a new one where None was given, and the segment's ID."""
    if segmentation is None:
        with Transaction(volume.GetScene()) as transaction:
            segmentation = transaction.add(
                "vtkMRMLSegmentationNode", f"{volume.GetName()} drawing", lambda node: tie(node, volume)
            )
            transaction.place_beside(segmentation, volume)
    tie(segmentation, volume)
    segmentation.CreateDefaultDisplayNodes()
    content, number = segmentation.GetSegmentation(), 1
    names = {content.GetSegment(one).GetName() for one in content.GetSegmentIDs()}
    while _("Structure {number}").format(number=number) in names:
        number += 1
    return segmentation, content.AddEmptySegment("", _("Structure {number}").format(number=number))


def tie(segmentation, volume) -> None:
    """Give a segmentation without content the grid and the place of a volume."""
    if segmentation.GetSegmentation().GetNumberOfSegments() == 0:
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    if segmentation.GetNodeReference(INPUT) is None:
        segmentation.SetNodeReferenceID(INPUT, volume.GetID())
