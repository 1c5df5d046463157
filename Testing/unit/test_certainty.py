"""How probable it is that a filled label is wrong: what the network says, weighed by how well it foretells the case."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit.small_fill import ROD, drawn, image_of, model, rod

from csam.interactive.certainty import FEATURES, Circumstances, assured, circumstances, features, surprise
from csam.interactive.drawing import FillOptions
from csam.interactive.fill import fill
from csam.interactive.fill_model import FillCalibration
from csam.interactive.interpolation import drawn_shapes
from csam.interactive.predict import Scene

PLAIN = FillOptions(device="cpu", tune=False)


def scene_of(labels, slices) -> Scene:
    return Scene(torch.zeros(labels.shape), {n: drawn_shapes(labels[n] > 0, (1.0, 1.0)) for n in slices})


@pytest.fixture(scope="module")
def network():
    """One that adds nothing to the interpolation."""
    return model(active=False).network()


def test_a_drawn_slice_that_the_others_foretell_is_no_surprise_and_another_one_is(network):
    labels = rod(9, lean=(0, 0))
    jump = labels.copy()
    jump[4] = np.roll(labels[4], 8, 1)
    as_said, other = (surprise(network, scene_of(one, [0, 4, 8]), [4], lambda: None) for one in (labels, jump))
    assert other > as_said + 1


def test_inner_slices_are_asked_of_the_tuned_network_and_the_ends_of_the_untuned_one(network):
    labels, asked = rod(9), []
    other = model().network()
    hooks = [net.register_forward_pre_hook(lambda net, _: asked.append(net)) for net in (network, other)]
    known = circumstances(network, other, scene_of(labels, [0, 4, 8]))
    for hook in hooks:
        hook.remove()
    assert (known.drawn, known.update) == (3, False)
    assert known.inner
    assert known.ends
    assert asked.count(other) * 2 == asked.count(network)


def test_a_single_drawn_slice_foretells_nothing(network):
    assert circumstances(network, network, scene_of(rod(), [3])) == Circumstances(1)


def test_slices_of_which_all_others_are_empty_are_left_out(network):
    labels = rod(9)
    labels[[0, 8]] = 0
    assert surprise(network, scene_of(labels, [0, 4, 8]), [4], lambda: None) == 0


def test_every_feature_has_a_name_and_every_name_a_feature():
    assert tuple(features(torch.zeros(2), torch.zeros(2), 1, Circumstances())) == FEATURES


def test_uncalibrated_the_networks_own_log_odds_are_told():
    log_odds = torch.linspace(-5, 5, 11)
    assert torch.equal(assured(log_odds, -log_odds, 3, Circumstances(3), {"margin": -1.0}), log_odds)


def test_no_circumstances_turn_a_label_round():
    log_odds = torch.tensor([-2.0, -0.1, 0.1, 2.0])
    told = assured(log_odds, log_odds, 1, Circumstances(3, inner=9.0), {"margin": -1.0, "inner": 1.0})
    assert (told == 0).all()
    assert torch.equal(
        assured(log_odds, log_odds, 1, Circumstances(3, inner=9.0), {"inner": -1.0}).sign(), log_odds.sign()
    )


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("inner", {"inner": -1.0}, {"inner": 1.0}),
        ("ends", {"ends": -1.0}, {"ends": 1.0}),
        ("pair", {"drawn": 3}, {"drawn": 2}),
        ("single", {"drawn": 3}, {"drawn": 1}),
    ],
)
def test_a_case_in_worse_circumstances_is_told_to_be_less_certain(name, low, high):
    log_odds, weights = torch.tensor([-3.0, 3.0]), {"margin": -1.0, name: 1.0}
    better, worse = (assured(log_odds, log_odds, 2, Circumstances(**known), weights) for known in (low, high))
    assert (worse.abs() < better.abs()).all()


def test_a_pixel_on_which_the_untuned_network_disagrees_and_one_far_from_drawn_slices_are_less_certain():
    log_odds, weights = torch.full((1,), 3.0), {"margin": -1.0, "untuned": -0.2, "distance": 0.3}
    agreed = assured(log_odds, log_odds, 1, Circumstances(3), weights)
    assert assured(log_odds, -log_odds, 1, Circumstances(3), weights) < agreed
    assert assured(log_odds, log_odds, 4, Circumstances(3), weights) < agreed


def test_a_calibration_changes_how_sure_a_filling_is_and_no_label():
    labels, network = rod(9), model()
    image, drawing = image_of(labels), drawn(labels, [0, 4, 8])
    plain = fill(image, drawing, ROD, network, PLAIN)
    doubtful = replace(network, calibration=FillCalibration({"margin": -0.5, "ends": 0.5}))
    unsure = fill(image, drawing, ROD, doubtful, PLAIN)
    assert (sitk.GetArrayFromImage(plain.labels) == sitk.GetArrayFromImage(unsure.labels)).all()
    error, more = (sitk.GetArrayFromImage(result.error_probability) for result in (plain, unsure))
    assert more.sum() > error.sum()
    assert more.max() <= 0.5
    assert (more[[0, 4, 8]] == 0).all()
