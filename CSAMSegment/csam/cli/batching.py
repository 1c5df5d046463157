"""csam segment FOLDER: every case of a folder. csam cohort: what batches have found, summed up."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from ..batch.cases import find_cases
from ..batch.cohort import in_csv, in_text, summed_up
from ..batch.folder import BatchFolder
from ..batch.pages import PAGE, TABLE, Pages
from ..batch.row import DONE, FAULT, Row, worst_first
from ..batch.run import Batch, one_by_one
from ..errors import InputError
from ..image.files import write_text
from ..result import Options
from .files import SHIPPED, check_place, find_model


def run_batch(options: argparse.Namespace, run: Options) -> int:
    """Segments the cases of a folder that are not done yet; 0 also where some of them failed, which the table names."""
    if options.png:
        raise InputError(f"--png is for one image; the page of a folder is {PAGE} in --out.")
    model = find_model(options.model)
    folder, out = Path(options.images[0]).resolve(), BatchFolder(Path(options.out).resolve())
    found = find_cases(folder, len(model.channels))
    with out.locked():
        out.begin(folder, model, run, options.frame)
        shipped = (SHIPPED / options.model / "model.json").is_file()
        name = options.model if shipped else str(Path(options.model).resolve())
        batch = Batch(str(folder), str(out.path), name, model.sha256, run, len(model.channels), options.frame)
        out.forget_faults({case.name for case in found.cases})
        rows = {row.case: row for row in out.rows()}
        for case, said in found.faults:
            rows[case] = out.fail(case, (), said)
            print(f"{case}: {said}")
        pages = Pages(out, rows.values())
        done = {case for case, row in rows.items() if row.state == DONE}
        cases = [*found.cases]
        waiting = sum(case.name not in done for case in cases)
        if waiting < len(cases):
            print(f"{len(cases) - waiting} of {len(cases)} cases are done already.")
        if options.scheduler:
            from ..batch.spread import over_workers

            coming = over_workers(batch, cases, options.scheduler)
        else:
            coming = one_by_one(batch, cases, model)
        try:
            for row in _told(coming, len(cases), done):
                rows[row.case] = row
                pages.add(row)
        finally:
            pages.write()
    print(_summary(rows.values()))
    print(f"Written to {out.path}: {TABLE}, {PAGE}, and a folder for each case in cases.")
    return 0


def _told(coming: Iterator[Row], count: int, done: set[str]) -> Iterator[Row]:
    """The rows, each said in a line as it comes, but for those of cases that were done before."""
    for number, row in enumerate(coming, 1):
        if row.case not in done or row.state == FAULT:
            print(f"{number} of {count}, {row.case}: {_in_a_line(row)}")
        yield row


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
    lines = [f"{len(done)} results, {len(faults)} faults."]
    if done:
        first = (
            f"{row.case} ({'nothing found' if row.expected_dice is None else f'{row.expected_dice:.2f}'})"
            for row in done[:3]
        )
        lines.append(f"Look first at (expected Dice): {', '.join(first)}")
    return "\n".join([*lines, *(f"Fault of {row.case}: {row.fault}" for row in faults)])


def run_cohort(options: argparse.Namespace) -> None:
    if options.csv:
        check_place(options.csv)
    rows = []
    for name in options.folders:
        found = BatchFolder(Path(name)).rows()
        rows += [replace(row, case=f"{name}/{row.case}") for row in found] if len(options.folders) > 1 else found
    cohort = summed_up(rows)
    print(in_text(cohort))
    if options.csv:
        write_text(Path(options.csv), in_csv(cohort))
