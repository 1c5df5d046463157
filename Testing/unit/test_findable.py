"""The finder that is taught with truth: it learns what can be learned, and nothing from the patient it is asked of."""

import findable
import numpy as np

from csam.training import measures

SHAPE = (4, 24, 26)


def scan(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc that was found, a brighter one that is there, and what a finder may know."""
    rows, columns = np.ogrid[:24, :26]
    rng = np.random.default_rng(seed)
    row, column = rng.uniform(10, 14, 2)
    found, truth = ((rows - row) ** 2 + (columns - column) ** 2 < r**2 for r in (6, 7.5))
    image = np.broadcast_to(100.0 + 200 * truth, SHAPE) + rng.normal(0, 10, SHAPE)
    found, truth = (np.broadcast_to(mask, SHAPE).copy() for mask in (found, truth))
    found[-1] = truth[-1] = False
    inside = np.where(found, 0.95, 0.05).astype(np.float32)
    known = findable.features(np.full(SHAPE, 0.1, np.float32), inside, found, image)
    return known.reshape(-1, known.shape[-1]), (found != truth).ravel()


def test_it_finds_the_wrong_voxels_that_the_picture_betrays():
    known, wrong = zip(*(scan(seed) for seed in range(4)), strict=True)
    assert all(np.isfinite(part).all() for part in known)
    told = findable.cross_fitted(known, wrong, list("aabb"))
    assert all(measures.error_auroc(chance, truth) > 0.97 for chance, truth in zip(told, wrong, strict=True))


def test_a_patients_own_truth_tells_it_nothing():
    known, wrong = (list(part) for part in zip(*(scan(seed) for seed in range(4)), strict=True))
    before = findable.cross_fitted(known, wrong, list("aabc"))
    wrong[0], wrong[1] = ~wrong[0], ~wrong[1]
    after = findable.cross_fitted(known, wrong, list("aabc"))
    for scan_ in (0, 1):
        np.testing.assert_array_equal(before[scan_], after[scan_])
    assert not np.array_equal(before[3], after[3])
