"""Both layouts of a data set give the same cases, and a table of contents with faults gives all of them at once."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.errors import InputError
from csam.training.case_facts import examine_case
from csam.training.dataset import Case, Dataset, inspect, read_dataset, read_split
from csam.training.prepare import prepare
from csam.training.split import split_names


def decathlon(folder, channels=1, **changes):
    """The balls in the Decathlon's layout; several channels make 4-D files."""
    raw = small.dataset(folder / "raw", patients=3)
    out = folder / "decathlon"
    shutil.copytree(raw / "labelsTr", out / "labelsTr")
    (out / "imagesTr").mkdir()
    listed = []
    for path in sorted((raw / "imagesTr").iterdir()):
        name = path.name.replace("_0000", "")
        image = sitk.ReadImage(str(path))
        if channels > 1:
            image = sitk.JoinSeries([image + number for number in range(channels)])
        sitk.WriteImage(image, str(out / "imagesTr" / name))
        listed.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    info = {
        "name": "BALLS",
        "licence": "CC-BY-SA 4.0",
        "modality": {"0": "CT", "1": "PET"} if channels > 1 else {"0": "MRI"},
        "labels": {"0": "background", "1": "bright ball", "2": "grey ball"},
        "numTraining": 3,
        "training": listed,
        "test": ["./imagesTs/x.nii.gz"],
    }
    (out / "dataset.json").write_text(json.dumps(info | changes))
    return out


def test_the_decathlons_layout_is_read(tmp_path):
    data = read_dataset(decathlon(tmp_path))
    assert (data.name, data.licence, data.channels) == ("BALLS", "CC-BY-SA 4.0", ("MRI",))
    assert data.labels == ("bright ball", "grey ball")
    assert [case.name for case in data.cases] == ["p00_0", "p01_0", "p02_0"]
    images, truth = data.cases[1].read()
    assert [image.GetSize() for image in (*images, truth)] == [(20, 18, 6)] * 2


def test_the_frames_of_a_4d_file_are_the_channels(tmp_path):
    data = read_dataset(decathlon(tmp_path, channels=2))
    assert data.channels == ("CT", "PET")
    assert data.modalities == ("CT", "PT")
    first, second = map(sitk.GetArrayFromImage, data.cases[0].read_images())
    np.testing.assert_array_equal(second, first + 1)
    assert data.facts["p00_0"].values.shape[0] == 2


def test_files_named_as_in_nnunet_and_listed_as_in_the_decathlon_are_found(tmp_path):
    folder = decathlon(tmp_path, modality={"0": "T2", "1": "ADC"})
    for path in list((folder / "imagesTr").iterdir()):
        for number in range(2):
            shutil.copy(path, path.with_name(path.name.replace(".nii.gz", f"_{number:04d}.nii.gz")))
        path.unlink()
    data = read_dataset(folder)
    assert [path.name for path in data.cases[0].images] == ["p00_0_0000.nii.gz", "p00_0_0001.nii.gz"]


def test_faults_of_a_listed_data_set_are_listed_together(tmp_path):
    folder = decathlon(tmp_path)
    info = json.loads((folder / "dataset.json").read_text())
    info["training"] += [info["training"][0], {"image": "./imagesTr/no.nii.gz", "label": "./labelsTr/no.nii.gz"}]
    (folder / "dataset.json").write_text(json.dumps(info))
    sitk.WriteImage(sitk.JoinSeries([small.image()] * 3), str(folder / "imagesTr" / "p01_0.nii.gz"))
    _, faults = inspect(folder)
    assert sorted(faults) == [
        "no: no.nii.gz is missing",
        "no: no.nii.gz is missing",
        "p00_0: listed more than once in dataset.json",
        "p01_0: p01_0.nii.gz is a file of 3 volumes; dataset.json names 1 channel(s)",
    ]


def test_files_of_the_same_name_in_several_folders_are_named_by_their_folders(tmp_path):
    folder = decathlon(tmp_path)
    listed = [{"image": f"./p{n}/image.nii.gz", "label": f"p{n}/label.nii.gz"} for n in range(3)]
    for n in range(3):
        (folder / f"p{n}").mkdir()
        shutil.move(folder / "imagesTr" / f"p0{n}_0.nii.gz", folder / f"p{n}" / "image.nii.gz")
        shutil.move(folder / "labelsTr" / f"p0{n}_0.nii.gz", folder / f"p{n}" / "label.nii.gz")
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(info | {"training": listed}))
    assert [case.name for case in read_dataset(folder).cases] == ["p0_image", "p1_image", "p2_image"]


