"""csam segment on a series: every frame of a 4-D file or of a folder, and what the model's measures make of them."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..batch.cases import PASSED_OVER
from ..batch.saved import write_result
from ..cardiac import body_surface_area
from ..errors import InputError
from ..result import Options, Progress
from ..sequence.measures import HEIGHT, WEIGHT, Frame, Measured, frame_of, given_names
from ..sequence.pictures import pictures_of
from ..sequence.record import Record, gathered
from ..sequence.tables import FIGURES, VOLUMES, csv_text, described, figure_rows, volume_rows

IMAGES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".gipl.gz", ".vtk", ".hdr", ".tif", ".tiff")


@dataclass(frozen=True)
class Series:
    """Frames with a channel or more each. read: gives the channels of a frame by its number, from 0.

    files: names of the frames' files, those of the first channel; none where all frames are in one file.
    """

    count: int
    read: Callable[[int], list]
    files: tuple[str, ...] = ()

    def said(self, frame: int) -> str:
        """A frame, from 0, in words: "Frame 3 (phase 30.nii.gz)"."""
        return f"Frame {frame + 1}{f' ({self.files[frame]})' if self.files else ''}"


def series_of(images: Sequence, folders: Sequence[str], read_image: Callable[[str], object]) -> Series | None:
    """The series that a command's images are, one for each channel: 4-D images, or folders of images; else None.

    images: those read, empty for folders. Raises InputError where the channels have not as many frames.
    """
    from ..image import geometry

    if folders:
        files = [files_in(folder) for folder in folders]
        _check_counts([len(one) for one in files])
        names = tuple(path.name for path in files[0])
        return Series(len(files[0]), lambda frame: [read_image(str(one[frame])) for one in files], names)
    if not images or any(image.GetDimension() != 4 for image in images):
        return None
    _check_counts([image.GetSize()[3] for image in images])
    return Series(images[0].GetSize()[3], lambda frame: [geometry.frame(image, frame) for image in images])


def files_in(folder: str) -> list[Path]:
    """The images of a folder, frame 2 before frame 10."""
    from ..image.dicom import looks_like_dicom

    there = [path for path in Path(folder).iterdir() if path.is_file()]
    found = [path for path in there if _is_frame(path.name.lower())]
    if not found and any(map(looks_like_dicom, there)):
        raise InputError(
            f"The folder {folder} holds DICOM files; --series takes an image file for each frame, such as NRRD or "
            "NIfTI. 3D Slicer loads DICOM in time as a sequence: segment it there, or save its frames."
        )
    if not found:
        raise InputError(f"The folder {folder} holds no image. Give one with a file for each frame, or a 4-D file.")
    return sorted(
        found, key=lambda path: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", path.name.lower())]
    )


def _is_frame(name: str) -> bool:
    """Whether a file's name, in small letters, is that of an image; neither hidden nor a segmentation of Slicer's."""
    return name.endswith(IMAGES) and not name.startswith(".") and not name.endswith(PASSED_OVER)


def _check_counts(counts: Sequence[int]) -> None:
    if len({*counts}) > 1:
        raise InputError(f"The channels have {', '.join(map(str, counts))} frames. All need the same number of frames.")


def checked(series: Series) -> list:
    """The channels of the first frame. Raises InputError now, not after the work, where a frame cannot be read, or is
    not on the grid of the first."""
    first = series.read(0)
    for index in range(series.count):
        _check_frame(series.read(index) if index else first, first[0], series.said(index))
    return first


def _check_frame(images: Sequence, first, frame: str) -> None:
    """Raises InputError where the channels of a frame, named in words, are not as the series needs them."""
    import SimpleITK as sitk

    from ..image import geometry

    for number, image in enumerate(images, 1):
        name = frame if len(images) == 1 else f"{frame}, channel {number},"
        if image.GetDimension() == 4:
            raise InputError(f"{name} is a series of {image.GetSize()[3]} volumes. Give a file for each frame.")
        geometry.check_image(image, name)
        if not geometry.same_grid(first, image):
            raise InputError(f"{name} is not on the grid of frame 1. Resample it to that grid first.")
        if not np.isfinite(sitk.GetArrayViewFromImage(image)).any():
            raise InputError(f"{name} holds no finite value: nothing can be segmented in it.")


def segment_series(series: Series, model, run: Options, out: Path, about: dict, given: dict, name: str) -> None:
    """Segments every frame, end diastole and end systole first, and writes frames, tables and page into a folder."""
    import SimpleITK as sitk

    from ..cardiac import order
    from ..image import files, geometry
    from ..pipeline.cpu_fallback import on_cpu_if_lost
    from ..pipeline.segment import segment
    from .segmenting import progress_bar

    (out / "report.json").unlink(missing_ok=True)  # tells that all of the others are there
    found: dict[int, Frame] = {}
    labels, pictures, warnings = {}, {}, {}
    first, written = None, set()
    for number, index in enumerate(order(series.count)):  # begins with the first
        images = series.read(index)
        first = images[0] if first is None else first
        images = [geometry.like(sitk.GetArrayFromImage(image), first) for image in images]  # to the last digit
        bar = _share(progress_bar(), number, series.count)
        result = on_cpu_if_lost(lambda run, images=images, bar=bar: segment(images, model, run, progress=bar), run)
        folder = out / f"frame-{index + 1:03d}"
        folder.mkdir(exist_ok=True)
        written.add(folder)
        write_result(result, folder, {**about, "frame": index})
        found[index], labels[index] = frame_of(result, index), result.labels
        pictures[index] = pictures_of(images[0], result, index)
        warnings[index] = result.warnings
        volumes = ", ".join(f"{one.name} {one.volume_ml:.1f} ml" for one in result.structures)
        print(f"{series.said(index)} of {series.count}: {volumes}")
    for old in {*out.glob("frame-[0-9]*")} - written:  # of a longer series
        if (old / "report.json").is_file() and (old / "labels.nrrd").is_file():
            shutil.rmtree(old)
    files.write_image(sitk.JoinSeries([labels[index] for index in range(series.count)]), out / "labels.nrrd", True)
    about_page = (f"{series.count} frames, segmented with {model.name} {model.version}.",)
    frames = tuple(found[index] for index in range(series.count))
    factors = model.calibration_for(run).figure_scale
    title = f"{model.title}: {name}"
    kept = Record(title, about_page, frames, model.measures, factors, given, pictures, tuple(gathered(warnings)))
    kept = kept.with_pictures_of_marks()
    write_tables(out, frames, kept.found)
    (out / "report.html").write_text(kept.html(), encoding="utf-8")
    report = {**about, "frame": None, "warnings": kept.said, "given": given, **described(frames, kept.found)}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print("\n".join([*(f"Note: {said}" for said in kept.said), *figure_lines(kept.found), f"Written to {out}."]))


def write_tables(out: Path, frames: Sequence[Frame], measures: Sequence[Measured]) -> None:
    """volumes.csv, and figures.csv where there are any."""
    (out / "volumes.csv").write_text(csv_text(VOLUMES, volume_rows(frames, measures)), encoding="utf-8", newline="")
    (out / "figures.csv").unlink(missing_ok=True)
    if measures:
        (out / "figures.csv").write_text(csv_text(FIGURES, figure_rows(measures)), encoding="utf-8", newline="")


def figure_lines(measures: Sequence[Measured]) -> list[str]:
    """The figures in words, and which frames they are of."""
    lines = [f"{figure.words}: {figure.text}" for one in measures for figure in one.figures]
    marks = [f"{mark} is frame {index + 1}" for one in measures for mark, index in one.marks.items()]
    return [*lines, *([f"{', '.join(marks)} (the first is 1)."] if marks else [])]


def given_numbers(texts: Sequence[str], model) -> dict[str, float]:
    """Numbers from the command line, each as NAME=VALUE. Raises InputError for a name that the model has no use for."""
    names, found = given_names(model.measures), {}
    for text in texts:
        name, _, value = text.partition("=")
        known = f"{model.name} uses {', '.join(names)}" if names else f"{model.name} uses none"
        if name not in names:
            raise InputError(f"The number {name!r} is not known; {known}.")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise InputError(f"{text!r} holds no number; {name}=VALUE was expected.") from error
    for name, value in found.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value:g}; a number above 0 was expected.")
    if {HEIGHT, WEIGHT} <= found.keys():
        body_surface_area(found[HEIGHT], found[WEIGHT])
    return found


def _share(bar, number: int, of: int):
    """The progress of one of several frames, as that of all."""
    if bar is None:
        return None

    def show(part: Progress) -> None:
        left = part.seconds_left
        if left is not None and part.fraction < 1:
            left += (of - number - 1) * left / (1 - part.fraction)
        bar(Progress((number + part.fraction) / of, f"Frame {number + 1} of {of}: {part.stage}", left))

    return show
