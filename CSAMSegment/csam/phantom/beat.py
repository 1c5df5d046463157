"""A phantom over one heartbeat, with a known ejection fraction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import InputError
from .heart import Phantom, stack_at

SYSTOLE, STILL, FILLED, KICK = 0.35, 0.41, 0.63, 0.85
"""Shares of a beat: end systole, begin and end of early filling, begin of the atrial kick."""
EARLY = 0.75
"""Share of the filling that is early, of a healthy heart at rest."""


def contraction_at(share: float) -> float:
    """How far a heart has contracted at a share of its beat after the R wave: 0 at end diastole, 1 at end systole.

    Ejection, isovolumetric relaxation, early filling, rest, atrial kick; smooth but for the ends of the rest.
    """
    share %= 1.0
    if share < SYSTOLE:
        return 0.5 - 0.5 * math.cos(math.pi * share / SYSTOLE)
    if share < STILL:
        return 1.0
    if share < FILLED:
        return 1 - EARLY * (0.5 - 0.5 * math.cos(math.pi * (share - STILL) / (FILLED - STILL)))
    if share < KICK:
        return 1 - EARLY
    return (1 - EARLY) * (0.5 + 0.5 * math.cos(math.pi * (share - KICK) / (1 - KICK)))


def beating_heart(
    seed: int = 0,
    frames: int = 20,
    ejection_fraction: float = 0.6,
    slices: int = 12,
    size: int = 256,
    spacing: Sequence[float] = (1.25, 1.25, 8.0),
    direction: Sequence[float] | None = None,
) -> list[Phantom]:
    """The stacks of a beat in their order, the first at end diastole; the other arguments are those of ``cine_stack``.

    ejection_fraction: of the shapes, 0.1 to 0.75. What a perfect segmentation has is that of the labels: in slices of
    8 mm up to 3 points more, for they round the ventricle's ends; in slices of 2 mm within a point.
    Raises InputError if an argument is out of range.
    """
    if not 0.1 <= ejection_fraction <= 0.75:
        raise InputError(f"The phantom's ejection fraction is {ejection_fraction!r}; give a number from 0.1 to 0.75.")
    if not 2 <= frames <= 100:
        raise InputError(f"The phantom's number of frames is {frames!r}; give a whole number from 2 to 100.")
    return [
        stack_at(contraction_at(n / frames), seed, slices, size, spacing, direction, ejection_fraction, n)
        for n in range(frames)
    ]
