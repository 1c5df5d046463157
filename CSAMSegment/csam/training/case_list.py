"""The cases of a data set as a list: what is labelled in each, in how many of its slices, a picture. Without torch.

Example:
    >>> contents, cases = list_cases("/data/hearts")
    >>> summarise_labels(labels_of_case(cases[0]), contents.labels).drawn

Step: read the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image import geometry
from ..image.files import read_image
from ..image.unknown import UNKNOWN, known_slices
from ..pipeline.thumbnail import thumbnail_of_labels
from .dataset import Case
from .dataset_json import Contents, read_contents


@dataclass(frozen=True)
class CaseSummary:
    """labels: names of the structures that are there. drawn: slices with a known label. slices: of all.

    Both are counted along the axis on which the case was drawn, as its labels tell it.
    """

    labels: tuple[str, ...]
    drawn: int
    slices: int


def list_cases(folder: str | Path) -> tuple[Contents, tuple[Case, ...]]:
    """The contents of a data set and its cases, by their files; none of them is read. Raises InputError."""
    contents, _faults = read_contents(Path(folder))
    cases = tuple(
        Case(
            files.name,
            files.name,
            files.images,
            files.labels,
            ignore=contents.ignore,
            unlabelled=contents.unlabelled.get(files.name, ()),
        )
        for files in contents.files
    )
    return contents, cases


def labels_of_case(case: Case) -> sitk.Image:
    """A case's labels, UNKNOWN where nobody has labelled. Raises InputError."""
    return case.truth(read_image(case.labels))


def summarise_labels(truth: sitk.Image, labels: Sequence[str]) -> CaseSummary:
    """What a case's labels hold. truth: of ``labels_of_case``. labels: names of the values from 1 on."""
    values = sitk.GetArrayViewFromImage(truth)
    axis, known, part = known_slices(values, geometry.axis_for(truth, "auto"))
    present = [int(value) for value in np.unique(values) if 0 < value <= len(labels) and value != UNKNOWN]
    return CaseSummary(tuple(labels[value - 1] for value in present), len(known) + len(part), truth.GetSize()[axis])


def picture_of(case: Case, truth: sitk.Image) -> sitk.Image:
    """A small picture of a case: its first channel with the outlines of its labels, as ``labels_of_case`` gives them.

    Raises InputError.
    """
    image = read_image(case.images[0])
    if image.GetDimension() == 4:
        image = geometry.frame(image, 0)
    if not geometry.same_grid(image, truth):
        raise InputError(f"{case.images[0].name} and its labels do not lie on one grid.")
    return thumbnail_of_labels(image, truth)
