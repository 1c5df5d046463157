"""The command line: files where they were asked for, and for bad input exit code 2 and one line."""

import json
import signal
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit import small

import csam
from csam.cli import files, main, segmenting
from csam.errors import DeviceLost, InputError
from csam.model import Label, Model, shipped
from csam.process.interrupts import interruptible
from csam.training.case_choice import chosen_cases
from csam.training.plan import WORDS, Plan

COMMANDS = (
    *("segment", "cohort", "fill", "train", "train-fill", "calibrate"),
    *("evaluate", "convert", "models", "phantom", "worker"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, an image, a series, a data set and a bare state dict."""
    folder = tmp_path_factory.mktemp("cli")
    small.model().save(folder / "model")
    sitk.WriteImage(small.image(), str(folder / "image.nrrd"))
    sitk.WriteImage(sitk.JoinSeries([small.image(), small.image(seed=1)]), str(folder / "series.nii.gz"))
    small.dataset(folder / "data", patients=3)
    torch.save(small.network().state_dict(), folder / "weights.pt")
    (folder / "odd.json").write_text("[1, 2")
    (folder / "list.json").write_text("[1, 2]")
    (folder / "odd.txt").write_text("nothing")
    return folder


def run(place, monkeypatch, *arguments):
    monkeypatch.chdir(place)
    return main(arguments)


def test_segment_writes_the_maps_and_a_report(place, monkeypatch, capsys, tmp_path):
    code = run(
        place, monkeypatch, "segment", "image.nrrd", "--model", "model", "--samples", "2", "--out", str(tmp_path)
    )
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "entropy.nrrd",
        "error_probability.nrrd",
        "labels.nrrd",
        "mutual_information.nrrd",
        "report.json",
    ]
    image = small.image()
    for name, kind in (("labels", sitk.sitkUInt8), ("error_probability", sitk.sitkFloat32)):
        written = sitk.ReadImage(str(tmp_path / f"{name}.nrrd"))
        assert written.GetPixelID() == kind
        assert written.GetSize() == image.GetSize()
        assert written.GetSpacing() == image.GetSpacing()
    report = json.loads((tmp_path / "report.json").read_text())
    assert {"slices", "structures", "case_quality", "warnings", "provenance", "slice_axis"} <= set(report)
    assert len(report["slices"]) == 6
    assert report["provenance"]["options"]["samples"] == 2
    said = capsys.readouterr().out
    assert "structure 1:" in said
    assert "90 % interval" in said
    assert "Slices to look at first" in said


def test_segment_draws_a_page_where_one_is_asked_for(place, monkeypatch, capsys, tmp_path):
    out = tmp_path / "out"  # which is not there yet
    page, line = out / "page.png", ("segment", "series.nii.gz", "--model", "model", "--samples", "2", "--frame", "1")
    assert run(place, monkeypatch, *line, "--out", str(out), "--png", str(page)) == 0
    assert page.read_bytes().startswith(b"\x89PNG")
    assert run(place, monkeypatch, *line, "--out", str(out), "--png", str(tmp_path)) == 2
    assert "is a folder" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(place, monkeypatch, *line, "--out", str(out), "--png", str(page)) == 2
    assert "Run: pip install matplotlib" in capsys.readouterr().err


def test_segment_takes_one_volume_of_a_series_and_writes_probabilities(place, monkeypatch, tmp_path):
    more = ("--model", "model", "--samples", "2", "--frame", "1", "--probabilities", "--out", str(tmp_path))
    assert run(place, monkeypatch, "segment", "series.nii.gz", *more) == 0
    p = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "probabilities.nrrd")))
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)


def test_one_file_of_as_many_volumes_as_the_model_has_channels_holds_its_channels(place, monkeypatch, tmp_path):
    small.model(small.lively(small.network(input_channels=2))).save(tmp_path / "two")
    sitk.WriteImage(small.image(), str(tmp_path / "0.nii.gz"))
    sitk.WriteImage(small.image(seed=1), str(tmp_path / "1.nii.gz"))
    found = []
    for images in (("series.nii.gz",), (str(tmp_path / "0.nii.gz"), str(tmp_path / "1.nii.gz"))):
        out = tmp_path / f"out of {len(images)}"
        more = ("--model", str(tmp_path / "two"), "--samples", "2", "--device", "cpu", "--out", str(out))
        assert run(place, monkeypatch, "segment", *images, *more) == 0
        found.append(sitk.GetArrayFromImage(sitk.ReadImage(str(out / "error_probability.nrrd"))))
    np.testing.assert_array_equal(*found)


def test_evaluate_prints_and_writes_the_figures(place, monkeypatch, capsys, tmp_path):
    figures, picture = tmp_path / "figures.json", tmp_path / "figures.png"
    more = ("--patients", "p00_0,p02_0", "--json", str(figures), "--png", str(picture), "--energy-distance")
    assert run(place, monkeypatch, "evaluate", "data", "--model", "model", "--samples", "2", *more) == 0
    written = json.loads(figures.read_text())
    assert written["after_calibration"]["cases"] == 2
    assert written["before_calibration"]["energy_distance"] > 0
    assert list(written["cases"]) == ["p00_0", "p02_0"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Dice, mean of the structures" in capsys.readouterr().out


def test_evaluate_and_calibrate_take_the_labels_by_their_names(place, monkeypatch, capsys, tmp_path):
    named = {"labels": tuple(Label(v, name, (9, 9, 9)) for v, name in ((2, "Bright ball"), (1, "Grey ball")))}
    small.model(**named).save(tmp_path / "turned")
    one = ("--patients", "p00_0", "--model")
    assert run(place, monkeypatch, "evaluate", "data", *one, "model", "--samples", "2") == 0
    assert "taken in their order: bright ball for structure 1" in capsys.readouterr().out
    seen = []
    monkeypatch.setattr("csam.training.evaluate.measure", lambda case, truth, *_: seen.append(truth) or 1 / 0)
    for command in (("evaluate",), ("calibrate", "--out", str(tmp_path / "out"))):
        with pytest.raises(ZeroDivisionError):
            run(place, monkeypatch, *command, "data", *one, str(tmp_path / "turned"))
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(place / "data" / "labelsTr" / "p00_0.nii.gz")))
    for mapped in seen:
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mapped), np.array([0, 2, 1])[truth])
    assert len(seen) == 2


def test_a_copy_of_the_training_data_under_another_name_is_known_by_its_patients(monkeypatch, capsys, tmp_path):
    data = small.dataset(tmp_path / "copy", patients=2, scans=2)
    provenance = {"data": "Original", "training_patients": ["p00"], "plan": {"patient_pattern": "(.*)_."}}
    small.model(provenance=provenance).save(tmp_path / "model")
    model = ("--model", str(tmp_path / "model"))
    assert main(["evaluate", str(data), *model, "--samples", "2", "--device", "cpu"]) == 0
    assert "1 of the 2 patients were trained on" in capsys.readouterr().out
    for more in ((), ("--patient-pattern", "(.*)")):
        assert main(["calibrate", str(data), *model, "--out", str(tmp_path / "out"), *more]) == 2
        assert "was trained on p00" in capsys.readouterr().err


def test_patients_who_are_not_there_are_named(place, monkeypatch, capsys):
    assert run(place, monkeypatch, "evaluate", "data", "--model", "model", "--patients", "p00_0,zz,p9") == 2
    assert "holds neither a patient nor a case zz; p9. There are p00_0, p01_0, p02_0." in capsys.readouterr().err


@pytest.fixture(scope="module")
def rescanned(tmp_path_factory):
    """Three patients of two scans each, and a model that knows none of them; what ``chosen_cases`` makes of names."""
    folder = small.dataset(tmp_path_factory.mktemp("rescanned") / "data", patients=3, scans=2)

    def resolve(names, **more):
        said = []
        data, cases = chosen_cases(folder, small.model(), names, log=said.append, **more)
        return [case.name for case in cases], data.patients, said

    return resolve


def test_patients_and_cases_may_be_named_side_by_side(rescanned):
    for names, cases in (
        ("p00", ["p00_0", "p00_1"]),
        ("p01_0", ["p01_0"]),
        ("p00,p01_0", ["p00_0", "p00_1", "p01_0"]),
        ("p02_1, p02_0,p00", ["p00_0", "p00_1", "p02_0", "p02_1"]),
        ("p02,p02_1", ["p02_0", "p02_1"]),
    ):
        assert rescanned(names) == (cases, ["p00", "p01", "p02"], [])


def test_a_name_of_both_a_case_and_a_patient_is_told(tmp_path):
    folder = small.dataset(tmp_path / "data", patients=1, scans=2)
    for path in folder.rglob("p00_0*"):
        path.rename(path.with_name(path.name.replace("p00_0", "p00", 1)))
    said = []
    data, cases = chosen_cases(folder, small.model(), "p00", "([^_]*)", log=said.append)
    assert (data.patients, [case.name for case in cases]) == (["p00"], ["p00"])
    assert said == ["p00 is a case and a patient: that case alone is taken. Of the patient there is p00_1."]


def test_every_name_that_is_nobodys_is_told_with_the_nearest(rescanned):
    with pytest.raises(InputError) as caught:
        rescanned("p00_7,p00,nobody,p01_O")
    said = str(caught.value)
    assert "holds neither a patient nor a case p00_7 (did you mean p00_1 or p00_0 or p00?); nobody; p01_O (did" in said
    assert said.endswith("There are p00, p01, p02, p00_0, p00_1, p01_0, p01_1, p02_0, p02_1.")


def test_evaluate_takes_one_sample(place, monkeypatch, capsys):
    one = ("--patients", "p00_0", "--samples", "1", "--energy-distance")
    assert run(place, monkeypatch, "evaluate", "data", "--model", "model", *one) == 0


def test_calibrate_writes_the_model_with_a_calibration_of_these_patients(place, monkeypatch, tmp_path):
    out = tmp_path / "out"
    more = ("--model", "model", "--patients", "p00_0,p01_0", "--out", str(out))
    assert run(place, monkeypatch, "calibrate", "data", *more) == 0
    model, before = Model.load(out / "model"), Model.load(place / "model")
    assert len(model.calibration.error_map) > 2
    assert model.provenance["calibration_patients"] == ["p00_0", "p01_0"]
    assert model.provenance.get("validation_patients") == before.provenance.get("validation_patients")
    assert "- Calibration patients of Balls" in (out / "model" / "MODEL_CARD.md").read_text()
    assert model.provenance["calibrated_on"] == "Balls"
    assert (model.name, model.title) == (f"{before.name}-calibrated", f"{before.title}, calibrated on Balls")
    assert "Wrong voxels found by the error probability" in (out / "model" / "MODEL_CARD.md").read_text()
    assert (out / "evaluation.png").is_file()


def test_a_model_that_is_calibrated_again_has_one_suffix_or_the_name_that_it_was_given(place, monkeypatch, tmp_path):
    more = ("--patients", "p00_0,p01_0")
    once, again, named = (str(tmp_path / name) for name in ("once", "again", "named"))
    assert run(place, monkeypatch, "calibrate", "data", *more, "--model", "model", "--out", once) == 0
    assert run(place, monkeypatch, "calibrate", "data", *more, "--model", f"{once}/model", "--out", again) == 0
    assert run(place, monkeypatch, "calibrate", "data", *more, "--model", once, "--out", named, "--name", "here") == 0
    first, second, third = (Model.load(Path(out) / "model") for out in (once, again, named))
    assert (second.name, second.title) == (first.name, first.title)
    assert (third.name, third.title) == ("here", first.title)


def test_a_gpu_that_is_lost_on_the_command_line_leaves_the_run_to_the_cpu(place, monkeypatch, capsys, tmp_path):
    from csam.pipeline import segment as pipeline

    segment, asked = pipeline.segment, []

    def lose(images, model, options, **more):
        asked.append(options.device)
        if options.device != "cpu":
            raise DeviceLost("The device cuda:0 failed and does not answer any more.")
        return segment(images, model, options, **more)

    monkeypatch.setattr("csam.pipeline.segment.segment", lose)
    line = ("segment", "image.nrrd", "--model", "model", "--samples", "2", "--out", str(tmp_path / "out"))
    assert run(place, monkeypatch, *line) == 0
    assert asked == ["auto", "cpu"]
    assert "does not answer any more. The run was on the CPU, which is slower." in capsys.readouterr().out


def test_calibrate_runs_on_the_device_that_was_asked_for(place, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("csam.pipeline.segment.choose_device", lambda wanted: asked.append(wanted) or "cpu")
    more = ("--model", "model", "--patients", "p00_0", "--device", "cuda:1", "--out", str(tmp_path / "out"))
    assert run(place, monkeypatch, "calibrate", "data", *more) == 0
    assert set(asked) == {"cuda:1"}


def test_convert_makes_a_model_of_a_bare_state_dict(place, monkeypatch, tmp_path):
    card = tmp_path / "card.json"
    card.write_text(json.dumps({"labels": ["a", "b"], "title": "Mine"}))
    out = tmp_path / "m.zip"
    assert run(place, monkeypatch, "convert", "weights.pt", "--card", str(card), "--out", str(out)) == 0
    assert Model.load(out).title == "Mine"
    assert Model.load(out).network().architecture["num_slices"] == 5


def test_convert_writes_over_no_model(place, monkeypatch, capsys, tmp_path):
    small.model().save(tmp_path / "mine")
    before = (tmp_path / "mine" / "model.json").read_bytes()
    weights = str(tmp_path / "mine" / "weights.pt")
    assert run(place, monkeypatch, "convert", weights, "--out", str(tmp_path / "mine")) == 2
    assert "already exists" in capsys.readouterr().err
    assert (tmp_path / "mine" / "model.json").read_bytes() == before


def test_what_does_not_fit_is_said_before_the_run_and_once(place, monkeypatch, capsys, tmp_path):
    image = small.image()
    image.SetSpacing((9.0, 9.0, 40.0))
    sitk.WriteImage(image, str(tmp_path / "odd.nrrd"))
    said = []
    monkeypatch.setattr("csam.pipeline.segment.segment", lambda *_, **__: said.append(capsys.readouterr().out) or 1 / 0)
    line = ("segment", str(tmp_path / "odd.nrrd"), "--model", "model", "--samples", "2", "--out", str(tmp_path / "out"))
    with pytest.raises(ZeroDivisionError):
        run(place, monkeypatch, *line)
    assert "Note: Slices are 40 mm apart" in said[0]
    monkeypatch.undo()
    assert run(place, monkeypatch, *line) == 0
    assert capsys.readouterr().out.count("Slices are 40 mm apart") == 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] can't allocate memory: you tried")])
def test_too_little_memory_is_one_line(place, monkeypatch, capsys, tmp_path, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("csam.pipeline.segment.segment", fail)
    line = ("segment", "image.nrrd", "--model", "model", "--out", str(tmp_path / "out"))
    assert run(place, monkeypatch, *line) == 2
    assert "not enough memory" in capsys.readouterr().err


def test_blanks_between_patients_are_none_of_their_names(place, monkeypatch, capsys):
    assert run(place, monkeypatch, "evaluate", "data", "--model", "model", "--patients", "p00_0, zz,") == 2
    assert "neither a patient nor a case zz. " in capsys.readouterr().err


def test_a_dry_run_finds_a_card_that_the_training_would_refuse(place, monkeypatch, capsys, tmp_path):
    (tmp_path / "card.json").write_text(json.dumps({"title": 5}))
    line = ("train", "data", "--out", "out", "--dry-run", "--validation-patients", "1")
    assert run(place, monkeypatch, *line, "--card", str(tmp_path / "card.json")) == 2
    assert "title" in capsys.readouterr().err


def test_phantoms_of_other_labels_are_not_put_together(place, monkeypatch, capsys, tmp_path):
    line = ("phantom", str(tmp_path / "made"), "--count", "1")
    assert run(place, monkeypatch, *line, "--structure", "left-ventricle") == 0
    assert run(place, monkeypatch, *line, "--structure", "left-ventricle", "--seed", "5") == 0
    assert json.loads((tmp_path / "made" / "dataset.json").read_text())["numTraining"] == 2
    assert run(place, monkeypatch, *line, "--structure", "all") == 2
    assert "holds phantoms with the labels" in capsys.readouterr().err


def test_models_prints_the_card_of_one_and_a_line_for_each_shipped(place, monkeypatch, capsys):
    assert run(place, monkeypatch, "models", "model") == 0
    assert capsys.readouterr().out.startswith("# Small model")
    monkeypatch.setattr(sys.modules["csam.cli.main"], "SHIPPED", place)
    assert run(place, monkeypatch, "models") == 0
    assert "small" in capsys.readouterr().out


def test_a_shipped_model_is_found_by_its_name(place, monkeypatch):
    monkeypatch.setattr(shipped, "SHIPPED", place)
    monkeypatch.chdir("/")
    assert files.find_model("model").name == "small"


def test_the_home_folder_stands_for_a_tilde_that_no_shell_has_replaced(place, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("USERPROFILE", str(place))  # of Windows
    given = ["segment", "~/a.nii", "--out=~/results", "--out", "~", "--label", "1=~", "x~", "--plan={}"]
    home = str(place)
    wanted = ["segment", f"{home}/a.nii", f"--out={home}/results", "--out", home, "--label", "1=~", "x~", "--plan={}"]
    assert files.with_home(given) == wanted
    assert run(place, monkeypatch, "models", "~/model") == 0
    assert capsys.readouterr().out.startswith("# Small model")


def test_phantom_writes_a_data_set(place, monkeypatch, tmp_path):
    assert run(place, monkeypatch, "phantom", str(tmp_path / "p"), "--count", "1", "--seed", "5") == 0
    assert json.loads((tmp_path / "p" / "dataset.json").read_text())["numTraining"] == 1
    assert (tmp_path / "p" / "imagesTr" / "phantom_00005_0000.nii.gz").is_file()


def test_train_trains_with_the_plan_of_a_file_and_options_on_top(place, monkeypatch, tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(
        json.dumps({"steps": 5, "base_channels": 2, "num_levels": 2, "num_slices": 4, "precision": "float32"})
    )
    more = ("--plan", str(plan), "--steps", "1", "--field-of-view", "16", "16", "--validation-patients", "1")
    out = tmp_path / "out"
    code = run(place, monkeypatch, "train", "data", "--out", str(out), *more, "--no-empty-slices", "--device", "cpu")
    assert code == 0
    used = json.loads((out / "plan.json").read_text())
    assert (used["steps"], used["base_channels"], used["field_of_view"], used["empty_slices"]) == (
        1,
        2,
        [16, 16],
        False,
    )
    assert Model.load(out / "model").num_slices == 4


TRAIN = (
    "train", "data", "--validation-patients", "1", "--base-channels", "2", "--num-levels", "2", "--num-slices", "4",
    "--field-of-view", "16", "16", "--precision", "float32", "--device", "cpu",
)  # fmt: skip


def test_the_device_of_a_training_is_that_of_its_calibration_too(place, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("csam.pipeline.segment.choose_device", lambda wanted: asked.append(wanted) or "cpu")
    assert run(place, monkeypatch, *TRAIN, "--steps", "1", "--out", str(tmp_path / "out")) == 0
    assert set(asked) == {"cpu"}


def test_a_model_knows_its_own_data_set_by_the_names_there_where_its_card_has_other_titles(
    place, monkeypatch, capsys, tmp_path
):
    card, out = tmp_path / "card.json", tmp_path / "out"
    card.write_text(json.dumps({"labels": [{"name": "bright ball", "title": "Ball"}]}))
    assert run(place, monkeypatch, *TRAIN, "--steps", "1", "--out", str(out), "--card", str(card)) == 0
    assert [label.name for label in Model.load(out / "model").labels] == ["Ball", "grey ball"]
    capsys.readouterr()
    more = ("--model", str(out / "model"), "--samples", "2", "--patients", "validation")
    assert run(place, monkeypatch, "evaluate", "data", *more) == 0
    assert "order" not in capsys.readouterr().out.split("Scans")[0]


def test_ctrl_c_ends_a_training_with_a_checkpoint(place, monkeypatch, capsys, tmp_path):
    from csam.training.trainer import Trainer

    def interrupted(trainer, *examples):
        if trainer.step == 1:
            signal.raise_signal(signal.SIGINT)
        return step(trainer, *examples)

    before, step = signal.getsignal(signal.SIGINT), Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", interrupted)
    assert run(place, monkeypatch, *TRAIN, "--steps", "9", "--out", str(tmp_path / "out")) == 130
    assert "Stopped at step 2; the same command goes on from there." in capsys.readouterr().err
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_a_training_calibrates_says_that_the_same_command_goes_on(place, monkeypatch, capsys, tmp_path):
    from csam.training import calibrate

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return evaluate(*arguments)

    evaluate = calibrate.evaluate
    monkeypatch.setattr(calibrate, "evaluate", interrupted)
    assert run(place, monkeypatch, *TRAIN, "--steps", "1", "--out", str(tmp_path / "out")) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_is_as_before(monkeypatch, number):
    came = []
    before = signal.signal(number, lambda *_: came.append(number))
    try:
        with interruptible() as asked:
            assert not asked()
            signal.raise_signal(number)
            assert asked()
            assert not came
            signal.raise_signal(number)
            assert came == [number]
        with interruptible():
            pass
        signal.raise_signal(number)
        assert came == [number, number]
    finally:
        signal.signal(number, before)


def test_signals_are_left_alone_outside_the_main_thread():
    def enter():
        with interruptible() as asked:
            found.append(asked())

    found = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]


@pytest.mark.parametrize("command", ["train", "evaluate", "calibrate"])
def test_a_missing_library_is_told_before_anything_runs(place, monkeypatch, capsys, tmp_path, command):
    monkeypatch.setattr(files, "EXTRAS", {"numpy": "NumPy", "no_such_module": "Painter"})
    out = () if command == "evaluate" else ("--out", str(tmp_path / "out"))
    assert run(place, monkeypatch, command, "nowhere", *out) == 2
    said = capsys.readouterr().err
    assert said == (f"csam {command}: Painter must be installed first. Run: pip install Painter\n")


def test_an_image_that_is_cut_short_is_not_segmented(place, monkeypatch, capsys):
    whole = place / "image.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(place / "image.nrrd")), str(whole))
    whole.write_bytes(whole.read_bytes()[:-200])
    assert run(place, monkeypatch, "segment", "image.nii.gz", "--model", "model", "--out", "out") == 2
    assert "image.nii.gz is incomplete or damaged" in capsys.readouterr().err
    sitk.WriteImage(sitk.ReadImage(str(place / "image.nrrd")), str(place / "pair.hdr"))
    assert run(place, monkeypatch, "segment", "pair.hdr", "--model", "model", "--samples", "2", "--out", "pair") == 0
    voxels = (place / "pair.img").read_bytes()
    (place / "pair.img").write_bytes(voxels[:-200])
    for name in ("pair.hdr", "pair.img"):
        assert run(place, monkeypatch, "segment", name, "--model", "model", "--out", "out") == 2
        assert (
            f"should have {len(voxels)} bytes according to its header but has {len(voxels) - 200}"
            in capsys.readouterr().err
        )


SEGMENT = ("segment", "image.nrrd", "--model", "model", "--out", "out")
BAD = {
    "no such image": ("segment", "nowhere.nrrd", "--model", "model", "--out", "out"),
    "no image": ("segment", "odd.txt", "--model", "model", "--out", "out"),
    "no such frame": ("segment", "series.nii.gz", "--frame", "2", "--model", "model", "--out", "out"),
    "frame of a volume": (*SEGMENT, "--frame", "0"),
    "two images": ("segment", "image.nrrd", "image.nrrd", "--model", "model", "--out", "out"),
    "no such model": ("segment", "image.nrrd", "--model", "nowhere", "--out", "out"),
    "no model": ("segment", "image.nrrd", "--model", "odd.txt", "--out", "out"),
    "too few samples": (*SEGMENT, "--samples", "0"),
    "negative seed": (*SEGMENT, "--seed", "-4"),
    "no such device": (*SEGMENT, "--device", "cuda:99"),
    "out is a file": ("segment", "image.nrrd", "--model", "model", "--samples", "2", "--out", "odd.txt"),
    "train: no data set": ("train", "nowhere", "--out", "out"),
    "train: plan is no JSON": ("train", "data", "--out", "out", "--plan", "odd.json"),
    "train: plan is nested": ("train", "data", "--out", "out", "--plan", '{"a": ' + "[" * 100_000),
    "train: plan is a list": ("train", "data", "--out", "out", "--plan", "list.json"),
    "train: no plan": ("train", "data", "--out", "out", "--plan", "nowhere.json"),
    "train: card is no JSON": ("train", "data", "--out", "out", "--card", "odd.json"),
    "train: slice axis": ("train", "data", "--out", "out", "--slice-axis", "sideways"),
    "train: too many patients": ("train", "data", "--out", "out", "--validation-patients", "3"),
    "train: no such device": ("train", "data", "--out", "out", "--validation-patients", "1", "--device", "tpu"),
    "evaluate: no data set": ("evaluate", "nowhere", "--model", "model"),
    "evaluate: no such patient": ("evaluate", "data", "--model", "model", "--patients", "nobody"),
    "evaluate: never validated": ("evaluate", "data", "--model", "model", "--patients", "validation"),
    "evaluate: pattern": ("evaluate", "data", "--model", "model", "--patient-pattern", "("),
    "convert: no such file": ("convert", "nowhere.pt", "--out", "out"),
    "convert: no weights": ("convert", "odd.txt", "--out", "out"),
    "convert: an image": ("convert", "image.nrrd", "--out", "out"),
    "convert: card is no JSON": ("convert", "weights.pt", "--card", "odd.json", "--out", "out"),
    "models: no such model": ("models", "nowhere"),
    "phantom: none": ("phantom", "out", "--count", "0"),
    "phantom: seed": ("phantom", "out", "--count", "1", "--seed", "-1"),
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_bad_input_ends_with_code_2_and_one_line(place, monkeypatch, capsys, tmp_path, arguments):
    arguments = [str(tmp_path / "out") if a == "out" else a for a in arguments]
    assert run(place, monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"csam {arguments[0]}: ")
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err


def test_the_faults_of_a_data_set_come_one_a_line(place, monkeypatch, capsys, tmp_path):
    data = small.dataset(tmp_path / "data", patients=2)
    for path in (data / "imagesTr").iterdir():
        path.unlink()
    assert run(place, monkeypatch, "evaluate", str(data), "--model", "model") == 2
    assert capsys.readouterr().err.count("is missing") == 2


@pytest.mark.parametrize(
    "arguments",
    [(), ("dance",), ("segment",), (*SEGMENT, "--samples", "many"), (*SEGMENT, "--slice-axis", "x"), ("train", "data")],
    ids=" ".join,
)
def test_wrong_usage_ends_with_code_2(place, monkeypatch, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run(place, monkeypatch, *arguments)
    assert caught.value.code == 2
    assert "usage: csam" in capsys.readouterr().err


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_says_what_a_command_does(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "usage: csam" in said
    if command is None:
        assert all(name in said for name in COMMANDS)


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == csam.__version__


def test_the_package_runs_as_a_program_without_importing_torch_for_its_help():
    program = f"import sys; sys.modules['torch'] = None; sys.path.insert(0, {str(Path(csam.__file__).parents[1])!r})\n"
    program += "import runpy; sys.argv = ['csam', '--help']; runpy.run_module('csam', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: csam" in done.stdout


def test_an_interrupt_ends_with_code_130(place, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(segmenting, "read_image", interrupted)
    assert run(place, monkeypatch, *SEGMENT) == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_the_help_names_every_field_of_the_plan(capsys):
    from dataclasses import fields

    from csam.training.plan import Plan

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = capsys.readouterr().out
    assert all(f"--{field.name.replace('_', '-')}" in said for field in fields(Plan))


def test_a_data_set_with_other_names_than_the_training_scans_can_be_evaluated(tmp_path, capsys):
    assert main(["phantom", str(tmp_path / "phantoms"), "--count", "1"]) == 0
    model = Model.load(shipped.SHIPPED / "cardiac-lv")
    assert model.provenance["plan"]["patient_pattern"] != "(.*)"
    assert main(["evaluate", str(tmp_path / "phantoms"), "--samples", "2"]) == 0
    assert "has not seen these patients" in capsys.readouterr().out


def test_help_explains_every_field_of_the_plan(capsys):
    assert WORDS.keys() == {field.name for field in fields(Plan)}
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{WORDS['patience']} (automatic)" in said, "what is automatic is not always taken from the data set"
    assert all(words in said for words in WORDS.values())


def test_a_dry_run_tells_the_plan_with_its_reasons_and_writes_nothing(place, monkeypatch, tmp_path, capsys):
    out = tmp_path / "out"
    options = ("--dry-run", "--steps", "9", "--fine-tune", "cardiac-lv", "--num-slices", "7")
    assert run(place, monkeypatch, "train", "data", "--out", str(out), *options) == 0
    said = capsys.readouterr().out
    for line in (
        "steps = 9: as asked for",
        "num_slices = 7: as asked for",
        "in_plane_spacing = 1.5: as in cardiac-lv, from which the training starts",
    ):
        assert line in said
    assert not out.exists()


def test_faults_of_a_data_set_end_with_code_2_and_a_line_for_each(monkeypatch, tmp_path, capsys):
    folder, out = small.dataset(tmp_path / "data"), tmp_path / "out"
    (folder / "labelsTr" / "p00_0.nii.gz").unlink()
    (folder / "imagesTr" / "p01_0_0000.nii.gz").unlink()
    split = tmp_path / "split.json"
    split.write_text('{"training": ["p02_0", "p03_0"], "validation": ["p03_0"]}')
    assert main(["train", str(folder), "--out", str(out), "--split", str(split)]) == 2
    said = capsys.readouterr().err
    for fault in ("p00_0: there is an image but no", "p01_0_0000.nii.gz is missing", "p03_0 is in both subsets"):
        assert fault in said
    assert not out.exists()
    monkeypatch.setenv("RANK", "1")
    assert main(["train", str(folder), "--out", str(out)]) == 2
    assert capsys.readouterr().err == ""


def segments(place, monkeypatch, image, out, *more) -> int:
    quick = ("--samples", "2", "--device", "cpu", "--out", str(out))
    return run(place, monkeypatch, "segment", str(image), "--model", "model", *quick, *more)


def test_a_result_is_not_written_over_that_of_another_image(place, monkeypatch, capsys, tmp_path):
    other = tmp_path / "other.nrrd"
    sitk.WriteImage(small.image(seed=1), str(other))
    assert segments(place, monkeypatch, "image.nrrd", tmp_path / "out", "--probabilities") == 0
    report = (tmp_path / "out" / "report.json").read_text()
    assert json.loads(report)["images"] == [str((place / "image.nrrd").resolve())]
    assert segments(place, monkeypatch, other, tmp_path / "out") == 2
    assert "image.nrrd. Choose another --out." in capsys.readouterr().err
    assert (tmp_path / "out" / "report.json").read_text() == report
    assert segments(place, monkeypatch, "image.nrrd", tmp_path / "out") == 0  # the same one may be run again
    assert not (tmp_path / "out" / "probabilities.nrrd").exists()


def test_a_result_is_not_written_over_that_of_another_frame(place, monkeypatch, capsys, tmp_path):
    assert segments(place, monkeypatch, "series.nii.gz", tmp_path / "out", "--frame", "0") == 0
    assert segments(place, monkeypatch, "series.nii.gz", tmp_path / "out", "--frame", "1") == 2
    assert "series.nii.gz, frame 0. Choose another --out." in capsys.readouterr().err
    (tmp_path / "out" / "report.json").write_text('{"images": null}')  # odd, or of an older version
    assert segments(place, monkeypatch, "series.nii.gz", tmp_path / "out", "--frame", "1") == 0


def test_a_folder_is_no_place_for_the_figures(place, monkeypatch, capsys, tmp_path):
    assert run(place, monkeypatch, "evaluate", "data", "--model", "model", "--json", str(tmp_path)) == 2
    assert "is a folder; a file name was expected." in capsys.readouterr().err


def test_an_image_is_not_written_over_by_its_own_result(place, monkeypatch, capsys, tmp_path):
    image = tmp_path / "entropy.nrrd"
    sitk.WriteImage(small.image(), str(image))
    before = image.read_bytes()
    assert segments(place, monkeypatch, image, tmp_path) == 2
    assert "would overwrite the image itself" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_labels_of_somebody_else_are_not_written_over(place, monkeypatch, capsys, tmp_path):
    (tmp_path / "labels.nrrd").write_text("drawn by hand")
    assert segments(place, monkeypatch, "image.nrrd", tmp_path) == 2
    assert "holds a labels.nrrd that is no result of CSAMSegment's" in capsys.readouterr().err
    assert (tmp_path / "labels.nrrd").read_text() == "drawn by hand"
    (tmp_path / "error_probability.nrrd").touch()  # as of a run that was killed
    assert segments(place, monkeypatch, "image.nrrd", tmp_path) == 0


def test_a_folder_that_cannot_be_made_is_told_in_words(place, monkeypatch, capsys, tmp_path):
    def refuse(path, *arguments, **more):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    out = tmp_path / "out"
    assert segments(place, monkeypatch, "image.nrrd", out) == 2
    said = f"csam segment: {out} cannot be used: Permission denied. Check the path, or choose another.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("left", [(), ("mutual_information",), ("mutual_information", "entropy", "error_probability")])
def test_a_full_disk_leaves_no_half_file_and_no_place_that_is_refused(place, monkeypatch, capsys, tmp_path, left):
    write = sitk.WriteImage

    def full(image, path, **more):
        if Path(path).name not in [f"{name}.nrrd" for name in left]:
            Path(path).write_bytes(b"half")
            raise RuntimeError("No space left on device")
        write(image, path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(sitk, "WriteImage", full)
        patch.setattr("csam.image.files.check_writable", lambda folder: None)
        assert segments(place, monkeypatch, "image.nrrd", tmp_path / "out") == 2
    assert "could not be written. If the disk is full" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"{name}.nrrd" for name in left}
    assert segments(place, monkeypatch, "image.nrrd", tmp_path / "out") == 0


@pytest.mark.parametrize("option", ["--json", "--png"])
def test_a_place_that_is_not_there_is_told_before_the_work(place, monkeypatch, capsys, tmp_path, option):
    monkeypatch.setattr("csam.training.evaluate.segment", None)
    more = ("--model", "model", option, str(tmp_path / "none" / "figures"))
    assert run(place, monkeypatch, "evaluate", "data", *more) == 2
    assert "Make it first." in capsys.readouterr().err


def test_a_folder_beside_an_image_is_no_channel_of_it(place, monkeypatch, capsys, tmp_path):
    assert run(place, monkeypatch, "segment", "image.nrrd", "data", "--model", "model", "--out", str(tmp_path)) == 2
    assert "data is a folder; an image file was expected." in capsys.readouterr().err


def test_slices_are_counted_from_1_as_in_slicer(place, monkeypatch, capsys, tmp_path):
    assert segments(place, monkeypatch, "image.nrrd", tmp_path / "out") == 0
    first = min(json.loads((tmp_path / "out" / "report.json").read_text())["slices"], key=lambda score: score["rank"])
    assert f"(counted from 1; with the expected wrong area): {first['index'] + 1} (" in capsys.readouterr().out


def test_phantoms_are_not_put_among_other_cases(place, monkeypatch, capsys, tmp_path):
    folder = small.dataset(tmp_path / "mine", patients=1)
    before = (folder / "dataset.json").read_text()
    assert run(place, monkeypatch, "phantom", str(folder), "--count", "1") == 2
    assert "holds another data set (Balls). Choose another folder." in capsys.readouterr().err
    assert (folder / "dataset.json").read_text() == before
    assert len(list((folder / "imagesTr").iterdir())) == 1
    for _again in range(2):
        assert run(place, monkeypatch, "phantom", str(tmp_path / "made"), "--count", "1") == 0


def test_of_several_processes_the_first_alone_tells_a_dry_run_and_each_has_a_stack_of_a_step(
    place, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(place)
    command = ["train", "data", "--out", str(tmp_path / "out"), "--plan", '{"steps": 7}', "--dry-run"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "steps = 7" in said
    assert "batch = 2" in said
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plan.json").write_text('{"batch": 6}')  # begun with other processes
    main(command)
    assert "batch = 6" in capsys.readouterr().out
    monkeypatch.setenv("WORLD_SIZE", "1")
    main(command)
    assert "batch = 6" in capsys.readouterr().out
    monkeypatch.setenv("RANK", "1")
    assert main(command) == 0
    assert capsys.readouterr().out == ""


def test_a_model_is_sent_with_events_alone_and_json_on_the_command_line_has_to_be_whole(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["train", "data", "--out", "out", "--send-model"]) == 2
    assert "goes with --progress json" in capsys.readouterr().err
    assert main(["train", "data", "--out", "out", "--plan", '{"steps": ']) == 2
    assert "cannot be read as JSON" in capsys.readouterr().err


def test_a_dry_run_finds_what_would_stop_the_training_and_names_both_sides(place, monkeypatch, capsys, tmp_path):
    dry = ("train", "data", "--out", str(tmp_path / "out"), "--dry-run")
    assert run(place, monkeypatch, *dry) == 0
    said = capsys.readouterr().out
    sides = {name for line in said.splitlines() if "patients: " in line for name in line.split(": ")[1].split(", ")}
    assert sides == {"p00_0", "p01_0", "p02_0"} or sides == {"p00", "p01", "p02"}
    assert run(place, monkeypatch, *dry, "--fine-tune", "model", "--base-channels", "2") == 2
    assert "base_channels" in capsys.readouterr().err
    assert run(place, monkeypatch, *dry, "--fine-tune", "model", "--digest", "0" * 64) == 2
    assert "is not the one that was chosen" in capsys.readouterr().err
    card = tmp_path / "card.json"
    card.write_text('{"license": "MIT"}')
    assert run(place, monkeypatch, *dry, "--card", str(card)) == 2
    assert "field 'license' is not known; there are name, version, title" in capsys.readouterr().err
    card.write_text('{"labels": [{"name": "bright ball", "colour": [1, 2, 3]}]}')
    assert run(place, monkeypatch, *dry, "--card", str(card)) == 2
    assert "label's field 'colour' is not known" in capsys.readouterr().err


def test_a_fold_needs_the_file_of_its_split(place, monkeypatch, capsys, tmp_path):
    assert run(place, monkeypatch, "train", "data", "--out", str(tmp_path / "out"), "--fold", "3", "--dry-run") == 2
    assert "Fold 3 of which split?" in capsys.readouterr().err
