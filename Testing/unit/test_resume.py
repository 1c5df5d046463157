"""Trainings as separate processes: killed at any moment and gone on with, or shared out by torchrun."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from unit import small

from csam.cli import main
from csam.errors import InputError
from csam.model import Model
from csam.process.line_process import LineProcess
from csam.process.sent_model import Receiver
from csam.training.distributed import Group

CSAM = Path(__file__).parents[2] / "CSAMSegment"
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "csam")
PLAN = {
    "base_channels": 4, "num_levels": 2, "num_slices": 5, "in_plane_spacing": 2.0, "field_of_view": [16, 16],
    "steps": 70, "ema": 0.9, "validation_patients": 1, "precision": "float32", "checkpoint_every": 7,
    "validate_every": 30, "patience": 0, "learning_rate": 0.01,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    small.dataset(folder / "data", patients=4)
    (folder / "plan.json").write_text(json.dumps(PLAN))
    return folder


def arguments(place, out, *options) -> list[str]:
    plan = str(place / "plan.json")
    return ["train", str(place / "data"), "--out", str(out), "--plan", plan, "--device", "cpu", *options]


def start(place, out, *options, launcher=("-m", "csam")) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(CSAM)}
    command = [sys.executable, *launcher, *arguments(place, out, *options)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start_two(place, out, *options) -> subprocess.Popen:
    return start(place, out, *options, launcher=TWO)


def ended(process: subprocess.Popen) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def rows(out):
    return list(csv.DictReader((out / "log.csv").open()))


@pytest.fixture(scope="module")
def uninterrupted(place):
    ended(start(place, place / "whole"))
    return place / "whole"


@pytest.mark.slow
def test_a_training_killed_at_any_moment_and_gone_on_with_gives_the_same_weights(place, uninterrupted, tmp_path):
    """Once before the first checkpoint or about it, and twice after."""
    out, chance, killed_at = tmp_path / "out", random.Random(), []
    for sign, most in (("split.json", 1.0), ("checkpoint.pt", 1.2), ("checkpoint.pt", 2.4)):
        process = start(place, out)
        while not (out / sign).exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, most))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed_at.append((process.returncode, len(rows(out)) if (out / "log.csv").exists() else 0))
    ended(start(place, out))
    assert any(code == -signal.SIGKILL for code, _ in killed_at)
    one, other = (torch.load(folder / "model" / "weights.pt", weights_only=True) for folder in (out, uninterrupted))
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different, (killed_at, different)
    one, other = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (out, uninterrupted))
    assert all(torch.equal(one["network"][name], other["network"][name]) for name in one["network"]), killed_at
    assert [row["step"] for row in rows(out)] == [row["step"] for row in rows(uninterrupted)], killed_at
    assert [row["loss"] for row in rows(out)] == [row["loss"] for row in rows(uninterrupted)], killed_at


HOST = """
import json, os, sys, time
from csam.process.line_process import LineProcess
training = LineProcess([sys.executable, "-m", "csam", *sys.argv[1:], "--progress", "json"], dict(os.environ))
print(json.dumps({"event": "begun", "process": training.process_id}), flush=True)
while True:
    for event in training.poll():
        print(json.dumps(event), flush=True)
    time.sleep(0.01)
