"""A bare state dict becomes a model on disk."""

import pytest
import torch
from unit import small

from csam.convert import convert
from csam.errors import InputError, ModelError
from csam.model import Model
from csam.networks import CSAMUNet, CSAMUNetPlusPlus
from csam.result import Options
from csam.segment import segment


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


def test_a_converted_model_finds_no_fault_with_the_stack_it_was_not_told_about():
    model = convert(small.network().state_dict(), {"field_of_view": [16, 16], "in_plane_spacing": 2.0})
    assert segment(small.image(), model, Options(samples=2)).warnings == ()


@pytest.mark.parametrize(
    ("card", "said"),
    [({"channels": ["a", "b"]}, "names 2 channels; the network has 1"), ({"labels": []}, "names 0 labels; .* has 2")],
)
def test_a_card_with_other_numbers_than_the_network_is_refused(card, said):
    with pytest.raises(InputError, match=said):
        convert(small.network().state_dict(), card)


def test_a_card_that_no_model_could_hold_is_refused_when_it_is_saved(tmp_path):
    with pytest.raises(ModelError, match="slice_axis"):
        convert(small.network().state_dict(), {"slice_axis": "k"}).save(tmp_path / "m")


def test_weights_of_something_else_are_refused():
    with pytest.raises(ModelError, match="not those of a CSAM"):
        convert({"fc.weight": torch.zeros(2, 2)}, {})
