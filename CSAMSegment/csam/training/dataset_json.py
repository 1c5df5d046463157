"""The table of contents of a data set, dataset.json: nnU-Net's raw layout or the Medical Segmentation Decathlon's.

nnU-Net: ``channel_names``, ``labels`` (name → value), ``file_ending``; imagesTr/CASE_0000.nii.gz, one file a channel;
labelsTr/CASE.nii.gz. Of ours also ``channel_modalities``, for a channel's name need not tell. Decathlon: ``modality``,
``labels`` (value → name), ``training``, a list of {"image", "label"}; one file a case, 4-D where there are several
channels. nnU-Net's first version names files in the former way and lists them in the latter: it is read, too.

A label "ignore", of the highest value, marks voxels whose label is unknown (``csam.image.unknown``): no structure.
Of ours is ``unlabelled`` (case → names of structures): what nobody has labelled in that case, where background may be
any of it; and ``fingerprints`` (case → ``csam.image.fingerprint`` of its images), by which an image is known again.

Step: read the data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..image.files import read_json
from ..image.unknown import IGNORE, MOST_STRUCTURES

CONTENTS = "dataset.json"
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl.gz", ".tif", ".tiff")


@dataclass(frozen=True)
class Files:
    """One case as the layout names it: one image file a channel, or one for all of them."""

    name: str
    images: tuple[Path, ...]
    labels: Path


@dataclass(frozen=True)
class Contents:
    """channels, labels: names, in order; labels from value 1 on. modalities: of each channel, "MR", "CT" ...

    ignore: the value of voxels whose label is unknown, None in a data set without any. unlabelled: by case, the values
    of the structures that nobody has labelled in it.
    """

    name: str
    licence: str
    channels: tuple[str, ...]
    modalities: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[Files, ...]
    ignore: int | None = None
    unlabelled: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def read_contents(folder: Path) -> tuple[Contents, list[str]]:
    """The data set's contents and the faults of its files. Raises InputError listing those of dataset.json itself."""
    try:
        info = read_json(folder / CONTENTS)
        if not isinstance(info, dict):
            raise ValueError(f"it holds {type(info).__name__}, not an object")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder} is not a data set in nnU-Net's raw layout or the Medical Segmentation Decathlon's: its "
            f"dataset.json cannot be read ({error}). A folder with dataset.json, imagesTr and labelsTr was expected."
        ) from error
    faults = faults_of(info)
    if faults:
        raise InputError(f"{folder}/dataset.json cannot be used:\n  " + "\n  ".join(faults))
    channels, (labels, ignore, _) = _channels(info)[0], labels_of(info)
    if "file_ending" in info:
        files, faults = _found(folder, "." + info["file_ending"].lstrip("."), len(channels))
    else:
        files, faults = _listed(folder, info["training"], len(channels))
    names = (str(info.get(key) or "") for key in ("name", "licence"))
    name, licence = next(names) or folder.name, next(names)
    told = info.get("channel_modalities")
    told = told if isinstance(told, dict) else {}
    modalities = tuple(str(told.get(str(i)) or _modality(channel)) for i, channel in enumerate(channels))
    unlabelled = _unlabelled(info, labels)[0]
    faults += [
        f'{case}: "unlabelled" names it, and there is no such case'
        for case in sorted({*unlabelled} - {f.name for f in files})
    ]
    return Contents(name, licence, channels, modalities, labels, tuple(files), ignore, unlabelled), faults


def faults_of(info: dict) -> list[str]:
    """What is wrong with the content of a dataset.json, whatever files there are."""
    labels, _, of_labels = labels_of(info)
    faults = [*_channels(info)[1], *of_labels, *([] if of_labels else _unlabelled(info, labels)[1])]
    listed = None if "file_ending" in info else info.get("training")
    ending = info.get("file_ending")
    if listed is None and not (isinstance(ending, str) and re.fullmatch(r"[\w.]+", ending)):
        faults.append('neither "file_ending" (nnU-Net), such as ".nii.gz", nor "training" (Decathlon), a list of files')
    elif listed is not None and not _is_list_of_pairs(listed):
        faults.append('"training" must be a list of objects with "image" and "label", each a file')
    return faults


def _channels(info: dict) -> tuple[tuple[str, ...], list[str]]:
    given = info.get("channel_names", info.get("modality"))
    try:
        numbered = {int(number): str(name) for number, name in given.items()}
    except (AttributeError, TypeError, ValueError):
        return (), [f'"channel_names" (or "modality") is {given!r}; {{"0": "T2"}} or the like was expected']
    if not numbered:
        return (), ['"channel_names" (or "modality") is empty; at least one channel is needed']
    return tuple(numbered[number] for number in sorted(numbered)), []


def _modality(channel: str) -> str:
    """DICOM's name for the modality that a channel's name tells; MR when it tells none."""
    words = re.split(r"[^A-Z]+", channel.upper())
    return next((modality for word, modality in (("CT", "CT"), ("PET", "PT"), ("US", "US")) if word in words), "MR")


