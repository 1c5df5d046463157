"""Teach by drawing: draw, fill, look, correct, fill again, update, undo, save and load; what is drawn stays."""

import numpy as np
import pytest
import slicer

from CSAMSegmentLib.logic.drawn_slices import read_tag
from CSAMSegmentLib.logic.segment_voxels import segment_voxels
from CSAMSegmentLib.logic.slice_in_view import shown_slice


class Teacher:
    """A user in front of the part Teach by drawing."""

    def __init__(self, user):
        self.user, self.ui = user, user.ui

    def opens(self):
        self.ui.teachCollapsibleButton.collapsed = False
        self.user.looks()
        return self

    @property
    def segmentation(self):
        return self.user.parameters.segmentation

    def adds(self) -> str:
        """Presses New structure; the ID of its segment."""
        self.ui.newStructureButton.click()
        self.user.looks()
        return self.segmentation.GetSegmentation().GetNthSegmentID(
            self.segmentation.GetSegmentation().GetNumberOfSegments() - 1
        )

    def draws(self, segment: str, *slices: int, width: int = 10) -> None:
        """A square in some slices, over what is there."""
        voxels = segment_voxels(self.segmentation, segment, self.user.volume).astype(np.uint8)
        for index in slices:
            voxels[index] = 0
            voxels[index, 20:40, 20 : 20 + width] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.segmentation, segment, self.user.volume)
        self.user.looks()

    def fills(self, mode: str = "quick") -> None:
        self.user.makes_the_worker(mode)
        self.ui.fillButton.click()
        self.user.ends()

    def updates(self, mode: str = "quick") -> None:
        self.user.makes_the_worker(mode)
        self.ui.updateButton.click()
        self.user.ends()

    def voxels(self, segment: str) -> np.ndarray:
        return segment_voxels(self.segmentation, segment, self.user.volume)

    @property
    def list(self) -> list[str]:
        """The numbers of the slices that count as drawn, with why where that is said."""
        table, said = self.ui.drawnTable, []
        for row in range(table.rowCount):
            if int(table.item(row, 1).checkState()):
                said.append(" ".join(filter(None, (table.item(row, 0).text(), table.item(row, 2).text()))))
        return said

    def ticks(self, number: int, drawn: bool = True) -> None:
        self.ui.drawnTable.item(number - 1, 1).setCheckState(2 if drawn else 0)
        self.user.looks()

    def reviews(self, *numbers: int) -> None:
        """Ticks slices in the list of Review."""
        table = self.ui.sliceTable
        for row in range(table.rowCount):
            if int(table.item(row, 1).text()) in numbers:
                table.item(row, 3).setCheckState(2)
        self.user.looks()


@pytest.fixture
def teacher(user):
    """A user with an image, and the part open."""
    user.loads()
    user.opens()
    return Teacher(user).opens()


def test_before_anything_is_drawn_the_part_says_what_to_do(teacher):
    assert teacher.ui.teachLabel.text.startswith("Press New structure")
    assert not teacher.ui.fillButton.enabled
    assert teacher.list == []
    teacher.user.sees("30-teach")


def test_while_it_is_closed_there_is_no_editor(user):
    user.loads()
    user.opens()
    assert user.panel.teach.editor.widget is None


def test_a_new_structure_is_a_segment_on_the_image_with_the_brush_on_it(teacher):
    segment = teacher.adds()
    editor = teacher.user.panel.teach.editor.widget
    assert teacher.segmentation.GetName() == "cine drawing"
    assert editor.segmentationNode() is teacher.segmentation
    assert editor.sourceVolumeNode() is teacher.user.volume
    assert editor.currentSegmentID() == segment
    assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == "Paint"
    assert teacher.segmentation.GetSegmentation().GetSegment(segment).GetName() == "Structure 1"
    assert teacher.adds() != segment
    assert teacher.segmentation.GetSegmentation().GetNumberOfSegments() == 2


def test_what_is_drawn_is_listed(drawn):
    teacher, _segment = drawn
    assert teacher.list == ["1", "6"]
    assert teacher.ui.teachLabel.text == ("Drawn slices: 1, 6 (of 6). They stay as they are.")
    assert teacher.ui.fillButton.enabled
    teacher.user.sees("31-teach-drawn")


