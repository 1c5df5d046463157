"""A second run replaces what the first one made, and nothing else; a failing one changes nothing at all."""

import numpy as np
import pytest
import slicer
import vtk

import CSAMSegmentLib.logic.result_writer
from CSAMSegmentLib.logic.result_tables import read_slices, set_reviewed
from CSAMSegmentLib.logic.result_writer import restore, snapshot, write_result
from CSAMSegmentLib.logic.segments import LABELMAP, SURFACE


def box(*corner):
    labels = np.zeros((4, 6, 5), np.uint8)
    k, j, i = corner
    labels[k : k + 2, j : j + 2, i : i + 2] = 1
    return labels


def segment_voxels(segmentation, identifier, volume):
    return slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume) > 0


def everything(segmentation, *nodes):
    """The whole content of the nodes, as plain values to compare."""
    content = segmentation.GetSegmentation()
    geometry = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    found = {
        "order": content.GetSegmentIDs(),
        "transform": segmentation.GetTransformNodeID(),
        "grid": content.GetConversionParameter(geometry),
        "input": segmentation.GetNodeReferenceID("CSAMSegment.Input"),
    }
    for identifier in content.GetSegmentIDs():
        segment = content.GetSegment(identifier)
        found[identifier] = (segment.GetName(), segment.GetColor(), segment.GetTerminology())
        image = segment.GetRepresentation(LABELMAP)
        scalars = image.GetPointData().GetScalars()
        voxels = np.empty(0) if scalars is None else vtk.util.numpy_support.vtk_to_numpy(scalars)
        found[identifier, "voxels"] = (image.GetExtent(), (voxels == segment.GetLabelValue()).tobytes())
        surface = segment.GetRepresentation(SURFACE)
        found[identifier, "surface"] = surface and surface.GetBounds()
    for node in nodes:
        found[node.GetID()] = [node.GetName(), node.GetNodeReferenceID("CSAMSegment.Segmentation")]
        found[node.GetID()] += [node.GetAttribute(name) for name in node.GetAttributeNames()]
        if node.IsA("vtkMRMLVolumeNode"):
            display = node.GetDisplayNode()
            found[node.GetID(), "voxels"] = slicer.util.arrayFromVolume(node).tobytes()
            found[node.GetID(), "look"] = display and [
                *(display.GetColorNodeID(), display.GetWindow(), display.GetLevel(), display.GetLowerThreshold()),
                *(display.GetApplyThreshold(), display.GetAutoWindowLevel(), display.GetInterpolate()),
            ]
        else:
            found[node.GetID(), "rows"] = (
                node.GetTable().GetNumberOfRows(),
                [
                    node.GetTable().GetValue(0, column).ToString()
                    for column in range(node.GetTable().GetNumberOfColumns())
                ],
            )
    return found


@pytest.fixture
def other_segment(scene, volume):
    """A user's segmentation with a segment of their own that overlaps what the model will find."""
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    identifier = segmentation.GetSegmentation().AddEmptySegment("scar", "Scar", [0, 1, 0])
    slicer.util.updateSegmentBinaryLabelmapFromArray(box(1, 1, 1), segmentation, identifier, volume)
    return segmentation


def test_only_the_models_own_segments_are_replaced(volume, make_result, model, other_segment):
    first = write_result(make_result(volume, box(0, 0, 0)), volume, model, other_segment)
    again = write_result(make_result(volume, box(2, 3, 3)), volume, model, other_segment)
    assert again.segment_ids == first.segment_ids
    assert list(other_segment.GetSegmentation().GetSegmentIDs()) == ["scar", *again.segment_ids]
    assert np.array_equal(segment_voxels(other_segment, "scar", volume), box(1, 1, 1))
    assert np.array_equal(segment_voxels(other_segment, again.segment_ids[0], volume), box(2, 3, 3))


def test_views_are_told_of_new_voxels(volume, make_result, model):
    output = write_result(make_result(volume, box(0, 0, 0)), volume, model)
    told = []
    event = slicer.vtkSegmentation.SourceRepresentationModified
    output.segmentation.AddObserver(event, lambda *_: told.append(event))
    write_result(make_result(volume, box(2, 3, 3)), volume, model, output.segmentation)
    assert told


