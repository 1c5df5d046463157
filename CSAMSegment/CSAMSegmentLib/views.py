"""What the slice views show and where they stand, by their MRML nodes alone."""

from __future__ import annotations

import math

import slicer

from .display import MAPS, display_range
from .outputs import INPUT

TITLE_FONT_SIZE, LABEL_FONT_SIZE = 10, 9
"""Points; Slicer's own default fills half a slice view."""


def composites() -> list:
    """The nodes that say what each slice view shows."""
    return slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")


def show_image(volume) -> None:
    """Show a volume in every slice view, each turned into the volume's own planes."""
    for node in composites():
        node.SetBackgroundVolumeID(volume.GetID())
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.SetOrientationToDefault()  # else it turns to the planes nearest to those of the volume before
        node.RotateToVolumePlane(volume)


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
    """Whether any slice view draws something over its image."""
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


def show_legend(volume, kind: str, visible: bool) -> None:
    """Show or hide what the colours of a map mean; the legend is made when it is first shown."""
    logic = slicer.modules.colors.logic()
    legend = logic.GetColorLegendDisplayNode(volume)
    if legend is None:
        if not visible or volume.GetDisplayNode() is None:
            return
        legend = logic.AddDefaultColorLegendDisplayNode(volume)
        _style(legend, MAPS[kind].unit)
    legend.SetVisibility(visible)


def _style(legend, title: str) -> None:
    was_modifying = legend.StartModify()
    legend.SetTitleText(title)
    legend.SetNumberOfLabels(3)
    legend.SetSize(0.12, 0.45)
    legend.SetPosition(0.97, 0.5)
    for style, size in (
        (legend.GetTitleTextProperty(), TITLE_FONT_SIZE),
        (legend.GetLabelTextProperty(), LABEL_FONT_SIZE),
    ):
        style.SetFontSize(size)
        style.SetBold(False)
        style.SetItalic(False)
    legend.EndModify(was_modifying)
