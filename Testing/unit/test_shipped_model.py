"""The models that ship: whole, described, and good on a heart whose truth is exact."""

import json

import pytest
import SimpleITK as sitk

from csam.model import Model
from csam.model.card import card
from csam.model.shipped import SHIPPED
from csam.phantom import cine_stack
from csam.pipeline.segment import Options, segment

FOLDER = SHIPPED / "cardiac-lv"
RECIPES = FOLDER.parents[3] / "Resources"
RECIPE = RECIPES / "cardiac-lv"
EVERY = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir() and path.name[0] not in "._")


@pytest.fixture(scope="module")
def model():
    return Model.load(FOLDER)


@pytest.mark.parametrize("name", EVERY)
def test_each_is_small_enough_to_ship(name):
    assert sum(path.stat().st_size for path in (SHIPPED / name).iterdir()) < 20 * 2**20


@pytest.mark.parametrize("name", EVERY)
def test_the_card_of_each_says_what_its_model_json_says(name):
    assert (SHIPPED / name / "MODEL_CARD.md").read_text(encoding="utf-8") == card(Model.load(SHIPPED / name))


def test_who_calibrated_cavity_and_myocardium_was_unseen_to_the_model_that_measured_them():
    model = Model.load(SHIPPED / "cardiac-lv-myo")
    folds, given = model.provenance["folds"], json.loads((RECIPE / "folds.json").read_text())
    assert folds == [fold["val"] for fold in given[: len(folds)]]
    assert {name.split("_")[0] for name in model.metrics["cases"]} == {name for fold in folds for name in fold}


def test_the_cavity_lies_inside_the_myocardium_and_both_give_the_ventricles_function():
    model = Model.load(SHIPPED / "cardiac-lv-myo")
    assert [label.inside for label in model.labels] == [2, 0]
    assert model.free_orientation, "scanners store a heart any way up"
    [measure] = model.measures
    assert measure.structures == {"cavity": 1, "myocardium": 2}
    assert {"EF", "SV"} <= model.calibration.figure_scale.keys()


def test_everyone_it_learned_from_was_assessed_by_a_model_that_had_not_seen_them(model):
    folds, training = model.provenance["folds"], model.provenance["training_patients"]
    assert len(folds) == 5
    assert sorted(patient for fold in folds for patient in fold) == training
    assert len(training) >= 25
    given = json.loads((RECIPE / "folds.json").read_text())
    assert folds == [fold["val"] for fold in given]
    assert all(not {*fold["train"]} & {*fold["val"]} for fold in given)


def test_its_recorded_figures_are_those_that_were_asked_for(model):
    cases = model.metrics["cases"]
    assert {name.split("_")[0] for name in cases} == set(model.provenance["training_patients"])
    assert sum(cases.values()) / len(cases) >= 0.92
    assert min(cases.values()) >= 0.70


@pytest.mark.parametrize("name", EVERY)
def test_each_carries_terminology_for_every_structure(name):
    for label in Model.load(SHIPPED / name).labels:
        assert label.terminology["type"][0] == "SCT"


def test_it_is_calibrated(model):
    calibration = model.calibration_for(Options(test_time_augmentation=True))
    assert len(calibration.error_map) > 2
    assert calibration.volume_scale[1] > 0


@pytest.mark.parametrize("name", EVERY)
def test_the_recipe_in_resources_is_the_one_that_each_was_trained_with(name):
    model = Model.load(SHIPPED / name)
    stages = [model.provenance, *(own for _, own in model.ancestors)]
    plans = sorted((RECIPES / name).glob("plan-*.json"), reverse=True)
    assert len(plans) == len(stages)
    for own, path in zip(stages, plans, strict=True):
        plan = json.loads(path.read_text())
        assert {field: own["plan"][field] for field in plan} == plan
        assert own["plan"]["weights"] == "last"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7, 21])
def test_it_finds_the_ventricle_of_a_phantom_and_none_beyond_it(model, seed):
    phantom = cine_stack(seed)
    truth = sitk.Cast(phantom.labels == 1, sitk.sitkUInt8)
    result = segment(phantom.image, model, Options(samples=4))
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(result.labels, truth)
    assert overlap.GetDiceCoefficient() >= 0.90
    areas = [score.areas_mm2[0] for score in result.slices]
    assert areas[0] == 0, "the slice above the base has no ventricle"
    assert areas[-1] == 0, "the slice below the apex has no ventricle"


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["diastole", "systole"])
def test_cavity_and_myocardium_of_a_thick_walled_phantom_are_found(phase):
    phantom = cine_stack(8001, phase=phase, thick_walled=True)
    result = segment(phantom.image, Model.load(SHIPPED / "cardiac-lv-myo"), Options())
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(result.labels, sitk.Threshold(phantom.labels, 0, 2, 0))
    assert min(overlap.GetDiceCoefficient(value) for value in (1, 2)) >= 0.85


@pytest.mark.slow
def test_a_slice_without_signal_costs_no_other_slice_and_is_the_first_to_look_at(model):
    image = cine_stack(7).image
    voxels = sitk.GetArrayFromImage(image)
    whole = segment(image, model, Options(samples=2))
    lost = sorted(whole.slices, key=lambda score: score.areas_mm2[0])[-1].index
    voxels[lost] = 0
    broken = sitk.GetImageFromArray(voxels)
    broken.CopyInformation(image)
    result = segment(broken, model, Options(samples=2))
    kept = [score.areas_mm2[0] > 0 for score in result.slices if score.index != lost]
    assert kept == [score.areas_mm2[0] > 0 for score in whole.slices if score.index != lost]
    assert result.ranked_slices()[0].index == lost
    assert any(warning.startswith(f"In slice {lost + 1} (the first is 1)") for warning in result.warnings)
