"""The nodes of a result: how they are marked, found again, kept and put back.

A run finds the nodes of the run before it by their attributes and references: each output has its ``ROLE`` and the
name of the model as attributes, and refers to the segmentation that it belongs to and to the volume segmented.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import slicer

from csam.errors import InputError
from csam.result import Result

from .map_display import ERROR_PROBABILITY
from .segments import own_segments, restore_segments, take_segments
from .sequence_browser import leave_browser
from .transaction import Transaction
from .volume_geometry import own_matrix

ROLE, MODEL, REPORT = "CSAMSegment.Role", "CSAMSegment.Model", "CSAMSegment.Report"
KEPT = "CSAMSegment.KeptCase"
"""The attribute of a segmentation that tells as which case it was kept, and a mark of the data set."""
GEOMETRY = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
INPUT, SEGMENTATION = "CSAMSegment.Input", "CSAMSegment.Segmentation"
VOLUMES_ROLE, SLICES_ROLE, PROBABILITY_ROLE = "volumes", "slices", "probability "


@dataclass(frozen=True)
class Snapshot:
    """What a model had written into a segmentation and the nodes that belong to it, kept apart from the scene.

    chosen: whether the segments are a user's own, that a filling has changed, and not a model's.
    """

    segmentation: Any
    model: str
    segments: dict[str, Any]
    frame: tuple[str, str | None, str | None]
    contents: tuple[tuple[Any, dict[str, Any]], ...]
    chosen: bool = False


@dataclass(frozen=True)
class Output:
    """The nodes that hold a result.

    segmentation: vtkMRMLSegmentationNode. segment_ids: of the model's labels, in their order.
    nodes: the others by role: "error_probability", "entropy", "mutual_information", "volumes", "slices", and
    "probability 1" and so on.
    result: what was written. model: whose result it is. previous: what it replaced, for ``restore``; None when all the
    nodes are new.
    """

    segmentation: Any
    segment_ids: tuple[str, ...]
    nodes: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    previous: Snapshot | None = None
    model: str = ""

    @property
    def uncertainty(self):
        """Scalar volume node: the error map, the probability that a voxel's label is wrong, 0 to 1."""
        return self.nodes.get(ERROR_PROBABILITY.name)

    @property
    def volumes(self):
        """Table node: a row for each structure."""
        return self.nodes.get(VOLUMES_ROLE)

    @property
    def slices(self):
        """Table node: a row for each slice."""
        return self.nodes.get(SLICES_ROLE)


def find_outputs(segmentation, model_name: str) -> dict[str, Any]:
    """The nodes, by role, that a model's last run has written beside a segmentation."""
    scene = segmentation.GetScene()
    found = {}
    for class_name in ("vtkMRMLScalarVolumeNode", "vtkMRMLTableNode"):
        for position in range(scene.GetNumberOfNodesByClass(class_name)):
            node = scene.GetNthNodeByClass(position, class_name)
            same = node.GetNodeReferenceID(SEGMENTATION) == segmentation.GetID()
            if same and node.GetAttribute(MODEL) == model_name and node.GetAttribute(ROLE):
                found[node.GetAttribute(ROLE)] = node
    return found


def read_report(volumes_node) -> dict[str, Any]:
    """What the table of volumes keeps beside its rows: model, warnings, provenance and others."""
    try:  # it may come from a damaged scene
        report = json.loads(volumes_node.GetAttribute(REPORT) or "{}")
    except ValueError:
        report = None
    return report if isinstance(report, dict) else {}


