"""csam add: a folder of images with labels becomes cases; nothing is lost or doubled, and every fault has a name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.cli import main
from csam.errors import InputError
from csam.training.add_case import collection
from csam.training.dataset import read_dataset
from csam.training.import_cases import ADDED, FAULT, THERE, NamesNeeded, import_folder
from csam.training.pairs import case_name_of, find_pairs

ENGINE = Path(__file__).parents[2] / "CSAMSegment"
NAMES = {1: "ball", 2: "rim"}


def labels(image: sitk.Image, one: int = 1, two: int = 2) -> sitk.Image:
    values = np.zeros(image.GetSize()[::-1], np.uint8)
    values[1:5, 4:9, 4:9], values[2:4, 10:12, 4:9] = one, two
    truth = sitk.GetImageFromArray(values)
    truth.CopyInformation(image)
    return truth


def write(image: sitk.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def pair(folder: Path, image: str, truth: str, seed: int = 0) -> None:
    write(small.image(seed=seed), folder / image)
    write(labels(small.image()), folder / truth)


def slicers(truth: sitk.Image, names) -> sitk.Image:
    """As Slicer writes a segmentation: cut to what it holds, with the names of its segments."""
    filter = sitk.LabelShapeStatisticsImageFilter()
    filter.Execute(sitk.Cast(truth > 0, sitk.sitkUInt8))
    i, j, k, *size = filter.GetBoundingBox(1)
    cut = truth[i : i + size[0], j : j + size[1], k : k + size[2]]
    for number, (value, name) in enumerate(names.items()):
        cut.SetMetaData(f"Segment{number}_Name", name)
        cut.SetMetaData(f"Segment{number}_LabelValue", str(value))
    return cut


def touched(folder, names: str) -> list:
    """Empty files, their names with spaces between; ~ stands for a space in a name."""
    paths = [folder / name.replace("~", " ") for name in names.split()]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


PAIRS = {
    "p1.nii.gz p1_seg.nii.gz": "p1",
    "p1.nrrd p1-label.nrrd": "p1",
    "p1.nrrd p1.seg.nrrd": "p1",
    "p1.nrrd p1-segmentation.seg.nrrd": "p1",
    "p1.nrrd p1_gt.nii": "p1",
    "p1_0000.nii.gz p1_mask.nii.gz": "p1",
    "p1/image.nii.gz p1/label.nii.gz": "p1",
    "p1/scan.nrrd p1/Segmentation.seg.nrrd": "p1",
    "images/p1.nii.gz labels/p1.nii.gz": "p1",
    "imagesTr/p1_0000.nii.gz labelsTr/p1.nii.gz": "p1",
    "images/a/p1.mha masks/a/p1.nii": "a_p1",
    "images/p1.nii.gz segmentations/p1_seg.nii.gz": "p1",
    "b/p~1.nii.gz b/p~1~seg.nii.gz": "b_p_1",
    "p1_2019.nii.gz p1_2019_seg.nii.gz": "p1_2019",
    "images/p_label.nii.gz labels/p_label.nii.gz": "p_label",
}


@pytest.mark.parametrize(("names", "case"), PAIRS.items())
def test_image_and_labels_are_known_by_name_and_place(tmp_path, names, case):
    image, truth = touched(tmp_path, names)
    found = find_pairs(tmp_path)
    assert found.faults == ()
    [one] = found.pairs
    assert one.name == case
    assert (one.images, one.labels) == ((image,), truth)


UNPAIRED = {
    "p1.nii.gz": "p1: p1.nii.gz has no labels: p1_seg beside it, or a file of its name in a folder labels,",
    "p1_seg.nii.gz": "p1: p1_seg.nii.gz has no image of the same name",
    "p1.nii.gz p1_seg.nii.gz p1.seg.nrrd": "p1: It has several files of labels: p1.seg.nrrd, p1_seg.nii.gz",
    "p1_0000.nii p1_0001.nii p1_seg.nii": "p1: It has 2 channels (p1_0000.nii, p1_0001.nii); the data set has 1",
    "a/b.nii a/b_seg.nii a_b.nii a_b_seg.nii": "a_b: Several cases would have this name: a/b.nii, a_b.nii",
    "imagesTs/p1.nii labelsTr/p1.nii": "Ts_p1: imagesTs/p1.nii has no labels",
}


@pytest.mark.parametrize(("names", "said"), UNPAIRED.items())
def test_what_does_not_pair_is_named(tmp_path, names, said):
    touched(tmp_path, names)
    found = find_pairs(tmp_path)
    assert found.pairs == ()
    assert any(f"{name}: {fault}".startswith(said) for name, fault in found.faults), found.faults


def test_a_folder_without_images_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no image in"):
        find_pairs(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        find_pairs(tmp_path / "none")
    assert case_name_of(("á b", "?", "c.")) == "á_b_c"


def states(cases) -> dict[str, str]:
    return {case.name: case.state for case in cases}


def test_a_folder_becomes_cases_and_a_faulty_pair_stops_nothing(tmp_path):
    for number in range(3):
        pair(tmp_path / "in", f"p{number}.nii.gz", f"p{number}_seg.nii.gz", number)
    whole = (tmp_path / "in" / "p0.nii.gz").read_bytes()
    (tmp_path / "in" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    write(labels(small.image()), tmp_path / "in" / "cut_seg.nii.gz")
    write(small.image(seed=8), tmp_path / "in" / "alone.nii.gz")
    write(small.image((9, 9, 4), seed=9), tmp_path / "in" / "off.nii.gz")
    write(labels(small.image()), tmp_path / "in" / "off_seg.nii.gz")
    write(small.image(seed=7), tmp_path / "in" / "odd.nii.gz")
    write(labels(small.image(), two=7), tmp_path / "in" / "odd_seg.nii.gz")
    write(sitk.Cast(small.image(), sitk.sitkFloat32) / 7, tmp_path / "in" / "real_seg.nii.gz")
    write(small.image(seed=6), tmp_path / "in" / "real.nii.gz")
    write(sitk.JoinSeries([small.image(seed=5)] * 2), tmp_path / "in" / "cine.nii.gz")
    write(sitk.JoinSeries([labels(small.image())] * 2), tmp_path / "in" / "cine_seg.nii.gz")
    done = [*import_folder(tmp_path / "in", tmp_path / "out", NAMES)]
    assert states(done) == {
        "alone": FAULT, "cine": FAULT, "cut": FAULT, "off": FAULT, "odd": FAULT, "real": FAULT, "p0": ADDED,
        "p1": ADDED, "p2": ADDED,
    }  # fmt: skip
    said = {case.name: case.fault for case in done}
    assert "incomplete or damaged" in said["cut"]
    assert "do not have the same size" in said["off"]
    assert "hold the values 7, which have no name" in said["odd"]
    assert "no whole numbers" in said["real"]
    assert "segments overlap, or they are a series in time" in said["cine"]
    data = read_dataset(tmp_path / "out")
    assert (data.labels, data.patients) == (("ball", "rim"), ["p0", "p1", "p2"])
    image, truth = data.cases[2].read()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image[0]), sitk.GetArrayFromImage(small.image(seed=2)))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(truth), sitk.GetArrayFromImage(labels(small.image())))


def test_nothing_is_doubled_whatever_it_is_called_and_nothing_is_written_over(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(3):
        pair(source, f"p{number}.nii.gz", f"p{number}_seg.nii.gz", number)
    coming = import_folder(source, out, NAMES)
    next(coming)
    coming.close()  # it ends in the middle
    info = json.loads((out / "dataset.json").read_text())
    del info["fingerprints"]  # as a data set by others has none
    (out / "dataset.json").write_text(json.dumps(info))
    (source / "p0.nii.gz").rename(source / "again.nii.gz")
    (source / "p0_seg.nii.gz").rename(source / "again_seg.nii.gz")
    assert states(import_folder(source, out)) == {"again": THERE, "p1": ADDED, "p2": ADDED}
    write(labels(small.image(), two=1), source / "p1_seg.nii.gz")
    write(small.image(seed=5), source / "p2.nii.gz")
    one, *others = import_folder(source, out)
    assert one.state == THERE
    assert [case.state for case in others] == [FAULT, FAULT]
    assert "has this image already, as p1, with other labels" in others[0].fault
    assert "has a case p2 already" in others[1].fault
    assert collection(out, ["image"], NAMES.values()).cases == ["p0", "p1", "p2"]


DIES = """
import os, sys
from pathlib import Path
from csam.image import files
from csam.training.import_cases import import_folder
move, left = os.replace, [int(sys.argv[3])]
def replace(source, target):
    move(source, target)
    left[0] -= 1
    if not left[0]:
        os._exit(9)
