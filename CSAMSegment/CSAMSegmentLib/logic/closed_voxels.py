"""The voxels that a filling must leave as they are: those of other segments, and those that an editor's mask closes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from .segment_voxels import labelmap_of, segment_voxels


def closed_voxels(segmentation, volume, chosen: Iterable[str], editor=None) -> np.ndarray:
    """Where no voxel may be given to the chosen segments, or taken from them; bool (k, j, i) on the volume's grid.

    editor: a vtkMRMLSegmentEditorNode whose settings hold: its mask, its range of intensities, and which segments may
    be overlapped. None: no other segment may be. Other segments lose nothing, but those inside which alone the mask
    lets one edit: there the editor's overwrite mode says who keeps a voxel.
    """
    chosen = list(chosen)
    closed = np.zeros(volume.GetImageData().GetDimensions()[::-1], bool)
    for identifier in _not_to_be_overlapped(segmentation, chosen, editor):
        closed |= segment_voxels(segmentation, identifier, volume)
    if editor is None:
        return closed
    if editor.GetMaskMode() != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
        closed |= _masked(segmentation, volume, chosen, editor)
    if editor.GetSourceVolumeIntensityMask():
        low, high = editor.GetSourceVolumeIntensityMaskRange()
        image = slicer.util.arrayFromVolume(volume)
        closed |= (image < low) | (image > high)
    return closed


def _not_to_be_overlapped(segmentation, chosen: list[str], editor) -> list[str]:
    """The other segments whose voxels stay theirs alone. An editor may let segments overlap, or only hidden ones."""
    inside = _masking(segmentation, editor) if editor is not None else ()
    others = [one for one in segmentation.GetSegmentation().GetSegmentIDs() if one not in (*chosen, *inside)]
    if editor is None or editor.GetOverwriteMode() == editor.OverwriteAllSegments:
        return others
    if editor.GetOverwriteMode() == editor.OverwriteNone:
        return []
    display = segmentation.GetDisplayNode()
    return [one for one in others if display is None or display.GetSegmentVisibility(one)]


def _masking(segmentation, editor) -> list[str]:
    """The segments inside which alone the mask lets one edit."""
    mode, node = editor.GetMaskMode(), slicer.vtkMRMLSegmentationNode
    if mode == node.EditAllowedInsideSingleSegment:
        return [editor.GetMaskSegmentID()]
    if mode not in (node.EditAllowedInsideAllSegments, node.EditAllowedInsideVisibleSegments):
        return []
    every, display = segmentation.GetSegmentation().GetSegmentIDs(), segmentation.GetDisplayNode()
    visible = [one for one in every if display is None or display.GetSegmentVisibility(one)]
    return visible if mode == node.EditAllowedInsideVisibleSegments else list(every)


def _masked(segmentation, volume, chosen: list[str], editor) -> np.ndarray:
    """Where the editor's mask lets none of the chosen segments be edited."""
    grid = labelmap_of(np.zeros(volume.GetImageData().GetDimensions()[::-1]), volume, segmentation)
    masked = None
    for identifier in chosen:
        mask = slicer.vtkOrientedImageData()
        segmentation.GenerateEditMask(mask, editor.GetMaskMode(), grid, identifier, editor.GetMaskSegmentID() or "")
        voxels = vtk_to_numpy(mask.GetPointData().GetScalars()).reshape(mask.GetDimensions()[::-1]) != 0
        masked = voxels if masked is None else masked & voxels
    return masked
