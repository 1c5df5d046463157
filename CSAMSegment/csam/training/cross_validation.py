"""Cross-validation: a model that learns from everyone, and is assessed and calibrated by others that learned like it.

``python -m csam train DATASET --out DIR --cross-validate``. Each of the others leaves out one fold of the patients and
measures them; nothing is chosen on these, all take the same steps. So every patient teaches the model, and every
patient calibrates it while unseen: with few patients, much against a few validation patients.

Step: all of them, once for each fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, InputError
from ..model import Model
from ..result import Progress, ProgressCallback
from .auto_plan import Decision, decide
from .dataset import Case, Dataset, read_folds
from .distributed import joined
from .model_match import selected_weights
from .output_folder import SPLITS, begin_cross_validation, locked
from .plan import Plan
from .prepare import Preparation, checked_plan, preparation_of, read_data_sets
from .split import split_names
from .train import Training

FOLDS = 5
ALL = "all"
"""The folder of the training on everyone; those of the folds are fold-0, fold-1 ..."""
LAST = {"weights": "last", "patience": 0}
UNCHOSEN = "in a cross-validation nothing is chosen on those who assess"

Subsets = tuple[tuple[Case, ...], tuple[Case, ...]]


def random_folds(data: Dataset, seed: int = 0) -> list[Subsets]:
    """Training and validation cases of FOLDS folds by patient, with fewer than FOLDS patients of as many as there are.

    Patients without any structure are spread over the folds by themselves. Raises InputError with fewer than two who
    have structures.
    """
    shown = {case.patient for case in data.cases if data.facts[case.name].voxels}
    count = min(FOLDS, len(shown))
    if count < 2:
        raise InputError(
            f"{data.name} has {len(shown)} patient(s) with structures; a cross-validation takes two or more."
        )
    order = np.random.default_rng(seed)
    groups = [order.permutation(sorted(group)).tolist() for group in (shown, {*data.patients} - shown)]
    folds = [{*groups[0][k::count], *groups[1][k::count]} for k in range(count)]
    return [(data.of([p for p in data.patients if p not in fold]), data.of(fold)) for fold in folds]


def prepare_folds(
    dataset: str | Path,
    plan: Plan | Mapping[str, Any] | None = None,
    extra: Sequence[str | Path] = (),
    fine_tune: str | Path | Model | None = None,
    split: str | Path | None = None,
    fold: int | str | None = None,
) -> tuple[dict[str, Preparation], list[dict[str, list[str]]]]:
    """The trainings by the names of their folders, ALL last, which validates on nobody; and all folds, as nnU-Net's
    splits_final.json has them.

    fine_tune: a model, from which every training starts, or the folder of a cross-validation: each starts from the one
    of its name. split: such a file; without one the folds are random. fold: number or ALL, the only one to prepare.
    Raises InputError as ``csam.training.prepare.prepare``, and where who is to assess has chosen the weights of what
    is started from.
    """
    given = checked_plan(plan)

    def folds_of(data: Dataset) -> tuple[list[Subsets], list[str]]:
        return read_folds(split, data) if split is not None else ([], [])

    data, further, folds = read_data_sets(dataset, given, extra, folds_of)
    folds = folds or random_folds(data, given.get("split_seed", Plan.split_seed))
    everyone = {case for subsets in folds for subset in subsets for case in subset}
    parts = {name_of(number): subsets for number, subsets in enumerate(folds)}
    parts[ALL] = tuple(case for case in data.cases if case in everyone), ()
    if fold is not None and name_of(fold) not in parts:
        raise InputError(f"There is no fold {fold}; there are 0 to {len(folds) - 1}, and {ALL}.")
    prepared = {}
    for name, subsets in parts.items():
        if fold is not None and name != name_of(fold):
            continue
        start = _start_of(name, fine_tune)
        decisions = {decision.field: decision for decision in decide(data, start, given)}
        decisions |= {field: Decision(field, value, UNCHOSEN) for field, value in LAST.items()}
        del decisions["validation_patients"]
        try:
            prepared[name] = preparation_of(data, further, tuple(decisions.values()), subsets, start)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        selecting = sorted(selected_weights(start, subsets[1]))
        if selecting:
            raise InputError(
                f"{name}: {', '.join(selecting[:5])} selected the weights of {start.name}, and cannot assess what "
                "starts from it. Start from a cross-validation, or from a model that has not seen them."
            )
    return prepared, [
        {"train": split_names(data, training), "val": split_names(data, held)} for training, held in folds
    ]


def name_of(fold: int | str) -> str:
    """The folder's name of a fold, or of the training on everyone."""
    return ALL if fold == ALL else f"fold-{fold}"


