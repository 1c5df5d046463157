"""A filling in the scene: segments, map and tables together or nothing; undone, saved, and filled once more."""

from dataclasses import replace

import numpy as np
import pytest
import slicer

from csam.errors import Cancelled, InputError
from csam.image.raster import voxels_of
from csam.result import Progress, StructureVolume
from CSAMSegmentLib.logic.drawn_slices import drawn_indices, find_slices, read_tag
from CSAMSegmentLib.logic.fill_run import plan_fill
from CSAMSegmentLib.logic.filled_model import TAUGHT
from CSAMSegmentLib.logic.module_logic import CSAMSegmentLogic
from CSAMSegmentLib.logic.result_writer import restore, write_result
from CSAMSegmentLib.logic.segment_voxels import segment_voxels
from CSAMSegmentLib.logic.shown_result import find_result
from CSAMSegmentLib.logic.structure_volumes import edited, measure


def square(*slices):
    voxels = np.zeros((6, 6, 5), np.uint8)
    voxels[list(slices), 1:4, 1:3] = 1
    return voxels


@pytest.fixture
def volume(host):
    """A stack of 6 slices of 6 x 5 pixels, 1.5 x 1.25 x 8 mm."""
    voxels = np.arange(180, dtype=np.int16).reshape(6, 6, 5)
    return host.add_volume(voxels, spacing=(1.5, 1.25, 8.0), origin=(-20.0, 30.0, 5.0))


