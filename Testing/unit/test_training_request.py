"""What was asked for lies in a training's folder: it can be gone on with on another day, and is found again."""

import json
import os

import pytest

from csam.errors import InputError
from csam.training.training_request import (
    TrainingRequest,
    read_log,
    read_request,
    state_of,
    train_arguments,
    unfinished,
    write_request,
)

REQUEST = TrainingRequest(
    "/data/hearts", "/models/lv.zip", 15.0, {"name": "hearts"}, {"steps": 7, "zoom": [0.7, 1.4], "slice": False}
)  # fmt: skip
LOG = "step,loss,learning_rate,seconds,validation_dice,gate_spread\n20,0.9,0.1,3,,0.1\n25,0.8,0.1,4,0.5,0.1\n"


def test_a_request_is_read_as_it_was_written_and_the_training_gets_its_files(tmp_path):
    write_request(tmp_path / "a", REQUEST)
    assert read_request(tmp_path / "a") == REQUEST
    words = train_arguments(REQUEST, tmp_path / "a")
    assert words[:7] == ["train", "/data/hearts", "--out", str(tmp_path / "a"), "--progress", "json", "--fine-tune"]
    given = json.loads((tmp_path / "a" / "given_plan.json").read_text())
    assert given == {"steps": 7, "zoom": [0.7, 1.4], "slice": False, "minutes": 15.0}
    assert words[words.index("--plan") + 1] == str(tmp_path / "a" / "given_plan.json")
    assert json.loads((tmp_path / "a" / "card.json").read_text()) == {"name": "hearts"}


def test_the_command_line_takes_the_words_of_a_check(tmp_path):
    from csam.cli.main import _parser

    options = _parser().parse_args(train_arguments(REQUEST, tmp_path, check=True))
    assert options.dry_run
    assert options.progress == "json"
    given = options.plan_minutes, options.plan_steps, options.plan_zoom, options.plan_slice
    assert given == (15.0, 7, [0.7, 1.4], False)


def test_trainings_without_a_model_are_found_the_latest_first(tmp_path):
    assert unfinished(tmp_path / "nothing") == []
    for number, name in enumerate(("old", "new", "done", "foreign")):
        (tmp_path / name).mkdir()
        if name != "foreign":
            write_request(tmp_path / name, REQUEST)
            os.utime(tmp_path / name / "request.json", (number, number))
    (tmp_path / "done" / "model").mkdir()
    (tmp_path / "done" / "model" / "model.json").touch()
    assert [out.name for out in unfinished(tmp_path)] == ["new", "old"]


def test_how_far_a_training_is_is_told_by_its_log_and_by_the_steps_that_were_settled(tmp_path):
    assert state_of(tmp_path).step == 0
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "plan.json").write_text('{"steps": 4000}')
    assert state_of(tmp_path).steps == 4000
    (tmp_path / "settled.json").write_text('{"steps": 600}')
    state = state_of(tmp_path)
    assert (state.step, state.steps, state.finished) == (25, 600, False)
    assert [row["validation_dice"] for row in state.rows] == [None, 0.5]


def test_a_damaged_log_or_request_is_none(tmp_path):
    (tmp_path / "log.csv").write_text("step\nx\n")
    (tmp_path / "request.json").write_text("[1]")
    assert read_log(tmp_path / "log.csv") == []
    assert read_request(tmp_path) is None


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be started"):
        write_request(tmp_path / "file" / "a", REQUEST)
