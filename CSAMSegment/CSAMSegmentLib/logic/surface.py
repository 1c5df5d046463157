"""The structures of a segmentation in 3D."""

from __future__ import annotations

from .segments import SURFACE


def show_surface(segmentation, again: bool = True) -> None:
    """Show the structures in the 3D views; their surfaces are made where they are missing. again: also where they are
    there, and somebody has hidden them."""
    if segmentation.GetSegmentation().ContainsRepresentation(SURFACE):
        if not again:
            return
    else:
        segmentation.CreateClosedSurfaceRepresentation()
    display = segmentation.GetDisplayNode()
    if display is not None:
        display.SetVisibility3D(True)


def hide_surface(segmentation) -> None:
    """Take the structures off the 3D views, with their surfaces: they would be made again at every brush stroke."""
    display = segmentation.GetDisplayNode()
    if display is not None:
        display.SetVisibility3D(False)
    segmentation.RemoveClosedSurfaceRepresentation()
