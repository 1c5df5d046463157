"""The comparisons' own pieces: orientations that undo themselves, paired intervals, the rivals, worse scans."""

import itertools
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import active
import assessment
import compare
import compare_uncertainty
import degrade
import drawing
import first_cases
import numpy as np
import paired
import passes
import pytest
import rivals
import torch
from unit import small

from csam.model import Model
from csam.network.orientations import ORIENTATIONS, StackOrientation
from csam.pipeline.sliding_window import mean_probabilities
from csam.training.dataset import read_dataset
from csam.training.plan import Plan

BENCH = Path(__file__).parents[1] / "bench"
PLAN = Plan(base_channels=4, num_levels=3, num_slices=6, field_of_view=(32, 32), steps=2, validation_patients=1)


def test_a_pass_is_what_the_pipeline_computes():
    network, values = small.lively(small.network()), torch.rand(1, 8, 20, 36)
    found = dict(passes.run(network, values, (16, 16), StackOrientation(), [None, 3]))
    assert torch.allclose(found[None], mean_probabilities(network, values, (16, 16)), atol=1e-6)
    assert not torch.allclose(found[3], found[None], atol=1e-3)


def test_passes_are_computed_once(tmp_path, monkeypatch):
    network, values = small.network(), torch.rand(1, 5, 16, 16)
    wanted = {StackOrientation(): [None, 0], ORIENTATIONS[1]: [None]}
    first = passes.Passes(tmp_path / "scan.npz")
    first.complete(network, values, (16, 16), wanted)
    again = passes.Passes(tmp_path / "scan.npz")
    monkeypatch.setattr(passes, "run", lambda *_: pytest.fail("it was there"))
    again.complete(network, values, (16, 16), wanted)
    stacked = again.stacked([(StackOrientation(), 0), (ORIENTATIONS[1], None)])
    assert stacked.shape == (2, 3, 5, 16, 16)
    assert stacked.sum(1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("shift", "scale"), [("turned", 1), ("smaller", 0.65), ("larger", 1.4)])
def test_an_other_scan_has_its_truth_where_the_picture_is(shift, scale):
    truth = np.zeros((3, 60, 60), np.uint8)
    truth[1, 22:42, 26:38] = 1
    other, moved = degrade.degrade(100.0 + 100 * truth, truth, shift, 3, seed=1)
    assert other.shape == moved.shape == truth.shape
    assert moved.dtype == truth.dtype
    assert moved.sum() == pytest.approx(240 * scale**2, rel=0.15)
    seen = other > 150
    assert 2 * (seen & (moved == 1)).sum() / (seen.sum() + moved.sum()) > 0.97
    assert np.median(other[1, 25:35, 15:20]) == pytest.approx(100, abs=1)
    assert not moved[[0, 2]].any()


@pytest.mark.parametrize("shift", [shift for shift in degrade.SHIFTS if shift not in degrade.MOVES])
def test_a_worse_scan_keeps_its_shape_and_its_truth_where_the_picture_is(shift):
    rng = np.random.default_rng(0)
    truth = np.zeros((5, 24, 24), np.uint8)
    truth[1:4, 8:16, 8:16] = 1
    stack = 100 * truth + rng.uniform(50, 100, truth.shape)
    worse, moved = degrade.degrade(stack, truth, shift, 3, seed=1)
    assert worse.shape == stack.shape
    assert moved.sum() == truth.sum()
    changed = [not np.allclose(a, b, rtol=1e-3) for a, b in zip(worse, stack, strict=True)]
    some = shift in ("empty slice", "misaligned slice")
    assert changed == ([False] * 5 if shift == "none" else [False, False, True, False, False] if some else [True] * 5)
    if shift == "misaligned slice":
        assert worse[2][moved[2] == 1].min() > 150


def test_the_same_prediction_many_times_leaves_no_error_probability_but_that_of_its_own():
    truth = np.zeros((4, 16, 16), np.uint8)
    truth[1:3, 4:12, 4:12] = 1
    foreground = np.where(truth, 0.9, 0.0).astype(np.float32)
    one = np.stack([1 - foreground, foreground])
    found = assessment.assess(np.stack([one] * 3), truth, (8.0, 2.0, 2.0), True, "a", "p")
    assert found.dice == 1
    assert found.case_scores["1 - pairwise Dice"] == pytest.approx(0)
    assert found.case_scores["1 - expected Dice"] == pytest.approx(1 - 2 * 0.9 / 1.9, abs=1e-6)
    assert found.slice_scores["expected wrong area"] == pytest.approx([0, 0.1 * 64 * 4, 0.1 * 64 * 4, 0], rel=1e-5)
    assert found.difference_ml == pytest.approx(0.1 * 128 * 32 / 1000, rel=1e-5)
    assert found.energy_distance == pytest.approx(0)


