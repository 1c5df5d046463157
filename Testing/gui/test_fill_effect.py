"""The Segment Editor's effect "Fill the rest", from the drawing to the filled segments, and what may come between."""

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import slicer

from csam.process.job import Job
from CSAMSegmentLib.logic import effect_registration

NAME = "Fill the rest"
INSIDE = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment


class Drawer:
    """Somebody who draws in the Segment Editor, and then lets the rest be filled."""

    def __init__(self, user):
        self.user, self.host = user, user.host
        self.volume = user.loads()
        self.editor = user.host.open_module("SegmentEditor").editor
        self.node = self.editor.mrmlSegmentEditorNode()
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)

    def draws(self, name: str, **slices) -> None:
        """Squares into slices of a segment: ``s1=20`` is one from row and column 20 on, 10 wide, in slice 2."""
        content = self.segmentation.GetSegmentation()
        if content.GetSegment(name) is None:
            content.AddEmptySegment(name, name.title())
        voxels = self.voxels(name)
        for key, start in slices.items():
            voxels[int(key[1:]), start : start + 10, start : start + 10] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.segmentation, name, self.volume)
        self.editor.setCurrentSegmentID(name)

    def voxels(self, name: str) -> np.ndarray:
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, name, self.volume).copy()

    def sums(self, name: str) -> list[int]:
        """Voxels of a segment in each slice."""
        return self.voxels(name).sum((1, 2)).tolist()

    def opens(self):
        self.editor.setActiveEffectByName(NAME)
        return self

    @property
    def filling(self):
        return self.editor.effectByName(NAME).self().filling

    @property
    def form(self):
        return self.filling.form

    def previews(self, mode: str = "quick") -> None:
        self.user.makes_the_worker(mode)
        self.form.previewButton.click()
        self.ends()

    def starts(self, mode: str = "slow") -> None:
        self.user.makes_the_worker(mode)
        self.form.previewButton.click()
        self.host.wait_until(lambda: self.form.messageLabel.text.endswith("left"), 12, "progress")

    def ends(self) -> None:
        self.host.wait_until(lambda: not self.filling.isRunning, 12, "the end of the run")

    def waits(self, seconds: float = 0.3) -> None:
        """Until what follows a change of the drawing has followed."""
        self.host.process_events(seconds)

    def nodes(self) -> set:
        """All but those that slicer.util leaves behind when it reads a segment."""
        return {one for one in self.host.scene_host.node_ids() if "LabelMapVolumeDisplay" not in one}

    def sees(self, name: str) -> None:
        frame = self.editor.effectByName(NAME).optionsFrame()
        self.host.screenshot(frame, name, width=400)
        assert self.host.clipped(frame) == []


@pytest.fixture
def drawer(user):
    """The cavity drawn in slices 2 and 5 of 6 (1 and 4 from 0), and the effect open."""
    drawer = Drawer(user)
    drawer.draws("cavity", s1=20, s4=25)
    yield drawer.opens()
    drawer.editor.setActiveEffect(None)
    sys.modules["CSAMSegmentLib.widgets.fill_worker"].close_own_worker()


def test_the_effect_stands_behind_those_of_slicer_once_and_in_editors_that_were_there(user):
    editor = user.host.open_module("SegmentEditor").editor
    assert editor.availableEffectNames()[-1] == NAME
    user.host.app.startupCompleted.emit()
    assert editor.availableEffectNames().count(NAME) == 1
    user.opens()
    importlib.reload(effect_registration)  # as a reload of the module does: it knows nothing of the first time
    effect_registration.register_effect()
    later = slicer.qMRMLSegmentEditorWidget()
    assert later.availableEffectNames().count(NAME) == 1, "also after the module was reloaded"
    later.setMRMLScene(None)


def test_the_module_works_where_the_effect_cannot_be_registered(host, monkeypatch, caplog):
    from gui.panel_kit import MODULE

    monkeypatch.setitem(sys.modules, "qSlicerSegmentationsEditorEffectsPythonQt", None)
    host.load_module(MODULE / "CSAMSegment.py")
    assert "could not be registered" in caplog.text
    assert host.open_module("CSAMSegment").panel is not None


