"""The structures of a segmentation in 3D."""

from __future__ import annotations

from .segments import SURFACE


def show_surface(segmentation) -> None:
    """Show the structures in the 3D views; their surfaces are made where they are missing."""
    content = segmentation.GetSegmentation()
    if not content.ContainsRepresentation(SURFACE):
        segmentation.CreateClosedSurfaceRepresentation()
    display = segmentation.GetDisplayNode()
    if display is not None:
        display.SetVisibility3D(True)


def hide_surface(segmentation) -> None:
    """Take the structures off the 3D views."""
    display = segmentation.GetDisplayNode()
    if display is not None:
        display.SetVisibility3D(False)
