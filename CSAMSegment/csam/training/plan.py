"""Every decision of a training, as data.

Step: plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InputError, ModelError
from ..image.intensity import Intensity
from ..model import SLICE_AXES
from ..model.json_fields import refuse_unknown

GATES = ("semantic", "positional", "slice", "uncertainty")
AUTOMATIC = (
    "patient_pattern", "validation_patients", "validate_every", "patience", "slice_axis", "in_plane_spacing",
    "num_levels", "field_of_view", "num_slices", "empty_slices", "free_orientation", "intensity", "intensity_limits",
)  # fmt: skip
"""What ``csam.training.auto_plan`` decides where nothing is asked for."""
WORDS = {
    "network": "CSAMUNet or CSAMUNetPlusPlus",
    "base_channels": "channels of the first level; each further level has twice as many",
    "num_levels": "levels of the network",
    "num_slices": "slices that the network sees at once",
    "semantic": "build the gate over channels",
    "positional": "build the gate over pixels",
    "slice": "build the gate over slices",
    "uncertainty": "let the slice gates be random, so that samples differ",
    "in_plane_spacing": "pixel size of the model, mm",
    "field_of_view": "rows and columns that the network sees at once, in these pixels",
    "slice_axis": "plane of the slices: axial, coronal or sagittal; auto takes the largest spacing",
    "intensity": "what is scaled together: slice, volume, or fixed limits",
    "intensity_limits": "lower and upper percentile, or with fixed limits the values themselves",
    "rank": "rank of the covariance of the random gates",
    "steps": "number of training steps",
    "optimizer": "muon or adamw",
    "learning_rate": "learning rate after the warm-up",
    "weight_decay": "weight decay",
    "gate_samples": "samples of the slice gates for each step",
    "rate": "how the learning rate falls to zero: cosine or polynomial",
    "batch": "stacks for each step, over all processes together; under torchrun, the default is one for each process",
    "ema": "decay of the running average of the weights",
    "weights": "which averaged weights are kept: those of the best validation, or the last",
    "empty_slices": "also teach slices without any structure",
    "free_orientation": "teach all orientations of a stack, as test-time augmentation needs it",
    "zoom": "smallest and largest scale at which half of the examples are shown",
    "extra_share": "share of the steps that take an example from the data sets of --extra",
    "validation_patients": "number of patients for validation",
    "patient_pattern": "regular expression for the name of a case; its first group is the patient",
    "split_seed": "seed of the choice of the patients for validation",
    "seed": "seed of everything else",
    "precision": "auto, float32 or bfloat16",
    "checkpoint_every": "steps from one checkpoint to the next",
    "validate_every": "steps from one validation to the next",
    "patience": "stop after so many validations without a better Dice; 0 never stops early",
    "minutes": "minutes for all of it; sets steps, validations, checkpoints and perhaps a lighter plan; 0: no limit",
}
"""Each field of the plan, as ``csam train --help`` explains it."""


@dataclass(frozen=True)
class Plan:
    """What a training does; written to OUT/plan.json.

    network: "CSAMUNet" or "CSAMUNetPlusPlus", with base_channels, num_levels, num_slices and rank.
    semantic, positional, slice, uncertainty: the gates to build; without all of them it is a plain 2D U-Net.
    in_plane_spacing: mm. field_of_view: rows, columns in pixels of that spacing. slice_axis: as in a model.
    intensity, intensity_limits: scope, lower and upper of a model's Intensity, such as "fixed" and Hounsfield units.
    optimizer: "muon" (csam.training.muon) or "adamw", with steps, learning_rate and weight_decay. rate: how the
    learning rate falls to zero after a short warm-up, "cosine" or "polynomial" (power 0.9, as nnU-Net's). ema: decay of
    the weights' running average.
    batch: stacks a step, over all processes; each goes through the network by itself, its slices are a batch.
    weights: the averaged ones of the "best" validation, or of the "last" step whatever they say.
    patience: stop after this many validations without a better Dice; 0, as the last weights, never stops.
    gate_samples: samples of the slice gates per step, where they are uncertain. empty_slices: teach slices without any
    structure. free_orientation: mirrors and quarter turns, where no structure is told by its place; a run of the model
    then takes its samples over several orientations.
    zoom: how many times as large an example is shown, at the least and at the most; half of them come as they are.
    extra_share: share of the steps that take from the further data sets, if there are any.
    validation_patients: how many, chosen at random with split_seed. seed: of everything else.
    patient_pattern: regular expression for a case's name; its first group is the patient.
    precision: "auto" (bfloat16 where the device has it in hardware), "float32" or "bfloat16".
    checkpoint_every, validate_every: steps.
    minutes: the time that the training may take, its calibration too; steps, validate_every and checkpoint_every then
    follow from how long a step takes (csam.training.time_budget). 0: as many steps as are asked for.
    Raises InputError that names a field out of range, before anything is trained that no model.json could hold.
    """

    network: str = "CSAMUNet"
    base_channels: int = 16
    num_levels: int = 5
    num_slices: int = 12
    semantic: bool = True
    positional: bool = True
    slice: bool = True
    uncertainty: bool = True
    in_plane_spacing: float = 1.75
    field_of_view: tuple[int, int] = (128, 128)
    slice_axis: str = "auto"
    intensity: str = "slice"
    intensity_limits: tuple[float, float] = (0.5, 99.5)
    rank: int = 5
    steps: int = 4000
    optimizer: str = "muon"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    gate_samples: int = 2
    rate: str = "cosine"
    batch: int = 1
    ema: float = 0.995
    weights: str = "best"
    empty_slices: bool = True
    free_orientation: bool = True
    zoom: tuple[float, float] = (1.0, 1.0)
    extra_share: float = 0.2
    validation_patients: int = 8
    patient_pattern: str = "(.*)"
    split_seed: int = 0
    seed: int = 0
    precision: str = "auto"
    checkpoint_every: int = 200
    validate_every: int = 500
    patience: int = 0
    minutes: float = 0.0

    def __post_init__(self):
        multiple = 2 ** (min(max(self.num_levels, 2), 8) - 1)
        rows_columns = len(self.field_of_view) == 2 and all(type(n) is int for n in self.field_of_view)
        ranges = {
            "base_channels": 256,
            "num_levels": 8,
            "num_slices": 256,
            "rank": 64,
            "gate_samples": 100,
            "batch": 10_000,
        }
        ranges |= dict.fromkeys(("steps", "checkpoint_every", "validate_every", "validation_patients"), 10**9)
        checks = [
            ("network", self.network in ("CSAMUNet", "CSAMUNetPlusPlus"), "CSAMUNet or CSAMUNetPlusPlus"),
            *((name, 1 <= getattr(self, name) <= most, f"1 to {most}") for name, most in ranges.items()),
            ("num_levels", self.num_levels >= 2, "2 to 8"),
            ("in_plane_spacing", 0.01 <= self.in_plane_spacing <= 100, "0.01 to 100 mm"),
            (
                "field_of_view",
                rows_columns and all(multiple < n <= 2048 and n % multiple == 0 for n in self.field_of_view),
                f"two multiples of {multiple} from {2 * multiple} to 2048 (for {self.num_levels} levels)",
            ),
            ("slice_axis", self.slice_axis in SLICE_AXES, ", ".join(SLICE_AXES)),
            ("intensity", self.intensity in ("slice", "volume", "fixed"), "slice, volume or fixed"),
            (
                "intensity_limits",
                len(self.intensity_limits) == 2 and all(_is_limit(value) for value in self.intensity_limits),
                "two numbers from -1e9 to 1e9",
            ),
            ("optimizer", self.optimizer in ("muon", "adamw"), "muon or adamw"),
            ("weights", self.weights in ("best", "last"), "best or last"),
            ("rate", self.rate in ("cosine", "polynomial"), "cosine or polynomial"),
            ("patience", 0 <= self.patience <= 10**9, "0 or more"),
            ("learning_rate", 0 < self.learning_rate < 1, "a number above 0 and below 1"),
            ("minutes", 0 <= self.minutes <= 10**6, "0 or more"),
            ("weight_decay", 0 <= self.weight_decay < 1, "a number from 0 to below 1"),
            ("ema", 0 <= self.ema < 1, "a number from 0 to below 1"),
            ("zoom", _is_zoom(self.zoom), "two numbers, from 0.1 to 1 and from 1 to 10"),
            ("extra_share", 0 <= self.extra_share <= 1, "a number from 0 to 1"),
            *((name, 0 <= getattr(self, name) < 2**31, "0 to 2^31 - 1") for name in ("seed", "split_seed")),
            ("precision", self.precision in ("auto", "float32", "bfloat16"), "auto, float32 or bfloat16"),
        ]
        for name, fits, expected in checks:
            if not fits:
                raise InputError(f"The plan's {name} is {getattr(self, name)!r}; {expected} was expected.")
        try:
            _ = self.normalisation
        except ModelError as error:
            raise InputError(f"The plan's intensity and intensity_limits do not go together: {error}") from error

    @property
    def normalisation(self) -> Intensity:
        return Intensity(self.intensity, *self.intensity_limits)

    @property
    def samples_per_step(self) -> int:
        """Samples of the slice gates per step: one where they have no spread."""
        return self.gate_samples if self.slice and self.uncertainty else 1

    def architecture(self, input_channels: int, num_classes: int) -> dict:
        """What ``networks.build`` takes."""
        own = ("network", "num_levels", "base_channels", "num_slices", *GATES, "rank")
        return {name: getattr(self, name) for name in own} | {
            "input_channels": input_channels,
            "num_classes": num_classes,
        }

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Some fields as JSON has them → as a plan has them. Raises InputError for an unknown field or wrong type."""
        known = {f.name: f for f in fields(cls)}
        refuse_unknown(values, list(known), "The plan's")
        for name, value in values.items():
            default = known[name].default
            accepted = {float: (int, float), tuple: (list, tuple)}.get(type(default), type(default))
            if not isinstance(value, accepted) or (isinstance(value, bool) and not isinstance(default, bool)):
                raise InputError(f"The plan's {name} is {value!r}; something like {default!r} was expected.")
        return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Plan:
        """Raises InputError that names an unknown field, one of the wrong type or one out of range."""
        return cls(**cls.checked(values))


def _is_zoom(values: Any) -> bool:
    return len(values) == 2 and all(map(_is_limit, values)) and 0.1 <= values[0] <= 1 <= values[1] <= 10


def _is_limit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e9 <= value <= 1e9
