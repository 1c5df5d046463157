"""Which case of a batch to draw next: the one from whose correction a model has most to learn.

Example:
    >>> next_case(BatchFolder(Path("results")).rows(), collection.fingerprints())  # doctest: +SKIP
    'scan17'
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from .row import DONE, Row


def worth(row: Row) -> float:
    """What drawing a case would bring, 0 to 1: the Dice that the model is expected to lack in it.

    A case in which nothing was found is worth most: either the model misses all of it, or learns that nothing is there.
    """
    return 1.0 if row.expected_dice is None else 1.0 - row.expected_dice


def worth_drawing(
    rows: Iterable[Row], kept: Mapping[str, str] | None = None, opened: Collection[str] = ()
) -> list[Row]:
    """The cases that are done and not yet drawn, the one worth most in front.

    kept: by case of the data set, the fingerprint of its images: no image is drawn twice, whatever its name. opened:
    names of cases that were looked at.
    """
    known = {*(kept or {}).values()}
    left = [row for row in rows if row.state == DONE and row.case not in opened and row.fingerprint not in known]
    return sorted(left, key=lambda row: (-worth(row), row.case.casefold(), row.case))


def next_case(rows: Iterable[Row], kept: Mapping[str, str] | None = None, opened: Collection[str] = ()) -> str | None:
    """The name of the case to draw next; None where all are drawn or were opened."""
    left = worth_drawing(rows, kept, opened)
    return left[0].case if left else None
