"""The table of structures as text: for the clipboard and as a CSV file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from csam.errors import InputError

from .results import ShownResult
from .tables import HIGH, LOW, MEAN, STRUCTURE, VOLUME

HEADER = (STRUCTURE, VOLUME, MEAN, LOW, HIGH, "case quality", "model", "image")


def table_text(result: ShownResult, separator: str = ",") -> str:
    """A header and a line for each structure, as spreadsheets read it."""
    table, report = result.volumes.GetTable(), result.report()
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(HEADER)
    image = result.volume.GetName() if result.volume else ""
    for row in range(table.GetNumberOfRows()):
        figures = [f"{table.GetValueByName(row, name).ToDouble():.4g}" for name in (VOLUME, MEAN, LOW, HIGH)]
        name = table.GetValueByName(row, STRUCTURE).ToString()
        quality = report.get("case_quality")
        writer.writerow([name, *figures, "" if quality is None else f"{quality:.4g}", result.model, image])
    return text.getvalue()


def write_csv(result: ShownResult, path: str | os.PathLike) -> None:
    """Write the table to a file, whole or not at all. Raises InputError when the disk is full or not writable."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(table_text(result), encoding="utf-8", newline="")
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"The table could not be written to {path}: {error.strerror or error}. Choose another place, or free room "
            "on the disk."
        ) from error