def test_the_options_say_which_slices_count_as_drawn(drawer):
    assert drawer.form.drawnLabel.text == "Slices 2 and 5 of 6 count as drawn."
    assert [drawer.form.sliceList.item(row).text() for row in range(6)][:3] == ["Slice 1", "Slice 2: drawn", "Slice 3"]
    assert not drawer.form.applyButton.enabled
    drawer.sees("fill_options")


def test_a_preview_is_shown_and_nothing_is_changed_before_apply(drawer):
    before, nodes = drawer.voxels("cavity"), drawer.nodes()
    drawer.previews()
    assert np.array_equal(drawer.voxels("cavity"), before)
    preview = drawer.filling.preview.node
    shown = slicer.util.arrayFromSegmentBinaryLabelmap(preview, "cavity", drawer.volume)
    assert shown.sum((1, 2)).tolist() == [0, 0, 100, 100, 0, 0], "the slices that were open, and no others"
    assert preview.GetSegmentation().GetSegment("cavity").GetName() == "Cavity"
    assert preview.GetHideFromEditors()
    assert len(drawer.nodes() - nodes) == 2, "the preview and its display"
    assert drawer.form.messageLabel.text.startswith("2 slices are filled in the preview.")
    drawer.sees("fill_preview")


def test_apply_fills_undo_takes_it_back_and_redo_brings_it_again(drawer):
    before, nodes = drawer.voxels("cavity"), drawer.nodes()
    drawer.previews()
    drawer.form.applyButton.click()
    after = drawer.voxels("cavity")
    assert after.sum((1, 2)).tolist() == [0, 100, 100, 100, 100, 0]
    assert np.array_equal(after[[1, 4]], before[[1, 4]]), "what was drawn is as it was, to the voxel"
    assert drawer.nodes() == nodes
    drawer.editor.undo()
    assert np.array_equal(drawer.voxels("cavity"), before)
    drawer.waits()
    assert drawer.form.drawnLabel.text == "Slices 2 and 5 of 6 count as drawn."
    drawer.editor.redo()
    assert np.array_equal(drawer.voxels("cavity"), after)
    drawer.waits()
    assert drawer.form.drawnLabel.text == "Slices 2 and 5 of 6 count as drawn.", "filled slices are not drawn ones"


def test_filled_once_more_after_a_correction_the_others_follow_it(drawer):
    drawer.previews()
    drawer.form.applyButton.click()
    drawer.draws("cavity", s2=40)
    drawer.waits()
    assert drawer.form.drawnLabel.text == "Slices 2, 3 and 5 of 6 count as drawn."
    assert drawer.form.sliceList.item(2).text() == "Slice 3: corrected"
    drawer.previews()
    drawer.form.applyButton.click()
    assert drawer.sums("cavity") == [0, 100, 200, 200, 100, 0]
    drawer.editor.undo()
    assert drawer.sums("cavity") == [0, 100, 200, 100, 100, 0]


