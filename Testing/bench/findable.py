"""A finder of wrong voxels that is taught with truth: what a learned map could find beyond the model's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold

FAR = 40.0
"""Pixels: distances beyond count as this."""


def features(chance: np.ndarray, inside: np.ndarray, found: np.ndarray, image: np.ndarray) -> np.ndarray:
    """What a finder may know of every voxel: (slices, rows, columns) four times → (slices, rows, columns, features).

    chance: of error, as the model tells it. inside: the probability of any structure. found: whether one was found.
    """
    stated = np.minimum(inside, 1 - inside)
    distance = np.stack([_signed(part) for part in found])
    bright = np.stack([_relative(picture, part) for picture, part in zip(image, found, strict=True)])
    outward = sum(
        ndimage.gaussian_filter(bright, (0, 1, 1), order=(0, *order)) * np.gradient(distance, axis=axis)
        for axis, order in ((1, (1, 0)), (2, (0, 1)))
    )
    area = found.sum((1, 2))
    shown = np.flatnonzero(area) if area.any() else np.array([0])
    place = (np.arange(len(found)) - shown[0]) / max(1, shown[-1] - shown[0])
    of_slices = (
        place,
        area,
        *(_beside(area, step) / (area + 50) for step in (-1, 1)),
        stated.sum((1, 2)) / (area + 50),
    )
    values = [chance, inside, distance, bright, outward, ndimage.gaussian_filter(bright, (0, 1.5, 1.5))]
    values += [ndimage.gaussian_filter(stated, (0, width, width)) for width in (1, 2, 4)]
    values += [_beside(array, step, beyond) for array, beyond in ((inside, 0), (distance, -FAR)) for step in (-1, 1)]
    values += [np.broadcast_to(value[:, None, None], found.shape) for value in of_slices]
    return np.stack(values, -1).astype(np.float32)


def cross_fitted(known: Sequence[np.ndarray], wrong: Sequence[np.ndarray], patients: Sequence[str]) -> list[np.ndarray]:
    """The chance that every voxel is wrong, as other patients' voxels teach it: five folds by patient.

    known: of every scan (n, features). wrong: (n). Gradient boosting, seeded. Raises SystemExit for a single patient.
    """
    if len(set(patients)) < 2:
        raise SystemExit("A finder of wrong voxels learns from other patients; there is one.")
    told: list = [None] * len(known)
    for taught, asked in GroupKFold(min(5, len(set(patients)))).split(known, groups=patients):
        finder = HistGradientBoostingClassifier(
            learning_rate=0.06,
            max_iter=200,
            max_leaf_nodes=24,
            min_samples_leaf=200,
            l2_regularization=5,
            random_state=0,
        )
        finder.fit(*(np.concatenate([part[i] for i in taught]) for part in (known, wrong)))
        for i in asked:
            told[i] = finder.predict_proba(known[i])[:, 1]
    return told


def _signed(found: np.ndarray) -> np.ndarray:
    """Distance to the border of what was found in a slice, pixels; negative outside."""
    if not found.any():
        return np.full(found.shape, -FAR)
    inner, outer = (ndimage.distance_transform_edt(part) for part in (found, ~found))
    return np.clip(inner - outer, -FAR, FAR)


def _relative(picture: np.ndarray, found: np.ndarray) -> np.ndarray:
    """A slice's brightness: 0 as in the ring around what was found, 1 as within."""
    ring = ndimage.binary_dilation(found, iterations=8) & ~ndimage.binary_dilation(found, iterations=2)
    if found.sum() <= 10 or not ring.any():
        return np.zeros(picture.shape)
    within, around = picture[found].mean(), picture[ring].mean()
    return np.clip((picture - around) / (abs(within - around) + 1e-3 * np.abs(picture).max() + 1e-6), -5, 5)


def _beside(array: np.ndarray, step: int, beyond: float = 0) -> np.ndarray:
    """The values of the next slice (1) or the one before (-1); ``beyond`` past the ends."""
    beside = np.full_like(array, beyond)
    if step > 0:
        beside[:-1] = array[1:]
    else:
        beside[1:] = array[:-1]
    return beside
