"""What is drawn: which slices are known, and what the structures are. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image import geometry
from ..image.geometry import AXES, Orientation
from ..image.raster import Raster
from ..image.unknown import UNKNOWN

NOTHING_DRAWN = "No slice is drawn. Draw the structure in two to five slices, then fill the rest."
NOTHING_BETWEEN = (
    "No slice lies between the drawn ones. Draw slices farther apart, or also fill beyond the first and the last drawn "
    "one."
)


@dataclass(frozen=True)
class Structure:
    """One structure that is drawn. value: of its voxels, 1 to 254. name: for a user."""

    value: int
    name: str

    def __post_init__(self):
        if type(self.value) is not int or not 0 < self.value < UNKNOWN:
            raise InputError(f"The structure {self.name} has the value {self.value!r}; give one from 1 to 254.")


@dataclass(frozen=True)
class FillOptions:
    """How to fill. Every field has a default that suits a first round.

    seed: same seed, same device, same result.
    device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1" or "mps".
    slice_axis: "auto", or the image's own axis "i", "j" or "k" along which the slices are stacked.
    beyond: also the slices before the first and behind the last drawn one. Without it they stay as they are, unless
      a single slice is drawn. A slice drawn empty is a drawn one: it ends a structure.
    tune: learn from the drawn slices of this case first, each predicted from the others; it takes seconds.
    """

    seed: int = 0
    device: str = "auto"
    slice_axis: str = "auto"
    beyond: bool = False
    tune: bool = True

    def __post_init__(self):
        if not (isinstance(self.seed, int) and 0 <= self.seed < 2**63):
            raise InputError(f"The seed is {self.seed!r}; give a whole number from 0 to 2^63 - 1.")
        if self.slice_axis not in ("auto", *AXES):
            raise InputError(f"The slice axis is {self.slice_axis!r}; choose auto, i, j or k.")


@dataclass(frozen=True)
class Drawing:
    """A drawing in the orientation of the stack.

    labels: (S, H, W) uint8, UNKNOWN where nothing is known. drawn: slices without an unknown voxel, rising. axis: the
    image axis of the slices. size: of the image, (i, j, k). spacing: of slices, rows and columns, mm.
    """

    labels: np.ndarray
    drawn: tuple[int, ...]
    axis: int
    size: tuple[int, int, int]
    orientation: Orientation
    spacing: tuple[float, float, float]

    def mask(self, value: int, index: int) -> np.ndarray:
        """(H, W) of a structure in a drawn slice."""
        return self.labels[index] == value

    def image_index(self, index: int) -> int:
        """A slice of the stack along the image's own slice axis."""
        return self.orientation.index(index, 0, 0, self.size)[self.axis]

    def wanted(self, beyond: bool) -> list[int]:
        """The slices to fill, rising."""
        return slices_to_fill(len(self.labels), self.drawn, beyond)


def slices_to_fill(count: int, drawn: Sequence[int], beyond: bool) -> list[int]:
    """Of ``count`` slices those between the first and the last drawn one, or all others; rising. drawn: rising."""
    beyond = beyond or len(drawn) == 1
    inner = range(count) if beyond else range(drawn[0], drawn[-1] + 1)
    return [index for index in inner if index not in drawn]


def read_drawing(
    image: sitk.Image | Raster,
    drawn: sitk.Image,
    structures: Sequence[Structure],
    slice_axis: str = "auto",
    may_be_empty: bool = False,
    may_be_undrawn: bool = False,
) -> Drawing:
    """The drawing that belongs to an image. drawn: label image on the image's grid. may_be_empty: where all that was
    reviewed of a result was a structure's end. may_be_undrawn: where a structure is carried from another frame.

    Raises InputError where the grids differ, a value is no structure's, or no slice is drawn.
    """
    geometry.check_image(drawn, "The drawing")
    if not geometry.same_grid(image, drawn):
        size, other = ("×".join(map(str, one.GetSize())) for one in (image, drawn))
        raise InputError(
            f"The drawing ({other} voxels) does not lie on the image's grid ({size} voxels). Draw on that image, or "
            "resample the segmentation to it."
        )
    if not structures:
        raise InputError("No structure was named. Give the value and the name of each that is drawn.")
    values = [structure.value for structure in structures]
    twice = [structure for structure in structures if values.count(structure.value) > 1]
    if twice:
        raise InputError(
            f"{' and '.join(s.name for s in twice)} have the same value, {twice[0].value}. Give each its own."
        )
    axis = geometry.axis_for(image, slice_axis)
    oriented = geometry.orientation(image.GetDirection(), axis)
    voxels = oriented.to_stack(sitk.GetArrayFromImage(drawn))
    found = np.unique(voxels)
    strange = [value for value in found.tolist() if value not in {0, UNKNOWN, *values}]
    if strange:
        raise InputError(
            f"The drawing has voxels of the value {strange[0]:g}, which no structure has; expected are 0 for "
            f"background, {', '.join(map(str, values))}, and {UNKNOWN} for unknown."
        )
    labels = np.ascontiguousarray(voxels).astype(np.uint8)
    known = np.flatnonzero(~(labels == UNKNOWN).any((1, 2)))
    if not (labels[known].any() or may_be_undrawn or (may_be_empty and len(known))):
        raise InputError(NOTHING_DRAWN)
    if len(known) == len(labels):
        raise InputError("Every slice is drawn: nothing is left to fill.")
    spacing = tuple(float(image.GetSpacing()[a]) for a in oriented.axes)
    return Drawing(labels, tuple(int(n) for n in known), axis, image.GetSize(), oriented, spacing)
