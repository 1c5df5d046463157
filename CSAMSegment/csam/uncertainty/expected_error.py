"""From probabilities to what a user is told: a voxel's error probability, the Dice to expect, the volume's interval."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk

WIDEST = 64.0
"""Variance, pixels², up to which ITK's kernel of 32 pixels holds a Gaussian; beyond 700 its weights overflow."""

POOR = 0.1
"""A case quality that no more than this share of the validation scans fall short of is said to be a poor one: of all
warnings that were tried, what predicts poor results (Testing/bench/warnings_worth.py)."""


def is_poor(rank: float | None) -> bool:
    """Whether a result may be poor, by the rank of its case quality among the validation scans, where known."""
    return rank is not None and rank <= POOR


def poor(quality: float, rank: float) -> str:
    """The one sentence about a result that may be poor."""
    others = "every validation scan" if rank == 0 else f"{1 - rank:.0%} of the validation scans"
    return (
        f"The result may be poor: its expected Dice is {quality:.2f}, lower than that of {others}. Look at every slice "
        "before you use it, and check that the image and its orientation are what the model expects."
    )


def stated_error(error_probability: np.ndarray, width: tuple[float, float], keeps_peaks: bool = True) -> np.ndarray:
    """The error probability of a slice (H, W) before calibration: its own or the ``smoothed`` one, the larger of both.

    A network is surer of where a border lies than reviewers are. Spread by one of the model's pixels, the probability
    reaches wrong voxels beside the border; on it, it stays what the network said (Testing/bench/run_modes.py).
    keeps_peaks: False for the smoothed one alone.
    """
    spread = smoothed(error_probability, width)
    return np.maximum(spread, error_probability) if keeps_peaks else spread


def smoothed(error_probability: np.ndarray, width: tuple[float, float]) -> np.ndarray:
    """A slice's error probability (H, W) under a Gaussian of this standard deviation in pixels, rows and columns."""
    image = sitk.GetImageFromArray(error_probability.astype(np.float32))
    variance = [w**2 for w in width[::-1]]
    passes = math.ceil(max(1.0, *variance) / WIDEST)  # one after the other they are one wide Gaussian
    for _ in range(passes):
        once = [v / passes for v in variance]
        image = sitk.DiscreteGaussian(image, once, maximumError=1e-3, useImageSpacing=False)
    return sitk.GetArrayFromImage(image)


def expected_dice(difference: float, found: float, expected: float) -> float:
    """The Dice that the probabilities expect of a structure, 2 E|A∩B| / (|A| + E|B|); 1 where nothing is there.

    difference: expected size of the difference, ``uncertainty.expected_difference``. found: size of the segmentation.
    expected: sum of the probabilities.
    """
    return 1 - difference / (found + expected) if found + expected > 0 else 1.0


def case_quality(expected: float, scale: float = 1.0) -> float:
    """The expected Dice with ``scale`` times its distance from 1, at least 0: networks are too sure of themselves."""
    return max(0.0, 1 - scale * (1 - expected))


def volume_interval(volume: float, difference: float, scale: float = 1.0) -> tuple[float, float]:
    """The volume ± ``scale`` times the expected size of the difference, at least 0."""
    return max(0.0, volume - scale * difference), volume + scale * difference
