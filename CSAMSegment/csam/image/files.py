"""Files at one place: images in and out, JSON of any editor, and a file that takes another's place.

Example:
    >>> image = read_image("cine.nii.gz", note=print)                    # doctest: +SKIP
"""

from __future__ import annotations

import json
import locale
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from . import nifti
from .file_checks import MAGIC, fault_of

WINDOWS = os.name == "nt"
PATIENCE = 5.0
"""Seconds that a file is waited for which a virus scanner or an indexer has opened."""
UNNOTICED = 0.01
"""Of a voxel: what lies no further off is taken to lie where it should."""
LEANING = 1.0
"""Degrees that the axes of a NIfTI file may miss a right angle by."""
PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows gives no file and no folder."""
_PERMITTING = Lock()


def read_header(path: str | Path) -> dict[str, str]:
    """What an image's file tells beside its voxels; empty where it cannot be read, which ``read_image`` tells."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return {}
    return {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}


def read_image(path: str | Path, note: Callable[[str], None] = lambda sentence: None) -> sitk.Image:
    """An image file; a sequence of volumes, as Slicer writes it, has four dimensions.

    note: is told in a sentence where the image is not quite as the file has it. Raises InputError for what is missing,
    cut short, or cannot be read.
    """
    path = _is_text(path)
    if not path.exists():
        raise InputError(f"There is no file {path}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; an image file was expected. Convert a DICOM series to one volume first.")
    try:
        fault = fault_of(path)
        image = None if fault else read_unchecked(path)
    except RuntimeError as error:
        axes = _axes_of(path) if "orthonormal" in str(error) else None
        if axes is None:
            raise InputError(f"{path} cannot be read as an image: {_reason(error)}{_letters(path)}") from error
        return _read_leaning(path, axes, note)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    if fault:
        raise InputError(f"{fault}.")
    return _series(image)


def write_image(image: sitk.Image, path: str | Path, compress: bool = False, quality: int = 0) -> None:
    """Writes an image file. quality: of a JPEG file, 1 to 100. Raises OSError in words when it cannot be."""
    packed = {"useCompression": True} if compress or quality else {}
    try:
        with opening(_is_text(path)):
            sitk.WriteImage(image, str(path), **packed, **({"compressionLevel": quality} if quality else {}))
    except RuntimeError as error:
        raise OSError(
            f"{path} could not be written. If the disk is full, make room on it, or choose another.{_letters(path)}"
        ) from error


def check_writable(folder: str | Path) -> None:
    """Raises InputError now, not after the work, where no image can be written into a folder: one voxel is tried."""
    probe = Path(folder) / f".csam-{os.getpid()}.nrrd"
    try:
        write_image(sitk.Image(1, 1, 1, sitk.sitkUInt8), probe)
    except OSError as error:
        raise InputError(f"{folder} cannot be written to. Choose another folder.{_letters(folder)}") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def read_json(path: str | Path) -> Any:
    """What a JSON file holds, in UTF-8 or 16, with a mark of its byte order or without: editors on Windows write one.

    Raises OSError, and ValueError for what is no JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def replace_file(source: str | Path, target: str | Path) -> None:
    """``os.replace``, patient with Windows: there a file cannot be moved while a virus scanner has it open."""
    give_up, pause = time.monotonic() + PATIENCE, 0.01
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not WINDOWS or time.monotonic() + pause > give_up:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 0.5)


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a process killed in between leaves what was there, and of two that write it at
    once the later one's stays. Bytes of names that are not UTF-8 are written as \\udcXX."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    replace_file(temporary, path)


def _is_text(path: str | Path) -> Path:
    """The path. Raises InputError for a name that is no text in UTF-8: SimpleITK ends the whole process for it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise InputError(f"The name {shown} is not in UTF-8. Rename the file; use plain letters.") from error
    return Path(path)


def read_unchecked(path: Path) -> sitk.Image:
    """What SimpleITK reads from a file, as it is. Raises RuntimeError."""
    with opening(path):
        return sitk.ReadImage(str(path))


