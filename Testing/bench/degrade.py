"""Scans made worse, or other, as scanners and patients make them: does the error probability rise with the error?"""

from __future__ import annotations

import numpy as np
import torch
from monai import transforms as mt

SHIFTS = (
    "none", "noise", "bias field", "low contrast", "empty slice", "misaligned slice", "turned", "smaller", "larger"
)  # fmt: skip
MOVES = {
    "turned": mt.Rotate(np.pi / 4, mode="bilinear", padding_mode="zeros"),
    "smaller": mt.Zoom(0.65, mode="bilinear", padding_mode="constant"),
    "larger": mt.Zoom(1.4, mode="bilinear", padding_mode="constant"),
}
"""Of every slice alike; takes the slices as channels."""


def degrade(stack: np.ndarray, truth: np.ndarray, shift: str, pixels_of_10_mm: int, seed: int) -> tuple:
    """The stack and truth, both (S, H, W), with one of SHIFTS. The truth goes where its picture goes.

    "turned": by 45° in the plane. "smaller", "larger": everything 0.65 or 1.4 times as wide.
    """
    stack, truth = stack.astype(np.float32), truth.copy()
    top = np.percentile(stack, 99.5)
    middle = len(stack) // 2
    image = torch.from_numpy(stack / top)[None]
    change = {
        "noise": mt.RandRicianNoise(prob=1, std=0.12, sample_std=False),
        "bias field": mt.RandBiasField(prob=1, degree=2, coeff_range=(0.15, 0.25)),
        "low contrast": mt.RandAdjustContrast(prob=1, gamma=(2.99, 3.0)),
    }.get(shift)
    if change is not None:
        change.set_random_state(seed)
        stack = np.asarray(change(image))[0] * top
    elif shift == "empty slice":
        stack[middle] = 0
    elif shift == "misaligned slice":
        move = np.random.default_rng(seed).choice([-1, 1], 2) * pixels_of_10_mm
        stack[middle], truth[middle] = (np.roll(a[middle], move, (0, 1)) for a in (stack, truth))
    elif shift in MOVES:
        before, truth = truth, np.zeros_like(truth)
        for value in np.unique(before[before > 0]):  # a nearest neighbour would lie beside the picture
            truth[moved(before == value, shift) > 0.5] = value
        stack = moved(stack, shift)
    elif shift != "none":
        raise ValueError(f"The shift is {shift!r}; one of {', '.join(SHIFTS)} was expected.")
    return stack, truth


def moved(slices: np.ndarray, shift: str) -> np.ndarray:
    """(S, H, W) under one of MOVES, float32."""
    return np.asarray(MOVES[shift](torch.from_numpy(slices.astype(np.float32))))
