"""Between the MRML scene and the engine: volume nodes in; segmentation, overlay and tables out. No Qt.

Example:
    >>> image = image_from_volume(volume)
    >>> result = segment([image], model)
    >>> output = write_result(result, volume, model)
    >>> output.uncertainty.GetName()
    'cine uncertainty'

In a GUI, a step in each turn of its event loop:
    >>> steps = result_steps(result, volume, model)
    >>> for _step in steps:
    ...     ...

Every function leaves the scene as it was when it raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

import numpy as np
import vtk

from csam.errors import InputError
from csam.image.raster import voxels_of
from csam.result import Result

from .bent_grid import bends, local_volumes, with_local_volumes
from .map_display import ERROR_PROBABILITY, MAPS, show_map, show_segmentation
from .output_checks import check_grid, check_outputs, check_there
from .result_nodes import (
    INPUT,
    MODEL,
    PROBABILITY_ROLE,
    ROLE,
    SEGMENTATION,
    SLICES_ROLE,
    VOLUMES_ROLE,
    Output,
    Snapshot,
    content_of,
    exchange_content,
    find_outputs,
    frame_of,
    read_report,
    restore,
    set_content,
    set_frame,
    snapshot,
)
from .result_tables import slices_table, volumes_table
from .segment_voxels import labelmap_matrix
from .segments import fill, labelmap_from_image, new_surface, put_segments, segment_ids
from .sequence_browser import shown_item
from .transaction import Transaction
from .volume_geometry import (
    array_from_matrix,
    bend_told,
    ijk_to_world,
    image_from_volume,
    own_matrix,
    region_from_roi,
)

__all__ = [
    "ModelLike",
    "Output",
    "Snapshot",
    "check_outputs",
    "find_outputs",
    "image_from_volume",
    "read_report",
    "region_from_roi",
    "restore",
    "result_steps",
    "snapshot",
    "write_result",
]


COPIED = 500_000
"""Voxels that are copied in one step."""


class LabelLike(Protocol):
    """One structure of a model: its value in the label image, and how it is shown."""

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: dict[str, Sequence[str]] | None


class ModelLike(Protocol):
    """What is needed to show a model's result; ``csam.model.Model`` has it."""

    name: str
    labels: Sequence[LabelLike]


