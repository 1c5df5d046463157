"""Transforms that bend space, such as the one that Slicer puts over a DICOM stack whose slices are not evenly spaced.

A volume under one is segmented on its own grid, which lies in space as the rigid transform nearest to the bent one
says. Points, boxes and volumes follow the bent one itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from csam.errors import InputError
from csam.image.geometry import slice_axis
from csam.image.raster import voxels_of
from csam.result import Result

from .texts import tr as _

UNSEEN = 0.01
"""Share of a voxel below which nobody needs to know that the grid is bent."""
SLICES, ACROSS = 64, 4
"""Samples of the transform along the slice axis, and along each of the others."""
VOXELS = 2000
"""Voxels of a structure at which its local volume is measured."""


@dataclass(frozen=True)
class Bend:
    """What a transform that bends space does to a volume.

    rigid: 4x4, the rigid transform nearest to it, RAS. millimetres: the largest distance of a voxel from where that
    one takes it. share: the same along an axis of the voxels, as a share of their size.
    """

    rigid: np.ndarray
    millimetres: float
    share: float


def bends(volume) -> bool:
    """Whether a volume is under a transform that bends space."""
    parent = volume.GetParentTransformNode()
    return parent is not None and not parent.IsTransformToWorldLinear()


def bend_of(volume, own: np.ndarray) -> Bend:
    """How the transform of a volume bends its grid. own: its voxel indices to its own RAS, 4x4.

    Raises InputError where the transform cannot be evaluated.
    """
    lengths = np.linalg.norm(own[:3, :3], axis=0)
    points = _lattice(volume, own, lengths) @ own[:3, :3].T + own[:3, 3]
    moved = transform_points(points, volume.GetParentTransformNode(), None)
    if not np.all(np.isfinite(moved)):
        raise InputError(
            f'The transform "{volume.GetParentTransformNode().GetName()}" of the volume "{volume.GetName()}" gives no '
            "place to some of its voxels. Remove the transform from the volume, or use another one."
        )
    rigid = _nearest_rigid(points, moved)
    off = moved - (points @ rigid[:3, :3].T + rigid[:3, 3])
    along = off @ rigid[:3, :3] @ (own[:3, :3] / lengths) / lengths
    return Bend(rigid, float(np.linalg.norm(off, axis=1).max()), float(np.abs(along).max()))


def _lattice(volume, own: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Voxel indices all over a volume, its borders among them, (N, 3): close along the slices, coarse in them."""
    extent = np.reshape(volume.GetImageData().GetExtent(), (3, 2))
    size = (extent[:, 1] - extent[:, 0] + 1).tolist()
    slices = slice_axis(size, lengths.tolist(), (own[:3, :3] / lengths).ravel().tolist())
    steps = []
    for axis, (first, last) in enumerate(extent):
        count = min(size[axis], SLICES if axis == slices else ACROSS)
        steps.append([first - 0.5, *np.unique(np.linspace(first, last, count).round()), last + 0.5])
    return np.array(list(itertools.product(*steps)), float)


def _nearest_rigid(points: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The rotation and shift that take points nearest to where they were moved, 4x4 (Kabsch 1976)."""
    here, there = points.mean(0), moved.mean(0)
    left, _sizes, right = np.linalg.svd((moved - there).T @ (points - here))
    turn = left @ np.diag([1, 1, np.sign(np.linalg.det(left @ right))]) @ right
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = turn, there - turn @ here
    return rigid


def transform_points(points: np.ndarray, source, target) -> np.ndarray:
    """Points (N, 3) of one transform node's coordinates in those of another (None: the world), RAS; it may bend."""
    general, given, found = vtk.vtkGeneralTransform(), vtk.vtkPoints(), vtk.vtkPoints()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, general)
    for store in (given, found):
        store.SetDataTypeToDouble()
    given.SetData(numpy_to_vtk(np.ascontiguousarray(points, float)))
    general.TransformPoints(given, found)
    return vtk_to_numpy(found.GetData()).copy()


def told(volume, bend: Bend) -> str:
    """What a user must know of a bent grid, empty where nobody would notice."""
    if bend.share <= UNSEEN:
        return ""
    return _(
        'The transform "{name}" bends the grid of the image, by up to {distance:.2g} mm ({share:.0%} of a voxel). '
        "Volumes in ml take this into account; areas in mm² do not."
    ).format(name=volume.GetParentTransformNode().GetName(), distance=bend.millimetres, share=bend.share)


def local_volumes(result: Result, volume, own: np.ndarray) -> Iterator[None]:
    """By label value, how much larger the voxels of a structure are than those of an even grid. A structure a step.

    own: as for ``bend_of``. The determinant of the transform's Jacobian over a voxel, mean over the structure: between
    uneven slices it is the gap that there is. Returns them at its end.
    """
    first = np.array(volume.GetImageData().GetExtent()[::2])
    labels, parent, factors = voxels_of(result.labels), volume.GetParentTransformNode(), {}
    for entry in result.structures:
        found = np.flatnonzero(labels.reshape(-1) == entry.value)
        if len(found):
            chosen = found[:: 1 + len(found) // VOXELS]
            index = np.stack(np.unravel_index(chosen, labels.shape)[::-1], -1) + first
            factors[entry.value] = float(np.mean(_sizes_at(index, own, parent)))
        yield
    return factors


def _sizes_at(index: np.ndarray, own: np.ndarray, parent) -> np.ndarray:
    """The volumes of voxels, as a multiple of what they are without the transform."""
    half = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    faces = (index[None] + half[:, None]) @ own[:3, :3].T + own[:3, 3]
    moved = transform_points(faces.reshape(-1, 3), parent, None).reshape(faces.shape)
    edges = np.moveaxis(moved[:3] - moved[3:], 0, -1)
    return np.abs(np.linalg.det(edges) / np.linalg.det(own[:3, :3]))


def with_local_volumes(result: Result, factors: dict[int, float]) -> Result:
    """The result with the volumes of its structures as the transform makes them."""
    if not factors:
        return result
    names = ("volume_ml", "mean_ml", "low_ml", "high_ml")
    structures = [
        replace(entry, **{name: getattr(entry, name) * factors.get(entry.value, 1.0) for name in names})
        for entry in result.structures
    ]
    return replace(result, structures=tuple(structures))
