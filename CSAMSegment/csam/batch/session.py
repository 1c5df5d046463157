"""A batch under way in one process, which alone writes into its folder: command line and worker run theirs so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..image.raster import voxels_of
from ..model import Model
from .cases import Case, find_cases
from .folder import SCENE, BatchFolder, FolderError
from .pages import PAGE, TABLE, Pages
from .row import DONE, FAULT, Row
from .run import Batch, Segment, attempt, finish, or_fault

ANOTHER = (
    'The folder of the results holds a result "{name}" that is not of this image as it is now: it is of another image, '
    "of this one before it was changed, or damaged. It was left as it is, and this image was not segmented. Rename its "
    "volume, choose another folder for the results, or remove that result's folder."
)


class Session:
    """Holds the lock of a batch's folder from its making to ``close``, and keeps table and page up to date.

    Raises InputError where the folder is another batch's, or another process is at it.
    """

    def __init__(self, batch: Batch, model: Model):
        self.batch, self.out = batch, BatchFolder(Path(batch.out))
        self._found = None
        if batch.folder != SCENE:
            self.out.check_beside(Path(batch.folder))
            if self.out.description() is None:  # a folder without cases shall not be written down as a batch
                self._found = find_cases(Path(batch.folder), batch.channels)
        self._held = ExitStack()
        self._held.enter_context(self.out.locked())
        try:
            self.out.begin(batch.folder, model, batch.options, batch.frame)
            self.rows = {row.case: row for row in self.out.rows()}
        except BaseException:
            self._held.close()
            raise
        self._pages = Pages(self.out, self.rows.values())

    def find(self) -> tuple[Case, ...]:
        """The cases of the folder. What is there and is no case becomes a fault; faults of what has gone go."""
        found = self._found or find_cases(Path(self.batch.folder), self.batch.channels)
        self._found = None
        there = {case.name for case in found.cases}
        gone = [name for name, row in self.rows.items() if row.fault and name not in there]
        self.out.forget_faults(gone)
        for name in gone:
            self._pages.drop(self.rows.pop(name))
        for name, said in found.faults:
            self.take(self.out.fail(name, (), said))
        return found.cases

    def waiting(self, cases: Iterable[Case]) -> list[str]:
        """The names of those that are not done, or whose files have changed since."""
        return [case.name for case in cases if not self._is_done(case)]

    def _is_done(self, case: Case) -> bool:
        if self.rows.get(case.name, Row(case.name)).state != DONE:
            return False
        with suppress(OSError):
            return self.out.done(case.name, self.batch.source(case)) is not None
        return False

    def run(self, case: Case, segment: Segment) -> Row:
        """A case of the folder, unless it is done; raises what ``attempt`` does."""
        return self.take(attempt(case, self.batch, segment))

    def run_images(self, name: str, images: list[sitk.Image], segment: Segment) -> Row:
        """A case of images that lie in no file: they are kept beside their result.

        A name alone does not tell whose image it is: a result of another one of this name is left as it is.
        """
        kept = [f"image_{number:04d}.nrrd" for number in range(len(images))]
        source = {"folder": SCENE, "images": kept, "series": "", "stamps": [_digest(image) for image in images]}
        known = self.out.done(name, source)
        if known is not None:
            self.out.forget_faults([name])
            return self.take(known)
        if self._has_result(name):
            return Row(name, FAULT, tuple(kept), fault=ANOTHER.format(name=name))

        def work() -> Row:
            return finish(self.out, name, source, images, segment, keep_images=True)

        return self.take(or_fault(self.out, name, kept, work))

    def fail(self, name: str, images: Sequence[str], said: str) -> Row:
        """A case that failed outside of its own work, as where its process died.

        Of the scene, nothing is written down where its name has a result: that may be another image's.
        """
        if self.batch.folder == SCENE and self._has_result(name):
            return Row(name, FAULT, tuple(images), fault=said)
        return self.take(self.out.fail(name, images, said))

    def _has_result(self, name: str) -> bool:
        return (self.out.results / name).exists()

    def take(self, row: Row) -> Row:
        """Takes a row into table and page."""
        self.rows[row.case] = row
        self._pages.add(row)
        return row

    def close(self) -> None:
        """Writes table and page, and lets other processes into the folder."""
        with self._held:
            try:
                self._pages.write()
            except OSError as error:
                raise FolderError(
                    f"All results are saved, but {TABLE} or {PAGE} could not be written ({error.strerror or error}). "
                    "Close them in other programs and start the batch again."
                ) from error

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _digest(image: sitk.Image) -> list[str]:
    """What tells an image from any other: its voxels and their place."""
    place = repr((image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()))
    return [hashlib.blake2b(np.ascontiguousarray(voxels_of(image)), digest_size=16).hexdigest(), place]
