"""From a volume's slices to the slice views and back, whatever transforms lie between."""

from __future__ import annotations

import numpy as np

from . import slice_views
from .bent_grid import transform_points
from .volume_geometry import array_from_matrix, ijk_to_world, own_matrix, place_in_world, point_in_ras


def shown_slice(volume, axis: int) -> int | None:
    """The slice, from 0 along an axis (0 to 2), that the view of the plane of acquisition shows; None for no slice."""
    view = slice_views.acquisition_view(volume, axis)
    if view is None:
        return None
    centre = array_from_matrix(view.GetSliceToRAS())[None, :3, 3]
    own = transform_points(centre, None, volume.GetParentTransformNode())[0]
    index = round(float((np.linalg.inv(array_from_matrix(own_matrix(volume))) @ [*own, 1.0])[axis]))
    return index if 0 <= index < volume.GetImageData().GetDimensions()[axis] else None


def show_slice(volume, axis: int, index: int) -> None:
    """Bring every slice view to the middle of a slice."""
    middle = [(size - 1) / 2 for size in volume.GetImageData().GetDimensions()]
    middle[axis] = index
    slice_views.jump(place_in_world(volume, middle))


def show_point(volume, point) -> None:
    """Bring every slice view to a point of a result of the volume, LPS millimetres as the engine gives it."""
    index = np.linalg.inv(ijk_to_world(volume)) @ [*point_in_ras(point), 1.0]
    slice_views.jump(place_in_world(volume, index[:3]))