def test_a_refilled_slice_loses_what_the_new_drawing_has_not(drawer):
    drawer.previews()
    drawer.form.applyButton.click()
    moved = drawer.voxels("cavity")
    moved[1] = np.roll(moved[1], 15, 0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(moved, drawer.segmentation, "cavity", drawer.volume)
    drawer.waits()
    drawer.previews()
    drawer.form.applyButton.click()
    assert np.array_equal(drawer.voxels("cavity")[2], moved[1])


def test_beyond_the_first_and_last_drawn_slice_only_where_asked_for(drawer):
    drawer.form.beyondCheckBox.click()
    drawer.previews()
    drawer.form.applyButton.click()
    assert drawer.sums("cavity") == [100] * 6


def test_all_visible_segments_are_filled_or_the_selected_one(drawer):
    drawer.draws("wall", s1=35, s4=40)
    drawer.draws("hidden", s1=50, s4=50)
    drawer.segmentation.GetDisplayNode().SetSegmentVisibility("hidden", False)
    drawer.waits()
    drawer.previews()
    drawer.form.applyButton.click()
    assert drawer.sums("cavity") == drawer.sums("wall") == [0, 100, 100, 100, 100, 0]
    assert drawer.sums("hidden") == [0, 100, 0, 0, 100, 0]
    drawer.editor.undo()
    drawer.editor.setCurrentSegmentID("wall")
    drawer.form.segmentsComboBox.setCurrentIndex(1)
    drawer.form.segmentsComboBox.activated.emit(1)
    drawer.previews()
    drawer.form.applyButton.click()
    assert drawer.sums("wall") == [0, 100, 100, 100, 100, 0]
    assert drawer.sums("cavity") == [0, 100, 0, 0, 100, 0]
    assert drawer.editor.currentSegmentID() == "wall"


def test_other_segments_are_not_touched_where_the_filling_meets_them(drawer):
    drawer.draws("scar", s2=25)
    drawer.segmentation.GetDisplayNode().SetSegmentVisibility("scar", False)
    drawer.waits()
    scar = drawer.voxels("scar")
    drawer.previews()
    drawer.form.applyButton.click()
    assert np.array_equal(drawer.voxels("scar"), scar)
    assert drawer.sums("cavity") == [0, 100, 75, 100, 100, 0], "its voxels stay its own"


def test_where_the_editor_lets_segments_overlap_the_filling_does(drawer):
    drawer.draws("scar", s2=25)
    drawer.segmentation.GetDisplayNode().SetSegmentVisibility("scar", False)
    drawer.node.SetOverwriteMode(drawer.node.OverwriteNone)
    drawer.waits()
    scar = drawer.voxels("scar")
    drawer.previews()
    drawer.form.applyButton.click()
    assert np.array_equal(drawer.voxels("scar"), scar)
    assert drawer.sums("cavity") == [0, 100, 100, 100, 100, 0]


@pytest.mark.parametrize("overwrite", ["OverwriteNone", "OverwriteAllSegments"])
def test_the_editable_area_holds(drawer, overwrite):
    drawer.draws("area", s2=25, s3=0)
    drawer.segmentation.GetDisplayNode().SetSegmentVisibility("area", False)
    drawer.node.SetMaskMode(INSIDE)
    drawer.node.SetMaskSegmentID("area")
    drawer.node.SetOverwriteMode(getattr(drawer.node, overwrite))
    drawer.editor.setCurrentSegmentID("cavity")
    drawer.waits()
    area = drawer.voxels("area")
    drawer.previews()
    drawer.form.applyButton.click()
    filled = drawer.voxels("cavity")
    assert filled.sum((1, 2)).tolist() == [0, 100, 25, 0, 100, 0]
    assert (area[2] >= filled[2]).all()
    kept = drawer.sums("area")
    assert kept == ([0, 0, 100, 100, 0, 0] if overwrite == "OverwriteNone" else [0, 0, 75, 100, 0, 0])
    drawer.editor.undo()
    assert np.array_equal(drawer.voxels("area"), area)


def test_the_editable_range_of_intensities_holds(drawer):
    drawer.node.SetSourceVolumeIntensityMask(True)
    image = slicer.util.arrayFromVolume(drawer.volume)
    low = float(np.median(image[2, 20:30, 20:30]))
    drawer.node.SetSourceVolumeIntensityMaskRange(low, float(image.max()))
    drawer.previews()
    drawer.form.applyButton.click()
    filled = drawer.voxels("cavity")[2] != 0
    assert 0 < filled.sum() < 100
    assert (image[2][filled] >= low).all()


def test_the_editors_mask_is_each_segments_own_whichever_is_selected(drawer):
    drawer.draws("wall", s1=35, s4=40)
    drawer.waits()
    drawer.previews()
    drawer.form.applyButton.click()
    drawer.node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
    drawer.editor.setCurrentSegmentID("cavity")
    moved = drawer.voxels("wall")
    moved[1] = np.roll(moved[1], 15, 0)
    slicer.util.updateSegmentBinaryLabelmapFromArray(moved, drawer.segmentation, "wall", drawer.volume)
    drawer.waits()
    drawer.previews()
    drawer.form.applyButton.click()
    assert np.array_equal(drawer.voxels("wall")[2], moved[1]), "what it had there before is its own to give up"
    assert drawer.sums("cavity") == [0, 100, 100, 100, 100, 0]


def test_a_mask_that_is_set_after_the_preview_holds_too(drawer):
    drawer.draws("area", s2=25)
    drawer.segmentation.GetDisplayNode().SetSegmentVisibility("area", False)
    drawer.node.SetOverwriteMode(drawer.node.OverwriteNone)
    drawer.waits()
    drawer.previews()
    drawer.node.SetMaskMode(INSIDE)
    drawer.node.SetMaskSegmentID("area")
    drawer.form.applyButton.click()
    assert drawer.sums("cavity") == [0, 100, 25, 0, 100, 0]
    assert drawer.editor.currentSegmentID() == "area", "what was selected is selected"


def test_cancel_of_a_preview_leaves_the_scene_as_it_was(drawer):
    before, nodes = drawer.voxels("cavity"), drawer.nodes()
    drawer.previews()
    drawer.form.cancelButton.click()
    assert drawer.nodes() == nodes
    assert np.array_equal(drawer.voxels("cavity"), before)
    assert drawer.form.messageLabel.text == "Cancelled. The segments are as they were."
    assert not drawer.form.applyButton.enabled


@pytest.mark.parametrize("mode", ["slow", "deaf"])
def test_cancel_of_a_run_is_at_once_and_the_next_one_works(drawer, mode):
    nodes = drawer.nodes()
    drawer.starts(mode)
    with drawer.host.heartbeat() as beat:
        drawer.form.cancelButton.click()
        drawer.ends()
        drawer.waits()
    assert beat.longest < 1
    assert drawer.nodes() == nodes
    assert drawer.form.messageLabel.text == "Cancelled. The segments are as they were."
    drawer.previews()
    assert drawer.form.applyButton.enabled


def test_the_worker_hears_of_a_cancel_that_comes_after_its_result(drawer):
    worker, told, job = drawer.filling.worker, [], Job(1, "fill")
    job.finish({})
    worker.run, worker._job = object(), job
    worker._logic = SimpleNamespace(client=SimpleNamespace(cancel=told.append))
    drawer.form.cancelButton.enabled = True
    drawer.form.cancelButton.click()
    assert told == [job]


def test_progress_is_shown_while_the_worker_fills(drawer):
    drawer.starts()
    assert drawer.form.progressBar.visible
    assert drawer.form.progressBar.value >= 100
    assert not drawer.form.previewButton.enabled
    assert drawer.form.messageLabel.text.endswith("left")
    frame = drawer.editor.effectByName(NAME).optionsFrame()
    drawer.host.screenshot(frame, "fill_running", width=400)


def test_a_run_and_its_preview_stay_while_another_effect_is_used_and_go_with_the_last(drawer):
    nodes = drawer.nodes()
    drawer.user.makes_the_worker("quick")
    drawer.form.previewButton.click()
    drawer.editor.setActiveEffectByName("Paint")
    drawer.ends()
    assert drawer.filling.preview.is_there
    drawer.opens()
    assert drawer.form.applyButton.enabled
    drawer.editor.setActiveEffectByName("Paint")
    drawer.editor.setActiveEffect(None)
    assert drawer.nodes() == nodes
    assert not drawer.filling.preview.is_there


def test_leaving_the_module_during_a_run_ends_it_without_a_trace(drawer):
    nodes = drawer.nodes()
    drawer.starts()
    drawer.host.open_module("Data")
    assert not drawer.filling.isRunning
    drawer.waits()
    assert drawer.nodes() == nodes


def test_another_segmentation_or_volume_ends_what_belongs_to_the_one_before(drawer):
    drawer.previews()
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    nodes = drawer.nodes()
    drawer.editor.setSegmentationNode(other)
    assert len(nodes - drawer.nodes()) == 2
    assert not drawer.filling.preview.is_there


@pytest.mark.parametrize("state", ["running", "previewed"])
def test_a_scene_that_is_closed_takes_run_and_preview_along(drawer, state):
    if state == "running":
        drawer.starts()
    else:
        drawer.previews()
    slicer.mrmlScene.Clear(0)
    drawer.waits()
    assert not drawer.filling.isRunning
    assert not drawer.filling.preview.is_there
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_the_preview_is_never_saved(drawer, tmp_path):
    drawer.previews()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    drawer.editor.setActiveEffect(None)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")] == ["Mine"]


def test_what_the_worker_fails_with_is_said_in_the_options(drawer):
    before, nodes = drawer.voxels("cavity"), drawer.nodes()
    drawer.previews("broken")
    assert drawer.form.messageLabel.text == "The weights for filling are damaged. Get them again."
    assert drawer.nodes() == nodes
    assert np.array_equal(drawer.voxels("cavity"), before)
    drawer.previews()
    assert drawer.form.applyButton.enabled, "and the next run works"


def test_a_worker_without_torch_says_what_to_do(drawer):
    drawer.previews("no-torch")
    assert drawer.form.messageLabel.text == "PyTorch is not installed for the Python that runs the worker."
    drawer.previews()
    assert drawer.form.applyButton.enabled, "it is asked anew each time"


def test_a_slicer_without_torch_offers_to_install_it_and_goes_on(drawer, monkeypatch):
    from CSAMSegmentLib.logic import torch_install
    from CSAMSegmentLib.widgets import fill_worker

    monkeypatch.setattr(fill_worker, "runs_in_slicer", lambda: True)
    monkeypatch.setattr(torch_install, "extension_logic", lambda: None)
    drawer.previews("no-torch")
    assert "Extensions Manager" in drawer.form.messageLabel.text

    monkeypatch.setattr(torch_install, "extension_logic", object)
    monkeypatch.setattr(torch_install, "install_torch", lambda _logic: drawer.user.makes_the_worker("quick"))
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_arguments: False)
    drawer.previews("no-torch")
    assert drawer.form.messageLabel.text == "Cancelled. The segments are as they were."
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_arguments: True)
    drawer.previews("no-torch")
    assert drawer.form.applyButton.enabled