def snapshot(
    segmentation, model_name: str, *others, leave_out: Sequence = (), chosen: Sequence[str] | None = None
) -> Snapshot:
    """Keep what a model has written into a segmentation and beside it, and the content of other output nodes.

    leave_out: nodes that are not yet part of it. chosen: the segments, None for the model's own. Nothing is copied
    that need not be: what is written next brings voxels, maps and tables of its own.
    """
    nodes = {*find_outputs(segmentation, model_name).values(), *others} - {None, *leave_out}
    contents = tuple((node, content_of(node)) for node in nodes)
    content = segmentation.GetSegmentation()
    own = own_segments(content, model_name) if chosen is None else [one for one in chosen if content.GetSegment(one)]
    segments = take_segments(segmentation, own)
    return Snapshot(segmentation, model_name, segments, frame_of(segmentation), contents, chosen is not None)


def restore(kept: Snapshot) -> None:
    """Put back what a snapshot kept; nodes that the run since then has added for it are removed.

    Raises InputError when the segmentation is no longer in the scene. Nodes deleted since are left out.
    """
    scene = kept.segmentation.GetScene()
    if scene is None:
        raise InputError("The previous result cannot be restored: its segmentation is no longer in the scene.")
    known = [node for node, _ in kept.contents]
    added = [node for node in find_outputs(kept.segmentation, kept.model).values() if node not in known]
    with Transaction(scene) as transaction:
        content = kept.segmentation.GetSegmentation()
        own = [one for one in kept.segments if content.GetSegment(one)]
        now = own if kept.chosen else own_segments(content, kept.model)
        restore_segments(transaction, kept.segmentation, now, kept.segments)
        transaction.on_failure(set_frame, kept.segmentation, frame_of(kept.segmentation))
        set_frame(kept.segmentation, kept.frame)
        for node, content in kept.contents:
            if node.GetScene() is scene:
                exchange_content(transaction, node, content)
        for node in added:  # last: nothing fails after it
            leave_browser(node)  # which would bring it back
            transaction.remove(node)


def frame_of(segmentation) -> tuple[str, str | None, str | None]:
    """What a segmentation is tied to: the grid that it is edited and saved on, as Slicer's text, the ID of the volume
    that has this grid, and the ID of the volume segmented into it last."""
    text = segmentation.GetSegmentation().GetConversionParameter(GEOMETRY)
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    return text, segmentation.GetNodeReferenceID(role), segmentation.GetNodeReferenceID(INPUT)


def set_frame(segmentation, frame: tuple[str, str | None, str | None]) -> None:
    """Put back what ``frame_of`` gave."""
    text, grid, volume = frame
    segmentation.GetSegmentation().SetConversionParameter(GEOMETRY, text)
    segmentation.SetNodeReferenceID(segmentation.GetReferenceImageGeometryReferenceRole(), grid)
    segmentation.SetNodeReferenceID(INPUT, volume)


def content_of(node) -> dict[str, Any]:
    """What a run writes into a volume or table node; exchanged as a whole, never changed in place."""
    content = {name: node.GetAttribute(name) for name in (ROLE, MODEL)}
    content |= {role: node.GetNodeReferenceID(role) for role in (INPUT, SEGMENTATION)}
    if node.IsA("vtkMRMLTableNode"):
        return content | {"table": node.GetTable(), "report": node.GetAttribute(REPORT)}
    return content | {"data": node.GetImageData(), "matrix": own_matrix(node), "transform": node.GetTransformNodeID()}


def set_content(node, content: dict[str, Any]) -> None:
    was_modifying = node.StartModify()
    if "table" in content:
        node.SetAndObserveTable(content["table"])
        node.SetAttribute(REPORT, content["report"])
        node.SetLocked(True)  # figures of a run are not for editing
    else:
        node.SetIJKToRASMatrix(content["matrix"])
        node.SetAndObserveImageData(content["data"])
        node.SetAndObserveTransformNodeID(content["transform"])
    for name in (ROLE, MODEL):
        node.SetAttribute(name, content[name])
    for role in (INPUT, SEGMENTATION):
        node.SetNodeReferenceID(role, content[role])
    node.EndModify(was_modifying)


def exchange_content(transaction, node, content: dict[str, Any]) -> None:
    transaction.on_failure(set_content, node, content_of(node))
    set_content(node, content)
