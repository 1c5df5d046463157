"""Whose a folder is: the training in it writes down what it is before it begins, and goes on with nothing else.

Step: prepare.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..image.files import read_json, write_text
from ..image.lock import lock
from .plan import Plan
from .prepare import Preparation

SPLITS = "splits_final.json"
"""The folds of a cross-validation, as nnU-Net writes and reads them; its folder has this and no split of its own."""


def check_folder(prepared: Preparation, out: Path) -> None:
    """Raises InputError where the folder holds another training.

    Other patients would mean another split: the ones to validate on might have been trained on before.
    """
    if (out / SPLITS).exists():
        raise InputError(f"{out} holds a cross-validation. Choose another --out, or go on with --cross-validate.")
    for name, wanted in _description(prepared).items():
        _check(out / name, wanted)


@contextmanager
def reserved_for(prepared: Preparation, out: Path) -> Iterator[None]:
    """Checks the folder, keeps every other process out of it and writes down what the training is."""
    check_folder(prepared, out)
    with locked(out):
        check_folder(prepared, out)  # another may have begun meanwhile
        for name, values in _description(prepared).items():
            _write(out / name, values)
        write_text(out / "reasons.txt", "".join(f"{line}\n" for line in (*prepared.decisions, *prepared.notes)))
        yield


def locked(out: Path) -> AbstractContextManager[None]:
    """Keeps every other process from training in the folder. Raises InputError where another one is at it."""
    out.mkdir(parents=True, exist_ok=True)
    return lock(
        out / "training.lock", f"Another process is training in {out}. Wait for its end, or choose another --out."
    )


def begin_cross_validation(parts: Mapping[str, Preparation], splits: list[dict[str, list[str]]], out: Path) -> None:
    """Checks the folder of a cross-validation, and that of every part, and writes down its folds."""
    if (out / "split.json").exists():
        raise InputError(f"{out} holds a training that is no cross-validation. Choose another --out, or remove it.")
    _check(out / SPLITS, splits)
    for name, prepared in parts.items():
        check_folder(prepared, out / name)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / SPLITS, splits)


def _description(prepared: Preparation) -> dict[str, Any]:
    start = prepared.start
    return {
        "plan.json": asdict(prepared.plan),
        "split.json": prepared.split,
        "sources.json": {
            "data": prepared.data.name,
            "further": [other.name for other in prepared.further],
            "started_from": start and {"name": start.name, "sha256": start.sha256},
        },
    }


def _check(path: Path, wanted: Any) -> None:
    if path.exists() and _read(path) != json.loads(json.dumps(wanted)):
        raise InputError(
            f"{path.parent} holds another training (its {path.name} differs). Choose another --out, or remove it."
        )


def _read(path: Path) -> Any:
    """What was written down; of a plan with the fields that it did not have then. None for what cannot be read."""
    try:
        values = read_json(path)
        return json.loads(json.dumps(asdict(Plan.from_json(values)))) if path.name == "plan.json" else values
    except (ValueError, AttributeError, TypeError, InputError):
        return None


def _write(path: Path, values: Any) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n")
