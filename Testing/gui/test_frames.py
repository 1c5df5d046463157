"""Teach by drawing on a sequence: every frame has its own drawing and filling; carry to the next frame."""

import sys

import numpy as np
import pytest
import slicer
from gui.panel_kit import browser_of
from gui.test_fill_effect import Drawer
from gui.test_teach import Teacher

from CSAMSegmentLib.logic.frames import shown_frame
from CSAMSegmentLib.logic.kept_case import keep_case, kept_as
from CSAMSegmentLib.logic.new_structure import tie

COUNT, STEP = 3, 2


@pytest.fixture
def teacher(user):
    """A user in front of frame 2 of 3, and the part open; what is seen moves by two columns a frame."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    volume = user.loads("frame")
    first = slicer.util.arrayFromVolume(volume).copy()
    first[0, 0, 5] = first.max() + 1
    for number in range(COUNT):
        slicer.util.updateVolumeFromArray(volume, np.roll(first, STEP * number, 2))
        sequence.SetDataNodeAtValue(volume, f"{40 * number}")
    slicer.mrmlScene.RemoveNode(volume)
    user.browser, user.volume = browser_of(sequence)
    user.opens()
    user.parameters.inputVolume = user.volume
    user.looks()
    return Teacher(user).opens()


def browse(teacher, number: int) -> None:
    teacher.user.browser.SetSelectedItemNumber(number)
    teacher.user.looks()


def carries(teacher, mode: str = "quick") -> None:
    teacher.user.makes_the_worker(mode)
    teacher.ui.carryButton.click()
    teacher.user.ends()


def presses_and_goes_on(teacher, button, number: int) -> None:
    """Press a button while there is no worker, and go to another frame before one has started."""
    teacher.user.panel.worker.stop()
    button.click()
    teacher.user.browser.SetSelectedItemNumber(number)
    teacher.user.ends()


def nodes() -> set[str]:
    every = [slicer.mrmlScene.GetNthNode(n) for n in range(slicer.mrmlScene.GetNumberOfNodes())]
    return {node.GetID() for node in every if not node.IsA("vtkMRMLDisplayNode") and not node.IsA("vtkMRMLStorageNode")}


def test_without_a_sequence_nothing_is_said_of_frames(user):
    user.loads()
    user.opens()
    teacher = Teacher(user).opens()
    assert not teacher.ui.carryButton.isVisible()
    assert not teacher.ui.teachFrameText.isVisible()


def test_the_frame_is_named_and_the_last_one_has_no_next(drawn):
    teacher, _segment = drawn
    assert teacher.ui.teachFrameText.text == "Frame 2 of 3"
    assert teacher.ui.carryButton.isVisible()
    assert teacher.ui.carryButton.enabled
    teacher.user.sees("35-teach-frame")
    browse(teacher, 2)
    assert teacher.ui.teachFrameText.text == "Frame 3 of 3"
    assert not teacher.ui.carryButton.enabled


def test_what_is_drawn_on_a_frame_is_not_shown_on_another(drawn):
    teacher, segment = drawn
    before = teacher.voxels(segment)
    browse(teacher, 2)
    assert not teacher.voxels(segment).any()
    assert teacher.list == []
    assert not teacher.ui.fillButton.enabled
    teacher.draws(segment, 2, 4)
    assert teacher.list == ["3", "5"]
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels(segment), before)
    assert teacher.list == ["1", "6"]


def test_a_new_structure_is_there_in_every_frame(drawn):
    teacher, _segment = drawn
    browse(teacher, 0)
    second = teacher.adds()
    names = []
    for number in range(COUNT):
        browse(teacher, number)
        content = teacher.segmentation.GetSegmentation()
        names.append([content.GetSegment(one).GetName() for one in content.GetSegmentIDs()])
    assert names == [["Structure 1", "Structure 2"]] * COUNT
    assert not teacher.voxels(second).any()


def test_a_segmentation_of_one_frame_is_not_drawn_in(teacher):
    from CSAMSegmentLib.logic.new_structure import add_structure

    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "old")
    other.GetSegmentation().AddEmptySegment("old", "Old")
    segmentation, _segment = add_structure(teacher.user.volume, other)
    assert segmentation is not other
    assert other.GetSegmentation().GetNumberOfSegments() == 1


def test_a_filling_and_its_list_belong_to_their_frame(drawn):
    teacher, segment = drawn
    teacher.fills()
    filled = teacher.voxels(segment)
    teacher.reviews(3)
    browse(teacher, 2)
    assert teacher.ui.sliceTable.rowCount == 0
    assert not teacher.ui.nextSliceButton.enabled
    assert teacher.list == []
    teacher.draws(segment, 0, 3)
    teacher.fills()
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels(segment), filled)
    assert teacher.ui.sliceTable.rowCount == 6
    assert teacher.list == ["1", "3 reviewed", "6"]
    assert teacher.ui.warningsLabel.text == ""


def test_who_goes_to_another_frame_meanwhile_finds_the_filling_on_the_one_that_was_filled(drawn):
    teacher, segment = drawn
    teacher.user.makes_the_worker("quick")
    teacher.ui.fillButton.click()
    teacher.user.until(lambda: teacher.user.panel.runner._active is not None, "the run")
    teacher.user.browser.SetSelectedItemNumber(2)
    teacher.user.ends()
    assert teacher.user.browser.GetSelectedItemNumber() == 1
    assert teacher.voxels(segment)[1:5].any((1, 2)).all()
    assert teacher.ui.fillStageLabel.text == "Done. Look at slice 3 next."
    browse(teacher, 2)
    assert not teacher.voxels(segment).any()


def test_a_filling_is_of_the_frame_that_was_shown_at_the_press_though_the_worker_was_still_starting(drawn):
    teacher, segment = drawn
    browse(teacher, 2)
    teacher.draws(segment, 2, 4)
    other = teacher.voxels(segment)
    browse(teacher, 1)
    presses_and_goes_on(teacher, teacher.ui.fillButton, 2)
    assert teacher.user.browser.GetSelectedItemNumber() == 1
    assert teacher.voxels(segment)[1:5].any((1, 2)).all()
    browse(teacher, 2)
    assert np.array_equal(teacher.voxels(segment), other)


def test_undo_of_the_first_filling_leaves_no_sequence_behind(drawn):
    teacher, segment = drawn
    before, voxels = nodes(), teacher.voxels(segment)
    teacher.fills()
    browse(teacher, 2)
    assert not teacher.ui.undoFillButton.enabled  # it is of the other frame
    browse(teacher, 1)
    teacher.ui.undoFillButton.click()
    teacher.user.looks()
    assert np.array_equal(teacher.voxels(segment), voxels)
    browse(teacher, 2)
    assert nodes() == before


def test_carry_goes_to_the_next_frame_and_starts_there_with_what_moved(drawn):
    teacher, segment = drawn
    teacher.fills()
    here = teacher.voxels(segment)
    carries(teacher)
    assert teacher.user.browser.GetSelectedItemNumber() == 2
    assert np.array_equal(teacher.voxels(segment), np.roll(here, STEP, 2))
    assert teacher.list == []  # nobody has looked at a slice of it yet
    assert teacher.ui.teachLabel.text.startswith("Carried from the frame before.")
    assert teacher.ui.fillStageLabel.text == "Carried. Look at slice 6 next."
    assert teacher.ui.sliceTable.rowCount == 6
    teacher.user.sees("36-teach-carried")
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels(segment), here)
    assert teacher.list == ["1", "6"]


def test_what_is_corrected_on_a_carried_frame_stays_and_the_others_follow_from_it(drawn):
    teacher, segment = drawn
    teacher.fills()
    carries(teacher)
    carried = teacher.voxels(segment)
    teacher.draws(segment, 2, width=20)
    assert teacher.list == ["3 corrected"]
    corrected = teacher.voxels(segment)[2]
    teacher.fills()
    after = teacher.voxels(segment)
    assert np.array_equal(after[2], corrected)
    wider = carried | np.roll(carried, 1, 2) | np.roll(carried, 1, 1)
    assert after[0].any()
    assert not (after[4] & ~wider[4]).any()  # the carried start, not the corrected slice, is where it begins
    teacher.draws(segment, 4, width=12)
    assert teacher.list == ["3", "5 corrected"]
    teacher.fills()
    assert np.array_equal(teacher.voxels(segment)[2], corrected)


def test_slices_that_are_drawn_on_the_next_frame_already_stay(drawn):
    teacher, segment = drawn
    teacher.fills()
    browse(teacher, 2)
    teacher.draws(segment, 3, width=25)
    mine = teacher.voxels(segment)[3]
    browse(teacher, 1)
    carries(teacher)
    assert np.array_equal(teacher.voxels(segment)[3], mine)
    assert teacher.voxels(segment)[2].any()
    assert teacher.list == ["4"]


def test_undo_takes_a_carry_back(drawn):
    teacher, segment = drawn
    teacher.fills()
    here = teacher.voxels(segment)
    carries(teacher)
    teacher.ui.undoFillButton.click()
    teacher.user.looks()
    assert teacher.user.browser.GetSelectedItemNumber() == 2
    assert not teacher.voxels(segment).any()
    assert teacher.ui.sliceTable.rowCount == 0
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels(segment), here)
    assert teacher.ui.sliceTable.rowCount == 6


@pytest.mark.parametrize("end", ["cancel", "broken", "restart"])
def test_a_carry_that_comes_to_nothing_leaves_all_as_it_was(drawn, end):
    teacher, segment = drawn
    teacher.fills()
    before, here = nodes(), teacher.voxels(segment)
    if end == "broken":
        carries(teacher, "broken")
        assert "damaged" in teacher.user.is_told()
    else:
        teacher.user.makes_the_worker("slow")
        teacher.ui.carryButton.click()
        teacher.user.until(lambda: "Sample" in teacher.ui.fillStageLabel.text, "progress")
        assert teacher.user.browser.GetSelectedItemNumber() == 2
        button = teacher.ui.cancelFillButton if end == "cancel" else teacher.ui.restartWorkerButton
        button.click()
        teacher.user.ends()
    assert teacher.user.browser.GetSelectedItemNumber() == 1
    assert nodes() == before
    assert np.array_equal(teacher.voxels(segment), here)
    assert teacher.list == ["1", "6"]
    browse(teacher, 2)
    assert not teacher.voxels(segment).any()


def test_a_carry_is_from_the_frame_that_was_shown_at_the_press_though_the_worker_was_still_starting(drawn):
    teacher, segment = drawn
    here = teacher.voxels(segment)
    browse(teacher, 0)
    teacher.draws(segment, 3)
    first = teacher.voxels(segment)
    browse(teacher, 1)
    presses_and_goes_on(teacher, teacher.ui.carryButton, 0)
    assert teacher.user.browser.GetSelectedItemNumber() == 2
    assert np.array_equal(teacher.voxels(segment), np.roll(here, STEP, 2))
    for number, voxels in enumerate((first, here)):
        browse(teacher, number)
        assert np.array_equal(teacher.voxels(segment), voxels)


def test_a_carry_that_is_cancelled_while_the_worker_is_starting_leaves_all_as_it_was(drawn):
    teacher, _segment = drawn
    before = nodes()
    teacher.user.panel.worker.stop()
    teacher.ui.carryButton.click()
    assert teacher.user.browser.GetSelectedItemNumber() == 2
    teacher.ui.cancelFillButton.click()
    assert teacher.ui.fillStageLabel.text == "Cancelled. The scene is as it was."
    teacher.user.ends()
    assert teacher.user.browser.GetSelectedItemNumber() == 1
    assert nodes() == before
    assert teacher.list == ["1", "6"]


def test_a_segmentation_that_followed_no_sequence_follows_from_the_carry_on(teacher):
    content = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn elsewhere")
    content.SetReferenceImageGeometryParameterFromVolumeNode(teacher.user.volume)
    segment = content.GetSegmentation().AddEmptySegment("", "Mine")
    teacher.user.parameters.segmentation = content
    teacher.draws(segment, 0, 1, 2)
    mine, before = teacher.voxels(segment), nodes()
    carries(teacher, "broken")
    assert teacher.user.is_told()
    assert nodes() == before
    assert not shown_frame(teacher.user.volume).is_followed_by(content)
    carries(teacher)
    assert np.array_equal(teacher.voxels(segment), np.roll(mine, STEP, 2))
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels(segment), mine)


@pytest.fixture
def loaded(teacher):
    """In front of a sequence of segmentations from a file: Slicer saves changes into it only if a user asks it to."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "loaded")
    for number in range(COUNT):
        node = slicer.vtkMRMLSegmentationNode()
        node.GetSegmentation().AddEmptySegment("mine", "Mine")
        sequence.SetDataNodeAtValue(node, f"{40 * number}")
    browser = teacher.user.browser
    browser.AddSynchronizedSequenceNodeID(sequence.GetID())
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    browser.SetSaveChanges(sequence, False)
    teacher.user.parameters.segmentation = browser.GetProxyNode(sequence)
    teacher.user.looks()
    return teacher


