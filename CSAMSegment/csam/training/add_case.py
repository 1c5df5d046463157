"""Grows a data set case by case, in nnU-Net's raw layout: what a reviewer has corrected is there to be learned from.

A case may be known in part: slices that nobody has drawn or reviewed are written with nnU-Net's ignore label, which
dataset.json gets with the first such case. Its value is the one above the structures' for ever: no structure is added
to a data set, for files that are there already would mean another thing.

Step: grow the data, before any of them.
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image import geometry
from ..image.files import RESERVED, read_image, read_json, replace_file, write_image, write_text
from ..image.lock import lock
from ..image.unknown import IGNORE, UNKNOWN, known_slices_only
from .auto_plan import patient_pattern
from .case_facts import examine_case
from .dataset_json import CONTENTS, faults_of, fingerprints_of, labels_of, read_contents, with_ignore
from .model_match import by_order, places, relabelled

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Of files that hold image and geometry whole; a new data set gets the first."""
NUMBERED = 5
"""From so many cases on that share all but what stands behind an underscore, they are taken for as many patients."""
BY_CASE = ("unlabelled", "fingerprints")
"""Fields of dataset.json that tell something of each case."""
PATIENCE = 5.0
"""Seconds to wait for another process that changes the data set."""
NO_CASES = {"desktop.ini", "thumbs.db"}
"""What systems put into a folder by themselves, beside files whose names begin with a dot."""


