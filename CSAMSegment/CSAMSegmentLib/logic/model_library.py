"""The models there are: those that ship with the module and those that the user has added. Without torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from csam.errors import ModelError
from csam.model.shipped import SHIPPED

from .worker_launcher import read_setting

FOLDER_SETTING = "CSAMSegment/ModelFolder"


def model_folders() -> list[Path]:
    """Where models are looked for: the module's own folder, then the user's, if the setting names one."""
    user = read_setting(FOLDER_SETTING)
    return [SHIPPED, *([Path(user).expanduser()] if user.strip() else [])]


def worker_name(path: str | os.PathLike) -> str:
    """What a worker or a training is told of a model: the name of one that ships, which every csam knows; of any other
    its path, which on another computer has to be the same."""
    return Path(path).name if Path(path).parent == SHIPPED else str(path)


class ModelLibrary:
    """Finds models by name or path and reads their ``model.json`` once, for as long as the file stays the same.

    folders: gives the folders to look in. load: reads a model from a path; None for ``csam.model.Model.load``.
    """

    def __init__(
        self, folders: Callable[[], Sequence[Path]] = model_folders, load: Callable[[Path], Any] | None = None
    ):
        self._folders = folders
        self._load = load
        self._known: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._left_out: set[str] = set()

    def paths(self) -> list[Path]:
        """The model folders and zips that there are, readable or not, those that ship first.

        A folder that may not be looked into is left out and said in the log.
        """
        entries = [entry for folder in self._folders() for entry in self._look(_entries, folder)]
        return [entry for entry in entries if self._look(_is_model, entry)]

    def stamps(self) -> dict[Path, tuple[int, int] | None]:
        """The paths with the time and size of their files: equal to earlier ones as long as nothing has changed."""
        return {path: _stamp(path) for path in self.paths()}

    def models(self) -> dict[Path, Any]:
        """The models by path. One that cannot be read is left out and said in the log."""
        found = {}
        for path in self.paths():
            try:
                found[path] = self.load(path)
            except ModelError as error:
                logging.warning("A model is left out of the list: %s", error)
        return found

    def _look(self, function: Callable[[Path], Any], path: Path) -> Any:
        """What a function says of a path; an empty tuple where that may not be looked into, said once in the log."""
        try:
            return function(path)
        except OSError as error:
            if str(error) not in self._left_out:
                logging.warning("A model folder is left out: %s", error)
            self._left_out.add(str(error))
            return ()

    def find(self, model: str | os.PathLike) -> tuple[Path, Any]:
        """The path and the model for a name ("cardiac-lv"), a folder or a zip. Raises ModelError when there is none."""
        models = self.models()
        for path, found in models.items():
            if str(model) in (found.name, path.name):
                return path, found
        path = Path(model).expanduser()
        if path.exists():
            return path.resolve(), self.load(path.resolve())
        names = ", ".join(found.name for found in models.values()) or "none"
        raise ModelError(f'There is no model "{model}". Known are: {names}. Give one of them, or the path of a model.')

    def load(self, path: Path) -> Any:
        """The model of a folder or zip. Raises ModelError."""
        stamp = _stamp(path)
        known, model = self._known.get(path, (None, None))
        if known is None or known != stamp:
            try:
                model = (self._load or _load_model)(path)
            except OSError as error:
                raise ModelError(f"The model {path} cannot be read: {error.strerror or error}.") from error
            self._known[path] = (stamp, model)
        return model


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_model(entry: Path) -> bool:
    return entry.suffix == ".zip" or (entry / "model.json").is_file()


def _load_model(path: Path):
    from csam.model import Model

    return Model.load(path)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = (path / "model.json" if path.is_dir() else path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
