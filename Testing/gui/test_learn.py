"""A user teaches a model in the part Learn: kept cases, a training that survives everything, a model that is chosen."""

import json
import os
import random
import re
import sys
import types
from pathlib import Path

import pytest
import qt
import slicer

from CSAMSegmentLib.logic.learning import State

TRAINER = Path(__file__).with_name("fake_trainer.py")


@pytest.fixture
def learner(user, monkeypatch, tmp_path):
    """A user with a data set and an open part Learn; the trainer is the fake one."""
    from csam.process.line_process import LineProcess
    from CSAMSegmentLib.logic import case_import, learning

    def start(arguments, take=None):
        return LineProcess([sys.executable, str(TRAINER), str(tmp_path), *arguments], dict(os.environ), take)

    for place in (learning, case_import):
        monkeypatch.setattr(place, "start_process", start)
    slicer.app.userSettings().setValue("CSAMSegment/ModelFolder", str(tmp_path / "own" / "Models"))
    slicer.app.userSettings().remove("CSAMSegment/TrainingFolder")
    slicer.app.userSettings().remove("CSAMSegment/TrainingCommand")
    (tmp_path / "hearts").mkdir()
    user.loads()
    user.opens()
    opens(user)
    yield user
    if user.panel is not None and user.panel.learn.learning.busy:
        user.panel.learn.learning._process.kill()


def opens(user) -> None:
    """Opens the part, with the data set."""
    learn = user.panel.learn
    learn.ui.datasetLineEdit.text = str(user.folder / "hearts")
    learn.ui.learnCollapsibleButton.collapsed = False
    learn.ui.datasetLineEdit.editingFinished.emit()
    settles(user)


def settles(user) -> None:
    user.until(lambda: not user.panel.learn.busy, "the list of cases", 60)
    user.looks()


def makes_the_trainer(user, mode: str) -> None:
    (user.folder / "trainer").write_text(mode)


def calls(user) -> list[list[str]]:
    return [json.loads(line) for line in (user.folder / "trainer-calls").read_text().splitlines()]


def until_state(user, *states) -> None:
    user.until(lambda: user.panel.learn.learning.state in states, f"{states}", 120)
    user.looks()


def until_rows(user, count: int) -> None:
    user.until(lambda: len(user.panel.learn.learning.rows) >= count, "progress of the training", 120)


def starts(user, mode: str = "slow") -> None:
    makes_the_trainer(user, mode)
    user.panel.learn.ui.learnStartButton.click()
    until_state(user, State.TRAINING)


def draws(user, name: str = "right ventricle", slices=(1, 3)):
    """A segmentation of the image with a box in some slices."""
    import numpy as np

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
    node.SetReferenceImageGeometryParameterFromVolumeNode(user.volume)
    identifier = node.GetSegmentation().AddEmptySegment("", name)
    mask = np.zeros(slicer.util.arrayFromVolume(user.volume).shape, np.uint8)
    for index in slices:
        mask[index, 10:20, 12:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, identifier, user.volume)
    return node, mask


def adds(user, node, name: str, only_drawn: bool, *before) -> None:
    ui = user.panel.learn.ui
    ui.addCaseCollapsibleButton.collapsed = False
    ui.caseImageSelector.setCurrentNode(user.volume)
    ui.caseSegmentationSelector.setCurrentNode(node)
    ui.knownSlicesSelector.currentIndex = int(only_drawn)

    def typed(dialog):
        dialog.setTextValue(name)
        return 1

    user.host.dialogs.answer(typed, *before)
    ui.addCaseButton.click()
    settles(user)


def test_a_tilde_and_variables_in_the_data_sets_folder_are_what_they_stand_for(learner, monkeypatch):
    monkeypatch.setenv("HOME", str(learner.folder))
    monkeypatch.setenv("USERPROFILE", str(learner.folder))  # of Windows
    monkeypatch.setenv("STUDY", "hearts")
    learn, wanted = learner.panel.learn, f"{learner.folder}/hearts"
    learn.ui.datasetLineEdit.text = " ~/$STUDY "
    assert learn.request().dataset == wanted
    learn.ui.datasetLineEdit.editingFinished.emit()
    settles(learner)
    assert learn.ui.datasetLineEdit.text == wanted
    assert slicer.app.userSettings().value("CSAMSegment/TrainingFolder", "") == wanted


def test_from_start_to_a_model_that_is_chosen(learner):
    ui, learn = learner.panel.learn.ui, learner.panel.learn
    ui.timeSelector.currentIndex = 0
    makes_the_trainer(learner, "quick")
    ui.learnStartButton.click()
    until_state(learner, State.DONE)
    check, train = calls(learner)
    assert "--dry-run" in check
    assert check[:2] == ["train", str(learner.folder / "hearts")]
    given = json.loads(Path(train[train.index("--plan") + 1]).read_text())
    assert given == {"minutes": 15.0}
    assert learner.parameters.model == "hearts"
    said = ui.learnStageLabel.text
    assert "is in the list of models and chosen" in said
    assert "right ventricle: Dice 0.88" in said
    assert "With so few scans" in said
    assert [row["step"] for row in learn.learning.rows] == [5, 10, 15, 20]
    assert learn.request().card["name"] == "hearts-2"
    assert str(learner.panel.input.modelPath) in learn._starts
    learner.sees("learn-done")


def test_a_training_is_watched_paused_and_gone_on_with(learner):
    ui, learn = learner.panel.learn.ui, learner.panel.learn
    starts(learner)
    until_rows(learner, 2)
    learner.looks()
    assert "Dice 0.90" in ui.learnStageLabel.text
    [chart] = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    loss, dice = (chart.GetNthPlotSeriesNode(number).GetTableNode().GetTable() for number in range(2))
    assert loss.GetNumberOfRows() == len(learn.learning.rows)
    assert dice.GetNumberOfRows() == sum(row["validation_dice"] is not None for row in learn.learning.rows)
    learner.sees("learn-running")
    learner.applies()
    assert learner.ui.sliceTable.rowCount == 6  # segmentation goes on beside it
    ui.learnPauseButton.click()
    until_state(learner, State.PAUSED)
    before = learn.learning.rows[-1]["step"]
    assert f"step {before} of 2000" in ui.learnStageLabel.text
    assert ui.learnStartButton.text == "Resume"
    learner.sees("learn-paused")
    ui.learnStartButton.click()
    until_rows(learner, before // 5 + 2)
    learner.looks()
    assert "It was resumed from its last checkpoint." in ui.learnStageLabel.text
    assert any(line == f"Going on from step {before}." for line in learn.learning.lines)
    ui.learnPauseButton.click()
    until_state(learner, State.PAUSED)


@pytest.mark.parametrize("kind", ["Table", "PlotSeries"])
def test_the_curve_is_whole_again_after_a_part_of_it_was_removed(learner, kind):
    starts(learner)
    until_rows(learner, 2)
    slicer.mrmlScene.RemoveNode(slicer.util.getNodesByClass(f"vtkMRML{kind}Node")[-1])
    until_rows(learner, len(learner.panel.learn.learning.rows) + 3)
    [chart] = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    [view] = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNodeID() == chart.GetID()
    tables = [chart.GetNthPlotSeriesNode(number).GetTableNode() for number in range(chart.GetNumberOfPlotSeriesNodes())]
    assert {*tables} == {*slicer.util.getNodesByClass("vtkMRMLTableNode")}
    assert len(tables) == 2
    learner.panel.learn.ui.learnKeepButton.click()
    until_state(learner, State.DONE)


def test_a_training_killed_at_any_moment_goes_on_and_loses_nothing(learner):
    ui, learn = learner.panel.learn.ui, learner.panel.learn
    starts(learner)
    until_rows(learner, random.randint(1, 4))
    rows = list(learn.learning.rows)
    learn.learning._process.kill()
    until_state(learner, State.FAILED)
    assert "killed" in ui.learnStageLabel.text
    makes_the_trainer(learner, "quick")
    ui.learnStartButton.click()
    until_state(learner, State.DONE)
    assert learn.learning.rows[: len(rows)] == rows
    assert learner.parameters.model == "hearts"


def test_stop_and_keep_ends_with_a_model_while_it_runs_and_when_it_is_paused(learner):
    ui, learn = learner.panel.learn.ui, learner.panel.learn
    starts(learner)
    until_rows(learner, 1)
    ui.learnPauseButton.click()
    until_state(learner, State.PAUSED)
    assert ui.learnKeepButton.enabled
    ui.learnKeepButton.click()
    until_state(learner, State.DONE)
    assert learn.learning.rows[-1]["step"] < 100
    assert learner.parameters.model == "hearts"


def test_closing_the_application_leaves_a_training_that_is_offered_the_next_time(learner):
    starts(learner)
    until_rows(learner, 1)
    process = learner.panel.learn.learning._process
    folder = learner.panel.learn.learning.folder
    learner.panel.close()
    learner.until(lambda: (bool(process.poll()) and not process.running) or not process.running, "its end", 60)
    step = json.loads((folder / "checkpoint.pt").read_text())[-1]["step"]
    learner.panel.learn.learning.state = State.NONE
    learner.panel.learn.learning.folder = None
    learner.panel.learn.enter()  # as a new panel does
    ui = learner.panel.learn.ui
    assert f'A training on "hearts" is not finished: step {step} of 2000' in ui.learnStageLabel.text
    learner.host.dialogs.answer(qt.QMessageBox.Ok)
    ui.learnDiscardButton.click()
    learner.host.dialogs.take()
    assert not folder.exists()
    assert ui.learnStartButton.text == "Start"


def test_every_fault_is_listed_and_a_double_click_opens_the_case(learner):
    ui = learner.panel.learn.ui
    node, _mask = draws(learner)
    adds(learner, node, "p1", False)
    learner.host.dialogs.take()
    makes_the_trainer(learner, "faulty")
    ui.learnStartButton.click()
    until_state(learner, State.NONE)
    assert ui.faultsList.count == 3
    assert len(calls(learner)) == 1  # nothing was begun
    ui.faultsList.itemDoubleClicked.emit(ui.faultsList.item(1))
    learner.looks()
    assert ui.caseImageSelector.currentNode().GetName() == "p1"
    learner.sees("learn-faults")


def test_a_segmentation_made_by_hand_is_kept_listed_opened_replaced_and_removed(learner):
    import numpy as np
    import SimpleITK as sitk

    from csam.training.dataset import read_dataset

    ui, folder = learner.panel.learn.ui, learner.folder / "hearts"
    node, mask = draws(learner)
    adds(learner, node, "p1", True)
    learner.host.dialogs.take()
    data = read_dataset(folder)
    assert data.labels == ("right ventricle",)
    labels = sitk.GetArrayFromImage(data.cases[0].read()[1])
    assert [k for k in range(len(labels)) if (labels[k] != 255).any()] == [1, 3]
    np.testing.assert_array_equal(labels[[1, 3]], mask[[1, 3]])
    row = [ui.casesTable.item(0, column).text() for column in range(3)]
    assert row == ["p1", "right ventricle", f"2 / {len(mask)}"]

    ui.casesTable.selectRow(0)
    ui.openCaseButton.click()
    settles(learner)
    opened = ui.caseSegmentationSelector.currentNode()
    [identifier] = opened.GetSegmentation().GetSegmentIDs()
    volume = ui.caseImageSelector.currentNode()
    again = slicer.util.arrayFromSegmentBinaryLabelmap(opened, identifier, volume)
    np.testing.assert_array_equal(again, mask)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), slicer.util.arrayFromVolume(learner.volume))
    assert not ui.casesTable.item(0, 0).icon().isNull()
    assert ui.knownSlicesSelector.currentIndex == 1  # else what is unknown would be background
    assert not ui.addCaseCollapsibleButton.collapsed
    ui.casesCollapsibleButton.collapsed = False
    learner.sees("learn-cases")

    learner.volume = volume
    adds(learner, opened, "p1", True, qt.QMessageBox.Ok)
    assert learner.host.dialogs.take()[-1].text == "The data set has a case p1 already. Replace it?"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_dataset(folder).cases[0].read()[1]), labels)

    learner.host.dialogs.answer(qt.QMessageBox.Yes)
    ui.casesTable.selectRow(0)
    ui.removeCaseButton.click()
    learner.host.dialogs.take()
    settles(learner)
    assert ui.casesTable.rowCount == 0
    assert list((folder / "imagesTr").iterdir()) == []


def test_a_structure_that_was_not_labelled_in_a_case_is_no_background_there(learner):
    from csam.training.dataset import read_dataset

    node, _mask = draws(learner)
    node.GetSegmentation().AddEmptySegment("", "left ventricle")
    adds(learner, node, "p1", False)
    other, _mask = draws(learner)
    adds(learner, other, "p2", False)
    learner.host.dialogs.take()
    data = read_dataset(learner.folder / "hearts")
    assert data.labels == ("right ventricle", "left ventricle")
    assert [case.unlabelled for case in data.cases] == [(), (2,)]


def test_labels_that_were_typed_stay_when_the_module_or_the_part_is_left_and_opened_again(learner):
    node, _mask = draws(learner)
    node.GetSegmentation().AddEmptySegment("", "left ventricle")
    learn, ui = learner.panel.learn, learner.panel.learn.ui
    ui.addCaseCollapsibleButton.collapsed = False
    ui.caseSegmentationSelector.setCurrentNode(node)
    ui.segmentLabelsTable.item(0, 1).setText("RV")
    ui.segmentLabelsTable.item(1, 0).setCheckState(qt.Qt.Unchecked)
    first = node.GetSegmentation().GetNthSegmentID(0)
    for leave in (
        lambda: setattr(ui.addCaseCollapsibleButton, "collapsed", True),
        lambda: setattr(ui.learnCollapsibleButton, "collapsed", True),
        learner.panel.exit,
    ):
        leave()
        ui.learnCollapsibleButton.collapsed = ui.addCaseCollapsibleButton.collapsed = False
        learner.panel.enter()
        settles(learner)
        assert learn.maker.labels() == {first: "RV"}
    other, _mask = draws(learner, name="RV")
    ui.caseSegmentationSelector.setCurrentNode(other)
    assert [*learn.maker.labels().values()] == ["RV"]
    node.GetSegmentation().GetSegment(first).SetName("right")
    ui.caseSegmentationSelector.setCurrentNode(node)
    assert [*learn.maker.labels().values()] == ["right", "left ventricle"]  # begun anew


def test_segments_that_come_and_go_and_get_names_are_listed(learner):
    node, _mask = draws(learner)
    learn, ui, content = learner.panel.learn, learner.panel.learn.ui, node.GetSegmentation()
    ui.addCaseCollapsibleButton.collapsed = False
    ui.caseSegmentationSelector.setCurrentNode(node)
    first, second = content.GetNthSegmentID(0), content.AddEmptySegment("", "left ventricle")
    learner.until(lambda: [*learn.maker.labels().values()] == ["right ventricle", "left ventricle"], "two segments", 5)
    content.GetSegment(first).SetName("RV")
    content.RemoveSegment(second)
    learner.until(lambda: [*learn.maker.labels().values()] == ["RV"], "one segment of another name", 5)


def test_a_segment_with_a_name_that_the_data_set_does_not_know_is_told(learner):
    node, _mask = draws(learner)
    adds(learner, node, "p1", False)
    learner.host.dialogs.take()
    other, _mask = draws(learner, name="atrium")
    ui = learner.panel.learn.ui
    ui.caseSegmentationSelector.setCurrentNode(other)
    assert ui.segmentLabelsTable.item(0, 0).checkState() == qt.Qt.Unchecked
    ui.segmentLabelsTable.item(0, 0).setCheckState(qt.Qt.Checked)
    ui.addCaseButton.click()
    assert "The data set has the labels right ventricle, not atrium" in learner.is_told()


@pytest.fixture
def own_python(learner, monkeypatch):
    """The trainer is Slicer's own Python, and lacks packages."""
    from CSAMSegmentLib.widgets import learn_view

    monkeypatch.setattr(learn_view, "trains_in_slicer", lambda: True)
    makes_the_trainer(learner, "bare")
    return learner


def test_packages_are_installed_after_consent_and_the_training_begins(own_python, monkeypatch):
    asked = []

    def pip_install(requirements):
        asked.append(requirements)
        (own_python.folder / "installed").touch()

    monkeypatch.setattr(slicer.util, "pip_install", pip_install, raising=False)
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    own_python.host.dialogs.answer(qt.QMessageBox.Ok)
    own_python.panel.learn.ui.learnStartButton.click()
    until_state(own_python, State.DONE)
    assert "No image leaves this computer" in own_python.is_told()
    [requirements] = asked
    assert requirements.startswith('"monai>=1.4" scikit-learn torch==')


def test_without_consent_nothing_is_installed_and_nothing_begins(own_python, monkeypatch):
    monkeypatch.setattr(slicer.util, "pip_install", lambda _requirements: pytest.fail("installed"), raising=False)
    own_python.host.dialogs.answer(qt.QMessageBox.Cancel)
    own_python.panel.learn.ui.learnStartButton.click()
    until_state(own_python, State.NONE)
    own_python.host.dialogs.take()
    assert len(calls(own_python)) == 1


def test_slicers_newer_installer_is_used_where_it_is_there_and_offline_the_way_is_told(own_python, monkeypatch):
    asked = []

    def pip_install(requirements, requester=None, blocking=True):
        asked.append((requirements[0], requester, blocking))
        raise RuntimeError("no route to host")

    module = types.ModuleType("slicer.packaging")
    module.pip_install = pip_install
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    monkeypatch.setattr(slicer, "packaging", module, raising=False)
    own_python.host.dialogs.answer(qt.QMessageBox.Ok)
    own_python.panel.learn.ui.learnStartButton.click()
    own_python.until(lambda: len(own_python.host.dialogs.shown) == 2, "the error", 60)
    _question, shown = own_python.host.dialogs.take()
    assert asked == [("monai>=1.4", "CSAMSegment", True)]
    assert "no route to host" in shown.text
    assert "--no-index" in shown.text


def test_another_python_gets_its_packages_from_its_owner(learner, monkeypatch):
    from CSAMSegmentLib.logic.training_launcher import TrainingLaunch
    from CSAMSegmentLib.widgets import learn_view

    makes_the_trainer(learner, "bare")
    launch = TrainingLaunch(["/opt/python", "-m", "csam"], {})
    monkeypatch.setattr(learn_view, "find_training", lambda: launch)
    learner.panel.learn.ui.learnStartButton.click()
    learner.until(lambda: learner.host.dialogs.shown, "the error", 60)
    assert "/opt/python -m pip install monai scikit-learn" in learner.is_told()


def commands(user, field: str, text: str) -> None:
    """Enters a command under Advanced."""
    line = getattr(user.ui, field)
    line.text = text
    line.editingFinished.emit()
    user.looks()


def test_the_panel_says_where_a_model_learns(learner):
    ui = learner.panel.learn.ui
    assert not ui.whereLabel.isVisible()
    commands(learner, "trainingCommandLineEdit", " ssh me@gpu-host torchrun --nproc-per-node 4 -m csam ")
    assert ui.whereLabel.text == "Models learn on me@gpu-host. The data set must be there, under the same path."
    assert ui.whereLabel.isVisible()
    assert slicer.app.userSettings().value("CSAMSegment/TrainingCommand").startswith("ssh me@gpu-host")
    learner.sees("learn-elsewhere")
    commands(learner, "trainingCommandLineEdit", "")
    assert not ui.whereLabel.isVisible()


def test_a_training_elsewhere_is_offered_only_for_that_computer_and_its_model_comes_back(learner, monkeypatch):
    """The trainer here plays the one there: its model comes in events."""
    ui, learn = learner.panel.learn.ui, learner.panel.learn
    commands(learner, "trainingCommandLineEdit", "ssh gpu-host python -m csam")
    starts(learner)
    assert "--send-model" in calls(learner)[-1]
    until_rows(learner, 1)
    ui.learnPauseButton.click()
    until_state(learner, State.PAUSED)
    assert ui.whereLabel.text.startswith("Models learn on gpu-host.")
    step = learn.learning.rows[-1]["step"]
    assert f"step {step} of 2000" in ui.learnStageLabel.text
    commands(learner, "trainingCommandLineEdit", "")
    assert ui.whereLabel.text.startswith("Models learn on gpu-host.")
    ui.learnStartButton.click()
    assert "begun on gpu-host, and the training command now runs on this computer" in learner.is_told()
    commands(learner, "trainingCommandLineEdit", "ssh gpu-host python -m csam")
    makes_the_trainer(learner, "quick")
    ui.learnStartButton.click()
    until_state(learner, State.DONE)
    assert learn.learning.resumed
    assert learner.parameters.model == "hearts"
    assert (learn.learning.folder / "model" / "MODEL_CARD.md").is_file()


def test_to_discard_a_training_elsewhere_is_to_leave_its_checkpoints_there(learner):
    ui = learner.panel.learn.ui
    commands(learner, "trainingCommandLineEdit", "ssh gpu-host python -m csam")
    starts(learner)
    until_rows(learner, 1)
    ui.learnPauseButton.click()
    until_state(learner, State.PAUSED)
    learner.host.dialogs.answer(qt.QMessageBox.Ok)
    ui.learnDiscardButton.click()
    assert "Its checkpoints stay on gpu-host, in the folder CSAM-trainings." in learner.is_told()
    assert learner.panel.learn.learning.state is State.NONE


def writes_pairs(folder, count: int = 2) -> None:
    """Images with labels of the values 1 and 2, and one image without."""
    import numpy as np
    import SimpleITK as sitk

    folder.mkdir()
    for number in range(count + 1):
        values = np.random.default_rng(number).integers(0, 900, (6, 20, 18)).astype(np.int16)
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((2.0, 2.0, 8.0))
        sitk.WriteImage(image, str(folder / f"p{number}.nii.gz"))
        if number < count:
            labels = sitk.Cast(image > 500, sitk.sitkUInt8) + sitk.Cast(image > 800, sitk.sitkUInt8)
            sitk.WriteImage(labels, str(folder / f"p{number}_seg.nii.gz"))


def imports(user, folder, *answers) -> None:
    user.host.dialogs.answer(str(folder), *answers)
    user.panel.learn.ui.importCasesButton.click()
    settles(user)


def typed(text: str):
    def answer(dialog):
        dialog.setTextValue(text)
        return 1

    return answer


def test_a_folder_of_images_with_labels_is_imported_with_every_fault_named(learner):
    from csam.training.dataset import read_dataset

    ui, scans = learner.panel.learn.ui, learner.folder / "pairs"
    writes_pairs(scans)
    assert not ui.importLabel.isVisible()
    imports(learner, scans, typed("ventricle"))
    assert "2 names were expected" in learner.host.dialogs.take()[-1].text
    imports(learner, scans, typed("ventricle, atrium"))
    learner.host.dialogs.take()
    assert ui.importLabel.text == "Added: 2; there already: 0; not added: 1."
    [fault] = [ui.importFaultsList.item(row).text() for row in range(ui.importFaultsList.count)]
    assert fault.startswith("p2: p2.nii.gz has no labels")
    data = read_dataset(learner.folder / "hearts")
    assert (data.labels, data.patients) == (("ventricle", "atrium"), ["p0", "p1"])
    assert [ui.casesTable.item(row, 0).text() for row in range(ui.casesTable.rowCount)] == ["p0", "p1"]
    assert ui.importCasesButton.text == "Import folder…"
    ui.casesCollapsibleButton.collapsed = False
    learner.sees("learn-import")
    imports(learner, scans)
    learner.host.dialogs.take()
    assert ui.importLabel.text == "Added: 0; there already: 2; not added: 1."
    assert ui.importFaultsList.count == 1
    imports(learner, learner.folder / "none")
    learner.host.dialogs.take()
    assert "There is no folder" in ui.importLabel.text
    assert not ui.importFaultsList.isVisible()


def test_an_import_that_is_stopped_goes_on_another_time(learner):
    from csam.training.dataset import read_dataset

    ui, scans = learner.panel.learn.ui, learner.folder / "pairs"
    writes_pairs(scans, 40)
    learner.host.dialogs.answer(str(scans), typed("a, b"))
    ui.importCasesButton.click()
    learner.until(lambda: re.search("Added: [1-9]", ui.importLabel.text), "the first case", 60)
    assert ui.importCasesButton.text == "Stop"
    ui.importCasesButton.click()
    settles(learner)
    learner.host.dialogs.take()
    before = len(read_dataset(learner.folder / "hearts").cases)
    assert 0 < before < 40
    imports(learner, scans)
    learner.host.dialogs.take()
    assert ui.importLabel.text == f"Added: {40 - before}; there already: {before}; not added: 1."
    assert len(read_dataset(learner.folder / "hearts").cases) == 40
