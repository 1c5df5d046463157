"""Labels as segments, each in exactly its voxels; segments that other people made stay as they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk, vtk_to_numpy

from csam.image.raster import Raster, voxels_of

from .volume_geometry import matrix_from_array

LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
MODEL_TAG = "CSAMSegment.Model"
DRAWN_TAG = "CSAMSegment.Drawn"
"""What a segment remembers of the slices that a user has drawn; see ``drawn_slices``."""

CATEGORIES = "Segmentation category and type - 3D Slicer General Anatomy list"
REGIONS = "Anatomic codes - DICOM master list"


def segment_id(model_name: str, value: int) -> str:
    """The ID of the segment of one of a model's labels, the same in every run."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", model_name)
    if plain != model_name.replace(" ", "-"):  # two names of other letters would be one
        plain += f"-{hashlib.sha256(model_name.encode()).hexdigest()[:8]}"
    return f"CSAMSegment_{plain}_{value}"


def segment_ids(model) -> tuple[str, ...]:
    """The IDs of a model's segments in the order of its labels; those of a filling are the user's own."""
    return tuple(getattr(label, "segment", None) or segment_id(model.name, label.value) for label in model.labels)


def terminology_entry(terminology) -> str | None:
    """A model's terminology as Slicer's text, or None without one.

    terminology: {"category": [scheme, code, meaning], "type": [...]}, optionally with "modifier".
    """
    if not terminology:
        return None
    codes = ["^".join(terminology.get(key) or ("", "", "")) for key in ("category", "type", "modifier")]
    return "~".join((CATEGORIES, *codes, REGIONS, "^^", "^^"))


def labelmap_from_image(labels: sitk.Image | Raster, extent: Sequence[int], ijk_to_ras: np.ndarray):
    """A label image as a vtkOrientedImageData, unsigned 8 or 16 bits, on the grid that the matrix gives."""
    voxels = voxels_of(labels)
    if voxels.dtype not in (np.uint8, np.uint16):
        voxels = voxels.astype(np.uint16 if voxels.max(initial=0) > 255 else np.uint8)
    labelmap = fill(slicer.vtkOrientedImageData(), voxels, extent)
    labelmap.SetImageToWorldMatrix(matrix_from_array(ijk_to_ras))
    return labelmap


def fill(data, voxels: np.ndarray, extent: Sequence[int]):
    """Give a vtkImageData voxels in numpy's order (k, j, i); the same object comes back.

    Voxels that can be written are taken over: the array stays theirs for as long as VTK needs it. Others, such as a
    view of a SimpleITK image, are copied.
    """
    voxels = np.require(voxels, requirements="CAW")
    data.SetExtent(*extent)
    data.GetPointData().SetScalars(numpy_to_vtk(voxels.reshape(-1), array_type=get_vtk_array_type(voxels.dtype)))
    return data


def put_segments(transaction, node, model, labelmap, surfaces: Mapping = {}) -> None:
    """Make the model's labels segments of a segmentation node: one layer for all, as they do not overlap.

    A segment that an earlier run of the same model made gets new voxels and keeps the name, colour and visibility
    that a user gave it. surfaces: those of ``new_surface`` by ID, as far as they are made already.
    """
    segmentation = node.GetSegmentation()
    wanted = dict(zip(segment_ids(model), model.labels, strict=True))
    transaction.on_failure(_announce, segmentation)
    was_modifying = node.StartModify()  # views and lists hear of all segments at once
    try:
        _leave_shared_layers(transaction, segmentation, wanted)
        for identifier, label in wanted.items():
            if segmentation.GetSegment(identifier) is None:
                _add(transaction, segmentation, _new_segment(label, model.name, labelmap), identifier)
            else:
                surface = surfaces.get(identifier)
                _set_voxels(transaction, segmentation, identifier, labelmap, label.value, surface)
                _remember(transaction, segmentation.GetSegment(identifier), getattr(label, "drawn", ""))
        _announce(segmentation)
    finally:
        node.EndModify(was_modifying)


