"""Which cases of a data set a finished model is measured or calibrated on.

Step: read the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from ..errors import InputError
from ..model import Model
from .auto_plan import patient_pattern
from .dataset import Case, Dataset, read_dataset
from .model_match import own_patient

MANY = 20
"""More names than these are not all told."""


def chosen_cases(
    folder: str | Path,
    model: Model,
    patients: str | None = None,
    pattern: str | None = None,
    log: Callable[[str], None] = print,
) -> tuple[Dataset, list[Case]]:
    """The data set and those of its cases that are asked for.

    patients: names of patients and of cases, separated by commas, "validation" for the model's own, None for all. A
    case's name stands for that case, any other for all cases of the patient of that name, as in a split's file.
    pattern: a regular expression whose first group is the patient. Without one the model's own tells the patients of
    its own data, under whatever name the folder goes now; those of other data are told by the names of the cases, as
    before a training. Raises InputError with every name that is nobody's.
    """
    data = read_dataset(folder, pattern or "(.*)")
    wanted = [name for part in (patients or "").split(",") if (name := part.strip())]
    trained, validated = (model.provenance.get(f"{part}_patients", []) for part in ("training", "validation"))
    if wanted == ["validation"]:
        wanted = validated
        if model.provenance.get("folds"):
            raise InputError(
                f"{model.name} learned from all of its patients, so it has no validation patients. The figures of its "
                "cross-validation are in its card. Name patients whom it has not seen."
            )
        if not wanted:
            raise InputError(f"{model.name} does not say whom it was validated on. Name the patients.")
    if not pattern:
        read = [replace(case, patient=own_patient(model, case.name)) for case in data.cases]
        names = {case.name for case in data.cases}
        familiar = {case.patient for case in read} & {*trained, *validated, *({*wanted} - names)}
        if familiar or data.name == model.provenance.get("data"):
            data = replace(data, cases=tuple(read))
        elif data.cases:
            data = data.by_patient(patient_pattern([case.name for case in data.cases])[0])
    if not wanted:
        return data, list(data.cases)
    found = data.named
    unknown = [name for name in dict.fromkeys(wanted) if name not in found]
    if unknown and (wanted != validated or len(unknown) == len(wanted)):
        raise InputError(f"{folder} holds neither a patient nor a case {_nearest(unknown, [*found])}")
    if unknown:
        log(f"Of the validation patients {', '.join(unknown)} are not in {folder}.")
    for name in wanted:
        more = sorted(case.name for case in data.of([name]) if case.name != name)
        if found.get(name) == {name} and more:
            log(f"{name} is a case and a patient: that case alone is taken. Of the patient there is {', '.join(more)}.")
    taken = set().union(*(found.get(name, ()) for name in wanted))
    return data, [case for case in data.cases if case.name in taken]


def _nearest(unknown: Sequence[str], known: Sequence[str]) -> str:
    """The names that are nobody's, each with those that it may have been meant for; all that there are where few."""
    meant = {name: get_close_matches(name, known, 3) for name in unknown}
    said = "; ".join(name + (f" (did you mean {' or '.join(near)}?)" if near else "") for name, near in meant.items())
    few = len(known) <= MANY
    return f"{said}. There are {', '.join(known) if few else f'{len(known)}, from {known[0]} to {known[-1]}'}."
