"""A data set that grows case by case: every case whole, nothing written over, and what grows can be trained on."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.errors import InputError
from csam.training import collect
from csam.training.collect import add_case, free_name
from csam.training.dataset import read_dataset

CHANNELS, LABELS = ["T2", "ADC"], ["zone", "lesion"]


def case(seed: int = 0, direction=None):
    images = [small.image(seed=seed, direction=direction), small.image(seed=seed + 50, direction=direction)]
    truth = sitk.Cast(images[0] > 600, sitk.sitkUInt8)
    return images, truth


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("direction", [None, small.OBLIQUE], ids=["straight", "oblique"])
def test_what_is_added_is_read_again_as_it_was(tmp_path, direction):
    folder = tmp_path / "new" / "hearts"
    images, truth = case(direction=direction)
    assert add_case(folder, "case001", images, truth, CHANNELS, LABELS) == 1
    assert add_case(folder, "case002", *case(7), CHANNELS, ["Zone", "LESION"]) == 2
    data = read_dataset(folder)
    assert (data.name, data.channels, data.labels) == ("hearts", ("T2", "ADC"), ("zone", "lesion"))
    assert data.patients == ["case001", "case002"]
    read, labels = data.cases[0].read()
    for found, wanted in zip((*read, labels), (*images, truth), strict=True):
        np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (found, wanted)))
        np.testing.assert_allclose(found.GetDirection(), wanted.GetDirection(), atol=1e-5)
        np.testing.assert_allclose(found.GetOrigin(), wanted.GetOrigin(), atol=1e-4)
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2


def test_a_data_set_of_nnu_nets_keeps_its_file_ending_and_fields(tmp_path):
    folder = small.dataset(tmp_path, patients=2)
    for path in sorted(folder.glob("*Tr/*.nii.gz")):
        sitk.WriteImage(sitk.ReadImage(str(path)), str(path).replace(".nii.gz", ".nrrd"))
        path.unlink()
    info = json.loads((folder / "dataset.json").read_text()) | {"file_ending": ".nrrd", "reference": "somebody"}
    (folder / "dataset.json").write_text(json.dumps(info))
    image = small.image()
    assert add_case(folder, "p9", [image], image > 900, ["picture"], ["bright ball", "grey ball"]) == 3
    assert (folder / "labelsTr" / "p9.nrrd").is_file()
    assert json.loads((folder / "dataset.json").read_text()) == info | {"numTraining": 3}
    assert len(read_dataset(folder).cases) == 3


REFUSED = {
    "its name is taken": ({"name": "case001"}, "has a case case001 already"),
    "in other letters": ({"name": "CASE001"}, "has a case CASE001 already"),
    "no name": ({"name": ""}, "'' is no name for a case"),
    "a path": ({"name": "../case"}, "is no name for a case"),
    "too long a name": ({"name": "a" * 101}, "is no name for a case"),
    "other channels": ({"channels": ["ADC", "T2"]}, r"has the channels T2, ADC .*; this case has .* ADC, T2"),
    "other labels": ({"labels": ["zone"]}, r"the labels zone, lesion; this case has .* the labels zone\. Choose"),
}


@pytest.mark.parametrize(("changes", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_added_changes_nothing(tmp_path, changes, said):
    images, truth = case()
    add_case(tmp_path, "case001", images, truth, CHANNELS, LABELS)
    before = files(tmp_path)
    arguments = {"name": "case002", "images": images, "truth": truth, "channels": CHANNELS, "labels": LABELS}
    with pytest.raises(InputError, match=said):
        add_case(tmp_path, **(arguments | changes))
    assert files(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "letter.txt").write_text("Dear ...")
    with pytest.raises(InputError, match=r"holds other files and no dataset\.json"):
        add_case(tmp_path, "case001", *case(), CHANNELS, LABELS)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match=r"dataset\.json cannot be used"):
        add_case(tmp_path, "case001", *case(), CHANNELS, LABELS)
    listed = {"modality": {"0": "T2"}, "labels": {"0": "bg", "1": "zone"}, "training": [{"image": "a", "label": "b"}]}
    (tmp_path / "dataset.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match="Decathlon's layout"):
        add_case(tmp_path, "case001", *case(), ["T2"], ["zone"])


def test_an_image_that_nobody_labelled_is_not_written_over(tmp_path):
    images, truth = case()
    add_case(tmp_path, "case001", images, truth, CHANNELS, LABELS)
    (tmp_path / "labelsTr" / "case001.nii.gz").unlink()
    before = files(tmp_path)
    with pytest.raises(InputError, match="has a case case001 already"):
        add_case(tmp_path, "case001", *case(3), CHANNELS, LABELS)
    assert files(tmp_path) == before


@pytest.mark.parametrize("fails_at", [0, 1, 2, "dataset.json"], ids=str)
def test_a_case_that_could_not_be_written_leaves_nothing(tmp_path, monkeypatch, fails_at):
    add_case(tmp_path, "case001", *case(), CHANNELS, LABELS)
    before, written = files(tmp_path), []
    write = sitk.WriteImage

    def full(image, path):
        if len(written) == fails_at:
            raise RuntimeError("itk::ERROR: NiftiImageIO\nNo space left on device")
        written.append(path)
        write(image, path)

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(collect.sitk, "WriteImage", full)
        if fails_at == "dataset.json":
            patch.setattr(collect.os, "replace", disk_full)
        with pytest.raises(InputError, match=r"case002 could not be written to .*: No space left on device"):
            add_case(tmp_path, "case002", *case(1), CHANNELS, LABELS)
    assert files(tmp_path) == before
    assert add_case(tmp_path, "case002", *case(1), CHANNELS, LABELS) == 2


def test_the_first_case_may_be_tried_again_after_it_failed(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(collect.sitk, "WriteImage", lambda *_: (_ for _ in ()).throw(RuntimeError("no")))
        with pytest.raises(InputError):
            add_case(tmp_path, "case001", *case(), CHANNELS, LABELS)
    assert add_case(tmp_path, "case001", *case(), CHANNELS, LABELS) == 1


def test_names_that_are_offered_are_free_and_those_of_single_patients(tmp_path):
    assert free_name(tmp_path / "nowhere") == "case001"
    add_case(tmp_path, "Case001_2", *case(), CHANNELS, LABELS)
    add_case(tmp_path, "case003", *case(1), CHANNELS, LABELS)
    assert free_name(tmp_path) == "case002"
