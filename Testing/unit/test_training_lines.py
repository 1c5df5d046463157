"""A command that tells of itself in lines and takes orders: what a GUI sees of a training."""

import json
import os
import sys
import time

import pytest

from csam.cli import training_lines
from csam.errors import Cancelled, InputError, WorkerError
from csam.process.line_process import ENDED, LineProcess
from csam.process.orders import Orders
from csam.result import Progress


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def everything(process: LineProcess) -> list[dict]:
    events = []
    until(lambda: events.extend(process.poll()) or not process.running)
    return events


def python(program: str) -> LineProcess:
    return LineProcess([sys.executable, "-c", program], dict(os.environ))


@pytest.fixture
def pipe(monkeypatch):
    """The writing end of what is read as standard input."""
    source, end = os.pipe()
    monkeypatch.setattr(training_lines, "STANDARD_INPUT", source)
    yield end
    os.close(source)


def told(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_orders_are_heard_line_by_line_and_the_end_of_the_input_is_a_stop():
    source, end = os.pipe()
    orders = Orders(source)
    os.write(end, b"nonsense\nke")
    assert not orders.keep()
    os.write(end, b"ep\n")
    until(orders.keep)
    assert not orders.stop()
    os.close(end)
    until(orders.stop)


@pytest.mark.parametrize(
    ("error", "event"),
    [(Cancelled("Stopped at step 3."), "stopped"), (InputError("a\nb"), "error"), (OSError("full"), "error")],
    ids=str,
)
def test_how_a_training_ends_is_told(pipe, capsys, error, event):
    with pytest.raises(type(error)), training_lines.lines():
        raise error
    first, last = told(capsys)
    assert first["event"] == "packages"
    assert last["event"] == event
    assert str(error) in last["text"]
    os.close(pipe)


def test_progress_is_told_now_and_then_and_rows_as_they_are(pipe, capsys):
    with training_lines.lines() as lines:
        for number in range(5):
            lines.progress(Progress(number / 9, "training, loss 1", 9.0))
        lines.recorded({"step": 20, "loss": 0.5})
    events = told(capsys)
    assert [event["event"] for event in events] == ["packages", "progress", "row"]
    assert events[-1] == {"event": "row", "step": 20, "loss": 0.5}
    os.close(pipe)


def test_where_nobody_reads_any_more_that_is_a_stop(pipe, monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    lines = training_lines.Lines()
    monkeypatch.setattr(sys, "stdout", Gone())
    lines.log("a word")
    assert lines.orders.stop()
    os.close(pipe)


def test_of_several_processes_the_first_alone_tells_and_takes_orders(pipe, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with training_lines.lines() as lines:
        lines.log("a word")
    assert not lines.speaks
    assert capsys.readouterr().out == ""
    os.close(pipe)
    assert not lines.orders.stop()  # the end of the input is the first process's to see


def test_events_and_other_words_of_a_process_are_told_apart_and_its_end_comes_last():
    events = everything(python('print(\'a warning\'); print(\'{"event": "row", "step": 1}\'); raise SystemExit(3)'))
    assert events[0] == {"event": "row", "step": 1}
    assert events[-1]["event"] == ENDED
    assert events[-1]["code"] == 3
    assert "a warning" in events[-1]["log"]


def test_an_order_reaches_the_process_and_so_does_it_that_nobody_is_there():
    process = python(
        "import sys; print('{\"event\": \"' + sys.stdin.readline().strip() + '\"}', flush=True); sys.stdin.read()"
    )
    process.order("keep")
    events = []
    until(lambda: events.extend(process.poll()) or events)
    assert events == [{"event": "keep"}]
    process.leave()
    assert everything(process)[-1]["code"] == 0
    process.order("stop")  # one that has ended takes none


def test_a_killed_process_is_said_to_be_killed():
    process = python("import time; time.sleep(60)")
    process.kill()
    assert "killed" in everything(process)[-1]["said"]


def test_a_program_that_is_not_there_is_an_error_in_words():
    with pytest.raises(WorkerError, match="could not be started"):
        LineProcess(["/nowhere/python"], {})
