"""Update the rest: reviewed and corrected slices of a model's result stay to the voxel, the others follow them."""

import numpy as np
import slicer
from gui.panel_kit import SEGMENT

from CSAMSegmentLib.logic.segment_voxels import segment_voxels


def reviews(user, *numbers: int) -> None:
    table = user.ui.sliceTable
    for row in range(table.rowCount):
        if int(table.item(row, 1).text()) in numbers:
            table.item(row, 3).setCheckState(2)
    user.looks()


def updates(user, mode: str = "quick") -> None:
    user.makes_the_worker(mode)
    user.ui.updateButton.click()
    user.ends()


def ticked(user) -> set[str]:
    table = user.ui.sliceTable
    return {table.item(r, 1).text() for r in range(table.rowCount) if int(table.item(r, 3).checkState())}


def voxels(user):
    return segment_voxels(user.parameters.segmentation, SEGMENT, user.volume)


def corrects(user, index: int) -> np.ndarray:
    changed = user.voxels().copy()
    changed[index] = 0
    changed[index, 10:30, 10:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(changed, user.parameters.segmentation, SEGMENT, user.volume)
    user.looks()
    return changed > 0


def test_nothing_can_be_updated_before_a_slice_is_reviewed_or_corrected(done):
    assert not done.ui.updateButton.enabled
    reviews(done, 2)
    assert done.ui.updateButton.enabled


def test_a_correction_is_enough(done):
    corrects(done, 3)
    assert done.ui.updateButton.enabled


def test_reviewed_and_corrected_slices_stay_to_the_voxel_and_the_others_follow(done):
    corrected = corrects(done, 3)
    reviews(done, 2)
    updates(done)
    after = voxels(done)
    assert np.array_equal(after[[1, 3]], corrected[[1, 3]])
    for index in (0, 2, 4, 5):
        assert after[index].sum() > corrected[index].sum()


def test_the_result_stays_the_models_and_ticks_stay(done):
    before = set(done.nodes.values())
    reviews(done, 2, 5)
    updates(done)
    assert ticked(done) == {"2", "5"}
    assert set(done.nodes.values()) == before
    assert done.panel._find().model == "tiny"
    assert done.ui.keepCaseButton.enabled
    assert done.ui.sliceTable.item(5, 1).text() in {"2", "5"}  # nothing is left to do there
    done.sees("35-updated")


def test_what_an_update_replaced_comes_back(done):
    corrected = corrects(done, 3)
    reviews(done, 2)
    updates(done)
    done.ui.restoreButton.click()
    done.looks()
    assert np.array_equal(voxels(done), corrected)
    assert ticked(done) == {"2"}


def test_a_cancelled_update_leaves_all_as_it_was(done):
    corrected, nodes = corrects(done, 3), slicer.mrmlScene.GetNumberOfNodes()
    done.makes_the_worker("slow")
    done.ui.updateButton.click()
    done.until(lambda: "Sample" in done.ui.fillStageLabel.text, "progress")
    done.ui.cancelFillButton.click()
    done.ends()
    assert np.array_equal(voxels(done), corrected)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes


def test_with_every_slice_reviewed_it_says_that_nothing_is_left(done):
    reviews(done, *range(1, 7))
    updates(done)
    assert "nothing is left" in done.is_told()


def test_other_segments_are_not_touched_by_an_update(done):
    content = done.parameters.segmentation.GetSegmentation()
    scar = np.zeros(done.voxels().shape, np.uint8)
    scar[2, :5, :5] = 1
    content.AddEmptySegment("scar", "Scar")
    slicer.util.updateSegmentBinaryLabelmapFromArray(scar, done.parameters.segmentation, "scar", done.volume)
    reviews(done, 2)
    updates(done)
    assert np.array_equal(segment_voxels(done.parameters.segmentation, "scar", done.volume), scar > 0)


def test_edit_opens_the_editor_in_the_panel_on_the_segment_at_the_slice(done):
    done.ui.nextButton.click()
    done.ui.nextButton.click()
    done.ui.editButton.click()
    done.looks()
    assert slicer.util.selectedModule() == "CSAMSegment"
    editor = done.panel.teach.editor.widget
    assert not done.ui.teachCollapsibleButton.collapsed
    assert editor.segmentationNode() is done.parameters.segmentation
    assert editor.currentSegmentID() == SEGMENT
    assert done.panel.review.current == 1
    done.sees("36-edit-in-panel")
