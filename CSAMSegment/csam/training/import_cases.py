"""Whole folders of images with labels into a data set: nothing is lost, nothing is doubled, one fault stops nothing.

Example:
    >>> for case in import_folder(Path("scans"), Path("hearts"), {1: "ventricle"}):  # doctest: +SKIP
    ...     print(case.name, case.state, case.fault)

What a value in a file of labels means is told, in this order, by who asks; by the folder's dataset.json; by a Slicer
segmentation's own names; by the data set that is there already, whose values these then are.

Step: grow the data, before any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import CSAMError, InputError
from ..image import geometry
from ..image.files import read_header, read_image
from ..image.fingerprint import fingerprint
from ..image.unknown import IGNORE, UNKNOWN
from .add_case import Collection, collection
from .case_list import list_cases
from .dataset import Case
from .dataset_json import CONTENTS, Contents, read_contents
from .pairs import SEGMENTATIONS, Pair, Pairs, find_pairs

ADDED, THERE, FAULT = "added", "there", "fault"
BACKGROUND = "background"


class NamesNeeded(InputError):
    """Nobody tells what the values of the labels mean. values: those that the files hold."""

    def __init__(self, values: Sequence[int]):
        super().__init__(
            f"The labels have the values {', '.join(map(str, values))}, and nothing tells what they mean. Name them, "
            f"such as {values[0] if values else 1}=ventricle."
        )
        self.values = tuple(values)


@dataclass(frozen=True)
class Imported:
    """What became of a pair. state: added, there (the data set has it already, with these labels) or fault."""

    name: str
    state: str
    fault: str = ""


def import_folder(
    folder: Path, dataset: Path, names: Mapping[int, str] | None = None, channels: Sequence[str] = ()
) -> Iterator[Imported]:
    """Adds every pair of a folder (``csam.training.pairs``) to a data set, or a new one; tells of each, faults first.

    names: of the values in the files of labels; "background" for what is not to be learned, "ignore" for what is
    unknown. channels: of a new data set, one name for each image of a case.
    Raises NamesNeeded, and InputError where folder or data set are none, or do not fit.
    """
    contents = read_contents(dataset)[0] if (dataset / CONTENTS).exists() else None
    count = len(contents.channels) if contents is not None else max(1, len(channels))
    found = find_pairs(folder, count)
    names = dict(names or {})
    target = _target(found, dataset, contents, names, channels)
    known = _fingerprints(target)
    yield from (Imported(name, FAULT, fault) for name, fault in found.faults)
    for pair in found.pairs:
        try:
            state = _add(pair, target, _Labels.of(pair, found, names, target.labels), known)
        except CSAMError as error:
            yield Imported(pair.name, FAULT, str(error))
        else:
            yield Imported(pair.name, state)


def segment_names(path: Path) -> dict[int, str]:
    """The names of a Slicer segmentation's values, by its header alone; empty for any other file."""
    if not path.name.lower().endswith(SEGMENTATIONS):
        return {}
    told = read_header(path)
    numbers = [found[1] for key in told if (found := re.fullmatch(r"Segment(\d+)_Name", key))]
    named = ((told.get(f"Segment{number}_LabelValue", ""), told[f"Segment{number}_Name"]) for number in numbers)
    return dict(sorted((int(value), name.strip()) for value, name in named if value.isdecimal()))


def _target(
    found: Pairs, dataset: Path, contents: Contents | None, names: Mapping[int, str], channels: Sequence[str]
) -> Collection:
    """The data set, opened or begun."""
    if contents is not None:
        own = len(found.channels) > 1  # which of several is which, their names tell
        given, modalities = (found.channels, found.modalities) if own else (contents.channels, contents.modalities)
        return collection(dataset, given, contents.labels, modalities)
    told = names or found.labels
    if not told:
        told = {name.casefold(): name for pair in found.pairs for name in segment_names(pair.labels).values()}
    labels = [name for name in told.values() if name.casefold() not in (BACKGROUND, IGNORE)]
    if not labels and found.pairs:
        raise NamesNeeded(_values(found.pairs))
    labels = [*{name.casefold(): name for name in labels}.values()]
    modalities = found.modalities if not channels else ()
    return collection(dataset, tuple(channels) or found.channels or ("image",), labels, modalities)


def _values(pairs: Sequence[Pair]) -> list[int]:
    """The values but 0 in all files of labels that can be read."""
    values: set[int] = set()
    for pair in pairs:
        try:
            values |= {*np.unique(_whole_numbers(read_image(pair.labels))).tolist()}
        except InputError:  # its pair tells why
            continue
    return sorted(values - {0})


def _fingerprints(target: Collection) -> dict[str, str]:
    """The names of the cases that are there by the fingerprints of their images, which are read where need be."""
    told = target.fingerprints()
    found = {mark: name for name, mark in told.items() if name in target.cases}
    cases = list_cases(target.folder)[1] if target.cases else ()
    for case in cases:
        if case.name not in told:
            try:
                found[fingerprint([sitk.GetArrayFromImage(image) for image in case.read_images()])] = case.name
            except InputError:  # a check of the data set tells why
                continue
    return found


