"""An evaluation's table, JSON and picture."""

import json
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
from unit import small
from unit.test_evaluate import CASE, result

from csam.model.card import MEASURES, rows
from csam.training import figures
from csam.training.evaluate import measure
from csam.training.summary import summarise


@pytest.fixture
def cases():
    """Three of falling Dice, the last without a trace of the structure."""
    truth = np.zeros((4, 16, 16), np.uint8)
    truth[1:3, 4:10, 4:10] = 1
    out = []
    for number, shift in enumerate((0, 2, 16)):
        found = np.roll(truth, shift, 2) if shift < 16 else np.zeros_like(truth)
        error = np.random.default_rng(number).random(truth.shape).astype(np.float32)
        image = small.placed(truth)
        out.append(measure(CASE, image, result(found, error, image), [1, 2]))
    return out


def test_the_table_has_a_line_for_every_figure_that_is_known(cases):
    summary = summarise(cases, ["ball", "ring"])
    said = figures.table(summary, summary, "A note.")
    assert "Dice: ball" in said
    assert "Dice: ring" not in said  # no case has it
    assert said.endswith("A note.")
    known = {
        words for name, (words, _) in MEASURES.items() if summary.get(name) not in (None, {"ball": None, "ring": None})
    }
    assert known == {row[0].removesuffix(": ball") for row in rows(summary, summary)}


def test_a_figure_without_words_is_shown_by_its_name():
    assert rows({}, {"new_measure": 0.12345, "cases": 3}) == [
        ("Scans", "-", "3", ""),
        ("new measure", "-", "0.123", ""),
    ]


def test_the_json_holds_both_summaries_and_every_case(cases, tmp_path):
    before, after = (summarise(some, ["ball", "ring"]) for some in (cases, cases[:1]))
    figures.write_json(tmp_path / "f.json", {"model": "small"}, before, after, cases[:1])
    written = json.loads((tmp_path / "f.json").read_text())
    assert written["model"] == "small"
    assert (written["before_calibration"]["cases"], written["after_calibration"]["cases"]) == (3, 1)
    assert written["cases"]["p1_0"]["dice"] == [1.0, None]


def test_the_picture_shows_both_diagrams(cases, tmp_path):
    figures.draw(tmp_path / "f.png", "Title", cases, cases)
    picture = matplotlib.image.imread(tmp_path / "f.png")
    halves = np.split(picture[..., :3], [picture.shape[1] // 2], axis=1)
    assert all(half.std() > 0.05 for half in halves)


def test_cases_that_are_not_assessed_have_a_dash_in_the_table_and_are_drawn_as_before(cases, tmp_path):
    after = [replace(case, assessed=False) for case in cases]
    summaries = [summarise(some, ["ball", "ring"]) for some in (cases, after)]
    said = figures.table(*summaries, "A note.")
    (line,) = [line for line in said.splitlines() if "ROI-ECE" in line]
    assert line.split()[-4] == "-"
    figures.write_json(tmp_path / "f.json", {}, *summaries, after)
    assert json.loads((tmp_path / "f.json").read_text())["after_calibration"]["voxel_error_auroc"] is None
    figures.draw(tmp_path / "f.png", "Title", cases, after)
    figures.draw(tmp_path / "mixed.png", "Title", cases, [cases[0], *after[1:]])
    assert (tmp_path / "f.png").stat().st_size > 0


def test_a_single_case_without_uncertainty_can_be_drawn(cases, tmp_path):
    figures.draw(tmp_path / "f.png", "Title", cases[:1], cases[:1])
    assert (tmp_path / "f.png").stat().st_size > 0
