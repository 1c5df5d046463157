"""Everything that is settled before a training begins: the data, the split, the plan, the weights to start from.

Nothing is written here; what is wrong is found here, all of it at once.

Step: prepare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..model import Model, within
from ..network.networks import build
from .auto_plan import Decision, decide, patient_pattern, plan_from
from .dataset import Case, Dataset, inspect, read_split, report
from .model_match import by_order, places, seen_patients, trainings_of, values_by_name
from .plan import Plan
from .split import check_split, random_split, split_names
from .trained_model import assemble


@dataclass(frozen=True)
class Beginning:
    """held: by label value, those that its outer contour holds. anew: in words, what does not come from the start."""

    network: torch.nn.Module
    held: Mapping[int, Sequence[int]]
    anew: list[str]


@dataclass(frozen=True)
class Preparation:
    """data: without the cases that a given split leaves out. decisions: how the plan came to be, in words.

    training, validation: patients. split: both subsets as a split file names them. start: the model to start from.
    notes: what is odd about the cases of the two subsets, a sentence each.
    """

    data: Dataset
    further: tuple[Dataset, ...]
    plan: Plan
    decisions: tuple[Decision, ...]
    training: list[str]
    validation: list[str]
    split: Mapping[str, list[str]]
    start: Model | None
    notes: tuple[str, ...]

    def begin(self, card: Mapping[str, Any]) -> Beginning:
        """The network with the weights to begin with.

        card: of the model to be. Raises InputError or ModelError for one that cannot be used: now, not after hours.
        """
        torch.manual_seed(self.plan.seed)
        network = build(self.plan.architecture(len(self.data.channels), len(self.data.labels) + 1))
        model = assemble(network, self.data, self.plan, self.training_cases[:1], card, self.start)
        model.check()
        anew = take_over_weights(self.start, network, self.data.channels, self.data.labels) if self.start else []
        told = [f"Learned from scratch, because it does not fit {self.start.name}: {part}" for part in anew]
        return Beginning(network, within(model.labels), told)

    @property
    def training_cases(self) -> tuple[Case, ...]:
        return self.data.of(self.training)

    @property
    def validation_cases(self) -> tuple[Case, ...]:
        return self.data.of(self.validation)


LENIENT = {"num_levels": 2, "field_of_view": (2048, 2048), "intensity": "fixed"}
"""With these every field can be checked by itself, before the automatic plan decides on the others."""


def prepare(
    dataset: str | Path,
    plan: Plan | Mapping[str, Any] | None = None,
    extra: Sequence[str | Path] = (),
    start: Model | None = None,
    split_file: str | Path | None = None,
    fold: int | None = None,
) -> Preparation:
    """plan: a whole one, or some fields of it that override the automatic plan.

    Raises InputError with one line for every fault of the data set, the further ones and the split, and where a subset
    has nothing to learn or to validate on, or a further data set holds a validation scan.
    """
    if fold is not None and split_file is None:
        raise InputError(f"Fold {fold} of which split? Give the file as well: --split splits_final.json --fold {fold}.")
    given = checked_plan(plan)

    def subsets_of(data: Dataset):
        *subsets, faults = (None, []) if split_file is None else read_split(split_file, data, fold or 0)
        return subsets if split_file is not None else None, faults

    data, further, subsets = read_data_sets(dataset, given, extra, subsets_of)
    decisions = tuple(decide(data, start, given))
    if subsets is None:
        subsets = random_split(data, plan_from(decisions), seen_patients(start, data.cases, "training"))
    return preparation_of(data, further, decisions, subsets, start)


def checked_plan(plan: Plan | Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields that are asked for. Raises InputError for one that cannot be, whatever the data set."""
    given = asdict(plan) if isinstance(plan, Plan) else Plan.checked(plan or {})
    Plan(**(LENIENT | given))
    return given


def read_data_sets(
    dataset: str | Path,
    given: Mapping[str, Any],
    extra: Sequence[str | Path],
    subsets_of: Callable[[Dataset], tuple[Any, list[str]]],
) -> tuple[Dataset, tuple[Dataset, ...], Any]:
    """The data set, the further ones, and what ``subsets_of`` finds, which returns its faults as well.

    Raises InputError with one line for every fault of any of them.
    """
    reports: list[str] = []
    data = _read(dataset, given.get("patient_pattern", "(.*)"), reports)
    further = [_read(folder, "(.*)", reports) for folder in extra]
    subsets = None
    if data is not None:
        if "patient_pattern" not in given and data.cases:
            data = data.by_patient(patient_pattern([case.name for case in data.cases])[0])
        for i, (folder, other) in enumerate(zip(extra, further, strict=True)):
            if other is None:
                continue
            order = places(data.channels, other.channels)
            if len(other.channels) != len(data.channels) or None in order or other.labels != data.labels:
                reports.append(
                    f"{folder} has the channels {', '.join(other.channels)} and the labels {', '.join(other.labels)}; "
                    f"{dataset} has {', '.join(data.channels)} and {', '.join(data.labels)}. They must be the same."
                )
            else:
                further[i] = replace(other, cases=tuple(replace(c, order=tuple(order)) for c in other.cases))
        subsets, faults = subsets_of(data)
        reports += [report("The split", faults)] if faults else []
    if reports:
        raise InputError("\n".join(reports))
    return data, tuple(further), subsets