def test_a_worker_that_cannot_be_started_says_what_to_do(drawer, monkeypatch):
    monkeypatch.setenv("CSAM_WORKER_COMMAND", "/nowhere/python")
    drawer.previews()
    assert 'begins with "/nowhere/python"' in drawer.form.messageLabel.text


def test_the_slice_to_draw_next_is_named_and_shown(drawer):
    drawer.form.beyondCheckBox.click()
    drawer.previews()
    assert drawer.form.nextLabel.text.startswith("Draw slice ")
    number = int(drawer.form.nextLabel.text.split()[2])
    drawer.form.nextButton.click()
    from CSAMSegmentLib.logic.slice_in_view import shown_slice

    assert shown_slice(drawer.volume, 2) == number - 1


def test_a_slice_is_marked_as_drawn_in_the_list_and_in_the_view(drawer):
    from CSAMSegmentLib.logic.slice_in_view import show_slice

    drawer.form.sliceList.item(5).setCheckState(2)
    drawer.waits()
    assert drawer.form.sliceList.item(5).text() == "Slice 6: drawn, empty"
    show_slice(drawer.volume, 2, 1)
    drawer.form.markButton.click()
    drawer.waits()
    assert drawer.form.drawnLabel.text == "Slices 5 and 6 of 6 count as drawn."
    drawer.form.markButton.click()
    drawer.form.beyondCheckBox.click()
    drawer.previews()
    drawer.form.applyButton.click()
    assert drawer.sums("cavity") == [100, 100, 100, 100, 100, 0], "what is marked as empty ends the structure"


