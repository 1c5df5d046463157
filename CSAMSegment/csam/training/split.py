"""The two subsets of a training, who is trained and who is validated on: made, named and looked over.

Step: split.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import InputError
from .dataset import Case, Dataset, split
from .plan import Plan


def random_split(data: Dataset, plan: Plan, learnt: Collection[str] = ()) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """The cases of both subsets; to validate on, patients with structures, where more of them are there than needed.

    learnt: patients whom the model to start from was trained on, who can validate nothing any more. Raises InputError
    where they leave nobody.
    """
    shown = sorted({case.patient for case in data.cases if data.facts[case.name].voxels} - {*learnt})
    others = [patient for patient in data.patients if patient not in learnt]
    if learnt and len(others) <= plan.validation_patients:
        if not others:
            raise InputError(
                "The model to start from was trained on every patient of this data set: nobody is left for validation. "
                "Start from another model, or add patients. If these are other people of the same names, rename their "
                "cases."
            )
        validation = others
    else:
        among = shown if len(shown) > plan.validation_patients else others
        _, validation = split(among, plan.validation_patients, plan.split_seed)
    return data.of([patient for patient in data.patients if patient not in validation]), data.of(validation)


def split_names(data: Dataset, cases: Sequence[Case]) -> list[str]:
    """A subset as a split file names it: patients who are in it with all their cases, and the cases of the others.

    A patient's name that is also that of one of several cases would stand for that case: there the cases are named.
    """
    parted = {case.patient for case in set(data.cases) - set(cases)}
    names = {case.name for case in data.cases}
    parted |= {patient for patient in data.patients if patient in names and len(data.of([patient])) > 1}
    return sorted({case.name if case.patient in parted else case.patient for case in cases})


def check_split(
    data: Dataset,
    training: Sequence[Case],
    validation: Sequence[Case],
    further: Sequence[Dataset],
    choosing: bool = True,
) -> tuple[str, ...]:
    """What is odd about the two subsets, a sentence each; the cases of the further data sets are trained on.

    The validation may be nobody. choosing: whether the weights are chosen on it. Raises InputError where
    a subset has no structure at all, or an image of the validation is trained on, too.
    """
    _check_apart(data, training, validation, further)
    more = [case for other in further for case in other.cases]
    found = {
        subset: [data.facts[case.name].voxels for case in cases]
        for subset, cases in (("training", training), ("validation", validation))
    }
    found["training"] += [other.facts[case.name].voxels for other in further for case in other.cases]
    notes = []
    for subset, meaning in (("training", "it is not learned"), ("validation", "it is not measured")):
        if subset == "validation" and not validation:
            continue
        if not any(found[subset]):
            raise InputError(
                f"No {subset} scan shows a structure: the labels of all {len(found[subset])} are empty. Put patients "
                "with structures into both subsets, with --split or another --validation-patients."
            )
        missing = [name for value, name in enumerate(data.labels, 1) if not any(value in v for v in found[subset])]
        notes += [f"no {subset} scan shows {name}: {meaning}" for name in missing]
    notes += _known_in_part(data, training, "training", "nothing is learned from the unknown voxels")
    notes += _known_in_part(
        data, validation, "validation", "their Dice is measured on known voxels, their volume is not"
    )
    empty = sum(not voxels for voxels in found["validation"])
    if empty and choosing:
        notes.append(
            f"{empty} of {len(validation)} validation scans show no structure: when the weights are chosen, each "
            "counts as a Dice of 1 if nothing is found in it, and of 0 otherwise"
        )
    twins = sorted({case.name for case in more} & {case.name for case in validation})
    if twins:
        notes.append(
            f"cases of --extra have the names of validation cases ({', '.join(twins[:5])}): make sure that they are "
            "other scans"
        )
    return tuple(notes)


def _known_in_part(data: Dataset, cases: Sequence[Case], subset: str, meaning: str) -> list[str]:
    count = sum(not data.facts[case.name].whole for case in cases)
    return [f"{count} of {len(cases)} {subset} scans are known in part only: {meaning}"] if count else []


def _check_apart(
    data: Dataset, training: Sequence[Case], validation: Sequence[Case], further: Sequence[Dataset]
) -> None:
    """Raises InputError where a validation scan is trained on, under whatever name: its voxels, or a file of its."""
    validated = {mark: case.name for case in validation for mark in _marks(data, case)}
    for other in (data, *further):
        for case in training if other is data else other.cases:
            twin = next((validated[mark] for mark in _marks(other, case) if mark in validated), None)
            if twin is not None:
                raise InputError(
                    f"The training case {case.name} of {other.name} and the validation case {twin} are the same scan, "
                    "so the validation would look too good. Leave one of them out, or put both into one subset with "
                    "--split."
                )


def _marks(data: Dataset, case: Case) -> set:
    """What tells a scan from others: its voxels and its files."""
    return {data.facts[case.name].fingerprint, *(path.resolve() for path in (*case.images, case.labels))}
