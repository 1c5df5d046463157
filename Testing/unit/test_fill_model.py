"""The network that fills slices, on disk: it comes back as it was, and what is wrong is named."""

import json

import pytest
import torch
from unit.small_fill import model

from csam.errors import ModelError
from csam.interactive.fill_model import FILE, FillModel


@pytest.fixture
def folder(tmp_path):
    model().save(tmp_path / "model")
    return tmp_path / "model"


def change(folder, **fields):
    values = json.loads((folder / FILE).read_text("utf-8")) | fields
    (folder / FILE).write_text(json.dumps(values), "utf-8")


def test_a_model_comes_back_as_it_was_saved(folder):
    loaded, first = FillModel.load(folder), model()
    assert loaded.description() == first.description() | {"calibration": loaded.description()["calibration"]}
    assert loaded.calibration == first.calibration
    x = torch.randn(
        4, first.network().architecture["input_channels"], 16, 16, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        assert torch.equal(loaded.network()(x), first.network()(x))


def test_a_loaded_model_is_saved_to_the_same_bytes(folder, tmp_path):
    FillModel.load(folder).save(tmp_path / "again")
    for name in (FILE, "weights.pt"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("text", ["", "[1, 2", "[" * 100_000, "\xff\xfe"])
def test_what_is_no_json_is_refused(folder, text):
    (folder / FILE).write_text(text, "latin-1")
    with pytest.raises(ModelError, match=FILE.replace(".", r"\.")):
        FillModel.load(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        FillModel.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": 3}, "name"),
        ({"architecture": []}, "architecture"),
        ({"architecture": {}}, "architecture"),
        ({"calibration": {}}, "calibration"),
        ({"calibration": {"error_odds": [1, 2], "volume_scale": 1, "dice_scale": 1}}, "error_odds"),
        ({"calibration": {"error_odds": {"margin": "x"}, "volume_scale": 1, "dice_scale": 1}}, "margin"),
        ({"calibration": {"error_odds": {"margin": float("nan")}, "volume_scale": 1, "dice_scale": 1}}, "margin"),
        ({"calibration": {"error_odds": {"mood": 1}, "volume_scale": 1, "dice_scale": 1}}, "mood; known are constant"),
        ({"calibration": {"error_odds": {}, "volume_scale": -1, "dice_scale": 1}}, "volume_scale"),
        ({"calibration": {"error_odds": {}, "volume_scale": 1, "dice_scale": "x"}}, "dice_scale"),
        ({"sha256": None}, "sha256"),
        ({"provenance": 4}, "provenance"),
    ],
)
def test_a_field_that_is_wrong_is_named(folder, fields, said):
    change(folder, **fields)
    with pytest.raises(ModelError, match=said):
        FillModel.load(folder)


def test_damaged_weights_are_named_when_they_are_needed(folder):
    data = bytearray((folder / "weights.pt").read_bytes())
    data[len(data) // 2] ^= 255
    (folder / "weights.pt").write_bytes(data)
    with pytest.raises(ModelError, match=r"small-fill|weights"):
        FillModel.load(folder).network()


def test_missing_weights_are_named_when_they_are_needed(folder):
    (folder / "weights.pt").unlink()
    with pytest.raises(ModelError, match="weights"):
        FillModel.load(folder).network()


def test_weights_of_another_architecture_are_refused(folder):
    values = json.loads((folder / FILE).read_text("utf-8"))
    change(folder, architecture=values["architecture"] | {"base_channels": 8})
    with pytest.raises(ModelError):
        FillModel.load(folder).network()


def test_a_network_that_takes_other_channels_is_refused(folder):
    values = json.loads((folder / FILE).read_text("utf-8"))
    change(folder, architecture=values["architecture"] | {"input_channels": 3})
    with pytest.raises(ModelError, match="input_channels"):
        FillModel.load(folder)


def test_a_network_is_read_once():
    one = model()
    assert one.network() is one.network()
    assert not one.network().training
