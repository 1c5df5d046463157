"""The minutes of a training become steps once, and "enough" ends it for good: both survive a stop."""

import json

import pytest
from unit import small

from csam.errors import Cancelled, InputError
from csam.training import train as training
from csam.training.plan import Plan
from csam.training.time_budget import (
    CALIBRATION,
    FEWEST,
    SETTLED,
    VALIDATIONS,
    lighter,
    read_settled,
    settle,
    write_settled,
)  # fmt: skip
from csam.training.train import train

PLAN = {
    "base_channels": 4, "num_levels": 2, "num_slices": 5, "in_plane_spacing": 2.0, "field_of_view": [16, 16],
    "steps": 40, "ema": 0.9, "validation_patients": 1, "precision": "float32", "checkpoint_every": 7,
    "validate_every": 20, "patience": 0, "learning_rate": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small.dataset(tmp_path_factory.mktemp("budget") / "data", patients=3)


def test_training_validations_and_calibration_fit_into_the_minutes():
    plan = settle(Plan(minutes=15), step_seconds=1.5, validation_seconds=4.0, spent=20.0)
    took = 20.0 + plan.steps * 1.5 + (VALIDATIONS + CALIBRATION) * 4.0
    assert 15 * 60 - 1.5 < took <= 15 * 60
    assert VALIDATIONS - 1 <= plan.steps / plan.validate_every <= VALIDATIONS
    assert plan.checkpoint_every == 20


def test_however_short_the_time_there_are_some_steps():
    assert settle(Plan(minutes=0.1), 10.0, 100.0).steps == FEWEST


def test_a_plan_becomes_lighter_until_its_field_is_small_and_what_is_fixed_stays():
    plan = Plan(in_plane_spacing=1.25, field_of_view=(176, 144), num_levels=5)
    without_gates = lighter(plan)
    assert not any((without_gates.semantic, without_gates.positional, without_gates.slice, without_gates.uncertainty))
    assert without_gates.field_of_view == plan.field_of_view
    coarser = lighter(without_gates)
    assert (coarser.field_of_view, coarser.in_plane_spacing) == ((112, 96), 1.964)
    widths = [p.in_plane_spacing * p.field_of_view[0] for p in (plan, coarser, lighter(coarser))]
    assert widths == pytest.approx([220, 220, 220], rel=0.001)
    assert lighter(lighter(coarser)) is None
    assert lighter(plan, fixed={"slice", "field_of_view"}) is None
    assert lighter(plan, fixed={"slice"}).field_of_view == (112, 96)


def test_what_is_settled_is_read_again_and_a_damaged_file_is_named(tmp_path):
    plan = Plan(minutes=60)
    assert read_settled(tmp_path, plan) == plan
    settled = settle(plan, 0.5, 1.0)
    write_settled(tmp_path, settled)
    assert read_settled(tmp_path, plan) == settled
    (tmp_path / SETTLED).write_text("[")
    with pytest.raises(InputError, match=r"settled\.json cannot be read"):
        read_settled(tmp_path, plan)


def test_the_steps_are_settled_once_and_a_stopped_training_keeps_them(data, tmp_path, monkeypatch):
    asked, read = [], []
    load = training.load_example
    monkeypatch.setattr(training, "load_example", lambda case, *more: read.append(case.name) or load(case, *more))

    def soon():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Cancelled, match="Stopped at step 3"):
        train(data, tmp_path, {**PLAN, "minutes": 0.01}, device="cpu", cancelled=soon, log=lambda text: None)
    settled = json.loads((tmp_path / SETTLED).read_text())
    assert settled["steps"] == FEWEST
    assert not settled["slice"], "too few steps fit: the gates are left out, which nobody has asked for"
    said = []
    assert len(read) == len({*read}), "a lighter network reads no scan again"
    read.clear()
    with pytest.raises(Cancelled, match="Stopped at step 3"):
        train(data, tmp_path, {**PLAN, "minutes": 0.01}, device="cpu", cancelled=lambda: True, log=said.append)
    assert "Going on from step 3." in said
    assert not [line for line in said if "A step takes" in line]
    assert len(read) == len({*read}), "and going on reads each once"
    assert json.loads((tmp_path / SETTLED).read_text()) == settled


def test_enough_ends_the_training_for_good_and_keeps_a_calibrated_model(data, tmp_path):
    rows, said = [], []

    def enough():
        return bool(rows) and rows[-1]["step"] >= 20

    model = train(
        data, tmp_path, PLAN, device="cpu", enough=enough, recorded=lambda row: rows.append(dict(row)), log=said.append
    )  # fmt: skip
    assert "Ended at step 20, as asked for." in said
    assert model.provenance["plan"]["steps"] == 20
    assert rows[-1]["validation_dice"] != ""
    assert (tmp_path / "model" / "MODEL_CARD.md").is_file()
    said.clear()
    train(data, tmp_path, PLAN, device="cpu", log=said.append)  # killed while calibrating, and gone on with
    assert "Going on from step 20." in said
    assert not [line for line in said if line.startswith("step 2")]
