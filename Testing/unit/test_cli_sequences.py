"""csam segment on a series: every frame, the tables and the page."""

import csv
import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.cli import main
from csam.cli.sequences import files_in
from csam.model import Calibration, Measure
from csam.phantom.beat import contraction_at
from csam.pipeline.segment import segment
from csam.result import Options
from csam.sequence.record import gathered

FRAMES = 7
MEASURES = (Measure("ventricular function", {"cavity": 1}), Measure("volume density", {"structure": 1}, "PSA", "ng/ml"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, a beat as one file and as a folder of frames; the network is an oracle."""
    monkeypatch.chdir(tmp_path)
    net = small.lively(small.network(num_classes=2))
    calibration = Calibration(figure_scale={"EF": 0.5, "SV": 0.3})
    small.model(net, measures=MEASURES, calibration=calibration).save(tmp_path / "model")
    images = [beat_at(n) for n in range(FRAMES)]
    sitk.WriteImage(sitk.JoinSeries(images), "beat.nii.gz")
    (tmp_path / "frames").mkdir()
    for n, image in enumerate(images):
        sitk.WriteImage(image, f"frames/frame {n + 8}.nrrd")  # 8, 9, 10 ...
    monkeypatch.setattr("csam.pipeline.segment.segment", oracle)
    return tmp_path


def beat_at(n: int) -> sitk.Image:
    """A bright column whose area is that of a ventricle with an ejection fraction of 60 %."""
    _k, j, i = np.indices((6, 40, 40))
    area = 700 * (1 - 0.6 * contraction_at(n / FRAMES))
    return small.placed((1000 * (np.hypot(i - 20, j - 20) < np.sqrt(area / np.pi))).astype(np.int16))


@functools.cache
def network_result():
    return segment([beat_at(0)], small.model(small.lively(small.network(num_classes=2))), Options(1, device="cpu"))


def oracle(images, model, options, progress=None):
    """A result whose labels are what is bright, in place of the network's."""
    made = network_result()
    labels = sitk.Cast(images[0] > 500, sitk.sitkUInt8)
    ml = float(sitk.GetArrayViewFromImage(labels).sum() * np.prod(labels.GetSpacing()) / 1000)
    volumes = tuple(replace(s, volume_ml=ml, low_ml=0.9 * ml, high_ml=1.1 * ml) for s in made.structures)
    return replace(made, labels=labels, structures=volumes)


def segments(*more) -> int:
    return main(["segment", *more, "--model", "model", "--samples", "1", "--device", "cpu", "--out", "out"])


def figures(path) -> dict[str, float]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["figure"]: float(row["value"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("source", [("beat.nii.gz",), ("frames", "--series")])
def test_a_series_gives_frames_tables_and_a_page(place, capsys, source):
    assert segments(*source, "--given", "height=180", "--given", "weight=80") == 0
    out = place / "out"
    found = figures(out / "figures.csv")
    truth = [sitk.GetArrayFromImage(beat_at(n)).sum() for n in range(FRAMES)]
    assert found["EF"] == pytest.approx(100 * (1 - min(truth) / max(truth)), abs=0.1)
    assert found["EDV/BSA"] == pytest.approx(found["EDV"] / 2, rel=1e-3)
    report = json.loads((out / "report.json").read_text())
    assert report["measures"][0]["marks"] == {"ED": 0, "ES": int(np.argmin(truth))}
    assert [frame["index"] for frame in report["frames"]] == [*range(FRAMES)]
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "labels.nrrd")))
    for n in range(FRAMES):
        np.testing.assert_array_equal(labels[n], sitk.GetArrayFromImage(beat_at(n)) > 0)
        assert json.loads((out / f"frame-{n + 1:03d}" / "report.json").read_text())["frame"] == n
    assert "Ejection fraction" in (out / "report.html").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "Ejection fraction (EF): " in said
    assert "ED is frame 1, ES is frame " in said
    assert said.index("\nFrame 3 ") < said.index("\nFrame 2 ")  # end systole comes early


def test_the_same_series_may_be_run_again_and_another_not(place, capsys):
    assert segments("beat.nii.gz") == 0
    assert segments("beat.nii.gz") == 0
    assert segments("frames", "--series") == 2
    assert "holds the result of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("beat.nii.gz", "--png", "page.png"), "a series gets report.html"),
        (("beat.nii.gz", "--given", "length=3"), "model small uses height, weight, PSA"),
        (("beat.nii.gz", "--given", "height"), "height=VALUE was expected"),
        (("beat.nii.gz", "--given", "height=1.8", "--given", "weight=80"), "give centimetres"),
        (("beat.nii.gz", "--given", "PSA=-6"), "a number above 0 was expected"),
        (("frames", "beat.nii.gz", "--series"), "takes folders with a file for each frame"),
        (("frames", "beat.nii.gz"), "frames is a folder; an image file was expected"),
        (("frames", "--given", "height=180"), "--given works for one image or series only"),
        (("empty", "--series"), "holds no image"),
        (("dicom", "--series"), "3D Slicer loads DICOM in time as a sequence"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(place, capsys, line, said):
    for name in ("empty", "dicom"):
        (place / name).mkdir()
    (place / "dicom" / "IM1").write_bytes(bytes(128) + b"DICM")
    assert segments(*line) == 2
    assert said.replace("model small", "small") in capsys.readouterr().err


def test_a_single_image_gets_the_measures_that_take_one(place, capsys):
    assert segments("frames/frame 8.nrrd", "--given", "PSA=6") == 0
    assert "PSA density" in capsys.readouterr().out
    [one] = json.loads((place / "out" / "report.json").read_text())["measures"]
    assert one["kind"] == "volume density"


def test_a_frame_on_another_grid_is_said_before_any_is_segmented(place, capsys):
    image = sitk.ReadImage("frames/frame 14.nrrd")
    sitk.WriteImage(image[:-1], "frames/frame 14.nrrd")
    assert segments("frames", "--series") == 2
    assert "Frame 7 (frame 14.nrrd) is not on the grid of frame 1" in capsys.readouterr().err
    sitk.WriteImage(sitk.JoinSeries([image] * 2), "frames/frame 14.nrrd")
    assert segments("frames", "--series") == 2
    assert "Frame 7 (frame 14.nrrd) is a series of 2 volumes. Give a file for each" in capsys.readouterr().err
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32) * float("nan"), "frames/frame 14.nrrd")
    assert segments("frames", "--series") == 2
    assert "Frame 7 (frame 14.nrrd) holds no finite value" in capsys.readouterr().err
    (place / "frames" / "frame 14.nrrd").write_bytes(b"no image")
    assert segments("frames", "--series") == 2
    assert not [*(place / "out").glob("frame-*")]


