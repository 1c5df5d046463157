"""The folder that a batch writes into. It is the batch's whole state: what is done, what failed, and what it is of.

::

    OUT/batch.json           the folder of the cases, the model and the options
    OUT/cases/NAME/          a case that is done: maps, report.json, thumbnail.jpg; moved here once all of it is written
    OUT/faults/NAME.json     a case that failed, and why
    OUT/cases.csv            the table, worst first
    OUT/index.html           the same as a page, with a thumbnail a case
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..errors import CSAMError, InputError
from ..image import files
from ..image.lock import lock
from ..model import Model
from ..result import Options, Result
from .row import FAULT, Row, row_of
from .saved import REPORT, write_result

FORMAT = 1
DESCRIPTION, TABLE, PAGE = "batch.json", "cases.csv", "index.html"
SCENE = "the scene"
"""Instead of a folder: images that were sent, and are kept beside their results."""
THUMBNAIL = "thumbnail.jpg"
QUALITY = 80
"""Of the thumbnail, 1 to 100: slices of real scans take 4 to 6 kB, as PNG 11 to 22 kB."""
UNDER_WAY = ".writing-"


class FolderError(CSAMError):
    """Nothing can be written into the folder of results any more."""

    kind = "input"


@dataclass(frozen=True)
class BatchFolder:
    """The folder of a batch's results. Every method reads or writes there, and holds nothing itself."""

    path: Path

    @property
    def results(self) -> Path:
        return self.path / "cases"

    @property
    def faults(self) -> Path:
        return self.path / "faults"

    # What the batch is --------------------------------------------------------------------------------------------

    def description(self) -> dict[str, Any] | None:
        """What batch.json says; None where there is none. Raises InputError for one that cannot be read."""
        try:
            said = files.read_json(self.path / DESCRIPTION)
            if not all(isinstance(said[name], dict) for name in ("model", "options")):
                raise TypeError("model and options are no objects with named fields")
            return {name: said[name] for name in ("folder", "model", "options")}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path / DESCRIPTION} cannot be read ({error}). Choose another folder for the results."
            ) from error

    def begin(self, folder: str | Path, model: Model, options: Options, frame: int | None = None) -> None:
        """Makes the folder and writes down what the batch is; half-written results of a killed run are removed.

        folder: of the cases, or SCENE. Raises InputError where the folder lies among the cases, holds a batch of
        another folder, model or other options (but for the device), or other files that it would replace.
        """
        if folder != SCENE:
            folder = Path(folder).resolve()
            self.check_beside(folder)
        told = {"name": model.name, "version": model.version, "digest": model.digest}
        plain = {**asdict(options), "frame": frame}
        wanted = json.loads(json.dumps({"folder": str(folder), "model": told, "options": plain}))
        before = self.description()
        if before is not None:
            changed = differences(before, wanted)
            if changed:
                raise InputError(
                    f"{self.path} holds another batch ({'; '.join(changed)}). Choose another folder for the results, "
                    "or go back to the folder, model and options of that batch."
                )
        else:
            self._check_free()
        try:
            for place in (self.results, self.faults):
                place.mkdir(parents=True, exist_ok=True)
            files.check_writable(self.path)
            for left in self.results.glob(f"{UNDER_WAY}*"):
                shutil.rmtree(left, ignore_errors=True)
            files.write_text(self.path / DESCRIPTION, json.dumps({"format": FORMAT, **wanted}, indent=2) + "\n")
        except OSError as error:
            raise _full(self.path, error) from error

    def check_beside(self, folder: Path) -> None:
        """Raises InputError where the results would lie in the folder of the cases."""
        results = self.results.resolve()
        if folder.resolve() in (results, *results.parents):
            raise InputError(
                f"The results would be written to {self.results}, which lies in the folder of the cases. The next run "
                "would take the results for cases. Choose another folder for the results."
            )

    def _check_free(self) -> None:
        """Raises InputError where files that are no batch's stand where a batch writes."""
        places = [self.path / TABLE, self.path / PAGE, self.results, self.faults]
        for place in places:
            if any(place.iterdir()) if place.is_dir() else place.exists():
                raise InputError(
                    f"{place} exists already and was not written by a batch: {self.path} has no {DESCRIPTION}. Choose "
                    "another folder for the results."
                )

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes from running a batch into the folder. Raises InputError where one does."""
        self.path.mkdir(parents=True, exist_ok=True)
        return lock(self.path / "batch.lock", f"Another process is running a batch in {self.path}. Wait for its end.")

    # Its cases ----------------------------------------------------------------------------------------------------

    def done(self, case: str, source: Mapping[str, Any]) -> Row | None:
        """The row of a case that is done, from the same files; None of any other."""
        try:
            report = files.read_json(self.results / case / REPORT)
            return row_of(case, report) if report["source"] == json.loads(json.dumps(source)) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(
        self,
        case: str,
        source: Mapping[str, Any],
        result: Result,
        thumbnail: sitk.Image | None = None,
        images: Sequence[sitk.Image] = (),
        fingerprint: str = "",
    ) -> Row:
        """Writes a result, whole or not at all. images: to be kept beside it. fingerprint: of those that it is of.

        Raises FolderError.
        """
        place, before = self.results / case, self.results / f"{UNDER_WAY}{uuid.uuid4().hex[:8]}"
        half = before.with_name(f"{before.name}.new")
        try:
            half.mkdir(parents=True)
            for number, image in enumerate(images):
                files.write_image(image, half / f"image_{number:04d}.nrrd", compress=True)
            if thumbnail is not None:
                files.write_image(thumbnail, half / THUMBNAIL, quality=QUALITY)
            write_result(result, half, {"source": dict(source), "fingerprint": fingerprint})
            if place.exists():  # of files that have changed since
                files.replace_file(place, before)
            files.replace_file(half, place)
            (self.faults / f"{case}.json").unlink(missing_ok=True)
        except OSError as error:
            known = self.done(case, source)  # another worker may have been quicker
            if known is None:
                raise _full(self.path, error) from error
            return known
        finally:
            for left in (half, before):
                shutil.rmtree(left, ignore_errors=True)
        return row_of(case, files.read_json(place / REPORT))

    def fail(self, case: str, images: Sequence[str], fault: str, detail: str = "") -> Row:
        """Writes down that a case failed. Raises FolderError."""
        told = {"images": [*images], "fault": fault, "detail": detail[-20_000:]}
        try:
            self.faults.mkdir(parents=True, exist_ok=True)
            files.write_text(self.faults / f"{case}.json", json.dumps(told, indent=2) + "\n")
        except OSError as error:
            raise _full(self.path, error) from error
        return Row(case, FAULT, tuple(images), fault=fault)

    def forget_faults(self, cases: Iterable[str]) -> None:
        """Removes the faults of cases whose files have gone."""
        for case in cases:
            (self.faults / f"{case}.json").unlink(missing_ok=True)

    def rows(self) -> Iterator[Row]:
        """All that is done or has failed, in no order, read one by one. Raises InputError where there is no batch."""
        if self.description() is None:
            raise InputError(
                f"{self.path} holds no batch: it has no {DESCRIPTION}. Choose a folder that a batch has written."
            )
        failed = {path.stem for path in self.faults.glob("[!.]*.json")}  # whose earlier result holds no longer
        for path in sorted(self.results.glob(f"[!.]*/{REPORT}")):
            if path.parent.name in failed:
                continue
            with suppress(OSError, ValueError, KeyError, TypeError):
                yield row_of(path.parent.name, files.read_json(path))
        for path in sorted(self.faults.glob("[!.]*.json")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                told = files.read_json(path)
                yield Row(path.stem, FAULT, tuple(map(str, told["images"])), fault=str(told["fault"]))


def differences(before: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """How two descriptions of a batch differ, in words; the device may."""
    said = []
    if before["folder"] != wanted["folder"]:
        said.append(f"folder {before['folder']}, not {wanted['folder']}")
    if before["model"] != wanted["model"]:
        one, other = (f"{m.get('name')} {m.get('version')}" for m in (before["model"], wanted["model"]))
        said.append(f"model {one}, not " + (other if other != one else f"another one called {other}"))
    for name in sorted({*before["options"], *wanted["options"]} - {"device"}):
        one, other = (options.get(name) for options in (before["options"], wanted["options"]))
        if one != other:
            said.append(f"{name.replace('_', ' ')} {one}, not {other}")
    return said


def _full(path: Path, error: OSError) -> FolderError:
    return FolderError(
        f"The results can no longer be written into {path}: {error}. Finished cases stay. Free space or restore "
        "access, then start the batch again."
    )
