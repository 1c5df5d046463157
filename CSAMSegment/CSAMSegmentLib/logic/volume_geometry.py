"""Volume nodes as images of the engine, and regions of interest as boxes in patient space.

Slicer's patient space is RAS, that of SimpleITK and of the engine is LPS: the first two axes change their sign.
"World" is patient space after the parent transforms, which is what the slice views show. Where one of them bends space
(``bend``) the engine sees the volume's own grid, placed as the nearest rigid transform says.
"""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from csam.errors import InputError
from csam.image.raster import Raster
from csam.process.protocol import DTYPES

from .bent_grid import bend_of, bends, told, transform_points

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TOLERANCE = 1e-3
"""How far axes may be from perpendicular (cosine), and a transform from rigid (relative length)."""

RESAMPLE = 'resample the volume (module "Resample Scalar/Vector/DWI Volume")'


def image_from_volume(volume) -> sitk.Image:
    """The voxels of a scalar volume node where the slice views show them, LPS, millimetres.

    volume: vtkMRMLScalarVolumeNode of any scalar type; axes may be oblique, permuted or left-handed. A rigid parent
    transform becomes part of the image's geometry, of one that bends space the nearest rigid one.
    Returns a copy: changing the image does not change the node.
    Raises InputError when the node is no single 3-D image, is empty, or its voxels are no right-angled grid of the
    size that they were acquired with.
    """
    raster = raster_from_volume(volume)
    image = sitk.GetImageFromArray(raster.voxels)
    image.SetSpacing(raster.spacing)
    image.SetDirection(raster.direction)
    image.SetOrigin(raster.origin)
    return image


def raster_from_volume(volume) -> Raster:
    """As ``image_from_volume``, but its voxels are those of the node: nothing is copied."""
    check_volume(volume)
    data = volume.GetImageData()
    try:
        voxels = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])
        known = voxels.dtype.name in DTYPES
    except (KeyError, TypeError):
        known = False
    if not known:
        raise InputError(
            f'The volume "{volume.GetName()}" has voxels of type {data.GetScalarTypeAsString()}, which cannot be '
            'read. Convert it to a common type such as short or float (module "Cast Scalar Volume").'
        )
    matrix = RAS_TO_LPS @ ijk_to_world(volume)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    start = np.array([*data.GetExtent()[::2], 1.0])
    direction = (matrix[:3, :3] / spacing).ravel().tolist()
    return Raster(voxels, spacing.tolist(), (matrix @ start)[:3].tolist(), direction)


