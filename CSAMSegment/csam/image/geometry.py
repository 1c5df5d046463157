"""From an image in patient space to a stack of slices, and back.

Slices run along the axis of the largest spacing; where spacings do not tell, along that of the fewest samples. The
stack is brought to one orientation by permuting and flipping with the direction cosines, never by resampling
through-plane: the same anatomy stored in another order of axes gives the same stack. In-plane, images are
resized to the model's spacing over exactly the same extent, and cut into tiles and slice windows that overlap and are
blended.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .raster import Raster

AXES = "ijk"
PATIENT_AXES = "LPS"
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
PLANES = ("sagittal", "coronal", "axial")
"""The planes whose normals are the patient axes L, P and S."""
SPACING_TELLS = 1.5
"""From this ratio of the largest spacing to the second on, spacings tell along which axis the slices lie: pixels of
1.25 mm and slices 1 mm apart do not."""
ELONGATED_PIXEL = 4.0
"""Pixels longer than this many times their width are no pixels of a slice."""


@dataclass(frozen=True)
class Orientation:
    """How an image's array (k, j, i) becomes a stack (slices, rows, columns).

    axes: the image axes (0, 1, 2 for i, j, k) that become slices, rows, columns.
    flips: whether each of the three is reversed.
    patient_axes: the patient axis, "L", "P" or "S", that each of the three follows most closely.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    patient_axes: tuple[str, str, str]

    def to_stack(self, array: np.ndarray) -> np.ndarray:
        """(k, j, i) → (slices, rows, columns), a view."""
        stack = array.transpose([2 - axis for axis in self.axes])
        return stack[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def from_stack(self, stack: np.ndarray) -> np.ndarray:
        """(slices, rows, columns) → (k, j, i), a view: the inverse of ``to_stack``."""
        array = stack[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return array.transpose(np.argsort([2 - axis for axis in self.axes]))

    def index(self, slice_: int, row: int, column: int, size: Sequence[int]) -> tuple[int, int, int]:
        """The image index (i, j, k) of a position in the stack; size is the image's (i, j, k)."""
        index = [0, 0, 0]
        for position, axis, flip in zip((slice_, row, column), self.axes, self.flips, strict=True):
            index[axis] = size[axis] - 1 - position if flip else position
        return tuple(index)

    def box(self, part: Sequence[slice], size: Sequence[int]) -> tuple[slice, slice, slice]:
        """A part of the image, ranges of (i, j, k), as ranges of slices, rows and columns of the stack."""
        turned = (
            slice(size[a] - part[a].stop, size[a] - part[a].start) if flip else part[a]
            for a, flip in zip(self.axes, self.flips, strict=True)
        )
        return tuple(turned)


def slice_axis(size: Sequence[int], spacing: Sequence[float], direction: Sequence[float] = IDENTITY) -> int:
    """The image axis along which the slices are stacked: that of the largest spacing.

    An axis with exactly one sample comes before all others. Where spacings do not tell (``spacing_tells``) the fewest
    samples decide; of equal numbers the largest spacing, then the axis nearest to the patient's S, then P, then L.
    The result does not depend on the order or sense in which the axes are stored.
    """
    cosines = np.reshape(direction, (3, 3))

    def preference(axis: int) -> tuple:
        nearest = (-np.round(np.abs(cosines[::-1, axis]), 5)).tolist()
        return size[axis], -spacing[axis], nearest, _line(cosines[:, axis])

    order = sorted(range(3), key=preference)
    axis = max(range(3), key=lambda axis: spacing[axis])
    if size[order[0]] == 1 or _elongated(spacing, axis):
        return order[0]
    return next(axis for axis in order if spacing[axis] * SPACING_TELLS > max(spacing))


def spacing_tells(spacing: Sequence[float], axis: int) -> bool:
    """Whether the spacings alone show that the slices lie along this axis."""
    others = [spacing[other] for other in range(3) if other != axis]
    return spacing[axis] >= SPACING_TELLS * max(others) and not _elongated(spacing, axis)


def _elongated(spacing: Sequence[float], axis: int) -> bool:
    """Whether slices along this axis would have pixels elongated more than 4:1, as nobody acquires them: those of a
    scan of 6.4×4 mm pixels and 0.5 mm slices would, along its largest spacing."""
    pixel = [spacing[other] for other in range(3) if other != axis]
    return max(pixel) > ELONGATED_PIXEL * min(pixel)


def axis_for(image: sitk.Image, choice: str) -> int:
    """The image axis (0, 1, 2) of the slices for a choice: "auto", "i", "j", "k", or a plane.

    A plane, "sagittal", "coronal" or "axial", means the image axis nearest to its normal.
    """
    return axis_of(image.GetSize(), image.GetSpacing(), image.GetDirection(), choice)


def axis_of(size: Sequence[int], spacing: Sequence[float], direction: Sequence[float], choice: str) -> int:
    """``axis_for`` of an image that is not at hand."""
    if choice == "auto":
        return slice_axis(size, spacing, direction)
    if choice in AXES:
        return AXES.index(choice)
    patient_axis, cosines = PLANES.index(choice), np.reshape(direction, (3, 3))
    return max(range(3), key=lambda axis: (round(abs(cosines[patient_axis, axis]), 5), _line(cosines[:, axis])))


def _line(cosines: np.ndarray) -> list[float]:
    """An axis without its sense, the same for an axis and its reverse: settles ties whatever the order of storage."""
    rounded = np.round(cosines, 6)
    sense = next((np.sign(value) for value in rounded if value), 1.0)
    return (sense * rounded).tolist()


def orientation(direction: Sequence[float], axis: int) -> Orientation:
    """The orientation of an image with these direction cosines (9 numbers, row-major) and this slice axis.

    Each image axis follows one patient axis: the assignment with the largest sum of cosines. Slices then run towards
    +L, +P or +S, columns towards +L (or +P where the slices are sagittal), rows towards +P or, where the head is in
    the picture, downwards from it. The result does not depend on the order or sense in which the axes are stored.
    """
    cosines = np.asarray(direction, float).reshape(3, 3)
    if not np.all(np.isfinite(cosines)) or abs(np.linalg.det(cosines)) < 0.1:
        raise InputError(
            f"The image's direction matrix {np.round(cosines, 3).tolist()} is singular: its axes lie in one plane. "
            "Correct the header (direction cosines) and try again."
        )
    # Equal sums are settled by the axes themselves, not by where they are stored.
    rounded = np.round(np.abs(cosines), 6)

    def merit(assignment: tuple[int, int, int]) -> tuple:
        return (
            round(sum(rounded[p, a] for p, a in enumerate(assignment)), 5),
            *(_line(cosines[:, a]) for a in assignment),
        )

    image_axis = max(itertools.permutations(range(3)), key=merit)  # of patient axis L, P, S
    patient_axis = {a: p for p, a in enumerate(image_axis)}
    in_plane = sorted((a for a in range(3) if a != axis), key=patient_axis.__getitem__)
    axes = (axis, in_plane[1], in_plane[0])
    flips = []
    for place, a in enumerate(axes):
        patient = patient_axis[a]
        sense = -1 if place and patient == 2 else 1
        flips.append(bool(cosines[patient, a] * sense < 0))
    return Orientation(axes, tuple(flips), tuple(PATIENT_AXES[patient_axis[a]] for a in axes))


def check_image(image: sitk.Image | Raster, name: str = "The image") -> None:
    """Raises InputError unless the image is a three-dimensional scalar image with slices."""
    size = image.GetSize()
    if image.GetDimension() == 4:
        raise InputError(
            f"{name} is a series of {size[3]} volumes of {size[0]}×{size[1]}×{size[2]} voxels. "
            "Choose one of them (on the command line with --frame 0)."
        )
    if image.GetDimension() != 3:
        raise InputError(f"{name} has {image.GetDimension()} dimensions; 3 were expected. Give a stack of slices.")
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{name} has {image.GetNumberOfComponentsPerPixel()} values per voxel (a colour or vector image); "
            "give one scalar image per channel."
        )
    if 0 in size:
        raise InputError(f"{name} is empty: its size is {'×'.join(map(str, size))} voxels.")
    if not all(np.isfinite(image.GetSpacing())) or min(image.GetSpacing()) <= 0:
        raise InputError(f"{name} has the spacing {image.GetSpacing()} mm; every spacing must be positive.")
    if not all(np.isfinite(image.GetOrigin())):
        raise InputError(f"{name} has the origin {image.GetOrigin()} mm; three numbers were expected.")
    kind = image.GetPixelIDTypeAsString()
    if kind.startswith(("complex", "label")):
        raise InputError(f"{name} has {kind} voxels; real numbers were expected. Give its magnitude, for example.")


def voxel_volume(image: sitk.Image | Raster) -> float:
    """mm³ of a voxel, whether its axes are at right angles or not."""
    return volume_of_voxel(image.GetSpacing(), image.GetDirection())


def volume_of_voxel(spacing: Sequence[float], direction: Sequence[float]) -> float:
    """``voxel_volume`` of an image that is not at hand."""
    return float(np.prod(spacing) * abs(np.linalg.det(np.reshape(direction, (3, 3)))))


def pixel_area(image: sitk.Image | Raster, axis: int) -> float:
    """mm² of a pixel of the slices along an axis."""
    first, second = (a for a in range(3) if a != axis)
    cosines, spacing = np.reshape(image.GetDirection(), (3, 3)), image.GetSpacing()
    crossed = np.cross(cosines[:, first], cosines[:, second])
    return float(spacing[first] * spacing[second] * np.linalg.norm(crossed))


def frame(image: sitk.Image, index: int) -> sitk.Image:
    """One volume of a 4-D image. Raises InputError if there is no such volume."""
    if image.GetDimension() != 4:
        raise InputError(
            f"The image has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} value(s) per "
            f"voxel; a series of volumes was expected, to take volume {index} from. Leave out --frame."
        )
    size = list(image.GetSize())
    if not 0 <= index < size[3]:
        raise InputError(f"The series has volumes 0 to {size[3] - 1}; there is no volume {index}.")
    size[3] = 0
    return sitk.Extract(image, size, [0, 0, 0, index])


def array_of(image: sitk.Image) -> np.ndarray:
    """The image's voxels (k, j, i) as float32, values that are not finite replaced by the smallest finite one."""
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    finite = np.isfinite(array)
    if not finite.all():
        if not finite.any():
            raise InputError("The image holds no finite value: nothing can be segmented in it.")
        array[~finite] = array[finite].min()
    return array


def like(array: np.ndarray, image: sitk.Image) -> sitk.Image:
    """An image with these voxels (k, j, i), or (k, j, i, components), on the grid of another."""
    result = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    result.CopyInformation(image)
    return result


def check_channels(images: Sequence[sitk.Image | Raster]) -> None:
    """Raises InputError unless the images, one for each channel, are scalar volumes on one grid."""
    for number, image in enumerate(images, 1):
        check_image(image, "The image" if len(images) == 1 else f"Channel {number}")
        if not same_grid(images[0], image):
            raise InputError(
                f"Channel {number} ({'×'.join(map(str, image.GetSize()))} voxels) does not lie on the grid of channel "
                f"1 ({'×'.join(map(str, images[0].GetSize()))} voxels). Resample it to that volume first."
            )


def same_grid(first: sitk.Image | Raster, second: sitk.Image | Raster) -> bool:
    """Whether two images have the same voxels in patient space, within 1 % of a voxel."""
    tolerance = 0.01 * min(first.GetSpacing())
    return first.GetSize() == second.GetSize() and np.allclose(_corners(first), _corners(second), atol=tolerance)


def _corners(image: sitk.Image | Raster) -> np.ndarray:
    """The centres of the eight outermost voxels in patient space, (8, 3)."""
    indices = np.array(list(itertools.product(*((0, n - 1) for n in image.GetSize()))))
    return indices * image.GetSpacing() @ np.reshape(image.GetDirection(), (3, 3)).T + image.GetOrigin()


def region_indices(
    image: sitk.Image | Raster, low: Sequence[float], high: Sequence[float]
) -> tuple[slice, slice, slice]:
    """The image index ranges (i, j, k) that cover a box of patient space (LPS, mm), clipped to the image.

    Raises InputError when the box does not touch the image.
    """
    to_index = np.linalg.inv(np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing())
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))), float)
    # A corner on a voxel's border belongs to the same voxel however the sum is rounded.
    corners = np.round((corners - image.GetOrigin()) @ to_index.T, 9)
    start = np.maximum(np.ceil(np.min(corners, 0) - 0.5), 0).astype(int)
    stop = np.minimum(np.floor(np.max(corners, 0) + 0.5) + 1, image.GetSize()).astype(int)
    if np.any(stop <= start):
        raise InputError(
            f"The region from {np.round(low, 1).tolist()} to {np.round(high, 1).tolist()} mm (LPS) lies outside the "
            "image. Move it onto the anatomy, or remove it."
        )
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def resized_length(length: int, spacing: float, target: float) -> int:
    """The number of samples at the target spacing that covers the extent of ``length`` samples."""
    return max(1, round(length * spacing / target))


