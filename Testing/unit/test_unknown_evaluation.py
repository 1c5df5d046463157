"""A case that is known in part is measured where it is known, and says what it cannot tell."""

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small
from unit.test_evaluate import CASE, result

from csam.image.unknown import UNKNOWN
from csam.model import Calibration
from csam.result import Options
from csam.training import figures, measures
from csam.training.calibrate import apply, cross_fitted, dice_scale, few_for_intervals, fit, volume_scale
from csam.training.dataset import Case
from csam.training.evaluate import evaluate, measure
from csam.training.summary import summarise
from csam.uncertainty.slice_ranking import FACTS

KNOWN = [1, 3, 4]


def arrays():
    """Truth and prediction of one structure, (k, j, i), the prediction one column off; and error probabilities."""
    truth = np.zeros((6, 20, 22), np.uint8)
    truth[1:5, 5:11, 6:12] = 1
    found = np.roll(truth, 1, 2)
    found[4, 5:9] = 0
    return truth, found, np.random.default_rng(0).random(truth.shape).astype(np.float32)


def in_part(truth, known=KNOWN):
    part = np.full_like(truth, UNKNOWN)
    part[known] = truth[known]
    return part


def measured(truth, found, error, name="p1_0", patient="p1", image=None):
    case = replace(CASE, name=name, patient=patient)
    placed = small.placed(truth)
    run = result(found, error, placed)
    return measure(case, placed, replace(run, structures=run.structures[:1]), [1], image=image)


def test_dice_is_that_of_the_known_slices():
    truth, found, error = arrays()
    case = measured(in_part(truth), found, error)
    assert case.dice == (pytest.approx(measures.dice(truth[KNOWN] == 1, found[KNOWN] == 1)),)
    assert case.dice != measured(truth, found, error).dice


def test_what_the_result_says_where_nobody_knows_changes_no_figure_of_labels():
    truth, found, error = arrays()
    other = found.copy()
    other[2] = 1 - other[2]
    one, two = (measured(in_part(truth), some, error) for some in (found, other))
    assert one.dice == two.dice
    assert one.slice_wrong_mm2 == two.slice_wrong_mm2
    assert one.moved_mm == two.moved_mm
    assert not (two.voxels.region & (two.voxels.slice == 2)).any()


def test_a_case_known_in_part_has_no_volume_and_no_surface_distance():
    truth, found, error = arrays()
    case = measured(in_part(truth), found, error)
    told = case.figures
    assert told["truth_ml"] == told["hausdorff_95_mm"] == (None,)
    assert told["relative_volume_difference"] == [None]
    assert told["known_slices"] == 3
    assert measured(truth, found, error).figures["known_slices"] is None


def test_the_figures_of_uncertainty_are_those_of_known_voxels():
    truth, found, error = arrays()
    case = measured(in_part(truth), found, error)
    whole = measured(truth, found, error)
    near = whole.voxels.region & np.isin(whole.voxels.slice, KNOWN)
    stated, wrong = whole.voxels.error_probability[near], (whole.voxels.truth != whole.voxels.found)[near]
    assert len(case.wrong) > 100
    assert case.wrong.sum() == wrong.sum() > 0
    # the region of the whole case may reach further, for its truth has more slices
    assert set(case.error_probability) <= set(stated)
    assert case.figures["voxel_error_auroc"] == measures.error_auroc(case.error_probability, case.wrong)
    assert not np.any((case.voxels.truth == UNKNOWN) & case.voxels.region)


def test_slices_that_are_not_known_whole_take_no_part_in_the_order_of_slices():
    truth, found, error = arrays()
    part = in_part(truth)
    part[3, 0, 0] = UNKNOWN
    error = 0.01 * error
    error[[0, 2, 5]] = 1
    error[4] = 0.5
    case = measured(part, found, error)
    assert case.known_slices == (False, True, False, False, True, False)
    assert case.slice_wrong_mm2[2] == 0
    assert case.figures["worst_slice_first"] is (case.slice_wrong_mm2[4] >= case.slice_wrong_mm2[1])


