"""csam train, evaluate and calibrate."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path

from ..errors import InputError
from ..image.files import read_json
from ..process.interrupts import interruptible
from ..result import Options
from .files import check_extras, check_folder, check_place, check_there, find_model, json_object
from .training_lines import is_first


def run_train(options: argparse.Namespace) -> None:
    if options.send_model and options.progress == "text":
        raise InputError("--send-model goes with --progress json.")
    if options.progress == "text":
        _train(options)
        return
    if options.cross_validate:
        raise InputError("--progress json works for a single training only, not with --cross-validate.")
    from .training_lines import lines

    with lines() as told:
        _train(options, told)


def _train(options: argparse.Namespace, told=None) -> None:
    """told: the ``training_lines.Lines`` to tell events to; None for text."""
    if told is not None:
        check_extras(("torch",))
    if options.send_model:
        check_there(options.dataset, options.fine_tune)
    if options.dry_run and not is_first():
        return
    from ..training.plan import Plan
    from ..training.prepare import prepare
    from ..training.train import train
    from ..training.training_request import CHECKPOINT, steps_of

    values = json_object(options.plan)
    for field in fields(Plan):
        given = getattr(options, f"plan_{field.name}")
        if given is not None:
            values[field.name] = given
    batch = _batch_of(Path(options.out)) or int(os.environ.get("WORLD_SIZE", 1))
    if batch > 1:  # goes on, in however many processes, as it was begun
        values.setdefault("batch", batch)
    card = json_object(options.card)
    if options.cross_validate:
        _cross_validate(options, values, card)
        return
    if options.fold == "all":
        raise InputError(
            "--fold all needs --cross-validate: only the other folds can assess a training on all patients."
        )
    start = find_model(options.fine_tune) if options.fine_tune else None
    if start is not None and options.digest and not (Path(options.out) / CHECKPOINT).exists():  # a resumed one has it
        start.check_digest(options.digest, options.fine_tune)
    if options.dry_run:
        prepared = prepare(options.dataset, values, options.extra, start, options.split, options.fold)
        if told is None:
            _tell(prepared, card)
        else:
            from .training_lines import told_plan

            told.tell("plan", **told_plan(prepared, prepared.begin(card).anew))
        return
    check_extras()
    out = Path(options.out)
    with interruptible() as asked:
        how = {"cancelled": asked}
        if told is not None:
            orders = told.orders
            how = {"cancelled": lambda: asked() or orders.stop(), "enough": orders.keep}
            how |= {"progress": told.progress, "log": told.log}
            how["recorded"] = lambda row: told.recorded({**row, "steps": steps_of(out)})
            if (out / CHECKPOINT).exists():
                told.tell("resumes")
        train(
            options.dataset, options.out, values, options.extra, card, options.device, start,
            split=options.split, fold=options.fold, **how,
        )  # fmt: skip
    if told is not None and told.speaks:
        _tell_of_end(told, out / "model", options.send_model)


def _tell_of_end(told, model: Path, sending: bool) -> None:
    """The last events of a training that has a model."""
    from ..process import sent_model

    about = {"model": str(model)}
    if sending:
        archive = sent_model.archive_of(model)
        for piece in sent_model.pieces(archive):
            told.tell("model", **piece)
        about["sha256"] = sent_model.fingerprint(archive)
    told.tell("done", **about)


def _batch_of(out: Path) -> int | None:
    """The stacks of a step of the training that a folder holds; None where it holds none."""
    try:
        return int(read_json(out / "plan.json")["batch"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _cross_validate(options: argparse.Namespace, plan: dict, card: dict) -> None:
    from ..training.cross_validation import cross_validate, is_cross_validation, prepare_folds

    start = options.fine_tune
    if start and not is_cross_validation(start):
        start = find_model(start)
    if options.dry_run:
        parts, _ = prepare_folds(options.dataset, plan, options.extra, start, options.split, options.fold)
        for part, prepared in parts.items():
            print(f"{part}:")
            _tell(prepared, card)
        return
    check_extras()
    with interruptible() as asked:
        cross_validate(
            options.dataset, options.out, plan, options.extra, card, options.device, start,
            cancelled=asked, split=options.split, fold=options.fold,
        )  # fmt: skip


def _tell(prepared, card: dict) -> None:
    """Prints what a training would do."""
    anew = prepared.begin(card).anew
    print(*prepared.decisions, *(f"Note: {note}" for note in prepared.notes), *anew, sep="\n")
    for subset in ("training", "validation"):
        print(f"{subset} patients: {', '.join(getattr(prepared, subset)) or 'none'}")


def run_evaluate(options: argparse.Namespace) -> None:
    from ..training import figures
    from ..training.calibrate import assessment_note, calibrated, summary
    from ..training.case_choice import chosen_cases
    from ..training.evaluate import evaluate
    from ..training.model_match import as_learned

    check_extras()
    for place in filter(None, (options.json, options.png)):
        check_place(place)
    model = find_model(options.model)
    data, cases = chosen_cases(options.dataset, model, options.patients, options.patient_pattern)
    cases = as_learned(model, data, cases)
    run = Options(options.samples, options.seed, options.device, test_time_augmentation=options.test_time_augmentation)
    before = evaluate(model.uncalibrated(), cases, run, energy_distance=options.energy_distance)
    after, note = calibrated(before, model, run), assessment_note(before, model)
    summaries = summary(before, model), summary(after, model)
    print(figures.table(*summaries, note))
    about = {"model": model.name, "sha256": model.sha256, "data": data.name, "samples": run.samples, "note": note}
    if options.json:
        figures.write_json(options.json, about, *summaries, after)
    if options.png:
        figures.draw(options.png, f"{model.title} on {data.name}", before, after)


def run_calibrate(options: argparse.Namespace) -> None:
    from ..training.calibrate import calibrate_on
    from ..training.case_choice import chosen_cases

    check_extras()
    model = find_model(options.model)
    data, cases = chosen_cases(options.dataset, model, options.patients, options.patient_pattern)
    Path(options.out).mkdir(parents=True, exist_ok=True)
    check_folder(options.out)
    calibrate_on(
        model, data, cases, Path(options.out), device=options.device, contours=options.contours, name=options.name
    )
