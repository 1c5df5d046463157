"""A batch in the worker: a case a request, the folder held, and what a lost worker or a cancel leaves behind."""

import io
from dataclasses import asdict, replace

import pytest
import SimpleITK as sitk
from unit import small

from csam.batch.folder import BatchFolder
from csam.batch.row import unpack_row
from csam.cli import main
from csam.errors import DeviceLost, InputError, ModelError
from csam.model import Calibration, shipped
from csam.process import batching, worker
from csam.process.model_cache import ModelCache
from csam.process.protocol import pack_images, pack_options, read_frame
from csam.result import Options

OPTIONS = pack_options(Options(samples=1, device="cpu"))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "scans").mkdir()
    sitk.WriteImage(small.image(), str(tmp_path / "scans" / "scan.nii.gz"))
    (tmp_path / "scans" / "bad.nii.gz").write_bytes(b"nothing")
    small.model().save(tmp_path / "model")
    return tmp_path


class Spoken:
    """A worker whose replies are read back at once."""

    def __init__(self, place):
        self.place, self.models = place, ModelCache()

    def ask(self, kind, images=None, folder=None, **more):
        told = {"folder": str(folder or self.place / "scans"), "out": str(self.place / "out")}
        told["model"] = str(self.place / "model")
        specs, buffers = pack_images(images or {})
        payload = memoryview(bytearray(b"".join(bytes(one) for one in buffers)))
        replies = io.BytesIO()
        header = {"type": kind, "id": 1, "batch": told, "options": OPTIONS, "images": specs, **more}
        request = worker.Request(worker.Worker(io.BytesIO(), replies), header, payload)
        worker.HANDLERS[kind](request, self.models)
        replies.seek(0)
        frames = []
        while replies.tell() < len(replies.getvalue()):
            frames.append(read_frame(replies)[0])
        return frames


@pytest.fixture
def spoken(place):
    made = Spoken(place)
    yield made
    made.models.end_batch()


def test_a_batch_is_listed_run_a_case_a_request_and_ended(spoken, place, capsys):
    [listed] = spoken.ask("batch")
    assert [case["name"] for case in listed["cases"]] == ["bad", "scan"]
    assert listed["rows"] == []
    *progress, answer = spoken.ask("batch_case", case=listed["cases"][1])
    assert progress[0]["type"] == "progress"
    row = unpack_row(answer["row"])
    assert (row.case, row.state, len(row.structures)) == ("scan", "done", 2)
    [answer] = spoken.ask("batch_case", case=listed["cases"][0])
    assert unpack_row(answer["row"]).fault.startswith(str(place / "scans" / "bad.nii.gz"))
    line = ["segment", str(place / "scans"), "--out", str(place / "out"), "--model", str(place / "model")]
    line += ["--samples", "1", "--device", "cpu"]
    assert main(line) == 2, "the folder is held"
    spoken.ask("batch_end")
    assert "scan" in (place / "out" / "cases.csv").read_text()
    assert main(line) == 0
    assert "1 of 2 cases are done already." in capsys.readouterr().out


def test_a_new_worker_goes_on_where_another_was_lost_and_takes_down_its_fault(place, spoken):
    case = {"name": "scan", "images": ["scan.nii.gz"]}
    [answer] = spoken.ask("batch_case", case=case, fault="The worker ended twice.")
    assert unpack_row(answer["row"]).fault == "The worker ended twice."
    [listed] = spoken.ask("batch")
    assert [row["fault"] for row in listed["rows"]] == ["The worker ended twice."]
    *_, answer = spoken.ask("batch_case", case=case)
    assert answer["row"]["state"] == "done"
    assert [row.state for row in BatchFolder(place / "out").rows()] == ["done"]


def test_images_of_the_scene_come_along_and_are_done_once(place, spoken):
    first = spoken.ask("batch_case", {"0": small.image()}, "the scene", case={"name": "cine"})[-1]
    again = spoken.ask("batch_case", {"0": small.image()}, "the scene", case={"name": "cine"})
    assert again == [first]
    assert (place / "out" / "cases" / "cine" / "image_0000.nrrd").is_file()
    [listed] = spoken.ask("batch", folder="the scene")
    assert listed["cases"] == []
    assert [row["case"] for row in listed["rows"]] == ["cine"]


def test_another_image_of_the_same_name_leaves_the_result_as_it_is_and_is_told(place, spoken):
    spoken.ask("batch_case", {"0": small.image()}, "the scene", case={"name": "cine"})
    kept = {path.name: path.read_bytes() for path in (place / "out" / "cases" / "cine").iterdir()}
    other = {"0": small.image(seed=1)}
    ended = "The worker ended twice."
    for more, said in (({}, "it is of another image"), ({"fault": ended}, ended)):
        *_, answer = spoken.ask("batch_case", other, "the scene", case={"name": "cine"}, **more)
        row = unpack_row(answer["row"])
        assert (row.case, row.state) == ("cine", "fault")
        assert said in row.fault
    spoken.ask("batch_end", folder="the scene")
    assert {path.name: path.read_bytes() for path in (place / "out" / "cases" / "cine").iterdir()} == kept
    assert [row.state for row in BatchFolder(place / "out").rows()] == ["done"]
    assert "cine,done" in (place / "out" / "cases.csv").read_text()


def test_a_model_goes_by_its_name_where_it_ships_and_by_its_path_where_it_does_not(place, monkeypatch):
    models, digest = ModelCache(), small.model().digest
    monkeypatch.setattr(shipped, "SHIPPED", place)
    monkeypatch.chdir("/")
    assert models.get("model", digest) is models.get(str(place / "model"))
    other = replace(small.model(), calibration=Calibration(dice_scale=2.0))
    with pytest.raises(ModelError, match="its weights, its calibration or its structures differ"):
        models.get("model", other.digest)
    with pytest.raises(ModelError, match=r"There is no model at .*/elsewhere on .*copy the model there"):
        models.get(str(place / "elsewhere"))
    with pytest.raises(ModelError, match=r"No model called elsewhere comes with the CSAMSegment on "):
        models.get("elsewhere")


def test_a_batch_with_another_model_than_the_one_that_was_chosen_does_not_begin(place, spoken):
    told = {"folder": str(place / "scans"), "out": str(place / "out"), "model": str(place / "model")}
    with pytest.raises(ModelError, match="is not the one that was chosen"):
        spoken.ask("batch", batch={**told, "digest": "0" * 64})
    assert not (place / "out").exists()


def test_a_lost_gpu_is_the_workers_failure_not_the_cases(place, spoken, monkeypatch):
    import csam.pipeline.segment as pipeline

    def failing(*_, **__):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(pipeline, "segment", failing)
    monkeypatch.setattr(batching, "lost_device", lambda error, device: DeviceLost("cuda:0 answers no more."))
    with pytest.raises(DeviceLost):
        spoken.ask("batch_case", case={"name": "scan", "images": ["scan.nii.gz"]})
    assert [*BatchFolder(place / "out").rows()] == []


def test_a_changed_batch_and_a_bad_request_are_refused_in_words(place, spoken):
    spoken.ask("batch")
    spoken.ask("batch_end")
    more = {"options": asdict(Options(samples=2))}
    with pytest.raises(InputError, match="holds another batch"):
        spoken.ask("batch", **more)
    with pytest.raises(InputError, match="lacks 'folder'"):
        spoken.ask("batch", batch={})
