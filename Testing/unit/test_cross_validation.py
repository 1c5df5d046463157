"""Cross-validation: everyone teaches, everyone assesses, and nobody is assessed by a model that has seen them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from unit import small
from unit.test_train import PLAN, checkpoint, same, silent

from csam.cli import find_model, main
from csam.errors import Cancelled, InputError
from csam.model import Calibration, Model
from csam.model.card import card
from csam.result import Options
from csam.training.calibrate import assessment_note, calibrate_on
from csam.training.case_choice import chosen_cases
from csam.training.case_facts import CaseFacts
from csam.training.cross_validation import ALL, cross_validate, prepare_folds, random_folds
from csam.training.dataset import Case, Dataset, read_dataset, read_folds
from csam.training.evaluate import evaluate
from csam.training.train import train

PATTERN = PLAN.patient_pattern
SPLITS = [{"train": ["p01", "p02"], "val": ["p00"]}, {"train": ["p00"], "val": ["p01", "p02"]}]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small.dataset(tmp_path_factory.mktemp("data"), patients=3, scans=2)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Three folds, for there are three patients: the folder and what was said."""
    out, said = tmp_path_factory.mktemp("finished"), []
    cross_validate(data, out, PLAN, device="cpu", log=said.append)
    return out, said


@pytest.fixture
def splits(tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps(SPLITS))
    return path


def test_everyone_teaches_the_model_and_is_assessed_by_one_that_has_not_seen_them(data, finished):
    out, _ = finished
    model = Model.load(out / "model")
    patients = ["p00", "p01", "p02"]
    assert model.provenance["training_patients"] == patients
    assert model.provenance["validation_patients"] == []
    assert sorted(patient for fold in model.provenance["folds"] for patient in fold) == patients
    cases, dice = read_dataset(data, PATTERN), {}
    for number, fold in enumerate(model.provenance["folds"]):
        assessor = Model.load(out / f"fold-{number}" / "model")
        assert sorted([*assessor.provenance["training_patients"], *fold]) == patients
        assert assessor.provenance["validation_patients"] == fold
        assert assessor.calibration == Calibration()
        for case in evaluate(assessor, cases.of(fold), Options(device="cpu"), silent):
            dice[case.name] = round(case.mean_dice, 4)
    assert list(model.metrics["cases"]) == sorted(dice)
    assert model.metrics["cases"] == dice
    assert model.metrics["validation"]["patients"] == 3
    assert model.calibration != Calibration()
    assert model.trained_on.patients == 3
    assert not torch.equal(*(Model.load(out / part / "model").network().state_dict()["conv_final.weight"]
                             for part in ("fold-0", ALL)))  # fmt: skip
    weights = [Model.load(out / part).sha256 for part in ("model", f"{ALL}/model")]
    assert weights[0] == weights[1]


def test_the_card_says_how_the_figures_came_to_be(finished):
    text = card(Model.load(finished[0] / "model"))
    assert "3 training patients" in text
    assert "by cross-validation in 3 folds" in text
    assert "Validation patients" not in text
    assert "3 models were trained like this one, each without one fold" in text


def test_nothing_is_chosen_on_those_who_assess(data, tmp_path, monkeypatch):
    told = iter([0.9, 0.1] * 3)
    monkeypatch.setattr("csam.training.train.Training._validate", lambda self: next(told))
    cross_validate(data, tmp_path, replace(PLAN, patience=1, weights="best"), device="cpu", log=silent)
    for part in ("fold-0", "fold-1", "fold-2", ALL):
        state = checkpoint(tmp_path / part)
        assert state["step"] == PLAN.steps
        averaged = state["average"]["module.conv_final.weight"]
        kept = Model.load(tmp_path / part / "model").network().state_dict()["conv_final.weight"]
        assert torch.equal(kept, averaged.half().float())
        assert json.loads((tmp_path / part / "plan.json").read_text())["weights"] == "last"
    assert "nothing is chosen on those who assess" in (tmp_path / ALL / "reasons.txt").read_text()


