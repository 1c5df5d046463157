"""The command line: ``python -m csam segment | train | calibrate | evaluate | convert | models | phantom | worker``.

Bad input ends with exit code 2 and one line that says what to do.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from . import __version__
from .errors import Cancelled, CSAMError, DeviceLost, InputError, is_out_of_memory
from .interrupts import interruptible
from .protocol import pack_result
from .result import Options

HERE = Path(__file__).resolve().parent
SHIPPED = next(filter(Path.is_dir, (HERE.parent / "Resources" / "Models", HERE / "shipped")), HERE / "shipped")
"""The models that come with the extension, or, installed by pip, with the package."""
EXTRAS = {"monai": "monai", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
"""What training and measuring need beyond the engine: module, and what pip knows it by."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what torch lacks for Apple's GPUs runs on the CPU
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except Cancelled as error:
        print(error, file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except (CSAMError, OSError, MemoryError, RuntimeError) as error:
        said = _in_words(error)
        if said is None:
            raise
        if os.environ.get("RANK", "0") == "0":  # of several processes under torchrun, one speaks
            print(f"csam {options.command}: {said}", file=sys.stderr)
        return 2


def _in_words(error: Exception) -> str | None:
    """What a person can do something about, in one line; None for what is a fault of the program."""
    if isinstance(error, CSAMError):
        return str(error)
    if is_out_of_memory(error):
        first = str(error).partition("\n")[0]
        return (
            f"The memory does not suffice ({first or 'MemoryError'}). Close other programs, or use a smaller model; a "
            "training takes less with fewer slices, a smaller field of view or a smaller batch."
        )
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
        place = Path(error.filename)
        return f"{next((p for p in (place, *place.parents) if p.is_file()), place)} is a file, no folder."
    return str(error) if isinstance(error, OSError) else None


def find_model(name: str):
    """The model of a folder or zip, of a training's folder, or a shipped one by its name."""
    from .model import Model

    shipped = SHIPPED / name
    if "/" not in name and (shipped / "model.json").is_file():
        return Model.load(shipped)
    return Model.load(name)


def read_image(path: str, frame: int | None = None):
    """An image file, or one volume of a series. Raises InputError when it cannot be read."""
    from . import files, geometry

    image = files.read_image(path, note=lambda sentence: print(f"Note: {sentence}"))
    return image if frame is None else geometry.frame(image, frame)


def _read_json(path: str | None) -> dict:
    """The object in a JSON file, empty without a file. Raises InputError when there is none."""
    from . import files

    try:
        values = files.read_json(path) if path else {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds {type(values).__name__}; an object with named fields was expected.")
    return values


def _check_extras(modules: Sequence[str] = ()) -> None:
    """Raises InputError now, not after hours, where a library is missing: all that training and measuring need."""
    missing = [EXTRAS[module] for module in modules or EXTRAS if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(f"{', '.join(missing)} cannot be found and is needed. Run: pip install {' '.join(missing)}")


def _segment(options: argparse.Namespace) -> None:
    from . import files, geometry
    from .fit import check
    from .segment import segment

    if options.png:
        _check_extras(["matplotlib"])
    model = find_model(options.model)
    images = [read_image(path, options.frame) for path in options.images]
    if len(images) == 1 and images[0].GetDimension() == 4 and images[0].GetSize()[3] == len(model.channels):
        print(f"The 4-D image's volumes are taken for {', '.join(channel.name for channel in model.channels)}.")
        images = [geometry.frame(images[0], channel) for channel in range(len(model.channels))]
    run = Options(
        options.samples,
        options.seed,
        options.device,
        options.slice_axis,
        keep_probabilities=options.probabilities,
        test_time_augmentation=options.test_time_augmentation,
    )
    sources = [str(Path(path).resolve()) for path in options.images]
    out = _folder_for(sources, options.frame, Path(options.out))
    if options.png:
        _check_place(options.png)
    misfits = check(images, model, options.slice_axis)
    for sentence in misfits:
        print(f"Note: {sentence}")
    try:
        result = segment(images, model, run, progress=_bar())
    except DeviceLost as error:  # for this process; its CPU still works
        said = f"{error} The run was on the CPU, which is slower."
        result = segment(images, model, replace(run, device="cpu"), progress=_bar())
        result = replace(result, warnings=(*result.warnings, said))
    (out / "report.json").unlink(missing_ok=True)  # tells that all of the others are there
    for name in MAPS:
        image, path = getattr(result, name), out / f"{name}.nrrd"
        path.unlink(missing_ok=True)
        if image is None:
            continue
        try:
            files.write_image(image, path, compress=True)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    report = {"images": sources, "frame": options.frame} | describe(result)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    if options.png:
        from .report import draw

        draw(images[0], result, options.png, f"{model.title}: {Path(options.images[0]).name}")
    print(summary(result, misfits))
    print(f"Written to {out}.")


MAPS = ("labels", "error_probability", "entropy", "mutual_information", "probabilities")


def _folder_for(images: Sequence[str], frame: int | None, out: Path) -> Path:
    """The folder for a result, there and writable before the run.

    Raises InputError where it holds an image that is to be segmented, or the result of another one.
    """
    from . import files

    out.mkdir(parents=True, exist_ok=True)
    files.check_writable(out)
    if {str((out / f"{name}.nrrd").resolve()) for name in MAPS} & {*images}:
        raise InputError(f"A result in {out} would write over the image itself. Choose another --out.")
    try:
        before = files.read_json(out / "report.json")
        of = before.get("images"), before.get("frame")
    except (OSError, ValueError, AttributeError):
        of = None, None
    if isinstance(of[0], list) and of != (images, frame):  # an older report does not say
        one = "" if of[1] is None else f", frame {of[1]}"
        raise InputError(f"{out} holds the result of {', '.join(map(str, of[0]))}{one}. Choose another --out.")
    return out


def _check_place(path: str) -> None:
    """Raises InputError now, not after the work, where no file of this name can be written."""
    if Path(path).is_dir():
        raise InputError(f"{path} is a folder; the name of a file was expected.")
    _check_writable(path)


def _check_writable(place: str | Path) -> None:
    """Raises InputError now, not after the work, where nothing can be written into a folder, or in a file's place."""
    folder = Path(place) if Path(place).is_dir() else Path(place).parent
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder} to write {Path(place).name} into. Make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"Nothing may be written into {folder}. Choose another place.")


def describe(result) -> dict:
    """A result without its images, as JSON has it."""
    return pack_result(result)[0]


def summary(result, said: Sequence[str] = ()) -> str:
    """The result in words: warnings but for those that were said before, volumes, what to look at first."""
    lines = [f"Note: {warning}" for warning in result.warnings if warning not in said]
    for s in result.structures:
        lines.append(f"{s.name}: {s.volume_ml:.1f} ml (90 % interval {s.low_ml:.1f} to {s.high_ml:.1f} ml)")
    first = ", ".join(f"{s.index + 1} ({s.expected_wrong_area_mm2:.0f} mm²)" for s in result.ranked_slices()[:3])
    lines.append(f"Dice to expect: {result.expected_dice}")
    lines.append(f"Slices to look at first, the first being 1 (area expected to be wrong): {first}")
    lines.append(f"{result.provenance['device']}, {result.provenance['seconds']:.1f} s")
    return "\n".join(lines)


def _bar():
    """A progress bar on standard error where a person watches, nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(progress) -> None:
        left = "" if progress.seconds_left is None else f", {progress.seconds_left:.0f} s left"
        print(f"\r{progress.fraction:4.0%} {progress.stage}{left:16s}\033[K", end="", file=sys.stderr)
        if progress.fraction >= 0.99:
            print("\r\033[K", end="", file=sys.stderr)

    return show


def _train(options: argparse.Namespace) -> None:
    from .training.plan import Plan
    from .training.preparing import prepare
    from .training.train import train

    values = _read_json(options.plan)
    for field in fields(Plan):
        given = getattr(options, f"plan_{field.name}")
        if given is not None:
            values[field.name] = given
    card = _read_json(options.card)
    if options.cross_validate:
        _cross_validate(options, values, card)
        return
    if options.fold == "all":
        raise InputError("A training on everyone goes with --cross-validate: others judge it.")
    start = find_model(options.fine_tune) if options.fine_tune else None
    if options.dry_run:
        _tell(prepare(options.dataset, values, options.extra, start, options.split, options.fold), card)
        return
    _check_extras()
    with interruptible() as asked:
        train(
            options.dataset, options.out, values, options.extra, card, options.device, start,
            cancelled=asked, split=options.split, fold=options.fold,
        )  # fmt: skip


def _cross_validate(options: argparse.Namespace, plan: dict, card: dict) -> None:
    from .training.cross_validation import cross_validate, is_cross_validation, prepare_folds

    start = options.fine_tune
    if start and not is_cross_validation(start):
        start = find_model(start)
    if options.dry_run:
        parts, _ = prepare_folds(options.dataset, plan, options.extra, start, options.split, options.fold)
        for part, prepared in parts.items():
            print(f"{part}:")
            _tell(prepared, card)
        return
    _check_extras()
    with interruptible() as asked:
        cross_validate(
            options.dataset, options.out, plan, options.extra, card, options.device, start,
            cancelled=asked, split=options.split, fold=options.fold,
        )  # fmt: skip


def _tell(prepared, card: dict) -> None:
    """Prints what a training would do."""
    _network, anew = prepared.begin(card)
    print(*prepared.decisions, *(f"Note: {note}" for note in prepared.notes), *anew, sep="\n")
    for side in ("training", "validation"):
        print(f"{side} patients: {', '.join(getattr(prepared, side)) or 'nobody'}")


def _evaluate(options: argparse.Namespace) -> None:
    from .model import Calibration
    from .training import figures
    from .training.calibrate import calibrated, how_judged
    from .training.choosing import chosen
    from .training.evaluate import evaluate, summarise
    from .training.matching import as_learned

    _check_extras()
    for place in filter(None, (options.json, options.png)):
        _check_place(place)
    model = find_model(options.model)
    data, cases = chosen(options.dataset, model, options.patients, options.patient_pattern)
    cases = as_learned(model, data, cases)
    run = Options(options.samples, options.seed, options.device, test_time_augmentation=options.test_time_augmentation)
    plain = replace(model, calibration=Calibration(), augmented_calibration=Calibration())
    before = evaluate(plain, cases, run, energy_distance=options.energy_distance)
    after, names, note = (
        calibrated(before, model, run),
        [label.name for label in model.labels],
        how_judged(before, model),
    )
    summaries = summarise(before, names), summarise(after, names)
    print(figures.table(*summaries, note))
    about = {"model": model.name, "sha256": model.sha256, "data": data.name, "samples": run.samples, "note": note}
    if options.json:
        figures.write_json(options.json, about, *summaries, after)
    if options.png:
        figures.draw(options.png, f"{model.title} on {data.name}", before, after)


def _calibrate(options: argparse.Namespace) -> None:
    from .training.calibrate import calibrate_on
    from .training.choosing import chosen

    _check_extras()
    model = find_model(options.model)
    data, cases = chosen(options.dataset, model, options.patients, options.patient_pattern)
    Path(options.out).mkdir(parents=True, exist_ok=True)
    _check_writable(options.out)
    calibrate_on(model, data, cases, Path(options.out), device=options.device)


def _convert(options: argparse.Namespace) -> None:
    import torch

    from .convert import convert

    try:
        state_dict = torch.load(options.weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its reader met
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else "it is damaged or holds more"
        raise InputError(f"{options.weights} cannot be read as a plain state dict of tensors: {reason}.") from error
    if (Path(options.out) / "model.json").exists() or Path(options.out).is_file():
        raise InputError(f"{options.out} is there already. Choose another --out, or remove it.")
    model = convert(state_dict, _read_json(options.card))
    model.save(options.out)
    print(f"Written to {options.out}: {model.architecture}")


def _models(options: argparse.Namespace) -> None:
    from .card import card
    from .model import Model

    if options.model:
        print(card(find_model(options.model)))
        return
    for folder in sorted(path.parent for path in SHIPPED.glob("*/model.json")):
        model = Model.load(folder)
        print(f"{model.name:20s} {model.version:8s} {model.title}")


def _phantom(options: argparse.Namespace) -> None:
    from .phantom.dataset import write_dataset

    write_dataset(options.out, options.count, options.seed, options.structure)
    print(f"{options.count} phantoms written to {options.out}.")


def _worker(options: argparse.Namespace) -> int:
    from .worker import main as serve

    return serve()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="csam",
        description="Segments thick-slice scans and says where the result may be wrong. Research software, not a "
        "medical device.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    def add_device(command: argparse.ArgumentParser) -> None:
        command.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")

    def add_run_options(command: argparse.ArgumentParser) -> None:
        command.add_argument("--model", default="cardiac-lv", help="a shipped model's name, a folder or a zip")
        command.add_argument(
            "--samples",
            type=int,
            default=Options.samples,
            help="samples of the gates; 1 is one pass with the gates at their mean (default %(default)s)",
        )
        command.add_argument(
            "--test-time-augmentation",
            action="store_true",
            help="look everywhere closely and from every orientation: slower, for poor images",
        )
        command.add_argument("--seed", type=int, default=0, help="same seed, same device, same result")
        add_device(command)

    command = add("segment", _segment, "Segment an image; writes labels, uncertainty maps and report.json.")
    command.add_argument(
        "images", nargs="+", metavar="IMAGE", help="one file per channel of the model, or a 4-D file of all"
    )
    command.add_argument("--out", required=True, help="folder for the results")
    command.add_argument("--png", help="file for a page to look at: every slice with outline, overlay and rank")
    command.add_argument("--slice-axis", default="auto", choices=("auto", "i", "j", "k"), help="axis of the slices")
    command.add_argument("--frame", type=int, help="the volume of a 4-D image or a sequence, from 0")
    command.add_argument("--probabilities", action="store_true", help="write the probability of every class too")
    add_run_options(command)

    command = add("train", _train, "Train a model on your own cases; goes on where it stopped.")
    command.add_argument("dataset", help="folder in nnU-Net's raw layout or the Medical Segmentation Decathlon's")
    command.add_argument("--out", required=True, help="folder for plan, log, learning curve, checkpoint and model")
    command.add_argument("--extra", action="append", default=[], help="a further data set, for training only")
    command.add_argument(
        "--fine-tune", metavar="MODEL", help="a model to start from: a shipped name, a folder or a zip"
    )
    command.add_argument(
        "--split", help="JSON file of who is trained and validated on; nnU-Net's splits_final.json too"
    )
    command.add_argument(
        "--fold",
        type=_fold,
        help="which split of nnU-Net's file, from 0 (default 0); of a cross-validation the only one to train, or all",
    )
    command.add_argument(
        "--cross-validate",
        action="store_true",
        help="train on everyone, and once without each fold of the patients, which judges and calibrates the model",
    )
    command.add_argument("--plan", help="JSON file with fields of the plan; options given here come on top")
    command.add_argument("--dry-run", action="store_true", help="print the plan with its reasons; write nothing")
    command.add_argument("--card", help="JSON file with title, about, modality, licence and labels of the model")
    add_device(command)
    _add_plan_options(command)

    def add_cases(command: argparse.ArgumentParser) -> None:
        command.add_argument("dataset", help="folder with dataset.json, imagesTr and labelsTr")
        command.add_argument(
            "--patients", help='comma-separated patients and cases, or "validation" for the model\'s own'
        )
        command.add_argument("--patient-pattern", help="regular expression; its first group is the patient")

    command = add("calibrate", _calibrate, "Calibrate a model's doubt on patients it was not trained on.")
    add_cases(command)
    command.add_argument("--model", default="cardiac-lv", help="a shipped model's name, a folder or a zip")
    command.add_argument("--out", required=True, help="folder for the model, its card and the figures")
    add_device(command)

    command = add("evaluate", _evaluate, "Measure a model on a data set with known truth.")
    add_cases(command)
    command.add_argument("--json", help="file for the figures")
    command.add_argument("--png", help="file for a picture: reliability diagram and risk-coverage curve")
    command.add_argument(
        "--energy-distance", action="store_true", help="also measure that of the samples, at twice the time"
    )
    add_run_options(command)

    command = add("convert", _convert, "Make a model of a bare state dict, such as one of the published code.")
    command.add_argument("weights", help="file with a plain state dict")
    command.add_argument("--card", help="JSON file: names of channels and labels, in_plane_spacing ...")
    command.add_argument("--out", required=True, help="folder, or .zip, for the model")

    command = add("models", _models, "List the shipped models, or print the card of one.")
    command.add_argument("model", nargs="?", help="a shipped model's name, a folder or a zip")

    command = add("phantom", _phantom, "Write a data set of cardiac phantoms with exact truth.")
    command.add_argument("out", help="folder for the data set")
    command.add_argument("--count", type=int, default=10)
    command.add_argument("--seed", type=int, default=0, help="of the first phantom; the next ones count up")
    command.add_argument("--structure", choices=("all", "left-ventricle"), default="left-ventricle")

    add("worker", _worker, "Serve requests over standard input and output (see csam.worker).")
    return parser


def _fold(text: str) -> int | str:
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no fold: 0, 1, ... or all was expected")
    return text if text == "all" else int(text)


def _add_plan_options(command: argparse.ArgumentParser) -> None:
    """An option for every field of the plan, with its type and default."""
    from .training.plan import AUTOMATIC, Plan

    group = command.add_argument_group("the plan")
    for field in fields(Plan):
        default = field.default
        name, kind = f"--{field.name.replace('_', '-')}", type(default)
        usual = "from the data set" if field.name in AUTOMATIC else f"default {default}".replace("%", "%%")
        common = {"dest": f"plan_{field.name}", "default": None, "help": usual}
        if kind is bool:
            group.add_argument(name, action=argparse.BooleanOptionalAction, **common)
        elif kind is tuple:
            group.add_argument(name, type=type(default[0]), nargs=len(default), **common)
        else:
            group.add_argument(name, type=kind, **common)


__all__ = ["describe", "find_model", "main", "read_image", "summary"]