@dataclass(frozen=True)
class _Labels:
    """What the values of one file mean: value in the data set of each value there; and what is not labelled there."""

    values: Mapping[int, int]
    unlabelled: tuple[str, ...]

    @classmethod
    def of(cls, pair: Pair, found: Pairs, names: Mapping[int, str], labels: Sequence[str]) -> _Labels:
        """Raises InputError where a name is none of the data set's ``labels``."""
        told = names or found.labels or segment_names(pair.labels) or dict(enumerate(labels, 1))
        places = {name.casefold(): value for value, name in enumerate(labels, 1)} | {BACKGROUND: 0, IGNORE: UNKNOWN}
        strange = [name for name in told.values() if name.casefold() not in places]
        if strange:
            raise InputError(
                f"It has the structures {', '.join(strange)}; the data set has {', '.join(labels)}. Rename them, or "
                "say what the values are, with background for what is not to be learned."
            )
        values = {value: places[name.casefold()] for value, name in told.items()}
        off = {name.casefold() for name in pair.unlabelled}
        absent = [n for value, n in enumerate(labels, 1) if value not in values.values() or n.casefold() in off]
        return cls({0: 0, **({pair.ignore: UNKNOWN} if pair.ignore is not None else {}), **values}, tuple(absent))


def _add(pair: Pair, target: Collection, labels: _Labels, known: dict[str, str]) -> str:
    """Adds a pair, unless it is there. Raises InputError, told without the data set's own name for the case."""
    images = Case(pair.name, pair.name, pair.images, pair.labels).read_images()
    for image in images:
        geometry.check_image(image, "The image")
    mark = fingerprint([sitk.GetArrayViewFromImage(image) for image in images])
    truth = _truth(pair, images[0], labels)
    if mark in known:
        if _same_labels(target, known[mark], truth):
            return THERE
        raise InputError(f"The data set has this image already, as {known[mark]}, with other labels. Remove one.")
    if len(labels.unlabelled) == len(target.labels):
        raise InputError("None of the data set's structures is labelled in it.")
    again = _is_half_added(pair.name, images, target)
    target.add(pair.name, images, truth, again, unlabelled=labels.unlabelled)
    known[mark] = pair.name
    return ADDED


def _is_half_added(name: str, images: Sequence[sitk.Image], target: Collection) -> bool:
    """Whether an earlier import was killed between the case's images, these very ones, and its labels."""
    ours, left = {fingerprint([sitk.GetArrayViewFromImage(image)]) for image in images}, target.left_behind(name)
    return bool(left) and all(fingerprint([sitk.GetArrayFromImage(read_image(path))]) in ours for path in left)


def _truth(pair: Pair, image: sitk.Image, labels: _Labels) -> sitk.Image:
    """The labels in the data set's values, on the grid of the image where a segmentation was cut to what it holds."""
    stored = read_image(pair.labels)
    values = _whole_numbers(stored)
    strange = sorted({*np.unique(values).tolist()} - {*labels.values})
    if strange:
        raise InputError(f"Its labels hold the values {', '.join(map(str, strange[:5]))}, which have no name.")
    translated = np.zeros(values.shape, np.uint8)
    for value, own in labels.values.items():
        translated[values == value] = own
    truth = sitk.GetImageFromArray(translated)
    truth.CopyInformation(stored)
    return _uncut(truth, image) if pair.labels.name.lower().endswith(SEGMENTATIONS) else truth


def _whole_numbers(labels: sitk.Image) -> np.ndarray:
    """The values (k, j, i). Raises InputError for what is no image of labels."""
    if labels.GetDimension() != 3 or labels.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            "Its labels have several values per voxel: segments overlap, or they are a series in time. A voxel can "
            "have one label; give each frame as a case of its own."
        )
    values = sitk.GetArrayFromImage(labels)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.round(values)).any():
            raise InputError("Its labels are no whole numbers. Give the labels, not probabilities.")
        values = values.astype(np.int64)
    return values


def _uncut(truth: sitk.Image, image: sitk.Image) -> sitk.Image:
    """A segmentation on the image's grid, of which it holds a part; as it is where it lies on no part of it."""
    if geometry.same_grid(truth, image):
        return truth
    same = np.allclose(truth.GetSpacing(), image.GetSpacing(), rtol=1e-3)
    begin = np.array(image.TransformPhysicalPointToContinuousIndex(truth.GetOrigin()))
    if not same or not np.allclose(truth.GetDirection(), image.GetDirection(), atol=1e-3):
        return truth
    first = np.round(begin).astype(int)
    if np.abs(begin - first).max() > 0.01 or (first < 0).any() or (first + truth.GetSize() > image.GetSize()).any():
        return truth
    values = np.zeros(image.GetSize()[::-1], np.uint8)
    part = sitk.GetArrayViewFromImage(truth)
    values[tuple(slice(f, f + n) for f, n in zip(first[::-1], part.shape, strict=True))] = part
    whole = sitk.GetImageFromArray(values)
    whole.CopyInformation(image)
    return whole


def _same_labels(target: Collection, name: str, truth: sitk.Image) -> bool:
    case = next(case for case in list_cases(target.folder)[1] if case.name == name)
    stored, given = (sitk.GetArrayFromImage(one) for one in (case.truth(read_image(case.labels)), truth))
    return stored.shape == given.shape and bool((stored == given).all())