def write_result(
    result: Result,
    volume,
    model: ModelLike,
    segmentation=None,
    uncertainty=None,
    maps: Sequence[str] = (ERROR_PROBABILITY.name,),
    others: Sequence = (),
) -> Output:
    """Show a result in the scene of its input volume, all of it or, when anything fails, nothing.

    result: its images lie on the grid of the volume. model: gives the names, colours and codes of the labels.
    segmentation: a segmentation node to write into, None for a new one. Only segments that this model made before
    are replaced; the other outputs of such an earlier run are brought up to date with it.
    uncertainty: scalar volume node for the error map, None for that of the earlier run or a new one.
    maps: which of "error_probability", "entropy" and "mutual_information" to show. A probability for each
    structure comes with them when the result has probabilities. others: the volumes of the model's further channels.
    Raises InputError when a node cannot be used so, or the result does not fit the volume.
    """
    steps = result_steps(result, volume, model, segmentation, uncertainty, maps, others)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def result_steps(
    result: Result,
    volume,
    model: ModelLike,
    segmentation=None,
    uncertainty=None,
    maps: Sequence[str] = (ERROR_PROBABILITY.name,),
    others: Sequence = (),
    check: Callable[[], None] = lambda: None,
    reviewed: Collection[int] = (),
    keep: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """``write_result`` in steps of some milliseconds; returns its Output.

    Whoever takes the steps sees to it that the nodes given are still in the scene before each. Closed before its end,
    it takes back what it has done. Nodes that are there already change in the last step alone.
    check: called at the first and the last step; raises where the volume is not what was segmented. reviewed: the
    slices, from 0, that are ticked from the start. keep: called right before nodes that are there already change.
    """
    check_outputs((volume,), segmentation, uncertainty, maps)
    scene = volume.GetScene()
    if scene is None:
        raise InputError(f'The volume "{volume.GetName()}" is no longer in the scene.')
    for image in (result.labels, *(getattr(result, kind) for kind in MAPS)):
        check_grid(image, volume)
    check()
    yield
    factors: dict[int, float] = {}
    if bends(volume):
        factors = yield from local_volumes(result, volume, array_from_matrix(own_matrix(volume)))
    shown = with_local_volumes(result, factors)
    own = {label.value: label.segment for label in model.labels if getattr(label, "segment", None)}
    report = _report(shown, model, (volume, *others), factors, own)
    tables = {
        VOLUMES_ROLE: {"table": volumes_table(shown), "report": report},
        SLICES_ROLE: {"table": slices_table(shown, reviewed), "report": None},
    }
    yield
    earlier = {} if segmentation is None else find_outputs(segmentation, model.name)
    replaced = earlier.get(ERROR_PROBABILITY.name)
    if uncertainty is not None:
        earlier[ERROR_PROBABILITY.name] = uncertainty
    extent = volume.GetImageData().GetExtent()
    kinds = [kind for kind in MAPS if kind in maps or kind in earlier]
    images = {kind: _float_data(voxels_of(getattr(result, kind)), extent) for kind in kinds}
    titles = {kind: MAPS[kind].title for kind in kinds}
    if result.probabilities is not None:
        for position, label in enumerate(model.labels, start=1):
            component = np.empty(voxels_of(result.labels).shape, np.float32)
            yield from _copy(voxels_of(result.probabilities)[..., position], component)
            role = f"{PROBABILITY_ROLE}{label.value}"
            images[role], titles[role] = _float_data(component, extent), f"probability of {label.name}"
    labelmap = labelmap_from_image(result.labels, extent, labelmap_matrix(volume, segmentation))
    surfaces = {}
    if segmentation is not None:
        for identifier, label in zip(segment_ids(model), model.labels, strict=True):
            yield
            surfaces[identifier] = new_surface(segmentation.GetSegmentation(), identifier, labelmap, label.value)
    place = {"matrix": own_matrix(volume), "transform": volume.GetTransformNodeID()}

    with Transaction(scene) as transaction:
        is_new = segmentation is None
        if is_new:
            yield
            segmentation = _add_segmentation(transaction, volume, model, labelmap)
        origin = {MODEL: model.name, INPUT: volume.GetID(), SEGMENTATION: segmentation.GetID()}
        contents = {role: {ROLE: role, **origin, "data": data, **place} for role, data in images.items()}
        contents |= {role: {ROLE: role, **origin, **content} for role, content in tables.items()}
        classes, nodes, added = len(model.labels) + 1, {}, []
        for role, content in contents.items():
            if role in earlier:
                nodes[role] = earlier[role]
                continue
            yield
            kind = "vtkMRMLTableNode" if "table" in content else "vtkMRMLScalarVolumeNode"
            name = f"{volume.GetName()} {titles.get(role, role)}"
            nodes[role] = transaction.add(kind, name, lambda node, content=content: set_content(node, content))
            transaction.place_beside(nodes[role], volume)
            added.append(nodes[role])
            if role in images:
                show_map(transaction, nodes[role], role, classes)
        yield
        check_there(scene, (segmentation, *earlier.values(), *added))
        check()
        keep()
        previous = None
        if not is_new:
            chosen = segment_ids(model) if own else None
            previous = snapshot(segmentation, model.name, uncertainty, leave_out=added, chosen=chosen)
            put_segments(transaction, segmentation, model, labelmap, surfaces)
        _tie(transaction, segmentation, volume, model)
        for role, node in earlier.items():
            if role in contents:
                known = node.GetAttribute(ROLE) == role  # keeps the look that the user gave it
                exchange_content(transaction, node, contents[role])
                if role in images and not known:
                    show_map(transaction, node, role, classes)
        for node in {*earlier.values(), replaced} - {*nodes.values(), None}:
            # From an earlier run: it stays, but belongs to this result no longer.
            exchange_content(transaction, node, {**content_of(node), SEGMENTATION: None})
    return Output(segmentation, segment_ids(model), nodes, shown, previous, model.name)


def _add_segmentation(transaction, volume, model: ModelLike, labelmap):
    def prepare(new):
        new.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        put_segments(transaction, new, model, labelmap)

    node = transaction.add("vtkMRMLSegmentationNode", f"{volume.GetName()} segmentation", prepare)
    transaction.place_beside(node, volume)
    return node


def _tie(transaction, node, volume, model: ModelLike) -> None:
    """Show a segmentation, and say which volume it is of."""
    transaction.on_failure(set_frame, node, frame_of(node))
    if frame_of(node)[0] == "" or not {*node.GetSegmentation().GetSegmentIDs()} - {*segment_ids(model)}:
        # Segments of other people keep the geometry that they were made on.
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    show_segmentation(transaction, node)
    node.SetNodeReferenceID(INPUT, volume.GetID())


def _copy(source: np.ndarray, target: np.ndarray) -> Iterator[None]:
    """Copy an array, some hundred thousand voxels a step."""
    step = max(1, COPIED * len(source) // max(1, source.size))
    for start in range(0, len(source), step):
        target[start : start + step] = source[start : start + step]
        yield


def _float_data(voxels: np.ndarray, extent: Sequence[int]):
    """A map's voxels as vtkImageData, 32-bit float: as 8-bit numbers it would look flat."""
    return fill(vtk.vtkImageData(), voxels.astype(np.float32, copy=False), extent)


def _report(
    result: Result, model: ModelLike, volumes: Sequence, factors: dict[int, float], segments: dict[int, str]
) -> str:
    """What has no column of its own, as JSON, so that a saved scene still tells it.

    segments: the IDs of segments that are a user's own, by label value.
    """
    report = {
        "model": model.name,
        "further_images": [(volume.GetID(), volume.GetName()) for volume in volumes[1:]],
        "sequence_item": shown_item(volumes[0]),
        "ijk_to_world": ijk_to_world(volumes[0]).tolist(),
        "case_quality": result.case_quality,
        "case_rank": result.case_rank,
        "extent": result.extent,
        "warnings": [*filter(None, [bend_told(volumes[0])]), *result.warnings],
        "local_volumes": factors,
        "segments": segments,
        "slice_axis": "ijk"[result.slice_axis],
        "provenance": dict(result.provenance),
    }
    return json.dumps(report, default=str, sort_keys=True)
