"""A text file, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from csam.errors import InputError
from csam.image.files import replace_file


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text in UTF-8. Raises InputError when the disk is full or not writable; the file is then as it was."""
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8", newline="")
        replace_file(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f"{path} could not be written: {error.strerror or error}. Choose another folder, or make room on the disk."
        ) from error