def test_a_piece_that_was_left_out_raises_the_error_probability_as_in_the_product():
    """segment: what was removed was right with its probability times its share of what was found."""
    truth = np.zeros((3, 20, 20), np.uint8)
    truth[1, 2:8, 2:8] = 1
    foreground = np.where(truth, 0.9, 0.0).astype(np.float32)
    foreground[1, 14:16, 14:16] = 0.8
    found = assessment.assess(np.stack([1 - foreground, foreground])[None], truth, (8.0, 2.0, 2.0), True, "a", "p")
    stray = 4 * 0.8 * 4 / 40
    assert found.dice == 1
    difference, expected = 36 * 0.1 + stray, 36 * 0.9 + stray
    assert found.case_scores["1 - expected Dice"] == pytest.approx(difference / (36 + expected), rel=1e-5)
    assert found.difference_ml == pytest.approx(difference * 32 / 1000, rel=1e-5)


def test_scans_of_one_patient_are_drawn_together():
    differences = {"a": [0.1, 0.1, 0.1], "b": [-0.1]}
    mean, low, high = paired.bootstrap(differences)
    assert (mean, low, high) == (pytest.approx(0.05), pytest.approx(-0.1), pytest.approx(0.1))
    same = paired.bootstrap({p: [0.02] for p in "abcdef"})
    assert same == (pytest.approx(0.02),) * 3


def result(network, seed, dice):
    figures = dict.fromkeys(paired.FIGURES, 0.5)
    cases = {
        f"{patient}_1": {"patient": patient, "mean_dice": d, "hausdorff_95_mm": [2.0], "expected_dice": d}
        for patient, d in dice.items()
    }
    return {
        "network": network, "seed": seed, "fold": 0, "of": 5, "cases": cases, "after_calibration": figures,
        "parameters": 10, "device": "cpu", "step_seconds": 1.0,
    }  # fmt: skip


def test_networks_are_compared_on_what_both_have_measured(tmp_path):
    results = [
        result("csam", 0, {"a": 0.9, "b": 0.8}),
        result("csam", 1, {"a": 0.7, "b": 0.6}),
        result("2d-unet", 0, {"a": 0.8, "b": 0.8}),
    ]
    table = paired.compare(results, "2d-unet")
    assert list(table) == ["2d-unet", "csam"]
    assert table["csam"]["difference"]["mean"] == pytest.approx(0.05)
    assert table["csam"]["difference"]["pairs"] == 2
    assert table["csam"]["dice"] == pytest.approx(0.75)
    assert table["2d-unet"]["difference"] is None
    assert "CSAM U-Net" in paired.text(table)
    for figures, distance in ((results[0], 1.5), (results[2], 3.5)):
        figures["cases"]["b_1"]["hausdorff_95_mm"] = [distance, None]
    further = paired.compare(results, "2d-unet")["csam"]["further_differences"]
    assert further["hausdorff_95_mm"]["mean"] == pytest.approx((0 + 1.5 - 3.5) / 2)
    assert further["voxel_error_auroc"] is None
    three = paired.compare([result("csam", 0, {"a": 0.9, "b": 0.8, "c": 0.7})], "csam")["csam"]
    assert three["case_quality_spearman"] == pytest.approx(1)
    table = paired.compare([paired.without(r, "^a_") for r in results], "2d-unet")
    assert table["csam"]["difference"]["mean"] == pytest.approx(0)
    assert table["csam"]["scans"] == 1
    assert table["csam"]["voxel_error_auroc"] is None, "it pools all scans of a unit"
    assert "CSAM U-Net" in paired.text(table)
    paired.draw(tmp_path / "t.png", table, "2d-unet", "title")
    assert (tmp_path / "t.png").stat().st_size > 0


