"""A bare state dict becomes a model on disk."""

import pytest
import torch
from unit import small

from csam.errors import CSAMError, InputError, ModelError
from csam.image.intensity import Intensity
from csam.model import Model
from csam.model.card import card as write_out
from csam.model.convert import convert
from csam.network.networks import CSAMUNet, CSAMUNetPlusPlus
from csam.pipeline.segment import segment
from csam.result import Options


@pytest.mark.parametrize("kind", [CSAMUNet, CSAMUNetPlusPlus])
def test_a_published_checkpoint_becomes_a_model_that_runs(tmp_path, kind):
    net = small.network(kind)
    card = {"name": "prostate", "channels": ["T2"], "labels": ["zone A", "zone B"], "field_of_view": [16, 16]}
    convert({f"module.{k}": v for k, v in net.state_dict().items()}, card).save(tmp_path / "m")
    model = Model.load(tmp_path / "m")
    assert model.architecture == net.architecture
    assert [label.name for label in model.labels] == ["zone A", "zone B"]
    assert segment(small.image(), model, Options(samples=2)).labels.GetSize() == (20, 18, 6)
    with torch.no_grad():
        x = torch.randn(5, 1, 8, 8)
        torch.testing.assert_close(model.network()(x), net(x), atol=0.02, rtol=0.02)


def test_without_a_card_everything_has_a_default():
    model = convert(small.network(input_channels=2).state_dict(), {})
    model.check()
    assert [channel.name for channel in model.channels] == ["channel 1", "channel 2"]
    assert [label.name for label in model.labels] == ["structure 1", "structure 2"]
    assert model.field_of_view == (128, 128)


def test_an_uncalibrated_model_states_one_minus_the_probability():
    assert convert(small.network().state_dict(), {}).calibration.error_map == ((0.0, 0.0), (1.0, 1.0))


def test_a_converted_model_says_of_a_run_that_it_is_not_calibrated_and_nothing_else():
    model = convert(small.network().state_dict(), {"field_of_view": [16, 16], "in_plane_spacing": 2.0})
    [warning] = [w for w in segment(small.image(), model, Options(samples=2)).warnings if "was not found" not in w]
    assert warning.startswith("converted is not calibrated. Do not rely on intervals")
    assert "what it was trained on is not known" in write_out(model)
    assert "1e+06" not in write_out(model)


def test_a_misspelt_field_of_the_card_is_named():
    with pytest.raises(InputError, match=r"field 'license' is not known; there are name, version, .*licence"):
        convert(small.network().state_dict(), {"license": "MIT"})


@pytest.mark.parametrize(
    ("card", "said"),
    [({"channels": ["a", "b"]}, "names 2 channels; the network has 1"), ({"labels": []}, "names 0 labels; .* has 2")],
)
def test_a_card_with_other_numbers_than_the_network_is_refused(card, said):
    with pytest.raises(InputError, match=said):
        convert(small.network().state_dict(), card)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"in_plane_spacing": "abc"}, "in_plane_spacing is 'abc'; a number from 0.01 to 100"),
        ({"in_plane_spacing": None}, "in_plane_spacing is None"),
        ({"field_of_view": 32}, "field_of_view is 32; a list of 2 numbers"),
        ({"channels": 1}, "channels are 1; a list of 1 names"),
        ({"labels": [{"name": "a"}, {"name": "b"}]}, "labels are .*; a list of 2 names"),
        ({"labels": {"1": "a", "2": "b"}}, "labels are .*; a list of 2 names"),
        ({"labels": "ab"}, "labels are 'ab'; a list of 2 names"),
        ({"intensity": {"scope": "fixed"}}, "must be slice, volume or fixed"),
        ({"intensity": "fixed"}, "intensity_limits is missing; a list of 2 numbers"),
        ({"intensity_limits": ["1", "2"]}, "intensity_limits is"),
    ],
    ids=str,
)
def test_a_card_of_the_wrong_types_is_refused_by_the_fields_name(card, said):
    with pytest.raises(CSAMError, match=said):
        convert(small.network().state_dict(), card)


def test_the_limits_of_fixed_intensities_are_those_of_the_card():
    card = {"intensity": "fixed", "intensity_limits": [-100, 300], "field_of_view": [16, 16]}
    model = convert(small.network().state_dict(), card)
    model.check()
    assert model.intensity == Intensity("fixed", -100, 300)
    assert convert(small.network().state_dict(), {}).intensity == Intensity("volume", 0.5, 99.5)


@pytest.mark.parametrize("value", [float("nan"), 1e6], ids=["not a number", "too large for half precision"])
def test_weights_that_are_not_finite_are_refused(value):
    weights = {name: value * torch.ones_like(tensor) for name, tensor in small.network().state_dict().items()}
    with pytest.raises(ModelError, match="not finite"):
        convert(weights, {})


def test_a_card_that_no_model_could_hold_is_refused_when_it_is_saved(tmp_path):
    with pytest.raises(ModelError, match="slice_axis"):
        convert(small.network().state_dict(), {"slice_axis": "k"}).save(tmp_path / "m")


def test_weights_of_something_else_are_refused():
    with pytest.raises(ModelError, match="not those of a CSAM"):
        convert({"fc.weight": torch.zeros(2, 2)}, {})
