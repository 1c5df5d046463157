"""A training from a data set to a saved model: it learns, it can be killed, and it says what it cannot do."""

import csv
import errno
import json
import os
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit import small

from csam.errors import Cancelled, InputError, ModelError
from csam.model import COLORS, Channel, Label, Measure, Model
from csam.model.card import card
from csam.network.networks import CSAMUNet, CSAMUNetPlusPlus, build
from csam.network.posterior import GatePosterior
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.augment import Example
from csam.training.dataset import Case, read_dataset
from csam.training.learning_curve import draw
from csam.training.model_match import seen_patients
from csam.training.output_folder import locked, reserved_for
from csam.training.plan import Plan
from csam.training.prepare import prepare, take_over_weights
from csam.training.train import load_example, quick_dice, train
from csam.training.trained_model import assemble, learnt_from
from csam.training.trainer import Trainer, choose_precision, rate, running_average

PLAN = Plan(
    base_channels=4,
    num_levels=2,
    num_slices=5,
    in_plane_spacing=2.0,
    field_of_view=(16, 16),
    intensity="volume",
    steps=8,
    learning_rate=0.01,
    ema=0.5,
    validation_patients=2,
    patient_pattern="(p..)_",
    precision="float32",
    checkpoint_every=3,
    validate_every=4,
)


def silent(text):
    pass


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small.dataset(tmp_path_factory.mktemp("data"), patients=5)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A training that nothing interrupted: its folder and what it said."""
    out, said = tmp_path_factory.mktemp("finished"), []
    train(data, out, PLAN, device="cpu", log=said.append)
    return out, said


def checkpoint(out):
    """What a training has come to, but for the time it took."""
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    return state | {"seconds": 0, "history": [row | {"seconds": 0} for row in state["history"]]}


def same(one, other):
    """Whether two checkpoints are equal to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_a_training_ends_in_a_model_that_loads_and_runs(data, finished):
    out, _ = finished
    model = Model.load(out / "model")
    result = segment(small.image(), model)
    assert [s.name for s in result.structures] == ["bright ball", "grey ball"]
    assert model.architecture["num_slices"] == 5
    assert model.trained_on.slice_spacing == (8.0, 8.0)
    assert model.trained_on.slices == (6, 6)
    assert model.trained_on.patients == 3
    truths = [
        case.read()[1] for case in read_dataset(data, PLAN.patient_pattern).of(model.provenance["training_patients"])
    ]
    for value, ends in model.trained_on.volumes_ml.items():
        sizes = [(sitk.GetArrayFromImage(t) == value).sum() * np.prod(t.GetSpacing()) / 1000 for t in truths]
        assert ends == pytest.approx((min(sizes), max(sizes)), rel=0.01)
    assert set(model.trained_on.volumes_ml) == {1, 2}
    assert model.free_orientation is PLAN.free_orientation is True
    assert model.calibration.error_map[0] == (0.0, 0.0)
    assert set(model.calibration.volume_scale) == {1, 2}
    assert (out / "model" / "MODEL_CARD.md").read_text().startswith("# Balls")


def test_the_sizes_of_a_structure_reach_over_those_that_the_model_before_had_met(data):
    balls = read_dataset(data)
    learnt = replace(small.model().trained_on, volumes_ml={1: (0.001, 0.002), 2: (7000.0, 8000.0)})
    start = small.model(trained_on=learnt, provenance={"data_labels": ["GREY ball", "cyst"]})
    alone = learnt_from(balls, PLAN, balls.cases)
    after = learnt_from(balls, PLAN, balls.cases, start)
    assert after.volumes_ml == {1: alone.volumes_ml[1], 2: (0.001, alone.volumes_ml[2][1])}
    assert replace(after, volumes_ml={}) == replace(alone, volumes_ml={})


def test_the_model_says_who_it_was_trained_and_measured_on(finished):
    out, _ = finished
    model = Model.load(out / "model")
    split = json.loads((out / "split.json").read_text())
    assert len(split["validation"]) == 2
    assert not set(split["validation"]) & set(split["training"])
    assert model.provenance["validation_patients"] == split["validation"]
    assert model.provenance["training_patients"] == split["training"]
    assert (
        model.provenance["plan"] == json.loads((out / "plan.json").read_text()) == json.loads(json.dumps(asdict(PLAN)))
    )
    assert {name.split("_")[0] for name in model.metrics["cases"]} == set(split["validation"])
    assert 0 <= model.metrics["validation"]["dice_mean"] <= 1


def test_the_log_tells_loss_dice_and_spread(finished):
    out, said = finished
    rows = list(csv.DictReader((out / "log.csv").open()))
    assert [row["step"] for row in rows] == ["4", "8"]
    assert float(rows[0]["loss"]) > 0
    assert 0 <= float(rows[0]["validation_dice"]) <= 1
    assert len(rows[0]["gate_spread"].split()) == PLAN.num_levels
    assert "3 training scans of 3 patients" in said[0]


def test_a_training_that_was_stopped_and_went_on_ends_like_one_that_was_not(data, finished, tmp_path):
    def stop():
        asked.append(1)
        return len(asked) > 4

    asked = []
    with pytest.raises(Cancelled, match="Stopped at step 4; the same command goes on"):
        train(data, tmp_path, PLAN, device="cpu", log=silent, cancelled=stop)
    assert checkpoint(tmp_path)["step"] == 4
    train(data, tmp_path, PLAN, device="cpu", log=silent)
    assert same(checkpoint(tmp_path), checkpoint(finished[0]))
    assert Model.load(tmp_path / "model").sha256 == Model.load(finished[0] / "model").sha256