def test_slices_without_a_structure_are_counted_where_that_is_known():
    truth, found, error = arrays()
    assert measured(truth, found, error).empty_slices == 2
    assert measured(in_part(truth, [0, 1]), found, error).empty_slices == 1


def test_volumes_and_expected_dice_are_calibrated_on_the_cases_that_are_known_whole():
    truth, found, error = arrays()
    whole = [measured(truth, found, error, f"w{n}", f"w{n}") for n in range(3)]
    parts = [measured(in_part(truth), truth, error, f"q{n}", f"q{n}") for n in range(3)]
    assert volume_scale([*whole, *parts], 0) == volume_scale(whole, 0)
    assert dice_scale([*whole, *parts]) == dice_scale(whole)
    assert dice_scale(parts) == volume_scale(parts, 0) == 1.0
    assert "No scan is known whole: volume intervals and the expected Dice are not calibrated" in (
        few_for_intervals(parts)
    )
    assert few_for_intervals([*whole, *parts]).startswith("Intervals fitted on 3 scans")


def test_the_order_of_slices_is_learned_from_the_known_ones(monkeypatch):
    from csam.training import learn_ranking

    truth, found, error = arrays()
    taught = []
    monkeypatch.setattr(learn_ranking, "fit", lambda stacks: taught.extend(stacks))
    fit([measured(in_part(truth), found, error, image=small.image(truth.shape[::-1]))], [1])
    [stack] = taught
    assert stack.facts.shape == (3, len(FACTS))
    assert len(stack.wrong) == 3


def test_cases_known_in_part_are_summed_up_with_the_others_and_drawn(tmp_path):
    truth, found, error = arrays()
    cases = [measured(in_part(truth), found, error, f"q{n}", f"q{n}") for n in range(4)]
    alone = summarise(cases, ["one"])
    assert (alone["cases"], alone["cases_known_whole"]) == (4, 0)
    assert alone["interval_coverage"] is alone["case_quality_aurc"] is alone["aurc_of_no_order"] is None
    assert alone["hausdorff_95_mm"] == {"one": None}
    assert alone["voxel_error_auroc"] is not None
    both = summarise([*cases, measured(truth, found, error, "w", "w")], ["one"])
    assert both["cases_known_whole"] == 1
    assert both["interval_coverage"] is not None
    after = cross_fitted(cases, [1])
    json.dumps([alone, both, summarise(after, ["one"])], allow_nan=False)
    figures.draw(tmp_path / "some.png", "known in part", cases, after)
    figures.write_json(tmp_path / "some.json", {}, alone, alone, after)
    assert "Scans labelled completely" in figures.table(alone, alone, "")


def test_calibrating_afterwards_is_running_the_calibrated_model_in_all_slices(tmp_path):
    folder = small.dataset(tmp_path, patients=1)
    labels = folder / "labelsTr" / "p00_0.nii.gz"
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    values[[0, 2]] = 3
    sitk.WriteImage(small.placed(values), str(labels))
    case = Case("p00_0", "p00", (folder / "imagesTr" / "p00_0_0000.nii.gz",), labels, ignore=3)
    model = small.model()
    calibration = Calibration(((0.0, 0.0), (0.3, 0.1), (1.0, 0.9)), {1: 2.0, 2: 0.5}, 1.5)
    said = []
    [plain] = evaluate(model, [case], Options(samples=2), log=said.append)
    assert "true unknown" in said[0]
    [run] = evaluate(replace(model, calibration=calibration), [case], Options(samples=2), log=said.append)
    applied = apply(plain, calibration, [1, 2])
    np.testing.assert_allclose(applied.slice_scores, run.slice_scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(applied.intervals_ml, run.intervals_ml, rtol=1e-3, atol=1e-3)


def test_the_energy_distance_is_that_of_the_known_voxels(tmp_path):
    truth, found, error = arrays()
    samples = np.stack([found, truth, in_part(truth)])
    other = samples.copy()
    other[:2, 2] = 1
    placed = small.placed(in_part(truth))
    one, two = (measure(CASE, placed, result(found, error, placed), [1], some) for some in (samples, other))
    assert one.energy_distance == two.energy_distance > 0
