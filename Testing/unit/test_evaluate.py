"""A result beside its truth, and what many of them say together."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.errors import Cancelled, InputError
from csam.model import Channel
from csam.model.card import MEASURES
from csam.result import Options, Result, SliceScore, StructureVolume
from csam.training import measures
from csam.training.dataset import Case, read_dataset
from csam.training.evaluate import CERTAIN, evaluate, measure, region_of_interest, samples_and_truth
from csam.training.model_match import in_order_of, in_values_of
from csam.training.summary import summarise

CASE = Case("p1_0", "p1", (), None)


def result(labels, error, image, slice_axis=2):
    """A result with these voxels, its slices ranked by the expected wrong area."""
    axes = tuple(2 - a for a in range(3) if a != slice_axis)
    expected = error.sum(axis=axes)
    order = list(np.argsort(-expected, kind="stable"))
    found, uncertain = sitk.GetImageFromArray(labels), sitk.GetImageFromArray(error)
    for one in (found, uncertain):
        one.CopyInformation(image)
    return Result(
        labels=found,
        error_probability=uncertain,
        entropy=uncertain,
        mutual_information=uncertain,
        probabilities=None,
        slice_axis=slice_axis,
        slices=tuple(SliceScore(n, float(v), (0, 0, 0), order.index(n) + 1) for n, v in enumerate(expected)),
        structures=tuple(StructureVolume(v, f"s{v}", 1.0, 1.1, 0.9, 1.3) for v in (1, 2)),
        case_quality=0.8,
    )


@pytest.fixture
def pair():
    """Truth and prediction (k, j, i) of two structures; the prediction of 1 is one column off, 2 is nowhere."""
    truth = np.zeros((6, 20, 22), np.uint8)
    truth[1:4, 5:11, 6:12] = 1
    found = np.zeros_like(truth)
    found[1:4, 5:11, 7:13] = 1
    error = np.random.default_rng(0).random(truth.shape).astype(np.float32)
    return truth, found, error


def test_dice_volumes_and_the_region_are_those_of_the_voxels(pair):
    truth, found, error = pair
    image = small.placed(truth, (2.0, 2.0, 8.0))
    measured = measure(CASE, image, result(found, error, image), [1, 2])
    assert measured.dice == (pytest.approx(2 * 90 / 216), None)
    assert measured.mean_dice == pytest.approx(2 * 90 / 216)
    assert measured.truth_ml == pytest.approx((108 * 32 / 1000, 0))
    assert measured.intervals_ml == ((0.9, 1.1, 1.3), (0.9, 1.1, 1.3))
    near = region_of_interest((truth > 0) | (found > 0), image)
    np.testing.assert_array_equal(measured.error_probability, error[near])
    assert measured.wrong.sum() == 36
    assert measured.hausdorff_mm == (pytest.approx(2), None)
    assert measured.volume_ml == (1.0, 1.0)
    assert (measured.name, measured.patient, measured.case_quality) == ("p1_0", "p1", 0.8)


def ball(shift, size=(6, 40, 44)):
    """A structure of four slices, each moved by so many (rows, columns)."""
    truth = np.zeros(size, np.uint8)
    for k, (i, j) in zip(range(1, 5), shift, strict=True):
        truth[k, 12 + i : 22 + i, 14 + j : 22 + j] = 1
    return truth


@pytest.mark.parametrize("slice_axis", [0, 2])
def test_labels_that_lie_beside_what_they_label_are_told(slice_axis):
    found = ball([(0, 0)] * 4)
    for shift, away in (([(0, 0)] * 4, None), ([(0, 1)] * 4, None), ([(6, 0), (0, 8), (6, 8), (6, -8)], 17)):
        truth = ball(shift)
        turned = [np.ascontiguousarray(np.moveaxis(a, 0, 2 - slice_axis)) for a in (truth, found)]
        spacing = np.full(3, 2.0)
        spacing[slice_axis] = 8.0
        image = small.placed(turned[0], tuple(spacing))
        measured = measure(CASE, image, result(turned[1], turned[1].astype(np.float32), image, slice_axis), [1, 2])
        if away is None:
            assert (measured.moved_mm, measured.moved_dice, measured.remark) == (None, None, "")
        else:
            ways = 2 * np.array([6, 8, 10, 10])
            assert (measured.moved_mm, measured.moved_dice) == (pytest.approx(ways.mean()), pytest.approx(1))
            assert "Check that they lie on the image" in measured.remark


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_the_way_to_the_labels_counts_rows_and_columns_in_their_own_millimetres(slice_axis):
    turned = [np.ascontiguousarray(np.moveaxis(ball([(d, 0)] * 4), 0, 2 - slice_axis)) for d in (8, 0)]
    spacing = np.insert([3.0, 1.0], 2 - slice_axis, 8.0)[::-1]  # rows, columns and slices of 3, 1 and 8 mm
    image = small.placed(turned[0], tuple(spacing))
    measured = measure(CASE, image, result(turned[1], turned[1].astype(np.float32), image, slice_axis), [1, 2])
    assert measured.moved_mm == pytest.approx(8 * 3)


def test_a_poor_result_of_another_shape_does_not_blame_the_labels(pair):
    truth, found, error = pair
    found[:] = 0
    image = small.placed(truth, (2.0, 2.0, 8.0))
    assert measure(CASE, image, result(found, error, image), [1, 2]).moved_mm is None, "nothing was found"
    found[1:4, 0:20, 3:5] = 1
    assert measure(CASE, image, result(found, error, image), [1, 2]).moved_mm is None, "a strip"


def test_the_region_holds_what_lies_within_ten_millimetres_and_little_more():
    mask = np.zeros((9, 31, 31), bool)
    mask[4, 15, 15] = True
    spacing = np.array([8.0, 1.0, 2.0])  # k, j, i
    found = region_of_interest(mask, small.placed(mask.astype(np.uint8), (2.0, 1.0, 8.0)))
    distance = np.linalg.norm((np.argwhere(found) - [4, 15, 15]) * spacing, axis=1)
    everything = np.linalg.norm((np.indices(mask.shape).reshape(3, -1).T - [4, 15, 15]) * spacing, axis=1)
    assert distance.max() <= 10 + 4
    assert (distance <= 10).sum() == (everything <= 10).sum()
    assert [np.ptp(np.where(found)[axis]) // 2 for axis in range(3)] == [1, 10, 5]
    assert not region_of_interest(np.zeros((3, 3, 3), bool), small.placed(np.zeros((3, 3, 3), np.uint8))).any()


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_slices_are_counted_along_the_slice_axis(pair, slice_axis):
    truth, found, error = pair
    axes = (0, 1, 2)
    order = {2: axes, 1: (1, 0, 2), 0: (2, 1, 0)}[slice_axis]
    truth, found, error = (np.ascontiguousarray(a.transpose(order)) for a in (truth, found, error))
    image = small.placed(truth)
    found_index = [slice(None)] * 3
    found_index[2 - slice_axis] = 5
    found[tuple(found_index)].flat[0] = 1  # ventricle in a slice that has none
    measured = measure(CASE, image, result(found, error, image, slice_axis), [1, 2])
    assert measured.empty_slices == 3
    assert measured.empty_slices_wrong == 1


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_every_slice_has_its_score_and_the_area_that_is_wrong(pair, slice_axis):
    truth, found, error = pair
    order = {2: (0, 1, 2), 1: (1, 0, 2), 0: (2, 1, 0)}[slice_axis]
    truth, found, error = (np.ascontiguousarray(a.transpose(order)) for a in (truth, found, error))
    spacing = [2.0, 2.0, 2.0]
    spacing[slice_axis] = 8.0
    image = small.placed(truth, tuple(spacing))
    measured = measure(CASE, image, result(found, error, image, slice_axis), [1, 2])
    assert measured.slice_wrong_mm2 == (0, 48, 48, 48, 0, 0)
    assert measured.pixel_mm2 == 4
    axes = tuple(2 - a for a in range(3) if a != slice_axis)
    assert measured.slice_scores == pytest.approx(error.sum(axis=axes))
    kept = measured.voxels
    again = np.bincount(kept.slice, kept.error_probability, 6)
    assert again == pytest.approx(np.where(error > CERTAIN, error, 0).sum(axis=axes), rel=1e-4)


def test_an_error_probability_far_from_the_structure_is_kept_but_is_not_in_the_region(pair):
    truth, found, error = pair
    truth, found, error = (np.pad(a, ((0, 0), (0, 30), (0, 0))) for a in (truth, found, error))
    error[0, 45, 3] = 0.4
    image = small.placed(truth)
    measured = measure(CASE, image, result(found, error, image), [1, 2])
    assert (measured.voxels.error_probability == np.float32(0.4)).sum() == 1
    assert not (measured.error_probability == np.float32(0.4)).any()
    assert len(measured.error_probability) == len(measured.wrong) == measured.voxels.region.sum()


def test_a_case_tells_whether_its_worst_slice_was_ranked_in_front(pair):
    truth, found, error = pair
    found = truth.copy()
    found[4, 5:9, 6:10] = 1  # the only slice with an error
    image = small.placed(truth)
    for suspected, first, three in (((4,), True, True), ((0, 1, 4), False, True), ((0, 1, 2), False, False)):
        error = np.full(truth.shape, 0.01, np.float32)
        for place, k in enumerate(suspected):
            error[k] = 0.9 - 0.1 * place
        figures = measure(CASE, image, result(found, error, image), [1, 2]).figures
        assert (figures["worst_slice_first"], figures["worst_slice_in_first_three"]) == (first, three)
        assert figures["slice_spearman"] == pytest.approx(measures.rank_correlation(error[:, 0, 0], [0, 0, 0, 0, 1, 0]))


def test_another_size_of_truth_is_refused_in_words(pair):
    truth, found, error = pair
    image = small.placed(truth)
    with pytest.raises(InputError, match=r"p1_0: the truth has .* voxels"):
        measure(CASE, small.placed(truth[:4]), result(found, error, image), [1])


def test_the_summary_holds_every_figure(pair):
    truth, found, error = pair
    image = small.placed(truth)
    better = truth.copy()
    better[1, 5, 6] = 0
    cases = [measure(CASE, image, result(f, error, image), [1, 2]) for f in (found, better, truth)]
    summary = summarise(cases, ["one", "two"])
    assert list(summary) == [name for name in MEASURES if "function" not in name]  # of several scans: see calibrate
    dices = [c.mean_dice for c in cases]
    assert summary["cases"] == 3
    assert summary["patients"] == 1
    assert summary["dice"] == {"one": pytest.approx(np.mean(dices), abs=1e-4), "two": None}
    assert summary["dice_mean"] == pytest.approx(np.mean(dices), abs=1e-4)
    assert summary["dice_lowest"] == pytest.approx(min(dices), abs=1e-4)
    assert summary["interval_coverage"] == 0  # 0.9 to 1.3 ml around a truth of 3.456 ml
    assert summary["interval_relative_width"] == pytest.approx(0.4 / 3.456, abs=1e-4)
    wrong, error = (np.concatenate([getattr(c, part) for c in cases]) for part in ("wrong", "error_probability"))
    pairs = (error[wrong][:, None] > error[~wrong]).mean()
    assert summary["voxel_error_auroc"] == pytest.approx(pairs, abs=1e-3)
    assert summary["relative_volume_difference"] == {"one": pytest.approx(1 / 3.456 - 1, abs=1e-4), "two": None}
    assert summary["hausdorff_95_mm"]["one"] == pytest.approx(np.mean([c.hausdorff_mm[0] for c in cases]), abs=1e-4)
    assert summary["roi_brier_score"] == pytest.approx(((error - wrong) ** 2).mean(), abs=1e-4)
    assert summary["case_quality_spearman"] is None  # all three are of the same quality
    assert summary["case_quality_aurc"] == summary["aurc_of_no_order"] == pytest.approx(1 - np.mean(dices), abs=1e-4)
    json.dumps(summary, allow_nan=False)


def test_a_case_quality_that_rises_with_dice_correlates_with_plus_one(pair):
    truth, found, error = pair
    image = small.placed(truth)
    better = truth.copy()
    better[1, 5, 6] = 0
    cases = [measure(CASE, image, result(f, error, image), [1, 2]) for f in (found, better, truth)]
    cases = [replace(case, case_quality=quality) for case, quality in zip(cases, (0.2, 0.3, 0.9), strict=True)]
    summary = summarise(cases, ["one", "two"])
    assert summary["case_quality_spearman"] == 1
    assert summary["case_quality_aurc"] == summary["aurc_of_perfect_order"] < summary["aurc_of_no_order"]


def test_a_summary_without_any_error_or_structure_is_still_json():
    nothing = np.zeros((4, 8, 8), np.uint8)
    image = small.placed(nothing)
    cases = [measure(CASE, image, result(nothing, nothing.astype(np.float32), image), [1, 2])] * 3
    summary = summarise(cases, ["one", "two"])
    assert summary["voxel_error_auroc"] is None
    assert summary["interval_coverage"] is None
    json.dumps(summary, allow_nan=False)


def test_a_model_is_measured_on_every_case_and_reported(tmp_path):
    data = read_dataset(small.dataset(tmp_path / "data", patients=3), "(p..)_")
    model, said = small.model(), []
    measured = evaluate(model, data.cases, Options(samples=2), log=said.append)
    assert [c.name for c in measured] == ["p00_0", "p01_0", "p02_0"]
    assert len(said) == 3
    for case, line in zip(measured, said, strict=True):
        low, _mean, high = case.intervals_ml[0]
        assert "Dice" in line
        assert f"before calibration: expected {case.case_quality:.3f}" in line
        assert f"{case.volume_ml[0]:.1f} ml [{low:.1f}, {high:.1f}], true {case.truth_ml[0]:.1f}" in line
    json.dumps([c.figures for c in measured], allow_nan=False)
    assert all(c.energy_distance is None for c in measured)


def test_what_does_not_fit_the_model_is_told_once_with_its_scans(tmp_path):
    folder = small.dataset(tmp_path / "data", patients=4)
    for number, path in enumerate(sorted(folder.glob("*Tr/p00*")) + sorted(folder.glob("*Tr/p01*"))):
        image = sitk.ReadImage(str(path))
        image.SetSpacing((2.0, 2.0, 8.0 + number // 2))
        sitk.WriteImage(image, str(path))
    data = read_dataset(folder)
    model, said = small.model(slice_axis="sagittal"), []
    evaluate(model, data.cases, Options(samples=2), log=said.append)
    notes = [line for line in said if line.startswith("Note for 4 of 4 scans (p00_0, p01_0, p02_0 ...), of the first")]
    assert len(notes) == len(said) - 4
    assert any("2 mm apart; the model was trained on 5 to 10 mm" in note for note in notes)


def test_the_energy_distance_is_that_of_the_samples_on_their_own_grid(tmp_path):
    data = read_dataset(small.dataset(tmp_path / "data", patients=2))
    model, options = small.model(), Options(samples=3)
    (measured,) = evaluate(model, data.cases[:1], options, log=lambda text: None, energy_distance=True)
    images, truth = data.cases[0].read()
    found = samples_and_truth(model, images, truth, options)
    assert found.shape == (4, 6, 18, 20)  # at the model's own spacing the truth stays as it is
    np.testing.assert_array_equal(found[-1], sitk.GetArrayFromImage(truth))
    assert len({labels.tobytes() for labels in found[:-1]}) == 3
    expected = measures.generalised_energy_distance(found[:-1], found[-1], 3)
    assert measured.energy_distance == pytest.approx(expected)
    certain = small.model(small.lively(small.network(uncertainty=False)), free_orientation=True)
    for augmented, orientations in ((False, 3), (True, 4)):
        taken = replace(options, samples=4, test_time_augmentation=augmented)
        found = samples_and_truth(certain, images, truth, taken)[:-1]
        assert len({labels.tobytes() for labels in found}) == orientations, "of four samples, those of a run"


TWO = (Channel("T2", "MR"), Channel("ADC", "MR"))


@pytest.mark.parametrize(
    ("names", "order", "told"),
    [
        (("T2", "ADC"), [0, 1], ""),
        (("adc", "t2"), [1, 0], "Of the data set's channels, adc, t2, the model gets T2, ADC."),
        (("DWI", "T2", "ADC"), [1, 2], "Of the data set's channels, DWI, T2, ADC, the model gets T2, ADC."),
        (("a", "b"), [0, 1], "in their order: a for T2, b for ADC"),
    ],
    ids=str,
)
@pytest.mark.parametrize("in_one_file", [False, True], ids=["files", "4-D file"])
def test_channels_are_the_models_of_the_same_name(tmp_path, names, order, told, in_one_file):
    said, images = [], [small.image(seed=place) for place in range(len(names))]
    paths = tuple(tmp_path / f"{place}.nii.gz" for place in range(1 if in_one_file else len(names)))
    for path, image in zip(paths, [sitk.JoinSeries(images)] if in_one_file else images, strict=True):
        sitk.WriteImage(image, str(path))
    model = small.model(small.network(input_channels=2), channels=TWO)
    (case,) = in_order_of(model, names, [Case("a_1", "a", paths, tmp_path)], said.append)
    read = [sitk.GetArrayFromImage(image) for image in case.read_images()]
    np.testing.assert_array_equal(read, [sitk.GetArrayFromImage(images[place]) for place in order])
    assert told in " ".join(said)
    assert bool(told) == bool(said)


@pytest.mark.parametrize(
    "names", [("ADC",), ("DWI", "T2"), ("T2", "DWI"), ("a", "b", "c"), ("T2", "T2", "ADC")], ids=", ".join
)
def test_a_channel_of_the_model_that_the_data_set_lacks_is_refused_with_both_sets(tmp_path, names):
    model = small.model(small.network(input_channels=2), channels=TWO)
    with pytest.raises(InputError) as caught:
        in_order_of(model, names, [])
    assert str(caught.value).startswith(f"The data set has the channels {', '.join(names)}; small takes T2, ADC.")


def test_a_single_channel_of_another_name_is_told():
    said = []
    assert in_order_of(small.model(), ["CT"], [CASE], said.append) == [CASE]
    assert said == [
        "Channels of the data set have other names than the model's; they are taken in their order: CT for channel 0."
    ]


def truth_for(model, tmp_path, names, said):
    """The values 0, 1 ... of a data set with labels of these names, as the model has them."""
    sitk.WriteImage(small.placed(np.arange(len(names) + 1, dtype=np.uint8)[None, None]), str(tmp_path / "truth.nrrd"))
    (case,) = in_values_of(model, names, [Case("a_1", "a", (), tmp_path / "truth.nrrd")], said.append)
    _, truth = case.read()
    assert truth.GetSpacing() == (2, 2, 8)
    return sitk.GetArrayFromImage(truth).ravel().tolist()


def test_labels_are_the_models_of_the_same_name_in_large_or_small_letters(tmp_path):
    said = []
    assert truth_for(small.model(), tmp_path, ("structure 1", "structure 2"), said) == [0, 1, 2]
    assert truth_for(small.model(), tmp_path, ("Structure 2", "STRUCTURE 1"), said) == [0, 2, 1]
    assert said == []


def test_what_the_model_does_not_know_is_background_and_told(tmp_path):
    said = []
    assert truth_for(small.model(), tmp_path, ("cyst", "structure 1", "structure 2"), said) == [0, 0, 1, 2]
    assert said == ["small does not know cyst: counted as background."]


def test_labels_of_quite_other_names_are_taken_in_their_order_and_told(tmp_path):
    said = []
    assert truth_for(small.model(), tmp_path, ("ball", "ring"), said) == [0, 1, 2]
    assert "in their order: ball for structure 1, ring for structure 2" in said[0]


def test_where_some_names_are_the_same_the_order_tells_of_the_others(tmp_path):
    said = []
    assert truth_for(small.model(), tmp_path, ("structure 1", "ring"), said) == [0, 1, 2]
    assert "in their order: ring for structure 2" in said[0]
    with pytest.raises(InputError, match="has the labels ring, structure 1; small has structure 1, structure 2"):
        truth_for(small.model(), tmp_path, ("ring", "structure 1"), said)


def test_a_model_knows_its_labels_by_the_names_of_its_training_data_too(tmp_path):
    said, model = [], small.model(provenance={"data_labels": ["s1", "structure 1"]})
    assert truth_for(model, tmp_path, ("structure 1", "S1"), said) == [0, 2, 1]
    assert said == []


@pytest.mark.parametrize("names", [("structure 1",), ("cyst", "structure 1"), ("a", "b", "c"), ("a",)], ids=", ".join)
def test_a_structure_of_the_model_without_a_truth_is_refused_with_both_sets(tmp_path, names):
    with pytest.raises(InputError) as caught:
        truth_for(small.model(), tmp_path, names, [])
    assert f"labels {', '.join(names)}; small has structure 1, structure 2." in str(caught.value)


def test_cases_that_are_not_assessed_have_no_figures_of_uncertainty(pair):
    truth, found, error = pair
    image = small.placed(truth)
    one, other = (measure(CASE, image, result(f, error, image), [1, 2]) for f in (found, truth))
    alone = summarise([replace(one, assessed=False)], ["one", "two"])
    known = {name for name, value in alone.items() if value is not None}
    assert list(alone) == [name for name in MEASURES if "function" not in name]
    assert known == {
        "cases", "patients", "dice", "dice_mean", "dice_lowest", "hausdorff_95_mm", "relative_volume_difference",
        "empty_slices", "empty_slices_with_structure",
    }  # fmt: skip
    mixed, rest = (summarise(cases, ["one", "two"]) for cases in ([replace(one, assessed=False), other], [other]))
    assert mixed["dice_mean"] == pytest.approx((one.mean_dice + 1) / 2, abs=1e-4)
    assert mixed["roi_brier_score"] == rest["roi_brier_score"]
    assert replace(one, assessed=False).figures["roi_calibration_error"] is None
    assert replace(one, assessed=False).figures["dice"] == one.dice


def test_an_evaluation_can_be_cancelled(tmp_path):
    data = read_dataset(small.dataset(tmp_path, patients=2))
    with pytest.raises(Cancelled):
        evaluate(small.model(), data.cases, Options(samples=2), log=lambda text: None, cancelled=lambda: True)


def test_a_scan_without_structures_has_no_dice_to_raise_the_mean_with(tmp_path):
    folder = small.dataset(tmp_path / "data", patients=2)
    [path] = folder.glob("labelsTr/p01*")
    empty = sitk.ReadImage(str(path)) * 0
    sitk.WriteImage(empty, str(path))
    measured = evaluate(small.model(), read_dataset(folder).cases, Options(samples=2), log=lambda text: None)
    heart = measured[0]
    nothing = replace(measured[1], dice=(None, None))
    assert summarise([heart, nothing], ["bright", "grey"])["dice_mean"] == round(heart.mean_dice, 4)
