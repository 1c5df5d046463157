"""The function of a heart's chamber from its volume in every frame of a beat: pure functions, without torch.

Example:
    >>> curve = curve_of([120, 101, 76, 59, 55, 66, 88, 103, 107, 112])
    >>> curve.end_diastole, curve.end_systole
    (0, 4)
    >>> round(ejection_fraction(120, 55), 3)
    0.542
"""

from .curve import Curve, curve_of, order
from .function import (
    Figure,
    body_surface_area,
    ejection_fraction,
    myocardial_mass,
    prior_half_width,
    stroke_volume,
    ventricular_function,
)

__all__ = [
    "Curve",
    "Figure",
    "body_surface_area",
    "curve_of",
    "ejection_fraction",
    "myocardial_mass",
    "order",
    "prior_half_width",
    "stroke_volume",
    "ventricular_function",
]
