"""A bare state dict, such as one trained with the published code, becomes a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .intensity import Intensity
from .model import COLORS, Channel, Label, Model, TrainedOn
from .networks import from_state_dict

if TYPE_CHECKING:
    from torch import Tensor


def convert(state_dict: Mapping[str, Tensor], card: Mapping[str, Any]) -> Model:
    """The model of these weights. card: what the weights do not say, each with a default from the published recipe.

    name, title, about, licence; channels (names) and modality; labels (names); in_plane_spacing in mm,
    field_of_view in pixels, slice_axis. The model is not calibrated: its error probability is 1 - the mean
    probability of the label.
    """
    network = from_state_dict(state_dict)
    numbers = network.architecture
    channels = card.get("channels", [f"channel {i}" for i in range(1, numbers["input_channels"] + 1)])
    labels = card.get("labels", [f"structure {i}" for i in range(1, numbers["num_classes"])])
    for name, given, needed in (
        ("channels", channels, numbers["input_channels"]),
        ("labels", labels, numbers["num_classes"] - 1),
    ):
        if len(given) != needed:
            raise InputError(f"The card names {len(given)} {name}; the network has {needed}.")
    return Model(
        name=card.get("name", "converted"),
        version=card.get("version", "1.0.0"),
        title=card.get("title", "Converted CSAM network"),
        about=card.get("about", "Converted from a state dict; not calibrated."),
        architecture=numbers,
        channels=tuple(Channel(name, card.get("modality", "MR")) for name in channels),
        labels=tuple(Label(v, name, COLORS[(v - 1) % len(COLORS)]) for v, name in enumerate(labels, 1)),
        in_plane_spacing=float(card.get("in_plane_spacing", 1.0)),
        field_of_view=tuple(card.get("field_of_view", (128, 128))),
        slice_axis=card.get("slice_axis", "auto"),
        intensity=Intensity(card.get("intensity", "volume")),
        trained_on=TrainedOn((0.0, 1e6), (0.0, 1e6), (1, numbers["num_slices"]), 0),
        licence=card.get("licence", ""),
    ).with_weights(network.state_dict())