def test_an_image_without_the_number_of_a_channel_is_a_fault_that_says_so(tmp_path):
    folder = small.dataset(tmp_path, patients=2)
    shutil.copy(folder / "imagesTr" / "p00_0_0000.nii.gz", folder / "imagesTr" / "zz.nii.gz")
    shutil.copy(folder / "imagesTr" / "p00_0_0000.nii.gz", folder / "imagesTr" / "p09_0_0000.nii.gz")
    assert inspect(folder)[1] == [
        "imagesTr/zz.nii.gz: its name has no number of a channel, as in zz_0000.nii.gz",
        "p09_0: there is an image but no labelsTr/p09_0.nii.gz",
    ]


def test_a_file_ending_may_lack_its_dot_and_must_not_be_empty(tmp_path):
    folder = small.dataset(tmp_path, patients=2)
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(info | {"file_ending": "nii.gz"}))
    assert len(read_dataset(folder).cases) == 2
    (folder / "dataset.json").write_text(json.dumps(info | {"file_ending": ""}))
    with pytest.raises(InputError, match='neither "file_ending"'):
        read_dataset(folder)


def test_every_fault_of_the_table_is_in_one_report(tmp_path):
    folder = decathlon(tmp_path, modality={}, labels={"0": "background", "2": "x"}, training=["a.nii.gz"])
    with pytest.raises(InputError) as caught:
        read_dataset(folder)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    for word, line in zip(("channel_names", "without a gap", '"training" must be'), lines[1:], strict=True):
        assert word in line


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"background": 0, "whole": [1, 2], "core": 2}, "regions"),
        (
            {"background": 0, "ignore": 1, "ball": 2},
            '"ignore" with the value 1; what is unknown has to have the highest',
        ),
        ({"background": 0, "ignore": 1}, '"ignore" with the value 1; .* above those of the structures'),
        ({"0": "background", "1": "ball", "2": "ball"}, "'ball' twice"),
        ({"0": "background", "1": "LV", "2": "lv"}, "'lv' twice, large or small"),
        ({"0": "background", "1": 5, "3": "x"}, "without a gap"),
        ({"background": 0, "ball": float("inf")}, "'ball': inf.* was expected"),
        ({"background": 0, "\ud800": 1}, "the name '.ud800', which is no text in Unicode"),
    ],
    ids=str,
)
def test_labels_that_cannot_be_learned_are_refused_in_words(tmp_path, labels, said):
    with pytest.raises(InputError, match=said):
        read_dataset(decathlon(tmp_path, labels=labels))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file_ending": "**"}, '"file_ending" .nnU-Net., such as'),
        ({"unlabelled": {"p00_0": [["bright ball"]]}}, '"unlabelled" is .* was expected'),
    ],
    ids=str,
)
def test_fields_of_another_kind_are_refused_in_words(tmp_path, change, said):
    folder = small.dataset(tmp_path, patients=2)
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(info | change))
    with pytest.raises(InputError, match=said):
        read_dataset(folder)


def test_a_case_may_have_any_name(tmp_path):
    folder = small.dataset(tmp_path, patients=2)
    for path in (*folder.rglob("p00_0*.nii.gz"),):
        path.rename(path.with_name(path.name.replace("p00", "[a]**")))
    assert [case.name for case in read_dataset(folder).cases] == ["[a]**_0", "p01_0"]


def test_hidden_files_of_another_system_are_passed_over(tmp_path):
    folder = small.dataset(tmp_path, patients=2)
    (folder / "labelsTr" / "._p00_0.nii.gz").write_bytes(b"junk")
    (folder / "imagesTr" / "._p00_0_0000.nii.gz").write_bytes(b"junk")
    assert len(read_dataset(folder).cases) == 2


def test_labels_that_are_empty_everywhere_are_a_fault_and_in_one_case_are_none(tmp_path):
    folder = small.dataset(tmp_path, patients=2)
    blank = small.placed(np.zeros((6, 18, 20), np.uint8))
    sitk.WriteImage(blank, str(folder / "labelsTr" / "p00_0.nii.gz"))
    assert inspect(folder)[1] == []
    sitk.WriteImage(blank, str(folder / "labelsTr" / "p01_0.nii.gz"))
    assert inspect(folder)[1] == ["the labels of all cases are empty: there is nothing to learn"]


