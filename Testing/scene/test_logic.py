"""A run ends with its whole result, or with one error and the scene as it was."""

import json

import numpy as np
import pytest
import slicer

from csam.errors import Cancelled, CSAMError, InputError, ModelError, WorkerError
from csam.result import Options
from CSAMSegmentLib.logic import model_library
from CSAMSegmentLib.logic.model_library import ModelLibrary
from CSAMSegmentLib.logic.module_logic import CSAMSegmentLogic


def end(logic):
    """The run, polled until it has ended, as by the timer of a GUI."""
    while not logic.poll().finished:
        pass
    return logic.run


@pytest.fixture
def folder(tmp_path):
    """A model folder with one model; what reads it is a stand-in."""
    (tmp_path / "two-chambers").mkdir()
    (tmp_path / "two-chambers" / "model.json").write_text(json.dumps({"name": "two-chambers"}))
    return tmp_path


@pytest.fixture
def library(folder, model):
    return ModelLibrary(lambda: [folder], lambda path: model)


@pytest.fixture
def make_logic(library, fake):
    """A logic whose worker answers as the test says, and its client."""

    def make(answer=lambda job: None):
        client = fake.Client(answer)
        return CSAMSegmentLogic(lambda: client, library), client

    return make


def test_a_blocking_run_gives_the_output_nodes(volume, make_result, make_logic, fake):
    def answer(job):
        job.events = [fake.Progress(0.5, "Sampling", 3.0), make_result(volume)]

    logic, client = make_logic(answer)
    seen = []
    output = logic.process(volume, "two-chambers", options=Options(samples=7), progress=seen.append)
    assert output.segmentation.GetSegmentation().GetNumberOfSegments() == 2
    assert [progress.stage for progress in seen][-1] == "Done"
    assert client.jobs[0].header["type"] == "segment"
    assert client.jobs[0].header["options"]["samples"] == 7


def test_the_worker_gets_the_image_and_the_path_of_the_model(folder, volume, make_logic):
    logic, client = make_logic()
    logic.start(volume, "two-chambers")
    assert client.jobs[0].header["model"] == str(folder / "two-chambers")
    assert client.jobs[0].header["digest"] == "f" * 64
    assert np.array_equal(client.jobs[0].images[0].voxels, slicer.util.arrayFromVolume(volume))


def test_the_worker_gets_the_name_of_a_model_that_ships(folder, volume, make_logic, monkeypatch):
    monkeypatch.setattr(model_library, "SHIPPED", folder)
    logic, client = make_logic()
    logic.start(volume, "two-chambers")
    assert client.jobs[0].header["model"] == "two-chambers"


def test_a_run_goes_step_by_step_in_a_gui(volume, make_result, make_logic, fake):
    logic, client = make_logic()
    run = logic.start(volume, "two-chambers")
    assert not logic.poll().finished
    client.jobs[0].events = [fake.Progress(0.25, "Sampling", 9.0)]
    assert logic.poll().progress.seconds_left == 9.0
    client.jobs[0].events = [make_result(volume)]
    assert end(logic) is run
    assert run.output.uncertainty.GetName() == "cine uncertainty"


def test_without_a_run_there_is_nothing_to_poll_or_cancel(make_logic):
    logic, _ = make_logic()
    assert logic.poll() is None
    logic.cancel()
    logic.close()


def test_a_cancelled_run_leaves_the_scene_as_it_was(host, volume, make_logic):
    def answer(job):
        job.events = []

    logic, client = make_logic(answer)
    before = host.node_ids()
    asked = iter([False, True, True, True])

    def cancelled():
        if next(asked):
            client.jobs[0].events = [Cancelled()]
            return True
        return False

    with pytest.raises(Cancelled):
        logic.process(volume, "two-chambers", cancelled=cancelled)
    assert client.jobs[0].cancelled
    assert host.node_ids() == before


def test_a_result_that_was_quicker_than_the_cancel_is_not_shown(host, volume, make_result, make_logic):
    logic, client = make_logic()
    before = host.node_ids()
    run = logic.start(volume, "two-chambers")
    logic.cancel()
    logic.cancel()
    client.jobs[0].events = [make_result(volume)]
    logic.poll()
    assert isinstance(run.error, Cancelled)
    assert host.node_ids() == before


