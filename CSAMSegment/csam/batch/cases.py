"""Which cases a folder holds: images by their names, and DICOM series."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..image import dicom
from ..image.files import RESERVED

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl.gz", ".gipl")
PASSED_OVER = (".seg.nrrd", ".seg.nhdr")
"""Segmentations as Slicer saves them."""
LONGEST = 100
"""Bytes of a case's name that are kept; a name becomes that of a folder."""


@dataclass(frozen=True)
class Case:
    """One scan of a folder.

    name: unique in the folder, and made of its place there alone. images: one path a channel, below the folder, with
    "/" between its parts; of a DICOM series the path of its folder. series: its SeriesInstanceUID.
    """

    name: str
    images: tuple[str, ...]
    series: str = ""


@dataclass(frozen=True)
class Found:
    """cases: in the order of their names. faults: name and sentence of what is there and is no case."""

    cases: tuple[Case, ...]
    faults: tuple[tuple[str, str], ...]


def find_cases(folder: Path, channels: int = 1) -> Found:
    """The cases in a folder and the folders below it. channels: how many images a case has.

    NAME.nii.gz is a case; so are NAME_0000.nii.gz, NAME_0001.nii.gz, … of one name (nnU-Net's), and each DICOM series.
    Hidden files are passed over. Raises InputError where there is no folder, nothing in it, or a data set.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Check the path.")
    if (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir():
        raise InputError(f"{folder} is a data set for training. Choose the folder imagesTr or imagesTs in it.")
    cases: list[Case] = []
    faults: list[tuple[str, str]] = []
    for place, names in _places(folder, faults):
        relative = place.relative_to(folder)
        cases += _by_name(relative, names, channels, faults)
        if any(not _stem(name)[1] for name in names):
            cases += _by_series(place, relative, names, folder.name, faults)
    by_name: dict[str, list[Case]] = {}
    for case in cases:
        by_name.setdefault(case.name.casefold(), []).append(case)
    for same in (group for group in by_name.values() if len(group) > 1):
        files = ", ".join(case.images[0] for case in same)
        faults.append((same[0].name, f"Several cases have the name {same[0].name}: {files}. Rename all but one."))
    if not (cases or faults):
        raise InputError(
            f"No image was found in {folder}: no file ending in {', '.join(SUFFIXES)}, and no DICOM series. Choose the "
            "folder that holds the images."
        )
    single = [group[0] for group in by_name.values() if len(group) == 1]
    return Found(tuple(sorted(single, key=lambda case: case.name)), tuple(sorted(dict(faults).items())))


def source_of(case: Case, folder: Path) -> dict[str, Any]:
    """What a result is of, for JSON: the case, and size and time of its files. Raises OSError where one is gone."""
    files = dicom.files_of(folder / case.images[0], case.series) if case.series else ()
    stats = [os.stat(path) for path in files or [folder / image for image in case.images]]
    stamps = [[len(stats), sum(one.st_size for one in stats), max(one.st_mtime_ns for one in stats)]] if stats else []
    if not case.series:
        stamps = [[one.st_size, one.st_mtime_ns] for one in stats]
    fields = asdict(case)
    del fields["name"]
    return {"folder": str(folder), **fields, "images": [*case.images], "stamps": stamps}


def _places(folder: Path, faults: list) -> Iterator[tuple[Path, list[str]]]:
    """Every folder that is not hidden, each once, with its files; those that cannot be looked into are faults."""

    def unreadable(error: OSError) -> None:
        place = Path(error.filename)
        faults.append((_name(place.relative_to(folder).parts), f"The folder {place} cannot be read: {error.strerror}."))

    seen = set()
    for place, below, names in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        yield Path(place), sorted(name for name in names if not name.startswith("."))


def _by_name(place: Path, names: list[str], channels: int, faults: list) -> list[Case]:
    cases, numbered = [], {}
    for name in names:
        stem, suffix = _stem(name)
        if not suffix or name.lower().endswith(PASSED_OVER):
            continue
        number = re.fullmatch(r"(.+)_(\d{4})", stem)
        if number:
            numbered.setdefault((number[1], suffix), {})[int(number[2])] = name
        else:
            cases.append(_case(place, stem, [name]))
    for (stem, _suffix), files in numbered.items():
        if [*sorted(files)] == [*range(channels)]:
            cases.append(_case(place, stem, [files[number] for number in range(channels)]))
        elif channels == 1 and 0 not in files:  # numbers of something else
            cases += [_case(place, _stem(name)[0], [name]) for name in files.values()]
        else:
            wanted = ", ".join(f"_{number:04d}" for number in range(channels))
            there = ", ".join(f"_{number:04d}" for number in sorted(files))
            faults.append(
                (
                    _name((*place.parts, stem)),
                    f"Its files end in {there}. The model needs {wanted}: add or rename files.",
                )
            )
    return cases


def _by_series(place: Path, relative: Path, names: list[str], root: str, faults: list) -> list[Case]:
    series = dicom.series_in(place, [name for name in names if not _stem(name)[1]])
    name = _name(relative.parts or (root,))
    if not series:
        if any(dicom.looks_like_dicom(place / one) for one in names if not _stem(one)[1]):
            faults.append((name, f"No DICOM series can be read in {place}: its files are damaged, or hold no images."))
        return []
    many = len(series) > 1
    return [Case(f"{name}_{_digest(uid)}" if many else name, (relative.as_posix(),), uid) for uid in series]


def _case(place: Path, stem: str, files: list[str]) -> Case:
    return Case(_name((*place.parts, stem)), tuple((place / name).as_posix() for name in files))


def _stem(name: str) -> tuple[str, str]:
    """A file's name without the ending of an image, and that ending; it is empty where this is none."""
    suffix = next((one for one in SUFFIXES if name.lower().endswith(one) and len(name) > len(one)), "")
    return (name[: -len(suffix)] if suffix else name), suffix


def _name(parts: tuple[str, ...]) -> str:
    """The name of what lies at a place: its folders' names and its own."""
    return safe_name("_".join(parts))


def safe_name(text: str) -> str:
    """A text as the name of a case: one that every file system takes for a folder."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", text.encode("utf-8", "replace").decode()).strip(" .") or "case"
    name = f"_{name}" if RESERVED.fullmatch(name) else name
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name.encode()[: LONGEST - 9].decode('utf-8', 'ignore')}_{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
