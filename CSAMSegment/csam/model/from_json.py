"""model.json becomes a Model, checked field by field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

from ..errors import ModelError
from ..image.intensity import Intensity
from ..uncertainty.slice_ranking import FACTS, SliceRisk
from .description import FORMAT, MEASURE_KINDS, SLICE_AXES, Calibration, Channel, Label, Measure, Model, TrainedOn
from .json_fields import Fields

LARGEST_WINDOW = 2**32
"""Probabilities of a window of slices over the field of view, all classes: 16 GB."""


def model_from_json(json_: Fields) -> Model:
    json_.check_writable()
    format_ = json_.integer("format", 1, FORMAT)
    numbers = architecture_of(json_.sub("architecture"))
    classes = numbers["num_classes"]
    multiple = 2 ** (numbers["num_levels"] - 1)
    field_of_view = json_.numbers("field_of_view", 2, multiple, 2048)
    if any(n % multiple for n in field_of_view) or field_of_view == (multiple, multiple):
        raise ModelError(
            f"{json_.where}: the field field_of_view is {field_of_view}; multiples of {multiple}, one of them at least "
            f"{2 * multiple}, were expected."
        )
    if math.prod((*field_of_view, numbers["num_slices"], classes)) > LARGEST_WINDOW:
        raise ModelError(f"{json_.where}: field_of_view, num_slices and num_classes together need too much memory.")
    channels = tuple(Channel(c.text("name"), c.text("modality", limit=16)) for c in json_.items("channels", 64))
    if len(channels) != numbers["input_channels"]:
        raise ModelError(
            f"{json_.where}: the field channels has {len(channels)} entries; architecture.input_channels is "
            f"{numbers['input_channels']}."
        )
    labels = tuple(_label(item, classes) for item in json_.items("labels", 255))
    if sorted(label.value for label in labels) != list(range(1, classes)):
        raise ModelError(f"{json_.where}: the field labels must have each value from 1 to {classes - 1} once.")
    intensity, trained = json_.sub("intensity"), json_.sub("trained_on")
    free_orientation = json_.flag("free_orientation", False)
    calibration, augmented = _calibration(json_.sub("calibration"), classes), Calibration()
    if format_ > 1:
        augmented = _calibration(json_.sub("augmented_calibration"), classes)
    elif free_orientation:
        calibration, augmented = augmented, calibration
    return Model(
        name=json_.text("name", limit=100),
        version=json_.text("version", limit=100),
        title=json_.text("title", limit=200),
        about=json_.text("about", ""),
        architecture=numbers,
        channels=channels,
        labels=labels,
        in_plane_spacing=json_.number("in_plane_spacing", 0.01, 100),
        field_of_view=tuple(int(n) for n in field_of_view),
        slice_axis=json_.text("slice_axis", choices=SLICE_AXES),
        intensity=Intensity(
            intensity.text("scope"), intensity.number("lower", -1e9, 1e9), intensity.number("upper", -1e9, 1e9)
        ),
        trained_on=TrainedOn(
            slice_spacing=trained.numbers("slice_spacing", 2, 0, 1e6),
            in_plane_spacing=trained.numbers("in_plane_spacing", 2, 0, 1e6),
            slices=trained.numbers("slices", 2, 1, 1e6),
            patients=trained.integer("patients", 0, 10**9),
            volumes_ml=_volumes(trained, classes),
        ),
        free_orientation=free_orientation,
        calibration=calibration,
        augmented_calibration=augmented,
        measures=measures_of(json_, classes),
        contour_shift=_contour_shift(json_, classes),
        licence=json_.text("licence", ""),
        provenance=_provenance(json_),
        metrics=_metrics(json_),
        sha256=json_.text("sha256", limit=64),
    )


def _contour_shift(json_: Fields, classes: int) -> dict[int, float]:
    found = Fields(json_.mapping("contour_shift", {}), f"{json_.where}: contour_shift")
    return {v: found.number(str(v), -20, 20) for v in range(1, classes) if str(v) in found.values}


def measures_of(json_: Fields, classes: int) -> tuple[Measure, ...]:
    """The field measures of a model.json or a training's card; nothing where it is missing."""
    if not json_.values.get("measures"):
        return ()
    found = []
    for item in json_.items("measures", 16):
        kind = item.text("kind", choices=tuple(MEASURE_KINDS))
        needed, possible = MEASURE_KINDS[kind]
        parts = Fields(item.mapping("structures"), f"{item.where}: structures")
        strange = sorted(parts.values.keys() - {*needed, *possible})
        if strange:
            raise ModelError(f"{parts.where}: {kind} has no {strange[0]!r:.40}, but {', '.join(needed + possible)}.")
        there = [part for part in (*needed, *possible) if part in needed or part in parts.values]
        values = {part: parts.integer(part, 1, classes - 1) for part in there}
        found.append(Measure(kind, values, item.text("given", "", limit=40), item.text("unit", "", limit=40)))
    return tuple(found)


def _volumes(trained: Fields, classes: int) -> dict[int, tuple[float, float]]:
    found = Fields(trained.mapping("volumes_ml", {}), f"{trained.where}: volumes_ml")
    return {v: found.numbers(str(v), 2, 0, 1e9) for v in range(1, classes) if str(v) in found.values}


