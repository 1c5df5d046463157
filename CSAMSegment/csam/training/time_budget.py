"""How many steps fit into the minutes that a training may take: measured once, before its first step, and written down.

A trial of some steps, of which nothing is kept, tells how long a step and a validation take. The number of steps that
follows is fixed from then on, so that the learning rate has fallen to zero when the time is over, and so that a
training that was stopped, or is repeated with these steps and no minutes, learns the same. Where too few steps fit, the
plan becomes lighter first: a small network that has learned beats a large one that has begun to.

Step: plan.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..image.files import read_json
from .learning_curve import write_text
from .plan import GATES, Plan

SETTLED = "settled.json"
"""The file of a training's folder with the fields of the plan that were settled while it ran."""
TRIAL = 6
"""Steps whose time is measured; two more go before them, in which libraries are loaded and memory is found."""
ENOUGH = 600
"""Steps below which the plan becomes lighter, where it can."""
FEWEST = 50
"""A training has so many steps at least, however short the time: with less, nothing is learned."""
VALIDATIONS = 12
"""Over the whole training."""
COARSER = 1.5
"""How many times as large the pixels of a lighter plan are."""
SMALL_FIELD = 96
"""Pixels of a side; a field of view that is no larger is not made smaller."""
CALIBRATION = 12.0
"""Calibrating takes about as long as so many validations: 11.8 times the processor time of one for a model of one
structure, which is calibrated with test-time augmentation, too; less for others."""
BETWEEN_CHECKPOINTS = 30.0
"""Seconds of work that a crash may cost."""


def settle(plan: Plan, step_seconds: float, validation_seconds: float, spent: float = 0.0) -> Plan:
    """The plan with the steps that fit into its minutes, validated and saved as often as that asks for.

    step_seconds, validation_seconds: of one step and of one validation. spent: seconds that are gone already.
    """
    left = 60 * plan.minutes - spent - (VALIDATIONS + CALIBRATION) * validation_seconds
    steps = max(FEWEST, int(left / max(step_seconds, 1e-6)))
    between = round(BETWEEN_CHECKPOINTS / max(step_seconds, 1e-6))
    return replace(
        plan,
        steps=min(steps, 10**9),
        validate_every=max(1, -(-steps // VALIDATIONS)),
        checkpoint_every=max(1, min(plan.checkpoint_every, between)),
    )


def lighter(plan: Plan, fixed: Collection[str] = ()) -> Plan | None:
    """The plan with cheaper steps: first without gates, which gain little (docs, measurements.md), then with larger
    pixels, so that fewer show as much. None where it is as light as it gets. fixed: fields that have to stay.
    """
    multiple = 2 ** (plan.num_levels - 1)
    field = tuple(multiple * max(2, round(side / COARSER / multiple)) for side in plan.field_of_view)
    moves: list[dict[str, Any]] = []
    if any(getattr(plan, gate) for gate in GATES):
        moves.append(dict.fromkeys(GATES, False))
    if max(plan.field_of_view) > SMALL_FIELD and field != plan.field_of_view:
        spacing = plan.in_plane_spacing * max(plan.field_of_view) / max(field)
        moves.append({"in_plane_spacing": round(spacing, 3), "field_of_view": field})
    free = [move for move in moves if not move.keys() & set(fixed)]
    return replace(plan, **free[0]) if free else None


def told(plan: Plan, less: Plan) -> str:
    """How the lighter of two plans differs, in words."""
    if less.in_plane_spacing != plan.in_plane_spacing:
        return f"pixels of {less.in_plane_spacing:g} mm are taken instead of {plan.in_plane_spacing:g} mm"
    return "the network does without CSAM's gates"


def read_settled(out: Path, plan: Plan) -> Plan:
    """The plan with what was settled in its folder. Raises InputError where that cannot be read."""
    path = out / SETTLED
    if not path.exists():
        return plan
    try:
        return replace(plan, **Plan.checked(read_json(path)))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}). Remove it and checkpoint.pt to start again.") from error


def write_settled(out: Path, plan: Plan) -> None:
    """Writes down what of a plan is settled while a training runs."""
    names = ("steps", "validate_every", "checkpoint_every", *GATES, "in_plane_spacing", "field_of_view")
    fields: Mapping[str, Any] = {name: getattr(plan, name) for name in names}
    write_text(out / SETTLED, json.dumps(fields, indent=2) + "\n")
