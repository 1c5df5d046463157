"""Models: choosing, adding, removing, reading about, and those that want several images."""

from pathlib import Path

import pytest
import qt
import slicer
from gui.panel_kit import make_model

from csam.errors import ModelError
from CSAMSegmentLib.logic.model_library import FOLDER_SETTING
from CSAMSegmentLib.logic.user_models import add_model, user_folder
from CSAMSegmentLib.logic.worker_launcher import read_setting


def adds(person, name: str, **arguments) -> None:
    path = person.folder / f"{name} of a friend.zip"
    make_model(name, **arguments).save(path)
    person.host.dialogs.answer(str(path))
    person.ui.addModelButton.click()
    person.host.dialogs.take()
    person.looks()


def test_a_model_is_added_from_a_zip_chosen_and_kept(person):
    person.loads()
    person.opens()
    adds(person, "mine", title="My own model")
    assert person.ui.modelSelector.currentText == "My own model"
    assert person.parameters.model == "mine"
    assert [path.name for path in user_folder().iterdir()] == ["mine.zip"]
    assert read_setting("CSAMSegment/ModelFolder") == str(user_folder())
    person.applies()
    assert person.parameters.segmentation.GetSegmentation().GetNthSegmentID(0) == "CSAMSegment_mine_1"


def test_only_the_users_models_can_be_removed(person):
    person.opens()
    assert not person.ui.removeModelButton.enabled
    adds(person, "mine")
    assert person.ui.removeModelButton.enabled
    person.host.dialogs.answer(qt.QMessageBox.Yes)
    person.ui.removeModelButton.click()
    [question] = person.host.dialogs.take()
    assert question.text == 'Delete the model "mine" from your model folder?'
    assert not list(user_folder().iterdir())
    assert person.parameters.model == "tiny"
    assert not person.ui.removeModelButton.enabled


def test_a_no_keeps_the_model(person):
    person.opens()
    adds(person, "mine")
    person.host.dialogs.answer(qt.QMessageBox.No)
    person.ui.removeModelButton.click()
    person.host.dialogs.take()
    assert person.parameters.model == "mine"


def test_a_model_that_ships_is_not_replaced_by_one_of_its_name(person):
    person.opens()
    path = person.folder / "other.zip"
    make_model("tiny").save(path)
    with pytest.raises(ModelError, match='comes with the extension has the name "tiny"'):
        add_model(path, person.panel.logic.library)


def test_the_card_says_what_to_know_before_trusting_a_model(person):
    person.opens()
    person.ui.aboutModelButton.click()
    card = person.panel.input._card
    text = card.findChild(qt.QTextBrowser).toPlainText()
    for words in ("Tiny heart", "not a medical device", "Licence: CC0", "20 training patients"):
        assert words in text
    person.host.screenshot(card, "8-about", width=620, height=640)
    card.close()


def test_a_scene_whose_model_is_not_installed_says_so(person):
    person.loads()
    person.opens()
    person.parameters.model = "liver"
    person.looks()
    problem = 'The model "liver" is not installed here. Add it from a file, or choose another model.'
    assert person.ui.applyButton.toolTip == problem
    assert "is not installed here" in person.ui.fitLabel.text
    assert not person.ui.aboutModelButton.enabled


def test_a_model_whose_file_was_deleted_is_not_installed_any_more(person):
    person.loads()
    person.opens()
    adds(person, "mine")
    (user_folder() / "mine.zip").unlink()
    assert person.panel.input.model is None
    assert 'The model "mine" is not installed here' in person.panel.input.problem()
    person.panel.refresh()
    person.looks()
    assert 'The model "mine" is not installed here' in person.ui.applyButton.toolTip
    assert "is not installed here" in person.ui.fitLabel.text
    assert person.ui.modelSelector.count == 2
    assert person.ui.modelSelector.currentIndex == -1
    assert not person.ui.removeModelButton.enabled
    person.ui.modelSelector.currentIndex = 0
    person.ui.modelSelector.activated.emit(0)
    person.looks()
    assert person.parameters.model == "tiny"
    assert person.ui.applyButton.enabled


