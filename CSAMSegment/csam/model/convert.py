"""A bare state dict, such as one trained with the published code, becomes a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..image.intensity import Intensity
from ..network.networks import from_state_dict
from .description import COLORS, Channel, Label, Model, TrainedOn
from .json_fields import Fields, refuse_unknown

if TYPE_CHECKING:
    from torch import Tensor

CARD = (
    *("name", "version", "title", "about", "licence", "channels", "modality", "labels"),
    *("in_plane_spacing", "field_of_view", "slice_axis", "intensity", "intensity_limits"),
)


def convert(state_dict: Mapping[str, Tensor], card: Mapping[str, Any]) -> Model:
    """The model of these weights. card: what the weights do not say, each with a default from the published recipe.

    name, title, about, licence; channels (names) and modality; labels (names); in_plane_spacing in mm,
    field_of_view in pixels, slice_axis; intensity (slice, volume or fixed) and intensity_limits: percentiles, or
    values, which fixed needs. The model is not calibrated: its error probability is 1 - the mean probability of the
    label.

    Raises InputError or ModelError for a field that cannot be used, and for weights that are not finite.
    """
    refuse_unknown(card, CARD, "The card's")
    network = from_state_dict(state_dict)
    numbers = network.architecture
    channels = _names(card, "channels", "channel", numbers["input_channels"])
    labels = _names(card, "labels", "structure", numbers["num_classes"] - 1)
    fields = Fields({key: list(v) if isinstance(v, tuple) else v for key, v in card.items()}, "The card")
    scope = card.get("intensity", "volume")
    usual = {} if scope == "fixed" else {"default": (0.5, 99.5)}
    model = Model(
        name=card.get("name", "converted"),
        version=card.get("version", "1.0.0"),
        title=card.get("title", "Converted CSAM network"),
        about=card.get("about", "Converted from a state dict; not calibrated."),
        architecture=numbers,
        channels=tuple(Channel(name, card.get("modality", "MR")) for name in channels),
        labels=tuple(Label(v, name, COLORS[(v - 1) % len(COLORS)]) for v, name in enumerate(labels, 1)),
        in_plane_spacing=fields.number("in_plane_spacing", 0.01, 100, 1.0),
        field_of_view=fields.numbers("field_of_view", 2, 1, 2048, (128, 128)),
        slice_axis=card.get("slice_axis", "auto"),
        intensity=Intensity(scope, *fields.numbers("intensity_limits", 2, -1e9, 1e9, **usual)),
        trained_on=TrainedOn((0.0, 1e6), (0.0, 1e6), (1, numbers["num_slices"]), 0),
        licence=card.get("licence", ""),
    ).with_weights(network.state_dict())
    model.network()
    return model


def _names(card: Mapping[str, Any], field: str, usual: str, count: int) -> list[str]:
    names = card.get(field, [f"{usual} {i}" for i in range(1, count + 1)])
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise InputError(f"The card's {field} are {names!r}; a list of {count} names was expected.")
    if len(names) != count:
        raise InputError(f"The card names {len(names)} {field}; the network has {count}.")
    return list(names)
