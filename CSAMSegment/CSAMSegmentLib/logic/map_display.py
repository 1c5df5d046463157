"""How the overlays look: which there are, in which colours, and from which value on they are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vtk.util.numpy_support import vtk_to_numpy

from .texts import tr as _

GREY = "vtkMRMLColorTableNodeGrey"
COLORS = ("vtkMRMLColorTableNodeFileInferno.txt", "vtkMRMLColorTableNodeFilePlasma.txt", "vtkMRMLColorTableNodeIron")
"""Colour tables by preference; those from files are there only where the Colors module has loaded them."""


@dataclass(frozen=True)
class MapKind:
    """One kind of map: the attribute of ``Result`` that holds it, and its title in the names of nodes.

    legend: the title of its legend, with the unit. factor: from the stored values to that unit. format: of its numbers.
    """

    name: str
    title: str
    legend: str
    factor: float = 1
    format: str = "%.2f"


ERROR_PROBABILITY = MapKind("error_probability", "uncertainty", _("Error probability (%)"), 100, "%.0f")
MAPS = {
    kind.name: kind
    for kind in (
        ERROR_PROBABILITY,
        MapKind("entropy", "entropy", _("Entropy (nats)")),
        MapKind("mutual_information", "mutual information", _("Mutual information (nats)")),
    )
}


def display_range(kind: str, classes: int, data) -> tuple[float, float]:
    """The values that get the first and the last colour.

    kind: a key of ``MAPS``, or anything else for a probability. classes: with the background. data: vtkImageData.
    An error probability ends at one half: there the label is no better than its opposite. Entropy ends at its bound
    ln(classes). Mutual information has no such point, so it ends at its largest value (of a million voxels at most:
    this runs in the application's main thread).
    """
    if kind == "error_probability":
        return 0.0, 0.5
    if kind == "entropy":
        return 0.0, math.log(max(classes, 2))
    if kind == "mutual_information":
        values = vtk_to_numpy(data.GetPointData().GetScalars())
        return 0.0, float(values[:: 1 + len(values) // 1_000_000].max()) or 1.0
    return 0.0, 1.0


def show_map(transaction, volume, kind: str, classes: int) -> None:
    """Set colours, window and threshold of a map so that it overlays well.

    The lowest tenth of the range is not drawn, so that the image below stays visible. Without interpolation:
    between thick slices it would show values that nobody computed.
    """

    def set_look(display):
        low, high = display_range(kind, classes, volume.GetImageData())
        color = next((color for color in COLORS if volume.GetScene().GetNodeByID(color)), GREY)
        was_modifying = display.StartModify()
        display.SetAndObserveColorNodeID(color)
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(low, high)
        display.SetThreshold(low + 0.1 * (high - low), max(high, 1.0))
        display.SetApplyThreshold(True)
        display.SetAutoThreshold(False)
        display.SetInterpolate(False)
        display.EndModify(was_modifying)

    display = volume.GetDisplayNode()
    if display is None:  # set before it is connected: the default one would first look for a window of its own
        display = transaction.add("vtkMRMLScalarVolumeDisplayNode", f"{volume.GetName()} display", set_look)
        volume.SetAndObserveDisplayNodeID(display.GetID())
    else:
        before = display.NewInstance()
        before.CopyContent(display)  # its colour table too
        transaction.on_failure(display.CopyContent, before)
        set_look(display)


OUTLINED = "CSAMSegment.Outlined"
"""Attribute of a region whose look was set once: what a user then changes stays."""


def outline_region(roi) -> None:
    """Draw a markups ROI as a frame: no filling and no name over the image that it is to frame, in 2D and 3D."""
    if roi is None or roi.GetAttribute(OUTLINED) is not None:
        return
    roi.CreateDefaultDisplayNodes()
    display = roi.GetDisplayNode()
    was_modifying = display.StartModify()
    display.SetFillVisibility(False)
    display.SetFillOpacity(0)
    display.SetOutlineVisibility(True)
    display.SetPropertiesLabelVisibility(False)
    display.EndModify(was_modifying)
    roi.SetAttribute(OUTLINED, "1")


def show_segmentation(transaction, segmentation) -> None:
    """Outlines with a light filling, so that image and overlay stay visible below."""
    if segmentation.GetDisplayNode() is None:
        segmentation.CreateDefaultDisplayNodes()
        transaction.on_failure(transaction.remove, segmentation.GetDisplayNode())
        segmentation.GetDisplayNode().SetOpacity2DFill(0.2)