def test_a_training_that_was_killed_goes_on_from_its_last_checkpoint_and_ends_the_same(data, finished, tmp_path):
    class Killed(Exception):
        pass

    def kill(progress):
        if progress.fraction >= 5 / 8:
            raise Killed

    with pytest.raises(Killed):
        train(data, tmp_path, PLAN, device="cpu", log=silent, progress=kill)
    assert checkpoint(tmp_path)["step"] == 3
    said = []
    train(data, tmp_path, PLAN, device="cpu", log=said.append)
    assert "Going on from step 3." in said
    assert same(checkpoint(tmp_path), checkpoint(finished[0]))


def test_a_crash_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    trainer = Trainer(PLAN, small.network(), "cpu")
    trainer.save(tmp_path / "checkpoint.pt")
    monkeypatch.setattr(torch, "save", lambda state, path: path.write_bytes(b"half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.save(tmp_path / "checkpoint.pt")
    assert checkpoint(tmp_path)["step"] == 0


@pytest.mark.parametrize("error", [RuntimeError("file write failed\nand more"), OSError(28, "No space left on device")])
def test_a_checkpoint_that_cannot_be_written_is_told_and_the_one_before_stays_alone(tmp_path, monkeypatch, error):
    def fail(state, path):
        path.write_bytes(b"half")
        raise error

    trainer = Trainer(PLAN, small.network(), "cpu")
    trainer.save(tmp_path / "checkpoint.pt")
    trainer.step = 7
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(InputError, match=r"checkpoint\.pt of step 7 cannot be written \(.*\)\. Where its disk is full"):
        trainer.save(tmp_path / "checkpoint.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert checkpoint(tmp_path)["step"] == 0


def test_a_training_does_not_go_on_with_structures_that_lay_inside_others_when_it_began(tmp_path):
    nested = {1: (1,), 2: (2, 1)}
    Trainer(PLAN, small.network(), "cpu", held=nested).save(tmp_path / "checkpoint.pt")
    Trainer(PLAN, small.network(), "cpu", held=nested).restore(tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"began with another card.*choose another --out"):
        Trainer(PLAN, small.network(), "cpu", held={1: (1,), 2: (2,)}).restore(tmp_path / "checkpoint.pt")


def test_weights_that_are_lost_end_the_training():
    training = trainer()
    training.train_step(example(0))
    with torch.no_grad():
        next(training.network.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match=r"The loss is nan .* at step 2: .* a learning_rate below 0\.02"):
        training.train_step(example(1))


def test_a_gradient_that_is_lost_ends_the_training_before_a_checkpoint_holds_what_it_did():
    training = trainer()
    training.network.conv_final.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(InputError, match=r"The loss is \d.* and its gradient (nan|inf) at step 1"):
        training.train_step(example(0))


def test_another_plan_or_other_patients_in_the_same_folder_are_refused(data, finished, tmp_path):
    out, _ = finished
    with pytest.raises(InputError, match=r"holds another training \(its plan.json differs"):
        train(data, out, replace(PLAN, steps=9), device="cpu", log=silent)
    with pytest.raises(InputError, match=r"holds another training \(its split.json differs"):
        train(small.dataset(tmp_path, patients=6), out, PLAN, device="cpu", log=silent)


def test_a_second_process_in_the_same_folder_is_refused_and_the_first_goes_on(data, tmp_path):
    refused = []

    def meanwhile(progress):
        with pytest.raises(InputError, match=r"Another process is training in .*out\. Wait for its end"):
            train(data, tmp_path / "out", PLAN, device="cpu", log=silent)
        refused.append(progress.fraction)

    model = train(data, tmp_path / "out", PLAN, device="cpu", log=silent, progress=meanwhile)
    assert len(refused) == PLAN.steps + 1  # once more while it calibrates
    with locked(tmp_path / "out"):
        pass
    assert model.provenance["training_patients"]


@pytest.mark.skipif(os.name != "posix", reason="locks by flock")
@pytest.mark.parametrize("said", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_trained_on(monkeypatch, tmp_path, said):
    def flock(file, operation):
        raise OSError(said, os.strerror(said))

    monkeypatch.setattr("fcntl.flock", flock)
    with locked(tmp_path):
        pass
    monkeypatch.undo()
    with locked(tmp_path), pytest.raises(InputError, match="Another process"), locked(tmp_path):
        pass


def test_a_folder_of_a_version_that_had_fewer_choices_is_gone_on_with(data, finished):
    prepared = prepare(data, PLAN)
    plan = finished[0] / "plan.json"
    text = plan.read_text()
    values = json.loads(text)
    del values["weights"]
    plan.write_text(json.dumps(values))
    with reserved_for(prepared, finished[0]):
        pass
    assert plan.read_text() == text
    for damaged in ("", "[]", json.dumps(values | {"weights": "last"}), json.dumps(values | {"unknown": 1})):
        plan.write_text(damaged)
        with pytest.raises(InputError, match=r"holds another training \(its plan.json differs\)"):
            reserved_for(prepared, finished[0]).__enter__()
    plan.write_text(text)


def test_further_data_is_trained_on_and_never_validated_on(data, tmp_path):
    extra = small.dataset(tmp_path / "extra", patients=2, seed=9)
    said = []
    plan = replace(PLAN, steps=2, extra_share=1.0)
    model = train(data, tmp_path / "out", plan, extra=[extra], device="cpu", log=said.append)
    assert "2 further ones" in said[0]
    assert model.provenance["extra_data"] == ["Balls"]
    assert len(model.metrics["cases"]) == 2


def test_the_channels_of_further_data_are_those_of_the_same_name(data, tmp_path):
    names = {"data": ["T2", "ADC"], "extra": ["adc", "t2"], "unnamed": ["a", "b"], "other": ["T2", "DWI"]}
    for seed, (folder, channels) in enumerate(names.items()):
        two_channels(tmp_path / folder, channels, seed)
    plan = {"patient_pattern": PLAN.patient_pattern, "validation_patients": 1}
    prepared = prepare(tmp_path / "data", plan, extra=[tmp_path / "extra", tmp_path / "unnamed"])
    orders = [[places_of_channels(case) for case in other.cases] for other in prepared.further]
    assert orders == [[[1, 0]] * 3, [[0, 1]] * 3]
    assert "channels of Balls are taken in their order: a for T2, b for ADC" in prepared.notes
    with pytest.raises(InputError, match=r"other has the channels T2, DWI and .* has T2, ADC and"):
        prepare(tmp_path / "data", plan, extra=[tmp_path / "other"])
    with pytest.raises(InputError, match=r"data has the channels T2, ADC and .*; .*data.* has picture and"):
        prepare(data, plan, extra=[tmp_path / "data"])


def test_a_validation_scan_in_further_data_is_known_whatever_the_order_of_its_channels(tmp_path):
    for folder, channels in (("data", ["T2", "ADC"]), ("extra", ["ADC", "T2"])):
        two_channels(tmp_path / folder, channels, seed=0)
    for path in sorted((tmp_path / "extra" / "imagesTr").glob("*_0000.nii.gz")):
        other = path.with_name(path.name.replace("_0000", "_0001"))
        path.rename(path.with_suffix(".aside"))
        other.rename(path)
        path.with_suffix(".aside").rename(other)
    plan = {"patient_pattern": PLAN.patient_pattern, "validation_patients": 1}
    with pytest.raises(InputError, match="are the same scan"):
        prepare(tmp_path / "data", plan, extra=[tmp_path / "extra"])


def two_channels(folder, channels, seed: int) -> None:
    """A data set whose second channel is the first one and 7."""
    small.dataset(folder, patients=3, seed=seed)
    for path in sorted((folder / "imagesTr").glob("*_0000.nii.gz")):
        sitk.WriteImage(sitk.ReadImage(str(path)) + 7, str(path).replace("_0000", "_0001"))
    info = json.loads((folder / "dataset.json").read_text())
    info["channel_names"] = {str(i): name for i, name in enumerate(channels)}
    (folder / "dataset.json").write_text(json.dumps(info))


def places_of_channels(case):
    """Which channel is read first, which second, by the 7 that lie between them."""
    first, second = (sitk.GetArrayFromImage(image).astype(int) for image in case.read_images())
    return [0, 1] if (second - first == 7).all() else [1, 0] if (first - second == 7).all() else None


def test_a_training_starts_from_a_model_with_the_same_encoder_and_decoder_only(data, finished, tmp_path):
    start = finished[0] / "model"
    plan = replace(PLAN, steps=1, learning_rate=1e-6, ema=0.0)
    model = train(data, tmp_path / "out", plan, device="cpu", fine_tune=start, log=silent)
    before, after = Model.load(start).network().state_dict(), model.network().state_dict()
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before)
    assert model.provenance["started_from"]["name"] == "Balls"
    with pytest.raises(InputError, match="has base_channels 4; the plan and the data set ask for 2"):
        train(data, tmp_path / "o2", replace(plan, base_channels=2), device="cpu", fine_tune=start, log=silent)
    assert not (tmp_path / "o2").exists()
    with pytest.raises(InputError, match=r"its sources\.json differs"):
        train(data, tmp_path / "out", plan, device="cpu", log=silent)


def test_gates_can_be_learned_last_by_a_network_that_has_learned_without_them(data, tmp_path):
    off = dict.fromkeys(("semantic", "positional", "slice", "uncertainty"), False)
    train(data, tmp_path / "first", replace(PLAN, steps=2, **off), device="cpu", log=silent)
    start, said = Model.load(tmp_path / "first" / "model"), []
    numbers = {"steps": 1, "learning_rate": 1e-6, "ema": 0.0, "patient_pattern": PLAN.patient_pattern}
    numbers |= {"validation_patients": PLAN.validation_patients} | dict.fromkeys(off, True)
    model = train(data, tmp_path / "last", numbers, device="cpu", fine_tune=start, log=said.append)
    assert "the slice attention (semantic False → True" in "\n".join(said)
    before, after = start.network().state_dict(), model.network().state_dict()
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before)
    gates = {name: value for name, value in after.items() if name not in before}
    assert torch.allclose(gates["encoder.attentions.1.slice_att.mean.bias"], torch.tensor(2.0), atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({}, []),
        ({"num_classes": 5}, ["the output layer's lesion, cyst"]),
        ({"num_slices": 7}, ["the slice attention (num_slices 5 → 7)"]),
        ({"input_channels": 2}, ["the input layer's ADC"]),
        ({"slice": False}, []),
        ({"rank": 3, "num_classes": 2}, ["the slice attention (num_classes 3 → 2, rank 5 → 3)"]),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [CSAMUNet, CSAMUNetPlusPlus])
def test_what_fits_of_a_model_is_taken_over_and_the_rest_is_told(kind, changes, anew):
    start, network = small.model(small.network(kind, seed=1)), small.network(kind, seed=2, **changes)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    names = [*(label.name for label in start.labels), "lesion", "cyst"]
    channels = ["ADC", "channel 0"][-network.architecture["input_channels"] :]
    said = take_over_weights(start, network, channels, names[: network.architecture["num_classes"] - 1])
    assert len(said) == len(anew)
    assert all(word.split(" (")[0] in " ".join(said) for word in anew)
    if len(anew) == 1:
        assert said == anew
    old = start.network().state_dict()
    for name, value in network.state_dict().items():
        if name.startswith(("conv_final", "final.")):
            kept = min(len(value), len(old[name]))
            assert torch.equal(value, torch.cat([old[name][:kept], fresh[name][kept:]]))
            continue
        if name == next(iter(old)) and value.shape[1] == 2:
            assert torch.equal(value, torch.cat([fresh[name][:, :1], old[name]], 1))
            continue
        fits = name in old and old[name].shape == value.shape
        assert torch.equal(value, old[name] if fits else fresh[name]), name


def test_several_channels_classes_and_another_slice_axis_are_trained_on_as_they_come(tmp_path):
    """Two patients only, slices along i, sizes that differ, and a plan that nobody wrote."""
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for number, size in enumerate(((5, 20, 22), (7, 26, 20))):
        picture = small.image(size, (9.0, 2.0, 2.0), seed=number)
        labels = small.placed(np.zeros(size[::-1], np.uint8), (9.0, 2.0, 2.0), None, picture.GetOrigin())
        labels[2:4, 4:12, 5:12] = 1
        labels[1:3, 12:18, 5:15] = 3
        labels[1, 1:3, 1:3] = 2
        for channel in range(2):
            name = f"c{number}_{channel:04d}.nii.gz"
            sitk.WriteImage(picture * (1 + channel), str(tmp_path / "data" / "imagesTr" / name))
        sitk.WriteImage(labels, str(tmp_path / "data" / "labelsTr" / f"c{number}.nii.gz"))
    info = {
        "channel_names": {"0": "T2", "1": "ADC"},
        "labels": {"bg": 0, "a": 1, "b": 2, "c": 3},
        "file_ending": ".nii.gz",
    }
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(info))
    model = train(tmp_path / "data", tmp_path / "out", {"steps": 2, "base_channels": 2}, device="cpu", log=silent)
    assert (model.architecture["input_channels"], model.architecture["num_classes"], model.num_slices) == (2, 4, 7)
    assert [channel.name for channel in model.channels] == ["T2", "ADC"]
    assert model.trained_on.slice_spacing == (9.0, 9.0)
    result = segment([picture, picture * 2], model, Options(samples=2))
    assert result.labels.GetSize() == (7, 26, 20)
    assert result.slice_axis == 0


def test_a_split_that_is_given_is_kept_to_and_who_is_not_named_is_left_out(data, tmp_path):
    split = {"training": ["p04", "p01"], "validation": ["p02"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    plan = replace(PLAN, steps=1)
    model = train(data, tmp_path / "out", plan, device="cpu", log=silent, split=tmp_path / "split.json")
    assert model.provenance["training_patients"] == ["p01", "p04"]
    assert model.provenance["validation_patients"] == ["p02"]
    assert json.loads((tmp_path / "out" / "split.json").read_text()) == {**split, "training": ["p01", "p04"]}


def test_nothing_is_written_for_a_data_set_with_faults(tmp_path):
    folder = small.dataset(tmp_path / "data")
    (folder / "labelsTr" / "p00_0.nii.gz").unlink()
    with pytest.raises(InputError, match="p00_0: there is an image but no"):
        train(folder, tmp_path / "out", PLAN, device="cpu", log=silent)
    with pytest.raises(InputError, match="field 'stepps' is not known"):
        train(folder, tmp_path / "out", {"stepps": 1}, device="cpu", log=silent)
    with pytest.raises(InputError, match=r"in_plane_spacing is 0\.0"):
        train(folder, tmp_path / "out", {"in_plane_spacing": 0.0}, device="cpu", log=silent)
    assert not (tmp_path / "out").exists()


def test_a_training_stops_when_it_no_longer_gets_better_and_keeps_the_best_weights(data, tmp_path, monkeypatch):
    told = iter([0.3, 0.5, 0.4, 0.5, 0.45] + [0.9] * 9)
    monkeypatch.setattr("csam.training.train.Training._validate", lambda self: next(told))
    seen, take = {}, Trainer.validated

    def keep(self, dice):
        take(self, dice)
        seen[self.step] = {name: value.clone() for name, value in self.average.module.state_dict().items()}

    monkeypatch.setattr(Trainer, "validated", keep)
    said = []
    plan = replace(PLAN, steps=40, validate_every=2, patience=3)
    model = train(data, tmp_path, plan, device="cpu", log=said.append)
    assert "Stopped early at step 10: no better since step 4." in said
    assert checkpoint(tmp_path)["best_step"] == 4
    kept = model.network().state_dict()
    assert all(torch.equal(kept[name], value.half().float()) for name, value in seen[4].items())
    said.clear()
    train(data, tmp_path, plan, device="cpu", log=said.append)
    assert "Going on from step 10." in said
    assert not any(line.startswith(("step 11", "step 12")) for line in said)


@pytest.mark.parametrize("name", ["cosine", "polynomial"])
def test_the_learning_rate_warms_up_and_falls_to_zero(name):
    plan = replace(PLAN, steps=1000, rate=name)
    factors = [rate(plan, step) for step in range(1001)]
    assert factors[0] == pytest.approx(0.05)
    assert max(factors) == factors[100] == 1
    assert factors[-1] == 0
    assert all(b < a for a, b in pairwise(factors[100:]))
    assert factors[550] == pytest.approx(0.5 if name == "cosine" else 0.5**0.9)


def test_several_stacks_a_step_give_the_mean_of_their_gradients():
    """One step on two stacks alike is the step on one of them: twice the work, the same mean."""
    plan = {"semantic": False, "positional": False, "slice": False, "uncertainty": False}
    one, two = trainer(**plan), trainer(**plan, batch=2)
    losses = one.train_step(example(0))[0], two.train_step(example(0), example(0))[0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    gradients = [[p.grad for p in t.network.parameters()] for t in (one, two)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*gradients, strict=True))


def test_the_learning_curve_is_a_picture_of_what_the_log_has(finished, tmp_path):
    assert (finished[0] / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    row = {"step": 20, "loss": 1.0, "learning_rate": 1e-3, "seconds": 3.0, "validation_dice": 0.5, "gate_spread": ""}
    assert draw([row], tmp_path / "one.png", "title", best_step=20)
    assert draw([], tmp_path / "none.png")
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "none.png"}


def test_a_log_that_cannot_be_written_does_not_end_the_training(data, tmp_path, monkeypatch):
    def refuse(history, path):
        raise PermissionError("open in another program")

    monkeypatch.setattr("csam.training.train.write_log", refuse)
    said = []
    train(data, tmp_path, replace(PLAN, steps=1), device="cpu", log=said.append)
    assert "The log was not written this time: open in another program" in said


def test_the_plans_reasons_are_written_for_people(data, tmp_path):
    train(data, tmp_path, {"steps": 1, "base_channels": 2}, device="cpu", log=silent)
    said = (tmp_path / "reasons.txt").read_text()
    assert "in_plane_spacing = 2.0: the median of the scans" in said
    assert "steps = 1: as asked for" in said


@pytest.mark.parametrize(
    ("damage", "said"), [(b"half a file", "empty or damaged"), (b"", "empty or damaged"), (None, "of another version")]
)
def test_a_checkpoint_that_cannot_be_read_is_refused_in_words(data, tmp_path, damage, said):
    tmp_path.joinpath("out").mkdir()
    path = tmp_path / "out" / "checkpoint.pt"
    torch.save({"step": 3}, path) if damage is None else path.write_bytes(damage)
    with pytest.raises(InputError, match=rf"is {said} and cannot be continued\. Remove it to start again"):
        train(data, tmp_path / "out", PLAN, device="cpu", log=silent)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"labels": [{"title": "Ball"}]}, "The card's labels cannot be used"),
        ({"labels": [{"name": "brigt ball"}]}, "describes the label brigt ball; the data set has bright ball"),
        ({"labels": [{"name": "bright ball", "color": [1, 2]}]}, "color"),
        ({"labels": [{"name": "bright ball", "terminology": {"type": "x"}}]}, "category"),
        ({"title": 5}, "title"),
    ],
    ids=str,
)
def test_a_card_that_cannot_be_used_is_refused_before_the_training(data, tmp_path, card, said):
    with pytest.raises(ValueError, match=said):
        train(data, tmp_path, PLAN, card=card, device="cpu", log=silent)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_every_channel_has_its_own_modality_unless_the_card_says_one(data, tmp_path):
    two = replace(read_dataset(data), channels=("CT", "PET"), modalities=("CT", "PT"))
    made = [
        assemble(small.network(input_channels=2), two, PLAN, two.cases[:1], card) for card in ({}, {"modality": "MR"})
    ]
    assert [[channel.modality for channel in model.channels] for model in made] == [["CT", "PT"], ["MR", "MR"]]


