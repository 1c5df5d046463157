"""What is said of a result: the most important first, and hints only where the result may be poor."""

from dataclasses import replace

import pytest
from unit import small

from csam.pipeline.result_warnings import Findings, result_warnings
from csam.result import REGION, WHOLE

FOUND = Findings(WHOLE, (), 0.5, 0.05, calibrated=True, augmented=False)


@pytest.fixture(scope="module")
def model():
    return small.model()


def test_nothing_is_said_of_a_result_in_which_nothing_was_found(model):
    assert result_warnings(replace(FOUND, case_rank=0.5), model) == ()


def test_a_poor_result_is_said_first_then_what_the_run_has_told(model):
    first, second = result_warnings(FOUND, model, ["The GPU failed."])
    assert first.startswith("The result may be poor: its expected Dice is 0.50")
    assert second == "The GPU failed."


def test_of_a_region_nobody_says_that_it_is_poor(model):
    assert result_warnings(replace(FOUND, extent=REGION), model) == ()


def test_slices_are_counted_from_one_where_a_structure_is_missing(model):
    [said] = result_warnings(replace(FOUND, case_rank=0.5, breaks=[(3, "liver")]), model)
    assert said.startswith("In slice 4 (the first is 1) liver is missing")


@pytest.mark.parametrize(("rank", "share", "said"), [(0.05, 0.3, 1), (None, 0.3, 1), (0.5, 0.3, 0), (None, 0.2, 0)])
def test_what_was_left_out_is_said_only_where_it_is_much_and_the_result_is_not_known_to_be_good(
    model, rank, share, said
):
    found = result_warnings(replace(FOUND, case_rank=rank, left_out=[("liver", share)]), model)
    assert sum("30% of what was found as liver" in sentence for sentence in found) == said


@pytest.mark.parametrize(
    ("free", "augmented", "how"), [(False, False, ""), (True, False, " without test"), (True, True, " with test")]
)
def test_the_kind_of_run_is_named_where_a_model_has_a_calibration_for_each(model, free, augmented, how):
    taught = replace(model, free_orientation=free)
    [said] = result_warnings(replace(FOUND, case_rank=0.5, calibrated=False, augmented=augmented), taught)
    assert f"is not calibrated{how}" in said
    assert ("test-time" in said) == free
