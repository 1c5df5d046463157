"""A training on another computer: what travels there and back, and that nothing is lost when the connection is."""

import json
import platform
import sys
import time
from pathlib import Path

import pytest
import slicer
from unit import small

from csam.errors import InputError
from csam.model import Model
from csam.training.training_request import TrainingRequest, state_of
from CSAMSegmentLib.logic import learning, training_launcher
from CSAMSegmentLib.logic.learning import Learning, State, at
from CSAMSegmentLib.logic.model_library import SHIPPED

CSAM = Path(__file__).parents[2] / "CSAMSegment"
PLAN = {
    "base_channels": 4, "num_levels": 2, "num_slices": 5, "in_plane_spacing": 2.0, "field_of_view": [16, 16],
    "steps": 60, "ema": 0.9, "validation_patients": 1, "precision": "float32", "checkpoint_every": 10,
    "validate_every": 30, "patience": 0, "free_orientation": False,
}  # fmt: skip
SSH = """#!/bin/sh
printf '%s\\n' "$*" >> '{there}/words'
shift
cd '{there}/home' && exec env -i HOME='{there}/home' PATH="$PATH" PYTHONPATH='{csam}' OMP_NUM_THREADS=1 sh -c "$*"
"""
"""What ssh does with its words: it drops the computer's name and gives the rest to a shell there, joined by spaces."""


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A folder that stands for another computer, to which the training command leads; here/Trainings is this one's."""
    folder = tmp_path / "there"
    (folder / "home").mkdir(parents=True)
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH.format(there=folder, csam=CSAM))
    ssh.chmod(0o755)
    monkeypatch.delattr(slicer, "app", raising=False)
    monkeypatch.setattr(learning, "trainings_folder", lambda: tmp_path / "here" / "Trainings")
    leads(monkeypatch, f"{ssh} gpu-host {sys.executable} -m csam")
    return folder


def leads(monkeypatch, command: str) -> None:
    monkeypatch.setattr(training_launcher, "read_setting", lambda name, default="": command)


def until(learning: Learning, condition, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (learning.state, learning.error)
        learning.poll()
        time.sleep(0.01)


def words(there) -> list[str]:
    return (there / "words").read_text().splitlines()


@pytest.mark.slow
def test_a_training_there_is_paused_found_again_gone_on_with_and_its_model_comes_back(there, tmp_path):
    data = small.dataset(tmp_path / "Ann's hearts", patients=4)
    card = {"name": "hearts", "title": 'Ann\'s "hearts"'}
    first = Learning()
    folder = first.begin(TrainingRequest(str(data), card=card, plan=PLAN))
    assert first.host == "gpu-host"
    until(first, lambda: first.rows or not first.busy)
    first.pause()
    until(first, lambda: not first.busy)
    assert (first.state, first.error) == (State.PAUSED, "")
    state = state_of(folder)
    assert (state.step, state.steps, list(state.rows)) == (first.rows[-1]["step"], 60, first.rows)
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".pt") == []

    second = Learning()  # after a restart
    assert second.find()
    assert (second.folder, second.host, second.rows, second.saved) == (folder, "gpu-host", first.rows, True)
    second.go_on(folder)
    until(second, lambda: not second.busy)
    assert (second.state, second.error, second.resumed) == (State.DONE, "", True)
    assert second.rows[: len(first.rows)] == first.rows
    [elsewhere] = (there / "home" / "CSAM-trainings").iterdir()
    assert elsewhere.name == folder.name
    here = Model.load(folder)
    assert here == Model.load(elsewhere)
    assert (here.name, here.title) == ("hearts", 'Ann\'s "hearts"')
    assert here.provenance["plan"]["steps"] == 60
    here.network()
    assert (folder / "model" / "MODEL_CARD.md").read_text() == (elsewhere / "model" / "MODEL_CARD.md").read_text()
    for said in words(there):
        assert said.startswith("gpu-host ")
        assert str(tmp_path / "here") not in said


def test_a_data_set_or_model_that_is_not_there_is_a_fault_that_says_so(there, tmp_path):
    checked = Learning()
    checked.check(TrainingRequest("/nowhere/Ann's hearts", start="/nowhere/lv.zip"))
    until(checked, lambda: not checked.busy)
    node = platform.node()
    assert checked.faults == [
        f"/nowhere/Ann's hearts is not on {node}. Copy it there, under the same path.",
        f"/nowhere/lv.zip is not on {node}. Copy it there, under the same path.",
    ]
    assert (checked.state, checked.plan) == (State.NONE, None)


class Process:
    """Keeps what it was started with."""

    process_id, running = 1, True

    def __init__(self, arguments, take=None):
        self.arguments, self.take = arguments, take

    def poll(self):
        return []


def test_nothing_of_this_computers_folders_is_named_to_the_other(there):
    made = Learning(Process)
    folder = made.begin(TrainingRequest("/data/hearts", str(SHIPPED / "cardiac-lv"), 15.0, {"name": "hearts"}, PLAN))
    told = made._process.arguments
    assert told[told.index("--fine-tune") + 1] == "cardiac-lv"
    assert told[told.index("--digest") + 1] == Model.load(SHIPPED / "cardiac-lv").digest
    assert told[told.index("--out") + 1] == f"CSAM-trainings/{folder.name}"
    assert json.loads(told[told.index("--plan") + 1]) == {**PLAN, "minutes": 15.0}
    assert json.loads(told[told.index("--card") + 1]) == {"name": "hearts"}
    assert "--send-model" in told
    assert not [word for word in told if str(folder.parent) in word or str(SHIPPED) in word]


def test_a_model_that_ships_goes_by_its_name_to_another_computer_alone_and_another_by_its_path():
    request = TrainingRequest("/data/hearts", "/models/lv.zip")
    assert at(request, "gpu-host").start == "/models/lv.zip"
    shipped = TrainingRequest("/data/hearts", str(SHIPPED / "cardiac-lv"))
    assert [at(shipped, host).start for host in ("", "gpu-host")] == [shipped.start, "cardiac-lv"]
    assert [at(shipped, host).digest == "" for host in ("", "gpu-host")] == [True, False]
    assert at(TrainingRequest("/data/hearts"), "gpu-host").start == ""


def test_a_training_goes_on_where_it_was_begun_or_says_where_that_was(there, monkeypatch):
    made = Learning(Process)
    folder = made.begin(TrainingRequest("/data/hearts"))
    leads(monkeypatch, f"{sys.executable} -m csam")
    found = Learning(Process)
    assert found.find()
    assert found.host == "gpu-host"
    with pytest.raises(InputError, match=r"begun on gpu-host, and the training command now runs on this computer"):
        found.go_on(folder)
    found.discard()
    assert found.host == ""
    assert not folder.exists()


def test_a_model_that_does_not_arrive_leaves_a_training_that_can_be_gone_on_with(there, tmp_path):
    made = Learning(Process)
    folder = made.begin(TrainingRequest("/data/hearts", card={"name": "hearts"}))
    told = made._process.take({"event": "done", "model": "there", "sha256": "0" * 64})
    made._process.poll = lambda: [told, {"event": "ended", "code": 0, "said": "It ended.", "log": ""}]
    made.poll()
    assert made.state is State.FAILED
    assert "Resume it to have the model sent again" in made.error
    assert not (folder / "model").exists()
