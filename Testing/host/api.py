"""What Slicer's PythonQt offers, by class and name, as measured in the application (pythonqt_api.json)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

PROPERTY, METHOD, SIGNAL, ENUM, CLASS = "property", "method", "signal", "enum", "class"

UNLISTED = {"name": (PROPERTY, "objectName"), "exec_": (METHOD, "exec"), "raise_": (METHOD, "raise")}
"""Names that PythonQt resolves without listing them, as slicer.util itself relies on: the kind, the listed name."""

TYPES = {"bool": bool, "int": int, "float": float, "str": str, "tuple": "QStringList", "NoneType": "QVariant"}


@cache
def table() -> dict:
    return json.loads((Path(__file__).parent / "pythonqt_api.json").read_text(encoding="utf-8"))


@cache
def kinds(key: str) -> dict[str, str]:
    """Every name that an instance of a class has, with its kind; key as in the table, such as "qt.QSlider"."""
    entry = table()["classes"][key]
    found = dict(kinds(entry["base"])) if entry["base"] else {}
    for kind, names in entry.items():
        if kind != "base":
            found.update(dict.fromkeys(names.split(), kind.split(":")[0]))
    found.update({name: kind for name, (kind, listed) in UNLISTED.items() if listed in found})
    return found


@cache
def property_types(key: str) -> dict[str, str]:
    """The Qt properties of a class that its measured base does not have: name to type name."""
    entry = table()["classes"][key]
    return {
        name: kind.split(":")[1]
        for kind, names in entry.items()
        if kind.startswith(PROPERTY + ":")
        for name in names.split()
    }


def has(key: str) -> bool:
    return key in table()["classes"]


def names_of_module(module: str) -> list[str]:
    """The classes that were measured in ``qt``, ``ctk`` or ``slicer``, without their module."""
    prefix = module + "."
    return [key.removeprefix(prefix) for key in table()["classes"] if key.startswith(prefix) and "(" not in key]


def names_of_namespace() -> list[str]:
    """The names in ``qt.Qt``."""
    return table()["qt.Qt"].split()
