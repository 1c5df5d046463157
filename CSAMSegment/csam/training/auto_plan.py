"""The automatic plan: what a training should do, decided from the data set alone, each decision with its reason.

Step: plan.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from ..image import geometry
from ..model import Model
from .case_facts import CaseFacts
from .dataset import Dataset
from .model_match import values_by_name
from .plan import GATES, Plan

LARGEST_FIELD = 192
"""Pixels of a side: more would make a step slow without a GPU."""
CONTEXT = 3.0
"""The field of view is this many times as wide as the structures, if the images are."""
COARSEST = 1.5
"""Pixels may get this much larger than those of the scans, no more."""
MOST_SLICES = 24
SMALLEST_MAP = 8
"""Pixels of a side on the deepest level."""
MOSTLY = 0.9
SCANS_OF_A_PATIENT = 12


@dataclass(frozen=True)
class Decision:
    """A field of the plan, its value, and why, in words. asked: somebody has asked for it."""

    field: str
    value: Any
    reason: str
    asked: bool = False

    def __str__(self) -> str:
        value = ", ".join(f"{v:g}" for v in self.value) if isinstance(self.value, tuple | list) else self.value
        return f"{self.field} = {value}: {self.reason}"


def decide(data: Dataset, start: Model | None = None, given: Mapping[str, Any] | None = None) -> list[Decision]:
    """Every field of the plan that the data set, or the model to start from, has a say in; ``given`` overrides.

    Pure: the same data set gives the same plan. What is given counts before anything is derived from it: a field of
    view follows from the spacing that was asked for.
    """
    decisions: dict[str, Decision] = {}
    given = dict(given or {})

    def settle(field: str, value: Any, reason: str) -> Any:
        decisions[field] = asked(field) if field in given else Decision(field, value, reason)
        return decisions[field].value

    def asked(field: str) -> Decision:
        return Decision(field, given[field], "as asked for", asked=True)

    def done() -> list[Decision]:
        return [*decisions.values(), *(asked(field) for field in given if field not in decisions)]

    settle("patient_pattern", *patient_pattern([case.name for case in data.cases]))
    patients = len(data.by_patient(decisions["patient_pattern"].value).patients)
    settle(
        "validation_patients",
        max(1, min(40, round(patients / 4))),
        f"a quarter of the {patients} patients, to choose the weights and to calibrate the model",
    )
    settle("free_orientation", *_orientation(data))
    settle("validate_every", 250, "the validation patients are segmented after every 250 steps")
    settle("patience", 6, "stops when 6 validations in a row were no better than the best")
    if start is not None:
        for field, value in inherited(start).items():
            settle(field, value, f"as in {start.name}, from which the training starts")
        known = values_by_name(start)
        new = [name for name in data.labels if name.casefold() not in known]
        if new:  # with a quarter of the rate they are hardly learned: Testing/bench/first_cases.py, lumbar vertebrae
            reason = f"as from scratch: {start.name} does not know {', '.join(new)}"
            settle("learning_rate", Plan.learning_rate, reason)
            settle("steps", Plan.steps, reason)
            return done()
        settle("learning_rate", 5e-4, "a quarter of the usual: the weights are good already")
        settle("steps", 1500, "fewer than from scratch: the weights are good already")
        return done()
    facts = [data.facts[case.name] for case in data.cases]
    plane = settle("slice_axis", *_slice_axis(facts))
    sizes = [_case_size(fact, plane) for fact in facts]
    native = median(size.pixel for size in sizes)
    wanted, reason = _field_in_mm(sizes)
    spacing = settle("in_plane_spacing", *_spacing(native, wanted))
    pixels = min(LARGEST_FIELD, wanted / spacing)
    if "field_of_view" in given:
        pixels = math.gcd(*given["field_of_view"])
    levels = settle("num_levels", *_levels(pixels, exact="field_of_view" in given))
    multiple = 2 ** (levels - 1)
    side = multiple * max(2, round(pixels / multiple))
    settle("field_of_view", (side, side), f"{side * spacing:.0f} mm: {reason}; multiples of {multiple} fit the levels")
    counts = sorted(size.slices for size in sizes)
    most = counts[min(len(counts) - 1, int(0.9 * len(counts)))]
    settle(
        "num_slices",
        max(2, min(MOST_SLICES, most)),
        f"stacks have {counts[0]} to {counts[-1]} slices and nine of ten at most {most}"
        + (f", more than {MOST_SLICES} would take too much memory" if most > MOST_SLICES else "")
        + "; shorter ones repeat their edges, longer ones are seen in overlapping windows",
    )
    shown = median(size.shown for size in sizes if size.shown)
    settle(
        "empty_slices",
        shown > MOSTLY,
        f"structures reach over {shown:.0%} of a stack: slices without any "
        + (
            "have to be made up, or the network would find some in every slice"
            if shown > MOSTLY
            else "are there to learn"
        ),
    )
    _settle_intensity(settle, data, facts)
    return done()


def plan_from(decisions: Sequence[Decision]) -> Plan:
    """Raises InputError that names a field out of range."""
    return Plan.from_json({decision.field: decision.value for decision in decisions})


def inherited(model: Model) -> dict[str, Any]:
    """The fields of a plan that a model trained further has to keep."""
    kept = ("network", "num_levels", "base_channels", "num_slices", *GATES, "rank")
    return {field: model.architecture[field] for field in kept} | {
        "in_plane_spacing": model.in_plane_spacing,
        "field_of_view": tuple(model.field_of_view),
        "slice_axis": model.slice_axis,
        "intensity": model.intensity.scope,
        "intensity_limits": (model.intensity.lower, model.intensity.upper),
    }


def patient_pattern(names: Sequence[str]) -> tuple[str, str]:
    """The pattern that tells a case's patient, and why: names that differ behind the last underscore only are one's."""
    groups = defaultdict(list)
    for name in names:
        groups[name.rpartition("_")[0] or name].append(name)
    largest, scans = max(groups.values(), key=len), len(names) / len(groups)
    if len(largest) == 1:
        return "(.*)", "no two names look like scans of one patient: every case is one"
    alike = f"{largest[0]} and {largest[1]} differ behind the last underscore only"
    if len(groups) == 1 or scans > SCANS_OF_A_PATIENT:
        why = "as all names do" if len(groups) == 1 else f"but {scans:.0f} scans are many for one patient"
        return "(.*)", f"{alike}, {why}: every case counts as a patient. If that is wrong, give --patient-pattern"
    advice = ""
    if scans > len(groups):
        advice = '. If that is a site or a series and every case a patient, give --patient-pattern "(.*)"'
    return r"(.+?)(?:_[^_]*)?$", f"{alike}: taken for scans of one patient, of whom there are {len(groups)}{advice}"


def _orientation(data: Dataset) -> tuple[bool, str]:
    if len(data.labels) == 1:
        return (
            True,
            "there is one structure: it is itself in every orientation, and learns from all of them",
        )
    return (
        False,
        f"there are {len(data.labels)} structures: a mirror could make one look like another, such as left right",
    )


def _slice_axis(facts: Sequence[CaseFacts]) -> tuple[str, str]:
    planes, assumed = Counter(), Counter()
    for fact in facts:
        axis = geometry.slice_axis(fact.size, fact.spacing, fact.direction)
        clear = geometry.spacing_tells(fact.spacing, axis)
        cosines = np.abs(np.reshape(fact.direction, (3, 3))[:, axis])
        (planes if clear else assumed)[geometry.PLANES[int(cosines.argmax())]] += 1
    if not assumed:
        return "auto", f"in every scan one spacing is the largest: the slices run along it ({_told(planes)})"
    counts = planes or assumed
    others = f"the others: {_told(planes)}" if planes else f"a run takes them for {_told(assumed)}"
    return (
        max(counts, key=lambda plane: (counts[plane], plane == "axial")),
        f"{assumed.total()} scan(s) have no single largest spacing, so the plane must be named; {others}",
    )


def _told(planes: Counter) -> str:
    return ", ".join(f"{count} {plane}" for plane, count in planes.most_common())


@dataclass(frozen=True)
class _CaseSize:
    """A case as a stack. pixel: mean in-plane spacing, mm. image, structure: in-plane extents, mm.

    shown: the share of the slices over which the structures reach, or, of a case known in part, of the known slices
    that show one; as structure, None without any.
    """

    slices: int
    pixel: float
    image: float
    structure: float | None
    shown: float | None


def _case_size(fact: CaseFacts, plane: str) -> _CaseSize:
    axis = geometry.axis_of(fact.size, fact.spacing, fact.direction, plane)
    across = [a for a in range(3) if a != axis]
    structure = shown = None
    if fact.box is not None:
        shown = (fact.box[axis][1] - fact.box[axis][0] + 1) / fact.size[axis]
        if not fact.whole:  # what lies between those is unknown
            shown = fact.shown[axis] / fact.known[axis]
        structure = max((fact.box[a][1] - fact.box[a][0] + 1) * fact.spacing[a] for a in across)
    return _CaseSize(
        fact.size[axis],
        math.sqrt(math.prod(fact.spacing[a] for a in across)),
        max(fact.size[a] * fact.spacing[a] for a in across),
        structure,
        shown,
    )


def _field_in_mm(sizes: Sequence[_CaseSize]) -> tuple[float, str]:
    image = median(size.image for size in sizes)
    structure = float(np.percentile([size.structure for size in sizes if size.structure], 95))
    if CONTEXT * structure < image:
        return (
            CONTEXT * structure,
            f"{CONTEXT:g} times the {structure:.0f} mm of the structures, for what is around them",
        )
    return image, f"the images are {image:.0f} mm wide and the structures {structure:.0f} mm"


def _spacing(native: float, wanted: float) -> tuple[float, str]:
    needed = wanted / LARGEST_FIELD
    spacing = round(min(max(native, needed), COARSEST * native), 3)
    if needed <= native:
        return spacing, "the median of the scans: nothing is lost, nothing is made up"
    return spacing, (
        f"coarser than the scans' median of {native:.3g} mm, so that {LARGEST_FIELD} pixels show as much as they can "
        f"of the {wanted:.0f} mm wanted"
    )


def _levels(pixels: float, exact: bool) -> tuple[int, str]:
    """exact: the field of view is given, and has to be a multiple of 2^(levels-1)."""
    levels = max(3, min(6, int(math.log2(max(1.0, pixels / SMALLEST_MAP))) + 1))
    while exact and levels > 2 and (pixels % 2 ** (levels - 1) or pixels <= 2 ** (levels - 1)):
        levels -= 1
    return levels, f"the deepest map of {pixels:.0f} pixels is then about {pixels / 2 ** (levels - 1):.0f} wide"


def _settle_intensity(settle, data: Dataset, facts: Sequence[CaseFacts]) -> None:
    values = np.concatenate([fact.values.ravel() for fact in facts])
    low, high = (float(round(v)) for v in np.percentile(values[np.isfinite(values)], (0.5, 99.5)))
    lowest = min(min(fact.lowest) for fact in facts)
    scaled = sum(fact.scaled_slices for fact in facts)
    if set(data.modalities) == {"CT"} and lowest < -100:
        chosen = "fixed", "CT in Hounsfield units: the same value means the same tissue in every scan"
    elif scaled > len(facts) / 2:
        chosen = "slice", f"in {scaled} of {len(facts)} scans every slice was scaled to its own maximum before"
    else:
        odd = ""
        if set(data.modalities) == {"CT"}:
            odd = " (CT that never falls below -100 is not in Hounsfield units)"
        elif "CT" in data.modalities:
            odd = " (other channels have no units)"
        chosen = "volume", f"values have no fixed meaning{odd}: each scan is scaled as a whole"
    limits, reason = (0.5, 99.5), "percentiles: a few bright voxels do not darken the rest"
    if settle("intensity", *chosen) == "fixed":
        margin = round(max(50.0, 0.25 * (high - low)))
        limits = low - margin, high + margin
        reason = f"99 % of the structures' voxels lie from {low:.0f} to {high:.0f}; {margin} more on either side"
    settle("intensity_limits", limits, reason)
