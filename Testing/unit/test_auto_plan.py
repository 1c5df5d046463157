"""The automatic plan: what the data set says, in numbers and in words."""

import re
from dataclasses import replace

import numpy as np
import pytest
from unit import small

from csam.errors import InputError
from csam.training.auto_plan import decide, patient_pattern, plan_from
from csam.training.case_facts import CaseFacts
from csam.training.dataset import Case, Dataset
from csam.training.plan import AUTOMATIC, Plan

AXIAL = (1.0, 0, 0, 0, 1, 0, 0, 0, 1)
SAGITTAL = (0.0, 0, -1, 1, 0, 0, 0, -1, 0)


def facts(**changes):
    """A heart of 80 mm in images of 320 mm, 10 slices of which 6 show it."""
    values = {
        "size": (256, 256, 10),
        "spacing": (1.25, 1.25, 8.0),
        "direction": AXIAL,
        "box": ((96, 159), (100, 150), (2, 7)),
        "voxels": {1: 5000},
        "values": np.linspace(0, 1000, 50)[None],
        "lowest": (0.0,),
        "scaled_slices": False,
        "fingerprint": "",
    }
    return CaseFacts(**(values | changes))


def data(*cases, labels=("heart",), modalities=("MR",), names=None):
    names = names or [f"c{i:02d}" for i in range(len(cases))]
    made = tuple(Case(name, name, (), None) for name in names)
    return Dataset("made", "", ("x",) * len(modalities), labels, made, modalities, dict(zip(names, cases, strict=True)))


def planned(*cases, given=None, start=None, **more):
    decisions = decide(data(*cases, **more), start, given)
    return plan_from(decisions), {d.field: str(d) for d in decisions}


def test_every_decision_has_a_reason_and_the_help_knows_which_they_are():
    plan, said = planned(facts(), facts())
    assert set(said) == set(AUTOMATIC)
    assert all(len(line.split(": ", 1)[1]) > 15 for line in said.values())
    assert planned(facts(), facts())[0] == plan


def test_a_heart_gets_its_surroundings_at_the_spacing_of_the_scans():
    plan, said = planned(facts(), facts(), facts())
    assert plan.in_plane_spacing == 1.25
    assert plan.field_of_view == (192, 192)
    assert plan.num_levels == 5
    assert "3 times the 80 mm of the structures" in said["field_of_view"]


def test_a_structure_as_wide_as_the_images_gets_coarser_pixels_but_not_much_coarser_ones():
    wide = facts(box=((0, 255), (0, 255), (0, 9)))
    plan, said = planned(wide, wide)
    assert plan.in_plane_spacing == pytest.approx(320 / 192, abs=1e-3)
    assert plan.field_of_view == (192, 192)
    assert "coarser than the scans' median of 1.25 mm" in said["in_plane_spacing"]
    large = facts(size=(1024, 1024, 10), box=((0, 1000), (0, 1000), (0, 9)))
    assert planned(large, large)[0].in_plane_spacing == pytest.approx(1.875)


def test_a_small_structure_gets_a_small_field_of_view_and_fewer_levels():
    small_one = facts(box=((100, 115), (100, 110), (2, 7)))
    plan, _ = planned(small_one, small_one)
    assert plan.field_of_view == (48, 48)
    assert plan.num_levels == 3


@pytest.mark.parametrize(
    ("counts", "expected"), [((8, 9, 10), 10), ((10, 80, 90), 24), ((1, 1), 2), ((20,) * 19 + (23,), 20)]
)
def test_the_window_holds_nine_of_ten_stacks_within_bounds(counts, expected):
    cases = [facts(size=(256, 256, n), box=((96, 159), (100, 150), (0, n - 1))) for n in counts]
    assert planned(*cases)[0].num_slices == expected


def test_the_slices_are_those_of_the_largest_spacing_whichever_axis_it_is():
    plan, said = planned(facts(direction=SAGITTAL), facts(direction=SAGITTAL))
    assert plan.slice_axis == "auto"
    assert "2 sagittal" in said["slice_axis"]
    other = facts(size=(10, 256, 256), spacing=(8.0, 1.25, 1.25), box=((2, 7), (96, 159), (100, 150)))
    plan, said = planned(other, other)
    assert (plan.num_slices, plan.in_plane_spacing, plan.field_of_view) == (10, 1.25, (192, 192))


