"""A segment to draw in: added to a segmentation, or to a new one that is tied to its image."""

from __future__ import annotations

from .frames import follow, in_every_frame, shown_frame
from .result_nodes import INPUT
from .texts import tr as _
from .transaction import Transaction


def add_structure(volume, segmentation=None) -> tuple:
    """Add an empty segment; returns the segmentation, a new one where None was given, and the segment's ID.

    Where the volume is a frame of a sequence, the segment is there in every frame, to be drawn in each by itself; a
    segmentation of one frame stays as it is.
    """
    frame = shown_frame(volume)
    if frame is not None and segmentation is not None and not frame.is_followed_by(segmentation):
        segmentation = None if segmentation.GetSegmentation().GetNumberOfSegments() else segmentation
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
    identifier = content.AddEmptySegment("", _("Structure {number}").format(number=number))
    if frame is not None:
        follow(segmentation, frame)
        in_every_frame(segmentation, [identifier], frame)
    return segmentation, identifier


def tie(segmentation, volume) -> None:
    """Give a segmentation without content the grid and the place of a volume."""
    if segmentation.GetSegmentation().GetNumberOfSegments() == 0:
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segmentation.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    if segmentation.GetNodeReference(INPUT) is None:
        segmentation.SetNodeReferenceID(INPUT, volume.GetID())