def test_a_loaded_sequence_of_segmentations_keeps_what_is_drawn_before_anything_is_filled(loaded):
    teacher = loaded
    teacher.draws("mine", 0, 5)
    drawn = teacher.voxels("mine")
    browse(teacher, 2)
    assert not teacher.voxels("mine").any()
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels("mine"), drawn)
    presses_and_goes_on(teacher, teacher.ui.fillButton, 2)
    assert teacher.user.browser.GetSelectedItemNumber() == 1
    assert teacher.voxels("mine")[1:5].any((1, 2)).all()


def test_a_loaded_sequence_of_segmentations_keeps_what_is_filled(loaded):
    teacher = loaded
    teacher.draws("mine", 0, 5)
    teacher.fills()
    filled = teacher.voxels("mine")
    assert filled[2].any()
    browse(teacher, 2)
    assert not teacher.voxels("mine").any()
    teacher.draws("mine", 1)
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels("mine"), filled)
    browse(teacher, 2)
    assert teacher.voxels("mine")[1].any()


def test_a_frame_is_not_taken_for_the_case_as_which_another_was_kept(drawn, tmp_path):
    teacher, _segment = drawn
    single = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of one frame")
    tie(single, teacher.user.volume)
    teacher.user.parameters.segmentation = single
    identifier = single.GetSegmentation().AddEmptySegment("", "Mine")
    teacher.draws(identifier, 0, 5)
    keep_case(tmp_path / "hearts", "p1_1", [teacher.user.volume], single, {identifier: "mine"})
    assert kept_as(single, tmp_path / "hearts") == "p1_1"
    teacher.fills()
    assert kept_as(single, tmp_path / "hearts") == "p1_1"
    browse(teacher, 2)
    assert kept_as(single, tmp_path / "hearts") == ""