@contextmanager
def opening(path: Path) -> Iterator[None]:
    """While SimpleITK reads or writes a file: it finds the path on Windows too, and leaves the locale as it was.

    It takes paths in UTF-8; Windows' C library opens them by the system's code page unless the process asks for UTF-8
    (Microsoft, "UTF-8 support in the Universal C Runtime", from Windows 10 1803 on; SimpleITK's FAQ). Its reader of VTK
    files leaves the locale "C" behind, with which Python writes text in ASCII.
    """
    if WINDOWS and not str(path).isascii():
        with suppress(locale.Error):  # of an older Windows
            locale.setlocale(locale.LC_CTYPE, ".UTF8")  # LC_ALL would make decimal points commas, in files too
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        if locale.setlocale(locale.LC_ALL) != before:
            locale.setlocale(locale.LC_ALL, before)


def _letters(path: str | Path) -> str:
    """A sentence on the letters of a path, where they may be the reason why it cannot be opened; nothing elsewhere."""
    odd = "".join(dict.fromkeys(letter for letter in str(path) if not letter.isascii()))
    return f" Or use a path without {odd}, which this Windows may be unable to open." if WINDOWS and odd else ""


def _reason(error: Exception) -> str:
    """The reader's own words, of which the last line but for one about a file that is there tells most."""
    lines = [line for line in str(error).strip().splitlines() if "No such file or directory" not in line]
    said = lines[-1].rstrip() if lines else "it is damaged or incomplete."
    return f"{said}{'' if said.endswith(('.', '!', ':')) else '.'} Give a complete volume, such as NIfTI or NRRD."


def _axes_of(path: Path) -> np.ndarray | None:
    import gzip

    with path.open("rb") as file:
        packed = file.read(len(MAGIC)) == MAGIC
    with gzip.open(path) if packed else path.open("rb") as file:
        return nifti.axes_of(file.read(nifti.LONGEST))


def _read_leaning(path: Path, axes: np.ndarray, note: Callable[[str], None]) -> sitk.Image:
    """A NIfTI file whose axes are not at right angles, as if they were, unless they lean by more than LEANING."""
    lean = np.degrees(np.arcsin(min(1.0, np.abs(np.triu(axes.T @ axes, 1)).max())))
    if lean > LEANING:
        raise InputError(
            f"The axes of {path.name} are {lean:.1f}° off the right angle; at most {LEANING:g}° can be read. Load it "
            'in Slicer, resample it (module "Resample Scalar/Vector/DWI Volume") and use the new volume.'
        )
    with _permitted():
        image = read_unchecked(path)
    dimension, size, spacing = image.GetDimension(), image.GetSize()[:3], image.GetSpacing()[:3]
    straight = np.reshape(image.GetDirection(), (dimension, dimension))[:3, :3]
    corners = np.array([*product(*((0, n - 1) for n in size))]) * spacing
    moved = np.linalg.norm(corners @ (axes - straight).T, axis=1).max()
    if moved > UNNOTICED * min(spacing):
        note(
            f"The axes of {path.name} are {lean:.2g}° off the right angle. They are treated as at right angles, which "
            f"moves the image's corners by up to {moved:.2g} mm."
        )
    return image


@contextmanager
def _permitted() -> Iterator[None]:
    """ITK's NIfTI reader turns leaning axes to right angles while this lasts; it looks for a word each time."""
    with _PERMITTING:
        before = os.environ.get(PERMISSIVE)
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        os.environ[PERMISSIVE] = "1"
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            yield
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
            os.environ.pop(PERMISSIVE) if before is None else os.environ.update({PERMISSIVE: before})


def _series(image: sitk.Image) -> sitk.Image:
    """A list of volumes in a NRRD file (.seq.nrrd), which ITK takes for a vector at each voxel, as four dimensions."""
    kind = "NRRD_kinds[pixel]"
    if image.GetDimension() != 3 or not image.HasMetaDataKey(kind) or image.GetMetaData(kind) != "list":
        return image
    parts = range(image.GetNumberOfComponentsPerPixel())
    return sitk.JoinSeries([sitk.VectorIndexSelectionCast(image, part) for part in parts])
