"""DICOM series in a folder: which there are, and one of them as a volume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from .files import opening, read_unchecked

POSITION = "0020|0032"
"""ImagePositionPatient."""
TOLERANCE = 0.05
"""Of the slice distance: what slices may lie off."""


def looks_like_dicom(path: Path) -> bool:
    """Whether a file's name or its beginning says that it is DICOM."""
    if path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() == ".dcm":
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def series_in(folder: Path, names: Iterable[str]) -> tuple[str, ...]:
    """The SeriesInstanceUIDs of a folder's files, not of those below; names: its files, of which one may be DICOM."""
    if not any(looks_like_dicom(folder / name) for name in names):
        return ()
    with _quiet(), opening(folder):
        return tuple(sorted(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))))


def files_of(folder: Path, series: str) -> tuple[str, ...]:
    """The files of a series, along the slice axis."""
    with _quiet(), opening(folder):
        return sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series)


def read_series(folder: Path, series: str) -> sitk.Image:
    """The volume of a series. Raises InputError where it cannot be read or its slices are no even stack."""
    names = files_of(folder, series)
    if not names:
        raise InputError(f"The DICOM series {series} is no longer in {folder}.")
    try:
        with _quiet(), opening(folder):
            if len(names) == 1:  # one slice, or a file of many frames
                return read_unchecked(Path(names[0]))
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(names)
            reader.MetaDataDictionaryArrayUpdateOn()
            image = reader.Execute()
    except RuntimeError as error:
        said = str(error).strip().splitlines()[-1].rstrip(".")
        raise InputError(f"The DICOM series in {folder} cannot be read: {said}.") from error
    _check_even(reader, image, folder)
    return image


def _check_even(reader: sitk.ImageSeriesReader, image: sitk.Image, folder: Path) -> None:
    """Raises InputError where the slices do not lie as the image says, which ITK only warns of."""
    count = image.GetSize()[2]
    if not all(reader.HasMetaDataKey(number, POSITION) for number in range(count)):
        return
    points = np.array([[*map(float, reader.GetMetaData(n, POSITION).split("\\"))] for n in range(count)])
    along = points @ np.reshape(image.GetDirection(), (3, 3))[:, 2]
    steps = np.diff(along)
    least = TOLERANCE * image.GetSpacing()[2]
    if np.abs(steps).max() < least:  # which ITK takes for slices 1 mm apart
        raise InputError(
            f"The {count} slices of the DICOM series in {folder} lie at one place, as in a series in time. "
            "Load the scan in 3D Slicer, and save the volume that is to be segmented."
        )
    if np.abs(steps - np.median(steps)).max() > least:
        raise InputError(
            f"The {count} slices of the DICOM series in {folder} are {steps.min():.1f} to {steps.max():.1f} mm "
            "apart, not evenly spaced. A slice is missing, or there are several at one place, as in a series in time. "
            "Load it in 3D Slicer, and save the volume that is to be segmented."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that ITK writes to standard error."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