def test_an_image_that_is_no_stack_of_single_values_is_a_fault(tmp_path):
    folder = small.dataset(tmp_path, patients=2)
    sitk.WriteImage(sitk.Image(20, 18, sitk.sitkInt16), str(folder / "imagesTr" / "p00_0_0000.nii.gz"))
    sitk.WriteImage(sitk.Image([20, 18, 6], sitk.sitkVectorUInt8, 3), str(folder / "imagesTr" / "p01_0_0000.nii.gz"))
    faults = inspect(folder)[1]
    assert len(faults) == 2
    for word, fault in zip(("has 2 dimensions", "values per voxel"), faults, strict=True):
        assert word in fault


def test_an_image_without_a_finite_value_is_a_fault():
    image = small.placed(np.full((6, 18, 20), np.nan, np.float32))
    labels = small.placed(np.ones((6, 18, 20), np.uint8))
    assert examine_case([image], labels, ["a.nrrd"], 2) == (None, ["a.nrrd holds no finite value"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_structures_without_a_finite_value_are_a_fault_and_a_few_such_voxels_are_none(value):
    labels = np.zeros((6, 18, 20), np.uint8)
    labels[2:4, 5:9, 5:9] = 1
    picture = np.where(labels, value, 7).astype(np.float32)
    faults = examine_case([small.placed(picture)], small.placed(labels), ["a.nrrd"], 2)[1]
    assert faults == ["a.nrrd holds no finite value inside the structures"]
    picture[2:4, 5:9, 5:8] = 300
    facts, faults = examine_case([small.placed(picture)], small.placed(labels), ["a.nrrd"], 2)
    assert faults == []
    assert facts.lowest == (7.0,)


def test_the_facts_of_a_case_are_where_the_structures_are_and_what_values_they_have():
    labels = np.zeros((4, 10, 8), np.uint8)
    labels[1:3, 2:7, 3] = 2
    image = np.where(labels, 70, -5).astype(np.int16)
    facts, faults = examine_case([small.placed(image)], small.placed(labels), ["a"], 3)
    assert not faults
    assert facts.box == ((3, 3), (2, 6), (1, 2))
    assert facts.voxels == {2: 10}
    assert facts.values.tolist() == [[70.0] * 10]
    assert facts.lowest == (-5.0,)
    assert not facts.scaled_slices
    image[:, 0, 0] = 255
    assert examine_case([small.placed(image)], small.placed(labels), ["a"], 3)[0].scaled_slices


def test_a_side_that_was_written_is_read_again_as_it_was(tmp_path):
    names = (("anna", "anna"), ("anna_1", "anna"), ("ben_1", "ben"), ("ben_2", "ben"), ("carl", "carl"))
    cases = tuple(Case(name, patient, (), tmp_path / name) for name, patient in names)
    data, path = Dataset("made", "", ("x",), ("ball",), cases), tmp_path / "split.json"
    path.write_text(json.dumps({"training": split_names(data, cases[:4]), "validation": split_names(data, cases[4:])}))
    assert json.loads(path.read_text()) == {"training": ["anna", "anna_1", "ben"], "validation": ["carl"]}
    assert read_split(path, data) == (cases[:4], cases[4:], [])


def sides(path, data, fold=0):
    *cases, faults = read_split(path, data, fold)
    assert faults == []
    return [[case.name for case in side] for side in cases]


def test_a_split_names_patients_or_cases_and_leaves_out_the_rest(tmp_path):
    data = read_dataset(small.dataset(tmp_path / "data", patients=4, scans=2), "(p..)_")
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"training": ["p03", "p00_1"], "validation": ["p01"]}))
    assert sides(path, data) == [["p00_1", "p03_0", "p03_1"], ["p01_0", "p01_1"]]
    folds = [{"train": ["p00_0", "p00_1"], "val": ["p01_0"]}, {"train": ["p02_0"], "val": ["p03_1"]}]
    path.write_text(json.dumps(folds))
    assert sides(path, data, fold=1) == [["p02_0"], ["p03_1"]]


def test_a_name_that_is_a_cases_and_a_patients_stands_for_the_case(tmp_path):
    cases = tuple(Case(name, name[0], (), None) for name in ("a", "a_1", "b_0", "b_1"))
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"training": ["a"], "validation": ["b"]}))
    assert sides(path, Dataset("made", "", ("x",), ("ball",), cases)) == [["a"], ["b_0", "b_1"]]


