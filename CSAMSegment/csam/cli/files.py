"""What the command line reads and where it may write, checked before the work."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from ..model.shipped import model_path

EXTRAS = {"monai": "monai", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""What training and measuring need beyond the engine: module, and what pip knows it by."""


def with_home(words: Sequence[str]) -> list[str]:
    """The words of a command line with the home folder for "~", which shells leave in "--out=~/results"."""
    parts = (word.partition("=") if word.startswith("--") else ("", "", word) for word in words)
    return [f"{option}{equals}{os.path.expanduser(value)}" for option, equals, value in parts]


def find_model(name: str):
    """The model of a folder or zip, of a training's folder, or a shipped one by its name."""
    from ..model import Model

    return Model.load(model_path(name))


def read_image(path: str, frame: int | None = None):
    """An image file, or one volume of a series. Raises InputError when it cannot be read."""
    from ..image import files, geometry

    image = files.read_image(path, note=lambda sentence: print(f"Note: {sentence}"))
    return image if frame is None else geometry.frame(image, frame)


def json_object(given: str | None) -> dict:
    """The object in a JSON file, or given itself as JSON; empty without any. Raises InputError when there is none."""
    from ..image import files

    try:
        if given and given.lstrip().startswith("{"):
            return json.loads(given)
        values = files.read_json(given) if given else {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{given:.200} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{given} holds {type(values).__name__}; an object with named fields was expected.")
    return values


def check_extras(modules: Sequence[str] = ()) -> None:
    """Raises InputError now, not after hours, where a library is missing: all that training and measuring need."""
    missing = missing_packages(modules or tuple(EXTRAS))
    if missing:
        raise InputError(f"{', '.join(missing)} must be installed first. Run: pip install {' '.join(missing)}")


def missing_packages(modules: Sequence[str] = ()) -> list[str]:
    """What pip has to install before some modules can be imported; by default all that training needs."""
    packages = {"torch": "torch", **EXTRAS}
    return [packages[module] for module in modules or packages if importlib.util.find_spec(module) is None]


def check_there(dataset: str, model: str | None) -> None:
    """Raises InputError for what a program on another computer names and this one does not have.

    A model of a mere name, without a folder, is one that ships.
    """
    named = [dataset, *([model] if model and re.search(r"[/\\]", model) else [])]
    missing = [path for path in named if not os.path.exists(path)]
    if missing:
        raise InputError(
            "\n".join(f"{path} is not on {platform.node()}. Copy it there, under the same path." for path in missing)
        )


def check_place(path: str) -> None:
    """Raises InputError now, not after the work, where no file of this name can be written."""
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; a file name was expected.")
    check_folder(path)


def check_folder(place: str | Path) -> None:
    """Raises InputError now, not after the work, where nothing can be written into a folder, or in a file's place."""
    folder = Path(place) if Path(place).is_dir() else Path(place).parent
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} for {Path(place).name}. Make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} cannot be written to. Choose another folder.")
