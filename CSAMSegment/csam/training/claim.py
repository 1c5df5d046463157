"""Whose a folder is: the training in it writes down what it is before it begins, and goes on with nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError
from .learning_curve import write_text
from .plan import Plan
from .preparing import Preparation

SPLITS = "splits_final.json"
"""The folds of a cross-validation, as nnU-Net writes and reads them; its folder has this and no split of its own."""


def check(prepared: Preparation, out: Path) -> None:
    """Raises InputError where the folder holds another training.

    Other patients would mean another split: the ones to validate on might have been trained on before.
    """
    if (out / SPLITS).exists():
        raise InputError(f"{out} holds a cross-validation. Choose another --out, or go on with --cross-validate.")
    for name, wanted in _facts(prepared).items():
        _check(out / name, wanted)


def claim(prepared: Preparation, out: Path) -> None:
    """Checks the folder and writes down what the training is."""
    check(prepared, out)
    out.mkdir(parents=True, exist_ok=True)
    for name, values in _facts(prepared).items():
        _write(out / name, values)
    write_text(out / "reasons.txt", "".join(f"{line}\n" for line in (*prepared.decisions, *prepared.notes)))


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keeps every other process from training in the folder; however the process ends, the system lets go of it.

    Raises InputError where another one is at it. A file system that has no locks is taken to have no second user.
    """
    lock = FileLock(out / "training.lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(f"Another process is training in {out}. Wait for its end, or choose another --out.") from None
    except NotImplementedError:
        pass
    try:
        yield
    finally:
        lock.release()


def claim_all(parts: Mapping[str, Preparation], splits: list[dict[str, list[str]]], out: Path) -> None:
    """Checks the folder of a cross-validation, and that of every part, and writes down its folds."""
    if (out / "split.json").exists():
        raise InputError(f"{out} holds a training that is no cross-validation. Choose another --out, or remove it.")
    _check(out / SPLITS, splits)
    for name, prepared in parts.items():
        check(prepared, out / name)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / SPLITS, splits)


def _facts(prepared: Preparation) -> dict[str, Any]:
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
        values = json.loads(path.read_text(encoding="utf-8"))
        return json.loads(json.dumps(asdict(Plan.from_json(values)))) if path.name == "plan.json" else values
    except (ValueError, AttributeError, TypeError, InputError):
        return None


def _write(path: Path, values: Any) -> None:
    write_text(path, json.dumps(values, indent=2) + "\n")