def _provenance(json_: Fields) -> dict:
    """Where a model comes from: of what is read again, here and there, every field is of its kind."""
    found = Fields(json_.mapping("provenance", {}), f"{json_.where}: provenance")
    for field_ in ("training_patients", "validation_patients", "calibration_patients", "extra_data", "data_labels"):
        found.texts(field_, ())
    for field_ in ("data", "data_licence", "calibrated_on"):
        found.text(field_, "")
    folds = found.values.get("folds", [])
    if not isinstance(folds, list):
        raise ModelError(f"{found.where}: the field folds is {folds!r:.60}; a list of lists of names was expected.")
    for number, fold in enumerate(folds):
        Fields({"patients": fold}, f"{found.where}: fold {number}").texts("patients")
    Fields(found.mapping("plan", {}), f"{found.where}: plan").text("patient_pattern", "")
    if found.values.get("started_from") is not None:
        _provenance(found.sub("started_from"))
    return dict(found.values)


def _metrics(json_: Fields) -> dict:
    """How good a model was: numbers, by name, or by name and structure."""
    found = Fields(json_.mapping("metrics", {}), f"{json_.where}: metrics")
    found.text("note", "")
    for name in ("before_calibration", "validation", "cases"):
        part = Fields(found.mapping(name, {}), f"{found.where}: {name}")
        for figure, value in part.values.items():
            for value_ in value.values() if isinstance(value, Mapping) and name != "cases" else (value,):
                known = isinstance(value_, float) or (isinstance(value_, int) and abs(value_) < 2**63)
                if not known and (value_ is not None or name == "cases"):
                    raise ModelError(f"{part.where}: the field {figure} is {value_!r:.60}; a number was expected.")
    return dict(found.values)


def architecture_of(fields: Fields, fewest_classes: int = 2) -> dict:
    """The numbers of a network's architecture."""
    return {
        "network": fields.text("network", choices=("CSAMUNet", "CSAMUNetPlusPlus")),
        "input_channels": fields.integer("input_channels", 1, 64),
        "num_classes": fields.integer("num_classes", fewest_classes, 256),
        "num_levels": fields.integer("num_levels", 2, 8),
        "base_channels": fields.integer("base_channels", 1, 256),
        "num_slices": fields.integer("num_slices", 1, 256),
        **{name: fields.flag(name) for name in ("semantic", "positional", "slice", "uncertainty")},
        "rank": fields.integer("rank", 1, 64),
    }


def _label(item: Fields, classes: int) -> Label:
    terminology = None
    if item.mapping("terminology", None) is not None:
        terms = item.sub("terminology")
        terminology = {}
        for part in ("category", "type"):
            value = terms.values.get(part)
            if not (isinstance(value, list) and len(value) == 3 and all(isinstance(v, str) for v in value)):
                raise ModelError(f"{terms.where}: the field {part} is {value!r}; [scheme, code, meaning] was expected.")
            terminology[part] = tuple(value)
    color = tuple(int(c) for c in item.numbers("color", 3, 0, 255))
    value, name = item.integer("value", 1, classes - 1), item.text("name", limit=200)
    inside, slices_of = (item.integer(field, 0, classes - 1, 0) for field in ("inside", "slices_of"))
    if value in (inside, slices_of):
        wrong = "lies inside itself" if inside == value else "is found in its own slices"
        raise ModelError(f"{item.where}: {name} {wrong}; the value of another structure was expected.")
    return Label(value, name, color, terminology, item.flag("connected", False), inside, slices_of)


def error_map_of(item: Fields) -> tuple[tuple[float, float], ...]:
    """Pairs (stated, observed error probability) that rise."""
    pairs = item.values.get("error_map")
    if not (isinstance(pairs, list) and 2 <= len(pairs) <= 1000):
        raise ModelError(f"{item.where}: the field error_map must be a list of 2 to 1000 pairs.")
    table = {str(i): pair for i, pair in enumerate(pairs)}
    error_map = tuple(Fields(table, f"{item.where}: error_map").numbers(key, 2, 0, 1) for key in table)
    if any(b[0] <= a[0] or b[1] < a[1] for a, b in pairwise(error_map)):
        raise ModelError(f"{item.where}: the field error_map must rise.")
    return error_map


def _calibration(item: Fields, classes: int) -> Calibration:
    error_map = error_map_of(item)
    scale = Fields(item.mapping("volume_scale", {}), f"{item.where}: volume_scale")
    qualities = item.values.get("case_quality", [])
    if not (isinstance(qualities, list) and len(qualities) <= 100_000):
        raise ModelError(f"{item.where}: the field case_quality must be a list of numbers.")
    table = {"case_quality": qualities}
    return Calibration(
        error_map,
        {v: scale.number(str(v), 0, 1e6) for v in range(1, classes) if str(v) in scale.values},
        item.number("dice_scale", 0, 1e6, 1.0),
        Fields(table, item.where).numbers("case_quality", len(qualities), 0, 1),
        _slice_risk(item),
        _figure_scale(item),
        # Maps that do not say so were measured when all were smoothed.
        item.flag("keeps_peaks", error_map == Calibration().error_map),
    )


def _figure_scale(item: Fields) -> dict[str, float]:
    found = Fields(item.mapping("figure_scale", {}), f"{item.where}: figure_scale")
    return {str(name): found.number(name, 0, 1e6) for name in found.values}


def _slice_risk(item: Fields) -> SliceRisk | None:
    """None where a model has none, as those of before have."""
    if item.values.get("slice_risk") is None:
        return None
    where = f"{item.where}: slice_risk"
    table = Fields(Fields(item.mapping("slice_risk", {}), where).mapping("facts", {}), f"{where}.facts")
    unknown = sorted(table.values.keys() - set(FACTS))
    if unknown:
        raise ModelError(f"{table.where}: there is no fact {unknown[0]!r:.40}; known are {', '.join(FACTS)}.")
    return SliceRisk({name: table.numbers(name, 2, 0, 1e3) for name in table.values})
