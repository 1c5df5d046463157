"""The user's own models: adding one from a file, removing it again. The models that ship stay as they are."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from csam.errors import ModelError
from csam.image.files import replace_file

from .model_library import FOLDER_SETTING, ModelLibrary
from .worker_launcher import application, read_setting


def user_folder() -> Path:
    """The user's model folder; the first call chooses one beside Slicer's settings and remembers it."""
    chosen = read_setting(FOLDER_SETTING).strip()
    if chosen:
        return Path(chosen).expanduser()
    settings = application().userSettings()
    folder = Path(settings.fileName()).parent / "CSAMSegment" / "Models"
    settings.setValue(FOLDER_SETTING, str(folder))
    return folder


def is_users(path: Path) -> bool:
    """Whether a model is one that the user has added."""
    folder = read_setting(FOLDER_SETTING).strip()
    return bool(folder) and Path(path).parent == Path(folder).expanduser()


def add_model(source: str | os.PathLike, library: ModelLibrary):
    """Check a model and copy it into the user's folder; the model, as read there.

    source: a zip, a model's folder, or its model.json. One of the same name that the user added before is replaced.
    Raises ModelError when it is no whole model, when a model that ships has its name, or when it cannot be copied.
    """
    source = Path(source)
    model = library.load(source.parent if source.name == "model.json" else source)
    found = hashlib.sha256(model.weights.read()).hexdigest()
    if found != model.sha256:
        raise ModelError(
            f'The weights of "{model.name}" are damaged: their SHA-256 is {found[:12]}…, model.json says '
            f"{model.sha256[:12]}…. Get the model again."
        )
    for path, other in library.models().items():
        if other.name == model.name and not is_users(path):
            raise ModelError(
                f'A model that comes with the extension has the name "{model.name}" already. Give yours another name '
                "in its model.json."
            )
    folder = user_folder()
    target = _target(folder, model.name, library)
    part = target.with_name(f"{target.stem}.part.zip")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.save(part)
        replace_file(part, target)
    except OSError as error:
        raise ModelError(
            f"The model could not be copied to {folder}: {error.strerror or error}. Make room on the disk, or choose "
            f"another folder (setting {FOLDER_SETTING})."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return library.load(target)


def remove_model(path: Path) -> None:
    """Delete one of the user's models. Raises ModelError for one that ships, or that cannot be deleted."""
    if not is_users(path):
        raise ModelError("This model comes with the extension. You can remove only models that you have added.")
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"The model {path} could not be deleted: {error.strerror or error}.") from error


def _target(folder: Path, name: str, library: ModelLibrary) -> Path:
    """Where a model goes: to that of its name, or to a file that no other model has; a damaged one may be replaced."""
    stem, number = re.sub(r"[^A-Za-z0-9_.-]", "-", name), 1
    target = folder / f"{stem}.zip"
    while _name_in(target, library) not in (None, name):
        number += 1
        target = folder / f"{stem}-{number}.zip"
    return target


def _name_in(path: Path, library: ModelLibrary) -> str | None:
    try:
        return library.load(path).name if path.exists() else None
    except ModelError:
        return None