def test_a_cross_validation_that_was_stopped_goes_on_to_the_same_model(data, finished, tmp_path):
    looks = iter(range(1000))
    with pytest.raises(Cancelled, match="the same command goes on from there"):
        cross_validate(data, tmp_path, PLAN, device="cpu", log=silent, cancelled=lambda: next(looks) > 12)
    assert (tmp_path / "fold-1" / "checkpoint.pt").exists()
    assert not (tmp_path / "fold-2").exists()
    cross_validate(data, tmp_path, PLAN, device="cpu", log=silent)
    for part in ("fold-0", "fold-1", "fold-2", ALL):
        assert same(checkpoint(tmp_path / part), checkpoint(finished[0] / part)), part
    ours, theirs = (Model.load(folder / "model") for folder in (tmp_path, finished[0]))
    assert ours.sha256 == theirs.sha256
    assert ours.calibration == theirs.calibration
    assert ours.metrics == theirs.metrics


def test_parts_that_were_trained_by_themselves_are_not_trained_again(data, finished, tmp_path, monkeypatch):
    for part in (1, ALL):
        model = cross_validate(data, tmp_path, PLAN, device="cpu", log=silent, fold=part)
        assert model.metrics == {}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"fold-1", ALL}
    steps = []
    monkeypatch.setattr("csam.training.train.LOG_EVERY", 1)
    cross_validate(data, tmp_path, PLAN, device="cpu", log=silent, progress=lambda part: steps.append(part.fraction))
    assert len(steps) == 2 * PLAN.steps  # of four parts
    assert steps == sorted(steps)
    assert 0 < steps[0] < 1 / 4
    assert steps[-1] == 3 / 4  # the fold that came last; the one on everyone was there
    assert Model.load(tmp_path / "model").metrics == Model.load(finished[0] / "model").metrics
    with pytest.raises(InputError, match="There is no fold 3; there are 0 to 2, and all"):
        cross_validate(data, tmp_path, PLAN, device="cpu", log=silent, fold=3)


def test_another_cross_validation_in_the_same_folder_is_refused(data, finished, splits):
    with pytest.raises(InputError, match=r"holds another training \(its splits_final.json differs\)"):
        cross_validate(data, finished[0], PLAN, device="cpu", log=silent, split=splits)
    with pytest.raises(InputError, match=r"holds a cross-validation\. Choose another --out, or go on with --cross-val"):
        train(data, finished[0], PLAN, device="cpu", log=silent)


def test_a_part_of_another_plan_is_told_before_anything_is_trained(data, tmp_path):
    cross_validate(data, tmp_path, PLAN, device="cpu", log=silent, fold=ALL)
    with pytest.raises(InputError, match=r"all holds another training \(its plan.json differs\)"):
        cross_validate(data, tmp_path, replace(PLAN, steps=9), device="cpu", log=silent)
    assert not (tmp_path / "fold-0").exists()


def test_a_folder_of_a_plain_training_is_not_taken(data, tmp_path):
    train(data, tmp_path, replace(PLAN, validation_patients=1), device="cpu", log=silent)
    before = (tmp_path / "model" / "model.json").read_text()
    with pytest.raises(InputError, match="holds a training that is no cross-validation"):
        cross_validate(data, tmp_path, PLAN, device="cpu", log=silent)
    assert (tmp_path / "model" / "model.json").read_text() == before


def test_stopped_while_the_folds_assess_no_training_is_lost(data, finished, monkeypatch):
    def stop(*arguments):
        raise Cancelled("now")

    monkeypatch.setattr("csam.training.evaluate.segment", lambda *_, **__: stop())
    with pytest.raises(Cancelled, match="goes on from the end of the trainings"):
        cross_validate(data, finished[0], PLAN, device="cpu", log=silent)


def test_of_a_cross_validation_to_start_from_every_training_takes_its_own(data, finished, tmp_path, capsys):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"steps": 2, "precision": "float32"}))
    command = ["train", str(data), "--out", str(tmp_path / "second"), "--plan", str(plan), "--device", "cpu"]
    command += ["--patient-pattern", PATTERN, "--cross-validate", "--fine-tune"]
    assert main([*command, str(finished[0])]) == 0
    for part in ("fold-0", "fold-2", ALL):
        begun = json.loads((tmp_path / "second" / part / "sources.json").read_text())["started_from"]["sha256"]
        assert begun == Model.load(finished[0] / part / "model").sha256
    capsys.readouterr()
    assert main([*command, str(finished[0] / "model"), "--dry-run"]) == 2
    assert "fold-0: Validation patients" in (said := capsys.readouterr().err)
    assert "was trained: " in said