def take_segments(node, identifiers: Sequence[str]) -> dict[str, slicer.vtkSegment]:
    """Copies of some segments by ID, for a node that is about to give them other voxels.

    A layer that they share with other segments is copied, any other is taken as it is.
    """
    segmentation = node.GetSegmentation()
    layers: dict = {}
    for identifier in identifiers:
        layers.setdefault(_voxels(segmentation, identifier), []).append(identifier)
    copies = {}
    for layer, together in layers.items():
        values = [segmentation.GetSegment(identifier).GetLabelValue() for identifier in together]
        shared = len(together) < len(_users(segmentation, layer))
        image = layer
        if shared and layer is not None:
            image = slicer.vtkOrientedImageData()
            image.DeepCopy(layer)
            _erase(image, values, keep=True)
        for identifier in together:
            segment = segmentation.GetSegment(identifier)
            copies[identifier] = slicer.vtkSegment()
            copies[identifier].DeepCopyMetadata(segment)
            copies[identifier].SetNameAutoGenerated(segment.GetNameAutoGenerated())
            copies[identifier].SetColorAutoGenerated(segment.GetColorAutoGenerated())
            copies[identifier].AddRepresentation(LABELMAP, image or slicer.vtkOrientedImageData())
    return {identifier: copies[identifier] for identifier in identifiers}


def restore_segments(transaction, node, now: Sequence[str], copies: dict) -> None:
    """Put back what ``take_segments`` kept, no more and no fewer; now: the IDs of those that are there in its place."""
    segmentation = node.GetSegmentation()
    transaction.on_failure(_announce, segmentation)
    _leave_shared_layers(transaction, segmentation, now)
    for identifier, kept in copies.items():
        if identifier in now:
            _set_voxels(transaction, segmentation, identifier, kept.GetRepresentation(LABELMAP), kept.GetLabelValue())
            _remember(transaction, segmentation.GetSegment(identifier), drawn_tag(kept))
        else:
            segment = slicer.vtkSegment()
            segment.DeepCopyMetadata(kept)
            segment.AddRepresentation(LABELMAP, kept.GetRepresentation(LABELMAP))
            _add(transaction, segmentation, segment, identifier)
    for identifier in now:
        if identifier not in copies:
            segment = segmentation.GetSegment(identifier)
            segmentation.RemoveSegment(identifier)
            transaction.on_failure(segmentation.AddSegment, segment, identifier)
    _announce(segmentation)


def own_segments(segmentation, model_name: str) -> list[str]:
    """The IDs of the segments that a model made."""
    prefix = segment_id(model_name, 0)[:-1]
    return [
        identifier
        for identifier in segmentation.GetSegmentIDs()
        if identifier.startswith(prefix) and identifier[len(prefix) :].isdigit()
    ]


def _new_segment(label, model_name: str, labelmap):
    segment = slicer.vtkSegment()
    segment.SetName(label.name)
    segment.SetColor([channel / 255 for channel in label.color])
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    entry = terminology_entry(label.terminology)
    if entry is not None:
        segment.SetTag(segment.GetTerminologyEntryTagName(), entry)
    segment.SetTag(MODEL_TAG, model_name)
    segment.SetLabelValue(label.value)
    segment.AddRepresentation(LABELMAP, labelmap)
    return segment


def drawn_tag(segment) -> str:
    """What a segment remembers of its drawn slices; empty where nothing."""
    text = vtk.reference("")
    return str(text) if segment.GetTag(DRAWN_TAG, text) else ""


def set_drawn_tag(segment, text: str) -> None:
    """Let a segment remember a text, or nothing."""
    if text:
        segment.SetTag(DRAWN_TAG, text)
    else:
        segment.RemoveTag(DRAWN_TAG)


def _remember(transaction, segment, text: str) -> None:
    transaction.on_failure(set_drawn_tag, segment, drawn_tag(segment))
    set_drawn_tag(segment, text)