@pytest.fixture
def segmentation(scene, volume):
    """The gland drawn in slices 1 and 6, and a scar in slice 3."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    scar = np.zeros((6, 6, 5), np.uint8)
    scar[2, 3:5, 2:4] = 1
    for identifier, voxels in (("gland", square(0, 5)), ("scar", scar)):
        node.GetSegmentation().AddEmptySegment(identifier, identifier.title())
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, identifier, volume)
    return node


@pytest.fixture
def answer(make_result, volume):
    """Lets a job end in a result: the first structure one pixel wider in every slice that is unknown."""

    def answer_(job):
        drawn = voxels_of(job.images["drawn"])
        labels = np.where(drawn == 255, np.roll(square(*range(6)), 1, 2), drawn).astype(np.uint8)
        result = make_result(volume, labels)
        names = {one["value"]: one["name"] for one in job.header["structures"]}
        voxel = 1.5 * 1.25 * 8 / 1000
        structures = tuple(
            StructureVolume(value, name, float((labels == value).sum() * voxel), 1.0, 0.5, 2.0)
            for value, name in names.items()
        )
        scores = tuple(replace(score, areas_mm2=(1.0,) * len(names)) for score in result.slices)
        job.events += [Progress(0.5, "Filling"), replace(result, structures=structures, slices=scores)]

    return answer_


@pytest.fixture
def logic(fake, answer):
    return CSAMSegmentLogic(lambda: fake.Client(answer))


def voxels(segmentation, volume, identifier="gland"):
    return segment_voxels(segmentation, identifier, volume)


def test_the_filled_segment_has_new_voxels_in_undrawn_slices_alone(logic, volume, segmentation):
    scar = voxels(segmentation, volume, "scar")
    output = logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    filled = voxels(segmentation, volume)
    assert np.array_equal(filled[[0, 5]], square(0, 5)[[0, 5]] > 0)
    assert filled[1:5].any((1, 2)).all()
    assert not (filled & scar).any()
    assert np.array_equal(voxels(segmentation, volume, "scar"), scar)
    assert output.segment_ids == ("gland",)
    assert list(segmentation.GetSegmentation().GetSegmentIDs()) == ["gland", "scar"]


def test_a_filling_is_shown_as_a_result_is(logic, volume, segmentation):
    logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    result = find_result(segmentation, "tiny")
    assert result.is_taught
    assert result.segments == {"gland": "Gland"}
    assert set(result.nodes) == {"error_probability", "volumes", "slices"}
    assert [row.rank for row in result.rows()] == [1, 2, 3, 4, 5, 6]
    assert edited(result, measure(result)) == {}


def test_after_a_filling_the_drawn_slices_are_still_known(logic, volume, segmentation):
    logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    assert drawn_indices(find_slices(segmentation, volume, ["gland"])) == (0, 5)


def test_undo_brings_back_voxels_and_record_and_takes_the_tables_away(scene, logic, volume, segmentation):
    logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    logic.restorePrevious()
    assert np.array_equal(voxels(segmentation, volume), square(0, 5) > 0)
    assert read_tag(segmentation, "gland") == ""
    assert find_result(segmentation) is None
    assert not scene.GetNumberOfNodesByClass("vtkMRMLTableNode")


def test_undo_of_a_second_round_brings_back_the_first(logic, volume, segmentation):
    logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    first, tag = voxels(segmentation, volume), read_tag(segmentation, "gland")
    first[3] = square(3)[3]
    slicer.util.updateSegmentBinaryLabelmapFromArray(first.astype("u1"), segmentation, "gland", volume)
    drawn = drawn_indices(find_slices(segmentation, volume, ["gland"]))
    assert drawn == (0, 3, 5)
    logic.fill(plan_fill(volume, segmentation, ["gland"], drawn))
    assert read_tag(segmentation, "gland") != tag
    logic.restorePrevious()
    assert np.array_equal(voxels(segmentation, volume), first)
    assert read_tag(segmentation, "gland") == tag
    assert find_result(segmentation).is_taught


def test_a_cancel_leaves_all_as_it_was(scene, fake, volume, segmentation):
    logic = CSAMSegmentLogic(lambda: fake.Client(lambda job: job.events.append(Cancelled())))
    nodes = scene.GetNumberOfNodes()
    with pytest.raises(Cancelled):
        logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    assert np.array_equal(voxels(segmentation, volume), square(0, 5) > 0)
    assert scene.GetNumberOfNodes() == nodes
    assert not logic.canRestorePrevious


def test_a_stroke_during_the_filling_wins(scene, fake, answer, volume, segmentation):
    def paint(job):
        answer(job)
        slicer.util.updateSegmentBinaryLabelmapFromArray(square(0, 4, 5), segmentation, "gland", volume)

    logic = CSAMSegmentLogic(lambda: fake.Client(paint))
    with pytest.raises(InputError, match='"Gland" was changed'):
        logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    assert np.array_equal(voxels(segmentation, volume), square(0, 4, 5) > 0)
    assert find_result(segmentation) is None
    assert not scene.GetNumberOfNodesByClass("vtkMRMLTableNode")


def test_a_failure_while_writing_leaves_all_as_it_was(scene, logic, volume, segmentation, monkeypatch):
    def fail(*_arguments, **_more):
        raise RuntimeError("no room")

    monkeypatch.setattr("CSAMSegmentLib.logic.result_writer._tie", fail)
    nodes = scene.GetNumberOfNodes()
    logic.startFill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    while not logic.poll().finished:
        pass
    assert "no room" in str(logic.run.error)
    assert np.array_equal(voxels(segmentation, volume), square(0, 5) > 0)
    assert read_tag(segmentation, "gland") == ""
    assert scene.GetNumberOfNodes() == nodes


@pytest.mark.parametrize("cancelled", [True, False])
def test_the_editor_keeps_the_segments_right_before_they_change_and_only_then(logic, volume, segmentation, cancelled):
    kept = []
    plan = plan_fill(volume, segmentation, ["gland"], [0, 5])
    logic.startFill(plan, keep=lambda: kept.append(voxels(segmentation, volume)))
    if cancelled:
        logic.cancel()
    while not logic.poll().finished:
        pass
    assert [one.tolist() for one in kept] == ([] if cancelled else [(square(0, 5) > 0).tolist()])


def test_two_segments_are_filled_at_once(logic, volume, segmentation):
    plan = plan_fill(volume, segmentation, ["gland", "scar"], [0, 2, 5])
    scar = voxels(segmentation, volume, "scar")
    output = logic.fill(plan)
    assert output.segment_ids == ("gland", "scar")
    assert [entry.name for entry in find_result(segmentation).structures()] == ["Gland", "Scar"]
    assert np.array_equal(voxels(segmentation, volume, "scar")[[0, 2, 5]], scar[[0, 2, 5]])


def test_an_update_of_a_models_result_stays_that_models(logic, volume, make_result, model):
    output = write_result(make_result(volume), volume, model)
    before = {one: voxels(output.segmentation, volume, one) for one in output.segment_ids}
    result = find_result(output.segmentation, model.name)
    values = {result.segment_id(entry.value): entry.value for entry in result.structures()}
    plan = plan_fill(volume, output.segmentation, values, [1], update=True)
    run = logic.startFill(plan, model.name, reviewed=[1])
    while not logic.poll().finished:
        pass
    assert run.error is None
    after = find_result(output.segmentation, model.name)
    assert (after.model, after.is_taught, set(after.segments)) == (model.name, False, set(output.segment_ids))
    assert [row.index for row in after.rows() if row.reviewed] == [1]
    for identifier, voxels_before in before.items():
        assert np.array_equal(voxels(output.segmentation, volume, identifier)[1], voxels_before[1])
    assert voxels(output.segmentation, volume, output.segment_ids[0])[4].any()
    restore(run.output.previous)
    for identifier, voxels_before in before.items():
        assert np.array_equal(voxels(output.segmentation, volume, identifier), voxels_before)


def test_a_run_of_the_model_forgets_what_was_drawn(logic, volume, make_result, model):
    output = write_result(make_result(volume), volume, model)
    plan = plan_fill(volume, output.segmentation, {output.segment_ids[0]: 1}, [1], update=True)
    logic.startFill(plan, model.name)
    while not logic.poll().finished:
        pass
    assert read_tag(output.segmentation, output.segment_ids[0])
    write_result(make_result(volume), volume, model, output.segmentation)
    assert read_tag(output.segmentation, output.segment_ids[0]) == ""


def test_a_saved_scene_knows_the_filled_result(host, logic, volume, segmentation):
    logic.fill(plan_fill(volume, segmentation, ["gland"], [0, 5]))
    host.scene.SetSaveToXMLString(1)
    host.scene.Commit()
    text = host.scene.GetSceneXMLString()
    host.scene.Clear(False)
    host.scene.SetLoadFromXMLString(1)
    host.scene.SetSceneXMLString(text)
    host.scene.Import()
    loaded = host.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    result = find_result(loaded)
    assert (result.model, result.report()["segments"]) == (TAUGHT, {"1": "gland"})