def test_scans_without_a_largest_spacing_name_the_plane_of_the_others():
    cube = facts(size=(100, 100, 100), spacing=(2.0, 2.0, 2.0), box=((40, 60),) * 3)
    assert planned(cube, cube)[0].slice_axis == "axial"
    plan, said = planned(cube, facts(direction=SAGITTAL), facts(direction=SAGITTAL))
    assert plan.slice_axis == "sagittal"
    assert "1 scan(s) have no single largest spacing" in said["slice_axis"]


def test_where_no_scan_has_a_largest_spacing_the_plane_is_that_of_the_fewest_slices():
    def thin(direction, slices=1):
        return facts(size=(40, 36, slices), spacing=(1.0,) * 3, direction=direction, box=((10, 20), (10, 20), (0, 0)))

    plan, _ = planned(thin(SAGITTAL), thin(SAGITTAL))
    assert (plan.slice_axis, plan.num_slices) == ("sagittal", 2)
    plan, said = planned(thin(SAGITTAL), thin(SAGITTAL), thin(AXIAL))
    assert plan.slice_axis == "sagittal"
    assert "a run takes them for 2 sagittal, 1 axial" in said["slice_axis"]
    assert planned(thin(SAGITTAL, 3), thin(SAGITTAL, 2))[0].slice_axis == "sagittal"
    assert planned(thin(SAGITTAL), thin(AXIAL))[0].slice_axis == "axial"
    assert planned(thin(SAGITTAL), thin(SAGITTAL), facts())[0].slice_axis == "axial"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_have_no_say_in_the_intensities(value):
    values = np.linspace(40, 140, 200)[None]
    spoilt = np.where(np.arange(220) < 200, np.resize(values, 220), value)[None]
    plans = [
        planned(*[facts(values=v, lowest=(-1024.0,))] * 2, modalities=("CT",))[0].intensity_limits
        for v in (values, spoilt)
    ]
    assert plans[0] == plans[1]


def test_ct_keeps_hounsfield_units_and_mr_is_scaled_by_the_scan():
    liver = facts(values=np.linspace(40, 140, 200)[None], lowest=(-1024.0,))
    plan, said = planned(liver, liver, modalities=("CT",))
    assert (plan.intensity, plan.intensity_limits) == ("fixed", (-10.0, 190.0))
    assert "Hounsfield" in said["intensity"]
    assert plan.normalisation.scope == "fixed"
    assert planned(liver, liver)[0].intensity == "volume"
    assert planned(liver, liver, modalities=("CT", "PT"))[0].intensity == "volume"


def test_ct_that_is_not_in_hounsfield_units_is_told():
    plan, said = planned(facts(), facts(), modalities=("CT",))
    assert plan.intensity == "volume"
    assert "not in Hounsfield units" in said["intensity"]


def test_slices_that_somebody_scaled_one_by_one_are_scaled_one_by_one():
    plan, said = planned(*[facts(scaled_slices=True)] * 3, facts())
    assert plan.intensity == "slice"
    assert "in 3 of 4 scans" in said["intensity"]


def test_one_structure_may_be_mirrored_and_several_may_not():
    assert planned(facts(), facts())[0].free_orientation
    assert not planned(facts(), facts(), labels=("left kidney", "right kidney"))[0].free_orientation


def test_slices_without_a_structure_are_made_up_only_where_there_are_next_to_none():
    cropped = facts(box=((96, 159), (100, 150), (0, 9)))
    assert planned(cropped, cropped)[0].empty_slices
    assert not planned(facts(), facts())[0].empty_slices


