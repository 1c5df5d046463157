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


def adds(user, name: str, **arguments) -> None:
    path = user.folder / f"{name} of a friend.zip"
    make_model(name, **arguments).save(path)
    user.host.dialogs.answer(str(path))
    user.ui.addModelButton.click()
    user.host.dialogs.take()
    user.looks()


def test_a_model_is_added_from_a_zip_chosen_and_kept(user):
    user.loads()
    user.opens()
    adds(user, "mine", title="My own model")
    assert user.ui.modelSelector.currentText == "My own model"
    assert user.parameters.model == "mine"
    assert [path.name for path in user_folder().iterdir()] == ["mine.zip"]
    assert read_setting("CSAMSegment/ModelFolder") == str(user_folder())
    user.applies()
    assert user.parameters.segmentation.GetSegmentation().GetNthSegmentID(0) == "CSAMSegment_mine_1"


def test_only_the_users_models_can_be_removed(user):
    user.opens()
    assert not user.ui.removeModelButton.enabled
    adds(user, "mine")
    assert user.ui.removeModelButton.enabled
    user.host.dialogs.answer(qt.QMessageBox.Yes)
    user.ui.removeModelButton.click()
    [question] = user.host.dialogs.take()
    assert question.text == 'Delete the model "mine" from your model folder?'
    assert not list(user_folder().iterdir())
    assert user.parameters.model == "tiny"
    assert not user.ui.removeModelButton.enabled


def test_a_no_keeps_the_model(user):
    user.opens()
    adds(user, "mine")
    user.host.dialogs.answer(qt.QMessageBox.No)
    user.ui.removeModelButton.click()
    user.host.dialogs.take()
    assert user.parameters.model == "mine"


def test_a_model_that_ships_is_not_replaced_by_one_of_its_name(user):
    user.opens()
    path = user.folder / "other.zip"
    make_model("tiny").save(path)
    with pytest.raises(ModelError, match='comes with the extension has the name "tiny"'):
        add_model(path, user.panel.logic.library)


def test_the_card_says_what_to_know_before_trusting_a_model(user):
    user.opens()
    user.ui.aboutModelButton.click()
    card = user.panel.input._card
    text = card.findChild(qt.QTextBrowser).toPlainText()
    for words in ("Tiny heart", "not a medical device", "Licence: CC0", "20 training patients"):
        assert words in text
    user.host.screenshot(card, "8-about", width=620, height=640)
    card.close()


def test_a_scene_whose_model_is_not_installed_says_so(user):
    user.loads()
    user.opens()
    user.parameters.model = "liver"
    user.looks()
    problem = 'The model "liver" is not installed here. Add it from a file, or choose another model.'
    assert user.ui.applyButton.toolTip == problem
    assert "is not installed here" in user.ui.fitLabel.text
    assert not user.ui.aboutModelButton.enabled


def test_a_model_whose_file_was_deleted_is_not_installed_any_more(user):
    user.loads()
    user.opens()
    adds(user, "mine")
    (user_folder() / "mine.zip").unlink()
    assert user.panel.input.model is None
    assert 'The model "mine" is not installed here' in user.panel.input.problem()
    user.panel.refresh()
    user.looks()
    assert 'The model "mine" is not installed here' in user.ui.applyButton.toolTip
    assert "is not installed here" in user.ui.fitLabel.text
    assert user.ui.modelSelector.count == 2
    assert user.ui.modelSelector.currentIndex == -1
    assert not user.ui.removeModelButton.enabled
    user.ui.modelSelector.currentIndex = 0
    user.ui.modelSelector.activated.emit(0)
    user.looks()
    assert user.parameters.model == "tiny"
    assert user.ui.applyButton.enabled


