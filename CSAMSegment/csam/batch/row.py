"""What is known of a case of a batch: a line of its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..result import WHOLE, StructureVolume

DONE, FAULT, WAITING, RUNNING = "done", "fault", "waiting", "running"
ORDER = {FAULT: 0, DONE: 1, RUNNING: 2, WAITING: 3}


@dataclass(frozen=True)
class Row:
    """state: done, fault, or of a batch under way waiting or running. fault: the sentence of a case that failed.

    case_quality, case_rank, extent, warnings, structures: as in ``csam.result.Result``. first_slices: indices from 0 of
    those to look at first. seconds: that its run took. model: name of the model. fingerprint: of the images
    (``csam.image.fingerprint``), empty where it was not kept.
    """

    case: str
    state: str = WAITING
    images: tuple[str, ...] = ()
    structures: tuple[StructureVolume, ...] = ()
    case_quality: float | None = None
    case_rank: float | None = None
    extent: str = WHOLE
    warnings: tuple[str, ...] = ()
    first_slices: tuple[int, ...] = ()
    fault: str = ""
    seconds: float | None = None
    model: str = ""
    fingerprint: str = ""

    @property
    def expected_dice(self) -> float | None:
        """The expected Dice; None where nothing was found, and of a case that is not done."""
        found = any(structure.volume_ml for structure in self.structures)
        return self.case_quality if self.state == DONE and found else None


def row_of(case: str, report: Mapping[str, Any]) -> Row:
    """The row of a case that is done, from its report.json. Raises KeyError, TypeError for what is no such report."""
    slices = sorted(report["slices"], key=lambda one: one["rank"])[:3]
    provenance = report["provenance"]
    structures = tuple(StructureVolume(**one) for one in report["structures"])
    numbers = report["case_quality"], *(n for one in structures for n in (one.volume_ml, one.low_ml, one.high_ml))
    if not all(isinstance(one, float | int) for one in numbers):
        raise TypeError("a figure is no number")
    if not all(isinstance(one, str) for one in report["warnings"]):
        raise TypeError("a warning is no text")
    return Row(
        case,
        DONE,
        tuple(report["source"]["images"]),
        structures,
        report["case_quality"],
        report["case_rank"],
        report["extent"],
        tuple(report["warnings"]),
        tuple(one["index"] for one in slices),
        seconds=provenance.get("seconds"),
        model=provenance["model"]["name"],
        fingerprint=str(report.get("fingerprint", "")),
    )


def unpack_row(fields: Mapping[str, Any]) -> Row:
    """The row that ``dataclasses.asdict`` and JSON made plain."""
    lists = {name: tuple(fields[name]) for name in ("images", "warnings", "first_slices")}
    return Row(**{**fields, **lists, "structures": tuple(StructureVolume(**one) for one in fields["structures"])})


def counted(rows: Iterable[Row]) -> str:
    """How many results and faults there are, in words."""
    states = [row.state for row in rows]
    numbers = ((states.count(state), word) for state, word in ((DONE, "result"), (FAULT, "fault")))
    return ", ".join(f"{number} {word}{'' if number == 1 else 's'}" for number, word in numbers)


def place_of(row: Row) -> tuple:
    """What orders rows, the name of the case last: faults, results in which nothing was found, results by their
    expected Dice, then what is not done."""
    dice = row.expected_dice
    return ORDER[row.state], -1.0 if dice is None else dice, row.case.casefold(), row.case


def worst_first(rows: Iterable[Row]) -> list[Row]:
    """The rows in the order of ``place_of``."""
    return sorted(rows, key=place_of)
