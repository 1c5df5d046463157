"""A result is written in steps, between which a GUI goes on: whatever happens there, nothing half done stays."""

import numpy as np
import pytest
import slicer

from csam.errors import CSAMError, InputError
from CSAMSegmentLib.logic import module_logic as logic_module
from CSAMSegmentLib.logic.model_library import ModelLibrary
from CSAMSegmentLib.logic.module_logic import CSAMSegmentLogic
from CSAMSegmentLib.logic.result_nodes import content_of, find_outputs
from CSAMSegmentLib.logic.result_writer import result_steps, write_result


def contents(segmentation, model) -> dict:
    """What the nodes beside a segmentation hold, and its voxels."""
    if segmentation is None:
        return {}
    found = {role: content_of(node) for role, node in find_outputs(segmentation, model.name).items()}
    for content in found.values():
        content.pop("matrix", None)  # a new object each time
    segments = segmentation.GetSegmentation()
    voxels = [segments.GetSegment(name).GetRepresentation("Binary labelmap") for name in segments.GetSegmentIDs()]
    return {**found, "voxels": voxels}


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_result_closed_after_any_of_its_steps_leaves_the_scene_as_it_was(host, volume, make_result, model, again):
    maps = ("error_probability", "entropy")
    segmentation = write_result(make_result(volume), volume, model, maps=()).segmentation if again else None
    result = make_result(volume, probabilities=True)
    before, held = host.node_ids(), contents(segmentation, model)
    taken = 0
    while True:
        steps = result_steps(result, volume, model, segmentation, None, maps)
        try:
            for _step in range(taken):
                next(steps)
        except StopIteration:
            break
        steps.close()
        assert host.node_ids() == before, f"after {taken} steps"
        assert contents(segmentation, model) == held, f"after {taken} steps"
        taken += 1
    assert taken > 8
    assert host.node_ids() > before


def test_nodes_that_are_there_change_in_the_last_step_alone(volume, make_result, model):
    """So no view shows the voxels of one result with the figures of another."""
    segmentation = write_result(make_result(volume), volume, model).segmentation
    held, seen = contents(segmentation, model), []
    for _step in result_steps(make_result(volume), volume, model, segmentation):
        seen.append(contents(segmentation, model) == held)
    assert len(seen) > 4
    assert all(seen)
    assert contents(segmentation, model) != held


def test_every_new_node_is_added_in_a_step_of_its_own(host, volume, make_result, model):
    """A display node comes with the node that it shows."""
    counts = [len(host.node_ids())]
    maps = ("error_probability", "entropy", "mutual_information")
    for _step in result_steps(make_result(volume), volume, model, maps=maps):
        counts.append(len(host.node_ids()))
    assert max(np.diff(counts)) == 2
    assert counts[-1] - counts[0] >= 7


@pytest.mark.parametrize("what", ["segmentation", "table"])
def test_a_node_of_the_result_removed_between_two_steps_ends_it(host, volume, make_result, model, what):
    before = host.node_ids()
    kind = {"segmentation": "vtkMRMLSegmentationNode", "table": "vtkMRMLTableNode"}[what]

    def write():
        for _step in result_steps(make_result(volume), volume, model):
            for node in slicer.util.getNodesByClass(kind):
                host.scene.RemoveNode(node)

    with pytest.raises(InputError, match=r"was removed while the result was being written\. Run it again"):
        write()
    assert host.node_ids() == before


WAYS = {
    "cancelled": lambda logic, host, volume: logic.cancel(),
    "input deleted": lambda logic, host, volume: host.scene.RemoveNode(volume),
    "moved": lambda logic, host, volume: volume.SetOrigin(1, 2, 3),
    "worker closed": lambda logic, host, volume: logic.close(),
    "forgotten": lambda logic, host, volume: logic.forget(),
    "scene closed": lambda logic, host, volume: host.scene.Clear(False),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_stopped_while_its_result_is_written_leaves_nothing_of_it(
    host, volume, make_result, model, fake, tmp_path, monkeypatch, way
):
    monkeypatch.setattr(logic_module, "TURN", 0.0)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.json").write_text("{}")
    client = fake.Client(lambda job: job.events.append(make_result(volume)))
    logic = CSAMSegmentLogic(lambda: client, ModelLibrary(lambda: [tmp_path], lambda path: model))
    before = host.node_ids()
    run = logic.start(volume, "tiny")
    while len(host.node_ids()) < len(before) + 4:
        assert not logic.poll().finished
    assert run.writing
    WAYS[way](logic, host, volume)
    while not run.finished:
        logic.poll()
    logic.poll()
    assert isinstance(run.error, CSAMError)
    assert not run.writing
    assert host.node_ids() <= before
    assert "input deleted" in way or "scene closed" in way or host.node_ids() == before
