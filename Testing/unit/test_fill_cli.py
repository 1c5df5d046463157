"""csam fill and csam train-fill: files where they were asked for, and for bad input exit code 2 and one line."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small
from unit.small_fill import drawn, image_of, model, rod

from csam.cli import main
from csam.interactive import tuning
from csam.interactive.fill_model import FillModel

LABELS = rod()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fill")
    model().save(folder / "model")
    sitk.WriteImage(image_of(LABELS), str(folder / "image.nrrd"))
    sitk.WriteImage(drawn(LABELS, [1, 5]), str(folder / "drawn.nrrd"))
    sevens = sitk.GetArrayFromImage(drawn(LABELS, [1, 5]))
    sitk.WriteImage(small.placed(np.where(sevens == 255, 7, sevens)), str(folder / "sevens.nrrd"))
    sitk.WriteImage(drawn(LABELS[1:], [1, 5]), str(folder / "short.nrrd"))
    sitk.WriteImage(small.placed(rod(radius=7)), str(folder / "found.nrrd"))
    small.dataset(folder / "data", patients=3, size=(48, 48, 8))
    (folder / "plan.json").write_text(json.dumps({"batch": 1, "num_slices": 4, "num_levels": 2, "base_channels": 4}))
    (folder / "odd.json").write_text(json.dumps({"steps": "many"}))
    (folder / "folds.json").write_text(json.dumps([{"train": ["p00_0"], "val": ["p02_0"]}]))
    return folder


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(tuning, "STEPS", 2)


def run(*arguments):
    return main([str(one) for one in arguments])


def voxels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_fill_writes_what_segment_writes(tmp_path, capsys):
    out = tmp_path / "out"
    line = ("fill", "image.nrrd", "--drawn", "drawn.nrrd", "--structure", "1=rod", "--model", "model")
    assert run(*line, "--out", out, "--png", tmp_path / "page.png") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "entropy.nrrd",
        "error_probability.nrrd",
        "labels.nrrd",
        "mutual_information.nrrd",
        "report.json",
    ]
    found = voxels(out / "labels.nrrd")
    assert (found[[1, 5]] == LABELS[[1, 5]]).all()
    assert found[3].any()
    assert not found[[0, 6]].any()
    report = json.loads((out / "report.json").read_text())
    assert report["provenance"]["drawn"] == [1, 5]
    assert report["provenance"]["model"]["name"] == "small-fill"
    assert [s["name"] for s in report["structures"]] == ["rod"]
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "rod:" in said
    assert "Slices to draw or correct next" in said


def test_fill_without_names_or_model_takes_every_value_and_interpolates(tmp_path):
    line = ("fill", "image.nrrd", "--drawn", "sevens.nrrd", "--unknown", "7", "--model", "none", "--beyond")
    assert run(*line, "--out", tmp_path) == 0
    assert all(slice_.any() for slice_ in voxels(tmp_path / "labels.nrrd"))
    report = json.loads((tmp_path / "report.json").read_text())
    assert [s["name"] for s in report["structures"]] == ["structure 1"]
    assert report["provenance"]["model"] is None


def test_fill_updates_an_earlier_result(tmp_path):
    line = ("fill", "image.nrrd", "--drawn", "drawn.nrrd", "--found", "found.nrrd", "--model", "model", "--no-tuning")
    assert run(*line, "--out", tmp_path) == 0
    found = voxels(tmp_path / "labels.nrrd")
    assert (found[[1, 5]] == LABELS[[1, 5]]).all()
    assert found[0].any()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("image.nrrd", "--drawn", "nothing.nrrd"), "nothing.nrrd"),
        (("nothing.nrrd", "--drawn", "drawn.nrrd"), "nothing.nrrd"),
        (("image.nrrd", "--drawn", "short.nrrd"), "does not lie on the image's grid"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--structure", "rod"), "VALUE=NAME"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--structure", "255=rod"), "from 1 to 254"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--structure", "2=rod"), "the value 1, which no structure has"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--unknown", "9"), "--unknown is 9"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--found", "short.nrrd"), "another grid"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--seed", "-1"), "The seed is -1"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--model", "nowhere"), "nowhere"),
        (("image.nrrd", "--drawn", "drawn.nrrd", "--out", "."), "would overwrite"),
    ],
)
def test_fill_refuses_bad_input_in_one_line(place, tmp_path, capsys, line, said):
    if "--out" in line:
        sitk.WriteImage(drawn(LABELS, [1, 5]), str(place / "labels.nrrd"))
        line = (line[0], "--drawn", "labels.nrrd", *line[3:])
    more = [] if "--model" in line else ["--model", "none"]
    more += [] if "--out" in line else ["--out", tmp_path / "out"]
    assert run("fill", *line, *more) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out" / "labels.nrrd").exists()


def test_a_network_is_trained_saved_and_told_of(tmp_path, capsys):
    out = tmp_path / "out"
    line = ("train-fill", "--data", "data", "--phantoms", "1", "--plan", "plan.json", "--steps", "2")
    more = ("--split", "folds.json", "--unseen-fold", "0", "--without", "p01_0", "--without-label", "grey ball")
    assert run(*line, *more, "--out", out) == 0
    assert "2 cases, 2 steps" in capsys.readouterr().out
    trained = FillModel.load(out / "model")
    told = trained.provenance
    assert [entry["patients"] for entry in told["data"]] == [["p00_0"], ["phantom_01000"]]
    assert told["left_out"] == {"patients": ["p01_0", "p02_0"], "labels": ["grey ball"]}
    assert told["plan"]["steps"] == 2
    assert "CC0" in trained.licence
    size = (out / "model" / "weights.pt").stat().st_size
    assert size < 1.2 * 2 * sum(p.numel() for p in trained.network().parameters()) + 60_000
    fill = ("fill", "image.nrrd", "--drawn", "drawn.nrrd", "--model", str(out / "model"))
    assert run(*fill, "--out", tmp_path / "filled") == 0
    assert run(*line, *more, "--out", out) == 0  # it is done already
    assert FillModel.load(out / "model").sha256 == trained.sha256


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("--data", "nowhere"), "nowhere"),
        (("--data", "data", "--without", "p77_0"), "p77_0"),
        (("--data", "data", "--without-label", "spleen"), "spleen"),
        (("--data", "data", "--split", "folds.json"), "--unseen-fold"),
        (("--data", "data", "--split", "folds.json", "--unseen-fold", "3"), "folds.json"),
        (("--plan", "odd.json"), "steps is 'many'"),
        (("--steps", "0"), "steps is 0"),
    ],
)
def test_train_fill_refuses_bad_input_before_it_trains(tmp_path, capsys, line, said):
    assert run("train-fill", *line, "--out", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert said in err
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