def test_a_cross_validation_that_is_not_finished_is_told_whom_it_lacks(data, finished, tmp_path):
    cross_validate(data, tmp_path / "first", PLAN, device="cpu", log=silent, fold=1)
    begun = cross_validate(
        data, tmp_path / "next", PLAN, device="cpu", fine_tune=tmp_path / "first", log=silent, fold=1
    )
    assert (
        begun.provenance["started_from"]["provenance"]["validation_patients"] == begun.provenance["validation_patients"]
    )
    with pytest.raises(InputError, match=r"first has no finished fold-0 to start from\. Finish that cross-validation"):
        prepare_folds(data, PLAN, fine_tune=tmp_path / "first")


def test_who_selected_the_weights_to_start_from_does_not_assess_what_comes_of_them(data, tmp_path):
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"training": ["p01", "p02"], "validation": ["p00"]}))
    start = train(data, tmp_path / "plain", PLAN, device="cpu", log=silent, split=split)
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps(SPLITS))
    with pytest.raises(
        InputError, match="fold-0: p00 selected the weights of Balls, and cannot assess what starts from it"
    ):
        prepare_folds(data, PLAN, fine_tune=start, split=splits, fold=0)
    with pytest.raises(InputError, match="fold-1: Validation patients on whom Balls was trained: p01, p02"):
        prepare_folds(data, PLAN, fine_tune=start, split=splits, fold=1)
    assert prepare_folds(data, PLAN, fine_tune=start, split=splits, fold=ALL)[0].keys() == {ALL}


def test_a_model_that_had_the_data_set_beside_its_own_is_told(data, tmp_path):
    start = small.model(provenance={"data": "Other", "extra_data": ["Balls"]})
    start = replace(
        start, labels=tuple(replace(label, name=n) for label, n in zip(start.labels, ("a", "b"), strict=True))
    )
    parts, _ = prepare_folds(data, {"patient_pattern": PATTERN}, fine_tune=start)
    assert all(any("was also trained on a data set Balls" in note for note in part.notes) for part in parts.values())


def test_calibrated_anew_it_is_no_longer_assessed_by_its_folds(data, finished, tmp_path):
    others = small.dataset(tmp_path / "others", patients=2, seed=5)
    for path in (*others.glob("*/*.nii.gz"),):
        path.rename(path.with_name(path.name.replace("p0", "q0")))
    model = calibrate_on(Model.load(finished[0] / "model"), read := read_dataset(others), read.cases, tmp_path, silent)
    assert "folds" not in model.provenance
    assert "cross-validation" not in card(model)
    assert "Calibration patients of Balls, never trained on: q00_0, q01_0" in card(model)


def test_a_part_says_what_it_is_and_calibrated_nobody(data, finished):
    part = Model.load(finished[0] / "fold-0" / "model")
    assert part.title == "Balls (fold-0 of a cross-validation)"
    assert Model.load(finished[0] / "model").title == "Balls"
    _, cases = chosen_cases(data, part, "validation", log=silent)
    assert "calibrated the model" not in assessment_note(evaluate(part, cases[:1], Options(device="cpu"), silent), part)


def test_the_folder_of_a_training_stands_for_its_model_but_not_before_a_shipped_one(finished, tmp_path, monkeypatch):
    trained = Model.load(finished[0] / "model")
    assert find_model(str(finished[0])).sha256 == trained.sha256
    monkeypatch.chdir(tmp_path)
    trained.save(tmp_path / "cardiac-lv" / "model")
    trained.save(tmp_path / "mine" / "model")
    assert find_model("mine").sha256 == trained.sha256
    assert find_model("cardiac-lv").sha256 != trained.sha256


def test_the_folds_are_left_as_nnu_net_has_them(data, finished):
    path = finished[0] / "splits_final.json"
    folds, faults = read_folds(path, read_dataset(data, PATTERN))
    assert faults == []
    assert prepare_folds(data, PLAN, split=path)[1] == json.loads(path.read_text())
    assert [[case.patient for case in held][:1] for _, held in folds] == [
        Model.load(finished[0] / f"fold-{k}" / "model").provenance["validation_patients"] for k in range(3)
    ]


def test_the_command_tells_all_parts_before_it_begins(data, tmp_path, capsys, splits):
    command = ["train", str(data), "--out", str(tmp_path / "out"), "--patient-pattern", PATTERN, "--dry-run"]
    assert main([*command, "--cross-validate", "--split", str(splits)]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith(("fold", "all", "training pa", "validation pa"))] == [
        "fold-0:",
        "training patients: p01, p02",
        "validation patients: p00",
        "fold-1:",
        "training patients: p00",
        "validation patients: p01, p02",
        "all:",
        "training patients: p00, p01, p02",
        "validation patients: none",
    ]
    assert not (tmp_path / "out").exists()
    assert main([*command, "--split", str(splits), "--fold", "all"]) == 2
    assert "--cross-validate" in capsys.readouterr().err