def test_no_result_goes_among_the_frames(place, capsys):
    before = sorted((place / "frames").iterdir())
    assert main(["segment", "frames", "--series", "--model", "model", "--out", "frames"]) == 2
    assert "frames holds the frames themselves" in capsys.readouterr().err
    assert sorted((place / "frames").iterdir()) == before


def test_each_frame_is_named_by_its_file(place, capsys):
    assert segments("frames", "--series") == 0
    assert "Frame 3 (frame 10.nrrd) of 7: " in capsys.readouterr().out


def test_files_are_in_the_order_of_their_numbers(place):
    assert [path.stem for path in files_in("frames")][:3] == ["frame 8", "frame 9", "frame 10"]


def test_warnings_of_frames_that_differ_in_numbers_alone_are_said_once():
    said = gathered({0: ["Dice 0.7 is low."], 1: [], 2: ["Dice 0.6 is low.", "Look."]})
    assert said == ["Frame 1: Dice 0.7 is low. The same in 1 more frame.", "Frame 3: Look."]


def test_a_shorter_series_leaves_no_frame_of_the_longer_one_and_no_folder_that_is_none_of_ours(place):
    assert segments("frames", "--series") == 0
    (place / "out" / "frame-999").mkdir()
    last = sorted((place / "frames").iterdir(), key=lambda path: int(path.stem.split()[-1]))[-1]
    last.unlink()
    assert segments("frames", "--series") == 0
    left = {path.name for path in (place / "out").glob("frame-*")}
    assert left == {*(f"frame-{n + 1:03d}" for n in range(FRAMES - 1)), "frame-999"}