files.os.replace = replace
[*import_folder(Path(sys.argv[1]), Path(sys.argv[2]), {1: "ball", 2: "rim"})]
"""


@pytest.mark.parametrize("moment", range(1, 7))
def test_an_import_that_is_killed_at_any_moment_goes_on_and_loses_and_doubles_nothing(tmp_path, moment):
    """Three files of two cases get their names, one after the other; it dies after each of them."""
    for number in range(2):
        pair(tmp_path / "in", f"p{number}.nii", f"p{number}_seg.nii", number)
    words = [sys.executable, "-c", DIES, str(tmp_path / "in"), str(tmp_path / "out"), str(moment)]
    assert subprocess.run(words, env=os.environ | {"PYTHONPATH": str(ENGINE)}).returncode == 9
    assert FAULT not in states(import_folder(tmp_path / "in", tmp_path / "out", NAMES)).values()
    data = read_dataset(tmp_path / "out")
    assert data.patients == ["p0", "p1"]
    for number, case in enumerate(data.cases):
        image, truth = case.read()
        np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (image[0], small.image(seed=number))))
        np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (truth, labels(small.image()))))


def test_labels_of_slicer_bring_their_names_and_are_put_where_they_were_cut(tmp_path):
    image = small.image(direction=small.OBLIQUE)
    write(image, tmp_path / "in" / "p1.nrrd")
    write(slicers(labels(image, 3, 1), {3: "ball", 1: "rim"}), tmp_path / "in" / "p1.seg.nrrd")
    write(small.image(seed=4), tmp_path / "in" / "p2.nrrd")
    write(slicers(labels(small.image(), 1, 0), {1: "ball"}), tmp_path / "in" / "p2.seg.nrrd")
    assert states(import_folder(tmp_path / "in", tmp_path / "out")) == {"p1": ADDED, "p2": ADDED}
    data = read_dataset(tmp_path / "out")
    assert data.labels == ("rim", "ball")
    assert [case.unlabelled for case in data.cases] == [(), (1,)]  # nobody has looked for a rim in p2
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(data.cases[0].read()[1]), sitk.GetArrayFromImage(labels(image, 2, 1))
    )


def test_a_data_set_is_taken_by_the_names_of_its_labels_and_what_is_unknown_stays_so(tmp_path):
    theirs = collection(tmp_path / "theirs", ["T2"], ["rim", "ball"])
    truth = labels(small.image(), 2, 1)
    theirs.add("p1", [small.image()], truth, known_slices=[2])
    theirs.add("p2", [small.image(seed=2)], truth, unlabelled=["rim"])
    pair(tmp_path / "in", "p0.nii", "p0_seg.nii", 3)
    assert states(import_folder(tmp_path / "in", tmp_path / "out", NAMES)) == {"p0": ADDED}
    assert states(import_folder(tmp_path / "theirs", tmp_path / "out")) == {"p1": ADDED, "p2": ADDED}
    data = read_dataset(tmp_path / "out")
    assert data.labels == ("ball", "rim")
    assert data.cases[2].unlabelled == (2,)
    found = sitk.GetArrayFromImage(data.cases[1].read()[1])
    assert {*np.unique(np.delete(found, 2, 0))} == {255}
    np.testing.assert_array_equal(found[2], sitk.GetArrayFromImage(labels(small.image()))[2])
    assert states(import_folder(tmp_path / "theirs", tmp_path / "fresh")) == {"p1": ADDED, "p2": ADDED}
    assert read_dataset(tmp_path / "fresh").channels == ("T2",)


def test_values_without_a_name_are_asked_for_before_anything_is_written(tmp_path):
    pair(tmp_path / "in", "p0.nii", "p0_seg.nii")
    with pytest.raises(NamesNeeded) as asked:
        [*import_folder(tmp_path / "in", tmp_path / "out")]
    assert asked.value.values == (1, 2)
    assert not (tmp_path / "out").exists()
    only = {1: "ball", 2: "background"}
    assert states(import_folder(tmp_path / "in", tmp_path / "out", only)) == {"p0": ADDED}
    assert read_dataset(tmp_path / "out").labels == ("ball",)
    [fault] = import_folder(tmp_path / "in", tmp_path / "out", {1: "ball", 2: "tail"})
    assert "the data set has ball" in fault.fault


def test_several_channels_come_by_their_numbers(tmp_path):
    for number in range(2):
        write(small.image(seed=number), tmp_path / "in" / f"p1_000{number}.nii.gz")
    write(labels(small.image()), tmp_path / "in" / "p1_seg.nii.gz")
    assert states(import_folder(tmp_path / "in", tmp_path / "out", NAMES, ["T2", "ADC"])) == {"p1": ADDED}
    data = read_dataset(tmp_path / "out")
    assert data.channels == ("T2", "ADC")
    assert len(data.cases[0].read_images()) == 2


def test_csam_add_tells_of_every_case_in_words_and_for_programs(tmp_path, capsys):
    pair(tmp_path / "in", "p0.nii", "p0_seg.nii")
    (tmp_path / "in" / "alone.nii").write_bytes((tmp_path / "in" / "p0.nii").read_bytes())
    words = ["add", str(tmp_path / "in"), "--to", str(tmp_path / "out")]
    assert main(words) == 2
    assert "Give --label VALUE=NAME" in capsys.readouterr().err
    assert main([*words, "--label", "1"]) == 2
    assert "VALUE=NAME was expected" in capsys.readouterr().err
    assert main([*words, "--label", "1=ball", "--label", "2=rim"]) == 0
    said = capsys.readouterr().out
    assert "p0: added" in said
    assert "1 added, 0 there already, 1 not added." in said
    assert main(words) == 0
    assert "p0: is there already" in capsys.readouterr().out


def test_what_csam_add_tells_other_programs(tmp_path, capsys, monkeypatch):
    import os

    from csam.cli import training_lines

    reading, _writing = os.pipe()
    monkeypatch.setattr(training_lines, "_kept_input", lambda: reading)
    pair(tmp_path / "in", "p0.nii", "p0_seg.nii")
    words = ["add", str(tmp_path / "in"), "--to", str(tmp_path / "out"), "--progress", "json"]
    assert main(words) == 2
    asked, error = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert asked == {"event": "names", "values": [1, 2]}
    assert error["event"] == "error"
    assert main([*words, "--label", "1=ball", "--label", "2=rim"]) == 0
    case, done = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert case == {"event": "case", "name": "p0", "state": ADDED, "fault": ""}
    assert done == {"event": "done", "added": 1, "there": 0, "faults": 0}
