"""Which images and labels of a folder belong together, by their names and places alone.

A folder with dataset.json is read as that says (nnU-Net's raw layout or the Decathlon's). In any other folder, and in
all below it, a file is labels

- where its name ends as Slicer's segmentations do (.seg.nrrd), or before its ending in _seg, -label, _mask or another
  of ``LABEL_WORDS``, or is that word: NAME_seg.nii.gz, p1/label.nii.gz;
- where it lies in a folder labels, labelsTr, masks or segmentations.

All other images are images; NAME_0000, NAME_0001 are the channels of one. An image and the labels of the same name
belong together where they lie in one folder, or in folders images and labels beside each other. What has no partner,
or two, is told by its name.

Step: grow the data, before any of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .dataset_json import CONTENTS, SUFFIXES, read_contents

SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")
"""How Slicer's segmentations end."""
ENDINGS = (*SEGMENTATIONS, *SUFFIXES, ".nhdr", ".gipl")
LABEL_WORDS = ("seg", "segmentation", "label", "labels", "labelmap", "mask", "gt", "truth")
IMAGE_WORDS = ("image", "img", "volume", "scan")
LABEL_FOLDERS = {"label", "labels", "labelstr", "labelsts", "mask", "masks", "segmentation", "segmentations"}
IMAGE_FOLDERS = {"image", "images", "imagestr", "imagests"}
LABEL_END = re.compile(rf"(?:^|(?<=.)[ ._-])(?:{'|'.join(LABEL_WORDS)})$", re.IGNORECASE)
CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Pair:
    """A case to be. name: made of its place in the folder. images: one file a channel, or a 4-D file of all.

    ignore: the value in the labels of what is unknown. unlabelled: structures that nobody has labelled in it.
    """

    name: str
    images: tuple[Path, ...]
    labels: Path
    ignore: int | None = None
    unlabelled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairs:
    """pairs: in the order of their names. faults: name and sentence of what pairs with nothing.

    channels, modalities, labels (name of each value): where dataset.json tells them, else empty.
    """

    pairs: tuple[Pair, ...]
    faults: tuple[tuple[str, str], ...] = ()
    channels: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _File:
    """place: folders from the root, without the one that tells images from labels. stem: its name without endings."""

    path: Path
    place: tuple[str, ...]
    stem: str


def find_pairs(folder: Path, channels: int = 1) -> Pairs:
    """The pairs in a folder. channels: how many images a case has. Raises InputError where there is nothing at all."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    if (folder / CONTENTS).is_file():
        return _of_data_set(folder)
    images, labels = [], []
    for path in _files(folder):
        file, is_labels = _told(path, folder)
        (labels if is_labels else images).append(file)
    if not images and not labels:
        raise InputError(f"There is no image in {folder}: none of {', '.join(SUFFIXES)}. Choose another folder.")
    return _matched(folder, images, labels, channels)


def case_name_of(parts: tuple[str, ...]) -> str:
    """What is at a place as the name of a case."""
    words = (re.sub(r"[^\w.-]+", "_", part).strip("_.-") for part in parts)
    return "_".join(filter(None, words)) or "case"


def _of_data_set(folder: Path) -> Pairs:
    contents, faults = read_contents(folder)
    names = dict(enumerate(contents.labels, 1))
    pairs = tuple(
        Pair(
            files.name,
            files.images,
            files.labels,
            contents.ignore,
            tuple(names[value] for value in contents.unlabelled.get(files.name, ())),
        )
        for files in contents.files
    )
    told = tuple((fault.partition(":")[0], fault.partition(":")[2].strip() or fault) for fault in faults)
    return Pairs(pairs, told, contents.channels, contents.modalities, names)


def _files(folder: Path) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(ENDINGS):
                yield Path(place) / name


def _told(path: Path, root: Path) -> tuple[_File, bool]:
    """A file by its place and name, and whether it is labels."""
    *parts, name = path.relative_to(root).parts
    ending = next(one for one in ENDINGS if name.lower().endswith(one))
    stem, is_labels = name[: -len(ending)], ending in SEGMENTATIONS
    told = next((i for i in reversed(range(len(parts))) if parts[i].lower() in LABEL_FOLDERS | IMAGE_FOLDERS), None)
    in_images = told is not None and parts[told].lower() in IMAGE_FOLDERS
    if told is not None:
        is_labels = is_labels or not in_images
        test = parts[told].lower().endswith("ts")
        parts[told : told + 1] = ["Ts"] if test else []
    if not in_images and LABEL_END.search(stem):
        is_labels = True
    if not is_labels and stem.lower() in IMAGE_WORDS:
        stem = ""
    return _File(path, tuple(parts), stem), is_labels


def _matched(root: Path, images: list[_File], labels: list[_File], channels: int) -> Pairs:
    """Pairs of the same place and name, and what is left over."""
    numbered: dict[tuple, dict[int, Path]] = {}
    for file in images:
        found = CHANNEL.fullmatch(file.stem)
        key, number = (file.place, found[1] if found else file.stem), int(found[2]) if found else -1
        numbered.setdefault(key, {})[number] = file.path
    of: dict[tuple, list[Path]] = {}
    faults: list[tuple[str, str]] = []
    for (place, stem), files in numbered.items():
        several = [files[n] for n in sorted(files) if n >= 0]
        if -1 in files:
            of.setdefault((place, stem), []).append(files[-1])
        if 0 in files and -1 not in files:
            of[place, stem] = several
        else:  # numbers of something else
            for path in several:
                of[place, _told(path, root)[0].stem] = [path]
    by_key: dict[tuple, list[Path]] = {}
    for file in labels:
        plain = LABEL_END.sub("", file.stem)
        key = next((k for k in ((file.place, file.stem), (file.place, plain)) if k in of), (file.place, plain))
        by_key.setdefault(key, []).append(file.path)
    pairs: dict[str, list[Pair]] = {}
    for key in sorted({*of, *by_key}):
        name = case_name_of((*key[0], key[1]))
        pair = _pair(root, name, of.get(key, []), by_key.get(key, []), channels)
        if isinstance(pair, Pair):
            pairs.setdefault(name.casefold(), []).append(pair)
        else:
            faults.append((name, pair))
    for same in (group for group in pairs.values() if len(group) > 1):
        places = ", ".join(sorted(_below(root, [pair.images[0] for pair in same])))
        faults.append((same[0].name, f"Several cases would have this name: {places}. Rename all but one."))
    single = [group[0] for group in pairs.values() if len(group) == 1]
    return Pairs(tuple(sorted(single, key=lambda pair: pair.name)), tuple(sorted(faults)))


def _pair(root: Path, name: str, images: list[Path], labels: list[Path], channels: int) -> Pair | str:
    """The pair of these files, or what keeps them from being one."""
    if not labels:
        [first, *_more] = _below(root, images)
        return f"{first} has no labels: {name}_seg beside it, or a file of its name in a folder labels, was looked for."
    if not images:
        return f"{_below(root, labels)[0]} has no image of the same name."
    if len(labels) > 1:
        return f"It has several files of labels: {', '.join(_below(root, labels))}. Leave one."
    if len(images) not in (1, channels):
        return f"It has {len(images)} channels ({', '.join(_below(root, images))}); the data set has {channels}."
    return Pair(name, tuple(images), labels[0])


def _below(root: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]