def test_a_dice_of_zero_is_told_as_a_number(data, tmp_path, monkeypatch):
    monkeypatch.setattr("csam.training.train.Training._validate", lambda self: 0.0)
    said = []
    train(data, tmp_path, replace(PLAN, steps=1), device="cpu", log=said.append)
    assert "Dice 0.0 " in next(line for line in said if line.startswith("step 1/1"))


def test_what_is_odd_about_the_sides_is_told_and_written(data, tmp_path):
    folder = small.dataset(tmp_path / "data", patients=4)
    for path in (folder / "labelsTr").iterdir():
        truth = sitk.ReadImage(str(path))
        sitk.WriteImage(truth * (truth != 2), str(path))
    said = []
    train(folder, tmp_path / "out", replace(PLAN, steps=1), device="cpu", log=said.append)
    assert said[0] == "Note: no training scan shows grey ball: it is not learned"
    assert "no validation scan shows grey ball" in (tmp_path / "out" / "reasons.txt").read_text()


def test_the_card_dresses_the_model(data, tmp_path):
    label = {"name": "grey ball", "title": "Grey ball", "color": [1, 2, 3], "connected": True, "inside": "bright ball"}
    card = {
        "name": "balls",
        "version": "2.0",
        "title": "Two balls",
        "modality": "CT",
        "licence": "MIT",
        "labels": [label],
    }
    model = train(data, tmp_path, replace(PLAN, steps=1), card=card, device="cpu", log=silent)
    assert (model.name, model.version, model.title, model.licence) == ("balls", "2.0", "Two balls", "MIT")
    assert [channel.modality for channel in model.channels] == ["CT"]
    assert [label.name for label in model.labels] == ["bright ball", "Grey ball"]
    assert (model.labels[1].color, model.labels[1].connected, model.labels[1].inside) == ((1, 2, 3), True, 1)