@pytest.mark.parametrize("fold", [-1, 2])
def test_a_fold_that_is_not_there_is_a_fault_that_counts_them(tmp_path, fold):
    data = read_dataset(small.dataset(tmp_path / "data", patients=2))
    path = tmp_path / "split.json"
    path.write_text(json.dumps([{"train": ["p00_0"], "val": ["p01_0"]}] * 2))
    assert read_split(path, data, fold)[2] == [f"{path} holds 2 split(s), counted from 0; there is no split {fold}"]


def test_a_split_with_faults_has_all_of_them_told(tmp_path):
    data = read_dataset(small.dataset(tmp_path / "data", patients=3, scans=2), "(p..)_")
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"training": ["p00_0", "p09", "p01", "p01"], "validation": ["p00_1"]}))
    _, _, faults = read_split(path, data)
    assert [fault.split(": ", 1)[1] for fault in faults] == [
        "p09 (training) is neither a patient nor a case",
        "p01 is named twice for training",
        "the patient p00 is in both subsets of the split",
        "which cases belong to one patient was taken from their names. If that is wrong, give --patient-pattern; "
        '"(.*)" if every case is a patient',
    ]
    for text in (
        "{}",
        "[]",
        '{"training": [], "validation": ["p00"]}',
        '{"training": "p01", "validation": ["p00"]}',
        '{"training": [["p01"]], "validation": ["p00"]}',
        '{"training": ["p01", null], "validation": ["p00"]}',
        "?",
    ):
        path.write_text(text)
        assert read_split(path, data)[2], text
    assert read_split(tmp_path / "nowhere.json", data)[2]


def test_faults_of_the_data_the_further_data_and_the_split_are_one_report(tmp_path):
    folder, further = small.dataset(tmp_path / "data"), small.dataset(tmp_path / "further")
    (folder / "labelsTr" / "p00_0.nii.gz").unlink()
    (further / "imagesTr" / "p01_0_0000.nii.gz").unlink()
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"training": ["p01", "p02"], "validation": ["p02"]}))
    with pytest.raises(InputError) as caught:
        prepare(folder, extra=[further, tmp_path / "none"], split_file=path)
    said = str(caught.value)
    for fault in ("p00_0: there is an image but no", "p01_0: p01_0_0000.nii.gz is missing", "none is not a data set"):
        assert fault in said
    assert "p02 (validation) is neither" in said  # no pattern was given, and the names show no patients


def test_further_data_of_other_structures_is_refused(tmp_path):
    folder, further = small.dataset(tmp_path / "data"), small.dataset(tmp_path / "further")
    info = json.loads((further / "dataset.json").read_text())
    (further / "dataset.json").write_text(json.dumps(info | {"labels": {"background": 0, "a": 1, "b": 2}}))
    with pytest.raises(InputError, match=r"the labels a, b; .* bright ball, grey ball"):
        prepare(folder, extra=[further])


def emptied(folder, *names, value=None):
    """The data set without one of the structures, or without all of them, in some cases."""
    for name in names:
        path = folder / "labelsTr" / f"{name}.nii.gz"
        truth = sitk.ReadImage(str(path))
        sitk.WriteImage(truth * 0 if value is None else truth * (truth != value), str(path))
    return folder


def split_file(folder, training, validation):
    path = folder / "split.json"
    path.write_text(json.dumps({"training": training, "validation": validation}))
    return path


def test_a_case_that_a_split_does_not_name_is_left_out_though_its_patient_has_others(tmp_path):
    folder = small.dataset(tmp_path / "data", patients=3, scans=2)
    path = split_file(tmp_path, ["p00_1", "p01_0", "p01_1"], ["p02_0"])
    prepared = prepare(folder, split_file=path)
    assert [case.name for case in prepared.training_cases] == ["p00_1", "p01_0", "p01_1"]
    assert [case.name for case in prepared.validation_cases] == ["p02_0"]
    assert (prepared.training, prepared.validation) == (["p00", "p01"], ["p02"])
    assert prepared.split == {"training": ["p00_1", "p01"], "validation": ["p02_0"]}
    path.write_text(json.dumps(prepared.split))
    assert prepare(folder, split_file=path).training_cases == prepared.training_cases


