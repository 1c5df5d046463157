"""How many steps fit into the minutes that a training may take: measured once, before its first step, and written down.

A trial of some steps, of which nothing is kept, tells how long a step and a validation take. The number of steps that
follows is fixed from then on, so that the learning rate has fallen to zero when the time is over, and so that a
training that was stopped, or is repeated with these steps and no minutes, learns the same.

Step: plan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..image.files import read_json
from .learning_curve import write_text
from .plan import Plan

SETTLED = "settled.json"
"""The file of a training's folder with the fields of the plan that were settled while it ran."""
TRIAL = 6
"""Steps whose time is measured; two more go before them, in which libraries are loaded and memory is found."""
FEWEST = 50
"""A training has so many steps at least, however short the time: with less, nothing is learned."""
VALIDATIONS = 12
"""Over the whole training."""
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


def read_settled(out: Path, plan: Plan) -> Plan:
    """The plan with what was settled in its folder. Raises InputError where that cannot be read."""
    path = out / SETTLED
    if not path.exists():
        return plan
    try:
        return replace(plan, **Plan.checked(read_json(path)))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}). Remove it, and checkpoint.pt, to start anew.") from error


def write_settled(out: Path, plan: Plan) -> None:
    """Writes down what of a plan is settled while a training runs."""
    fields: Mapping[str, Any] = {name: getattr(plan, name) for name in ("steps", "validate_every", "checkpoint_every")}
    write_text(out / SETTLED, json.dumps(fields, indent=2) + "\n")
