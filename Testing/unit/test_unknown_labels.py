"""Labels that nobody gave: read, checked, resized, kept in a data set, and never taken for a structure."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit import small

from csam.errors import InputError
from csam.image.stack import resize_labels
from csam.image.unknown import UNKNOWN, known_slices_only
from csam.model import Model
from csam.model.card import card
from csam.training.add_case import collection
from csam.training.augment import Augmenter, Example, choose_slices, random_example
from csam.training.auto_plan import decide
from csam.training.case_facts import examine_case
from csam.training.dataset import inspect, read_dataset
from csam.training.dataset_json import with_ignore
from csam.training.model_match import in_values_of
from csam.training.plan import Plan
from csam.training.prepare import prepare
from csam.training.train import train
from csam.training.trained_model import learnt_from

DRAWN = (1, 3, 4)
NAMES = ["bright ball", "grey ball"]


def in_part(folder, slices=DRAWN, cases=None):
    """The balls of ``small.dataset`` of which only some slices were drawn; the rest has the ignore label, 3."""
    info = json.loads((folder / "dataset.json").read_text())
    info["labels"]["ignore"] = 3
    (folder / "dataset.json").write_text(json.dumps(info))
    for path in sorted((folder / "labelsTr").iterdir())[:cases]:
        truth = sitk.ReadImage(str(path))
        labels = known_slices_only(sitk.GetArrayFromImage(truth), slices, 0)
        sitk.WriteImage(small.placed(np.where(labels == UNKNOWN, 3, labels).astype(np.uint8)), str(path))
    return folder


def test_the_ignore_label_is_no_structure_and_marks_what_is_unknown(tmp_path):
    whole, parts = small.dataset(tmp_path / "whole", 1), in_part(small.dataset(tmp_path / "parts", 1))
    data = read_dataset(parts)
    assert data.labels == ("bright ball", "grey ball")
    [first], [other] = (read_dataset(folder).cases for folder in (whole, parts))
    truth, found = (sitk.GetArrayFromImage(case.read()[1]) for case in (first, other))
    np.testing.assert_array_equal(found[[*DRAWN]], truth[[*DRAWN]])
    assert (found[[0, 2, 5]] == UNKNOWN).all()


def test_the_facts_of_a_case_are_those_of_its_drawn_slices(tmp_path):
    whole, parts = small.dataset(tmp_path / "whole", 1), in_part(small.dataset(tmp_path / "parts", 1), (2, 4))
    data = read_dataset(parts)
    facts, all_of_it = data.facts["p00_0"], read_dataset(whole).facts["p00_0"]
    labels = sitk.GetArrayFromImage(read_dataset(whole).cases[0].read()[1])[[2, 4]]
    assert facts.voxels == {v: int((labels == v).sum()) for v in (1, 2) if (labels == v).any()}
    assert facts.known == (20, 18, 2)
    assert not facts.whole
    assert all_of_it.whole
    assert facts.box[2] == (2, 4 if labels[1].any() else 2)
    assert facts.values.max() > 400


def test_a_case_without_anything_known_is_a_fault_and_one_that_was_drawn_empty_is_none(tmp_path):
    folder = in_part(small.dataset(tmp_path, 3), cases=0)
    labels = folder / "labelsTr"
    sitk.WriteImage(small.placed(np.full((6, 18, 20), 3, np.uint8)), str(labels / "p00_0.nii.gz"))
    empty = np.full((6, 18, 20), 3, np.uint8)
    empty[2] = 0
    sitk.WriteImage(small.placed(empty), str(labels / "p01_0.nii.gz"))
    _, faults = inspect(folder)
    assert faults == ["p00_0: every voxel of its labels is unknown: at least one slice has to be drawn or reviewed"]


def test_values_above_the_ignore_label_are_a_fault(tmp_path):
    folder = in_part(small.dataset(tmp_path, 1))
    path = folder / "labelsTr" / "p00_0.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(path)) + 1, str(path))
    with pytest.raises(InputError, match=r"its labels hold the values \[4\], which dataset.json does not name"):
        read_dataset(folder)


def test_more_structures_than_labels_have_numbers_are_refused(tmp_path):
    folder = small.dataset(tmp_path, 1)
    info = json.loads((folder / "dataset.json").read_text())
    info["labels"] = {"background": 0, **{f"s{v}": v for v in range(1, 256)}}
    (folder / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="has 255 structures; 254 are supported"):
        read_dataset(folder)


def test_a_training_on_cases_known_in_part_says_so_and_knows_no_volumes_from_them(tmp_path):
    folder = in_part(small.dataset(tmp_path, 4), cases=3)
    prepared = prepare(folder, {"patient_pattern": "(p..)_", "validation_patients": 1}, split_file=None)
    counts = sum(not prepared.data.facts[case.name].whole for case in prepared.training_cases)
    assert f"{counts} of 3 training scans are known in part only: nothing is learned from the unknown voxels" in (
        prepared.notes
    )
    data = prepared.data
    plan = Plan(intensity="volume")
    whole = [case for case in data.cases if data.facts[case.name].whole]
    assert learnt_from(data, plan, data.cases).volumes_ml == learnt_from(data, plan, whole).volumes_ml
    assert len(whole) == 1


def test_a_training_on_such_cases_alone_ends_in_a_model_that_knows_no_unknown_structure(tmp_path):
    folder = in_part(small.dataset(tmp_path / "data", 4), (2, 3))
    plan = Plan(
        base_channels=4, num_levels=2, num_slices=4, in_plane_spacing=2.0, field_of_view=(16, 16), intensity="volume",
        steps=3, validate_every=3, validation_patients=2, patient_pattern="(p..)_", precision="float32",
    )  # fmt: skip
    said = []
    model = train(folder, tmp_path / "out", plan, device="cpu", log=said.append)
    assert [label.name for label in model.labels] == NAMES
    assert model.architecture["num_classes"] == 3
    assert model.calibration.volume_scale == {1: 1.0, 2: 1.0}
    assert "No scan is known whole: volume intervals and the expected Dice are not calibrated." in model.metrics["note"]
    assert model.metrics["validation"]["cases_known_whole"] == 0
    assert "Scans labelled completely" in card(Model.load(tmp_path / "out" / "model"))


def test_where_every_drawn_slice_shows_a_structure_empty_ones_are_made_up(tmp_path):
    data = read_dataset(in_part(small.dataset(tmp_path, 2), (2, 3)))
    [decision] = [d for d in decide(data) if d.field == "empty_slices"]
    assert decision.value
    assert "structures reach over 100% of a stack" in decision.reason


def test_labels_of_other_values_leave_unknown_what_is(tmp_path):
    data = read_dataset(in_part(small.dataset(tmp_path, 1)))
    model = small.model()
    [case] = in_values_of(model, ("structure 2", "structure 1"), data.cases, log=lambda text: None)
    before, after = (sitk.GetArrayFromImage(one.read()[1]) for one in (data.cases[0], case))
    np.testing.assert_array_equal(after, np.choose(np.minimum(before, 3), (0, 2, 1, UNKNOWN)))


def test_a_pixel_is_unknown_where_most_of_it_is_else_the_known_majority():
    block = np.array([[[1, 1], [UNKNOWN, 2]], [[UNKNOWN, UNKNOWN], [UNKNOWN, 1]], [[0, UNKNOWN], [2, 2]]], np.uint8)
    labels = np.tile(block, (1, 4, 4))
    found = resize_labels(labels, (4, 4))[:, 1:3, 1:3]
    assert [sorted(set(one.ravel().tolist())) for one in found] == [[1], [UNKNOWN], [2]]


def test_more_than_half_has_to_be_unknown_though_no_structure_covers_more():
    quarters = np.array([[[UNKNOWN, UNKNOWN], [1, 2]]], np.uint8)
    assert UNKNOWN not in resize_labels(np.repeat(np.repeat(quarters, 4, 1), 4, 2), (1, 1))


def test_labels_all_unknown_stay_so():
    assert (resize_labels(np.full((2, 8, 8), UNKNOWN, np.uint8), (4, 4)) == UNKNOWN).all()


def sparse_example(drawn, count=20):
    labels = torch.full((count, 32, 32), UNKNOWN, dtype=torch.uint8)
    labels[list(drawn)] = 0
    labels[list(drawn), 8:16, 8:16] = 1
    return Example(torch.rand(1, count, 32, 32), labels)


def test_every_window_holds_a_drawn_slice():
    known = np.zeros(20, bool)
    known[[2, 17]] = True
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert known[choose_slices(20, 4, rng, dropped=rng.random() < 0.5, known=known)].any()


def test_windows_with_more_drawn_slices_are_taken_more_often():
    known = np.zeros(20, bool)
    known[[2, 14, 15, 16]] = True
    rng = np.random.default_rng(0)
    seen = [known[choose_slices(20, 4, rng, known=known)].sum() for _ in range(300)]
    assert np.mean(np.array(seen) > 1) > 0.5


def test_a_fully_known_stack_is_cut_as_ever():
    everything = np.ones(20, bool)
    assert len(choose_slices(20, 4, np.random.default_rng(0), known=everything)) == 4
    before, after = (np.random.default_rng(5), np.random.default_rng(5))
    np.testing.assert_array_equal(choose_slices(20, 4, before), choose_slices(20, 4, after, known=None))


def test_an_example_of_which_one_corner_is_known_shows_that_corner():
    labels = torch.full((6, 64, 64), UNKNOWN, dtype=torch.uint8)
    labels[:, 50:60, 4:14] = 0
    example = Example(torch.rand(1, 6, 64, 64), labels)
    rng = np.random.default_rng(0)
    for _ in range(30):
        shown = random_example(example, 4, (16, 16), rng, empty_slices=False)
        inside = shown.values[0] != 0
        assert ((shown.labels != UNKNOWN) & inside).any()


def test_augmentation_keeps_unknown_slices_unknown_and_invents_no_label():
    make = Augmenter(4, (16, 16), seed=3, empty_slices=True)
    some = 0
    for step in range(25):
        out = make([sparse_example((3, 9, 12))], step)
        assert set(out.labels.unique().tolist()) <= {0, 1, UNKNOWN}
        some += bool((out.labels == UNKNOWN).any())
        assert (out.labels != UNKNOWN).any()
    assert some > 15


def case(seed: int = 0):
    image = small.image(seed=seed)
    truth = sitk.GetImageFromArray((sitk.GetArrayFromImage(image) > 700).astype(np.uint8))
    truth.CopyInformation(image)
    return [image], truth


def of_file(folder, name):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / f"{name}.nii.gz")))


def test_a_case_of_which_three_slices_were_drawn_is_kept_with_the_others_unknown(tmp_path):
    images, truth = case()
    cases = collection(tmp_path, ["T2"], ["zone"])
    cases.add("whole", *case(1))
    assert json.loads((tmp_path / "dataset.json").read_text())["labels"] == {"background": 0, "zone": 1}
    cases.add("part", images, truth, known_slices=DRAWN)
    cases.add("whole2", *case(2))  # by the same object, which was there before the ignore label
    labels = json.loads((tmp_path / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "zone": 1, "ignore": 2}
    assert (of_file(tmp_path, "part")[[0, 2, 5]] == 2).all()
    data = read_dataset(tmp_path)
    assert data.labels == ("zone",)
    found = {one.name: sitk.GetArrayFromImage(one.read()[1]) for one in data.cases}
    np.testing.assert_array_equal(found["part"][[*DRAWN]], sitk.GetArrayFromImage(truth)[[*DRAWN]])
    assert (found["part"][[0, 2, 5]] == UNKNOWN).all()
    assert [UNKNOWN in found[name] for name in ("whole", "whole2")] == [False, False]


def test_known_slices_count_along_the_axis_that_is_said(tmp_path):
    images, truth = case()
    collection(tmp_path, ["T2"], ["zone"]).add("part", images, truth, known_slices=[4, 5], slice_axis="i")
    labels = of_file(tmp_path, "part")
    assert set(np.flatnonzero((labels != 2).any((0, 1)))) == {4, 5}


def test_voxels_that_are_marked_unknown_are_kept_as_that_in_the_data_sets_own_values(tmp_path):
    images, truth = case()
    labels = sitk.GetArrayFromImage(truth) * 2
    labels[:, 3] = UNKNOWN
    collection(tmp_path, ["T2"], ["lesion", "zone"]).add("first", *case(3))
    mixed = sitk.GetImageFromArray(labels)
    mixed.CopyInformation(truth)
    collection(tmp_path, ["T2"], ["Zone", "Lesion"]).add("part", images, mixed)
    np.testing.assert_array_equal(of_file(tmp_path, "part"), np.choose(np.minimum(labels, 3), (0, 9, 1, 3)))


@pytest.mark.parametrize(
    ("slices", "said"),
    [([], "at least one slice has to be drawn or reviewed"), ([2, 6], "not all are among 0 to 5"), ([-1], "0 to 5")],
    ids=str,
)
def test_slices_that_cannot_be_known_are_refused_and_nothing_is_written(tmp_path, slices, said):
    with pytest.raises(InputError, match=said):
        collection(tmp_path / "new", ["T2"], ["zone"]).add("part", *case(), known_slices=slices)
    assert not (tmp_path / "new").exists()


def test_a_data_set_that_got_another_structure_meanwhile_takes_no_case_of_the_old_labels(tmp_path):
    cases = collection(tmp_path, ["T2"], ["zone"])
    cases.add("first", *case(1))
    path = tmp_path / "dataset.json"
    info = json.loads(path.read_text())
    info["labels"]["lesion"] = 2
    path.write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"has the labels zone, lesion by now\. Open it again"):
        cases.add("part", *case(), known_slices=DRAWN)
    assert not (tmp_path / "labelsTr" / "part.nii.gz").exists()


def test_a_structure_may_not_take_the_number_of_what_is_unknown(tmp_path):
    collection(tmp_path, ["T2"], ["zone"]).add("part", *case(), known_slices=DRAWN)
    path = tmp_path / "dataset.json"
    info = json.loads(path.read_text())
    info["labels"]["lesion"] = 3
    path.write_text(json.dumps(info))
    with pytest.raises(InputError, match='"ignore" with the value 2; what is unknown has to have the highest value'):
        read_dataset(tmp_path)


def test_the_ignore_label_is_written_the_way_the_others_are():
    by_value = {"channel_names": {"0": "T2"}, "labels": {"0": "background", "1": "zone"}, "file_ending": ".nrrd"}
    assert with_ignore(by_value)["labels"] == {"0": "background", "1": "zone", "2": "ignore"}
    assert with_ignore(with_ignore(by_value)) == with_ignore(by_value)


def test_unknown_values_are_no_structures_in_an_image_alone():
    images, truth = case()
    labels = sitk.GetArrayFromImage(truth)
    labels[:] = 0
    labels[2] = 2
    facts, faults = examine_case(images, small.placed(labels, origin=(-12.0, 7.0, 31.0)), ["T2"], 2, 2)
    assert not faults
    assert facts.voxels == {}
    assert facts.box is None
