"""A result on disk: a folder with maps and report.json, written and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..image import files
from ..process.protocol import pack_result, unpack_result
from ..result import Result

MAPS = ("labels", "error_probability", "entropy", "mutual_information", "probabilities")
REPORT = "report.json"


def write_result(result: Result, out: Path, about: Mapping[str, Any]) -> None:
    """Writes maps and report.json into a folder. about: what the report tells beside the result."""
    (out / REPORT).unlink(missing_ok=True)  # tells that all of the others are there
    for name in MAPS:
        (out / f"{name}.nrrd").unlink(missing_ok=True)
    for name in reversed(MAPS):  # no labels without another map: whoever finds them alone takes them for a user's
        image, path = getattr(result, name), out / f"{name}.nrrd"
        if image is None:
            continue
        try:
            files.write_image(image, path, compress=True)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    (out / REPORT).write_text(json.dumps({**about, **describe(result)}, indent=2) + "\n")


def describe(result: Result) -> dict[str, Any]:
    """A result without its images, as JSON has it."""
    return pack_result(result)[0]


def read_result(folder: Path) -> Result:
    """The result that ``write_result`` has written. Raises InputError where it is not whole."""
    try:
        report = files.read_json(folder / REPORT)
        images = {name: files.read_image(folder / f"{name}.nrrd") for name in MAPS[:-1]}
        probabilities = folder / f"{MAPS[-1]}.nrrd"
        images[MAPS[-1]] = files.read_image(probabilities) if probabilities.is_file() else None
        known = Result.__dataclass_fields__
        return unpack_result({name: value for name, value in report.items() if name in known}, images)
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error).rstrip(".")
        raise InputError(f"The result in {folder} cannot be read: {reason}. Segment the case again.") from error
