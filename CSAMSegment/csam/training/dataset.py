"""A data set to train or measure on: read once, every fault found at once, patients kept whole in a split.

Step: read the data.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image import geometry
from ..image.files import read_image, read_json
from ..image.unknown import with_unknown
from .case_facts import CaseFacts, examine_case
from .dataset_json import Contents, read_contents


@dataclass(frozen=True)
class Case:
    """One scan: its name, its patient, the truth, and one file a channel, or a single 4-D file of all channels.

    order: places of the channels to read, from 0, where they are not all in their own order. ignore: the value that
    the file of labels has for voxels whose label is unknown; ``read`` gives them as ``csam.image.unknown.UNKNOWN``.
    unlabelled: values of structures that nobody has labelled in this scan: its background may be any of them.
    """

    name: str
    patient: str
    images: tuple[Path, ...]
    labels: Path
    order: tuple[int, ...] = ()
    ignore: int | None = None
    unlabelled: tuple[int, ...] = ()

    def read_images(self) -> list[sitk.Image]:
        """One image a channel. Raises InputError when a file cannot be read."""
        return self.channels([read_image(path) for path in self.images])

    def channels(self, images: list[sitk.Image]) -> list[sitk.Image]:
        """One image a channel, of what the files hold."""
        if len(images) == 1 and images[0].GetDimension() == 4:
            images = [geometry.frame(images[0], index) for index in range(images[0].GetSize()[3])]
        return [images[place] for place in self.order] if self.order else images

    def read(self) -> tuple[list[sitk.Image], sitk.Image]:
        return self.read_images(), self.truth(read_image(self.labels))

    def truth(self, stored: sitk.Image) -> sitk.Image:
        """The labels of the file, with UNKNOWN for the value that means it there."""
        if self.ignore is None:
            return stored
        labels = sitk.GetImageFromArray(with_unknown(sitk.GetArrayViewFromImage(stored), self.ignore))
        labels.CopyInformation(stored)
        return labels


@dataclass(frozen=True)
class Dataset:
    """channels, modalities: of each channel, in order. labels: name of each value from 1 on. facts: by case name."""

    name: str
    licence: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[Case, ...]
    modalities: tuple[str, ...] = ()
    facts: Mapping[str, CaseFacts] = field(default_factory=dict, compare=False, repr=False)

    @property
    def patients(self) -> list[str]:
        return sorted({case.patient for case in self.cases})

    @property
    def named(self) -> dict[str, set[str]]:
        """The cases that a name stands for: that of a case for itself, that of a patient for all cases of them."""
        cases = defaultdict(set)
        for case in self.cases:
            cases[case.patient].add(case.name)
        return dict(sorted(cases.items())) | {case.name: {case.name} for case in self.cases}

    def of(self, patients: Sequence[str]) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.patient in patients)

    def by_patient(self, pattern: str) -> Dataset:
        """The data set with patients named by another pattern. Raises InputError if it does not fit a case's name."""
        named, faults = _patients([case.name for case in self.cases], pattern)
        if faults:
            raise InputError(report(self.name, faults))
        return replace(self, cases=tuple(replace(case, patient=named[case.name]) for case in self.cases))


def read_dataset(folder: str | Path, patient_pattern: str = "(.*)") -> Dataset:
    """Reads a data set (``csam.training.dataset_json`` says which layouts) and checks every file of it.

    patient_pattern: a regular expression for the case's name whose first group is the patient; scans of one patient
    never end up in both subsets of a split. Raises InputError with one line for every fault found.
    """
    data, faults = inspect(folder, patient_pattern)
    if faults:
        raise InputError(report(folder, faults))
    return data


def inspect(folder: str | Path, patient_pattern: str = "(.*)") -> tuple[Dataset, list[str]]:
    """The data set and every fault of it. Raises InputError when its table of contents alone makes it unusable."""
    folder = Path(folder)
    contents, faults = read_contents(folder)
    named, more = _patients([files.name for files in contents.files], patient_pattern)
    faults += more
    cases, facts = [], {}
    for files in contents.files:
        case = Case(
            files.name,
            named.get(files.name, files.name),
            files.images,
            files.labels,
            ignore=contents.ignore,
            unlabelled=contents.unlabelled.get(files.name, ()),
        )
        found, wrong = _examine(case, contents)
        faults += [f"{case.name}: {fault}" for fault in wrong]
        facts[case.name] = found
        cases.append(case)
    known = [f for f in facts.values() if f is not None]
    if cases and len(known) == len(cases) and not any(f.voxels for f in known):
        faults.append("the labels of all cases are empty: there is nothing to learn")
    data = Dataset(
        contents.name, contents.licence, contents.channels, contents.labels, tuple(cases), contents.modalities, facts
    )
    return data, faults


def _examine(case: Case, contents: Contents) -> tuple[CaseFacts | None, list[str]]:
    missing = [path for path in (*case.images, case.labels) if not path.is_file()]
    if missing:
        return None, [f"{path.name} is missing" for path in missing]
    read, faults = [], []
    for path in (*case.images, case.labels):
        try:
            read.append(read_image(path))
        except InputError as error:
            faults.append(str(error))
    if faults:
        return None, faults
    images, truth = case.channels(read[:-1]), read[-1]
    files = [path.name for path in case.images]
    if len(images) != len(contents.channels):
        held = f"{len(images)} volume{'s'[: len(images) != 1]}"
        return None, [f"{files[0]} is a file of {held}; dataset.json names {len(contents.channels)} channel(s)"]
    names = files if len(files) == len(images) else [f"{files[0]}, channel {i}" for i in range(len(images))]
    return examine_case(images, truth, names, len(contents.labels) + 1, contents.ignore)


