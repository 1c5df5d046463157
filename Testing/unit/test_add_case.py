"""A data set that grows case by case: every case whole, nothing written over, and what grows can be trained on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.errors import InputError
from csam.image import files as files_of_csam
from csam.image.fingerprint import fingerprint
from csam.training import add_case
from csam.training.add_case import collection
from csam.training.auto_plan import patient_pattern
from csam.training.dataset import read_dataset

CHANNELS, LABELS = ["T2", "ADC"], ["zone", "lesion"]
ENGINE = Path(__file__).parents[2] / "CSAMSegment"


def case(seed: int = 0, direction=None):
    images = [small.image(seed=seed, direction=direction), small.image(seed=seed + 50, direction=direction)]
    values = sitk.GetArrayFromImage(images[0])
    truth = sitk.GetImageFromArray((values > 600).astype(np.uint8) + (values > 800))
    truth.CopyInformation(images[0])
    return images, truth


def add(folder, name, images, truth, replace=False, channels=CHANNELS, labels=LABELS, **more):
    return collection(folder, channels, labels, **more).add(name, images, truth, replace)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("direction", [None, small.OBLIQUE], ids=["straight", "oblique"])
def test_what_is_added_is_read_again_as_it_was(tmp_path, direction):
    folder = tmp_path / "new" / "hearts"
    images, truth = case(direction=direction)
    assert add(folder, "case001", images, truth) == 1
    assert add(folder, "case002", *case(7)) == 2
    data = read_dataset(folder)
    assert (data.name, data.channels, data.labels) == ("hearts", ("T2", "ADC"), ("zone", "lesion"))
    assert data.patients == ["case001", "case002"]
    read, labels = data.cases[0].read()
    for found, wanted in zip((*read, labels), (*images, truth), strict=True):
        np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (found, wanted)))
        np.testing.assert_allclose(found.GetDirection(), wanted.GetDirection(), atol=1e-5)
        np.testing.assert_allclose(found.GetOrigin(), wanted.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(found.GetSpacing(), wanted.GetSpacing(), atol=1e-5)
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2


@pytest.mark.parametrize("ending", add_case.ENDINGS)
def test_a_data_set_of_nnu_nets_keeps_its_files_ending_and_fields(tmp_path, ending):
    folder = small.dataset(tmp_path, patients=2)
    for path in sorted(folder.glob("*Tr/*.nii.gz")):
        image = sitk.ReadImage(str(path))
        path.unlink()
        sitk.WriteImage(image, str(path).replace(".nii.gz", ending))
    info = json.loads((folder / "dataset.json").read_text()) | {"file_ending": ending, "reference": "somebody"}
    (folder / "dataset.json").write_text(json.dumps(info))
    image = small.image()
    names = {"channels": ["picture"], "labels": ["Bright ball", "GREY ball"]}
    assert add(folder, "p9", [image], image > 900, **names) == 3
    assert (folder / "labelsTr" / f"p9{ending}").is_file()
    told = json.loads((folder / "dataset.json").read_text())
    assert [*told.pop("fingerprints")] == ["p9"]
    assert told == info | {"numTraining": 3}
    assert len(read_dataset(folder).cases) == 3


def test_channels_and_labels_are_those_of_the_same_name(tmp_path):
    images, truth = case()
    add(tmp_path, "a", images, truth)
    add(tmp_path, "b", images[::-1], truth, channels=["adc", "t2"], labels=["Lesion", "ZONE"])
    add(tmp_path, "c", images, truth, labels=["title", "other"], known={"lesion": 1, "zone": 2})
    first, *others = read_dataset(tmp_path).cases
    for other in others:
        for one, same in zip(first.read_images(), other.read_images(), strict=True):
            np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (one, same)))
        mine, theirs = (sitk.GetArrayFromImage(c.read()[1]) for c in (first, other))
        np.testing.assert_array_equal(np.choose(mine, (0, 2, 1)), theirs)


def test_what_a_channels_name_does_not_tell_is_kept(tmp_path):
    image = small.image()
    add(tmp_path, "a", [image], image > 900, channels=["venous phase"], labels=["liver"], modalities=["CT"])
    assert read_dataset(tmp_path).modalities == ("CT",)


def on_another_grid():
    images, truth = case()
    return {"images": [images[0], small.image((10, 9, 3))], "truth": truth}


def of_other_values():
    images, _truth = case()
    return {"images": images, "truth": images[0]}


REFUSED = {
    "its name is taken": ({"name": "case001"}, "has a case case001 already"),
    "in other letters": ({"name": "CASE001"}, "has a case CASE001 already"),
    "no name": ({"name": " "}, "'' is no name for a case"),
    "a path": ({"name": "../case"}, "is no name for a case"),
    "a device": ({"name": "aux"}, "is no name for a case"),
    "too long a name": ({"name": "a" * 201}, "is no name for a case"),
    "other channels": ({"channels": ["ADC", "T1"]}, r"has the channels T2, ADC .*; this case has .* ADC, T1"),
    "unknown channels": ({"channels": ["a", "b"]}, r"has the channels T2, ADC .*; this case has .* a, b"),
    "another channel more": ({"channels": ["T2", "ADC", "DWI"]}, r"has the channels T2, ADC and"),
    "other labels": ({"labels": ["zone"]}, r"the labels zone, lesion; this case has .* the labels zone\. Choose"),
    "another grid": (on_another_grid(), "cannot be learned from: ADC and its labels do not have the same size"),
    "unknown values": (of_other_values(), "cannot be learned from: its labels hold the values"),
    "unknown values of others": (of_other_values() | {"labels": LABELS[::-1]}, "its labels hold the values"),
    "many bytes": ({"name": "髓" * 99}, "is no name for a case"),
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_added_changes_nothing(tmp_path, changes, said):
    images, truth = case()
    add(tmp_path, "case001", images, truth)
    before = files(tmp_path)
    with pytest.raises(InputError, match=said):
        add(tmp_path, **({"name": "case002", "images": images, "truth": truth} | changes))
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("channels", "labels"),
    [(["a"], ["z", "z"]), (["a"], ["Z", "z"]), (["a"], ["background"]), (["a"], ["ignore"]), ([], ["z"])],
    ids=str,
)
def test_names_that_no_data_set_can_have_are_refused_before_one_is_begun(tmp_path, channels, labels):
    with pytest.raises(InputError, match="No data set can be made"):
        collection(tmp_path, channels, labels)
    assert files(tmp_path) == {}


def test_a_folder_of_something_else_is_refused(tmp_path):
    for name in (".DS_Store", "desktop.ini"):
        (tmp_path / name).write_text("")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("")
    (tmp_path / "labelsTr").mkdir()
    (tmp_path / "labelsTr" / ".DS_Store").write_text("")
    assert collection(tmp_path, CHANNELS, LABELS).cases == []
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("Dear ...")
    with pytest.raises(InputError, match=r"holds other files and no dataset\.json"):
        collection(tmp_path, CHANNELS, LABELS)
    with pytest.raises(InputError, match="cannot be read: Not a directory"):
        collection(tmp_path / "letters" / "letter.txt", CHANNELS, LABELS)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match=r"dataset\.json cannot be used"):
        collection(tmp_path, CHANNELS, LABELS)
    listed = {"modality": {"0": "T2"}, "labels": {"0": "bg", "1": "zone"}, "training": [{"image": "a", "label": "b"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"lists its cases in dataset\.json"):
        collection(tmp_path, ["T2"], ["zone"])
    info = {"channel_names": {"0": "T2"}, "labels": {"bg": 0, "zone": 1}, "file_ending": ".tif"}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"are \.tif; cases are added as \.nii\.gz"):
        collection(tmp_path, ["T2"], ["zone"])


def test_a_case_is_replaced_only_where_that_is_meant(tmp_path):
    add(tmp_path, "Case001", *case())
    add(tmp_path, "case002", *case(1))
    assert add(tmp_path, "case001", *case(3), replace=True) == 2
    first, second = read_dataset(tmp_path).cases
    for found, seed in ((first, 3), (second, 1)):
        np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (found.read()[1], case(seed)[1])))


def test_an_image_that_nobody_labelled_is_not_written_over(tmp_path):
    add(tmp_path, "case001", *case())
    (tmp_path / "labelsTr" / "case001.nii.gz").unlink()
    before = files(tmp_path)
    with pytest.raises(InputError, match="has a case case001 already"):
        add(tmp_path, "case001", *case(3))
    assert files(tmp_path) == before


FULL = f"""
import resource, signal, sys
sys.path[:0] = [{str(ENGINE)!r}, {str(Path(__file__).parents[1])!r}]
from unit.test_add_case import add, case
from csam.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    add(sys.argv[1], "case002", *case(1), replace=sys.argv[2] == "again")
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
@pytest.mark.parametrize("there", ["", "again"], ids=["new", "replaced"])
def test_a_full_disk_leaves_what_was_there(tmp_path, there):
    """A real limit: ITK writes as much of a NIfTI file as there is room for, and says nothing."""
    add(tmp_path, "case001", *case())
    if there:
        add(tmp_path, "case002", *case(9))
    before = files(tmp_path)
    told = subprocess.run([sys.executable, "-c", FULL, str(tmp_path), there], capture_output=True, text=True)
    assert "The case case002 could not be written" in told.stdout, told.stderr
    assert files(tmp_path) == before