def test_measures_come_from_the_card_or_from_the_model_started_from(data, tmp_path):
    balls = read_dataset(data)

    def offered(card, start=None):
        return assemble(small.network(num_classes=3), balls, PLAN, balls.cases[:1], card, start).measures

    card = {"measures": [{"kind": "ventricular function", "structures": {"cavity": 2}}]}
    function = (Measure("ventricular function", {"cavity": 2}),)
    assert offered(card) == function
    assert offered({}) == ()
    names = (Label(1, "Grey ball", (1, 2, 3)), Label(2, "ring", (1, 2, 3)))
    start = small.model(labels=names, measures=(Measure("ventricular function", {"cavity": 1}),))
    assert offered({}, start) == function  # the same structure has another value
    with_ring = replace(start, measures=(Measure("ventricular function", {"cavity": 1, "myocardium": 2}),))
    assert offered({}, with_ring) == ()
    with pytest.raises(ModelError, match="the field cavity is 3"):
        offered({"measures": [{"kind": "ventricular function", "structures": {"cavity": 3}}]})


def test_another_structure_that_the_card_names_is_there(data, tmp_path):
    for field in ("inside", "slices_of"):
        card = {"labels": [{"name": "grey ball", field: "liver"}]}
        with pytest.raises(InputError, match=f"\"{field}\": 'liver'; one of"):
            train(data, tmp_path, replace(PLAN, steps=1), card=card, device="cpu", log=silent)