def test_another_models_segments_stay(volume, make_result, model, fake):
    first = write_result(make_result(volume, box(0, 0, 0)), volume, model)
    other = fake.Model(name="two-chambers_1")
    second = write_result(make_result(volume, box(2, 3, 3)), volume, other, first.segmentation)
    assert not set(first.segment_ids) & set(second.segment_ids)
    assert np.array_equal(segment_voxels(first.segmentation, first.segment_ids[0], volume), box(0, 0, 0))
    assert not {node.GetID() for node in first.nodes.values()} & {node.GetID() for node in second.nodes.values()}


def test_models_whose_names_have_other_letters_alone_do_not_share_segments(volume, make_result, fake):
    heart, liver = fake.Model(name="心臓"), fake.Model(name="肝臓")
    first = write_result(make_result(volume), volume, heart)
    write_result(make_result(volume), volume, liver, first.segmentation)
    assert first.segmentation.GetSegmentation().GetNumberOfSegments() == 4


def test_a_user_who_paints_into_the_same_layer_keeps_it(volume, make_result, model):
    output = write_result(make_result(volume, box(0, 0, 0)), volume, model)
    content = output.segmentation.GetSegmentation()
    layer = content.GetSegment(output.segment_ids[0]).GetRepresentation(LABELMAP)
    painted = slicer.vtkSegment()
    painted.SetName("Papillary muscle")
    painted.SetLabelValue(7)
    painted.AddRepresentation(LABELMAP, layer)
    content.AddSegment(painted, "painted")
    vtk.util.numpy_support.vtk_to_numpy(layer.GetPointData().GetScalars()).reshape(4, 6, 5)[3, 5, :] = 7
    before = segment_voxels(output.segmentation, "painted", volume)

    again = write_result(make_result(volume, box(2, 3, 3)), volume, model, output.segmentation)
    assert before.sum() == 5
    assert np.array_equal(segment_voxels(output.segmentation, "painted", volume), before)
    assert values_in_layer(content, "painted") == {0, 7}  # no voxels of nobody stay behind

    restore(again.previous)
    assert np.array_equal(segment_voxels(output.segmentation, "painted", volume), before)
    assert np.array_equal(segment_voxels(output.segmentation, output.segment_ids[0], volume), box(0, 0, 0))
    assert values_in_layer(content, output.segment_ids[0]) == {0, 1}


def values_in_layer(content, identifier):
    layer = content.GetSegment(identifier).GetRepresentation(LABELMAP)
    return set(vtk.util.numpy_support.vtk_to_numpy(layer.GetPointData().GetScalars()))


def test_the_earlier_nodes_are_used_again(host, volume, make_result, model):
    first = write_result(make_result(volume, box(0, 0, 0)), volume, model, maps=("error_probability", "entropy"))
    before = host.node_ids()
    again = write_result(make_result(volume, box(2, 3, 3)), volume, model, first.segmentation)
    assert host.node_ids() == before
    assert again.nodes == first.nodes  # the entropy too: it must not tell of the run before


def test_a_run_without_outputs_makes_new_ones(volume, make_result, model):
    first = write_result(make_result(volume), volume, model)
    second = write_result(make_result(volume), volume, model)
    assert first.segmentation is not second.segmentation
    assert second.segmentation.GetName() == "cine segmentation_1"
    assert second.previous is None


def test_name_colour_and_overlay_that_a_user_chose_stay(volume, make_result, model):
    output = write_result(make_result(volume), volume, model)
    segment = output.segmentation.GetSegmentation().GetSegment(output.segment_ids[0])
    segment.SetName("Cavity")
    segment.SetColor(0, 1, 1)
    output.uncertainty.GetDisplayNode().SetLowerThreshold(0.3)
    write_result(make_result(volume), volume, model, output.segmentation)
    assert (segment.GetName(), segment.GetColor()) == ("Cavity", (0, 1, 1))
    assert output.uncertainty.GetDisplayNode().GetLowerThreshold() == 0.3


def test_the_chosen_uncertainty_volume_is_filled(host, volume, make_result, model):
    chosen = host.add_volume(np.ones((2, 2, 2), "u1"), name="chosen")
    output = write_result(make_result(volume), volume, model, uncertainty=chosen)
    assert output.uncertainty is chosen
    assert slicer.util.arrayFromVolume(chosen).shape == (4, 6, 5)
    assert chosen.GetDisplayNode().GetWindowLevelMax() == 0.5


def test_choosing_another_uncertainty_volume_lets_the_first_one_go(host, volume, make_result, model):
    chosen = host.add_volume(np.ones((2, 2, 2), "u1"), name="chosen")
    first = write_result(make_result(volume), volume, model)
    write_result(make_result(volume), volume, model, first.segmentation, uncertainty=chosen)
    third = write_result(make_result(volume), volume, model, first.segmentation)
    assert third.uncertainty is chosen


