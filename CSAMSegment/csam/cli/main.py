"""The command line: ``python -m csam COMMAND``, such as segment, fill, train or evaluate.

Bad input ends with exit code 2 and one line that says what to do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from .. import __version__
from ..errors import Cancelled, CSAMError, InputError, is_out_of_memory
from ..image.unknown import UNKNOWN
from ..model.shipped import SHIPPED
from ..result import Options
from .adding import run_add
from .batching import run_cohort
from .files import find_model, json_object, with_home
from .filling import ALONE, run_fill, run_train_fill
from .segmenting import run_segment
from .training import run_calibrate, run_evaluate, run_train
from .training_lines import is_first

DATASET = "folder in nnU-Net's raw layout or the Medical Segmentation Decathlon's"
PATTERN = "regular expression for the name of a case; its first group is the patient"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")  # what torch lacks for Apple's GPUs runs on the CPU
    options = _parser().parse_args(with_home(sys.argv[1:] if arguments is None else arguments))
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
        if is_first():  # of several processes under torchrun, one speaks
            print(f"csam {options.command}: {said}", file=sys.stderr)
        return 2


def _in_words(error: Exception) -> str | None:
    """What a user can do something about, in one line; None for what is a fault of the program."""
    if isinstance(error, CSAMError):
        return str(error)
    if is_out_of_memory(error):
        first = str(error).partition("\n")[0]
        return (
            f"There is not enough memory ({first or 'MemoryError'}). Close other programs, or use a smaller model. A "
            "training needs less with fewer slices, a smaller field of view or a smaller batch."
        )
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
        place = Path(error.filename)
        return f"{next((p for p in (place, *place.parents) if p.is_file()), place)} is a file; a folder was expected."
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename} cannot be used: {error.strerror}. Check the path, or choose another."
    return str(error) if isinstance(error, OSError) else None


def _convert(options: argparse.Namespace) -> None:
    import torch

    from ..model.convert import convert

    try:
        state_dict = torch.load(options.weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its reader met
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else "it is damaged or holds more"
        raise InputError(f"{options.weights} cannot be read as a plain state dict of tensors: {reason}.") from error
    if (Path(options.out) / "model.json").exists() or Path(options.out).is_file():
        raise InputError(f"{options.out} already exists. Choose another --out, or remove it.")
    model = convert(state_dict, json_object(options.card))
    model.save(options.out)
    print(f"Written to {options.out}: {model.architecture}")


def _models(options: argparse.Namespace) -> None:
    from ..model import Model
    from ..model.card import card

    if options.model:
        print(card(find_model(options.model)))
        return
    for folder in sorted(path.parent for path in SHIPPED.glob("*/model.json")):
        model = Model.load(folder)
        print(f"{model.name:20s} {model.version:8s} {model.title}")


def _phantom(options: argparse.Namespace) -> None:
    from ..phantom.dataset import write_dataset

    thinner = options.wall_drawn_thinner
    write_dataset(
        options.out, options.count, options.seed, options.structure, options.thick_walled, wall_drawn_thinner=thinner
    )
    print(f"{options.count} phantoms written to {options.out}.")


def _worker(options: argparse.Namespace) -> int:
    from ..process.worker import main as serve

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
            help="how many samples; more give smoother maps; with 1, nothing is random (default %(default)s)",
        )
        command.add_argument(
            "--test-time-augmentation",
            action="store_true",
            help="also segment the stack in its other orientations: slower, for poor images",
        )
        command.add_argument("--seed", type=int, default=0, help="same seed, same device, same result")
        add_device(command)

    command = add(
        "segment",
        run_segment,
        "Segment an image, a series, or every case of a folder; continues a folder that was stopped.",
    )
    command.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="one file for each channel of the model, or a 4-D file with all channels; of a series, a 4-D file of its "
        "frames for each channel; or a folder of cases",
    )
    command.add_argument("--out", required=True, help="folder for the results")
    command.add_argument("--png", help="file for a page to look at: every slice with outline, overlay and rank")
    command.add_argument("--slice-axis", default="auto", choices=("auto", "i", "j", "k"), help="axis of the slices")
    command.add_argument("--frame", type=int, help="the volume of a 4-D image or a sequence, from 0")
    command.add_argument(
        "--series",
        action="store_true",
        help="IMAGE is a folder with a file for each frame of one series; one folder for each channel",
    )
    command.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a number that the model's measures use, such as height=178 (cm) or weight=80 (kg); repeat for each",
    )
    command.add_argument(
        "--probabilities", action="store_true", help="also write the probability of every label, background first"
    )
    command.add_argument(
        "--scheduler", metavar="ADDRESS", help="address of a Dask scheduler whose workers segment the folder"
    )
    add_run_options(command)

    command = add("cohort", run_cohort, "Sum up batches: volumes, expected Dice, warnings and faults.")
    command.add_argument(
        "folders", nargs="+", metavar="DIR", help="folder that segment has written for a folder of cases"
    )
    command.add_argument("--csv", help="also write the summary to this CSV file")

    command = add("add", run_add, "Add a folder of images with labels to a data set; nothing is added twice.")
    command.add_argument(
        "folder",
        help="images NAME, each with labels NAME_seg beside it or NAME in a folder labels; or a data set with "
        "dataset.json",
    )
    command.add_argument(
        "--to", required=True, metavar="DATASET", help="the data set; a new one is made if there is none"
    )
    command.add_argument(
        "--label", action="append", default=[], metavar="VALUE=NAME",
        help="what a value in the files of labels means; background for what is not to be learned, ignore for what is "
        "unknown; repeat for each",
    )  # fmt: skip
    command.add_argument(
        "--channel", action="append", default=[], metavar="NAME",
        help="name of a channel of a new data set, in the order of _0000, _0001; repeat for each",
    )  # fmt: skip
    command.add_argument("--progress", default="text", choices=("text", "json"), help="json: a line for each event")

    command = add("fill", run_fill, "Fill the slices between the drawn ones: writes the same files as segment.")
    command.add_argument("image", metavar="IMAGE", help="the image that was drawn on")
    command.add_argument("--drawn", required=True, metavar="LABELS", help="the drawing: labels on the image's grid")
    command.add_argument(
        "--structure", action="append", default=[], metavar="VALUE=NAME", help="name of a value; repeat for each"
    )
    command.add_argument(
        "--unknown", type=int, default=UNKNOWN, help="value of the voxels to fill (default %(default)s)"
    )
    command.add_argument(
        "--found", metavar="LABELS", help="an earlier result to correct: its other slices follow the drawn ones"
    )
    command.add_argument(
        "--beyond", action="store_true", help="also fill before the first and behind the last drawn slice"
    )
    command.add_argument("--no-tuning", action="store_true", help="do not practise on this scan: faster, less exact")
    command.add_argument("--model", help=f"folder of another network, or {ALONE} for interpolation without a network")
    command.add_argument("--out", required=True, help="folder for the results")
    command.add_argument("--png", help="file for a page to look at: every slice with outline, overlay and rank")
    command.add_argument("--slice-axis", default="auto", choices=("auto", "i", "j", "k"), help="axis of the slices")
    command.add_argument("--frame", type=int, help="the volume of a 4-D image or a sequence, from 0")
    command.add_argument("--seed", type=int, default=0, help="same seed, same device, same result")
    add_device(command)

    command = add("train-fill", run_train_fill, "Train the network of fill, or continue a stopped training.")
    command.add_argument("--data", action="append", default=[], metavar="DATASET", help="a data set; repeat for each")
    command.add_argument("--phantoms", type=int, default=0, help="how many phantoms to learn from as well")
    command.add_argument(
        "--phantom-seed", type=int, default=1000, help="seed of the first phantom (default %(default)s)"
    )
    command.add_argument("--split", help="JSON file of nnU-Net's folds, for --unseen-fold")
    command.add_argument(
        "--unseen-fold", type=int, action="append", default=[], help="leave out the validation patients of this fold"
    )
    command.add_argument("--without", action="append", default=[], metavar="NAME", help="leave out a patient or case")
    command.add_argument("--without-label", action="append", default=[], metavar="NAME", help="leave out a structure")
    command.add_argument("--patient-pattern", help=PATTERN)
    command.add_argument(
        "--plan", help="JSON, or a file of it, with fields of the plan (csam.training.fill_training.FillPlan)"
    )
    command.add_argument("--steps", type=int, help="number of training steps")
    command.add_argument("--seed", type=int, help="same seed, same examples")
    command.add_argument("--out", required=True, help="folder for checkpoint and model")

    command = add("train", run_train, "Train a model on your own cases, or continue a stopped training.")
    command.add_argument("dataset", help=DATASET)
    command.add_argument("--out", required=True, help="folder for plan, log, learning curve, checkpoint and model")
    command.add_argument("--extra", action="append", default=[], help="a further data set, for training only")
    command.add_argument(
        "--fine-tune",
        metavar="MODEL",
        help="a model to start from: a shipped name, a folder or a zip; with "
        "--cross-validate also the folder of an earlier cross-validation",
    )
    command.add_argument("--digest", default="", help=argparse.SUPPRESS)  # that the model to start from must have
    command.add_argument(
        "--split",
        help="JSON file that names patients or cases for training and validation, or nnU-Net's splits_final.json; what "
        "it does not name is left out",
    )
    command.add_argument(
        "--fold",
        type=_fold,
        help="which split of nnU-Net's file, from 0 (default 0); with --cross-validate: do one training only, the one "
        "without this fold, or, given all, the one on all patients",
    )
    command.add_argument(
        "--cross-validate",
        action="store_true",
        help="train on all patients, and once without each fold of them, which assesses and calibrates the model",
    )
    command.add_argument(
        "--plan", help="JSON, or a file of it, with fields of the plan; options given here overrule it"
    )
    command.add_argument("--dry-run", action="store_true", help="print the plan with its reasons; write nothing")
    command.add_argument(
        "--card",
        help="JSON, or a file of it, with name, version, title, about, modality, licence, labels and measures of the "
        "model",
    )
    command.add_argument(
        "--progress",
        default="text",
        choices=("text", "json"),
        help="json: write a line of JSON for each event, and read orders (stop, keep) from standard input; its end "
        "stops the training",
    )
    command.add_argument(
        "--send-model",
        action="store_true",
        help="with --progress json: write the finished model to standard output, too, for a program elsewhere",
    )
    add_device(command)
    _add_plan_options(command)

    def add_cases(command: argparse.ArgumentParser) -> None:
        command.add_argument("dataset", help=DATASET)
        command.add_argument(
            "--patients",
            help='comma-separated patients and cases, or "validation": those on which the model was validated '
            "(default: all)",
        )
        command.add_argument("--patient-pattern", help=PATTERN)

    command = add(
        "calibrate", run_calibrate, "Calibrate a model's error probabilities on patients it was not trained on."
    )
    add_cases(command)
    command.add_argument("--model", default="cardiac-lv", help="a shipped model's name, a folder or a zip")
    command.add_argument("--out", required=True, help="folder for the figures; the model goes into its folder model")
    command.add_argument("--name", default="", help="name of the new model (default: MODEL's with -calibrated added)")
    command.add_argument("--contours", action="store_true", help="also move the contours to where those of DATASET lie")
    add_device(command)

    command = add("evaluate", run_evaluate, "Measure a model on a data set with known truth.")
    add_cases(command)
    command.add_argument("--json", help="write the figures to this file")
    command.add_argument("--png", help="write a reliability diagram and a risk-coverage curve to this file")
    command.add_argument(
        "--energy-distance",
        action="store_true",
        help="also measure the energy distance of the samples; takes twice the time",
    )
    add_run_options(command)

    command = add("convert", _convert, "Make a model from a bare state dict, such as one of the published code.")
    command.add_argument("weights", help="file with a plain state dict")
    command.add_argument("--card", help="JSON file: names of channels and labels, in_plane_spacing ...")
    command.add_argument("--out", required=True, help="folder, or .zip, for the model")

    command = add("models", _models, "List the shipped models, or print the card of one.")
    command.add_argument("model", nargs="?", help="a shipped model's name, a folder or a zip")

    command = add("phantom", _phantom, "Write a data set of cardiac phantoms with exact truth.")
    command.add_argument("out", help="folder for the data set")
    command.add_argument("--count", type=int, default=10, help="how many phantoms (default %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed of the first phantom; the next ones count up")
    command.add_argument(
        "--structure", choices=("all", "left-ventricle", "whole-left-ventricle"), default="left-ventricle",
        help="what is labelled: all structures, the left ventricular cavity, or cavity and myocardium "
        "(default %(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--thick-walled", action="store_true", help="left ventricles as in hypertrophic cardiomyopathy"
    )
    command.add_argument(
        "--wall-drawn-thinner",
        type=float,
        default=0.0,
        metavar="MM",
        help="label the myocardium so much thinner, from outside, as experts do who leave out the dark line around it",
    )

    add("worker", _worker, "Run the network for another program, over standard input and output.")
    return parser


def _fold(text: str) -> int | str:
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no fold; 0, 1, ... or all was expected")
    return text if text == "all" else int(text)


def _add_plan_options(command: argparse.ArgumentParser) -> None:
    """An option for every field of the plan, with its type and default."""
    from ..training.plan import AUTOMATIC, WORDS, Plan

    group = command.add_argument_group(
        "the plan",
        "The default of each field is in brackets; with --fine-tune, the model sets other defaults. "
        "--dry-run prints what is chosen, and why.",
    )
    for field in fields(Plan):
        default = field.default
        name, kind = f"--{field.name.replace('_', '-')}", type(default)
        usual = "automatic" if field.name in AUTOMATIC else f"default {default}".replace("%", "%%")
        common = {"dest": f"plan_{field.name}", "default": None, "help": f"{WORDS[field.name]} ({usual})"}
        if kind is bool:
            group.add_argument(name, action=argparse.BooleanOptionalAction, **common)
        elif kind is tuple:
            group.add_argument(name, type=type(default[0]), nargs=len(default), **common)
        else:
            group.add_argument(name, type=kind, **common)
