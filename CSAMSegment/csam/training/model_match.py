"""A finished model beside a data set: whose channels and labels are the same, and which patients it has seen.

Step: read the data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image.unknown import UNKNOWN
from ..model import Calibration, Model
from .dataset import Case, Dataset

if TYPE_CHECKING:
    from .evaluate import CaseMeasures


@dataclass(frozen=True)
class Relabelled(Case):
    """A case whose truth is read in a model's values. values: the model's of each of the data set's, from 0 on."""

    values: tuple[int, ...] = ()

    def read(self) -> tuple[list[sitk.Image], sitk.Image]:
        images, truth = super().read()
        return images, relabelled(truth, self.values)


def relabelled(truth: sitk.Image, values: Sequence[int]) -> sitk.Image:
    """Labels in other values; what is UNKNOWN stays so. values: the new one of each that there is, from 0 on."""
    table = np.full(UNKNOWN + 1, UNKNOWN, np.uint8)
    table[: len(values)] = values
    labels = sitk.GetImageFromArray(table[sitk.GetArrayViewFromImage(truth).astype(int)])
    labels.CopyInformation(truth)
    return labels


def values_by_name(model: Model) -> dict[str, int]:
    """The values of a model's labels by their names, and by those that its training data had for them, in small
    letters."""
    learned = {str(name).casefold(): value for value, name in enumerate(model.provenance.get("data_labels", []), 1)}
    return {label.name.casefold(): label.value for label in model.labels} | learned


def places(wanted: Sequence[str], names: Sequence[str]) -> list[int | None]:
    """Where among the names of channels each of those wanted stands, large or small letters alike; None for a stranger.

    A name that stands twice tells nothing. Where no name is known and there are as many, the order tells.
    """
    wanted, names = ([name.casefold() for name in group] for group in (wanted, names))
    found = [names.index(w) if names.count(w) == wanted.count(w) == 1 else None for w in wanted]
    in_order = wanted == names or (len(wanted) == len(names) and set(found) == {None})
    return [*range(len(wanted))] if in_order else found


def by_order(wanted: Sequence[str], names: Sequence[str]) -> str:
    """Which channels are the same by their order alone, in words; empty where the names tell."""
    found = places(wanted, names)
    pairs = [(names[place], name) for place, name in zip(found, wanted, strict=True) if place is not None]
    return ", ".join(f"{theirs} for {ours}" for theirs, ours in pairs if theirs.casefold() != ours.casefold())


def as_learned(model: Model, data: Dataset, cases: Sequence[Case], log: Callable[[str], None] = print) -> list[Case]:
    """Cases of a data set as the model takes them: its channels in its order, the truth in its values.

    Both go by their names; the log is told where they do not. Raises InputError where one of the model's is nobody's.
    """
    return in_values_of(model, data.labels, in_order_of(model, data.channels, cases, log), log)


def in_order_of(
    model: Model, names: Sequence[str], cases: Sequence[Case], log: Callable[[str], None] = print
) -> list[Case]:
    """The cases with the channels in the model's order. names: of the data set's. The rules are those of ``places``."""
    ours = [channel.name for channel in model.channels]
    found = places(ours, names)
    if None in found:
        raise InputError(
            f"The data set has the channels {', '.join(names)}; {model.name} takes {', '.join(ours)}. Give the data "
            "set's channels the model's names in dataset.json."
        )
    if by_order(ours, names):
        log(
            "Channels of the data set have other names than the model's; they are taken in their order: "
            f"{by_order(ours, names)}."
        )
    if found == [*range(len(names))]:
        return list(cases)
    log(f"Of the data set's channels, {', '.join(names)}, the model gets {', '.join(ours)}.")
    return [replace(case, order=tuple(found)) for case in cases]