def test_structures_of_the_model_started_from_look_as_they_do_in_it(data):
    labels = (
        Label(1, "Grey ball", COLORS[0], {"type": ("SCT", "1", "Ball")}, True),
        Label(2, "Cube", COLORS[1]),
    )
    start = small.model(labels=labels, provenance={"data_labels": ["grey ball", "cube"]})
    balls = read_dataset(data)

    def made(card):
        return assemble(small.network(num_classes=3), balls, PLAN, balls.cases[:1], card, start).labels

    bright, grey = made({})
    assert replace(grey, value=1) == labels[0]
    assert (bright.name, bright.color, bright.connected) == ("bright ball", COLORS[1], False)
    said = {"name": "grey ball", "title": "Ball", "connected": False}
    assert made({"labels": [said]})[1] == replace(grey, name="Ball", connected=False)
    inner = [{"name": "grey ball", "inside": "bright ball", "slices_of": "bright ball"}]
    assert [(label.inside, label.slices_of) for label in made({"labels": inner})] == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stepps": 3}, "The plan's field 'stepps' is not known; there are network,"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"steps": True}, "steps is True"),
        ({"steps": 0}, "steps is 0; 1 to"),
        ({"ema": 1}, "ema is 1"),
        ({"network": "ResNet"}, "CSAMUNet or CSAMUNetPlusPlus"),
        ({"num_levels": 1}, "num_levels is 1; 2 to 8"),
        ({"base_channels": 1000}, "base_channels is 1000; 1 to 256"),
        ({"num_levels": 3, "field_of_view": [16, 18]}, "two multiples of 4 from 8 to 2048"),
        ({"field_of_view": [16, 16, 16]}, "field_of_view"),
        ({"field_of_view": [64.0, 64.0]}, "field_of_view"),
        ({"slice_axis": "k"}, "auto, sagittal, coronal, axial"),
        ({"intensity": "percent"}, "slice, volume or fixed"),
        ({"intensity_limits": [5.0, 1.0]}, "intensity and intensity_limits"),
        ({"intensity_limits": ["1", "2"]}, r"intensity_limits is \('1', '2'\); two numbers"),
        ({"intensity_limits": [None, 1]}, "two numbers"),
        ({"intensity": "fixed", "intensity_limits": [0, float("inf")]}, "two numbers"),
        ({"intensity_limits": [-1000.0, 400.0]}, "percentiles"),
        ({"precision": "float16"}, "auto, float32 or bfloat16"),
        ({"validate_every": 0}, "validate_every"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"gate_samples": 0}, "gate_samples"),
        ({"extra_share": 2}, "extra_share"),
        ({"zoom": [1.2, 1.4]}, "zoom is"),
        ({"zoom": [1, "2"]}, "zoom is"),
        ({"seed": -1}, "seed"),
        ({"split_seed": -1}, "split_seed"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_carried_out_is_refused_by_the_fields_name(values, said):
    with pytest.raises(InputError, match=said):
        Plan.from_json(values)


def test_a_plan_comes_back_from_its_json():
    assert Plan.from_json(json.loads(json.dumps(asdict(PLAN)))) == PLAN


def test_too_many_validation_patients_are_refused(data, tmp_path):
    with pytest.raises(InputError, match="5 validation patients were asked for and the data set has 5"):
        train(data, tmp_path, replace(PLAN, validation_patients=5), device="cpu", log=silent)


def test_an_example_is_what_inference_sees_with_labels_at_the_same_spacing(data):
    case = read_dataset(data).cases[0]
    example = load_example(case, replace(PLAN, in_plane_spacing=1.0))
    assert example.values.shape == (1, 6, 36, 40)
    assert example.labels.shape == (6, 36, 40)
    assert example.labels.dtype == torch.uint8
    bright, grey, dark = (example.values[0][example.labels == v].median() for v in (1, 2, 0))
    assert bright > grey > dark
    coarse = load_example(case, PLAN)
    assert (example.labels == 1).sum().item() / 4 == pytest.approx((coarse.labels == 1).sum().item(), rel=0.15)


def example(seed):
    """Noise in which structure 1 is what is brighter than a fixed level, alike in all slices."""
    values = torch.rand(1, 5, 16, 16, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(values, 5, 1, 2)
    return Example(values, (smooth[0] > 0.5).long())


def trainer(**changes):
    torch.manual_seed(0)
    plan = replace(PLAN, steps=60, learning_rate=0.02, gate_samples=2, **changes)
    return Trainer(plan, build(plan.architecture(1, 2)), "cpu")


def test_training_lowers_the_loss_changes_the_slice_attention_and_shrinks_the_spread():
    """Whether a pixel is bright has nothing to do with its slice: a gate that shakes whole slices only does harm."""
    training = trainer()
    before = {name: value.clone() for name, value in training.network.state_dict().items()}
    losses, spreads = zip(*(training.train_step(example(step % 4)) for step in range(60)), strict=True)
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:4])
    assert np.mean(spreads[-8:], 0)[0] < np.mean(spreads[:4], 0)[0]
    after = training.network.state_dict()
    still = [n for n in after if "slice_att" in n and torch.equal(after[n], before[n])]
    assert not still