def test_choosing_a_slice_in_the_list_goes_there(drawer):
    from CSAMSegmentLib.logic.slice_in_view import shown_slice

    drawer.form.sliceList.setCurrentRow(3)
    assert shown_slice(drawer.volume, 2) == 3


def test_a_drawing_that_is_edited_asks_for_an_update_and_is_never_overwritten(drawer):
    drawer.previews()
    drawer.draws("cavity", s2=40)
    edited = drawer.voxels("cavity")
    drawer.form.applyButton.click()
    assert "changed" in drawer.form.messageLabel.text
    assert np.array_equal(drawer.voxels("cavity"), edited)
    drawer.host.wait_until(lambda: "Press Update" in drawer.form.messageLabel.text, 5)
    assert drawer.form.previewButton.text == "Update"
    drawer.previews()
    drawer.form.applyButton.click()
    assert drawer.sums("cavity") == [0, 100, 100, 100, 100, 0]
    assert np.array_equal(drawer.voxels("cavity")[2], edited[2])


def test_auto_update_follows_the_drawing_while_another_effect_is_used(drawer):
    assert not drawer.form.autoUpdateCheckBox.checked
    drawer.form.autoUpdateCheckBox.click()
    drawer.previews()
    drawer.editor.setActiveEffectByName("Paint")
    drawer.draws("cavity", s2=40)
    drawer.host.wait_until(lambda: drawer.filling._run.drawn == (1, 2, 4), 20, "the update")
    shown = slicer.util.arrayFromSegmentBinaryLabelmap(drawer.filling.preview.node, "cavity", drawer.volume)
    assert shown.sum((1, 2)).tolist() == [0, 0, 0, 100, 0, 0]