def in_values_of(
    model: Model, names: Sequence[str], cases: Sequence[Case], log: Callable[[str], None] = print
) -> list[Case]:
    """The cases with the truth in the model's values: labels of one name, large or small letters, are the same.

    names: of the data set's labels, from value 1 on. The model's go by their own names, and by those that its training
    data had for them. Where both have as many labels and none of the same name stands elsewhere, the order tells of
    the others; what the model does not know becomes background: the log is told of either. Raises InputError with both
    sets where one of the model's labels is nobody's.
    """
    known = values_by_name(model)
    values = [known.get(name.casefold(), 0) for name in names]
    ours = [label.name for label in sorted(model.labels, key=lambda label: label.value)]
    in_order = [*range(1, len(ours) + 1)]
    if 0 in values and len(names) == len(ours) and all(v in (0, i) for v, i in zip(values, in_order, strict=True)):
        pairs = ", ".join(f"{names[i]} for {ours[i]}" for i, value in enumerate(values) if not value)
        log(f"Labels of the data set have other names than the model's; they are taken in their order: {pairs}.")
        values = in_order
    if sorted(filter(None, values)) != in_order:
        raise InputError(
            f"The data set has the labels {', '.join(names)}; {model.name} has {', '.join(ours)}. Give the data "
            "set's labels the model's names in dataset.json."
        )
    unknown = [name for name, value in zip(names, values, strict=True) if not value]
    if unknown:
        log(f"{model.name} does not know {', '.join(unknown)}: counted as background.")
    if values == [*range(1, len(names) + 1)]:
        return list(cases)
    return [
        Relabelled(**vars(case) | {"unlabelled": _ours(case.unlabelled, values)}, values=(0, *values)) for case in cases
    ]


def _ours(unlabelled: Sequence[int], values: Sequence[int]) -> tuple[int, ...]:
    """What a case has not labelled, in the model's values."""
    return tuple(sorted({values[value - 1] for value in unlabelled} - {0}))


def own_patient(model: Model, name: str) -> str:
    """The patient of a case's name as the model's training read it, or the whole name where that does not fit it."""
    return _patient(model.provenance, name)


def _patient(provenance: Mapping[str, Any], name: str) -> str:
    try:
        found = re.match(provenance.get("plan", {}).get("patient_pattern", "(.*)"), name)
    except (re.error, OverflowError, RecursionError):  # of another Python, or of a stranger
        return name
    return (found.group(1) if found and found.re.groups else None) or name


def seen_patients(model: Model | None, cases: Iterable[Case | CaseMeasures], *parts: str) -> set[str]:
    """Those patients of the cases who had part in the model's "training", "validation" or "calibration", or in that of
    a model that it was fine-tuned from. No model has seen nobody.

    They are looked for under the case's patient and under each training's own reading of the case's name.
    """
    cases = list(cases)
    return set().union(
        *(
            _known(training, training.get(f"{part}_patients"), cases)
            for training in trainings_of(model)
            for part in parts
        )
    )


def selected_weights(model: Model | None, cases: Iterable[Case]) -> set[str]:
    """Those patients of the cases by whose scans the weights of a model, or of one that it came from, were chosen."""
    cases = list(cases)
    return set().union(
        *(
            _known(training, training.get("validation_patients"), cases)
            for training in trainings_of(model)
            if training.get("plan", {}).get("weights") != "last"
        )
    )


def trainings_of(model: Model | None) -> list[Mapping[str, Any]]:
    """The provenance of a model and of those that it came from; nothing without a model."""
    return [] if model is None else [model.provenance, *(origin for _name, origin in model.ancestors)]


def calibrated_by(model: Model, cases: Iterable[Case | CaseMeasures]) -> set[str]:
    """Those patients of the cases who taught the model the calibration that it has now."""
    if model.calibration == model.augmented_calibration == Calibration():
        return set()
    own = model.provenance
    return _known(own, own.get("calibration_patients") or own.get("validation_patients"), cases)


def _known(
    provenance: Mapping[str, Any], names: Iterable[str] | None, cases: Iterable[Case | CaseMeasures]
) -> set[str]:
    names = {*(names or ())}
    return {case.patient for case in cases if {case.patient, _patient(provenance, case.name)} & names}