def test_training_again_gives_the_same_bits():
    one, other = trainer(), trainer()
    results = [[t.train_step(example(step)) for step in range(3)] for t in (one, other)]
    assert results[0] == results[1]
    assert same(one.network.state_dict(), other.network.state_dict())


@pytest.mark.parametrize("kind", ["CSAMUNet", "CSAMUNetPlusPlus"])
def test_a_step_in_bfloat16_and_with_deep_supervision_moves_every_weight_that_is_used(kind):
    training = trainer(network=kind, precision="bfloat16")
    before = {name: value.clone() for name, value in training.network.named_parameters()}
    for step in range(3):
        loss, spreads = training.train_step(example(step))
    assert np.isfinite(loss)
    assert len(spreads) == 2
    still = {n for n, value in training.network.named_parameters() if torch.equal(value, before[n])}
    unused = {n for n in before if n.startswith("attentions.1.")} if kind == "CSAMUNetPlusPlus" else set()
    assert {n for n in still - unused if "slice_att" in n or "final" in n} == set()


def test_the_averaged_network_follows_the_trained_one():
    training = trainer(ema=0.0)
    training.train_step(example(0))
    training.train_step(example(1))
    assert same(training.averaged_network().state_dict(), training.network.state_dict())
    assert not training.averaged_network().training


