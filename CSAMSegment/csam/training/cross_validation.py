"""Cross-validation: a model that learns from everyone, and is judged and calibrated by others that learned like it.

``python -m csam train DATASET --out DIR --cross-validate``. Each of the others leaves out one fold of the patients and
measures them; nothing is chosen on these, all take the same steps. So every patient teaches the model, and every
patient calibrates it without having been met: with few patients, much against a few who were held out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cancelled, InputError
from ..model import Calibration, Model
from ..result import Options, Progress, ProgressCallback
from .dataset import Case, Dataset, read_folds
from .distributed import joined
from .plan import Plan
from .planning import Decision, decide
from .preparing import Preparation, checked, read_all, settled
from .train import Training

FOLDS = 5
ALL = "all"
"""The folder of the training on everyone; those of the folds are fold-0, fold-1 ..."""
LAST = {"weights": "last", "patience": 0}
UNCHOSEN = "in a cross-validation nothing is chosen on those who judge"

Sides = tuple[tuple[Case, ...], tuple[Case, ...]]


def drawn_folds(data: Dataset, seed: int = 0) -> list[Sides]:
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
    start_of: Callable[[str], Model | None] = lambda part: None,
    split: str | Path | None = None,
) -> dict[str, Preparation]:
    """The trainings by the names of their folders, ALL last, which validates on nobody.

    start_of: the model from which the training of such a name starts. split: a file of one split for each fold, as
    nnU-Net's splits_final.json; without one they are drawn. Raises InputError as ``csam.training.preparing.prepare``.
    """
    given = checked(plan)

    def folds_of(data: Dataset) -> tuple[list[Sides], list[str]]:
        return read_folds(split, data) if split is not None else ([], [])

    data, further, folds = read_all(dataset, given, extra, folds_of)
    folds = folds or drawn_folds(data, given.get("split_seed", Plan.split_seed))
    named = {case for sides in folds for side in sides for case in side}
    parts = {f"fold-{k}": sides for k, sides in enumerate(folds)}
    parts[ALL] = tuple(case for case in data.cases if case in named), ()
    prepared = {}
    for name, sides in parts.items():
        start = start_of(name)
        decisions = {decision.field: decision for decision in decide(data, start, given)}
        decisions |= {field: Decision(field, value, UNCHOSEN) for field, value in LAST.items()}
        prepared[name] = settled(data, further, tuple(decisions.values()), sides, start)
    return prepared


def cross_validate(
    dataset: str | Path,
    out: str | Path,
    plan: Plan | Mapping[str, Any] | None = None,
    extra: Sequence[str | Path] = (),
    card: dict | None = None,
    device: str = "auto",
    start_of: Callable[[str], Model | None] = lambda part: None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
    log: Callable[[str], None] = print,
    split: str | Path | None = None,
    fold: int | str | None = None,
) -> Model | None:
    """Trains on all folds but one, each in turn, then on everyone; returns the model of everyone, calibrated.

    As ``csam.training.train.train``, but for start_of and split (see ``prepare_folds``) and OUT: it gets a folder for
    every training, and the calibrated model/, evaluation.json and evaluation.png. fold: train this one only, or ALL,
    and return its model as it is; what is finished is not trained again, so several machines may share the work.
    """
    out = Path(out)
    with joined() as group:
        log = log if group.first else lambda text: None
        parts = prepare_folds(dataset, plan, extra, start_of, split)
        only = fold if fold in (None, ALL) else f"fold-{fold}"
        if only is not None:
            if only not in parts:
                raise InputError(f"There are {len(parts) - 1} folds, counted from 0, and {ALL}; there is no {only}.")
            parts = {only: parts[only]}
        models: dict[str, Model | None] = {}
        for number, (name, prepared) in enumerate(parts.items()):
            training = Training(prepared, out / name, card or {}, device, group, log)
            log(f"{name}, {number + 1} of {len(parts)}:")
            models[name] = training.run(_share(progress, number, len(parts)), cancelled)
            if group.first:
                models[name].save(out / name / "model")
        if only is not None:
            return models[only]
        return _judged(parts, models, out, device, log, cancelled) if group.first else None


def _share(progress: ProgressCallback | None, number: int, of: int) -> ProgressCallback | None:
    """The progress of one of several parts, as that of all; how long the others take is not known."""
    if progress is None:
        return None
    return lambda part: progress(Progress((number + part.fraction) / of, f"{number + 1} of {of}, {part.stage}", None))


def _judged(
    parts: Mapping[str, Preparation],
    models: Mapping[str, Model],
    out: Path,
    device: str,
    log: Callable[[str], None],
    cancelled: Callable[[], bool] | None,
) -> Model:
    """The model of everyone, calibrated with what the models of the folds make of those whom they have not met."""
    from .calibrate import judged_by  # heavy: the whole pipeline
    from .evaluate import evaluate

    folds = [name for name in parts if name != ALL]
    log(f"Calibrating: the models of the {len(folds)} folds judge those whom they have not met.")
    before = []
    try:
        for name in folds:
            judge = replace(models[name], calibration=Calibration())
            before += evaluate(judge, parts[name].validation_cases, Options(device=device), log, cancelled)
    except Cancelled as error:
        raise Cancelled("Stopped while calibrating; the same command goes on from the end of the trainings.") from error
    everyone = models[ALL]
    provenance = {**everyone.provenance, "folds": [parts[name].validation for name in folds]}
    whose = (
        f"Cross-validated: each of {len(folds)} models that learned like this one, but without one fold of the "
        "patients, judged the scans of that fold. This one learned from all of them."
    )
    return judged_by(replace(everyone, provenance=provenance), before, out, whose, log)
