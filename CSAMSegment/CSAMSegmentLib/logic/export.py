"""The table of structures as text: for the clipboard and as a CSV file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from csam.errors import InputError
from csam.image.files import replace_file
from csam.result import REGION, SLICES

from .corrections import edited, measure
from .result_tables import HIGH, LOW, MEAN, STRUCTURE, VOLUME
from .shown_result import ShownResult

HEADER = (
    *(STRUCTURE, VOLUME, "edited", "automatic volume (ml)", MEAN, LOW, HIGH, "expected dice", "model", "image"),
    "segmented",  # what of the image the figures are of
)
PARTS = {REGION: "region", SLICES: "some slices"}


def table_text(result: ShownResult, separator: str = ",") -> str:
    """A header and a line for each structure, as spreadsheets read it.

    The volume is that of the segment as it is now, whether a user has edited it or not; the mean and the interval
    belong to the automatic volume.
    """
    quality = None if result.is_empty else result.report().get("case_quality")
    segmented = PARTS.get(result.extent, "whole image")
    if result.extent in PARTS and quality is not None:  # in the column it would be compared with that of whole scans
        segmented, quality = f"{segmented}, expected Dice in it {quality:.4g}", None
    now = edited(result, measure(result))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(HEADER)
    image = result.volume.GetName() if result.volume else ""
    for entry in result.structures():
        was_edited = "yes" if entry.value in now else "no"
        automatic, *others = (f"{value:.4g}" for value in (entry.volume_ml, entry.mean_ml, entry.low_ml, entry.high_ml))
        volume = f"{now[entry.value]:.4g}" if entry.value in now else automatic
        expected = "" if quality is None else f"{quality:.4g}"
        writer.writerow([entry.name, volume, was_edited, automatic, *others, expected, result.model, image, segmented])
    return text.getvalue()


def write_csv(result: ShownResult, path: str | os.PathLike) -> None:
    """Write the table to a file, whole or not at all. Raises InputError when the disk is full or not writable."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(table_text(result), encoding="utf-8", newline="")
        replace_file(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"The table could not be written to {path}: {error.strerror or error}. Choose another place, or free room "
            "on the disk."
        ) from error