def test_the_buttons_of_a_model_whose_file_was_just_deleted_do_no_harm(user):
    user.opens()
    adds(user, "mine")
    (user_folder() / "mine.zip").unlink()
    user.ui.aboutModelButton.click()
    assert not user.ui.aboutModelButton.enabled
    adds(user, "mine")
    (user_folder() / "mine.zip").unlink()
    user.host.dialogs.answer(qt.QMessageBox.Yes)
    user.ui.removeModelButton.click()
    [question] = user.host.dialogs.take()
    assert question.text == 'Delete the model "mine" from your model folder?'
    assert user.parameters.model == "tiny"


def test_a_model_that_came_into_the_folder_is_listed_when_the_module_is_entered(user):
    (user.folder / "own").mkdir()
    slicer.app.userSettings().setValue(FOLDER_SETTING, str(user.folder / "own"))
    user.opens()
    user.host.open_module("Data")
    make_model("mine", title="Brought by hand").save(user.folder / "own" / "mine.zip")
    user.host.open_module("CSAMSegment")
    user.looks()
    assert user.ui.modelSelector.itemText(2) == "Brought by hand"
    assert user.ui.modelSelector.currentText == "Tiny heart"


def test_a_model_folder_that_may_not_be_read_keeps_the_module_from_nothing(user, monkeypatch, caplog):
    locked, iterdir = user.folder / "locked", Path.iterdir
    locked.mkdir()

    def guarded(self):
        if self == locked:
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", guarded)
    slicer.app.userSettings().setValue(FOLDER_SETTING, str(locked))
    user.loads()
    user.opens()
    assert user.ui.modelSelector.count == 2
    assert user.ui.applyButton.enabled
    assert caplog.text.count("Permission denied") == 1


def test_no_closed_card_stays_behind(user):
    user.opens()
    for _time in range(3):
        user.ui.aboutModelButton.click()
        user.panel.input._card.close()
        user.looks()
    assert not slicer.util.mainWindow().findChildren(qt.QDialog)


def test_a_model_of_two_channels_asks_for_two_images(user):
    first = user.loads("T2")
    second = user.loads("ADC")
    user.opens()
    user.ui.modelSelector.currentIndex = 1
    user.ui.modelSelector.activated.emit(1)
    user.looks()
    [selector] = user.panel.input.channels.selectors
    assert user.ui.inputSelectorLabel.text == "T2:"
    assert user.ui.applyButton.toolTip == "The model needs one more image: ADC. Choose it."
    selector.setCurrentNode(second)
    user.looks()
    user.sees("9-two-channels")
    user.applies()
    assert user.panel.logic.run.volumes == (first, second)
    assert user.ui.resultTable.rowCount == 2
    assert user.ui.segmentComboBox.count == 2
    user.sees("10-two-structures")


def chooses_two_images(user):
    """Opens the module with a model of two channels and an image for each; the second one comes back."""
    user.loads("T2")
    second = user.loads("ADC")
    user.opens()
    user.parameters.model = "two"
    user.looks()
    user.panel.input.channels.selectors[0].setCurrentNode(second)
    user.looks()
    return second


def test_the_second_image_is_restored_with_the_scene(user, tmp_path):
    chooses_two_images(user)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    user.looks()
    assert user.panel.input.channels.selectors[0].currentNode().GetName() == "ADC"
    assert user.panel.input.volumes()[0].GetName() == "T2"


def test_going_back_to_one_channel_takes_the_second_selector_away(user):
    user.loads()
    user.opens()
    user.parameters.model = "two"
    user.looks()
    user.parameters.model = "tiny"
    user.looks()
    assert not user.panel.input.channels.selectors
    assert not user.ui.channelsWidget.isVisible()
    assert user.ui.applyButton.enabled


def test_a_scene_that_is_added_leaves_the_second_image_chosen(user, tmp_path):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", "a note")
    slicer.util.saveScene(str(tmp_path / "note.mrb"))
    slicer.mrmlScene.Clear(0)
    second = chooses_two_images(user)
    slicer.util.loadScene(str(tmp_path / "note.mrb"))
    user.looks()
    assert [volume.GetName() for volume in user.panel.input.volumes()] == ["T2", "ADC"]
    assert user.panel.input.channels.selectors[0].currentNode() is second
