"""How far a data set's contours lie outside a model's: the shift that a hospital's own convention asks for.

Step: calibrate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import SimpleITK as sitk

from ..image.unknown import UNKNOWN
from ..model import Model, within
from ..pipeline.segment import segment
from ..result import Options
from .dataset import Case

MOST = 20.0
"""Millimetres; more is no convention."""


def distance_outside(found: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> float | None:
    """By how much the true contour lies outside the one found, mm: the difference of the areas over the length.

    found, truth: (S, H, W) bool. spacing: of rows and columns, mm. Slices that show the structure in both count; None
    without any.
    """
    both = found.any((1, 2)) & truth.any((1, 2))
    if not both.any():
        return None
    found, truth = found[both], truth[both]
    difference = (np.count_nonzero(truth) - np.count_nonzero(found)) * float(np.prod(spacing))
    return difference / (0.5 * (_length(found, spacing) + _length(truth, spacing)))


def _length(masks: np.ndarray, spacing: Sequence[float]) -> float:
    """Of the contours, mm: pixels' edges seen from all directions alike (Cauchy and Crofton's formula with two)."""
    rows, columns = (np.count_nonzero(np.diff(np.pad(masks, 1).astype(np.int8), axis=axis)) for axis in (1, 2))
    return np.pi / 4 * (rows * spacing[1] + columns * spacing[0])


def measured_shift(
    model: Model,
    cases: Sequence[Case],
    log: Callable[[str], None] = print,
    cancelled: Callable[[], bool] | None = None,
    device: str = "auto",
) -> dict[int, float]:
    """By label value, the median over the cases of how far their contours lie outside the model's own, mm.

    A structure that no case shows whole in a slice is left where it is, as is one that is not labelled.
    """
    plain, held = replace(model, contour_shift={}), within(model.labels)
    apart: dict[int, list[float]] = {label.value: [] for label in model.labels}
    for case in cases:
        images, truth = case.read()
        result = segment(images, plain, Options(device=device), cancelled=cancelled)
        axis = 2 - result.slice_axis
        found, known = (np.moveaxis(sitk.GetArrayFromImage(one), axis, 0) for one in (result.labels, truth))
        whole = ~(known == UNKNOWN).any((1, 2))
        spacing = [s for a, s in enumerate(reversed(truth.GetSpacing())) if a != axis]
        for value, values in held.items():
            if not {*values} & {*case.unlabelled}:
                found_, known_ = (np.isin(one[whole], values) for one in (found, known))
                distance = distance_outside(found_, known_, spacing)
                if distance is not None:
                    apart[value].append(distance)
    shift = {}
    for label in model.labels:
        if values := apart[label.value]:
            distance = shift[label.value] = round(float(np.clip(median(values), -MOST, MOST)), 2)
            log(
                f"Contours of {label.name} lie {abs(distance):.2f} mm {'outside' if distance >= 0 else 'inside'} the "
                f"model's (median of {len(values)} scans, from {min(values):+.2f} to {max(values):+.2f} mm outwards)."
            )
    return shift
