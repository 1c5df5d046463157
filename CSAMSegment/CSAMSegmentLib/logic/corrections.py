"""What a user's corrections do to the volumes: measured again from the voxels of the segments.

Nothing of it is stored: the voxels are, and a structure is edited when they are not as many as the run has found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from .segments import LABELMAP, segment_id
from .shown_result import ShownResult

PART = 2_000_000
"""Voxels that are counted in one turn of the event loop."""


def measure(result: ShownResult) -> dict[int, float]:
    """The volume of each of a result's structures as its segment is now, in ml by label value; see ``count``."""
    volumes: dict[int, float] = {}
    for _part in count(result, volumes):
        pass
    return volumes


def count(result: ShownResult, volumes: dict[int, float]) -> Iterator[None]:
    """Fill ``volumes``, in ml by label value, a part of the voxels at each step.

    A structure whose segment was deleted has 0 ml; one whose segment has no labelmap (its voxels are a surface's) is
    left out.
    """
    segmentation = result.segmentation.GetSegmentation()
    for structure in result.structures():
        segment = segmentation.GetSegment(segment_id(result.model, structure.value))
        layer = segment.GetRepresentation(LABELMAP) if segment is not None else None
        if segment is not None and layer is None:
            continue
        found, scalars = 0, layer.GetPointData().GetScalars() if layer is not None else None
        if scalars is not None:
            voxels, label = vtk_to_numpy(scalars), segment.GetLabelValue()
            for start in range(0, len(voxels), PART):
                found += int(np.count_nonzero(voxels[start : start + PART] == label))
                yield
        voxel = math.prod(layer.GetSpacing()) * result.local_volume(structure.value) if layer is not None else 0.0
        volumes[structure.value] = found * voxel / 1000


def edited(result: ShownResult, volumes: dict[int, float]) -> dict[int, float]:
    """Those of ``measure`` that are not what the run has found."""
    voxel = math.prod(result.volume.GetSpacing()) / 1000 if result.volume is not None else 0.0
    found = {structure.value: structure.volume_ml for structure in result.structures()}
    return {
        value: volume
        for value, volume in volumes.items()
        if abs(volume - found[value]) > voxel / 2 + 1e-5 * found[value]  # a saved table has six digits
    }