def test_the_kernels_of_the_3d_network_are_flat_while_slices_are_far_apart():
    kernels, strides = rivals.kernels_and_strides((12, 128, 128), (8, 1.75, 1.75), 5)
    assert kernels == [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]
    assert strides == [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [1, 2, 2]]
    kernels, strides = rivals.kernels_and_strides((64, 64, 64), (1, 1, 1), 3)
    assert kernels == [[3, 3, 3]] * 3
    assert strides == [[1, 1, 1], [2, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize("name", rivals.RIVALS)
def test_every_rival_takes_a_stack_and_has_its_gates(name):
    network = rivals.seeded(name, PLAN, 1, 3, 8.0).eval()
    assert network(torch.rand(6, 1, 32, 32)).shape == (6, 3, 32, 32)
    has = [any(kind in key for key, _ in network.named_parameters()) for kind in ("semantic", "positional", "slice_")]
    assert has == ([0, 0, 1] if name.startswith("slice") else [name.startswith("csam")] * 3)


def test_no_patient_is_held_out_twice_and_nobody_is_forgotten():
    patients = [f"p{n}" for n in range(11)]
    folds = [compare.held_out(patients, fold, 5) for fold in range(5)]
    assert set().union(*folds) == set(patients)
    assert all(not a & b for a, b in itertools.combinations(folds, 2))


def test_results_of_another_plan_are_not_mixed_in():
    def result(network, **changes):
        plan = replace(rivals.plan_for(network, PLAN), seed=3, **changes)
        return {"network": network, "seed": 3, "plan": asdict(plan)}

    for network in rivals.RIVALS:
        assert compare.of_plan(result(network), PLAN)["network"] == network
    for changes in ({"optimizer": "adamw"}, {"semantic": False}, {"steps": PLAN.steps + 1}):
        with pytest.raises(SystemExit, match="another plan"):
            compare.of_plan(result("csam", **changes), PLAN)


def test_a_network_that_goes_on_keeps_the_kernels_of_the_pixels_it_began_with(tmp_path):
    """DynUNet's follow from the pixels: its weights would not fit those that a finer plan asks for."""
    finer = replace(PLAN, in_plane_spacing=3.0, field_of_view=(64, 64))
    first = tmp_path / "dynunet-3d" / "seed0-fold0of5"
    first.mkdir(parents=True)
    (first / "result.json").write_text(json.dumps({"plan": asdict(replace(PLAN, in_plane_spacing=1.0))}))
    (first / "checkpoint.pt").touch()
    unit = compare.Unit(Path("Balls"), "dynunet-3d", 0, 5, finer, "cpu", 2, tmp_path, None, 0, {}, after=tmp_path)
    begun = compare.begun(unit, finer)
    assert begun == replace(finer, in_plane_spacing=1.0, field_of_view=PLAN.field_of_view)
    shapes = [
        {name: value.shape for name, value in rivals.seeded("dynunet-3d", plan, 1, 3, 8.0).state_dict().items()}
        for plan in (replace(PLAN, in_plane_spacing=1.0), begun, finer)
    ]
    assert shapes[0] == shapes[1]
    assert shapes[0] != shapes[2]
    assert compare.begun(replace(unit, after=None), finer) == finer


def test_a_network_that_lacks_a_fold_is_not_in_the_table(tmp_path):
    for name in ("a/seed0-fold0of2", "a/seed0-fold1of2", "a/seed1-fold0of2", "b/seed0-fold1of2"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "result.json").touch()
    (tmp_path / "c" / "seed0-fold0of2").mkdir(parents=True)
    (tmp_path / "comparison.json").touch()
    found = compare.complete(tmp_path, {"seed0-fold0of2", "seed0-fold1of2"})
    assert found == [tmp_path / "a" / f"seed0-fold{fold}of2" / "result.json" for fold in (0, 1)]


@pytest.mark.parametrize("folds", [("seed0-fold0of2", "seed0-fold1of2"), ("fold-0", "fold-1")])
def test_every_fold_has_its_own_models(tmp_path, folds):
    made = small.model()
    for name in (*folds, folds[0].replace("seed0", "seed1"), "all"):
        replace(made, title=name).save(tmp_path / name / "model")
    found = compare_uncertainty.from_folds(tmp_path)
    assert [[model.title for model in models] for models in found] == [[name] for name in folds]


def test_models_that_have_held_out_nobody_are_refused(tmp_path):
    told = {"plan": {"patient_pattern": "(.*)"}, "training_patients": [], "validation_patients": []}
    with pytest.raises(ValueError, match="give --folds"):
        compare_uncertainty.split(small.dataset(tmp_path), [[small.model(provenance=told)]])


@pytest.mark.slow
def test_a_comparison_runs_once_and_then_only_tells(tmp_path, monkeypatch, capsys):
    def compared(*options):
        monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, options)])
        compare.main()
        return capsys.readouterr().out

    data = small.dataset(tmp_path / "Balls", patients=4, size=(20, 20, 6))
    plan = {"base_channels": 4, "num_levels": 3, "num_slices": 6, "field_of_view": [16, 16], "learning_rate": 1e-5}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    place = tmp_path / "out" / "Balls" / "1-on-Balls-then-2-steps-with-Balls"
    begun = rivals.seeded("2d-unet", Plan.from_json(plan | {"seed": 5}), 1, 3, 8.0).state_dict()
    (place / "2d-unet" / "seed0-beginning").mkdir(parents=True)
    torch.save(begun, place / "2d-unet" / "seed0-beginning" / "weights.pt")
    common = ["--of", 2, "--steps", 2, "--plan", tmp_path / "plan.json", "--device", "cpu", "--samples", 2]
    common += ["--out", tmp_path / "out"]
    both = [data, "--networks", "2d-unet", "dynunet-3d", *common]
    for to_run in (2, 0):
        said = compared(*both, "--begin-on", data, "--begin-steps", 1, "--extra", data)
        assert f"2 units, {to_run} to run." in said
    assert (place / "dynunet-3d" / "seed0-beginning" / "weights.pt").exists()
    model = Model.load(place / "2d-unet" / "seed0-fold0of2" / "model")
    assert len(model.provenance["validation_patients"]) == 2
    for name, value in model.network().state_dict().items():
        torch.testing.assert_close(value, begun[name], atol=1e-3, rtol=1e-2)
    written = (place / "comparison.json").read_text()
    assert set(json.loads(written)["networks"]) == {"2d-unet", "dynunet-3d"}
    assert str(tmp_path) not in written

    # A second comparison goes on from the first one's units, without a patient whose labels are wrong.
    patients = read_dataset(data).patients
    wrong = next(p for p in patients if p not in model.provenance["validation_patients"])
    further = ["--after", place, "--untaught", wrong]
    compared(*both, *further)
    place = place.with_name(f"{place.name}-then-2-steps-untaught-{wrong}")
    later = Model.load(place / "2d-unet" / "seed0-fold0of2" / "model")
    assert len(later.provenance["training_patients"]) == 1
    for name, value in later.network().state_dict().items():
        torch.testing.assert_close(value, begun[name], atol=1e-3, rtol=1e-2)
    gated_last = [data, "--networks", "csam-after-2d", *common, *further]
    compared(*gated_last)
    gated = Model.load(place / "csam-after-2d" / "seed0-fold0of2" / "model").network()
    assert gated.gates[0].slice
    for name, value in gated.state_dict().items():
        if name in begun:
            torch.testing.assert_close(value, begun[name], atol=1e-3, rtol=1e-2)
    with pytest.raises(SystemExit, match="There is no finished 2d-unet/seed1-fold0of2"):
        compared(*gated_last, "--seeds", 1)


