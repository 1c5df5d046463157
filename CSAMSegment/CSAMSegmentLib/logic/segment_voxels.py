"""The voxels of segments as arrays on a volume's grid, and as labelmaps back in a segmentation's coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from csam.errors import InputError

from .segments import LABELMAP, fill
from .volume_geometry import array_from_matrix, matrix_from_array, own_matrix, transform_between

NEAR = 0.02
"""How far, in voxels, a labelmap may lie from a volume's grid to be on it."""


def labelmap_matrix(volume, segmentation) -> np.ndarray:
    """Voxel indices to the coordinates of the segmentation, or of the volume where there is none yet, 4x4."""
    matrix = array_from_matrix(own_matrix(volume))
    if segmentation is None:
        return matrix
    parents = volume.GetParentTransformNode(), segmentation.GetParentTransformNode()
    return transform_between(*parents, f'the segmentation "{segmentation.GetName()}"') @ matrix


def segment_voxels(segmentation, identifier: str, volume) -> np.ndarray:
    """Where a segment is, bool (k, j, i) on a volume's grid; nearest neighbour where it lies on another grid.

    Raises InputError when the segment is not there, has no labelmap, or a transform that bends lies between.
    """
    layer, value = _layer(segmentation, identifier)
    mask = np.zeros(volume.GetImageData().GetDimensions()[::-1], bool)
    if layer is None or layer.GetPointData().GetScalars() is None or layer.GetNumberOfPoints() == 0:
        return mask
    start = _shift(layer, volume, segmentation)
    if start is None:
        layer, start = _resampled(layer, value, volume, segmentation), np.zeros(3, int)
        value = 1
    voxels = vtk_to_numpy(layer.GetPointData().GetScalars()).reshape(layer.GetDimensions()[::-1])
    theirs, ours = [], []
    for offset, length, size in zip(start[::-1], voxels.shape, mask.shape, strict=True):
        low, high = max(0, offset), min(size, offset + length)
        if low >= high:
            return mask
        ours.append(slice(low, high))
        theirs.append(slice(low - offset, high - offset))
    mask[tuple(ours)] = voxels[tuple(theirs)] == value
    return mask


def is_on_grid(segmentation, identifier: str, volume) -> bool:
    """Whether a segment's voxels are voxels of a volume, so that nothing is lost on the way there and back."""
    layer, _value = _layer(segmentation, identifier)
    return layer is None or layer.GetNumberOfPoints() == 0 or _shift(layer, volume, segmentation) is not None


def segment_labels(segmentation, values: dict[str, int], volume, where: Sequence[int] | None = None, axis: int = 2):
    """Segments as labels, uint8 (k, j, i) on a volume's grid. values: of the labels, by segment ID.

    where: the slices along the axis in which segments must not overlap; None for all. Raises InputError where two do.
    """
    labels = np.zeros(volume.GetImageData().GetDimensions()[::-1], np.uint8)
    content, names = segmentation.GetSegmentation(), {}
    for identifier, value in values.items():
        mask = segment_voxels(segmentation, identifier, volume)
        both = np.moveaxis(mask & (labels > 0), 2 - axis, 0)
        crowded = [n for n in (range(len(both)) if where is None else where) if both[n].any()]
        if crowded:
            other = names[int(np.moveaxis(labels, 2 - axis, 0)[crowded[0]][both[crowded[0]]][0])]
            raise InputError(
                f'The segments "{other}" and "{content.GetSegment(identifier).GetName()}" overlap in slice '
                f"{crowded[0] + 1}, but a voxel can have only one label. Erase one of them there."
            )
        labels[mask] = value
        names[value] = content.GetSegment(identifier).GetName()
    return labels


def labelmap_of(mask: np.ndarray, volume, segmentation):
    """Voxels on a volume's grid as a vtkOrientedImageData, uint8, in the coordinates of a segmentation."""
    labelmap = slicer.vtkOrientedImageData()
    fill(labelmap, mask.astype(np.uint8), volume.GetImageData().GetExtent())
    labelmap.SetImageToWorldMatrix(matrix_from_array(labelmap_matrix(volume, segmentation)))
    return labelmap


def _layer(segmentation, identifier: str):
    """The labelmap that holds a segment, None for a segment without voxels, and its value there."""
    segment = segmentation.GetSegmentation().GetSegment(identifier)
    if segment is None:
        raise InputError(
            f'The segmentation "{segmentation.GetName()}" has no segment "{identifier}". Choose one that is there.'
        )
    layer = segment.GetRepresentation(LABELMAP)
    if layer is None and segment.GetNumberOfRepresentations() > 0:
        raise InputError(
            f'The voxels of the segment "{segment.GetName()}" cannot be read. Make {LABELMAP} the source '
            "representation of its segmentation (module Segmentations)."
        )
    return layer, segment.GetLabelValue()


def _shift(layer, volume, segmentation) -> np.ndarray | None:
    """The place (i, j, k) in a volume's array of a labelmap's first voxel; None where the grids differ."""
    own = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(own)
    to_volume = np.linalg.inv(labelmap_matrix(volume, segmentation)) @ array_from_matrix(own)
    extent = np.reshape(layer.GetExtent(), (3, 2))
    first, last = (to_volume @ [*extent[:, end], 1.0] for end in (0, 1))
    start = np.round(first[:3])
    there = start + extent[:, 1] - extent[:, 0]
    aligned = np.allclose(to_volume[:3, :3], np.eye(3), atol=NEAR)
    if not (aligned and np.allclose(first[:3], start, atol=NEAR) and np.allclose(last[:3], there, atol=NEAR)):
        return None
    return start.astype(int) - np.array(volume.GetImageData().GetExtent()[::2])


def _resampled(layer, value: int, volume, segmentation):
    """A segment as a labelmap on a volume's grid, 1 where it is."""
    voxels = vtk_to_numpy(layer.GetPointData().GetScalars()).reshape(layer.GetDimensions()[::-1])
    alone, moved = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    fill(alone, (voxels == value).astype(np.uint8), layer.GetExtent())
    own = vtk.vtkMatrix4x4()
    layer.GetImageToWorldMatrix(own)
    alone.SetImageToWorldMatrix(own)
    grid = labelmap_of(np.zeros(volume.GetImageData().GetDimensions()[::-1]), volume, segmentation)
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(alone, grid, moved)
    return moved
