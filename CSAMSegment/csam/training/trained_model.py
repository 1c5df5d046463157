"""A model made of a trained network, its data set, its plan and a card.

Step: train.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from ..errors import InputError
from ..image.geometry import AXES, axis_of, volume_of_voxel
from ..model import COLORS, Channel, Label, Measure, Model, TrainedOn
from ..model.from_json import measures_of
from ..model.json_fields import Fields, refuse_unknown
from .dataset import Case, Dataset
from .model_match import values_by_name
from .plan import Plan

CARD = ("name", "version", "title", "about", "modality", "licence", "labels", "measures")
OTHERS = ("inside", "slices_of")
"""Fields of a label that name another one."""
LOOKS = ("color", "terminology", "connected")
LABEL = ("name", "title", *LOOKS, *OTHERS)


def check_card(card: Mapping[str, Any]) -> None:
    """Raises InputError that names a field nobody knows, misspelt perhaps, and those that there are."""
    labels = card.get("labels", [])
    entries = [item for item in labels if isinstance(item, Mapping)] if isinstance(labels, list) else []
    refuse_unknown(card, CARD, "The card's")
    for item in entries:
        refuse_unknown(item, LABEL, "The card's label's")


def assemble(
    network,
    data: Dataset,
    plan: Plan,
    training: Sequence[Case],
    card: Mapping[str, Any],
    start: Model | None = None,
) -> Model:
    """The model without calibration; what the card does not say is taken from the data set.

    start: the model that the network began as; structures of the same name look as they do in it, but for what the card
    says. Raises InputError for a card that cannot be used.
    """
    check_card(card)
    try:
        described = {item["name"]: item for item in card.get("labels", [])}
        labels = _labels(data.labels, described, start)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The card's labels cannot be used ({error!r}); objects with name, title, color and terminology were "
            "expected."
        ) from error
    unknown = sorted(set(described) - set(data.labels))
    if unknown:
        raise InputError(f"The card describes the label {unknown[0]}; the data set has {', '.join(data.labels)}.")
    name = card.get("name", data.name)
    modalities = data.modalities or ("MR",) * len(data.channels)
    return Model(
        name=name,
        version=card.get("version", "1.0.0"),
        title=card.get("title", name),
        about=card.get("about", ""),
        architecture=network.architecture,
        channels=tuple(
            Channel(channel, card.get("modality", modality))
            for channel, modality in zip(data.channels, modalities, strict=True)
        ),
        labels=labels,
        in_plane_spacing=plan.in_plane_spacing,
        field_of_view=plan.field_of_view,
        slice_axis=plan.slice_axis,
        intensity=plan.normalisation,
        trained_on=learnt_from(data, plan, training, start),
        free_orientation=plan.free_orientation,
        measures=measures_of(Fields(card, "The card"), len(labels) + 1) or _measures(labels, start),
        licence=card.get("licence", ""),
    ).with_weights(network.state_dict())


def _labels(names: Sequence[str], described: Mapping[str, Any], start: Model | None) -> tuple[Label, ...]:
    """Described by the card, else as in the model started from, else with a colour that nothing else has."""
    values = values_by_name(start) if start is not None else {}
    known = [values.get(name.casefold()) for name in names]
    before = {label.value: asdict(label) for label in start.labels} if start is not None else {}
    own = [{"title": name} for name in names]
    for item, name, value in zip(own, names, known, strict=True):
        if value in before and known.count(value) == 1:
            item |= {"title": before[value]["name"], **{field: before[value][field] for field in LOOKS}}
            others = {field: before[value][field] for field in OTHERS}
            item |= {field: names[known.index(other)] for field, other in others.items() if other in known}
        item |= described.get(name, {})
    taken = {tuple(item["color"]) for item in own if "color" in item}
    fresh = itertools.cycle([color for color in COLORS if color not in taken] or COLORS)
    return tuple(
        Label(
            value,
            item["title"],
            tuple(item["color"]) if "color" in item else next(fresh),
            item.get("terminology"),
            item.get("connected", False),
            *(_value_of(field, item.get(field), names) for field in OTHERS),
        )
        for value, item in enumerate(own, 1)
    )


def _value_of(field: str, name: str | None, names: Sequence[str]) -> int:
    """The value of the structure that a field of another one names, 0 for none."""
    if not name:
        return 0
    if name not in names:
        raise InputError(f'The card says "{field}": {name!r}; one of {", ".join(names)} was expected.')
    return names.index(name) + 1


def _measures(labels: Sequence[Label], start: Model | None) -> tuple[Measure, ...]:
    """Those of the model started from whose structures are there again."""
    ours = {label.name.casefold(): label.value for label in labels}
    theirs = {label.value: label.name.casefold() for label in start.labels} if start is not None else {}
    kept = []
    for measure in start.measures if start is not None else ():
        values = {part: ours.get(theirs[value]) for part, value in measure.structures.items()}
        if None not in values.values():
            kept.append(replace(measure, structures=values))
    return tuple(kept)


def learnt_from(data: Dataset, plan: Plan, training: Sequence[Case], start: Model | None = None) -> TrainedOn:
    """The range of these scans; the volumes of a structure that ``start`` knew reach over those it had seen, too."""
    slices, pixels, counts, volumes = [], [], [], {}
    known = values_by_name(start) if start is not None else {}
    for value, name in enumerate(data.labels, 1):
        seen = start.trained_on.volumes_ml.get(known[name.casefold()], ()) if name.casefold() in known else ()
        volumes |= {value: [*seen]} if seen else {}
    for case in training:
        facts = data.facts[case.name]
        axis = axis_of(facts.size, facts.spacing, facts.direction, plan.slice_axis)
        slices.append(facts.spacing[axis])
        counts.append(facts.size[axis])
        pixels += [facts.spacing[a] for a in range(len(AXES)) if a != axis]
        ml = volume_of_voxel(facts.spacing, facts.direction) / 1000
        for value, voxels in facts.voxels.items() if facts.whole else ():  # of the others nobody knows the volume
            volumes.setdefault(value, []).append(float(f"{voxels * ml:.3g}"))
    return TrainedOn(
        (min(slices), max(slices)),
        (min(pixels), max(pixels)),
        (min(counts), max(counts)),
        len({case.patient for case in training}),
        {value: (min(found), max(found)) for value, found in sorted(volumes.items())},
    )
