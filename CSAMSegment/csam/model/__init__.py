"""A model on disk: its description, its weights, its card, and models made of bare state dicts.

Reading a model's description does not import torch.
"""

from .description import COLORS, FORMAT, SLICE_AXES, Calibration, Channel, Label, Measure, Model, TrainedOn, within
from .weights import Weights

__all__ = [
    "COLORS",
    "FORMAT",
    "SLICE_AXES",
    "Calibration",
    "Channel",
    "Label",
    "Measure",
    "Model",
    "TrainedOn",
    "Weights",
    "within",
]