@pytest.mark.slow
def test_a_learning_curve_over_patients_is_drawn_from_few_and_all_of_them(tmp_path, monkeypatch, capsys):
    data = small.dataset(tmp_path / "Balls", patients=4, size=(20, 20, 6))
    plan = {"base_channels": 4, "num_levels": 3, "num_slices": 6, "field_of_view": [16, 16]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    line = ["first_cases", str(data), "--patients", "1", "99", "--of", "2", "--steps", "1", "--device", "cpu"]
    line += ["--plan", str(tmp_path / "plan.json"), "--samples", "2", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", line)
    first_cases.main()
    written = json.loads((tmp_path / "out" / "Balls" / "1-steps" / "first-cases.json").read_text())
    assert [point["patients"] for point in written["rows"]] == [1, 2]
    assert "> 0.85" in capsys.readouterr().out
    assert (tmp_path / "out" / "Balls" / "1-steps" / "first-cases.png").stat().st_size > 0
    small.model(small.network(num_levels=3)).save(tmp_path / "start")
    monkeypatch.setattr(sys, "argv", [*line, "--fine-tune", str(tmp_path / "start")])
    first_cases.main()  # from scratch is there, from the model is not
    [folder] = (tmp_path / "out" / "Balls").glob("from-small-*-1-steps")
    written = json.loads((folder / "first-cases.json").read_text())
    scratch, tuned = written["rows"][:2], written["rows"][2:]
    assert {row["start"] for row in scratch} == {"from scratch"}
    assert {row["start"] for row in tuned} == {"from start"}
    monkeypatch.setattr(first_cases, "run", lambda unit: pytest.fail("it was there"))
    first_cases.main()


def test_active_learns_in_each_order_and_does_nothing_twice(tmp_path, monkeypatch, capsys):
    small.dataset(tmp_path / "data", patients=5, scans=2)
    fields = {
        "base_channels": 4, "num_levels": 2, "num_slices": 5, "in_plane_spacing": 2.0, "field_of_view": [16, 16],
        "precision": "float32", "free_orientation": False,
    }  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(fields))
    words = [
        str(tmp_path / "data"), "--patient-pattern", "(p..)_", "--cases", "4", "6", "--seeds", "1", "--steps", "2",
        "--unseen", "1", "--plan", str(tmp_path / "plan.json"), "--samples", "2", "--device", "cpu",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    active.main(words)
    path = tmp_path / "out" / "data" / "active.json"
    rows = json.loads(path.read_text())["rows"]
    assert [(row["order"], row["cases"]) for row in rows] == [
        ("random", 4), ("random", 6), ("expected-dice", 4), ("expected-dice", 6)
    ]  # fmt: skip
    assert rows[0]["dice"] == rows[2]["dice"]  # nothing could be ranked yet
    folder = tmp_path / "out" / "data" / "seed0"
    first, by_rank = (json.loads((folder / n / "chosen.json").read_text()) for n in ("first-4", "expected-dice-6"))
    ranking = json.loads((folder / "expected-dice-6" / "ranking.json").read_text())
    assert by_rank["chosen"] == first["chosen"] + ranking[:2]
    unseen = {*json.loads((folder / "first-4" / "result.json").read_text())}
    assert len(unseen) == 2
    assert not unseen & {*by_rank["chosen"], *ranking}
    monkeypatch.setattr(active, "train", lambda *_, **__: pytest.fail("trained twice"))
    (folder / "random-6" / "result.json").unlink()  # stopped between training and measuring
    active.main(words)
    assert json.loads(path.read_text())["rows"] == rows
    assert "-random" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="another setting"):
        active.main([*words, "--samples", "3"])


def test_active_keeps_patients_whole_and_a_quarter_for_validation(tmp_path):
    data = read_dataset(small.dataset(tmp_path, patients=5, scans=2), "(p..)_")
    names = [case.name for case in data.cases]
    for seed in range(5):
        parts = active.halves(data, names[:8], seed)
        assert sorted(parts["training"] + parts["validation"]) == sorted(names[:8])
        assert len(parts["validation"]) == 2
        assert len({name[:3] for name in parts["validation"]} & {name[:3] for name in parts["training"]}) == 0
    with pytest.raises(SystemExit, match="of one patient"):
        active.halves(data, names[:2], 0)


def test_active_compares_with_the_random_order_of_the_same_seeds():
    rows = [
        {"seed": seed, "order": order, "cases": 4, "dice": dice, "lowest": dice / 2}
        for order, values in (("random", (0.5, 0.7)), ("expected-dice", (0.6, 0.68)))
        for seed, dice in enumerate(values)
    ]
    one, other = active.summed_up(rows)
    assert (one["dice"], one["more_than_random"]) == (pytest.approx(0.6), None)
    assert other["more_than_random"] == pytest.approx(0.04)
    assert (other["seeds_better"], other["lowest"]) == (1, 0.3)
    assert "1/2" in active.text([one, other])


def test_a_wall_that_an_expert_drew_thicker_is_met_once_the_truth_helps():
    y, x = np.mgrid[:64, :64]

    def wall(rows: float, inner: float, outer: float) -> np.ndarray:
        radius = np.hypot(y - 30 - rows, x - 32)
        return np.repeat(np.where(radius < inner, 1, np.where(radius < outer, 2, 0))[None], 3, 0)

    thicker = drawing.helped(wall(0, 12, 18), wall(0, 12, 20), (1.0, 1.0))
    assert thicker["as found"] == pytest.approx(0.826, abs=0.02)
    assert thicker["place"] < 0.9
    assert thicker["margins"] > 0.97
    elsewhere = drawing.helped(wall(0, 12, 18), wall(1, 12, 18), (1.0, 1.0))
    assert elsewhere["place"] == pytest.approx(1, abs=0.01)
    assert elsewhere["margins"] < 0.95