def test_the_rest_is_filled_and_what_is_drawn_stays(drawn):
    teacher, segment = drawn
    before = teacher.voxels(segment)
    teacher.fills()
    after = teacher.voxels(segment)
    assert np.array_equal(after[[0, 5]], before[[0, 5]])
    assert after[1:5].any((1, 2)).all()
    assert teacher.list == ["1", "6"]
    assert teacher.ui.fillStageLabel.text == "Done. Look at slice 3 next."
    teacher.user.sees("32-teach-filled")


def test_a_filling_has_volumes_ranks_and_a_map_like_a_run(drawn):
    teacher, _segment = drawn
    teacher.fills()
    ui = teacher.ui
    assert ui.resultTable.item(0, 0).text() == "Structure 1"
    assert ui.sliceTable.item(0, 1).text() == "3"
    assert ui.warningsLabel.text == ""
    assert "error_probability" in teacher.user.nodes
    composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    assert composite.GetForegroundVolumeID() == teacher.user.nodes["error_probability"].GetID()
    assert len(slicer.util.getNodesByClass("vtkMRMLPlotChartNode")) == 1
    assert not ui.keepCaseButton.enabled


def test_next_slice_goes_to_the_one_with_rank_1(drawn):
    teacher, _segment = drawn
    teacher.fills()
    teacher.ui.nextSliceButton.click()
    assert teacher.user.panel.review.current == 0


def test_a_corrected_slice_counts_as_drawn_in_the_next_round(drawn):
    teacher, segment = drawn
    teacher.fills()
    teacher.draws(segment, 2, width=30)
    assert teacher.list == ["1", "3 corrected", "6"]
    corrected = teacher.voxels(segment)
    teacher.fills()
    after = teacher.voxels(segment)
    assert np.array_equal(after[[0, 2, 5]], corrected[[0, 2, 5]])
    assert after[3].sum() == after[2].sum()  # its neighbour follows
    assert teacher.list == ["1", "3", "6"]


def test_a_reviewed_slice_counts_as_drawn_in_the_next_round_and_keeps_its_tick(drawn):
    teacher, _segment = drawn
    teacher.fills()
    teacher.reviews(3)
    assert teacher.list == ["1", "3 reviewed", "6"]
    teacher.fills()
    table = teacher.ui.sliceTable
    ticked = {table.item(row, 1).text() for row in range(6) if int(table.item(row, 3).checkState())}
    assert ticked == {"3"}


def test_undo_puts_back_what_the_filling_replaced(drawn):
    teacher, segment = drawn
    before, nodes = teacher.voxels(segment), slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    assert not teacher.ui.undoFillButton.enabled
    teacher.fills()
    teacher.ui.undoFillButton.click()
    teacher.user.looks()
    assert np.array_equal(teacher.voxels(segment), before)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLTableNode") == nodes
    assert read_tag(teacher.segmentation, segment) == ""
    assert not teacher.ui.undoFillButton.enabled
    assert teacher.ui.sliceTable.rowCount == 0


def test_the_editors_own_undo_leads_back_too(drawn):
    teacher, segment = drawn
    before = teacher.voxels(segment)
    teacher.fills()
    teacher.user.panel.teach.editor.widget.undo()
    teacher.user.looks()
    assert np.array_equal(teacher.voxels(segment), before)
    assert teacher.list == ["1", "6"]


def test_the_editors_own_undo_takes_back_the_filling_but_not_what_was_drawn_meanwhile(drawn):
    teacher, segment = drawn
    other, before = teacher.adds(), teacher.voxels(segment)
    teacher.ui.fillSegmentsTable.item(1, 0).setCheckState(0)
    teacher.user.looks()
    editor = teacher.user.panel.teach.editor.widget
    teacher.user.makes_the_worker("quick")
    teacher.ui.fillButton.click()
    teacher.user.until(lambda: teacher.user.panel.runner._active is not None, "the run")
    editor.saveStateForUndo()  # as every stroke of the brush does
    stroke = np.zeros(before.shape, np.uint8)
    stroke[2, 50:60, 50:60] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(stroke, teacher.segmentation, other, teacher.user.volume)
    teacher.user.ends()
    assert teacher.voxels(segment)[1:5].any((1, 2)).all()
    editor.undo()
    teacher.user.looks()
    assert np.array_equal(teacher.voxels(segment), before)
    assert np.array_equal(teacher.voxels(other), stroke > 0)


