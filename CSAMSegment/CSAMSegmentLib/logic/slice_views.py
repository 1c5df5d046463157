"""What the slice views show and where they stand, by their MRML nodes alone."""

from __future__ import annotations

import itertools
import math

import numpy as np
import slicer
import vtk

from .map_display import display_range
from .result_nodes import INPUT

STANDARD = ("Red", "Green", "Yellow")
"""Slicer's three slice views."""
CORNERS = ((0.99, 0.03), (0.99, 0.97), (0.01, 0.97))
"""Where a legend can stand, as shares of the view, the best place first; bottom left Slicer writes names."""
CORNER_SIZE = (0.24, 0.26)
"""Share of a view that a legend takes with its title."""


def composites() -> list:
    """The nodes that say what each slice view shows."""
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def show_image(volume) -> None:
    """Show a volume in every slice view, each turned into the volume's own planes and stepping by one of its slices."""
    for node in composites():
        node.SetBackgroundVolumeID(volume.GetID())
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.SetOrientationToDefault()  # else it turns to the planes nearest to those of the volume before
        node.RotateToVolumePlane(volume)
        node.SetSliceSpacingModeToAutomatic()  # in the volume's own planes: the distance of its slices


def axes(volume) -> np.ndarray:
    """The directions of a volume's axes i, j and k in the world, 3x3, a column of length 1 for each."""
    matrix, parent = vtk.vtkMatrix4x4(), volume.GetParentTransformNode()
    volume.GetIJKToRASMatrix(matrix)
    if parent is not None and parent.IsTransformToWorldLinear():
        moved = vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(moved)
        vtk.vtkMatrix4x4.Multiply4x4(moved, matrix, matrix)
    columns = np.array([[matrix.GetElement(row, column) for column in range(3)] for row in range(3)])
    return columns / np.linalg.norm(columns, axis=0)


def acquisition_view(volume, axis: int):
    """Slicer's slice view that shows the slices of a volume as they were acquired; None where it has no such views.

    axis: along which they are stacked, 0 to 2. Returns a vtkMRMLSliceNode.
    """
    nodes = [n for n in slicer.util.getNodesByClass("vtkMRMLSliceNode") if n.GetLayoutName() in STANDARD]
    return max(nodes, key=lambda node: abs(_normal(node) @ axes(volume)[:, axis]), default=None)


def _normal(node) -> np.ndarray:
    return np.array([node.GetSliceToRAS().GetElement(row, 2) for row in range(3)])


def free_corner(node, segmentation) -> tuple[float, float]:
    """The first of ``CORNERS`` of a slice view in which the structures do not lie, else the first."""
    bounds = [0.0] * 6
    segmentation.GetRASBounds(bounds)
    if bounds[0] > bounds[1]:
        return CORNERS[0]
    to_view = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), to_view)
    points = [
        to_view.MultiplyPoint((*point, 1.0))[:2] for point in itertools.product(bounds[:2], bounds[2:4], bounds[4:])
    ]
    size = node.GetDimensions()[:2]
    low, high = (f(points, axis=0) / size for f in (np.min, np.max))
    for corner in CORNERS:
        nearest = [high[n] < 1 - CORNER_SIZE[n] if corner[n] > 0.5 else low[n] > CORNER_SIZE[n] for n in range(2)]
        if any(nearest):
            return corner
    return CORNERS[0]


def show_only(segmentation) -> None:
    """Show a result's segmentation and hide those of other images, whose outlines would pass for its own."""
    image = segmentation.GetNodeReferenceID(INPUT)
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        display, theirs = node.GetDisplayNode(), node.GetNodeReferenceID(INPUT)
        if display is not None and (node is segmentation or theirs not in (None, image)):
            display.SetVisibility(node is segmentation)


def show_overlay(volume, opacity: float) -> None:
    """Draw a map over the image in every slice view."""
    for node in composites():
        was_modifying = node.StartModify()
        node.SetForegroundVolumeID(volume.GetID())
        node.SetForegroundOpacity(opacity)
        node.EndModify(was_modifying)


def has_overlay() -> bool:
    """Whether any slice view shows something over its image."""
    return any(node.GetForegroundVolumeID() for node in composites())


def is_shown(volume) -> bool:
    """Whether a slice view shows the volume as its image."""
    return any(node.GetBackgroundVolumeID() == volume.GetID() for node in composites())


def hide_overlay(volumes) -> None:
    """Take maps off the slice views; a foreground that is not among them stays."""
    ids = {volume.GetID() for volume in volumes if volume is not None}
    for node in composites():
        if node.GetForegroundVolumeID() in ids:
            node.SetForegroundVolumeID(None)


def jump(point) -> None:
    """Bring every slice view to a point, world RAS, and centre it there."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *point, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


def set_threshold(volume, kind: str, classes: int, fraction: float) -> None:
    """Draw a map only from a fraction (0 to 1) of its colour range on.

    kind: a key of ``MAPS``. classes: with the background.
    """
    display = volume.GetDisplayNode()
    if display is None or volume.GetImageData() is None:
        return
    low, high = display_range(kind, classes, volume.GetImageData())
    was_modifying = display.StartModify()
    display.SetThreshold(low + fraction * (high - low), max(high, 1.0, math.log(classes)))
    display.SetApplyThreshold(True)
    display.EndModify(was_modifying)
