"""A user corrects a segment: the panel tells the volume as it is now, and what the run had found."""

import numpy as np
import slicer
from gui.panel_kit import SEGMENT


def paints(user, slices: int = 1) -> float:
    """The volume in ml after it."""
    changed = user.paints(slices)
    user.looks()
    return float(changed.sum()) * np.prod(user.volume.GetSpacing()) / 1000


def shown(user) -> list[str]:
    return [user.ui.resultTable.item(0, column).text() for column in range(3)]


def test_without_an_edit_nothing_is_said_of_one(done):
    assert "✎" not in shown(done)[1]
    assert not done.ui.editedLabel.isVisible()


def test_an_edit_changes_the_volume_and_says_so(done):
    before = shown(done)
    volume = paints(done)
    assert shown(done) == [before[0], f"{volume:.0f} ✎", before[2]]
    assert done.ui.editedLabel.text == (
        f"Left ventricle cavity was edited: {volume:.0f} ml now, {before[1]} ml before. "
        "The interval and the error probability still belong to the result before your edits."
    )
    done.sees("12-edited")


def test_an_edit_taken_back_is_none(done):
    before, original = shown(done), done.voxels().copy()
    paints(done)
    slicer.util.updateSegmentBinaryLabelmapFromArray(original, done.parameters.segmentation, SEGMENT, done.volume)
    done.looks()
    assert shown(done) == before
    assert not done.ui.editedLabel.isVisible()


def test_strokes_of_a_brush_are_measured_once(done, monkeypatch):
    told = []
    monkeypatch.setattr(done.panel.edits, "_onMeasured", told.append)
    for slices in range(1, 6):
        changed = done.voxels().copy()
        changed[:slices] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(changed, done.parameters.segmentation, SEGMENT, done.volume)
    done.looks()
    assert len(told) == 1


def test_a_deleted_segment_has_no_volume(done):
    done.parameters.segmentation.GetSegmentation().RemoveSegment(SEGMENT)
    done.looks()
    assert shown(done)[1] == "0.0 ✎"


def test_another_run_starts_from_its_own_result_and_the_edit_can_be_had_back(done):
    before = shown(done)
    volume = paints(done)
    done.applies()
    assert shown(done) == before
    done.ui.restoreButton.click()
    done.looks()
    assert shown(done)[1] == f"{volume:.0f} ✎"


def test_an_edit_is_saved_and_loaded(done, tmp_path):
    volume = paints(done)
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    done.looks()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks(0.5)
    assert shown(done)[1] == f"{volume:.0f} ✎"
    assert "was edited" in done.ui.editedLabel.text
    done.until(lambda: done.panel.worker.status.hello is not None)


def test_a_loaded_result_without_an_edit_stays_so(done, tmp_path):
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    done.looks()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    done.looks(0.5)
    assert "✎" not in shown(done)[1]
    done.until(lambda: done.panel.worker.status.hello is not None)


def test_the_exported_table_has_both_volumes(done, tmp_path):
    automatic = done.panel._find().structures()[0].volume_ml
    volume = paints(done)
    done.panel.result.export(tmp_path / "volumes.csv")
    header, line = (tmp_path / "volumes.csv").read_text().splitlines()
    assert header.startswith("structure,volume (ml),edited,automatic volume (ml),")
    assert line.startswith(f"Left ventricle cavity,{volume:.4g},yes,{automatic:.4g},")