def test_the_buttons_of_a_model_whose_file_was_just_deleted_do_no_harm(person):
    person.opens()
    adds(person, "mine")
    (user_folder() / "mine.zip").unlink()
    person.ui.aboutModelButton.click()
    assert not person.ui.aboutModelButton.enabled
    adds(person, "mine")
    (user_folder() / "mine.zip").unlink()
    person.host.dialogs.answer(qt.QMessageBox.Yes)
    person.ui.removeModelButton.click()
    [question] = person.host.dialogs.take()
    assert question.text == 'Delete the model "mine" from your model folder?'
    assert person.parameters.model == "tiny"


def test_a_model_that_came_into_the_folder_is_listed_when_the_module_is_entered(person):
    (person.folder / "own").mkdir()
    slicer.app.userSettings().setValue(FOLDER_SETTING, str(person.folder / "own"))
    person.opens()
    person.host.open_module("Data")
    make_model("mine", title="Brought by hand").save(person.folder / "own" / "mine.zip")
    person.host.open_module("CSAMSegment")
    person.looks()
    assert person.ui.modelSelector.itemText(2) == "Brought by hand"
    assert person.ui.modelSelector.currentText == "Tiny heart"


def test_a_model_folder_that_may_not_be_read_keeps_the_module_from_nothing(person, monkeypatch, caplog):
    locked, iterdir = person.folder / "locked", Path.iterdir
    locked.mkdir()

    def guarded(self):
        if self == locked:
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", guarded)
    slicer.app.userSettings().setValue(FOLDER_SETTING, str(locked))
    person.loads()
    person.opens()
    assert person.ui.modelSelector.count == 2
    assert person.ui.applyButton.enabled
    assert caplog.text.count("Permission denied") == 1


def test_no_closed_card_stays_behind(person):
    person.opens()
    for _time in range(3):
        person.ui.aboutModelButton.click()
        person.panel.input._card.close()
        person.looks()
    assert not slicer.util.mainWindow().findChildren(qt.QDialog)


def test_a_model_of_two_channels_asks_for_two_images(person):
    first = person.loads("T2")
    second = person.loads("ADC")
    person.opens()
    person.ui.modelSelector.currentIndex = 1
    person.ui.modelSelector.activated.emit(1)
    person.looks()
    [selector] = person.panel.input._channels
    assert person.ui.inputSelectorLabel.text == "T2:"
    assert person.ui.applyButton.toolTip == "The model needs one more image: ADC"
    selector.setCurrentNode(second)
    person.looks()
    person.sees("9-two-channels")
    person.applies()
    assert person.panel.logic.run.volumes == (first, second)
    assert person.ui.resultTable.rowCount == 2
    assert person.ui.segmentComboBox.count == 2
    person.sees("10-two-structures")


def chooses_two_images(person):
    """Opens the module with a model of two channels and an image for each; the second one comes back."""
    person.loads("T2")
    second = person.loads("ADC")
    person.opens()
    person.parameters.model = "two"
    person.looks()
    person.panel.input._channels[0].setCurrentNode(second)
    person.looks()
    return second


def test_the_second_image_is_restored_with_the_scene(person, tmp_path):
    chooses_two_images(person)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    person.looks()
    assert person.panel.input._channels[0].currentNode().GetName() == "ADC"
    assert person.panel.input.volumes()[0].GetName() == "T2"


def test_going_back_to_one_channel_takes_the_second_selector_away(person):
    person.loads()
    person.opens()
    person.parameters.model = "two"
    person.looks()
    person.parameters.model = "tiny"
    person.looks()
    assert not person.panel.input._channels
    assert not person.ui.channelsWidget.isVisible()
    assert person.ui.applyButton.enabled


def test_a_scene_that_is_added_leaves_the_second_image_chosen(person, tmp_path):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "a note")
    slicer.util.saveScene(str(tmp_path / "note.mrb"))
    slicer.mrmlScene.Clear(0)
    second = chooses_two_images(person)
    slicer.util.loadScene(str(tmp_path / "note.mrb"))
    person.looks()
    assert [volume.GetName() for volume in person.panel.input.volumes()] == ["T2", "ADC"]
    assert person.panel.input._channels[0].currentNode() is second