@dataclass(frozen=True)
class Collection:
    """A data set that cases are added to, there already or not.

    info: its dataset.json. ending: of its files. channels: its own. order: where each of them is among those of a case.
    values: its label value for each of a case, from 0 on.
    """

    folder: Path
    info: Mapping
    ending: str
    channels: tuple[str, ...]
    order: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its structures, from value 1 on."""
        return labels_of(self.info)[0]

    @property
    def cases(self) -> list[str]:
        """The names of the cases."""
        paths = (self.folder / "labelsTr").glob(f"[!.]*{self.ending}")
        return sorted(path.name.removesuffix(self.ending) for path in paths)

    def has(self, name: str) -> bool:
        """Whether there is a case, or an image, of this name, large or small letters alike."""
        images = (self.folder / "imagesTr").glob(f"[!.]*{self.ending}")
        known = {*self.cases, *(path.name.removesuffix(self.ending)[: -len("_0000")] for path in images)}
        return name.casefold() in {other.casefold() for other in known}

    def patients(self, further: Sequence[str] = ()) -> int:
        """Of how many patients the cases are, as a training tells them by the names of these and ``further`` ones."""
        pattern, _why = patient_pattern([*self.cases, *further]) if self.cases else ("(.*)", "")
        return len({re.match(pattern, name)[1] for name in self.cases})

    def free_name(self) -> str:
        """A name for the next case that no other data set has either, for patients are known by their names.

        Where all cases are numbered behind the same word, it goes on behind that word: each is a patient.
        """
        words = {name.rpartition("_")[0] for name in self.cases}
        word = words.pop() if len(words) == 1 and len(self.cases) >= NUMBERED else ""
        return f"{word}_{secrets.token_hex(3)}" if word else f"case{secrets.token_hex(3)}"

    def add(
        self,
        name: str,
        images: Sequence[sitk.Image],
        truth: sitk.Image,
        replace: bool = False,
        known_slices: Iterable[int] | None = None,
        slice_axis: str = "auto",
        unlabelled: Sequence[str] = (),
    ) -> int:
        """Adds a case, and returns how many there are then. It is there whole or not at all.

        images: one a channel, on one grid with truth, which may be ``csam.image.unknown.UNKNOWN`` in places. replace:
        whether it may take the place of a case of this name. known_slices: the drawn or reviewed slices, indices along
        slice_axis (as in ``csam.image.geometry.axis_for``); the labels of all others become unknown. None: all count.
        unlabelled: the data set's structures that nobody has labelled in this case.
        Raises InputError for a name that is taken or none, images or labels that cannot be learned from, and what
        cannot be written.
        """
        name = case_name(name)
        if replace:
            name = next((case for case in self.cases if case.casefold() == name.casefold()), name)
        elif self.has(name):
            raise InputError(f"{self.folder} has a case {name} already. Give this one another name.")
        images = [_finite(images[place]) for place in self.order]
        truth = self._translated(_known_only(truth, known_slices, slice_axis))
        facts, faults = examine_case(images, truth, self.channels, len(self.values), UNKNOWN)
        if faults:
            raise InputError(f"{name} cannot be learned from: {'; '.join(faults)}.")
        if not facts.whole:
            truth = self._with_ignore(truth)
        files = {self.folder / "imagesTr" / f"{name}_{i:04d}{self.ending}": image for i, image in enumerate(images)}
        files[self.folder / "labelsTr" / f"{name}{self.ending}"] = truth
        told = {"unlabelled": list(unlabelled), "fingerprints": facts.fingerprint}
        try:
            _write(self.folder, files, replace, lambda: self._contents({*self.cases, name}, name, facts.whole, told))
        except FileExistsError as error:
            raise InputError(f"{self.folder} has a case {name} by now. Give this one another name.") from error
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise InputError(
                f"The case {name} could not be written to {self.folder}: {reason}. Choose another place, or free room "
                "on the disk."
            ) from error
        return len(self.cases)

    def remove(self, name: str) -> int:
        """Deletes a case with its files; returns how many are left. Raises InputError where it cannot be deleted."""
        if name not in self.cases:
            raise InputError(f"{self.folder} has no case {name}.")
        paths = [self.folder / "labelsTr" / f"{name}{self.ending}"]
        paths += [self.folder / "imagesTr" / f"{name}_{i:04d}{self.ending}" for i in range(len(self.channels))]
        try:
            with _locked(self.folder):
                for path in paths:  # the labels first: without them it is no case any more
                    path.unlink(missing_ok=True)
                write_text(self.folder / CONTENTS, self._contents(self.cases, name))
        except OSError as error:
            raise InputError(f"The case {name} could not be deleted: {error.strerror or error}.") from error
        return len(self.cases)

    def left_behind(self, name: str) -> list[Path]:
        """The images that stand under a case's name without any labels, as a process leaves them that was killed."""
        if name in self.cases:
            return []
        paths = (self.folder / "imagesTr" / f"{name}_{i:04d}{self.ending}" for i in range(len(self.channels)))
        return [path for path in paths if path.exists()]

    def fingerprints(self) -> dict[str, str]:
        """What tells the images of each case from others (``csam.image.fingerprint``), of those that it is told of."""
        return fingerprints_of(read_json(self.folder / CONTENTS)) if (self.folder / CONTENTS).exists() else {}

    def _contents(
        self, cases: Sized, name: str, whole: bool = True, told: Mapping[str, Any] = MappingProxyType({})
    ) -> str:
        """The text of dataset.json with these cases.

        name: of the case that is new or has gone. whole: whether every label of it is known; else there is a label for
        what is unknown. told: by field, what is told of it, nothing of a case that has gone. Raises InputError where
        somebody has given the data set other labels meanwhile.
        """
        path, info = self.folder / CONTENTS, self.info
        if path.exists():  # it may have got the ignore label since it was opened
            found, _faults = read_contents(self.folder)
            if found.labels != labels_of(self.info)[0]:
                raise InputError(f"{self.folder} has the labels {', '.join(found.labels)} by now. Open it again.")
            info = read_json(path)
        values = {**(info if whole else with_ignore(info)), "numTraining": len(cases)}
        for field in BY_CASE:
            given = values.pop(field, {})
            others = {case: one for case, one in given.items() if case != name} if isinstance(given, dict) else {}
            if told.get(field):
                others[name] = told[field]
            values |= {field: others} if others else {}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    def _translated(self, truth: sitk.Image) -> sitk.Image:
        """The truth in the data set's values; what has none is left for ``examine_case`` to find."""
        found = sitk.GetArrayViewFromImage(truth)
        known = np.isin(found, [*range(len(self.values)), UNKNOWN])
        if self.values == tuple(range(len(self.values))) or not known.all():
            return truth
        return relabelled(truth, self.values)

    def _with_ignore(self, truth: sitk.Image) -> sitk.Image:
        """The truth as files have it: what is unknown with the value above the structures'."""
        stored = [*range(UNKNOWN), len(self.values)]
        return relabelled(truth, stored)


