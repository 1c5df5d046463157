"""Which slice to draw next: the one whose drawing is expected to mend most, in the slice itself and around it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .interpolation import neighbours


def expected_gain(wrong: Sequence[float], drawn: Sequence[int]) -> np.ndarray:
    """What drawing a slice is expected to mend, for each slice: all of its own error and part of its neighbours'.

    wrong: expected error of each slice, in any unit. drawn: slices, rising. A drawn slice gains nothing. The error of
    what is interpolated grows with the product of the distances to the drawn slices on either side, as that of a line
    through two points of a curve does; beyond the last drawn slice it grows with the distance. So a slice that lies
    between two drawn ones keeps the part of its error that its distances leave.
    """
    count = len(wrong)
    before = _reach(count, drawn)
    gain = np.zeros(count)
    for index in set(range(count)) - set(drawn):
        after = _reach(count, sorted([*drawn, index]))
        kept = np.divide(after, before, out=np.ones(count), where=before > 0)
        gain[index] = float(np.dot(wrong, 1 - kept))
    return gain


def _reach(count: int, drawn: Sequence[int]) -> np.ndarray:
    """How far each slice is from what is drawn, in slices: 0 for a drawn one."""
    reach = np.zeros(count)
    for index in range(count):
        below, above = neighbours(index, drawn)
        if below is None or above is None:
            reach[index] = abs(index - (above if below is None else below))
        elif below != above:
            reach[index] = (index - below) * (above - index) / (above - below)
    return reach