# Three files and the table of contents are placed; three that stood there before are put aside.
@pytest.mark.parametrize(("there", "fails_at"), [*((False, n) for n in range(1, 5)), *((True, n) for n in range(1, 8))])
def test_a_case_that_cannot_be_placed_leaves_what_was_there(tmp_path, monkeypatch, fails_at, there):
    add(tmp_path, "case001", *case())
    if there:
        add(tmp_path, "case002", *case(9))
    before, move, moved = files(tmp_path), files_of_csam.os.replace, []

    def replace(source, target):
        moved.append(source)
        if len(moved) == fails_at:
            raise OSError(28, "No space left on device")
        move(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files_of_csam.os, "replace", replace)
        with pytest.raises(InputError, match=r"case002 could not be written to .*: No space left on device"):
            add(tmp_path, "case002", *case(1), replace=there)
    assert files(tmp_path) == before
    assert add(tmp_path, "case002", *case(1), replace=there) == 2


@pytest.mark.parametrize("fails_from", range(1, 8))
def test_where_nothing_can_be_put_back_what_was_there_is_still_there(tmp_path, monkeypatch, fails_from):
    add(tmp_path, "case001", *case())
    before, move, moved = files(tmp_path), files_of_csam.os.replace, []

    def replace(source, target):
        moved.append(source)
        if len(moved) >= fails_from:
            raise PermissionError(13, "Permission denied")
        move(source, target)

    monkeypatch.setattr(files_of_csam.os, "replace", replace)
    with pytest.raises(InputError, match="could not be written") as caught:
        add(tmp_path, "case001", *case(1), replace=True)
    now = files(tmp_path)
    assert {*before.values()} <= {*now.values()}
    aside = [name.rpartition("/")[2] for name in now if "/.old-" in name]
    assert all(name in str(caught.value) for name in aside)
    assert not [name for name in now if "/.new-" in name]


