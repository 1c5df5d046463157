"""Small drawings and networks for the tests of filling: quick on one core, seeded."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import SimpleITK as sitk
import torch
from unit import small

from csam.image.unknown import UNKNOWN
from csam.interactive.drawing import Structure
from csam.interactive.fill_model import FillModel
from csam.model.weights import Weights
from csam.training.fill_training import FillPlan, new_network

PLAN = FillPlan(steps=4, batch=1, num_slices=4, num_levels=2, base_channels=4)
ROD = (Structure(1, "rod"),)


def model(active: bool = True) -> FillModel:
    """A model of 4 slices and 2 levels. active: adds something to the interpolation."""
    network = new_network(PLAN).eval()
    if active:
        torch.nn.init.normal_(network.conv_final.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    data = buffer.getvalue()
    return FillModel(
        "small-fill",
        "0.1",
        "For tests.",
        network.architecture,
        sha256=hashlib.sha256(data).hexdigest(),
        weights=Weights(data=data),
    )


def disc(shape, centre, radius) -> np.ndarray:
    """(H, W) bool. centre: row, column; pixels."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2


def rod(slices: int = 7, size=(48, 40), lean=(1.0, 0.5), radius: float = 9.0) -> np.ndarray:
    """A slanting rod, (S, H, W) uint8. lean: pixels a slice."""
    middle = (slices - 1) / 2
    return np.stack(
        [
            disc(size, [n / 2 + by * (index - middle) for n, by in zip(size, lean, strict=True)], radius)
            for index in range(slices)
        ]
    ).astype(np.uint8)


def image_of(labels: np.ndarray, dtype=np.int16, seed: int = 0, **place) -> sitk.Image:
    """Each value of the labels has a grey value of its own; some noise."""
    values = 100 + 300.0 * labels + np.random.default_rng(seed).normal(0, 20, labels.shape)
    return small.placed(values.clip(0, 1000).astype(dtype), **place)


def drawn(labels: np.ndarray, slices, **place) -> sitk.Image:
    """The labels in these slices, UNKNOWN in all others."""
    known = np.isin(np.arange(len(labels)), [*slices])[:, None, None]
    return small.placed(np.where(known, labels, UNKNOWN).astype(np.uint8), **place)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / max(1, np.count_nonzero(one) + np.count_nonzero(other))
