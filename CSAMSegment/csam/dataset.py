"""Data sets in nnU-Net's raw layout: dataset.json, imagesTr/CASE_0000.nii.gz (one a channel), labelsTr/CASE.nii.gz."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from . import geometry
from .errors import InputError


@dataclass(frozen=True)
class Case:
    """One scan: its name, its patient, one file a channel and the truth."""

    name: str
    patient: str
    images: tuple[Path, ...]
    labels: Path

    def read(self) -> tuple[list[sitk.Image], sitk.Image]:
        return [sitk.ReadImage(str(path)) for path in self.images], sitk.ReadImage(str(self.labels))


@dataclass(frozen=True)
class Dataset:
    """channels: names, in order. labels: name of each value from 1 on."""

    name: str
    licence: str
    channels: tuple[str, ...]
    labels: tuple[str, ...]
    cases: tuple[Case, ...]

    @property
    def patients(self) -> list[str]:
        return sorted({case.patient for case in self.cases})


def read_dataset(folder: str | Path, patient_pattern: str = "(.*)") -> Dataset:
    """Reads the folder's table of contents and checks every case's headers and label values.

    patient_pattern: a regular expression for the case's name whose first group is the patient; scans of one patient
    never end up on both sides of a split. Raises InputError with one line for every fault found.
    """
    folder = Path(folder)
    try:
        info = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        channels = tuple(name for _, name in sorted(info["channel_names"].items(), key=lambda item: int(item[0])))
        labels = {int(value): name for name, value in info["labels"].items()}
        ending = info["file_ending"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder} is not a data set in nnU-Net's raw layout: its dataset.json cannot be used ({error!r}). It "
            "needs dataset.json with channel_names, labels and file_ending, and the folders imagesTr and labelsTr."
        ) from error
    if sorted(labels) != list(range(len(labels))) or len(labels) < 2:
        raise InputError(
            f"{folder}/dataset.json has the label values {sorted(labels)}; 0, 1, 2 ... without a gap are needed."
        )
    try:
        pattern = re.compile(patient_pattern)
    except re.error as error:
        raise InputError(f"The patient pattern {patient_pattern!r} is not a regular expression: {error}.") from error
    faults, cases = [], []
    for truth in sorted((folder / "labelsTr").glob(f"*{ending}")):
        name = truth.name.removesuffix(ending)
        found = pattern.match(name)
        images = tuple(folder / "imagesTr" / f"{name}_{i:04d}{ending}" for i in range(len(channels)))
        patient = found.group(1) if found and pattern.groups else name
        case = Case(name, patient or name, images, truth)
        if found is None or patient is None:
            faults.append(f"{name}: the patient pattern {patient_pattern!r} does not match its name")
        faults += [f"{name}: {fault}" for fault in _faults(case, len(labels))]
        cases.append(case)
    orphans = {p.name.removesuffix(ending)[:-5] for p in (folder / "imagesTr").glob(f"*{ending}")} - {
        c.name for c in cases
    }
    faults += [f"{name}: there is an image but no labelsTr/{name}{ending}" for name in sorted(orphans)]
    if not cases:
        faults.append(f"no labelsTr/*{ending} was found")
    if faults:
        raise InputError(f"{folder} cannot be used as it is:\n  " + "\n  ".join(faults))
    names = tuple(labels[v] for v in range(1, len(labels)))
    return Dataset(info.get("name", folder.name), info.get("licence", ""), channels, names, tuple(cases))


def _faults(case: Case, classes: int) -> list[str]:
    missing = [path.name for path in case.images if not path.is_file()]
    if missing:
        return [f"{name} is missing" for name in missing]
    try:
        images, truth = case.read()
    except RuntimeError as error:
        return [f"a file cannot be read ({str(error).strip().splitlines()[-1]})"]
    faults = []
    for path, image in zip(case.images, images, strict=True):
        try:
            geometry.check_image(image, path.name)
        except InputError as error:
            faults.append(str(error))
        else:
            if truth.GetDimension() != 3 or not geometry.same_grid(image, truth):
                faults.append(f"{path.name} and its labels do not have the same size, spacing, origin and direction")
    values = np.unique(sitk.GetArrayViewFromImage(truth))
    unknown = [v for v in values.tolist() if v not in range(classes)]
    if unknown:
        faults.append(f"its labels hold the values {unknown[:5]}, which dataset.json does not name")
    return faults


def split(patients: Sequence[str], validation: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Training and validation patients: ``validation`` of them drawn with the seed. Raises InputError if too few."""
    if not 0 < validation < len(patients):
        raise InputError(
            f"{validation} validation patients were asked for and the data set has {len(patients)}; "
            "leave at least one for training and one for validation."
        )
    chosen = set(np.random.default_rng(seed).permutation(sorted(patients))[:validation].tolist())
    return [p for p in patients if p not in chosen], sorted(chosen)