@pytest.mark.parametrize(
    ("names", "patients"),
    [
        (["a_1", "a_2", "b_1", "b_2", "c_1"], ["a", "b", "c"]),
        (["SC-HF-I-01_p07", "SC-HF-I-01_p18", "SC-HYP-03_p07"], ["SC-HF-I-01", "SC-HYP-03"]),
        (["mst_01", "mst_02", "mst_03"], ["mst_01", "mst_02", "mst_03"]),
        (
            ["patient001_frame01", "patient001_frame12", "patient002_frame01", "lone"],
            ["patient001", "patient002", "lone"],
        ),
        ([f"site{s}_{n:03d}" for s in "AB" for n in range(30)], [f"site{s}_{n:03d}" for s in "AB" for n in range(30)]),
        (["one"], ["one"]),
    ],
    ids=lambda names: names[0],
)
def test_scans_of_one_patient_are_told_by_their_names(names, patients):
    pattern, _ = patient_pattern(names)
    assert set(data(*[facts()] * len(names), names=names).by_patient(pattern).patients) == set(patients)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a_1", "a_2", "b_1", "b_2", "c_1"], "a_1 and a_2 differ .* of whom there are 3$"),
        (["anna", "bert"], "no two names look like scans of one patient"),
        (["u_1", "u_2", "u_3"], "u_1 and u_2 differ .* as all names do: .* give --patient-pattern"),
        (
            [f"{s}_{n}" for s in "AB" for n in range(10)],
            r'of whom there are 2\. If .* give --patient-pattern "\(\.\*\)"',
        ),
        ([f"{s}_{n}" for s in "AB" for n in range(30)], "30 scans are many .* give --patient-pattern"),
    ],
    ids=lambda names: names[0] if isinstance(names, list) else "",
)
def test_a_question_about_who_is_who_is_told_with_the_way_out(names, said):
    assert re.search(said, patient_pattern(names)[1])


def test_a_quarter_of_the_patients_and_at_least_one_is_held_out():
    for count, expected in ((2, 1), (5, 1), (30, 8), (400, 40)):
        assert planned(*[facts()] * count)[0].validation_patients == expected


def test_what_is_asked_for_wins_and_the_rest_follows_from_it():
    plan, said = planned(facts(), facts(), given={"in_plane_spacing": 2.5, "steps": 10})
    assert (plan.in_plane_spacing, plan.steps, plan.field_of_view) == (2.5, 10, (96, 96))
    assert said["in_plane_spacing"] == said["in_plane_spacing"].split(":")[0] + ": as asked for"
    for size, levels in (((32, 32), 3), ((16, 16), 3), ((128, 128), 5), ((96, 160), 3), ((20, 20), 3), ((6, 6), 2)):
        plan, _ = planned(facts(), facts(), given={"field_of_view": size})
        assert (plan.field_of_view, plan.num_levels) == (size, levels)
    fixed = planned(facts(), facts(), given={"intensity": "fixed"})[0]
    assert fixed.intensity_limits[0] < 0 < 1000 < fixed.intensity_limits[1]


def test_a_whole_plan_is_left_as_it_is():
    from dataclasses import asdict

    whole = Plan(steps=7, num_slices=3, patient_pattern="(c)..")
    assert planned(facts(), facts(), given=asdict(whole))[0] == whole


def test_a_training_from_a_model_keeps_what_the_model_is():
    start = small.model(slice_axis="sagittal")
    plan, said = planned(facts(), facts(), start=start, labels=("structure 1",))
    assert plan.architecture(1, 3) == start.architecture
    assert (plan.in_plane_spacing, plan.field_of_view, plan.slice_axis) == (2.0, (16, 16), "sagittal")
    assert plan.normalisation == start.intensity
    assert plan.learning_rate < Plan().learning_rate
    assert "as in small" in said["num_slices"]
    assert planned(facts(), facts(), start=start, given={"num_slices": 9})[0].num_slices == 9


def test_new_structures_are_learned_at_the_usual_rate_known_ones_at_a_quarter():
    known = small.model(provenance={"data_labels": ["Apex", "Base"]})
    plan, _ = planned(facts(), facts(), start=known, labels=("apex", "base"))
    assert (plan.learning_rate, plan.steps) == (Plan.learning_rate / 4, 1500)
    plan, said = planned(facts(), facts(), start=known, labels=("apex", "septum"))
    assert (plan.learning_rate, plan.steps) == (Plan.learning_rate, Plan.steps)
    assert "small does not know septum" in said["learning_rate"]


def test_scans_without_any_structure_do_not_disturb_the_plan():
    empty = facts(box=None, voxels={}, values=np.zeros((1, 0), np.float32))
    assert planned(facts(), facts(), empty)[0] == replace(planned(facts(), facts(), facts())[0])


def test_an_impossible_wish_is_refused_by_the_fields_name():
    with pytest.raises(InputError, match="field_of_view"):
        planned(facts(), facts(), given={"field_of_view": (17, 17), "num_levels": 4})