def windows(length: int, window: int, overlap: float = 0.25) -> tuple[list[int], np.ndarray]:
    """Evenly spaced windows that cover ``length`` samples, each overlapping the next by at least ``overlap``.

    Returns the windows' first samples, and the blending weights (windows, window) which ramp down towards a
    neighbour and add up to 1 at every sample. ``length`` must be at least ``window``.
    """
    count = 1 + int(np.ceil((length - window) / max(1, window * (1 - overlap))))
    starts = np.round(np.linspace(0, length - window, count)).astype(int)
    ramp = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1)).astype(np.float64)
    total = np.zeros(length)
    for start in starts:
        total[start : start + window] += ramp
    return [int(s) for s in starts], np.stack([ramp / total[s : s + window] for s in starts]).astype(np.float32)


def slice_windows(length: int, window: int) -> tuple[list[int], np.ndarray]:
    """As ``windows``, but blended over the two or three slices in the middle of what two windows share.

    There the window that counts more sees slices on either side; a slice further off needs only the window in which it
    lies deeper. Two shared slices, or a quarter of a short window, are enough for that.
    """
    starts, _ = windows(length, window, min(0.25, 2 / window))
    at, weights = np.arange(length) + 0.5, np.ones((len(starts), length))
    for number, (start, after) in enumerate(itertools.pairwise(starts)):
        shared = start + window - after
        rise = np.clip((at - (after + shared / 2)) / (1 + min(2, shared)) + 0.5, 0, 1)
        weights[number] = np.minimum(weights[number], 1 - rise)
        weights[number + 1] = np.minimum(weights[number + 1], rise)
    weights /= weights.sum(0)
    return starts, np.stack([w[s : s + window] for s, w in zip(starts, weights, strict=True)]).astype(np.float32)


def fields(length: int, field: int) -> tuple[list[int], np.ndarray]:
    """As ``windows``, for the fields of view of a slice: half of each lies in the next.

    So whatever is smaller than half a field lies whole in one of them, away from its edges; cut by all of them, a
    structure in the middle of the image showed high error probabilities where they met.
    """
    return windows(length, field, overlap=0.5)


def pad_amounts(length: int, minimum: int) -> tuple[int, int]:
    """How many samples to add in front and behind so that there are at least ``minimum``."""
    missing = max(0, minimum - length)
    return missing // 2, missing - missing // 2
