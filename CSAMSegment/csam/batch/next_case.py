"""Which case of a batch to draw next, to teach a model.

Poorest first seems best, as a model has most to learn from what it cannot do yet. Measured, it was not better than a
random order (docs, measurements.md). So a random order is the default, the same on every computer.

Example:
    >>> next_case(BatchFolder(Path("results")).rows(), collection.fingerprints())  # doctest: +SKIP
    'scan17'
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from .row import DONE, Row


def worth(row: Row) -> float:
    """What drawing a case would bring, 0 to 1: the Dice that the model is expected to lack in it.

    A case in which nothing was found is worth most: either the model misses all of it, or learns that nothing is there.
    """
    return 1.0 if row.expected_dice is None else 1.0 - row.expected_dice


def worth_drawing(
    rows: Iterable[Row], kept: Mapping[str, str] | None = None, opened: Collection[str] = (), poorest: bool = False
) -> list[Row]:
    """The cases that are done and not yet drawn, the one to draw next in front.

    kept: by case of the data set, the fingerprint of its images: no image is drawn twice, whatever its name. opened:
    names of cases that were looked at. poorest: the one worth most first, instead of a random order.
    """
    known = {*(kept or {}).values()}
    left = [row for row in rows if row.state == DONE and row.case not in opened and row.fingerprint not in known]
    return sorted(left, key=lambda row: (-worth(row) if poorest else _lot(row.case), row.case.casefold(), row.case))


def _lot(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def next_case(
    rows: Iterable[Row], kept: Mapping[str, str] | None = None, opened: Collection[str] = (), poorest: bool = False
) -> str | None:
    """The name of the case to draw next; None where all are drawn or were opened."""
    left = worth_drawing(rows, kept, opened, poorest)
    return left[0].case if left else None
