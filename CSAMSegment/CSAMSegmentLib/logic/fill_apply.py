"""A filling written into the edited segments by the Segment Editor's own means: its undo, mask and overwrite mode."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from csam.errors import InputError
from csam.result import Result

from .drawn_slices import as_tag, filled_record, write_tag
from .segment_voxels import NEAR, labelmap_matrix, segment_voxels
from .segments import fill
from .volume_geometry import array_from_matrix, matrix_from_array


def check_geometry(effect, volume, segmentation) -> None:
    """Raise InputError where the editor edits on another grid than the volume's: it would have to interpolate."""
    reference = effect.referenceGeometryImage()
    if reference is None or _offset(reference, volume, segmentation) is None:
        raise InputError(
            f'The segmentation "{segmentation.GetName()}" has another grid than the source volume '
            f'"{volume.GetName()}". Choose the volume that it was drawn on, or give the segmentation the geometry of '
            "the source volume (the button beside it)."
        )


def apply_filling(effect, run, result: Result) -> None:
    """Let the chosen segments have the result in the slices that the run changes; one step for the editor's undo.

    effect: the scripted effect. run: the FillRun of the result. Raises InputError, and changes nothing, where the
    segments are not as they were when the run began, or the grids differ.
    """
    run.check_unchanged()
    check_geometry(effect, run.volume, run.segmentation)
    masks = run.masks(result)
    editor = effect.parameterSetNode()
    add = slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeAdd
    remove = slicer.qSlicerSegmentEditorAbstractEffect.ModificationModeRemove
    effect.saveStateForUndo()
    was_modifying, selected = editor.StartModify(), editor.GetSelectedSegmentID()
    try:
        for mode in (remove, add):  # first all room is made, then it is filled
            for identifier, value in run.segments.items():
                before, after = run.labels == value, masks[identifier]
                change = before & ~after if mode == remove else after & ~before
                if change.any():
                    editor.SetSelectedSegmentID(identifier)  # the editor's mask is one for the selected segment
                    labelmap = _modifier(change, effect.referenceGeometryImage(), run)
                    effect.modifySegmentByLabelmap(run.segmentation, identifier, labelmap, mode)
    finally:
        editor.SetSelectedSegmentID(selected)
        editor.EndModify(was_modifying)
    for identifier in run.segments:  # as they are now: a mask may have been changed since the preview
        mask = segment_voxels(run.segmentation, identifier, run.volume)
        write_tag(run.segmentation, identifier, as_tag(filled_record(mask, run.axis, run.drawn, run.carried)))


def _offset(reference, volume, segmentation) -> np.ndarray | None:
    """What takes the volume's indices (i, j, k) to those of the editor's grid; None where voxels miss each other."""
    own = vtk.vtkMatrix4x4()
    reference.GetImageToWorldMatrix(own)
    between = np.linalg.inv(array_from_matrix(own)) @ labelmap_matrix(volume, segmentation)
    offset = np.round(between[:3, 3])
    fits = np.allclose(between[:3, :3], np.eye(3), atol=1e-3) and np.allclose(between[:3, 3], offset, atol=NEAR)
    return offset.astype(int) if fits else None


def _modifier(change: np.ndarray, reference, run):
    """Voxels on the volume's grid as a labelmap with the indices of the editor's grid."""
    offset = _offset(reference, run.volume, run.segmentation)
    extent = np.array(run.volume.GetImageData().GetExtent()) + np.repeat(offset, 2)
    labelmap, own = fill(slicer.vtkOrientedImageData(), change.astype(np.uint8), extent.tolist()), vtk.vtkMatrix4x4()
    reference.GetImageToWorldMatrix(own)
    labelmap.SetImageToWorldMatrix(matrix_from_array(array_from_matrix(own)))
    return labelmap