@pytest.mark.parametrize("ending", add_case.ENDINGS)
@pytest.mark.parametrize("lost", [8, 40])
def test_a_file_that_ends_early_is_noticed_though_its_end_is_background(tmp_path, monkeypatch, ending, lost):
    write, (images, truth) = sitk.WriteImage, case()
    voxels = sitk.GetArrayFromImage(truth)
    voxels[-2:] = 0
    empty = sitk.GetImageFromArray(voxels)
    empty.CopyInformation(truth)
    monkeypatch.setattr(add_case, "ENDINGS", (ending,))

    def short(image, path):
        write(image, path)
        if "labels" in path:
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[:-lost])

    monkeypatch.setattr(add_case.sitk, "WriteImage", short)
    with pytest.raises(InputError, match="not read again as it was written; the disk may be full"):
        add(tmp_path, "case001", images, empty)
    assert files(tmp_path) == {}


def test_what_a_run_makes_of_values_that_are_not_finite_is_kept(tmp_path):
    image = sitk.Cast(small.image(), sitk.sitkFloat32) - 900
    image[3, 4, 2] = float("nan")
    add(tmp_path, "a", [image], small.image() > 900, channels=["MR"], labels=["ball"])
    [found], _truth = read_dataset(tmp_path).cases[0].read()
    values = sitk.GetArrayFromImage(found)
    assert values[2, 4, 3] == values.min() == np.nanmin(sitk.GetArrayFromImage(image))


def test_axes_that_files_cannot_hold_are_told_as_that(tmp_path):
    leaning = np.reshape(small.OBLIQUE, (3, 3)) @ np.array([[1, 0.02, 0], [0, 1, 0], [0, 0, 1]])
    image = small.image(
        (256, 256, 5), (0.5, 0.5, 5.0), direction=tuple((leaning / np.linalg.norm(leaning, axis=0)).ravel())
    )
    with pytest.raises(InputError, match=r"^The image's axes are not quite at right angles"):
        add(tmp_path, "a", [image], image > 900, channels=["MR"], labels=["ball"])
    assert files(tmp_path) == {}