def _start_of(part: str, fine_tune: str | Path | Model | None) -> Model | None:
    if isinstance(fine_tune, Model | None):
        return fine_tune
    if not is_cross_validation(fine_tune):
        return Model.load(fine_tune)
    own = Path(fine_tune) / part / "model"
    if not (own / "model.json").is_file():
        raise InputError(f"{fine_tune} has no finished {part} to start from. Finish that cross-validation first.")
    return Model.load(own)


def is_cross_validation(folder: str | Path) -> bool:
    """Whether a folder is the OUT of one."""
    return (Path(folder) / SPLITS).is_file()


def cross_validate(
    dataset: str | Path,
    out: str | Path,
    plan: Plan | Mapping[str, Any] | None = None,
    extra: Sequence[str | Path] = (),
    card: dict | None = None,
    device: str = "auto",
    fine_tune: str | Path | Model | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
    log: Callable[[str], None] = print,
    split: str | Path | None = None,
    fold: int | str | None = None,
) -> Model | None:
    """Trains on all folds but one, each in turn, then on everyone; returns the model of everyone, calibrated.

    As ``csam.training.train.train``, but for fine_tune, split and fold (see ``prepare_folds``) and OUT: it gets
    splits_final.json, a folder for every training, and the calibrated model/, evaluation.json and evaluation.png. With
    a fold only that part is trained, and returned as it is. What is finished is not trained again.
    """
    out = Path(out)
    with joined() as group:
        log = log if group.first else lambda text: None
        parts, splits = prepare_folds(dataset, plan, extra, fine_tune, split, fold)
        group.agree(lambda: begin_cross_validation(parts, splits, out))

        def trained(number: int, name: str) -> Model | None:
            log(f"{name}, {number + 1} of {len(parts)}:")
            training = Training(parts[name], out / name, card or {}, device, group, log)
            with training.reserved():
                model = training.run(_share(progress, number, len(parts)), cancelled)
                if group.first:  # for those to come that start from it; whoever opens it is told what it is
                    replace(model, title=f"{model.title} ({name} of a cross-validation)").save(out / name / "model")
            return model

        models = {name: trained(number, name) for number, name in enumerate(parts)}
        if fold is not None:
            log(
                f"Saved {out / name_of(fold) / 'model'}. Without --fold the same command finishes the cross-validation."
            )
            return models[name_of(fold)]
        if not group.first:
            return None
        with locked(out):
            return _calibrated(parts, models, out, device, log, cancelled)


def _share(progress: ProgressCallback | None, number: int, of: int) -> ProgressCallback | None:
    """The progress of one of several parts, as that of all; how long the others take is not known."""
    if progress is None:
        return None
    return lambda part: progress(Progress((number + part.fraction) / of, f"{number + 1} of {of}, {part.stage}", None))


def _calibrated(
    parts: Mapping[str, Preparation],
    models: Mapping[str, Model],
    out: Path,
    device: str,
    log: Callable[[str], None],
    cancelled: Callable[[], bool] | None,
) -> Model:
    """The model of everyone, calibrated with what the models of the folds make of the patients whom they have not
    seen."""
    from .calibrate import calibrated_from, measured  # heavy: the whole pipeline

    folds = [name for name in parts if name != ALL]
    log(f"Calibrating: the models of the {len(folds)} folds assess those whom they have not seen.")
    before, augmented = [], []
    try:
        for name in folds:
            plain, turned = measured(models[name], parts[name].validation_cases, log, cancelled, device)
            before, augmented = before + plain, augmented + turned
    except Cancelled as error:
        raise Cancelled("Stopped while calibrating; the same command goes on from the end of the trainings.") from error
    everyone = models[ALL]
    provenance = {**everyone.provenance, "folds": [parts[name].validation for name in folds]}
    whose = (
        f"Cross-validation: the patients were divided into {len(folds)} folds. {len(folds)} models were trained like "
        "this one, each without one fold, and each segmented the fold that it had not seen. This model was trained on "
        f"all patients and uses the calibration of these {len(folds)} models."
    )
    return calibrated_from(replace(everyone, provenance=provenance), before, out, whose, log, augmented)