def test_the_opacity_of_the_preview_is_kept(drawer):
    drawer.previews()
    drawer.form.opacitySlider.value = 0.25
    assert drawer.filling.preview.node.GetDisplayNode().GetOpacity() == 0.25
    assert drawer.segmentation.GetDisplayNode().GetOpacity() == 1, "that of the segments is theirs"
    drawer.previews()
    assert drawer.filling.preview.node.GetDisplayNode().GetOpacity() == 0.25


def test_what_is_missing_is_said_before_a_run(drawer):
    drawer.draws("empty")
    drawer.form.segmentsComboBox.activated.emit(1)
    drawer.waits()
    assert drawer.form.drawnLabel.text.startswith("No slice is drawn yet.")
    drawer.form.previewButton.click()
    assert drawer.form.messageLabel.text.startswith("No slice is drawn.")
    drawer.editor.setSourceVolumeNode(None)
    drawer.waits()
    assert "source volume" in drawer.form.drawnLabel.text
    assert not drawer.form.previewButton.enabled


def test_an_editor_on_another_grid_is_told_what_to_do(drawer):
    drawer.user.loads("other", spacing=(2.0, 2.0, 8.0))
    other = slicer.util.getNode("other")
    drawer.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(other)
    drawer.form.previewButton.click()
    assert "has another grid than the source volume" in drawer.form.messageLabel.text


def test_a_moved_volume_and_segmentation_are_filled_where_they_are(drawer):
    matrix = np.eye(4)
    matrix[:3, 3] = (30, -20, 8)
    moved = drawer.host.scene_host.add_transform(matrix)
    drawer.volume.SetAndObserveTransformNodeID(moved.GetID())
    drawer.segmentation.SetAndObserveTransformNodeID(moved.GetID())
    drawer.waits()
    drawer.previews()
    assert drawer.filling.preview.node.GetParentTransformNode() is moved
    drawer.form.applyButton.click()
    assert drawer.sums("cavity") == [0, 100, 100, 100, 100, 0]


def test_the_panels_worker_and_device_are_used_where_it_is_open(user):
    user.opens()
    user.parameters.device = "cpu"
    drawer = Drawer(user)
    drawer.draws("cavity", s1=20, s4=25)
    drawer.opens().previews()
    from CSAMSegmentLib.widgets import fill_worker

    assert fill_worker.shared_logic() is user.panel.logic
    assert fill_worker._own == []
    assert drawer.filling._run.options.device == "cpu"
    assert drawer.form.applyButton.enabled


@pytest.mark.parametrize("way", ["the panel is opened", "the scene is closed"])
def test_the_effects_own_worker_does_not_stay_behind(drawer, way):
    from CSAMSegmentLib.widgets import fill_worker

    drawer.previews()
    [client] = [logic.client for logic in fill_worker._own]
    assert client.process_id is not None
    if way == "the panel is opened":
        drawer.user.opens()
        drawer.previews()
        assert drawer.form.applyButton.enabled
    else:
        slicer.mrmlScene.Clear(0)
    assert fill_worker._own == []
    drawer.host.wait_until(lambda: client.process_id is None, 12, "the end of the worker")


def test_the_panels_slice_axis_is_the_effects_for_the_panels_own_volume(user):
    drawer = Drawer(user)
    drawer.draws("cavity", s1=10, s4=40)
    user.opens()
    user.parameters.inputVolume = drawer.volume
    user.parameters.sliceAxis = type(user.parameters.sliceAxis)("j")
    drawer.opens().waits()
    assert drawer.form.sliceList.count == 64
    assert drawer.form.sliceList.item(10).checkState()
    assert not drawer.form.sliceList.item(1).checkState()
    plan = drawer.filling._plan()
    assert (plan.axis, plan.options.slice_axis) == (1, "j")
    assert plan.drawn == (*range(10, 20), *range(40, 50))
    user.parameters.inputVolume = user.loads("other")
    assert drawer.filling._plan().drawn == (1, 4)