def test_the_average_of_few_steps_leaves_the_weights_that_it_began_with():
    average = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(1, 1), multi_avg_fn=running_average(0.998))
    network = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(average.module.weight, 0.0)
    weights = []
    for step in range(250):
        torch.nn.init.constant_(network.weight, float(step > 0))
        average.update_parameters(network)
        weights.append(average.module.weight.item())
    assert weights[0] == 0
    assert weights[250 - 1] > 0.99  # 0.998 from the first step on gives 0.39
    late = running_average(0.5)
    averaged, current = [torch.zeros(1)], [torch.ones(1)]
    late(averaged, current, torch.tensor(10_000))
    assert averaged[0].item() == 0.5


def test_quick_dice_is_one_for_a_perfect_network_and_zero_for_none():
    shown = example(0)
    net = small.network(num_classes=2, uncertainty=False)

    class Perfect:
        architecture, num_slices = {"num_classes": 2}, 5

    with pytest.MonkeyPatch.context() as patch:
        truth = torch.nn.functional.one_hot(shown.labels, 2).movedim(-1, 1).float()
        patch.setattr("csam.pipeline.sliding_window.mean_probabilities", lambda *_: truth)
        assert quick_dice(Perfect(), shown, PLAN, "cpu") == 1
        patch.setattr("csam.pipeline.sliding_window.mean_probabilities", lambda *_: 1 - truth)
        assert quick_dice(Perfect(), shown, PLAN, "cpu") == 0
    assert 0 <= quick_dice(net, shown, PLAN, "cpu") <= 1


def test_bfloat16_is_used_where_it_is_asked_for_or_computed_in_hardware(monkeypatch):
    assert choose_precision("float32", "cuda:0") == "float32"
    assert choose_precision("bfloat16", "cpu") == "bfloat16"
    assert choose_precision("auto", "cuda:0") == "bfloat16"
    assert choose_precision("auto", "mps") == "float32"
    for tiles, vectors, expected in (
        (False, False, "float32"),
        (True, False, "bfloat16"),
        (False, True, "bfloat16"),
    ):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda there=tiles: there)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=vectors: there, raising=False)
        assert choose_precision("auto", "cpu") == expected


def test_a_training_goes_on_in_the_precision_in_which_it_began(tmp_path, monkeypatch):
    monkeypatch.setattr("csam.training.trainer.choose_precision", lambda wanted, device: "bfloat16")
    trainer(precision="auto").save(tmp_path / "checkpoint.pt")
    monkeypatch.setattr("csam.training.trainer.choose_precision", lambda wanted, device: "float32")
    resumed = trainer(precision="auto")
    resumed.restore(tmp_path / "checkpoint.pt")
    assert resumed.precision == "bfloat16"


@pytest.mark.parametrize(
    ("switches", "samples"),
    [
        ({}, 3),
        ({"uncertainty": False}, 1),
        ({"slice": False}, 1),
        ({"semantic": False, "positional": False}, 3),
        ({"semantic": False, "positional": False, "slice": False, "uncertainty": False}, 1),
    ],
    ids=str,
)
def test_a_plan_builds_the_gates_it_names_and_samples_where_they_are_uncertain(switches, samples, monkeypatch):
    plan = replace(PLAN, gate_samples=3, **switches)
    training = Trainer(plan, build(plan.architecture(1, 2)), "cpu")
    kinds = {name.split(".")[3] for name, _ in training.network.named_parameters() if "attentions" in name}
    wanted = {f"{gate}_att" for gate in ("semantic", "positional", "slice") if switches.get(gate, True)}
    assert kinds == wanted
    assert any("log_diag" in name for name, _ in training.network.named_parameters()) == (
        switches.get("slice", True) and switches.get("uncertainty", True)
    )
    taken, one = [], GatePosterior.one_sample
    monkeypatch.setattr(GatePosterior, "one_sample", lambda self: taken.append(1) or one(self))
    _, spreads = training.train_step(example(0))
    assert len(taken) == samples
    assert len(spreads) == (2 if switches.get("slice", True) else 0)