def volume_from_image(image: sitk.Image, name: str):
    """A scalar volume node of a three-dimensional image, LPS, with a window over its values."""
    to_lps = np.eye(4)
    to_lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    to_lps[:3, 3] = image.GetOrigin()
    voxels = sitk.GetArrayFromImage(image)
    volume = slicer.util.addVolumeFromArray(voxels, RAS_TO_LPS @ to_lps, name)
    volume.CreateDefaultDisplayNodes()
    low, high = np.percentile(voxels[:: max(1, len(voxels) // 4)], [1, 99.5])
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(float(low), float(high))
    return volume


def check_volume(volume) -> None:
    """Raise InputError when a node is not a single, non-empty, scalar 3-D image."""
    if volume is None:
        raise InputError("No image is chosen. Choose the image to segment.")
    kind = volume.GetClassName()
    name = volume.GetName()
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f'"{name}" is a label map, not an image. Choose the image that it was drawn on.')
    if volume.IsA("vtkMRMLMultiVolumeNode") or volume.IsA("vtkMRMLSequenceNode"):
        raise InputError(f'"{name}" is a series of volumes in time. Choose one of its volumes.')
    if not volume.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f'"{name}" is a {kind}. Choose a scalar volume.')
    data = volume.GetImageData()
    if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
        raise InputError(f'The volume "{name}" is empty. Load its image again, or choose another volume.')
    components = data.GetNumberOfScalarComponents()
    if components != 1 or volume.IsA("vtkMRMLTensorVolumeNode"):
        raise InputError(
            f'The volume "{name}" has {components} values in each voxel (colour, or a series in time); one is '
            'expected. Choose a single image, or extract one component (module "Vector to Scalar Volume").'
        )


def ijk_to_world(volume) -> np.ndarray:
    """Voxel indices to world RAS, 4x4, with a rigid parent transform, or the one nearest to one that bends space.

    Raises InputError when a linear transform is not rigid, or the voxels' own axes are not perpendicular.
    """
    own = array_from_matrix(own_matrix(volume))
    _check_axes(own, f'the volume "{volume.GetName()}"', f"To segment it, {RESAMPLE}.")
    parent = volume.GetParentTransformNode()
    if parent is None:
        return own
    if bends(volume):
        return bend_of(volume, own).rigid @ own
    return transform_between(parent, None, f'the volume "{volume.GetName()}"') @ own


def bend_told(volume) -> str:
    """What a user must know of a transform that bends a volume's grid; empty where there is none to be noticed."""
    return told(volume, bend_of(volume, array_from_matrix(own_matrix(volume)))) if bends(volume) else ""


def place_in_world(volume, index) -> tuple[float, float, float]:
    """Where a voxel index (i, j, k) is shown, world RAS, whatever the transforms."""
    point = array_from_matrix(own_matrix(volume)) @ [*index, 1.0]
    return tuple(transform_points(point[None, :3], volume.GetParentTransformNode(), None)[0].tolist())


def own_matrix(volume):
    """Voxel indices to a volume's own RAS, without parent transforms, as a vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def transform_between(source, target, what: str) -> np.ndarray:
    """The rigid transform from one transform node's coordinates to another's (None: the world), 4x4.

    what: whose transform it is, for the error. Raises InputError when it is not rigid.
    """
    if source is target:
        return np.eye(4)
    names = " and ".join(f'"{node.GetName()}"' for node in (source, target) if node)
    if not (source.IsTransformToNodeLinear(target) if source is not None else target.IsTransformToWorldLinear()):
        raise InputError(
            f"A transform that bends space ({names}) lies between the image and {what}. Put both under the same "
            "transform (module Transforms), or choose another output."
        )
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix)
    matrix = array_from_matrix(matrix)
    if not np.allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=TOLERANCE):
        raise InputError(
            f"The transform {names} stretches or shears {what}, so its sizes are not those of the scan. Remove the "
            "transform. If the new sizes are right, harden it instead (module Transforms); if the axes are then not at "
            f"right angles, {RESAMPLE}."
        )
    return matrix


def _check_axes(matrix: np.ndarray, what: str, remedy: str) -> None:
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.all(np.isfinite(matrix)) or lengths.min() <= 0:
        raise InputError(
            f"The voxels of {what} have the size {' x '.join(f'{length:g}' for length in lengths)} mm; sizes above 0 "
            "are expected. Correct the spacing (module Volumes)."
        )
    axes = matrix[:3, :3] / lengths
    for first, second in itertools.combinations(range(3), 2):
        cosine = axes[:, first] @ axes[:, second]
        if abs(cosine) > TOLERANCE:
            angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
            raise InputError(
                f"The axes {'IJK'[first]} and {'IJK'[second]} of {what} meet at {angle:.2f} degrees; 90 are expected "
                f"(a tilted gantry causes this). {remedy}"
            )


def region_from_roi(roi, volume=None) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """The corners (low, high) of the box that encloses a markups ROI, LPS millimetres, for ``Options.region``.

    volume: the image, for where its transform bends space: the box then encloses the ROI as the image's grid sees it.
    A rotated ROI gives the box along the patient axes around it; parent transforms count.
    Raises InputError when the node is no markups ROI or has no size yet.
    """
    if roi is None or not roi.IsA("vtkMRMLMarkupsROINode"):
        found = "nothing" if roi is None else f'"{roi.GetName()}", a {roi.GetClassName()}'
        raise InputError(f"The region is {found}; choose a markups ROI (module Markups).")
    bounds = [0.0] * 6
    roi.GetRASBounds(bounds)
    low, high = np.array(bounds[::2]), np.array(bounds[1::2])
    if not np.all(high > low):
        raise InputError(f'The region "{roi.GetName()}" is empty. Place it in a slice view, or choose no region.')
    if volume is not None and bends(volume):
        low, high = _unbent(low, high, volume)
    (left, back, bottom), (right, front, top) = low.tolist(), high.tolist()
    return (-right, -front, bottom), (-left, -back, top)


def _unbent(low: np.ndarray, high: np.ndarray, volume) -> tuple[np.ndarray, np.ndarray]:
    """The box that encloses a box of the world where the nearest rigid transform has put a bent volume; RAS."""
    box = np.array(list(itertools.product(*np.linspace(low, high, 9).T)))
    points = transform_points(box, None, volume.GetParentTransformNode())
    rigid = bend_of(volume, array_from_matrix(own_matrix(volume))).rigid
    points = points @ rigid[:3, :3].T + rigid[:3, 3]
    return points.min(0), points.max(0)


def fit_region(roi, volume) -> None:
    """Make a markups ROI the box around a volume, along the patient axes."""
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    low, high = bounds[::2], bounds[1::2]
    roi.CreateDefaultDisplayNodes()
    roi.SetCenterWorld(*((low + high) / 2))
    roi.SetSizeWorld(*(high - low))


def point_in_ras(point) -> tuple[float, float, float]:
    """A patient point, LPS of the engine, as Slicer's world RAS; the other way round too."""
    return (-point[0], -point[1], point[2])


def array_from_matrix(matrix) -> np.ndarray:
    """A vtkMatrix4x4 as an array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrix_from_array(array):
    """An array as a vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix
