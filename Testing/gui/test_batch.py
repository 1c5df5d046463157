"""A user segments a folder, or the scene's volumes, in the background, and opens a case from the table."""

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from gui.panel_kit import SEGMENT, browser_of, make_model

from csam.batch.folder import BatchFolder
from csam.phantom import cine_stack


def make_scans(folder: Path, count: int = 3) -> Path:
    """Small phantoms, and a file that is cut short."""
    folder.mkdir()
    for number in range(count):
        image = cine_stack(number, slices=6, size=48, spacing=(5.0, 5.0, 8.0)).image
        sitk.WriteImage(image, str(folder / f"scan{number}.nii.gz"))
    (folder / "cut.nii.gz").write_bytes((folder / "scan0.nii.gz").read_bytes()[:500])
    return folder


@pytest.fixture
def batch(user):
    """A user who has opened the part and has chosen the folders."""
    user.scans, user.out = make_scans(user.folder / "scans"), user.folder / "results"
    user.opens()
    user.ui.batchCollapsibleButton.collapsed = False
    user.ui.batchFolderLineEdit.text = str(user.scans)
    user.ui.batchResultsLineEdit.text = str(user.out)
    user.ui.batchResultsLineEdit.editingFinished.emit()
    user.looks()
    return user


def rows(user) -> list[list[str]]:
    table = user.ui.batchTable
    return [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount)]


def states(user) -> dict[str, str]:
    return {row[0]: row[-1] for row in rows(user)}


def runs(user, mode: str = "quick") -> None:
    user.makes_the_worker(mode)
    user.ui.batchStartButton.click()
    user.until(lambda: not user.panel.batch.isRunning, "the end of the batch")
    user.looks()


def test_a_folder_is_segmented_in_the_background_and_listed_worst_first(batch, monkeypatch):
    assert not batch.ui.batchPageButton.enabled
    runs(batch)
    shown = rows(batch)
    assert (shown[0][0], shown[0][-1]) == ("cut", "failed")
    assert "cut.nii.gz is incomplete or damaged" in shown[0][1]
    assert [row[-1] for row in shown[1:]] == ["done"] * 3
    dice = [float(row[2]) for row in shown[1:]]
    assert dice == sorted(dice)
    assert "ml (" in shown[1][1]
    assert shown[1][3] == "1"
    assert "Made by a fake worker." in batch.ui.batchTable.item(1, 0).toolTip()
    assert batch.ui.batchLabel.text == "3 done, 1 failed, 0 to do"
    written = [*csv.DictReader((batch.out / "cases.csv").read_text(encoding="utf-8").splitlines())]
    assert [row["case"] for row in written] == [row[0] for row in shown]
    assert (batch.out / "index.html").is_file()
    batch.sees("batch")
    shown = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: shown.append(url.toLocalFile()) or True)
    batch.ui.batchTableButton.click()
    batch.ui.batchPageButton.click()
    assert [Path(path).name for path in shown] == ["cases.csv", "index.html"]


def test_a_long_name_of_a_case_leaves_its_volumes_and_state_in_view(batch):
    name = "series_" + "1.2.840." * 9 + "7"
    (batch.scans / "cut.nii.gz").rename(batch.scans / f"{name}.nii.gz")
    runs(batch)
    batch.host.screenshot(batch.widget.parent, "batch-long-names", width=400)
    table = batch.ui.batchTable
    assert sum(table.columnWidth(column) for column in range(5)) <= table.width
    assert table.item(0, 0).toolTip().splitlines()[0] == name


def test_a_case_opens_ready_to_review_and_is_found_again(batch):
    runs(batch)
    volumes = len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))
    batch.ui.batchTable.cellDoubleClicked.emit(1, 0)
    batch.looks()
    name = rows(batch)[1][0]
    volume = batch.parameters.inputVolume
    assert volume.GetName() == name
    image = sitk.ReadImage(str(batch.scans / f"{name}.nii.gz"))
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), sitk.GetArrayFromImage(image))
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(batch.out / "cases" / name / "labels.nrrd")))
    found = slicer.util.arrayFromSegmentBinaryLabelmap(batch.parameters.segmentation, SEGMENT, volume)
    np.testing.assert_array_equal(found, labels)
    assert batch.ui.sliceTable.rowCount == 6
    assert batch.ui.resultTable.rowCount == 1
    assert batch.parameters.uncertainty is batch.nodes["error_probability"]
    batch.ui.nextButton.click()
    batch.looks()
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == volumes + 4
    make_model("third", title="Third").save(batch.folder / "shipped" / "third")
    batch.panel.input.lookForModels()
    batch.parameters.model = "third"
    batch.ui.batchTable.setCurrentCell(2, 0)
    batch.ui.batchOpenButton.click()
    batch.looks()
    assert (batch.parameters.inputVolume.GetName(), batch.parameters.model) == (rows(batch)[2][0], "tiny")
    batch.ui.batchTable.setCurrentCell(1, 0)
    batch.ui.batchOpenButton.click()
    batch.looks()
    assert batch.parameters.inputVolume is volume
    assert len(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")) == volumes + 8

    batch.ui.batchTable.setCurrentCell(0, 0)  # one that failed
    assert not batch.ui.batchOpenButton.enabled
    batch.ui.batchTable.cellDoubleClicked.emit(0, 0)
    assert batch.host.dialogs.take() == []
    name = rows(batch)[3][0]
    (batch.scans / f"{name}.nii.gz").write_bytes(b"another")
    batch.panel.batch.open(name)
    assert "has changed since it was segmented" in batch.is_told()
    (batch.scans / f"{name}.nii.gz").unlink()
    batch.panel.batch.open(name)
    assert "cannot be found" in batch.is_told()
    assert batch.parameters.inputVolume is volume


def test_a_case_of_another_model_does_not_end_a_run(batch):
    runs(batch)
    make_model("third", title="Third").save(batch.folder / "shipped" / "third")
    batch.panel.input.lookForModels()
    batch.loads()
    batch.parameters.inputVolume = batch.volume
    batch.parameters.model = "third"
    batch.looks()
    batch.starts()
    batch.panel.batch.open(rows(batch)[1][0])
    assert "A segmentation with another model is under way" in batch.is_told()
    assert batch.parameters.model == "third"
    assert batch.panel.isRunning
    batch.cancels()
    batch.panel.batch.open(rows(batch)[1][0])
    batch.looks()
    assert batch.parameters.model == "tiny"


def test_next_case_opens_one_that_is_neither_kept_nor_was_opened(batch):
    from csam.training.add_case import collection

    batch.ui.batchPoorestCheckBox.checked = True
    assert not batch.ui.batchNextButton.enabled
    runs(batch)
    names = [row[0] for row in rows(batch)[1:]]
    image = sitk.ReadImage(str(batch.scans / f"{names[0]}.nii.gz"))
    collection(batch.folder / "hearts", ["image"], ["ventricle"]).add("p1", [image], image > 300)
    slicer.app.userSettings().setValue("CSAMSegment/TrainingFolder", str(batch.folder / "hearts"))
    for name in names[1:]:
        batch.ui.batchNextButton.click()
        batch.looks()
        assert batch.parameters.inputVolume.GetName() == name
        assert batch.panel.batch.table.chosen == name
        assert batch.ui.sliceTable.rowCount == 6
    batch.ui.batchNextButton.click()
    assert "Every case is in the data set, or was opened." in batch.is_told()
    batch.ui.batchResultsLineEdit.text = str(batch.folder / "others")
    batch.ui.batchResultsLineEdit.editingFinished.emit()
    batch.ui.batchResultsLineEdit.text = str(batch.out)  # looked at anew
    batch.ui.batchResultsLineEdit.editingFinished.emit()
    batch.looks()
    batch.ui.batchNextButton.click()
    batch.looks()
    assert batch.parameters.inputVolume.GetName() == names[1]


def test_a_pause_lets_the_case_end_and_a_stop_does_not(batch):
    batch.makes_the_worker("slow")
    batch.ui.batchStartButton.click()
    batch.until(lambda: "running" in states(batch).values(), "a case under way")
    assert batch.ui.batchStartButton.text == "Resume"
    batch.ui.batchPauseButton.click()
    assert batch.ui.batchLabel.text.endswith("pausing")
    batch.ui.batchStopButton.click()
    batch.until(lambda: not batch.panel.batch.isRunning, "the end of the batch", 20)
    batch.looks()
    assert "running" not in states(batch).values()
    assert [*(batch.out / "cases").glob("[!.]*")] == []
    runs(batch)
    assert batch.ui.batchLabel.text == "3 done, 1 failed, 0 to do"


def test_a_paused_batch_holds_no_folder_and_goes_on(batch):
    batch.makes_the_worker("quick")
    batch.ui.batchStartButton.click()
    batch.until(lambda: "done" in states(batch).values(), "the first result")
    batch.ui.batchPauseButton.click()
    batch.until(lambda: batch.ui.batchLabel.text.endswith("paused"), "the pause")
    done = batch.panel.batch.run.counts()[0]
    if done < 3:  # else it was quicker
        with BatchFolder(batch.out).locked():
            pass
        assert batch.ui.batchStartButton.enabled
        batch.ui.batchStartButton.click()
    batch.until(lambda: not batch.panel.batch.isRunning, "the end of the batch")
    assert batch.panel.batch.run.counts() == (3, 1, 0)


def test_the_folder_of_results_alone_shows_what_is_done_and_start_goes_on(batch):
    runs(batch)
    before = rows(batch)
    stamp = (batch.out / "cases" / "scan0" / "report.json").stat().st_mtime_ns
    sitk.WriteImage(cine_stack(7, slices=6, size=48, spacing=(5.0, 5.0, 8.0)).image, str(batch.scans / "scan9.nii.gz"))
    for folder in ("", str(batch.out)):  # as after a restart
        batch.ui.batchResultsLineEdit.text = folder
        batch.ui.batchResultsLineEdit.editingFinished.emit()
        batch.looks()
        assert rows(batch) == (before if folder else [])
    assert batch.panel.batch.run is None
    assert batch.ui.batchLabel.text.startswith("3 done, 1 failed.")
    batch.panel.batch.open("scan0")
    batch.looks()
    assert batch.parameters.inputVolume.GetName() == "scan0"
    runs(batch)
    assert {*states(batch)} == {"cut", "scan0", "scan1", "scan2", "scan9"}
    assert (batch.out / "cases" / "scan0" / "report.json").stat().st_mtime_ns == stamp


def test_what_is_missing_and_other_options_are_said(batch):
    other = batch.folder / "other"
    batch.host.dialogs.answer(str(other))
    batch.ui.batchFolderButton.click()
    assert batch.ui.batchFolderLineEdit.text == str(other)
    assert slicer.app.userSettings().value("CSAMSegment/BatchFolder", "") == str(other)
    assert slicer.app.userSettings().value("CSAMSegment/BatchResults", "") == str(batch.out)
    batch.host.dialogs.take()
    batch.ui.batchResultsLineEdit.text = ""
    batch.ui.batchStartButton.click()
    assert batch.is_told() == "Choose a folder for the results."
    batch.ui.batchResultsLineEdit.text = str(batch.out)
    batch.ui.batchFolderLineEdit.text = ""
    batch.ui.batchStartButton.click()
    assert batch.is_told() == "Choose the folder with the cases."
    batch.ui.batchFolderLineEdit.text = str(batch.folder / "nowhere")
    runs(batch)
    assert "There is no folder" in batch.is_told()
    batch.ui.batchFolderLineEdit.text = str(batch.scans)
    runs(batch)
    batch.parameters.samples = 7
    runs(batch)
    assert "samples 4, not 7" in batch.is_told()
    batch.ui.batchResultsLineEdit.text = str(batch.scans / "results")
    runs(batch)
    assert "lies in the folder of the cases" in batch.is_told()


def test_the_volumes_of_the_scene_are_cases_and_open_again_without_their_volume(batch):
    batch.loads("cine a", seed=1)
    batch.loads("cine b", seed=2)
    twice = [batch.loads("same", seed=3), batch.loads("same", seed=4)]
    batch.ui.batchSceneCheckBox.checked = True
    batch.looks()
    assert not batch.ui.batchFolderLineEdit.enabled
    runs(batch)
    assert states(batch) == {"cine a": "done", "cine b": "done", "same": "failed"}
    assert (batch.out / "cases" / "cine a" / "image_0000.nrrd").is_file()
    assert json.loads((batch.out / "batch.json").read_text())["folder"] == "the scene"
    assert len(twice) == 2
    slicer.mrmlScene.Clear(0)
    batch.looks()
    batch.panel.batch.open("cine a")
    batch.looks()
    assert batch.parameters.inputVolume.GetName() == "cine a"
    assert batch.ui.sliceTable.rowCount == 6


def test_of_a_sequence_the_frame_is_segmented_that_was_shown_at_start(batch):
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
    for number in range(3):
        volume = batch.loads("beat", seed=number)
        sequence.SetDataNodeAtValue(volume, f"{number}")
        slicer.mrmlScene.RemoveNode(volume)
    browser, volume = browser_of(sequence)
    shown = slicer.util.arrayFromVolume(volume).copy()
    batch.ui.batchSceneCheckBox.checked = True
    batch.makes_the_worker("quick")
    batch.ui.batchStartButton.click()
    browser.SetSelectedItemNumber(2)
    batch.until(lambda: not batch.panel.batch.isRunning, "the end of the batch")
    [image] = (batch.out / "cases").glob("*/image_0000.nrrd")
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(image))), shown)


def test_an_opened_case_is_no_further_case_of_the_scene(batch):
    batch.loads("cine", seed=1)
    batch.ui.batchSceneCheckBox.checked = True
    runs(batch)
    batch.panel.batch.open("cine")
    batch.looks()
    assert len(slicer.util.getNodes("cine", useLists=True)["cine"]) == 2
    runs(batch)
    assert states(batch) == {"cine": "done"}


def test_a_volume_of_another_patient_with_the_same_name_leaves_the_earlier_result(batch):
    batch.loads("cine", seed=1)
    batch.ui.batchSceneCheckBox.checked = True
    runs(batch)
    image = (batch.out / "cases" / "cine" / "image_0000.nrrd").read_bytes()
    slicer.mrmlScene.Clear(0)
    batch.loads("cine", seed=2)
    runs(batch)
    assert states(batch) == {"cine": "failed"}
    assert "it is of another image" in rows(batch)[0][1]
    assert (batch.out / "cases" / "cine" / "image_0000.nrrd").read_bytes() == image


def test_a_changed_case_is_segmented_again_in_a_folder_alone(batch):
    batch.loads("cine", seed=1)
    batch.ui.batchSceneCheckBox.checked = True
    runs(batch)
    for folder in (batch.folder / "elsewhere", batch.out):
        batch.ui.batchResultsLineEdit.text = str(folder)
        batch.ui.batchResultsLineEdit.editingFinished.emit()
        batch.looks()
    said = "1 done, 0 failed. Press Start to segment new{} and failed cases."
    assert batch.ui.batchLabel.text == said.format("")
    batch.ui.batchSceneCheckBox.checked = False
    assert batch.ui.batchLabel.text == said.format(", changed")


def test_a_tilde_and_variables_in_a_folder_are_what_they_stand_for(batch, monkeypatch):
    monkeypatch.setenv("HOME", str(batch.folder))
    monkeypatch.setenv("USERPROFILE", str(batch.folder))
    monkeypatch.setenv("STUDY", "results")
    batch.ui.batchFolderLineEdit.text = " ~/scans "
    batch.ui.batchResultsLineEdit.text = "~/$STUDY"
    plan = batch.panel.batch._plan()
    assert (plan.folder, plan.out) == (f"{batch.folder}/scans", f"{batch.folder}/results")
    batch.ui.batchResultsLineEdit.editingFinished.emit()
    assert batch.ui.batchFolderLineEdit.text == f"{batch.folder}/scans"
    assert slicer.app.userSettings().value("CSAMSegment/BatchResults", "") == f"{batch.folder}/results"


def test_the_scenes_volumes_are_not_for_a_model_of_several_channels_but_a_folder_is(batch):
    batch.parameters.model = "two"
    batch.ui.batchSceneCheckBox.checked = True
    batch.looks()
    batch.ui.batchStartButton.click()
    assert "needs 2 images a case" in batch.is_told()
    folder = batch.folder / "pairs"
    folder.mkdir()
    for number in range(2):
        image = cine_stack(number, slices=6, size=48, spacing=(5.0, 5.0, 8.0)).image
        sitk.WriteImage(image, str(folder / f"p1_{number:04d}.nii.gz"))
    batch.ui.batchSceneCheckBox.checked = False
    batch.ui.batchFolderLineEdit.text = str(folder)
    runs(batch)
    assert states(batch) == {"p1": "done"}
    batch.panel.batch.open("p1")
    batch.looks()
    assert [volume.GetName() for volume in batch.panel.input.volumes()] == ["p1", "p1 ADC"]


def test_a_worker_that_dies_fails_its_case_and_at_the_second_the_batch_stops(batch):
    runs(batch, "dies")
    assert "The worker ended before it had answered" in batch.is_told()
    failed = [row for row in rows(batch) if row[-1] == "failed"]
    assert [row[0] for row in failed] == ["cut", "scan0"]
    assert "The worker ended before it had answered" in failed[1][1]
    runs(batch)
    assert batch.ui.batchLabel.text == "3 done, 1 failed, 0 to do"


def test_the_panel_takes_the_batch_with_it(batch):
    batch.makes_the_worker("slow")
    batch.ui.batchStartButton.click()
    batch.until(lambda: "running" in states(batch).values(), "a case under way")
    client = batch.panel.batch.run._client
    batch.panel.batch.close()
    batch.until(lambda: client.process_id is None, "the end of the worker")


def test_a_batch_of_the_scene_ends_with_the_scene_and_one_of_a_folder_does_not(batch):
    batch.makes_the_worker("slow")
    batch.ui.batchStartButton.click()
    batch.until(lambda: "running" in states(batch).values(), "a case under way")
    slicer.mrmlScene.Clear(0)
    assert batch.panel.batch.run.state.name == "RUNNING"
    batch.ui.batchStopButton.click()
    batch.until(lambda: not batch.panel.batch.isRunning, "the end of the batch", 20)
    batch.loads("cine")
    batch.ui.batchSceneCheckBox.checked = True
    batch.ui.batchResultsLineEdit.text = str(batch.folder / "others")
    batch.ui.batchStartButton.click()
    batch.until(lambda: "running" in states(batch).values(), "a case under way")
    slicer.mrmlScene.Clear(0)
    batch.until(lambda: not batch.panel.batch.isRunning, "the end of the batch", 20)


def test_a_long_table_is_read_and_shown_in_turns_that_hold_nobody_up(batch, monkeypatch):
    report = {
        "source": {"images": ["a.nii"]}, "slices": [{"rank": n + 1, "index": n} for n in range(12)], "case_rank": 0.5,
        "structures": [{"value": 1, "name": "cavity", "volume_ml": 9, "mean_ml": 9, "low_ml": 8, "high_ml": 10}],
        "extent": "whole", "warnings": ["Look at it."], "provenance": {"model": {"name": "tiny"}},
    }  # fmt: skip
    for number in range(150):
        folder = batch.out / "cases" / f"case{number:03d}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report | {"case_quality": 1 - number / 200}))
    (batch.out / "batch.json").write_text(json.dumps({"folder": "x", "model": {}, "options": {}}))
    turns, poll = [], batch.panel.batch._poll

    def measured():
        start = time.thread_time()
        poll()
        turns.append(time.thread_time() - start)

    batch.panel.batch._timer.timeout.disconnect()
    batch.panel.batch._timer.timeout.connect(measured)
    batch.panel.batch._read()
    batch.until(lambda: batch.ui.batchTable.rowCount == 150 and not batch.panel.batch.busy, "all rows")
    assert [row[0] for row in rows(batch)] == [f"case{number:03d}" for number in reversed(range(150))]
    assert len(turns) > 10
    assert sorted(turns)[-2] < 0.05, "processor time of the application's thread, in seconds"