"""


def runs(process: int) -> bool:
    """Whether an orphan is at work; one that has ended may wait for somebody to ask how."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_where_the_program_that_watches_is_killed_the_training_saves_itself_and_goes_on_later(
    place, uninterrupted, tmp_path
):
    out = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(CSAM)}
    command = [sys.executable, "-c", HOST, *arguments(place, out)]
    host = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    events = (json.loads(line) for line in host.stdout)
    training = next(events)["process"]
    wanted = random.randint(1, 30)
    seen = next(event for event in events if event["event"] == "progress" and event["fraction"] * 70 >= wanted)
    host.send_signal(signal.SIGKILL)
    host.communicate()
    until = time.monotonic() + 60
    while runs(training) and time.monotonic() < until:
        time.sleep(0.05)
    kept = torch.load(out / "checkpoint.pt", weights_only=True)["step"]
    assert round(seen["fraction"] * 70) <= kept < 70, "it has saved what it had learned when nobody watched any more"
    said = ended(start(place, out))
    assert f"Going on from step {kept}." in said
    one, other = (torch.load(folder / "model" / "weights.pt", weights_only=True) for folder in (out, uninterrupted))
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.slow
def test_two_processes_train_like_one_with_the_same_batch(place, tmp_path):
    options = ("--steps", "40", "--batch", "3", "--validate-every", "20")
    two = start_two(place, tmp_path / "two", *options)
    assert main(arguments(place, tmp_path / "one", *options)) == 0
    said = ended(two)
    assert said.count("training scans of") == 1
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [row["step"] for row in one] == [row["step"] for row in two] == ["20", "40"]
    for a, b in zip(one, two, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), abs=1e-3)
        # The deepest gate begins with next to no gradient, and Adam's steps are as long however small that is: what
        # rounding decides there moves its spread, though not the loss.
        (first, deepest), (first_of_two, deepest_of_two) = (map(float, row["gate_spread"].split()) for row in (a, b))
        assert first == pytest.approx(first_of_two, abs=2e-3)
        assert deepest == pytest.approx(deepest_of_two, abs=0.1)
    assert (tmp_path / "two" / "model" / "model.json").is_file()


@pytest.mark.slow
def test_two_processes_tell_of_themselves_once_and_take_an_order_between_them(place, tmp_path):
    """Without a batch, each has a stack; the end comes by an order, and the model over standard output."""
    out = tmp_path / "out"
    options = ("--steps", "100000", "--card", '{"name": "two"}', "--progress", "json", "--send-model")
    command = [sys.executable, *TWO, *arguments(place, out, *options)]
    process, told = LineProcess(command, os.environ | {"PYTHONPATH": str(CSAM)}, Receiver(tmp_path, "two")), []
    give_up = time.monotonic() + 600
    while process.running and time.monotonic() < give_up:
        news = process.poll()
        told += news
        if any(event["event"] == "row" for event in news):
            process.order("keep")
        time.sleep(0.01)
    kinds = [event["event"] for event in told]
    assert [kinds.count(kind) for kind in ("packages", "done", "ended", "error")] == [1, 1, 1, 0], told[-2:]
    steps = [event["step"] for event in told if event["event"] == "row"]
    assert steps == sorted(set(steps))
    assert json.loads((out / "plan.json").read_text())["batch"] == 2
    assert Model.load(tmp_path / "model") == Model.load(out)


@pytest.mark.slow
def test_two_processes_cross_validate_like_one(place, tmp_path):
    options = ("--cross-validate", "--steps", "8", "--batch", "2", "--validate-every", "8")
    two = start_two(place, tmp_path / "two", *options)
    assert main(arguments(place, tmp_path / "one", *options)) == 0
    ended(two)
    for part in ("fold-0", "fold-3", "all"):
        one, two = (rows(tmp_path / name / part)[-1] for name in ("one", "two"))
        assert float(one["loss"]) == pytest.approx(float(two["loss"]), abs=1e-3)
    figures = [json.loads((tmp_path / name / "model" / "model.json").read_text())["metrics"] for name in ("one", "two")]
    assert figures[0]["validation"]["patients"] == figures[1]["validation"]["patients"] == 4
    assert figures[0]["cases"] == pytest.approx(figures[1]["cases"], abs=0.02)


def test_a_batch_is_shared_out_whole_and_too_small_a_one_refused():
    assert [list(Group(rank, 2).share(5)) for rank in (0, 1)] == [[0, 2, 4], [1, 3]]
    assert list(Group().share(3)) == [0, 1, 2]
    with pytest.raises(
        InputError, match=r"1 stack\(s\) a step cannot be shared out among 2 processes. Ask for --batch 2"
    ):
        Group(1, 2).share(1)
