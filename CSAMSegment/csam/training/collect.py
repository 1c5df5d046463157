"""Grows a data set case by case, in nnU-Net's raw layout: what a person has corrected is there to be learned from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import SimpleITK as sitk

from ..errors import InputError
from .layouts import Contents, read_contents

ENDING = ".nii.gz"
UNFINISHED = ".unfinished-"
"""How the names of files begin that are being written: the layout does not count them."""


def add_case(
    folder: str | Path,
    name: str,
    images: Sequence[sitk.Image],
    truth: sitk.Image,
    channels: Sequence[str],
    labels: Sequence[str],
) -> int:
    """Adds a case to a data set, or begins one in an empty or new folder; returns how many cases it has then.

    images: one a channel, on one grid with truth. labels: names of the values of truth, from 1 on. The case is there
    whole or not at all, and nothing that was there is written over. Raises InputError for a folder that holds anything
    else, a data set of other channels or labels, a name that is taken or none, and what cannot be written.
    """
    folder = Path(folder)
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name) > 100:
        raise InputError(
            f"{name!r} is no name for a case; letters, digits, dots, - and _ were expected, at most 100 of them."
        )
    info = _read_or_begin(folder, channels, labels)
    ending = "." + info["file_ending"].lstrip(".")
    taken = [path.name.removesuffix(ending) for path in (folder / "labelsTr").glob(f"[!.]*{ending}")]
    files = {folder / "imagesTr" / f"{name}_{i:04d}{ending}": image for i, image in enumerate(images)}
    files[folder / "labelsTr" / f"{name}{ending}"] = truth
    if name.casefold() in {other.casefold() for other in taken} or any(path.exists() for path in files):
        raise InputError(f"{folder} has a case {name} already. Give this one another name.")
    try:
        _write(files, folder / "dataset.json", info | {"numTraining": len(taken) + 1})
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[-1]
        raise InputError(
            f"The case {name} could not be written to {folder}: {reason}. Choose another place, or free room on the "
            "disk."
        ) from error
    return len(taken) + 1


def _read_or_begin(folder: Path, channels: Sequence[str], labels: Sequence[str]) -> dict:
    """The dataset.json that is there, or the one to write."""
    contents = folder / "dataset.json"
    if not contents.exists():
        if any(path.is_file() for path in folder.rglob("[!.]*")):
            raise InputError(f"{folder} holds other files and no dataset.json. Choose an empty folder, or a data set.")
        return {
            "name": folder.name,
            "channel_names": {str(i): name for i, name in enumerate(channels)},
            "labels": {"background": 0, **{name: value for value, name in enumerate(labels, 1)}},
            "file_ending": ENDING,
        }
    found, _faults = read_contents(folder)
    info = json.loads(contents.read_text(encoding="utf-8"))
    if "file_ending" not in info:
        raise InputError(f"{folder} is in the Decathlon's layout; cases can be added to nnU-Net's raw layout only.")
    theirs, ours = _names(found), ([*channels], [*labels])
    if [[name.casefold() for name in names] for names in theirs] != [[n.casefold() for n in names] for names in ours]:
        said = [f"the channels {', '.join(side[0])} and the labels {', '.join(side[1])}" for side in (theirs, ours)]
        raise InputError(
            f"{folder} has {said[0]}; this case has {said[1]}. Choose another data set, or an empty folder."
        )
    return info


def _names(contents: Contents) -> tuple[list[str], list[str]]:
    return [*contents.channels], [*contents.labels]


def _write(files: dict[Path, sitk.Image], contents: Path, info: dict) -> None:
    """Writes every file under another name first; only when all are whole they get theirs, the labels last."""
    aside = {path: path.with_name(UNFINISHED + path.name) for path in (*files, contents)}
    placed: list[Path] = []
    try:
        for path, image in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(aside[path]))
        aside[contents].write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        for path in files:
            os.rename(aside[path], path)
            placed.append(path)
        os.replace(aside[contents], contents)
    except BaseException:
        for path in (*aside.values(), *placed):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def free_name(folder: str | Path) -> str:
    """A name for the next case, "case001" and so on: none of them looks like a scan of another's patient."""
    taken = {path.name.split(".")[0].split("_")[0].casefold() for path in Path(folder).glob("labelsTr/[!.]*")}
    return next(name for name in (f"case{number:03d}" for number in range(1, 100_000)) if name not in taken)