def test_a_crash_of_the_worker_is_one_error_and_the_next_run_works(host, volume, make_result, make_logic):
    logic, client = make_logic()
    before = host.node_ids()
    run = logic.start(volume, "two-chambers")
    client.jobs[0].events = [WorkerError("The worker was killed.")]
    assert str(logic.poll().error) == "The worker was killed."
    assert run.finished
    assert host.node_ids() == before
    client.answer = lambda job: job.events.append(make_result(volume))
    assert logic.process(volume, "two-chambers").volumes is not None


def test_an_error_of_the_run_is_raised_as_what_it_is(volume, make_logic):
    logic, _ = make_logic(lambda job: job.events.append(ModelError("The weights are damaged.")))
    with pytest.raises(ModelError, match="The weights are damaged"):
        logic.process(volume, "two-chambers")


def test_an_input_deleted_during_the_run_ends_it_at_once(host, volume, make_result, make_logic):
    logic, client = make_logic()
    run = logic.start(volume, "two-chambers")
    client.jobs[0].events = [make_result(volume)]
    host.scene.RemoveNode(volume)
    before = host.node_ids()
    assert 'input "cine" was removed' in str(logic.poll().error)
    assert client.jobs[0].cancelled == 1
    assert host.node_ids() == before
    assert run.output is None


@pytest.mark.parametrize("which", ["segmentation", "uncertainty"])
def test_an_output_deleted_during_the_run_ends_it_at_once(host, volume, make_result, make_logic, which):
    nodes = {
        "segmentation": host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine"),
        "uncertainty": host.add_volume(np.zeros((2, 2, 2), "f4"), name="mine"),
    }
    logic, client = make_logic()
    logic.start(volume, "two-chambers", **nodes)
    client.jobs[0].events = [make_result(volume)]
    host.scene.RemoveNode(nodes[which])
    before = host.node_ids()
    assert 'output "mine" was removed' in str(logic.poll().error)
    assert host.node_ids() == before


def test_closing_the_scene_during_the_run_ends_it(host, volume, make_result, make_logic):
    logic, client = make_logic()
    run = logic.start(volume, "two-chambers")
    client.jobs[0].events = [make_result(volume)]
    host.scene.Clear(False)
    before = host.node_ids()
    logic.poll()
    assert isinstance(run.error, InputError)
    assert host.node_ids() == before


def test_a_volume_moved_during_the_run_gets_no_result_of_where_it_was(host, volume, make_result, make_logic):
    logic, client = make_logic()
    logic.start(volume, "two-chambers")
    client.jobs[0].events = [make_result(volume)]
    matrix = np.eye(4)
    matrix[0, 3] = 5
    volume.SetAndObserveTransformNodeID(host.add_transform(matrix).GetID())
    assert "was moved or changed" in str(end(logic).error)


def test_voxels_changed_during_the_run_get_no_result_of_what_they_were(volume, make_result, make_logic):
    logic, client = make_logic()
    logic.start(volume, "two-chambers")
    client.jobs[0].events = [make_result(volume)]
    slicer.util.arrayFromVolume(volume)[0] = 99
    slicer.util.arrayFromVolumeModified(volume)
    assert "was moved or changed" in str(end(logic).error)


def test_a_failure_while_writing_is_an_error_of_the_run(host, volume, make_result, make_logic, monkeypatch):
    def fail(*_):
        raise RuntimeError("no memory left")

    monkeypatch.setattr("CSAMSegmentLib.logic.result_writer.show_map", fail)
    logic, client = make_logic()
    before = host.node_ids()
    logic.start(volume, "two-chambers")
    client.jobs[0].events = [make_result(volume)]
    assert "could not be shown: no memory left. The scene is as it was" in str(end(logic).error)
    assert type(logic.run.error) is CSAMError
    assert host.node_ids() == before


def test_two_runs_at_once_are_refused(volume, make_logic):
    logic, client = make_logic()
    logic.start(volume, "two-chambers")
    with pytest.raises(InputError, match="under way"):
        logic.start(volume, "two-chambers")
    assert len(client.jobs) == 1


def test_the_number_of_volumes_must_be_that_of_the_models_channels(volume, make_logic):
    logic, _ = make_logic()
    with pytest.raises(InputError, match=r"needs 1 volumes \(cine\); 2 were given"):
        logic.start([volume, volume], "two-chambers")