def collection(
    folder: str | Path,
    channels: Sequence[str],
    labels: Sequence[str],
    modalities: Sequence[str] = (),
    known: Mapping[str, int] | None = None,
) -> Collection:
    """The data set in a folder, or the one to begin in an empty or new one, for cases of these channels and labels.

    labels: names of the values of a case's truth, from 1 on. modalities: of the channels, DICOM's words; MR where none
    is told. known: further names of values, in small letters, such as ``matching.values_by_name`` gives.
    Raises InputError for a folder that holds anything else, or a data set of other channels or labels.
    """
    if IGNORE in {name.casefold() for name in labels}:
        raise InputError(f'No data set can be made with a structure "{IGNORE}": that marks what is unknown. Rename it.')
    folder, contents = Path(folder), Path(folder) / CONTENTS
    modalities = modalities or ("MR",) * len(channels)
    try:
        if not contents.exists():
            return _begun(folder, channels, labels, modalities)
        found, _faults = read_contents(folder)
        info = read_json(contents)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}. Choose another folder.") from error
    if "file_ending" not in info or "dataset" in info:
        raise InputError(f"{folder} lists its cases in dataset.json; cases are added to data sets that do not.")
    ending = "." + info["file_ending"].lstrip(".")
    if ending not in ENDINGS:
        raise InputError(f"The files of {folder} are {ending}; cases are added as {', '.join(ENDINGS)}.")
    known = {name.casefold(): value for value, name in enumerate(labels, 1)} | dict(known or {})
    ours = [0, *(known.get(name.casefold(), -1) for name in found.labels)]
    order = places(found.channels, channels)
    named = None not in order and len(order) == len(channels) and not by_order(found.channels, channels)
    if sorted(ours) != [*range(len(labels) + 1)] or not named:
        both = ((found.channels, found.labels), (channels, labels))
        said = [f"the channels {', '.join(names)} and the labels {', '.join(labels)}" for names, labels in both]
        raise InputError(
            f"{folder} has {said[0]}; this case has {said[1]}. Choose another data set, or an empty folder."
        )
    values = tuple(ours.index(value) for value in range(len(ours)))
    return Collection(folder, info, ending, found.channels, tuple(order), values)


def case_name(name: str) -> str:
    """The name as files have it. Raises InputError where it cannot be a case's."""
    name = unicodedata.normalize("NFC", name.strip())
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name.encode()) > 200 or RESERVED.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a case; letters, digits, dots, - and _ were expected, at most 200 bytes of them."
        )
    return name


def _begun(folder: Path, channels: Sequence[str], labels: Sequence[str], modalities: Sequence[str]) -> Collection:
    inside = _content(folder) if folder.exists() else []
    if any(path.is_file() or _content(path) for path in inside):
        raise InputError(f"{folder} holds other files and no dataset.json. Choose an empty folder, or a data set.")
    info = {
        "name": folder.name,
        "channel_names": {str(i): name for i, name in enumerate(channels)},
        "channel_modalities": {str(i): modality for i, modality in enumerate(modalities)},
        "labels": {"background": 0, **{name: value for value, name in enumerate(labels, 1)}},
        "file_ending": ENDINGS[0],
    }
    faults = faults_of(info)
    if faults or len(info["labels"]) != len(labels) + 1:
        raise InputError(
            f"No data set can be made of the channels {', '.join(channels)} and the labels {', '.join(labels)}: "
            f"{'; '.join(faults) or 'every label needs a name of its own'}."
        )
    order, values = range(len(channels)), range(len(labels) + 1)
    return Collection(folder, info, ENDINGS[0], tuple(channels), tuple(order), tuple(values))