def preparation_of(
    data: Dataset,
    further: tuple[Dataset, ...],
    decisions: tuple[Decision, ...],
    subsets: tuple[tuple[Case, ...], tuple[Case, ...]],
    start: Model | None,
) -> Preparation:
    """subsets: the cases to train and to validate on. Raises InputError where they do not do, see ``check_split``, or
    ``start`` was trained on who is to validate."""
    training, validation = subsets
    spoilt = sorted(seen_patients(start, validation, "training"))
    if spoilt:
        raise InputError(
            f"Validation patients on whom {start.name} was trained: {', '.join(spoilt[:5])}. Give others with --split, "
            "or start from another model. If these are other people of the same names, rename their cases."
        )
    plan = plan_from(decisions)
    odd = check_split(data, training, validation, further, choosing=plan.weights == "best")
    patients = [sorted({case.patient for case in subset}) for subset in (training, validation)]
    names = {"training": split_names(data, training), "validation": split_names(data, validation)}
    chosen = {*training, *validation}
    used = replace(data, cases=tuple(case for case in data.cases if case in chosen))
    notes = (*odd, *_in_order(data, further, start), *_further_before(data, start))
    return Preparation(used, further, plan, decisions, *patients, names, start, notes)


def _in_order(data: Dataset, further: Sequence[Dataset], start: Model | None) -> list[str]:
    """A sentence for every other one whose channels are taken for the data set's by their order alone."""
    others = [(other.name, other.channels) for other in further]
    others += [(start.name, [channel.name for channel in start.channels])] if start is not None else []
    pairs = [(name, by_order(data.channels, channels)) for name, channels in others]
    return [f"channels of {name} are taken in their order: {said}" for name, said in pairs if said]


def _further_before(data: Dataset, start: Model | None) -> list[str]:
    """A sentence where a model to start from may have learned from this very data set beside another."""
    if not any(data.name in (training.get("extra_data") or ()) for training in trainings_of(start)):
        return []
    return [
        f"{start.name}, or a model that it started from, was also trained on a data set {data.name}: if its scans are "
        "these, the figures measured on them are too good"
    ]


def _read(folder: str | Path, pattern: str, reports: list[str]) -> Dataset | None:
    try:
        data, faults = inspect(folder, pattern)
    except InputError as error:
        reports.append(str(error))
        return None
    reports += [report(folder, faults)] if faults else []
    return data


FITTING = ("network", "num_levels", "base_channels")
"""Where these differ, next to nothing of a model's weights has a place in a network."""


HEADS = ("conv_final", "final.")
"""How the names of the output layers' weights begin."""


def take_over_weights(
    start: Model, network: torch.nn.Module, channels: Sequence[str], labels: Sequence[str]
) -> list[str]:
    """Copies the weights of a model into the network where they fit; returns what begins anew, in words.

    channels, labels: the data set's, the latter from value 1 on. In the input layer every channel takes the weights of
    the model's of the same name, in the output layer every structure, whatever their places. Raises InputError when
    their encoders and decoders differ.
    """
    wrong = [key for key in FITTING if start.architecture[key] != network.architecture[key]]
    if wrong:
        raise InputError(
            f"The model {start.name} has {wrong[0]} {start.architecture[wrong[0]]}; the plan and the data set ask for "
            f"{network.architecture[wrong[0]]}. Change the plan, or start from scratch."
        )
    old, new = start.network().state_dict(), network.state_dict()
    known = values_by_name(start)
    values = [known.get(name.casefold()) for name in labels]
    stem = next(iter(new))
    taken = places(channels, [channel.name for channel in start.channels])
    if any(place is not None for place in taken):
        fresh = zip(new[stem].unbind(1), taken, strict=True)
        old[stem] = torch.stack([w if place is None else old[stem][:, place] for w, place in fresh], 1)
    heads = [name for name in new if name.startswith(HEADS) and name in old]
    for name in heads:  # the background, 0, is everybody's
        if old[name].shape[1:] == new[name].shape[1:]:
            fresh = zip(new[name], (0, *values), strict=True)
            old[name] = torch.stack([row if value is None else old[name][value] for row, value in fresh])
    fits = {name: old[name] for name in new if name in old and old[name].shape == new[name].shape}
    network.load_state_dict(new | fits)
    anew = {name: None for name in new if name not in fits}
    strangers = [name for name, value in zip(labels, values, strict=True) if value is None]
    unseen = [name for name, place in zip(channels, taken, strict=True) if place is None and stem in fits]
    parts = {
        "the output layer": HEADS,
        "the slice attention": ("slice_att",),
        "the semantic attention": ("semantic_att",),
        "the positional attention": ("positional_att",),
    }
    said = dict.fromkeys(
        next((part for part, words in parts.items() if any(word in name for word in words)), "the input layer")
        for name in anew
    )
    differing = [key for key, value in network.architecture.items() if start.architecture[key] != value]
    reasons = ", ".join(f"{key} {start.architecture[key]} → {network.architecture[key]}" for key in differing)
    parts_anew = [f"{part} ({reasons})" for part in said]
    begun = {"input": unseen, "output": strangers}
    return [*parts_anew, *(f"the {end} layer's {', '.join(names)}" for end, names in begun.items() if names)]
