"""The legend of a map: what its colours mean, small, in one slice view, in per cent where it is a probability.

Slicer writes the values of the display that a legend follows, and a probability is stored from 0 to 1. So the map has a
second display node with the same colours over a hundred times the range, which is there for the legend alone: the
voxels and what is drawn of them stay as they are.
"""

from __future__ import annotations

import slicer

from .map_display import MAPS
from .result_nodes import ROLE

MADE, SCALE_ROLE = "CSAMSegment.LegendMade", "legend scale"
VERSION = "1"
"""Legends of older scenes have none, or another one, and are made anew."""
SIZE = (0.025, 0.18)
"""Share of the view. Slicer fits all text of a legend into it, whatever its font size; see vtkSlicerScalarBarActor."""
TITLE_FONT_SIZE, LABEL_FONT_SIZE = 12, 12
"""Points; older versions of Slicer write the title in its own size."""


def show_legend(volume, kind: str, view, corner: tuple[float, float]) -> None:
    """Show what the colours of a map mean in one slice view. What a user then changes in the legend stays.

    kind: a key of ``MAPS``. view: vtkMRMLSliceNode. corner: where in the view, each 0 (left, bottom) to 1.
    """
    if volume.GetDisplayNode() is None:
        return
    legend = find_legend(volume) or slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    follow_display(volume, kind)
    made = f"{VERSION} {view.GetID()}"
    if legend.GetAttribute(MADE) != made:
        was_modifying = legend.StartModify()
        legend.SetAndObservePrimaryDisplayNode(_scale_of(volume, kind))
        _style(legend, MAPS[kind])
        legend.RemoveAllViewNodeIDs()
        legend.AddViewNodeID(view.GetID())
        legend.SetPosition(*corner)
        legend.SetAttribute(MADE, made)
        legend.EndModify(was_modifying)
    legend.SetVisibility(True)


def find_legend(volume):
    """The legend of a map, None where there is none. Slicer's own search finds none that follows another display."""
    nodes = (volume.GetNthDisplayNode(position) for position in range(volume.GetNumberOfDisplayNodes()))
    return next((node for node in nodes if node is not None and node.IsA("vtkMRMLColorLegendDisplayNode")), None)


def hide_legend(volume) -> None:
    """Hide the legend of a map, where there is one."""
    legend = find_legend(volume)
    if legend is not None:
        legend.SetVisibility(False)


def follow_display(volume, kind: str) -> None:
    """Bring the legend's scale in line with the colours and the window in which the map is drawn."""
    display, factor = volume.GetDisplayNode(), MAPS[kind].factor
    if factor == 1 or display is None:
        return
    scale = _scale_of(volume, kind)
    was_modifying = scale.StartModify()
    scale.SetAutoWindowLevel(False)
    scale.SetWindowLevel(factor * display.GetWindow(), factor * display.GetLevel())
    scale.SetAndObserveColorNodeID(display.GetColorNodeID())
    scale.SetInvertDisplayScalarRange(display.GetInvertDisplayScalarRange())
    scale.EndModify(was_modifying)


def _scale_of(volume, kind: str):
    """The display node whose values the legend shows: the map's own, or the one with the range in other units."""
    if MAPS[kind].factor == 1:
        return volume.GetDisplayNode()
    for position in range(1, volume.GetNumberOfDisplayNodes()):
        node = volume.GetNthDisplayNode(position)
        if node is not None and node.GetAttribute(ROLE) == SCALE_ROLE:
            return node
    scale = slicer.vtkMRMLScalarVolumeDisplayNode()
    scale.SetName(f"{volume.GetName()} legend scale")
    scale.SetAttribute(ROLE, SCALE_ROLE)
    scale.SetAutoWindowLevel(False)  # before it is connected: it would look for a window in the voxels
    volume.GetScene().AddNode(scale)
    volume.AddAndObserveDisplayNodeID(scale.GetID())
    return scale


def _style(legend, kind) -> None:
    legend.SetTitleText(kind.legend)
    legend.SetNumberOfLabels(3)
    legend.SetLabelFormat(kind.format)
    legend.SetUseColorNamesForLabels(False)
    legend.SetOrientation(legend.Vertical)
    legend.SetSize(*SIZE)
    for style, size in (
        (legend.GetTitleTextProperty(), TITLE_FONT_SIZE),
        (legend.GetLabelTextProperty(), LABEL_FONT_SIZE),
    ):
        style.SetFontFamilyToArial()
        style.SetFontSize(size)
        style.SetBold(False)
        style.SetItalic(False)
