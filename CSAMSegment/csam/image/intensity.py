"""Intensity normalisation, stored with the model as data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ModelError


@dataclass(frozen=True)
class Intensity:
    """Maps the values between two limits to 0..1 and clips the rest.

    scope: "slice" or "volume": the limits are percentiles of each slice or of the whole stack; "fixed": the limits
        are values themselves, such as Hounsfield units.
    lower, upper: percentiles (0 to 100) or values.
    """

    scope: str = "slice"
    lower: float = 0.5
    upper: float = 99.5

    def __post_init__(self):
        if self.scope not in ("slice", "volume", "fixed"):
            raise ModelError(f"intensity.scope is {self.scope!r}; it must be slice, volume or fixed.")
        if not self.lower < self.upper:
            raise ModelError(f"intensity.lower is {self.lower}; it must be below intensity.upper ({self.upper}).")
        if self.scope != "fixed" and (self.lower < 0 or self.upper > 100):
            raise ModelError(f"intensity percentiles are {self.lower} and {self.upper}; they must lie in 0 to 100.")

    def limits(self, stack: np.ndarray) -> np.ndarray:
        """Stack (S, H, W) → limits (2, S)."""
        if self.scope == "fixed":
            return np.repeat([[self.lower], [self.upper]], stack.shape[0], axis=1)
        percentiles = [self.lower, self.upper]
        if self.scope == "volume":
            return np.repeat(np.percentile(stack, percentiles)[:, None], stack.shape[0], axis=1)
        return np.stack([np.percentile(image, percentiles) for image in stack], axis=1)

    def __call__(self, stack: np.ndarray) -> np.ndarray:
        """Stack (S, H, W) → float32 of the same shape, 0 to 1. A slice without contrast becomes 0."""
        scaled = np.zeros(stack.shape, np.float32)
        for image, result, low, high in zip(stack, scaled, *self.limits(stack), strict=True):
            if high > low:
                result[:] = np.clip((image - low) / (high - low), 0, 1)
        return scaled
