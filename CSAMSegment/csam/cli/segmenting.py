"""csam segment: an image in; labels, maps, report.json and a page out. See ``sequences`` and ``batching`` for more."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..batch.run import channels_of
from ..batch.saved import MAPS, REPORT, write_result
from ..errors import InputError
from ..result import Options
from ..sequence.measures import frame_of, measured
from .batching import run_batch
from .files import check_extras, check_place, find_model, read_image


def run_segment(options: argparse.Namespace) -> int:
    """One image; every case of a folder."""
    from ..pipeline.cpu_fallback import on_cpu_if_lost
    from ..pipeline.input_check import check
    from ..pipeline.segment import segment
    from .sequences import checked, figure_lines, given_numbers, segment_series, series_of

    run = Options(
        options.samples,
        options.seed,
        options.device,
        options.slice_axis,
        keep_probabilities=options.probabilities,
        test_time_augmentation=options.test_time_augmentation,
    )
    folders = [path for path in options.images if Path(path).is_dir()]
    if folders and len(options.images) == 1 and not options.series:
        return run_batch(options, run)
    if options.scheduler:
        raise InputError("--scheduler is for a folder of cases; one image runs in this process.")
    if options.series and (options.frame is not None or len(folders) < len(options.images)):
        raise InputError("--series takes folders with a file for each frame, one for each channel, and no --frame.")
    if options.png:
        check_extras(["matplotlib"])
    model = find_model(options.model)
    given = given_numbers(options.given, model)
    read = [] if options.series else [read_image(path, options.frame) for path in options.images]
    images = channels_of(read, len(model.channels))
    if len(images) > len(read):
        print(f"The volumes of the 4-D image are taken to be {', '.join(channel.name for channel in model.channels)}.")
    sources = [str(Path(path).resolve()) for path in options.images]
    out = folder_for(sources, options.frame, Path(options.out))
    if options.png:
        check_place(options.png)
    series = series_of(images, folders if options.series else [], read_image)
    if series is not None:
        if options.png:
            raise InputError("--png shows one image; a series gets report.html. Leave it out, or give --frame.")
        images = checked(series)
    misfits = check(images, model, options.slice_axis)
    for sentence in misfits:
        print(f"Note: {sentence}")
    about = {"images": sources, "frame": options.frame}
    if series is not None:
        segment_series(series, model, run, out, about, given, Path(options.images[0]).name)
        return 0
    result = on_cpu_if_lost(lambda run: segment(images, model, run, progress=progress_bar()), run)
    measures = measured([frame_of(result)], model.measures, given=given)
    write_result(result, out, about | ({"measures": [asdict(one) for one in measures]} if measures else {}))
    if options.png:
        from ..pipeline.report import draw

        draw(images[0], result, options.png, f"{model.title}: {Path(options.images[0]).name}")
    print("\n".join([summary(result, misfits), *figure_lines(measures)]))
    print(f"Written to {out}.")
    return 0


def folder_for(images: Sequence[str], frame: int | None, out: Path) -> Path:
    """The folder for a result, there and writable before the run.

    Raises InputError where it holds an image that is to be segmented, the result of another one, or others' labels.
    """
    from ..image import files

    if out.is_dir() and str(out.resolve()) in images:
        raise InputError(f"{out} holds the frames themselves. Choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    files.check_writable(out)
    if {str((out / f"{name}.nrrd").resolve()) for name in MAPS} & {*images}:
        raise InputError(f"A result in {out} would overwrite the image itself. Choose another --out.")
    ours = any((out / name).exists() for name in (REPORT, f"{MAPS[1]}.nrrd", "frame-001"))  # whole, or of a killed run
    if (out / f"{MAPS[0]}.nrrd").exists() and not ours:
        raise InputError(f"{out} holds a {MAPS[0]}.nrrd that is no result of CSAMSegment's. Choose another --out.")
    try:
        before = files.read_json(out / REPORT)
        of = before.get("images"), before.get("frame")
    except (OSError, ValueError, AttributeError):
        of = None, None
    if isinstance(of[0], list) and of != (images, frame):  # an older report does not say
        one = "" if of[1] is None else f", frame {of[1]}"
        raise InputError(f"{out} holds the result of {', '.join(map(str, of[0]))}{one}. Choose another --out.")
    return out


def summary(result, said: Sequence[str] = (), ask: str = "Slices to look at first") -> str:
    """The result in words: warnings but for those that were said before, volumes, what to look at first (``ask``)."""
    lines = [f"Note: {warning}" for warning in result.warnings if warning not in said]
    for s in result.structures:
        lines.append(f"{s.name}: {s.volume_ml:.1f} ml (90 % interval {s.low_ml:.1f} to {s.high_ml:.1f} ml)")
    open_ = [s for s in result.ranked_slices() if s.reason != "drawn"]
    first = ", ".join(f"{s.index + 1} ({s.expected_wrong_area_mm2:.0f} mm²)" for s in open_[:3])
    lines.append(f"Expected Dice: {result.expected_dice}")
    lines.append(f"{ask} (counted from 1; with the expected wrong area): {first}")
    lines.append(f"{result.provenance['device']}, {result.provenance['seconds']:.1f} s")
    return "\n".join(lines)


def progress_bar():
    """A progress bar on standard error where a user watches, nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(progress) -> None:
        left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
        print(f"\r{progress.fraction:4.0%} {progress.stage}{left:16s}\033[K", end="", file=sys.stderr)
        if progress.fraction >= 0.99:
            print("\r\033[K", end="", file=sys.stderr)

    return show