def _patients(names: Sequence[str], pattern: str) -> tuple[dict[str, str], list[str]]:
    """The patient of every case. Raises InputError when the pattern is no regular expression."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"The patient pattern {pattern!r} is not a regular expression: {error}.") from error
    named, faults = {}, []
    for name in names:
        found = compiled.match(name)
        patient = found.group(1) if found and compiled.groups else name
        if found is None or patient is None:
            faults.append(f"{name}: the patient pattern {pattern!r} does not match its name")
        named[name] = patient or name
    return named, faults


def report(of: str | Path, faults: Sequence[str]) -> str:
    """All that is wrong with something, a line each."""
    return f"{of} cannot be used as it is:\n  " + "\n  ".join(faults)


def split(patients: Sequence[str], validation: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Training and validation patients: ``validation`` of them chosen at random with the seed. Raises InputError if too
    few."""
    if not 0 < validation < len(patients):
        raise InputError(
            f"{validation} validation patients were asked for and the data set has {len(patients)}; "
            "leave at least one for training and one for validation."
        )
    chosen = set(np.random.default_rng(seed).permutation(sorted(patients))[:validation].tolist())
    return [p for p in patients if p not in chosen], sorted(chosen)


def read_split(path: str | Path, data: Dataset, fold: int = 0) -> tuple[tuple[Case, ...], tuple[Case, ...], list[str]]:
    """Training and validation cases of a file, and its faults: unknown names, a patient in both subsets, nobody.

    The file is {"training": [...], "validation": [...]}, or nnU-Net's splits_final.json: a list of such objects, with
    "train" and "val", of which ``fold`` is taken. A case's name stands for that case, any other for all cases of the
    patient of that name; what is not named is left out.
    """
    try:
        folds = _splits(path)
        if not 0 <= fold < len(folds):
            return (), (), [f"{path} holds {len(folds)} split(s), counted from 0; there is no split {fold}"]
        return _subsets(path, folds[fold], data)
    except (OSError, ValueError, LookupError, TypeError) as error:
        return (), (), [f'{path} is no split ({error!r}): {{"training": [...], "validation": [...]}} was expected']


def read_folds(path: str | Path, data: Dataset) -> tuple[list[tuple[tuple[Case, ...], tuple[Case, ...]]], list[str]]:
    """Training and validation cases of every split of a file as ``read_split`` takes it, and the faults of all.

    In a cross-validation everyone who is named is validated on in one of the splits, and trained on in all the others:
    what is not so is a fault.
    """
    try:
        folds = _splits(path)
        found = [_subsets(path, fold, data) for fold in folds]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return [], [f'{path} holds no splits ({error!r}): [{{"train": [...], "val": [...]}}, ...] was expected']
    if len(folds) < 2:
        return [], [f"{path} holds {len(folds)} split(s); a cross-validation takes two or more"]
    faults = [f"split {k}: {fault}" for k, (_, _, faults) in enumerate(found) for fault in faults]
    taught, validated = (Counter(case.name for subsets in found for case in subsets[place]) for place in (0, 1))
    for name in [] if faults else sorted({*taught, *validated}):
        if (validated[name], taught[name]) != (1, len(folds) - 1):
            faults.append(
                f"{path}: {name} is validated on in {validated[name]} and trained on in {taught[name]} of the "
                f"{len(folds)} splits; a cross-validation needs 1 and {len(folds) - 1}"
            )
    return [tuple(subsets) for *subsets, _ in found], faults


def _splits(path: str | Path) -> list:
    given = read_json(path)
    return given if isinstance(given, list) else [given]


def _subsets(path: str | Path, given: Mapping, data: Dataset) -> tuple[tuple[Case, ...], tuple[Case, ...], list[str]]:
    subsets = {
        "training": given["training"] if "training" in given else given["train"],
        "validation": given["validation"] if "validation" in given else given["val"],
    }
    if not all(
        isinstance(subset, list) and all(isinstance(name, str) for name in subset) for subset in subsets.values()
    ):
        raise TypeError("the two subsets must be lists of names")
    names_of = data.named
    faults, cases = [], {}
    for subset, names in subsets.items():
        faults += [
            f"{path}: {name} ({subset}) is neither a patient nor a case" for name in names if name not in names_of
        ]
        faults += [f"{path}: {name} is named twice for {subset}" for name, n in Counter(names).items() if n > 1]
        wanted = set().union(*(names_of.get(name, ()) for name in names))
        cases[subset] = tuple(case for case in data.cases if case.name in wanted)
        if not names:
            faults.append(f"{path}: nobody is left for {subset}")
    both = sorted(set.intersection(*({case.patient for case in subset} for subset in cases.values())))
    faults += [f"{path}: the patient {patient} is in both subsets of the split" for patient in both]
    if any(len(data.of([patient])) > 1 for patient in both):
        faults.append(
            f"{path}: which cases belong to one patient was taken from their names. If that is wrong, give "
            '--patient-pattern; "(.*)" if every case is a patient'
        )
    return cases["training"], cases["validation"], faults