def test_channels_of_the_same_name_are_told_by_their_order(tmp_path):
    images, truth = case()
    for name in ("a", "b"):
        assert add(tmp_path, name, [*images, images[0]], truth, channels=["T2", "T2", "ADC"])


def test_somebody_who_adds_the_same_name_meanwhile_is_not_written_over(tmp_path, monkeypatch):
    add(tmp_path, "case001", *case())
    theirs, check = [], add_case._check_whole

    def slow(path, image):
        check(path, image)
        if "labels" in str(path) and not theirs:
            theirs.append(True)
            add(tmp_path, "case002", *case(5))

    monkeypatch.setattr(add_case, "_check_whole", slow)
    with pytest.raises(InputError, match="has a case case002 by now"):
        add(tmp_path, "case002", *case(1))
    found = read_dataset(tmp_path).cases[1]
    np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (found.read()[1], case(5)[1])))
    assert not [name for name in files(tmp_path) if "/." in name]


@pytest.mark.parametrize("there", [False, True], ids=["new", "replaced"])
def test_a_process_that_dies_while_it_adds_never_leaves_labels_without_what_is_told_of_them(
    tmp_path, monkeypatch, there
):
    """Whatever the moment: where the labels stand, dataset.json knows what is unknown and what nobody has labelled."""
    images, truth = case()
    if there:
        collection(tmp_path, CHANNELS, LABELS).add("p1", images, truth > 0, unlabelled=["lesion"])
    labels, move, seen = tmp_path / "labelsTr" / "p1.nii.gz", files_of_csam.os.replace, []

    def replace(source, target):
        move(source, target)
        whole = labels.is_file() and labels.stat().st_size > 0
        told = json.loads((tmp_path / "dataset.json").read_text()) if (tmp_path / "dataset.json").exists() else {}
        seen.append((whole, told.get("unlabelled"), "ignore" in told.get("labels", ())))

    monkeypatch.setattr(files_of_csam.os, "replace", replace)
    cases = collection(tmp_path, CHANNELS, LABELS)
    cases.add("p1", images, truth, replace=there, known_slices=[2], unlabelled=["zone"])
    before = [one for one in seen if one[0]][:-1]
    assert before == [(True, {"p1": ["lesion"]}, False)] * (len(before) if there else 0)
    assert seen[-1] == (True, {"p1": ["zone"]}, True)


HOLDS = f"""
import sys, time
sys.path[:0] = [{str(ENGINE)!r}]
from pathlib import Path
from csam.training.add_case import _locked
with _locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_case_waits_for_another_process_that_changes_the_data_set(tmp_path, monkeypatch):
    add(tmp_path, "case001", *case())
    before = files(tmp_path)
    monkeypatch.setattr(add_case, "PATIENCE", 0.1)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(InputError, match="Another process changes"):
            add(tmp_path, "case002", *case(1))
        with pytest.raises(InputError, match="Another process changes"):
            collection(tmp_path, CHANNELS, LABELS).remove("case001")
        assert files(tmp_path) == before
        monkeypatch.setattr(add_case, "PATIENCE", 30)
        other.stdin.close()
        assert add(tmp_path, "case002", *case(1)) == 2


def test_the_data_set_knows_the_images_of_its_cases_again(tmp_path):
    add(tmp_path, "case001", *case())
    add(tmp_path, "case002", *case(1))
    cases = collection(tmp_path, CHANNELS, LABELS)
    known = cases.fingerprints()
    assert [*known] == ["case001", "case002"]
    assert known["case001"] == fingerprint([sitk.GetArrayFromImage(image) for image in case()[0][::-1]])
    cases.remove("case001")
    assert [*cases.fingerprints()] == ["case002"]


def test_names_that_are_offered_are_nobody_elses_and_those_of_single_patients(tmp_path):
    empty = collection(tmp_path, CHANNELS, LABELS)
    offered = [empty.free_name() for _ in range(50)]
    assert len({*offered}) > 45
    assert patient_pattern(offered)[0] == "(.*)"
    (tmp_path / "labelsTr").mkdir()
    for number in range(5):
        (tmp_path / "labelsTr" / f"prostate_{number:02d}.nii.gz").touch()
    numbered = [*empty.cases, empty.free_name(), empty.free_name()]
    assert patient_pattern(numbered)[0] == "(.*)"
    assert len({name.rpartition("_")[0] for name in numbered}) == 1
    assert (empty.patients(), empty.patients([numbered[-1]]), empty.patients(["case1"])) == (5, 5, 1)