def test_a_shown_surface_follows_the_new_voxels(volume, make_result, model):
    output = write_result(make_result(volume, box(0, 0, 0)), volume, model)
    content = output.segmentation.GetSegmentation()
    output.segmentation.CreateClosedSurfaceRepresentation()
    write_result(make_result(volume, box(2, 3, 3)), volume, model, output.segmentation)
    bounds = content.GetSegment(output.segment_ids[0]).GetRepresentation(SURFACE).GetBounds()
    assert bounds[4] > 5.0 + 8.0  # the slices below the box are 5 and 13 mm up


def test_a_segmentation_under_another_transform_gets_its_voxels_in_the_same_place(host, volume, make_result, model):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.eye(3)[:, [1, 0, 2]] * [1, -1, 1], (40, 0, 0)
    segmentation = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.SetAndObserveTransformNodeID(host.add_transform(matrix).GetID())
    output = write_result(make_result(volume, box(1, 2, 3)), volume, model, segmentation)
    assert output.segmentation.GetTransformNodeID() != volume.GetTransformNodeID()
    assert np.array_equal(segment_voxels(segmentation, output.segment_ids[0], volume), box(1, 2, 3))


STEPS = ["put_segments", "show_segmentation", "show_map", "_report"]


@pytest.mark.parametrize("step", STEPS)
def test_a_failing_first_run_adds_no_node(host, volume, make_result, model, monkeypatch, step):
    before = host.node_ids()
    _fail_after(monkeypatch, step)
    with pytest.raises(OSError, match="disk"):
        write_result(make_result(volume), volume, model)
    assert host.node_ids() == before
    hierarchy = host.scene.GetSubjectHierarchyNode()
    assert hierarchy.GetNumberOfItemChildren(hierarchy.GetSceneItemID(), True) == 1
    assert not host.scene.IsBatchProcessing()


@pytest.mark.parametrize("step", ["put_segments", "show_map", "_report"])
@pytest.mark.parametrize("surface", [False, True], ids=["voxels", "surface"])
def test_a_failing_second_run_leaves_every_content_as_it_was(
    host, volume, make_result, model, monkeypatch, other_segment, step, surface
):
    chosen = host.add_volume(np.ones((2, 2, 2), "u1"), name="chosen")
    first = write_result(make_result(volume, box(0, 0, 0)), volume, model, other_segment)
    if surface:
        other_segment.CreateClosedSurfaceRepresentation()
    renumber(other_segment, first.segment_ids[0], 5)
    nodes = [*first.nodes.values(), chosen]
    before, ids = everything(other_segment, *nodes), host.node_ids()
    _fail_after(monkeypatch, step)
    with pytest.raises(OSError, match="disk"):
        write_result(make_result(volume, box(2, 3, 3)), volume, model, other_segment, chosen)
    assert everything(other_segment, *nodes) == before
    assert host.node_ids() == ids


def renumber(segmentation, identifier, value):
    """Give a segment another label value in its layer, as Slicer does when it merges layers for saving."""
    segment = segmentation.GetSegmentation().GetSegment(identifier)
    voxels = vtk.util.numpy_support.vtk_to_numpy(segment.GetRepresentation(LABELMAP).GetPointData().GetScalars())
    voxels[voxels == segment.GetLabelValue()] = value
    segment.SetLabelValue(value)


@pytest.mark.parametrize("step", STEPS)
def test_a_failing_first_run_leaves_a_users_segmentation_as_it_was(host, volume, make_result, model, monkeypatch, step):
    segmentation = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    segmentation.GetSegmentation().AddEmptySegment("scar", "Scar", [0, 1, 0])
    before, ids = everything(segmentation), host.node_ids()
    _fail_after(monkeypatch, step)
    with pytest.raises(OSError, match="disk"):
        write_result(make_result(volume), volume, model, segmentation)
    assert everything(segmentation) == before
    assert host.node_ids() == ids


def _fail_after(monkeypatch, step):
    real = getattr(CSAMSegmentLib.logic.result_writer, step)

    def fail(*arguments):
        real(*arguments)
        raise OSError("the disk is full")

    monkeypatch.setattr(CSAMSegmentLib.logic.result_writer, step, fail)