def test_nothing_to_carry_is_said(teacher):
    teacher.adds()
    carries(teacher)
    assert teacher.user.is_told() == "The chosen segments are empty on this frame. Draw and fill them first."
    assert teacher.user.browser.GetSelectedItemNumber() == 1


def test_the_drawings_of_all_frames_are_there_after_saving_and_loading(drawn, tmp_path):
    teacher, segment = drawn
    teacher.fills()
    here = teacher.voxels(segment)
    carries(teacher)
    there = teacher.voxels(segment)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    teacher.user.looks()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    teacher.user.looks()
    teacher.user.volume = teacher.user.parameters.inputVolume
    [teacher.user.browser] = slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode")
    assert np.array_equal(teacher.voxels(segment), there)
    assert teacher.list == []
    browse(teacher, 1)
    assert np.array_equal(teacher.voxels(segment), here)
    assert teacher.list == ["1", "6"]
    assert teacher.ui.sliceTable.rowCount == 6
    browse(teacher, 0)
    assert not teacher.voxels(segment).any()


@pytest.mark.parametrize("follows", [True, False])
def test_a_preview_of_the_editors_effect_goes_where_the_sequence_shows_another_frame(teacher, follows):
    user = teacher.user
    drawer = Drawer(user)
    drawer.volume = user.volume
    if follows:
        teacher.adds()
        drawer.segmentation = teacher.segmentation
        drawer.editor.setSegmentationNode(drawer.segmentation)
    drawer.editor.setSourceVolumeNode(user.volume)
    drawer.draws("cavity", s1=20, s4=25)
    drawer.opens()
    drawer.previews()
    assert drawer.filling.preview.node is not None
    before = drawer.voxels("cavity")
    user.browser.SetSelectedItemNumber(2)
    drawer.waits()
    assert drawer.filling.preview.node is None
    assert drawer.form.messageLabel.text == (
        "The preview was of time 40 ms; the sequence shows another image now. Press Preview to fill it."
    )
    assert not drawer.form.applyButton.enabled
    user.browser.SetSelectedItemNumber(1)
    drawer.waits()
    assert np.array_equal(drawer.voxels("cavity"), before)
    drawer.previews()
    drawer.form.applyButton.click()
    assert drawer.voxels("cavity")[2].any()
    drawer.editor.setActiveEffect(None)
    sys.modules["CSAMSegmentLib.widgets.fill_worker"].close_own_worker()