def made(shown, hidden=0):
    """A data set of patients with structures and others without, a case each."""
    names = [f"s{n:02d}" for n in range(shown)] + [f"h{n:02d}" for n in range(hidden)]
    facts = {name: replace(FACTS, voxels={1: 9} if name.startswith("s") else {}, fingerprint=name) for name in names}
    cases = tuple(Case(name, name, (Path(name),), Path(f"{name}-labels")) for name in names)
    return Dataset("made", "", ("x",), ("ball",), cases, facts=facts)


FACTS = CaseFacts(*[None] * len(CaseFacts.__dataclass_fields__))


@pytest.mark.parametrize(("shown", "hidden", "count"), [(2, 0, 2), (4, 9, 4), (5, 0, 5), (23, 11, 5)])
def test_folds_part_the_patients_and_each_has_its_share_of_structures(shown, hidden, count):
    data = made(shown, hidden)
    folds = random_folds(data)
    assert len(folds) == count
    held_out = [case.name for _, validation in folds for case in validation]
    assert sorted(held_out) == data.patients
    for training, validation in folds:
        assert {*training, *validation} == {*data.cases}
        for kind, many in (("s", shown), ("h", hidden)):
            assert many // count <= sum(case.name.startswith(kind) for case in validation) <= -(-many // count)
    assert random_folds(data) == folds
    assert random_folds(data, seed=1) != folds or shown == 2


def test_one_patient_with_structures_is_too_few():
    with pytest.raises(InputError, match=r"1 patient\(s\) with structures; a cross-validation takes two"):
        random_folds(made(1, 5))


def test_folds_of_a_file_are_taken_as_they_are(data, splits):
    parts, _ = prepare_folds(data, PLAN, split=splits)
    assert {name: (part.training, part.validation) for name, part in parts.items()} == {
        "fold-0": (["p01", "p02"], ["p00"]),
        "fold-1": (["p00"], ["p01", "p02"]),
        ALL: (["p00", "p01", "p02"], []),
    }
    splits.write_text(json.dumps([{"train": ["p01"], "val": ["p00_0"]}, {"train": ["p00_0"], "val": ["p01"]}]))
    parts, _ = prepare_folds(data, PLAN, split=splits)
    assert [case.name for case in parts[ALL].training_cases] == ["p00_0", "p01_0", "p01_1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(SPLITS[0]), "holds 1 split(s); a cross-validation takes two or more"),
        ("[]", "holds 0 split(s)"),
        (json.dumps([*SPLITS, SPLITS[0]]), "p00_0 is validated on in 2 and trained on in 1 of the 3 splits"),
        (json.dumps([SPLITS[0], {"train": ["p00"], "val": ["p01"]}]), "p02_1 is validated on in 0 and trained on in 1"),
        (
            json.dumps([SPLITS[0], {"train": ["p00_0"], "val": ["p01", "p02"]}]),
            "p00_1 is validated on in 1 and trained",
        ),
        (json.dumps([SPLITS[0], {"train": ["p00"], "val": ["p09"]}]), "p09 (validation) is neither a patient"),
        (json.dumps([*SPLITS, 3]), "holds no splits"),
        ("?", "holds no splits"),
    ],
)
def test_a_file_that_holds_no_folds_is_told_before_anything_is_written(data, tmp_path, text, said):
    path = tmp_path / "splits_final.json"
    path.write_text(text)
    assert any(said in fault for fault in read_folds(path, read_dataset(data, PATTERN))[1])
    with pytest.raises(InputError) as error:
        cross_validate(data, tmp_path / "out", PLAN, device="cpu", log=silent, split=path)
    assert said in str(error.value)
    assert not (tmp_path / "out").exists()


def test_nobody_is_left_to_measure_the_model_of_everyone_on(data, finished):
    model = Model.load(finished[0] / "model")
    with pytest.raises(InputError, match="learned from all of its patients, so it has no validation patients"):
        chosen_cases(data, model, "validation", log=silent)
    _, cases = chosen_cases(data, model, log=silent)
    assert assessment_note(evaluate(model, cases[:1], Options(device="cpu"), silent), model).startswith(
        "1 of the 1 patients were trained on"
    )
