"""Unknown slices of a training case, filled from the known ones beside them, where that is sure.

The network of *Teach by drawing* fills what lies between two drawn slices. Voxels whose error probability is below
``SURE`` are taught as it fills them; all others stay unknown.

Step: train.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image import geometry
from ..image.unknown import UNKNOWN
from ..interactive.drawing import FillOptions, Structure

SURE = 0.1
"""Four phantoms with 3 drawn slices each: 2 % as many wrong voxels as the structure has, all on its border; half of the
border stays unknown."""


def fill_unknown(
    images: Sequence[sitk.Image], truth: sitk.Image, labels: Sequence[str], unlabelled: Collection[int], slice_axis: str
) -> sitk.Image:
    """The truth with its unknown slices filled where that is sure.

    images: the channels, of which the first is looked at. truth: on their grid, UNKNOWN where nothing is known. labels:
    the data set's structures, values from 1 on. unlabelled: values that nobody has labelled in this case. The truth
    comes back as it is where fewer than two slices are known, or a structure is shown in none of those: what is not
    drawn anywhere may still be in a slice between.
    """
    from ..interactive.fill import fill
    from ..interactive.fill_model import FillModel

    voxels = sitk.GetArrayViewFromImage(truth)
    wanted = [Structure(v, name) for v, name in enumerate(labels, 1) if v not in unlabelled]
    if not (voxels == UNKNOWN).any() or not all((voxels == s.value).any() for s in wanted):
        return truth
    # As the network will see the stack; "auto" is the largest spacing, as in a drawing.
    axis = geometry.AXES[geometry.axis_of(truth.GetSize(), truth.GetSpacing(), truth.GetDirection(), slice_axis)]
    options = FillOptions(device="cpu", slice_axis=axis, tune=False)
    try:
        found = fill(images[:1], truth, wanted, FillModel.load(), options)
    except InputError:  # nothing lies between the drawn slices
        return truth
    drawn = found.provenance["drawn"]
    if len(drawn) < 2:
        return truth
    sure = sitk.GetArrayViewFromImage(found.error_probability) < SURE
    between = np.zeros(voxels.shape, bool)
    along = [slice(None)] * 3
    along[2 - found.slice_axis] = slice(min(drawn), max(drawn) + 1)
    between[tuple(along)] = True
    taken = (voxels == UNKNOWN) & between & sure
    return geometry.like(np.where(taken, sitk.GetArrayViewFromImage(found.labels), voxels), truth)
