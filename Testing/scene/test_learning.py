"""The states of a training, with a process that says what the test says."""

from types import SimpleNamespace

import pytest

from csam.errors import InputError
from csam.training.training_request import TrainingRequest
from CSAMSegmentLib.logic import learn_texts, learning
from CSAMSegmentLib.logic.learning import Learning, State


class Process:
    """Keeps its arguments and orders; tells what is put into ``events``."""

    process_id, running = 1, True

    def __init__(self, arguments, take=None):
        self.arguments, self.take, self.events, self.orders = arguments, take, [], []

    def poll(self):
        told, self.events = self.events, []
        return told

    def order(self, word):
        self.orders.append(word)

    def leave(self):
        self.orders.append("left")


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "trainings_folder", lambda: tmp_path / "Trainings")
    return Learning(Process, host=lambda: "")


def tell(made, *events):
    made._process.events += events
    made.poll()


ENDED = {"event": "ended", "code": -9, "said": "The process ended: it was killed.", "log": "last words"}


def test_a_check_ends_with_the_plan_or_with_every_fault(made):
    request = TrainingRequest("/data")
    made.check(request)
    assert "--dry-run" in made._process.arguments
    tell(made, {"event": "plan", "decisions": [], "notes": [], "anew": [], "training": [], "validation": []}, ENDED)
    assert (made.state, made.faults, made.error) == (State.NONE, [], "")
    made.check(request)
    assert made.plan is None
    tell(made, {"event": "error", "text": "a\nb"}, ENDED)
    assert (made.state, made.faults) == (State.NONE, ["a", "b"])


def test_one_training_at_a_time(made):
    made.begin(TrainingRequest("/data/hearts"))
    with pytest.raises(InputError, match="under way"):
        made.begin(TrainingRequest("/data/hearts"))


def test_a_training_that_dies_says_how_and_one_that_fails_says_why(made):
    made.begin(TrainingRequest("/data/hearts"))
    tell(made, ENDED)
    assert made.state is State.FAILED
    assert "it was killed" in made.error
    assert "last words" in made.error
    made.go_on(made.folder)
    tell(made, {"event": "error", "text": "The disk is full."}, ENDED)
    assert (made.state, made.error) == (State.FAILED, "The disk is full.")


def test_a_training_taken_up_to_be_kept_gets_that_order_at_once(made):
    folder = made.begin(TrainingRequest("/data/hearts"))
    made.pause()
    assert made._process.orders == ["stop"]
    tell(made, {"event": "stopped", "text": ""}, ENDED)
    assert made.state is State.PAUSED
    made.keep()
    assert (made.state, made._process.orders, made.folder) == (State.ENDING, ["keep"], folder)


def test_a_program_that_goes_lets_the_training_save_itself(made):
    made.begin(TrainingRequest("/data/hearts"))
    process = made._process
    made.leave()
    assert process.orders == ["left"]
    assert made.state is State.PAUSED
    another = Learning(Process, host=lambda: "")
    assert another.find()
    assert (another.state, another.folder, another.request.dataset) == (State.PAUSED, made.folder, "/data/hearts")


def test_rows_of_a_training_that_goes_on_replace_those_beyond_its_checkpoint(made):
    made.begin(TrainingRequest("/data/hearts"))
    for step in (20, 40, 20):
        tell(made, {"event": "row", "step": step, "loss": 1.0, "validation_dice": ""})
    assert made.rows == [{"step": 20, "loss": 1.0, "validation_dice": None}]


def test_a_plan_is_told_in_a_few_words_with_its_reasons():
    event = {
        "decisions": [["field_of_view", [128, 96], "three times the structures"], ["rank", 5, "as asked for"]],
        "notes": ["no validation scan shows a"],
        "anew": [],
        "training": ["p1", "p2"],
        "validation": ["p3"],
    }
    lines = learn_texts.plan(event, 15.0).splitlines()
    assert lines[0] == "• 2 patient(s) for training, 1 for validation: p3."
    assert lines[1] == "• Field of view (pixels): 128 × 96. Three times the structures."
    assert lines[-1] == "• No validation scan shows a."
    assert len(lines) == 4


def model_of(patients: int, dice: float, data: str = "hearts"):
    provenance = {"data": data, "training_patients": [f"p{n}" for n in range(patients)]}
    return SimpleNamespace(provenance=provenance, metrics={"validation": {"dice_mean": dice}})


def test_models_of_the_data_set_tell_whether_more_cases_are_likely_to_help():
    few, other = model_of(4, 0.8), model_of(2, 0.1, "lungs")
    assert learn_texts.more_cases(few, [few, other]) == ""
    said = learn_texts.more_cases(model_of(8, 0.85), [few, other])
    assert "4 patients: Dice 0.80; 8 patients: Dice 0.85. More cases are likely to help." in said
    assert "The last cases brought little." in learn_texts.more_cases(model_of(16, 0.855), [few, model_of(8, 0.85)])
    assert learn_texts.more_cases(few, [model_of(8, 0.85)]) == "", "of fewer cases than before, nothing is known"
    assert learn_texts.more_cases(model_of(8, 0.85), [SimpleNamespace(provenance={"data": "hearts"}, metrics=())]) == ""


def test_an_event_of_another_version_is_kept_as_a_line_and_the_end_is_still_heard(made):
    made.begin(TrainingRequest("/data/hearts"))
    tell(made, {"event": "packages"}, {"event": "row", "step": None, "loss": 1.0}, {"event": "log"}, ENDED)
    assert made.state is State.FAILED
    assert (len(made.lines), made.rows) == (3, [])
    assert "'event': 'packages'" in made.lines[0]