def labels_of(info: Mapping) -> tuple[tuple[str, ...], int | None, list[str]]:
    """The structures' names, from value 1 on, the value of what is unknown, and the faults."""
    given = info.get("labels")
    try:
        pairs = list(given.items())
        if any(isinstance(value, list | tuple) for _, value in pairs):
            fault = "regions (lists of values); structures that do not overlap, one value each, are needed"
            return (), None, [f'"labels" holds {fault}']
        if all(str(key).strip().isdigit() for key, _ in pairs):
            pairs = [(name, value) for value, name in pairs]
        named = [(int(value), str(name)) for name, value in pairs]
    except (AttributeError, TypeError, ValueError, OverflowError):
        wanted = '{"background": 0, "liver": 1}, or {"0": "background", "1": "liver"}, was expected'
        return (), None, [f'"labels" is {given!r}; {wanted}']
    values = sorted(value for value, _ in named)
    if values != list(range(len(values))) or len(values) < 2:
        return (), None, [f'"labels" has the values {values}; 0 (background), 1, 2 ... without a gap are needed']
    names = [name for _, name in sorted(named)]
    folded = Counter(name.casefold() for name in names)
    faults = [f'"labels" has the name {name!r} twice, large or small' for name, count in folded.items() if count > 1]
    faults += [
        f'"labels" has the name {name!r}, which is no text in Unicode'
        for name in names
        if name != name.encode("utf-8", "ignore").decode()
    ]
    ignore = next((value for value, name in enumerate(names) if name.casefold() == IGNORE), None)
    if ignore is not None and (ignore < len(names) - 1 or ignore < 2):
        faults.append(
            f'"labels" has "{IGNORE}" with the value {ignore}; what is unknown has to have the highest value, above '
            "those of the structures. Give it another number, here and in all files of labels"
        )
    structures = names[1:ignore]
    if len(structures) > MOST_STRUCTURES:
        faults.append(f'"labels" has {len(structures)} structures; {MOST_STRUCTURES} are supported')
    return tuple(structures), ignore, faults


def _unlabelled(info: Mapping, labels: tuple[str, ...]) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """By case, the values of the structures that nobody has labelled in it; and the faults."""
    given = info.get("unlabelled", {})
    lists = given.values() if isinstance(given, dict) else [None]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        return {}, [f'"unlabelled" is {given!r}; {{"case": ["structure", ...]}} was expected']
    values, found, faults = {name: value for value, name in enumerate(labels, 1)}, {}, []
    for case, names in given.items():
        unnamed = [name for name in names if name not in values]
        if unnamed:
            faults.append(f'"unlabelled" has {unnamed} for {case}, and "labels" does not; it names {", ".join(labels)}')
        elif {*names} == {*labels}:
            faults.append(f'"unlabelled" has every structure for {case}: nothing is labelled in it. Leave the case out')
        found[case] = tuple(sorted(values[name] for name in {*names} - {*unnamed}))
    return found, faults


def fingerprints_of(info: Mapping) -> dict[str, str]:
    """By case, the fingerprint of its images, of those that it is told of."""
    given = info.get("fingerprints")
    return {str(case): str(one) for case, one in given.items()} if isinstance(given, dict) else {}


def with_ignore(info: Mapping) -> Mapping:
    """The content with a label for what is unknown: the one that it has, or the next value."""
    structures, ignore, _faults = labels_of(info)
    if ignore is not None:
        return info
    value, by_value = len(structures) + 1, all(str(key).strip().isdigit() for key in info["labels"])
    return {**info, "labels": {**info["labels"], **({str(value): IGNORE} if by_value else {IGNORE: value})}}


def _is_list_of_pairs(listed) -> bool:
    return isinstance(listed, list) and all(
        isinstance(item, dict) and all(isinstance(item.get(key), str) for key in ("image", "label")) for item in listed
    )


def _found(folder: Path, ending: str, channels: int) -> tuple[list[Files], list[str]]:
    """The cases by the files that are there."""
    files = []
    for truth in sorted((folder / "labelsTr").glob(f"[!.]*{ending}")):
        name = truth.name.removesuffix(ending)
        images = tuple(folder / "imagesTr" / f"{name}_{i:04d}{ending}" for i in range(channels))
        files.append(Files(name, images, truth))
    known = {case.name for case in files}
    faults, orphans = [], set()
    for path in sorted((folder / "imagesTr").glob(f"[!.]*{ending}")):
        name = path.name.removesuffix(ending)
        numbered = re.fullmatch(r"(.+)_\d{4}", name)
        if numbered is None:
            faults.append(f"imagesTr/{path.name}: its name has no number of a channel, as in {name}_0000{ending}")
        elif numbered[1] not in known:
            orphans.add(numbered[1])
    faults += [f"{name}: there is an image but no labelsTr/{name}{ending}" for name in sorted(orphans)]
    surplus = [f"{case.name}_{channels:04d}{ending}" for case in files]
    faults += [
        f"{name}: dataset.json names {channels} channel(s) and this would be one more"
        for name in surplus
        if (folder / "imagesTr" / name).exists()
    ]
    return files, faults if files else [*faults, f"no labelsTr/*{ending} was found"]


def _listed(folder: Path, listed: list[dict], channels: int) -> tuple[list[Files], list[str]]:
    """The cases by the list in dataset.json, named by their files, or by folders and files where files share names."""
    paths = [Path(item["image"]) for item in listed]
    shared = len({path.name for path in paths}) < len(set(paths))
    files = []
    for item, path in zip(listed, paths, strict=True):
        image, truth = folder / path, folder / item["label"]
        suffix = next((s for s in SUFFIXES if image.name.endswith(s)), image.suffix)
        stem = image.name.removesuffix(suffix)
        name = "_".join((*path.relative_to(path.anchor).parts[:-1], stem)) if shared else stem
        single = tuple(image.with_name(f"{stem}_{i:04d}{suffix}") for i in range(channels))
        files.append(Files(name, single if not image.is_file() and single[0].is_file() else (image,), truth))
    twice = [name for name, count in Counter(case.name for case in files).items() if count > 1]
    faults = [f"{name}: listed more than once in dataset.json" for name in twice]
    return files, faults if files else ['dataset.json lists no case in "training"']
