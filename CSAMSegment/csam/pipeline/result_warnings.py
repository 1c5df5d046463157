"""What a user is told of a result: facts in, sentences out. Each sentence tells what to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model import Model
from ..result import WHOLE, StructureVolume
from ..uncertainty.expected_error import is_poor, poor
from . import input_check

LEFT_OUT = 0.2
"""Share of a structure in pieces beside its largest from which on it is said that they were left out."""


@dataclass(frozen=True)
class Findings:
    """What was found in a result.

    breaks: index and structure of slices that lack one between two slices that show it. not_found: names of structures.
    left_out: name and share of a structure in pieces beside its largest. calibrated: whether the model is, for such a
    run. augmented: with test-time augmentation.
    """

    extent: str
    structures: Sequence[StructureVolume]
    case_quality: float
    case_rank: float | None
    calibrated: bool
    augmented: bool
    breaks: Sequence[tuple[int, str]] = ()
    not_found: Sequence[str] = ()
    left_out: Sequence[tuple[str, float]] = ()


def result_warnings(found: Findings, model: Model, said: Sequence[str] = ()) -> tuple[str, ...]:
    """All warnings of a result, the most important one first. said: what the run has told already."""
    whole = found.extent == WHOLE
    warnings = [poor(found.case_quality, found.case_rank)] if whole and is_poor(found.case_rank) else []
    warnings += said
    warnings += [broken(index, name) for index, name in found.breaks]
    warnings += [not_found(name) for name in found.not_found]
    if not found.calibrated:
        warnings.append(not_calibrated(model, found.augmented))
    if found.case_rank is None or is_poor(found.case_rank):  # where the case quality is good they have been wrong
        warnings += [left_out(name, share) for name, share in found.left_out if share > LEFT_OUT]
        warnings += input_check.sizes(found.structures, model) if whole else ()
    return tuple(warnings)


def broken(index: int, name: str) -> str:
    """A structure is missing between two slices that show it."""
    return (
        f"In slice {index + 1} (the first is 1) {name} is missing, but both neighbours show it. Check that slice's "
        "image and its position in the stack."
    )


def not_found(name: str) -> str:
    """A structure is nowhere in the image."""
    return f"{name} was not found, so do not rely on the expected Dice. Look for it in the image."


def left_out(name: str, share: float) -> str:
    """A good part of a structure lay apart from its largest piece, outside the structure that surrounds it, or, unsure,
    beyond the slices of the one that it goes with."""
    return (
        f"{share:.0%} of what was found as {name} lay apart from the rest of it, or in slices where the model was not "
        "sure of it, and was left out. Check that the right part was kept."
    )


def not_calibrated(model: Model, augmented: bool) -> str:
    """The model was never calibrated for such a run."""
    how = f" {'with' if augmented else 'without'} test-time augmentation" if model.free_orientation else ""
    return (
        f"{model.name} is not calibrated{how}. Do not rely on intervals, error probability and expected Dice: they "
        "were never compared with the truth."
    )


def one_orientation(model: Model) -> str:
    """Test-time augmentation was asked of a model that was taught one orientation."""
    return f"{model.name} knows only one orientation. Test-time augmentation only makes the run slower: switch it off."