def test_the_previous_result_comes_back_whole(host, volume, make_result, model, other_segment):
    first = write_result(make_result(volume, box(0, 0, 0)), volume, model, other_segment)
    set_reviewed(first.slices, 2)
    before, ids = everything(other_segment, *first.nodes.values()), host.node_ids()
    again = write_result(make_result(volume, box(2, 3, 3)), volume, model, other_segment, maps=("entropy",))
    layer = other_segment.GetSegmentation().GetSegment(again.segment_ids[0]).GetRepresentation(LABELMAP)
    vtk.util.numpy_support.vtk_to_numpy(layer.GetPointData().GetScalars())[:] = 1  # a user paints
    restore(again.previous)
    assert everything(other_segment, *first.nodes.values()) == before
    assert host.node_ids() == ids  # the entropy is gone again
    assert [row.number for row in read_slices(first.slices) if row.reviewed] == [2]


def test_restoring_a_first_run_takes_it_out_of_a_users_segmentation(host, volume, make_result, model, other_segment):
    before, ids = everything(other_segment), host.node_ids()
    restore(write_result(make_result(volume), volume, model, other_segment).previous)
    assert everything(other_segment) == before
    assert host.node_ids() == ids


def test_restoring_gives_a_chosen_volume_back_its_content(host, volume, make_result, model, other_segment):
    chosen = host.add_volume(np.full((2, 2, 2), 7, "u1"), name="chosen")
    before, ids = everything(other_segment), host.node_ids()
    restore(write_result(make_result(volume), volume, model, other_segment, chosen).previous)
    assert everything(other_segment) == before
    assert host.node_ids() == ids
    assert slicer.util.arrayFromVolume(chosen).tolist() == np.full((2, 2, 2), 7).tolist()
    assert chosen.GetAttribute("CSAMSegment.Role") is None


def test_a_users_segments_keep_the_grid_that_they_were_made_on(host, volume, make_result, model, other_segment):
    finer = host.add_volume(np.zeros((4, 12, 10), "i2"), (0.75, 0.625, 8.0), (-20.0, 30.0, 5.0), name="finer")
    write_result(make_result(finer), finer, model, other_segment)
    assert reference_volume(other_segment) is volume


def test_a_segmentation_of_the_models_own_takes_the_grid_of_the_latest_input(host, volume, make_result, model):
    output = write_result(make_result(volume), volume, model)
    finer = host.add_volume(np.zeros((4, 12, 10), "i2"), (0.75, 0.625, 8.0), (-20.0, 30.0, 5.0), name="finer")
    again = write_result(make_result(finer), finer, model, output.segmentation)
    assert reference_volume(output.segmentation) is finer
    restore(again.previous)
    assert reference_volume(output.segmentation) is volume


def reference_volume(segmentation):
    return segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())


def test_a_segment_removed_after_a_snapshot_comes_back(volume, make_result, model):
    output = write_result(make_result(volume, box(0, 0, 0)), volume, model)
    kept = snapshot(output.segmentation, model.name)
    output.segmentation.GetSegmentation().RemoveSegment(output.segment_ids[1])
    restore(kept)
    assert np.array_equal(segment_voxels(output.segmentation, output.segment_ids[0], volume), box(0, 0, 0))
    assert output.segmentation.GetSegmentation().GetNumberOfSegments() == 2


def test_restoring_into_a_deleted_segmentation_says_so(scene, volume, make_result, model):
    output = write_result(make_result(volume), volume, model)
    kept = snapshot(output.segmentation, model.name)
    scene.RemoveNode(output.segmentation)
    with pytest.raises(ValueError, match="no longer in the scene"):
        restore(kept)


@pytest.mark.parametrize("way", ["first", "second", "restore"])
def test_the_slice_views_hear_of_new_voxels_as_soon_as_they_are_there(host, volume, make_result, model, way):
    """Slicer's slice views hear nothing of segmentations during a batch of the scene, and make all anew at its end."""
    first = write_result(make_result(volume, box(0, 0, 0)), volume, model) if way != "first" else None
    segmentation = first and first.segmentation
    if way == "restore":
        second = write_result(make_result(volume, box(1, 2, 3)), volume, model, segmentation)
    told, changed = [], slicer.vtkSegmentation.SourceRepresentationModified
    if segmentation:
        segmentation.AddObserver(changed, lambda *_: told.append(host.scene.IsBatchProcessing()))
    else:
        host.scene.AddObserver(host.scene.NodeAddedEvent, lambda *_: told.append(host.scene.IsBatchProcessing()))
    if way == "restore":
        restore(second.previous)
    else:
        write_result(make_result(volume, box(1, 2, 3)), volume, model, segmentation)
    assert told
    assert not any(told)