def test_no_input_is_said_before_the_worker_is_asked(make_logic):
    logic, client = make_logic()
    with pytest.raises(InputError, match="No image is chosen"):
        logic.process(None, "two-chambers")
    assert not client.jobs


def test_an_output_that_cannot_be_used_is_said_before_the_worker_is_asked(volume, make_logic):
    logic, client = make_logic()
    with pytest.raises(InputError, match="choose a segmentation"):
        logic.process(volume, "two-chambers", segmentation=volume)
    assert not client.jobs


def test_an_exception_of_the_progress_callback_cancels_the_run(host, volume, make_logic):
    logic, client = make_logic()
    before = host.node_ids()

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logic.process(volume, "two-chambers", progress=stop)
    assert client.jobs[0].cancelled == 1
    assert logic.run.finished
    assert host.node_ids() == before


def test_closing_ends_run_and_worker_and_a_later_run_starts_another(volume, make_logic):
    logic, client = make_logic()
    run = logic.start(volume, "two-chambers")
    logic.close()
    assert isinstance(run.error, Cancelled)
    assert client.closed
    logic.start(volume, "two-chambers")
    assert len(client.jobs) == 2


def test_what_is_forgotten_keeps_no_node_and_no_run(volume, make_result, make_logic):
    logic, client = make_logic()
    run = logic.start(volume, "two-chambers")
    logic.forget()
    assert isinstance(run.error, Cancelled)
    assert client.jobs[0].cancelled == 1
    assert logic.run is None
    assert logic.poll() is None


def test_the_previous_result_can_be_restored_once(volume, make_result, make_logic):
    logic, _ = make_logic(lambda job: job.events.append(make_result(volume)))
    first = logic.process(volume, "two-chambers")
    assert not logic.canRestorePrevious
    with pytest.raises(InputError, match="no previous result"):
        logic.restorePrevious()
    before = slicer.util.arrayFromVolume(first.uncertainty).copy()
    slicer.util.arrayFromVolume(first.uncertainty)[:] = 0.25
    logic.process(volume, "two-chambers", segmentation=first.segmentation)
    assert logic.canRestorePrevious
    logic.restorePrevious()
    assert (slicer.util.arrayFromVolume(first.uncertainty) == 0.25).all()
    assert not np.array_equal(before, slicer.util.arrayFromVolume(first.uncertainty))
    assert not logic.canRestorePrevious


def test_models_are_found_by_name_and_by_path(folder, library, model):
    assert library.find("two-chambers") == (folder / "two-chambers", model)
    assert library.find(folder / "two-chambers") == (folder / "two-chambers", model)
    with pytest.raises(ModelError, match=r'no model "liver"\. Known are: two-chambers'):
        library.find("liver")


def test_a_model_that_cannot_be_read_does_not_hide_the_others(folder, model, caplog):
    (folder / "broken").mkdir()
    (folder / "broken" / "model.json").write_text("{")

    def load(path):
        if path.name == "broken":
            raise ModelError("broken/model.json is not JSON.")
        return model

    library = ModelLibrary(lambda: [folder, folder / "absent"], load)
    assert list(library.models().values()) == [model]
    assert "broken/model.json is not JSON" in caplog.text


def test_a_model_is_read_again_when_its_file_changes(folder, model):
    reads = []
    library = ModelLibrary(lambda: [folder], lambda path: reads.append(path) or model)
    library.models()
    library.models()
    assert len(reads) == 1
    (folder / "two-chambers" / "model.json").write_text("{}")
    library.models()
    assert len(reads) == 2


@pytest.fixture
def copied(volume, make_result, make_logic):
    """A run whose result is there, and a copy of its image's voxels, as a sequence's browser makes one at its every
    event, a save of the scene among them."""
    logic, client = make_logic()
    logic.start(volume, "two-chambers")
    client.jobs[0].events = [make_result(volume)]
    again = volume.GetImageData().NewInstance()
    again.DeepCopy(volume.GetImageData())
    return logic, again


def test_voxels_that_a_sequence_browser_has_copied_are_still_the_same(volume, copied):
    logic, again = copied
    volume.SetAndObserveImageData(again)
    assert end(logic).error is None
    assert logic.run.output is not None


def test_another_image_in_the_same_node_gets_no_result(volume, copied):
    logic, again = copied
    again.GetPointData().GetScalars().SetComponent(0, 0, 99)
    volume.SetAndObserveImageData(again)
    assert "was moved or changed" in str(end(logic).error)
