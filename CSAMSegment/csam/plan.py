"""Every decision of a training, as data."""

from __future__ import annotations

from dataclasses import dataclass, fields

from .errors import InputError


@dataclass(frozen=True)
class Plan:
    """What a training does; written to OUT/plan.json.

    network: "CSAMUNet" or "CSAMUNetPlusPlus", with base_channels, num_levels, num_slices and rank.
    in_plane_spacing: mm. field_of_view: rows, columns in pixels of that spacing. slice_axis, intensity: as in a model.
    steps, learning_rate, weight_decay: of AdamW with a short warm-up and a cosine to zero. ema: of the weights' average.
    gate_samples: draws of the slice gates per step. empty_slices: teach slices without any structure.
    extra_share: share of the steps that draw from the further data sets, if there are any.
    validation_patients: how many, drawn with the seed. patient_pattern: regular expression for a case's patient.
    precision: "auto" (bfloat16 on CUDA and on processors with AMX), "float32" or "bfloat16".
    checkpoint_every, validate_every: steps.
    """

    network: str = "CSAMUNet"
    base_channels: int = 16
    num_levels: int = 5
    num_slices: int = 12
    in_plane_spacing: float = 1.75
    field_of_view: tuple[int, int] = (128, 128)
    slice_axis: str = "auto"
    intensity: str = "slice"
    rank: int = 5
    steps: int = 4000
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    gate_samples: int = 2
    ema: float = 0.995
    empty_slices: bool = True
    extra_share: float = 0.2
    validation_patients: int = 8
    patient_pattern: str = "(.*)"
    seed: int = 0
    precision: str = "auto"
    checkpoint_every: int = 200
    validate_every: int = 500

    @classmethod
    def from_json(cls, values: dict) -> Plan:
        """Raises InputError that names an unknown field or one of the wrong type."""
        known = {f.name: f for f in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise InputError(f"The plan has no field {name}; it has {', '.join(known)}.")
            default = known[name].default
            accepted = (
                (int, float)
                if isinstance(default, float)
                else (list, tuple)
                if isinstance(default, tuple)
                else type(default)
            )
            if not isinstance(value, accepted) or (isinstance(value, bool) and not isinstance(default, bool)):
                raise InputError(f"The plan's {name} is {value!r}; something like {default!r} was expected.")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
