"""What one or several batches have found, summed up: volumes, expected Dice, warnings and faults."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .row import DONE, FAULT, Row, counted

NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?")
FIGURES = ("mean", "standard deviation", "lowest", "5 %", "median", "95 %", "highest")
WIDTHS = {name: max(9, len(name) + 2) for name in FIGURES}


@dataclass(frozen=True)
class Distribution:
    """One figure over the cases. figures: in the order of FIGURES; of a single case the deviation is 0."""

    what: str
    cases: int
    figures: tuple[float, ...]


@dataclass(frozen=True)
class Cohort:
    """All of them together.

    counts: of results and faults, in words. empty: cases without any structure. distributions: of each structure's
    volume in ml, and of the expected Dice. warnings: sentences with "…" for their numbers, and how many cases have
    them, most frequent first. faults: case and sentence.
    """

    counts: str
    empty: tuple[str, ...]
    distributions: tuple[Distribution, ...]
    warnings: tuple[tuple[str, int], ...]
    faults: tuple[tuple[str, str], ...]


def summed_up(rows: Iterable[Row]) -> Cohort:
    """The cohort of these rows."""
    rows = list(rows)
    done = [row for row in rows if row.state == DONE]
    volumes: dict[str, list[float]] = {}
    for row in done:
        for structure in row.structures:
            volumes.setdefault(structure.name, []).append(structure.volume_ml)
    dice = [row.expected_dice for row in done if row.expected_dice is not None]
    distributions = [_distribution(f"{name}, ml", values) for name, values in volumes.items()]
    distributions += [_distribution("expected Dice", dice)] if dice else []
    kinds = Counter(kind for row in done for kind in {NUMBER.sub("…", warning) for warning in row.warnings})
    return Cohort(
        counted(rows),
        tuple(row.case for row in done if row.expected_dice is None),
        tuple(distributions),
        tuple(sorted(kinds.items(), key=lambda one: (-one[1], one[0]))),
        tuple((row.case, row.fault) for row in rows if row.state == FAULT),
    )


def _distribution(what: str, values: Sequence[float]) -> Distribution:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    low, median, high = np.percentile(values, [5, 50, 95]).tolist()
    return Distribution(
        what, len(values), (float(np.mean(values)), deviation, min(values), low, median, high, max(values))
    )


def in_text(cohort: Cohort) -> str:
    """The cohort as lines for a terminal."""
    width = max([len(one.what) for one in cohort.distributions], default=0)
    lines = [cohort.counts]
    if cohort.distributions:
        head = "".join(f"{name:>{WIDTHS[name]}}" for name in FIGURES)
        lines += ["", f"{'':{width}}  cases{head}"]
    for one in cohort.distributions:
        digits = 3 if "Dice" in one.what else 1
        cells = (f"{value:{WIDTHS[name]}.{digits}f}" for name, value in zip(FIGURES, one.figures, strict=True))
        lines.append(f"{one.what:{width}}  {one.cases:5d}" + "".join(cells))
    if cohort.empty:
        lines += ["", f"Cases in which nothing was found ({len(cohort.empty)}): {', '.join(cohort.empty)}"]
    if cohort.warnings:
        lines += [
            "",
            "Warnings, with the number of cases:",
            *(f"{count:5d}  {said}" for said, count in cohort.warnings),
        ]
    if cohort.faults:
        lines += ["", "Faults:", *(f"  {case}: {said}" for case, said in cohort.faults)]
    return "\n".join(lines)


def in_csv(cohort: Cohort) -> str:
    """The same as CSV: distributions, then warnings and faults."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "what", "cases", *FIGURES])
    for one in cohort.distributions:
        writer.writerow(["distribution", one.what, one.cases, *(f"{value:.4g}" for value in one.figures)])
    writer.writerows(["nothing found", case, 1] for case in cohort.empty)
    writer.writerows(["warning", said, count] for said, count in cohort.warnings)
    writer.writerows(["fault", f"{case}: {said}", 1] for case, said in cohort.faults)
    return text.getvalue()
