"""A training as somebody asked for it, kept in its folder: what a later day needs to go on with it. Without torch.

Example:
    >>> request = TrainingRequest("/data/hearts", minutes=15)
    >>> command = [python, "-m", "csam", *train_arguments(request, folder)]  # doctest: +SKIP

Step: train.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..image.files import read_json
from .learning_curve import write_log, write_text
from .time_budget import SETTLED

CALIBRATING = "calibrating"
"""The stage of a training's progress after its last step."""
CHECKPOINT, LOG = "checkpoint.pt", "log.csv"
REQUEST, CARD, PLAN = "request.json", "card.json", "given_plan.json"
"""The files of a training's folder that say what was asked for; the last two are what ``csam train`` reads."""

ELSEWHERE = "CSAM-trainings"
"""Where another computer keeps its trainings: in the folder in which its commands begin, the user's home over ssh."""


@dataclass(frozen=True)
class TrainingRequest:
    """dataset: its folder. start: folder, zip or name of the model to start from, empty for none.

    minutes: the time for all of it, 0 for until it stops improving. card: of the model to be. plan: fields that are not
    left to the automatic plan. host: the computer that trains and has dataset and start under these paths; empty for
    this one. digest: there, that of the model to start from.
    """

    dataset: str
    start: str = ""
    minutes: float = 0.0
    card: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
    digest: str = ""


@dataclass(frozen=True)
class TrainingState:
    """How far the training of a folder is. step: of the last row of its log, 0 without one. steps: of the whole.

    rows: of the log, with numbers. finished: whether its model is there.
    """

    step: int
    steps: int
    rows: tuple[Mapping[str, Any], ...]
    finished: bool


def train_arguments(request: TrainingRequest, out: Path, check: bool = False) -> list[str]:
    """What follows ``python -m csam``. check: say the plan and every fault, train nothing.

    On another computer the training has a folder of its own, named as ``out`` is, and needs no file of this one.
    """
    values = {**request.plan, **({"minutes": request.minutes} if request.minutes else {})}
    place = f"{ELSEWHERE}/{out.name}" if request.host else str(out)
    words = ["train", request.dataset, "--out", place, "--progress", "json"]
    words += ["--send-model"] if request.host else []
    words += ["--fine-tune", request.start] if request.start else []
    words += ["--digest", request.digest] if request.digest else []
    if check:
        for name, value in values.items():
            given = value if isinstance(value, list | tuple) else [value]
            flag = f"--{name.replace('_', '-')}"
            words += [flag if value else f"--no-{flag[2:]}"] if isinstance(value, bool) else [flag, *map(str, given)]
        return [*words, "--dry-run"]
    plan, card = str(out / PLAN), str(out / CARD)
    if request.host:
        plan, card = json.dumps(values), json.dumps(dict(request.card))
    return [*words, "--plan", plan, "--card", card]


def write_request(out: Path, request: TrainingRequest) -> None:
    """Begins the folder of a training. Raises InputError where it cannot be written."""
    values = {**request.plan, **({"minutes": request.minutes} if request.minutes else {})}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in ((CARD, dict(request.card)), (PLAN, values), (REQUEST, asdict(request))):
            write_text(out / name, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise InputError(f"The training cannot be started in {out}: {error.strerror or error}.") from error


def read_request(out: Path) -> TrainingRequest | None:
    """What was asked for in a folder; None where that is not to be read."""
    try:
        values = read_json(out / REQUEST)
        return TrainingRequest(**values)
    except (OSError, ValueError, TypeError):
        return None


def state_of(out: Path) -> TrainingState:
    """How far a training is, by its files; they may be behind its last checkpoint by some steps."""
    rows = read_log(out / LOG)
    finished = (out / "model" / "model.json").is_file()
    return TrainingState(int(rows[-1]["step"]) if rows else 0, steps_of(out), tuple(rows), finished)


def steps_of(out: Path) -> int:
    """The steps of the whole training as its folder has them, 0 where it does not say."""
    steps = 0
    for name in ("plan.json", SETTLED):
        try:
            steps = int(read_json(out / name)["steps"])
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return steps


def write_state(out: Path, rows: Sequence[Mapping[str, Any]], steps: int) -> None:
    """What ``state_of`` reads, of a training on another computer. Raises OSError."""
    write_log([{name: row[name] for name in ("step", "loss", "validation_dice")} for row in rows], out / LOG)
    write_text(out / SETTLED, json.dumps({"steps": steps}) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log.csv: step, loss and validation_dice, None where nobody was validated."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {
                    "step": int(row["step"]),
                    "loss": float(row["loss"]),
                    "validation_dice": float(row["validation_dice"]) if row["validation_dice"] else None,
                }
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def unfinished(folder: Path) -> list[Path]:
    """The trainings below a folder that were asked for and have no model yet, the latest first."""
    if not folder.is_dir():
        return []
    begun = [out for out in folder.iterdir() if not (out / "model" / "model.json").is_file()]
    found = [out for out in begun if read_request(out) is not None]
    return sorted(found, key=lambda out: (out / REQUEST).stat().st_mtime, reverse=True)
