"""Ways to turn a stack that keep its slices slices: the samples of a run are taken over several of them.

A network that was taught to take stacks any way up still errs a little differently every way. The mean over all
of them is less sure of itself, and its disagreement with itself tells poor slices (test-time augmentation, Wang et al.
2019, https://doi.org/10.1016/j.neucom.2019.01.103; measured in Testing/bench/compare_uncertainty.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StackOrientation:
    """mirrored: columns turned round, first. quarter_turns: from rows to columns, then. reversed: slices turned round.

    Tensors have slices, channels, rows and columns: (S, C, H, W), or (S, C, W, H) after an odd number of turns.
    """

    quarter_turns: int = 0
    mirrored: bool = False
    reversed: bool = False

    def apply(self, stack: Tensor) -> Tensor:
        stack = stack.flip(0) if self.reversed else stack
        stack = stack.flip(-1) if self.mirrored else stack
        return stack.rot90(self.quarter_turns, (-2, -1)) if self.quarter_turns else stack

    def undo(self, stack: Tensor) -> Tensor:
        stack = stack.rot90(-self.quarter_turns, (-2, -1)) if self.quarter_turns else stack
        stack = stack.flip(-1) if self.mirrored else stack
        return stack.flip(0) if self.reversed else stack

    def place(self, slices: slice, count: int) -> slice:
        """Where slices of a stack of ``count`` lie in this orientation, and those of it in the stack."""
        return slice(count - slices.stop, count - slices.start) if self.reversed else slices


ORIENTATIONS = tuple(StackOrientation(turns, turned, turned) for turns in range(4) for turned in (False, True))
"""The eight rotations of space that keep the slices slices: none turns left into right."""


def orientations_of(field_of_view: tuple[int, int], free_orientation: bool) -> tuple[StackOrientation, ...]:
    """The rotations that a network was taught; quarter turns only where its field of view is a square."""
    if not free_orientation:
        return (StackOrientation(),)
    rows, columns = field_of_view
    return tuple(orientation for orientation in ORIENTATIONS if rows == columns or orientation.quarter_turns % 2 == 0)