def test_a_slice_can_be_marked_as_empty_and_as_not_drawn(drawn):
    teacher, segment = drawn
    teacher.ticks(6, False)
    teacher.ticks(4)
    assert teacher.list == ["1", "4 empty"]
    teacher.fills()
    assert teacher.voxels(segment)[1].any()
    assert not teacher.voxels(segment)[3].any()
    assert teacher.voxels(segment)[5].any()  # beyond the last drawn one: as it was


def test_beyond_the_last_drawn_slice_when_asked(teacher):
    segment = teacher.adds()
    teacher.draws(segment, 0, 3)
    teacher.fills()
    assert not teacher.voxels(segment)[4:].any()
    teacher.ui.undoFillButton.click()
    teacher.ui.beyondCheckBox.click()
    teacher.user.looks()
    teacher.fills()
    assert teacher.voxels(segment)[4:].any((1, 2)).all()


def test_segments_that_are_not_ticked_are_not_touched(drawn):
    teacher, segment = drawn
    other = teacher.adds()
    teacher.draws(other, 1, width=5)
    before = teacher.voxels(other)
    table = teacher.ui.fillSegmentsTable
    assert table.isVisible()
    table.item(1, 0).setCheckState(0)
    teacher.user.looks()
    assert teacher.list == ["1", "6"]
    teacher.user.sees("33-teach-two-segments")
    teacher.fills()
    assert np.array_equal(teacher.voxels(other), before)
    assert not (teacher.voxels(segment) & before).any()


def test_cancel_leaves_all_as_it_was(drawn):
    teacher, segment = drawn
    before, nodes = teacher.voxels(segment), slicer.mrmlScene.GetNumberOfNodes()
    teacher.user.makes_the_worker("slow")
    teacher.ui.fillButton.click()
    teacher.user.until(lambda: "Sample" in teacher.ui.fillStageLabel.text, "progress")
    assert teacher.ui.fillProgressBar.isVisible()
    assert teacher.ui.cancelFillButton.isVisible()
    teacher.user.sees("34-teach-running")
    teacher.ui.cancelFillButton.click()
    teacher.user.ends()
    assert np.array_equal(teacher.voxels(segment), before)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert teacher.ui.fillStageLabel.text == "Cancelled. The scene is as it was."
    assert not teacher.ui.cancelFillButton.isVisible()


def test_a_failure_is_told_once_and_leaves_all_as_it_was(drawn):
    teacher, segment = drawn
    before = teacher.voxels(segment)
    teacher.fills("broken")
    assert teacher.user.is_told() == "The weights for filling are damaged. Get them again."
    assert np.array_equal(teacher.voxels(segment), before)


def test_a_segmentation_can_be_chosen_and_left(drawn):
    teacher, _segment = drawn
    first = teacher.segmentation
    teacher.ui.drawingSelector.setCurrentNode(None)
    teacher.user.looks()
    assert teacher.segmentation is None
    assert teacher.list == []
    teacher.ui.drawingSelector.setCurrentNode(first)
    teacher.user.looks()
    assert teacher.list == ["1", "6"]


def test_a_click_on_a_slice_goes_there(drawn):
    teacher, _segment = drawn
    teacher.ui.drawnTable.cellClicked(3, 0)
    teacher.user.looks()
    assert shown_slice(teacher.user.volume, 2) == 3


def test_a_filling_is_there_after_saving_and_loading(drawn, tmp_path):
    teacher, segment = drawn
    teacher.fills()
    before, tag = teacher.voxels(segment), read_tag(teacher.segmentation, segment)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    teacher.user.looks()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    teacher.user.looks()
    teacher.user.volume = teacher.user.parameters.inputVolume
    assert np.array_equal(teacher.voxels(segment), before)
    assert read_tag(teacher.segmentation, segment) == tag
    assert teacher.list == ["1", "6"]
    assert teacher.ui.sliceTable.item(0, 1).text() == "3"


def test_in_another_module_the_brush_is_put_away(drawn):
    teacher, _segment = drawn
    node = teacher.user.panel.teach.editor.node
    assert node.GetActiveEffectName() == "Paint"
    slicer.util.selectModule("Data")
    teacher.user.looks()
    assert not node.GetActiveEffectName()


def test_a_closed_part_puts_the_brush_away(drawn):
    teacher, _segment = drawn
    teacher.ui.teachCollapsibleButton.collapsed = True
    teacher.user.looks()
    assert not teacher.user.panel.teach.editor.node.GetActiveEffectName()
