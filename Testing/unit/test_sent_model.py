"""A model that comes from another computer: whole, or not at all."""

import io
import json
import sys
import zipfile

import pytest
from unit import small

from csam.errors import ModelError
from csam.model import Model
from csam.process.line_process import LineProcess
from csam.process.sent_model import Receiver, archive_of, fingerprint, pieces, received


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("there") / "model"
    small.model().save(folder)
    return folder


def events(archive: bytes, **last) -> list[dict]:
    done = {"event": "done", "model": "there/model", "sha256": fingerprint(archive), **last}
    return [{"event": "model", **piece} for piece in pieces(archive)] + [done]


def taken(folder, told, name="small", **options) -> list[dict]:
    receiver = Receiver(folder, name, **options)
    return [event for event in map(receiver, told) if event is not None]


def rezipped(archive: bytes, method=zipfile.ZIP_STORED, **changed) -> bytes:
    """The archive with other members; None leaves one out."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(held, "w", method) as new:
        members = {name: old.read(name) for name in old.namelist()} | changed
        for name, data in members.items():
            if data is not None:
                new.writestr(name, data)
    return held.getvalue()


def test_a_model_arrives_as_it_was_with_its_card(sent, tmp_path):
    row = {"event": "row", "step": 1}
    assert taken(tmp_path, [row, *events(archive_of(sent))]) == [
        row,
        {"event": "done", "model": str(tmp_path / "model"), "sha256": fingerprint(archive_of(sent))},
    ]
    assert Model.load(tmp_path / "model") == Model.load(sent)
    assert (tmp_path / "model" / "weights.pt").read_bytes() == (sent / "weights.pt").read_bytes()
    assert (tmp_path / "model" / "MODEL_CARD.md").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_one_piece_too_few_too_many_or_damaged_leaves_what_was_there(sent, tmp_path):
    archive = archive_of(sent)
    archive += b"\0" * (400_000 - len(archive))  # several pieces
    whole = events(archive)
    damaged = [{**whole[0], "data": "AAAA" + whole[0]["data"][4:]}, *whole[1:]]
    no_text = [{**whole[0], "data": 7}, *whole[1:]]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("earlier")
    for told in (whole[1:], [whole[0], *whole], whole[:1] + whole[-1:], whole[-1:], damaged, no_text):
        [event] = taken(tmp_path, told)
        assert event["event"] == "error"
        assert "damaged or not whole" in event["text"]
    [event] = taken(tmp_path, whole, limit=300_000)
    assert event["event"] == "error"
    assert (tmp_path / "model" / "model.json").read_text() == "earlier"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda archive: rezipped(archive, **{"../../outside": b"x"}), "outside; model.json and weights.pt were"),
        (lambda archive: rezipped(archive, **{"weights.pt": None}), "It holds model.json"),
        (lambda archive: rezipped(archive, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda archive: rezipped(archive, **{"weights.pt": b"others"}), "not those that its model.json names"),
        (lambda archive: rezipped(archive, **{"model.json": b"[1"}), "cannot be read"),
        (lambda archive: rezipped(archive, **{"model.json": json.dumps({"format": 2}).encode()}), "its model.json"),
        (lambda archive: rezipped(archive, **{"model.json": b" " * 5_000_000}), "at most"),
        (lambda archive: b"no zip", "cannot be read"),
    ],
)
def test_an_archive_that_is_no_usable_model_is_refused(sent, tmp_path, change, said):
    archive = change(archive_of(sent))
    with pytest.raises(ModelError, match=said):
        received(archive, "small")
    [event] = taken(tmp_path, events(archive))
    assert event["event"] == "error"
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_another_name_is_refused(sent):
    with pytest.raises(ModelError, match='"small"; "hearts" was asked for'):
        received(archive_of(sent), "hearts")


def test_what_takes_the_events_gets_each_first_and_an_endless_line_is_no_event(monkeypatch):
    from csam.process import line_process

    monkeypatch.setattr(line_process, "LINE", 1000)
    program = 'print(\'{"event": "\' + \'a\' * 5000 + \'"}\'); print(\'{"event": "b"}\'); print(\'{"event": "c"}\')'
    seen, told = [], []

    def take(event):
        seen.append(event["event"])
        return None if event["event"] == "b" else event

    process = LineProcess([sys.executable, "-c", program], {}, take)
    while process.running:
        told += process.poll()
    assert seen == ["b", "c"]
    assert [event["event"] for event in told] == ["c", "ended"]


def test_a_line_of_brackets_without_end_is_no_event():
    program = 'print("[" * 100000); print(\'{"event": "b"}\')'
    process, told = LineProcess([sys.executable, "-c", program], {}), []
    while process.running:
        told += process.poll()
    assert [event["event"] for event in told] == ["b", "ended"]