def test_several_samples_of_a_step_share_one_pass_of_the_encoder(monkeypatch):
    training = trainer()
    passes = []
    original = type(training.network).encode
    monkeypatch.setattr(type(training.network), "encode", lambda self, x: passes.append(1) or original(self, x))
    taken = []
    one = GatePosterior.one_sample
    monkeypatch.setattr(GatePosterior, "one_sample", lambda self: taken.append(1) or one(self))
    training.train_step(example(0))
    assert (len(passes), len(taken)) == (1, 2)


def fine_tuned(data, start, out, pattern=PLAN.patient_pattern, **more):
    numbers = {"steps": 1, "learning_rate": 1e-6, "ema": 0.0, "patient_pattern": pattern}
    return train(data, out, numbers | {"validation_patients": 2}, device="cpu", fine_tune=start, log=silent, **more)


def test_nobody_validates_a_model_that_has_learned_from_them(data, finished, tmp_path):
    start = Model.load(finished[0] / "model")
    learnt = set(start.provenance["training_patients"])
    grown = small.dataset(tmp_path / "grown", patients=7)
    second = fine_tuned(grown, start, tmp_path / "second")
    assert not learnt & set(second.provenance["validation_patients"])
    third = prepare(grown, {"patient_pattern": PLAN.patient_pattern, "validation_patients": 2}, start=second)
    assert not (learnt | set(second.provenance["training_patients"])) & set(third.validation)  # nor its ancestors
    split = tmp_path / "split.json"
    one, *others = sorted(learnt)
    split.write_text(json.dumps({"training": others, "validation": [one]}))
    with pytest.raises(InputError, match=f"on whom Balls was trained: {one}"):
        fine_tuned(data, start, tmp_path / "no", split=split)
    only = small.dataset(tmp_path / "only", patients=1)
    everybody = replace(start, provenance={**start.provenance, "training_patients": ["p00"]})
    with pytest.raises(InputError, match="nobody is left for validation"):
        prepare(only, {"patient_pattern": PLAN.patient_pattern}, start=everybody)


def test_a_model_remembers_whom_the_one_it_came_from_has_met(data, finished, tmp_path):
    start = Model.load(finished[0] / "model")
    other = small.dataset(tmp_path / "other", patients=3)
    for path in other.glob("*/p*"):
        path.rename(path.with_name("q" + path.name))
    model = fine_tuned(other, start, tmp_path / "out", pattern="(qp..)_")
    learnt, selected = (start.provenance[f"{part}_patients"] for part in ("training", "validation"))
    cases = [Case(f"{patient}_0", patient, (), tmp_path) for patient in (*learnt, *selected)]
    assert seen_patients(model, cases, "training") == set(learnt)
    assert seen_patients(model, cases, "validation") == set(selected)
    whence = "an earlier model of the same name, which learned from Balls"
    assert f"Fine-tuned from {whence} ({len(learnt)} training patients)" in card(model)


def test_channels_keep_their_weights_whatever_their_order():
    start = small.model(small.network(input_channels=2), channels=(Channel("T2", "MR"), Channel("ADC", "MR")))
    old = start.network().state_dict()
    stem = next(iter(old))
    for names, order in ((("adc", "t2"), [1, 0]), (("T2", "ADC"), [0, 1]), (("a", "b"), [0, 1])):
        network = small.network(input_channels=2, seed=3)
        assert take_over_weights(start, network, names, ["structure 1", "structure 2"]) == []
        assert torch.equal(network.state_dict()[stem], old[stem][:, order])
    network = small.network(input_channels=2, seed=3)
    fresh = network.state_dict()[stem].clone()
    assert take_over_weights(start, network, ["DWI", "T2"], ["structure 1", "structure 2"]) == ["the input layer's DWI"]
    assert torch.equal(network.state_dict()[stem], torch.stack([fresh[:, 0], old[stem][:, 0]], 1))
    network = small.network(input_channels=2, seed=3)
    assert take_over_weights(start, network, ["T2", "DWI"], ["structure 1", "structure 2"]) == ["the input layer's DWI"]
    assert torch.equal(network.state_dict()[stem], torch.stack([old[stem][:, 0], fresh[:, 1]], 1))
    other = small.network(input_channels=3, seed=3)
    said = take_over_weights(start, other, ["a", "b", "c"], ["structure 1", "structure 2"])
    assert said == ["the input layer (input_channels 2 → 3)"]


def test_structures_keep_their_weights_whatever_their_order(data, finished):
    start = Model.load(finished[0] / "model")
    old = start.network().state_dict()
    torch.manual_seed(1)
    network = build(start.architecture)
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    assert take_over_weights(start, network, ["MR"], ["Grey ball", "bright ball"]) == []
    new = network.state_dict()
    for part in ("conv_final.weight", "conv_final.bias"):
        assert torch.equal(new[part], old[part][[0, 2, 1]])
    said = take_over_weights(start, network, ["MR"], ["lesion", "bright ball"])
    assert said == ["the output layer's lesion"]
    more = build({**start.architecture, "num_classes": 4})
    assert "the output layer's lesion, cyst" in take_over_weights(
        start, more, ["MR"], ["bright ball", "lesion", "cyst"]
    )
    assert torch.equal(more.state_dict()["conv_final.weight"][:2], old["conv_final.weight"][:2])
    assert set(fresh) == set(new)
