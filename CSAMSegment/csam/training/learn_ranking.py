"""How much each fact of a slice counts (``csam.uncertainty.slice_ranking``), learned from slices with a truth.

Step: calibrate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..uncertainty.slice_ranking import FACTS, SliceRisk

FEWEST_PATIENTS = 10
"""Fewer teach no weights: the slices keep the order of the areas that the probabilities expect."""
RIDGE = 1.0
"""Against weights that few scans would decide."""
STRESS = 1.5
"""Power of the wrong areas whose shares are learned: above 1, the worst slice counts more than the others."""
TOP = 0.995
"""Quantile of a fact above which it counts no more: a model is not asked beyond what it has seen."""


@dataclass(frozen=True)
class SliceFacts:
    """facts: (S, len(FACTS)) of a stack. wrong: (S,), the area that is wrong in every slice, in any unit."""

    patient: str
    facts: np.ndarray
    wrong: np.ndarray


def fit(stacks: Sequence[SliceFacts]) -> SliceRisk | None:
    """The weights that make the shares of the wrong area most likely, or None with too few patients.

    A multinomial regression: a stack counts once, whatever is wrong with it. No fact may lower a share: what a jump
    tells of one hospital's stacks must not excuse one elsewhere.
    """
    from scipy.optimize import minimize

    stacks = [stack for stack in stacks if stack.facts.any() and np.any(stack.wrong)]
    if len({stack.patient for stack in stacks}) < FEWEST_PATIENTS:
        return None
    number = np.repeat(np.arange(len(stacks)), [len(stack.wrong) for stack in stacks])
    facts = np.concatenate([stack.facts for stack in stacks])
    highest = np.quantile(facts, TOP, axis=0)
    facts = np.minimum(facts, highest)
    spread = np.where(facts.std(0) > 1e-6, facts.std(0), np.inf)
    scaled = facts / spread
    wrong = np.concatenate([np.power(stack.wrong, STRESS) for stack in stacks])
    shares = wrong / np.bincount(number, wrong)[number]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        rate = np.exp(scaled @ weights)
        stated = rate / np.bincount(number, rate)[number]
        value = RIDGE / 2 * weights @ weights - shares @ np.log(stated)
        return float(value), RIDGE * weights + scaled.T @ (stated - shares)

    start, bounds = np.zeros(len(FACTS)), [(0, None)] * len(FACTS)
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x / spread
    return SliceRisk(
        {
            name: (round(float(weight), 5), round(float(top), 5))
            for name, weight, top in zip(FACTS, weights, highest, strict=True)
            if round(float(weight), 5) > 0
        }
    )