def _add(transaction, segmentation, segment, identifier: str) -> None:
    if not segmentation.AddSegment(segment, identifier):
        raise RuntimeError(f'Slicer could not add the segment "{segment.GetName()}"; see the error log.')
    transaction.on_failure(segmentation.RemoveSegment, identifier)


def _set_voxels(transaction, segmentation, identifier: str, labelmap, value: int, surface=None) -> None:
    """Exchange the layer of a segment, never its voxels in place: the old layer may belong to others too."""
    segment = segmentation.GetSegment(identifier)
    transaction.on_failure(segment.SetLabelValue, segment.GetLabelValue())
    before = segment.GetRepresentation(LABELMAP) or slicer.vtkOrientedImageData()  # nobody has drawn in it yet
    transaction.on_failure(segment.AddRepresentation, LABELMAP, before)
    segment.SetLabelValue(value)
    segment.AddRepresentation(LABELMAP, labelmap)
    if segment.GetRepresentation(SURFACE) is not None:  # shown in 3-D: it follows
        transaction.on_failure(segment.AddRepresentation, SURFACE, segment.GetRepresentation(SURFACE))
        segment.AddRepresentation(SURFACE, surface or new_surface(segmentation, identifier, labelmap, value))


def new_surface(segmentation, identifier: str, labelmap, value: int):
    """The closed surface that a segment will have with new voxels, smoothed as the segmentation says.

    None where the segment has no surface now: it is not shown in 3-D.
    """
    segment = segmentation.GetSegment(identifier)
    if segment is None or segment.GetRepresentation(SURFACE) is None:
        return None
    workshop, copy = slicer.vtkSegmentation(), slicer.vtkSegment()
    workshop.CopyConversionParameters(segmentation)
    copy.SetLabelValue(value)
    copy.AddRepresentation(LABELMAP, labelmap)
    workshop.AddSegment(copy, "copy")
    workshop.CreateRepresentation(SURFACE)
    return copy.GetRepresentation(SURFACE)


def _leave_shared_layers(transaction, segmentation, leaving) -> None:
    """Before segments leave a layer, give those that stay in it a copy without their voxels."""
    layers = {_voxels(segmentation, identifier) for identifier in leaving if segmentation.GetSegment(identifier)}
    for layer in layers:
        users = _users(segmentation, layer)
        staying = [identifier for identifier in users if identifier not in leaving]
        if layer is None or not staying:
            continue
        rest = slicer.vtkOrientedImageData()
        rest.DeepCopy(layer)
        gone = [segmentation.GetSegment(identifier).GetLabelValue() for identifier in users if identifier in leaving]
        _erase(rest, gone)
        for identifier in staying:
            segment = segmentation.GetSegment(identifier)
            transaction.on_failure(segment.AddRepresentation, LABELMAP, layer)
            segment.AddRepresentation(LABELMAP, rest)


def _users(segmentation, layer) -> list[str]:
    return [identifier for identifier in segmentation.GetSegmentIDs() if _voxels(segmentation, identifier) is layer]


def _voxels(segmentation, identifier: str):
    return segmentation.GetSegment(identifier).GetRepresentation(LABELMAP)


def _erase(image, values: list[int], keep: bool = False) -> None:
    """Set the voxels that have one of some values (with ``keep``: all others) to 0."""
    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        return
    voxels = vtk_to_numpy(scalars)
    if voxels.dtype in (np.uint8, np.uint16):  # looked up: several times as fast as a comparison with each value
        becomes = np.arange(np.iinfo(voxels.dtype).max + 1, dtype=voxels.dtype)
        becomes[np.isin(becomes, values, invert=keep)] = 0
        np.take(becomes, voxels, out=voxels, mode="clip")
    else:
        voxels[np.isin(voxels, values, invert=keep)] = 0


def _announce(segmentation) -> None:
    """Tell views and editors, as Slicer's own editing does, that voxels have changed."""
    segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)
    for identifier in segmentation.GetSegmentIDs():
        segmentation.InvokeEvent(slicer.vtkSegmentation.RepresentationModified, identifier)
