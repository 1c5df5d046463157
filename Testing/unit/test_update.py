"""What reviewed slices change of an earlier result: as far as they foretell each other better than it did."""

import numpy as np
import pytest
import torch
from unit.small_fill import disc, model

from csam.image.distance import signed_distance
from csam.interactive.interpolation import REACH, drawn_shapes
from csam.interactive.predict import Scene, predict
from csam.interactive.update import updated

SIZE, SLICES = (48, 40), 9
WANTED = [0, 1, 3, 4, 6, 7, 8]


def scene_of(truth_radii, found_radii, reviewed=(2, 5)) -> Scene:
    """Discs."""
    truth, found = ([disc(SIZE, (24, 20), r) for r in radii] for radii in (truth_radii, found_radii))
    distances = np.stack([np.clip(signed_distance(one, (1.0, 1.0)), -REACH, REACH) for one in found])
    shapes = {n: drawn_shapes(truth[n], (1.0, 1.0)) for n in reviewed}
    return Scene(torch.zeros(SLICES, *SIZE), shapes, distances)


def pixels(update) -> np.ndarray:
    return (update.log_odds > 0).numpy().sum((1, 2))


@pytest.fixture(scope="module")
def quiet():
    """A network that adds nothing."""
    return model(active=False).network()


@pytest.fixture
def growing(quiet, monkeypatch):
    """A network that makes everything larger by about three pixels."""

    def grown(network, scene, indices, pause=lambda: None):
        plain = predict(None, scene, indices)
        return plain if network is None else plain + 3.0 * (plain > -4)

    monkeypatch.setattr("csam.interactive.update.predict", grown)
    return quiet


def test_a_mistake_that_all_slices_share_is_mended_in_all(quiet):
    update = updated(quiet, scene_of([12] * SLICES, [8] * SLICES), WANTED, lambda: None)
    before = disc(SIZE, (24, 20), 8).sum()
    assert (pixels(update)[1:-1] > before).all()
    assert pixels(update)[1] > 1.5 * before


def test_mistakes_of_one_slice_alone_are_not_carried_to_others(quiet):
    """One reviewed slice was found too small and the other one too large: neither foretells the other."""
    scene = scene_of([10, 10, 10, 14, 6, 10, 10, 10, 10], [10] * SLICES, (3, 4))
    update = updated(quiet, scene, [0, 1, 2, 5, 6, 7, 8], lambda: None)
    assert (pixels(update) == disc(SIZE, (24, 20), 10).sum()).all()


def test_what_the_network_adds_is_taken_where_it_helps_and_fades_with_the_distance(growing):
    scene = scene_of([12] * SLICES, [9] * SLICES)
    added = pixels(updated(growing, scene, WANTED, lambda: None)) - pixels_of_correction(scene)
    assert (added >= 0).all()
    assert added[WANTED.index(1)] > added[WANTED.index(0)]
    assert added[WANTED.index(6)] > added[WANTED.index(8)]


def pixels_of_correction(scene) -> np.ndarray:
    return (predict(None, scene, WANTED) > 0).numpy().sum((1, 2))


def test_a_network_that_foretells_the_reviewed_slices_worse_than_the_result_did_adds_nothing(growing):
    scene = scene_of([9] * SLICES, [9] * SLICES)
    assert (pixels(updated(growing, scene, WANTED, lambda: None)) == disc(SIZE, (24, 20), 9).sum()).all()


def test_a_single_reviewed_slice_carries_its_correction_on_without_the_network(growing):
    scene = scene_of([12] * SLICES, [8] * SLICES)
    alone = Scene(scene.values, {2: scene.shapes[2]}, scene.found)
    update = updated(growing, alone, [1, 3, 8], lambda: None)
    assert torch.equal(update.log_odds, predict(None, alone, [1, 3, 8]))
    assert update.surprise == 0
