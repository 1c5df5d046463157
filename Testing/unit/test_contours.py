"""Contours are moved by as much as was measured, and nothing else changes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit import small

from csam.cli import main
from csam.errors import ModelError
from csam.model import Label, Model, within
from csam.model.card import card
from csam.pipeline.contour_shift import shifted
from csam.result import Options
from csam.segment import segment
from csam.training.contours import distance_outside

SPACING = (1.0, 1.5)


def disc(radius: float, size=(80, 60)) -> np.ndarray:
    """A disc, mm, in the middle of pixels of SPACING."""
    y, x = (np.arange(n) * s for n, s in zip(size, SPACING, strict=True))
    return np.hypot(y[:, None] - y.mean(), x - x.mean()) < radius


def probabilities(*masks: np.ndarray) -> torch.Tensor:
    """Certain of each mask, the background last in the list of classes' complement, with soft borders."""
    soft = [torch.from_numpy(mask.astype(np.float32)) for mask in masks]
    return torch.stack([1 - sum(soft), *soft])


def radius_of(mask: np.ndarray) -> float:
    return float(np.sqrt(mask.sum() * np.prod(SPACING) / np.pi))


@pytest.mark.parametrize("distance", [-3.0, -1.4, 1.4, 3.0])
def test_a_contour_moves_by_so_many_millimetres_in_every_direction(distance):
    found = shifted(probabilities(disc(20)), {1: distance}, {1: (1,)}, SPACING)
    assert torch.allclose(found.sum(0), torch.ones(80, 60), atol=1e-5)
    moved = found.argmax(0).numpy() == 1
    assert radius_of(moved) == pytest.approx(20 + distance, abs=0.35)
    for axis in (0, 1):
        width = moved.any(axis).sum() * SPACING[1 - axis]
        assert width / 2 == pytest.approx(20 + distance, abs=1.3)


def test_an_inner_contour_stays_while_the_outer_one_moves():
    inner, outer = disc(14), disc(22)
    labels = (Label(1, "cavity", (0, 0, 0)), Label(2, "wall", (0, 0, 0)))
    held = within((replace(labels[0], inside=2), labels[1]))
    assert held == {1: (1,), 2: (2, 1)}
    found = shifted(probabilities(inner, outer & ~inner), {1: 0.0, 2: 2.0}, held, SPACING).argmax(0).numpy()
    assert radius_of(found == 1) == pytest.approx(14, abs=0.3)
    assert radius_of(found > 0) == pytest.approx(24, abs=0.5)


def test_nothing_moves_where_nothing_is_found_or_asked_for():
    nothing, there = probabilities(np.zeros((80, 60), bool)), probabilities(disc(20))
    assert shifted(nothing, {1: 2.0}, {1: (1,)}, SPACING) is nothing
    assert shifted(there, {1: 0.0}, {1: (1,)}, SPACING) is there


@pytest.mark.parametrize("distance", [-2.0, -1.0, 0.0, 1.5])
def test_the_distance_between_contours_is_measured(distance):
    found, truth = np.stack([disc(20)] * 3), np.stack([disc(20 + distance)] * 3)
    truth[2] = False  # a slice that shows it in one alone tells nothing
    assert distance_outside(found, truth, SPACING) == pytest.approx(distance, abs=0.25)
    assert distance_outside(found, np.zeros_like(truth), SPACING) is None


def test_a_model_keeps_its_shift_tells_it_and_labels_follow_it(tmp_path):
    model = small.model()
    image = (
        small.image()
        if hasattr(small, "image")
        else sitk.GetImageFromArray(np.random.default_rng(0).random((6, 40, 40)))
    )
    moved = replace(model, contour_shift={1: 3.0})
    moved.save(tmp_path / "moved")
    again = Model.load(tmp_path / "moved")
    assert again.contour_shift == {1: 3.0}
    assert "moved outwards by 3 mm" in card(again)
    assert "are moved" not in card(model)
    plain, other = (segment(image, one, Options(device="cpu", seed=0)) for one in (model, again))
    before, after = (sitk.GetArrayFromImage(result.labels) == 1 for result in (plain, other))
    assert before.any()
    assert not np.array_equal(before, after)
    values = json.loads((tmp_path / "moved" / "model.json").read_text())
    values["contour_shift"] = {"1": 99}
    (tmp_path / "moved" / "model.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="contour_shift"):
        Model.load(tmp_path / "moved")


def test_the_command_measures_the_shift_and_calibrates_with_it(tmp_path, capsys):
    data = small.dataset(tmp_path / "data", patients=2)
    small.model().save(tmp_path / "model")
    command = ["calibrate", str(data), "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
    assert main([*command, "--device", "cpu", "--contours"]) == 0
    found = Model.load(tmp_path / "out" / "model")
    assert found.contour_shift
    assert found.provenance["contours_of"] == "Balls"
    said = capsys.readouterr().out
    for label in found.labels:
        distance = found.contour_shift[label.value]
        way = "outside" if distance >= 0 else "inside"
        assert f"Contours of {label.name} lie {abs(distance):.2f} mm {way} the model's (median of 2 scans" in said
