"""The request "fill" through a real worker with its real engine: rounds of one case, cancel, and what is refused."""

import sys
import threading

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit.small_fill import ROD, drawn, image_of, model, rod

from csam.errors import Cancelled, InputError, ModelError, WorkerError
from csam.image.unknown import UNKNOWN
from csam.interactive.drawing import FillOptions
from csam.interactive.fill import fill
from csam.process.client import WorkerClient, fill_request
from csam.result import Progress

LABELS = rod(9)
OPTIONS = FillOptions(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker") / "model"
    model().save(folder)
    return folder


@pytest.fixture(scope="module")
def worker():
    with WorkerClient([sys.executable, "-m", "csam", "worker"]) as client:
        yield client


def request(folder, slices, case=None, seed=0, found=None, **changes):
    options = FillOptions(device="cpu", seed=seed)
    header, images = fill_request(image_of(LABELS), drawn(LABELS, slices), ROD, options, found, case)
    return {**header, "model": str(folder), **changes}, images


def voxels(result, name="error_probability"):
    return sitk.GetArrayFromImage(getattr(result, name))


def test_a_worker_fills_as_the_function_does(worker, folder):
    seen = []
    result = worker.run(*request(folder, [1, 7]), progress=seen.append)
    here = fill(image_of(LABELS), drawn(LABELS, [1, 7]), ROD, model(), OPTIONS)
    assert (voxels(result, "labels")[[1, 7]] == LABELS[[1, 7]]).all()
    assert (voxels(result, "labels") == voxels(here, "labels")).mean() > 0.999
    assert [s.reason for s in result.slices] == [s.reason for s in here.slices]
    assert any("rod" in progress.stage for progress in seen)
    found = worker.run(*request(folder, [1, 7], found=result.labels))
    assert (voxels(found, "labels")[[1, 7]] == LABELS[[1, 7]]).all()


def test_the_second_round_of_a_case_starts_from_the_first_and_another_case_forgets(worker, folder):
    anew = voxels(worker.run(*request(folder, [1, 4, 7])))
    worker.run(*request(folder, [1, 7], "a"))
    second = voxels(worker.run(*request(folder, [1, 4, 7], "a")))
    assert not np.array_equal(second, anew)
    worker.run(*request(folder, [1, 7], "b"))
    assert np.array_equal(voxels(worker.run(*request(folder, [1, 4, 7], "a"))), anew)


def test_another_network_does_not_start_from_what_the_first_one_learned(worker, folder, tmp_path):
    model(active=False).save(tmp_path / "other")
    anew = voxels(worker.run(*request(tmp_path / "other", [1, 4, 7])))
    worker.run(*request(folder, [1, 7], "c"))
    assert np.array_equal(voxels(worker.run(*request(tmp_path / "other", [1, 4, 7], "c"))), anew)


def test_a_model_whose_files_changed_is_read_again_and_starts_anew(worker, tmp_path):
    model().save(tmp_path / "m")
    worker.run(*request(tmp_path / "m", [1, 7], "e"))
    before = voxels(worker.run(*request(tmp_path / "m", [1, 4, 7])))
    model(active=False).save(tmp_path / "m")
    after = voxels(worker.run(*request(tmp_path / "m", [1, 4, 7])))
    assert not np.array_equal(after, before)
    assert np.array_equal(voxels(worker.run(*request(tmp_path / "m", [1, 4, 7], "e"))), after)


def test_a_cancelled_filling_ends_and_leaves_the_worker_and_the_case_as_they_were(worker, folder):
    worker.run(*request(folder, [1, 7], "d"))
    connection = worker._connection
    job = worker.submit(*request(folder, [1, 4, 7], "d", seed=1))
    learning = threading.Event()
    while not learning.is_set() and not job.done:
        if any(isinstance(event, Progress) and "Learning" in event.stage for event in job.poll()):
            learning.set()
    worker.cancel(job)
    with pytest.raises(Cancelled):
        job.result(60)
    assert worker._connection is connection
    after = voxels(worker.run(*request(folder, [1, 4, 7], "d")))
    worker.run(*request(folder, [1, 7], "e"))
    assert np.array_equal(voxels(worker.run(*request(folder, [1, 4, 7], "e"))), after)


def test_a_filling_that_is_cancelled_after_its_end_leaves_the_case_as_it_was(worker, folder):
    worker.run(*request(folder, [1, 7], "f"))
    second = voxels(worker.run(*request(folder, [1, 4, 7], "f")))
    for case, cancelled in (("g", "g"), ("h", "another")):
        worker.run(*request(folder, [1, 7], case))
        late = worker.submit(*request(folder, [1, 2, 7], cancelled, seed=1))
        late.result(60)
        worker.cancel(late)
        assert np.array_equal(voxels(worker.run(*request(folder, [1, 4, 7], case))), second)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"structures": [{"value": 2, "name": "other"}]}, InputError, "no structure has"),
        ({"structures": [{"name": "rod"}]}, WorkerError, "structures"),
        ({"structures": 5}, WorkerError, "structures"),
        ({"options": {"colour": "red"}}, InputError, "colour"),
        ({"options": {"seed": -3}}, InputError, "seed"),
        ({"model": "nowhere"}, ModelError, "nowhere"),
    ],
)
def test_a_request_that_is_wrong_is_answered_in_words(worker, folder, changes, error, said):
    with pytest.raises(error, match=said):
        worker.run(*request(folder, [1, 7], **changes))


def test_a_request_without_a_drawing_is_answered_in_words(worker, folder):
    header, images = request(folder, [1, 7])
    del images["drawn"]
    with pytest.raises(WorkerError, match="drawn"):
        worker.run(header, images)
    with pytest.raises(InputError, match="No image"):
        worker.run(header, {"drawn": drawn(LABELS, [1, 7])})
    assert torch.__version__ == worker.hello()["torch"]


def test_a_worker_carries_a_structure_to_the_next_frame(worker, folder):
    moved = np.roll(LABELS, 3, 2)
    first, second = image_of(LABELS), image_of(moved, seed=1)
    found, unknown = (sitk.GetImageFromArray(voxels) for voxels in (LABELS, np.full_like(LABELS, UNKNOWN)))
    for image in (found, unknown):
        image.CopyInformation(first)
    header, images = fill_request(second, unknown, ROD, OPTIONS, found, before=first)
    there = voxels(worker.run({**header, "model": str(folder)}, images), "labels")
    here = fill(second, unknown, ROD, model(), OPTIONS, found, before=first)
    assert np.array_equal(there, voxels(here, "labels"))
    assert (there == moved).mean() > (moved == LABELS).mean()
