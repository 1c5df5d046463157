"""csam segment FOLDER: every case of a folder. csam cohort: what batches have found, summed up."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ..batch.cases import Case
from ..batch.cohort import in_csv, in_text, summed_up
from ..batch.folder import BatchFolder
from ..batch.pages import PAGE, TABLE
from ..batch.row import DONE, FAULT, Row, counted, worst_first
from ..batch.run import Batch, one_by_one
from ..batch.session import Session
from ..errors import InputError
from ..image.files import write_text
from ..model import Model
from ..model.shipped import SHIPPED
from ..result import Options
from .files import check_place, find_model


def run_batch(options: argparse.Namespace, run: Options) -> int:
    """Segments the cases of a folder that are not done yet; 0 also where some of them failed, which the table names."""
    if options.png:
        raise InputError(f"--png works for one image only. For a folder, look at {PAGE} in the folder of --out.")
    if options.given:
        raise InputError("--given works for one image or series only: the cases of a folder are of different patients.")
    model = find_model(options.model)
    shipped = (SHIPPED / options.model / "model.json").is_file()
    folder, out, name = (str(Path(one).resolve()) for one in (options.images[0], options.out, options.model))
    batch = Batch(
        folder, out, options.model if shipped else name, model.digest, run, len(model.channels), options.frame
    )
    with Session(batch, model) as session:
        found = session.find()
        waiting = {*session.waiting(found)}
        cases, known = [case for case in found if case.name in waiting], len(found) - len(waiting)
        if known:
            print(f"{known} of {len(found)} cases are done already.")
        for number, row in enumerate(_coming(batch, cases, model, options.scheduler), known + 1):
            session.take(row)
            print(f"{number} of {len(found)}, {row.case}: {_in_a_line(row)}")
    print(_summary(session.rows.values()))
    print(f"Written to {out}: {TABLE}, {PAGE}, and the folder cases with a folder for each case.")
    return 0


def _coming(batch: Batch, cases: Sequence[Case], model: Model, scheduler: str | None) -> Iterator[Row]:
    if not scheduler:
        return one_by_one(batch, cases, model)
    from ..batch.spread import over_workers

    return over_workers(batch, cases, scheduler)


def _in_a_line(row: Row) -> str:
    if row.state == FAULT:
        return row.fault
    volumes = ", ".join(f"{s.name} {s.volume_ml:.1f} ml ({s.low_ml:.1f} to {s.high_ml:.1f})" for s in row.structures)
    dice = "nothing was found" if row.expected_dice is None else f"expected Dice {row.expected_dice:.2f}"
    warnings = f", {len(row.warnings)} warning{'s' * (len(row.warnings) != 1)}" if row.warnings else ""
    return f"{volumes}; {dice}{warnings}"


def _summary(rows: Iterable[Row]) -> str:
    rows = worst_first(rows)
    done, faults = ([row for row in rows if row.state == state] for state in (DONE, FAULT))
    lines = [f"{counted(rows)}."]
    if done:
        first = (
            f"{row.case} ({'nothing found' if row.expected_dice is None else f'{row.expected_dice:.2f}'})"
            for row in done[:3]
        )
        lines.append(f"Look at these cases first (expected Dice): {', '.join(first)}")
    return "\n".join([*lines, *(f"{row.case} failed: {row.fault}" for row in faults)])


def run_cohort(options: argparse.Namespace) -> None:
    if options.csv:
        check_place(options.csv)
    rows = []
    for name in options.folders:
        several = f"{name}/" if len(options.folders) > 1 else ""
        rows += [replace(row, case=f"{several}{row.case}") for row in BatchFolder(Path(name)).rows()]
    cohort = summed_up(rows)
    print(in_text(cohort))
    if options.csv:
        write_text(Path(options.csv), in_csv(cohort))