def _content(folder: Path) -> list[Path]:
    """What somebody has put into a folder."""
    return [path for path in folder.iterdir() if not (path.name.startswith(".") or path.name.casefold() in NO_CASES)]


def _known_only(truth: sitk.Image, slices: Iterable[int] | None, slice_axis: str) -> sitk.Image:
    """The truth, UNKNOWN in all but some slices. Raises InputError where there is no such slice."""
    if slices is None:
        return truth
    try:
        axis = geometry.axis_for(truth, slice_axis)
        labels = sitk.GetImageFromArray(known_slices_only(sitk.GetArrayViewFromImage(truth), {*slices}, 2 - axis))
    except IndexError as error:
        raise InputError(f"The known slices do not fit the labels: {error}.") from error
    labels.CopyInformation(truth)
    return labels


def _finite(image: sitk.Image) -> sitk.Image:
    """The image as a run sees it: files do not keep values that are not finite."""
    if np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        return image
    return geometry.like(geometry.array_of(image), image)


def _write(folder: Path, files: Mapping[Path, sitk.Image], replace: bool, contents: Callable[[], str]) -> None:
    """Writes every file under another name and reads it again; when all are whole they get their names, labels last.

    contents: gives the text of dataset.json, which is there before them: what is unknown or not labelled in a case is
    never taken for background. Other processes wait. What is replaced is kept until all is done, or put back.
    """
    tag = secrets.token_hex(4)  # somebody else may add a case to the same folder
    aside = {path: path.with_name(f".new-{tag}-{path.name}") for path in files}
    placed: dict[Path, Path | None] = {}
    *images, labels = files

    def put_aside(path: Path) -> None:
        if replace and path.exists():
            before = path.with_name(f".old-{tag}-{path.name}")
            replace_file(path, before)
            placed[path] = before

    def place(path: Path) -> None:
        if path.exists():  # nobody else's: they wait
            raise FileExistsError(path)
        placed.setdefault(path, None)
        replace_file(aside[path], path)

    def describe() -> None:
        path, text = folder / CONTENTS, contents()
        aside[path], before = (path.with_name(f".{word}-{tag}-{path.name}") for word in ("new", "old"))
        aside[path].write_text(text, encoding="utf-8")
        if path.exists():  # kept as a copy, for a data set is never without it
            before.write_bytes(path.read_bytes())
        placed[path] = before if path.exists() else None
        replace_file(aside[path], path)

    try:
        for path, image in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(image, aside[path])
            _check_whole(aside[path], image)
        with _locked(folder):
            put_aside(labels)
            describe()
            for path in images:
                put_aside(path)
                place(path)
            place(labels)
    except BaseException as error:
        left = [before.name for path, before in placed.items() if not _put_back(path, before) and before is not None]
        if left:
            raise OSError(f"{error}; what was there before is kept as {', '.join(left)}") from error
        raise
    finally:
        for path in aside.values():
            with suppress(OSError):
                path.unlink(missing_ok=True)
    for before in filter(None, placed.values()):
        with suppress(OSError):
            before.unlink()


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Keeps other processes from changing the data set; waits for one that does."""
    return lock(folder / ".dataset.lock", f"Another process changes {folder}. Try again when it is done.", PATIENCE)


def _put_back(path: Path, before: Path | None) -> bool:
    """Whether what stood at a path, or nothing, stands there again."""
    try:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            replace_file(before, path)
    except OSError:
        return False
    return True


def _check_whole(path: Path, image: sitk.Image) -> None:
    """Raises OSError where a file does not hold what was written, for ITK says nothing of a full disk, and InputError
    where it cannot hold the image's geometry."""
    try:
        found = read_image(path)
    except InputError:
        found = None
    if found is None or not (np.array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(image))):
        raise OSError("a file is not read again as it was written; the disk may be full")
    if not geometry.same_grid(found, image):
        raise InputError(
            "The image's axes are not quite at right angles; files cannot hold that. Resample it (module "
            '"Resample Scalar/Vector/DWI Volume"), and run it again.'
        )
