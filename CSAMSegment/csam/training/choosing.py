"""Which cases of a data set a finished model is measured or calibrated on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..errors import InputError
from ..model import Model
from .dataset import Case, Dataset, read_dataset
from .matching import own_patient
from .planning import patient_pattern


def chosen(
    folder: str | Path,
    model: Model,
    patients: str | None = None,
    pattern: str | None = None,
    log: Callable[[str], None] = print,
) -> tuple[Dataset, list[Case]]:
    """The data set and those of its cases that are asked for.

    patients: names of patients or cases, separated by commas, "validation" for the model's own, None for all. pattern:
    a regular expression whose first group is the patient. Without one the model's own tells the patients of its own
    data, under whatever name the folder goes now; those of other data are told by the names of the cases, as before a
    training. Raises InputError for patients who are not there.
    """
    data = read_dataset(folder, pattern or "(.*)")
    wanted = [name for part in (patients or "").split(",") if (name := part.strip())]
    trained, validated = (model.provenance.get(f"{part}_patients", []) for part in ("training", "validation"))
    if wanted == ["validation"]:
        wanted = validated
        if model.provenance.get("folds"):
            raise InputError(
                f"{model.name} learned from all of its patients, and others like it judged them: the figures are in "
                "its card. Name patients whom it has not met."
            )
        if not wanted:
            raise InputError(f"{model.name} does not say whom it was validated on. Name the patients.")
    if not pattern:
        read = [replace(case, patient=own_patient(model, case.name)) for case in data.cases]
        familiar = {case.patient for case in read} & {*trained, *validated, *wanted}
        if familiar or data.name == model.provenance.get("data"):
            data = replace(data, cases=tuple(read))
        elif data.cases:
            data = data.by_patient(patient_pattern([case.name for case in data.cases])[0])
    if not wanted:
        return data, list(data.cases)
    unknown = [name for name in wanted if name not in {*data.patients, *(case.name for case in data.cases)}]
    if unknown and (wanted != validated or len(unknown) == len(wanted)):
        raise InputError(
            f"{folder} holds no patient {', '.join(unknown)}. Choose of these: {', '.join(data.patients)}."
        )
    if unknown:
        log(f"Of the validation patients {', '.join(unknown)} are not in {folder}.")
    return data, [case for case in data.cases if {case.patient, case.name} & {*wanted}]