@pytest.mark.parametrize("side", ["training", "validation"])
def test_a_side_without_any_structure_is_refused(tmp_path, side):
    folder = emptied(small.dataset(tmp_path / "data"), "p00_0", "p01_0")
    names = [["p00_0", "p01_0"], ["p02_0", "p03_0"]]
    path = split_file(tmp_path, *(names if side == "training" else names[::-1]))
    with pytest.raises(InputError, match=f"No {side} scan shows a structure"):
        prepare(folder, split_file=path)


def test_what_a_side_does_not_show_is_told(tmp_path):
    folder = emptied(small.dataset(tmp_path / "data"), "p00_0", "p01_0", value=1)
    assert prepare(folder, split_file=split_file(tmp_path, ["p00_0", "p02_0"], ["p03_0"])).notes == ()
    notes = prepare(folder, split_file=split_file(tmp_path, ["p00_0", "p01_0"], ["p03_0"])).notes
    assert notes == ("no training scan shows bright ball: it is not learned",)
    notes = prepare(folder, split_file=split_file(tmp_path, ["p02_0", "p03_0"], ["p00_0"])).notes
    assert notes == ("no validation scan shows bright ball: it is not measured",)
    further = small.dataset(tmp_path / "further", patients=1)
    path = split_file(tmp_path, ["p00_0", "p01_0"], ["p03_0"])
    assert prepare(folder, extra=[further], split_file=path).notes == ()
    emptied(folder, "p02_0")
    notes = prepare(folder, split_file=split_file(tmp_path, ["p00_0"], ["p02_0", "p03_0"])).notes
    assert any(note.startswith("1 of 2 validation scans show no structure") for note in notes)


@pytest.mark.parametrize("seed", range(4))
def test_who_is_validated_on_is_drawn_among_those_with_structures(tmp_path, seed):
    folder = emptied(small.dataset(tmp_path / "data", patients=6), "p00_0", "p02_0", "p03_0")
    prepared = prepare(folder, {"validation_patients": 2, "split_seed": seed})
    assert set(prepared.validation) < {"p01_0", "p04_0", "p05_0"}
    assert len(prepared.validation) == 2
    assert sorted(prepared.training + prepared.validation) == prepared.data.patients


def test_where_too_few_show_a_structure_the_draw_is_among_all(tmp_path):
    folder = emptied(small.dataset(tmp_path / "data", patients=3), "p00_0", "p01_0")
    with pytest.raises(InputError, match="scan shows a structure"):
        prepare(folder)


def test_a_further_data_set_that_holds_a_validation_scan_is_refused(tmp_path):
    folder = small.dataset(tmp_path / "data")
    with pytest.raises(InputError, match=r"case p0\d_0 of Balls and the validation case p0\d_0 are the same"):
        prepare(folder, extra=[folder])
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(InputError, match="are the same scan"):
        prepare(folder, extra=[tmp_path / "link"])
    other = small.dataset(tmp_path / "other", seed=5)
    shutil.rmtree(other / "labelsTr")
    (other / "labelsTr").symlink_to(folder / "labelsTr")
    with pytest.raises(InputError, match="are the same scan"):
        prepare(folder, extra=[other])


def test_the_same_image_under_two_names_on_both_sides_is_refused(tmp_path):
    folder = small.dataset(tmp_path / "data", scans=2)
    image = sitk.ReadImage(str(folder / "imagesTr" / "p01_1_0000.nii.gz"))
    sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32), str(folder / "imagesTr" / "p03_0_0000.nii.gz"))
    with pytest.raises(InputError, match="p01_1 of Balls and the validation case p03_0 are the same scan"):
        prepare(folder, split_file=split_file(tmp_path, ["p00", "p01"], ["p02", "p03"]))
    prepare(folder, split_file=split_file(tmp_path, ["p00", "p02"], ["p01", "p03"]))


def test_further_cases_with_the_names_of_validation_cases_are_told(tmp_path):
    folder, further = small.dataset(tmp_path / "data"), small.dataset(tmp_path / "further", seed=5)
    prepared = prepare(folder, extra=[further])
    assert f"have the names of validation cases ({prepared.validation[0]})" in prepared.notes[0]
    assert prepare(folder).notes == ()


def test_a_data_set_without_cases_is_refused_before_a_training_in_words(tmp_path):
    folder = small.dataset(tmp_path / "data")
    shutil.rmtree(folder / "labelsTr")
    with pytest.raises(InputError, match=r"no labelsTr/\*\.nii\.gz was found"):
        prepare(folder)
