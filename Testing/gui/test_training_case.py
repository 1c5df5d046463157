"""A user keeps a corrected result for training: a case that the trainer reads, or nothing at all."""

import json
from dataclasses import replace

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from gui.panel_kit import SEGMENT


def reviewed(user) -> None:
    for row in range(user.ui.sliceTable.rowCount):
        user.ui.sliceTable.item(row, 3).setCheckState(qt.Qt.Checked)
    user.looks()


def nodes(kind: str) -> list[str]:
    return [node.GetID() for node in slicer.util.getNodesByClass(kind)]


def typed(name: str):
    """Types a name over the one that is offered."""

    def work(dialog) -> int:
        assert dialog.textValue()
        assert "does not identify the patient" in dialog.labelText()
        dialog.setTextValue(name)
        return 1

    return work


def keeps(user, folder, name: str, *before) -> list[str]:
    """Presses the button and answers; the texts of the dialogs that were shown."""
    user.host.dialogs.answer(*before, str(folder), typed(name))
    user.ui.keepCaseButton.click()
    return [shown.text for shown in user.host.dialogs.take()]


def test_what_was_corrected_is_what_is_kept(done, tmp_path):
    from csam.training.dataset import read_dataset
    from CSAMSegmentLib.logic.volume_geometry import image_from_volume

    truth, displays = done.paints(2), nodes("vtkMRMLLabelMapVolumeDisplayNode")
    reviewed(done)
    assert not keeps(done, tmp_path / "hearts", "case001")[-1]
    data = read_dataset(tmp_path / "hearts")
    assert (data.channels, data.labels, data.patients) == (("cine",), ("Left ventricle cavity",), ["case001"])
    [image], labels = data.cases[0].read()
    wanted = image_from_volume(done.volume)
    np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (image, wanted)))
    for part in ("Direction", "Spacing", "Origin"):
        np.testing.assert_allclose(*(getattr(one, f"Get{part}")() for one in (image, wanted)), atol=1e-4)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), truth)
    assert nodes("vtkMRMLLabelMapVolumeDisplayNode") == displays
    assert slicer.app.userSettings().value("CSAMSegment/TrainingFolder", "") == str(tmp_path / "hearts")


def test_the_same_result_is_offered_the_name_it_had_and_replaces_its_case_when_that_is_meant(done, tmp_path):
    reviewed(done)
    folder, offered = tmp_path / "hearts", []
    keeps(done, folder, "p1_1")
    before = (folder / "labelsTr" / "p1_1.nii.gz").read_bytes()
    truth = done.paints(3)
    done.looks()

    def accept(dialog) -> int:
        offered.append(dialog.textValue())
        return 1

    for answer in (qt.QMessageBox.Cancel, qt.QMessageBox.Ok):
        assert (folder / "labelsTr" / "p1_1.nii.gz").read_bytes() == before
        done.host.dialogs.answer(str(folder), accept, answer)
        done.ui.keepCaseButton.click()
        said = [shown.text for shown in done.host.dialogs.take()]
        assert said[-1] == "The data set has a case p1_1 already. Replace it?"
    assert offered == ["p1_1", "p1_1"]
    labels = sitk.ReadImage(str(folder / "labelsTr" / "p1_1.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), truth)


def test_of_slices_that_nobody_ticked_it_is_asked(done, tmp_path):
    folder = tmp_path / "hearts"
    done.host.dialogs.answer(qt.QMessageBox.Cancel)
    done.ui.keepCaseButton.click()
    assert done.is_told().startswith("6 of 6 slices are not ticked as reviewed")
    assert not folder.exists()
    keeps(done, folder, "case001", qt.QMessageBox.Ok)
    assert (folder / "labelsTr" / "case001.nii.gz").is_file()


def test_of_a_result_of_which_some_slices_are_reviewed_these_alone_can_be_kept(done, tmp_path):
    from csam.image.unknown import UNKNOWN
    from csam.training.dataset import read_dataset

    truth = done.paints(2)
    item = done.ui.sliceTable.item(1, 3)
    item.setCheckState(qt.Qt.Checked)
    done.looks()
    index = int(done.ui.sliceTable.item(1, 1).text()) - 1
    done.ui.reviewedOnlyCheckBox.setChecked(True)
    assert not keeps(done, tmp_path / "hearts", "case001")[-1]
    data = read_dataset(tmp_path / "hearts")
    labels = sitk.GetArrayFromImage(data.cases[0].read()[1])
    known = [k for k in range(len(labels)) if (labels[k] != UNKNOWN).any()]
    assert known == [index]
    np.testing.assert_array_equal(labels[index], truth[index])


def test_where_nothing_is_reviewed_nothing_is_known_and_that_is_told(done, tmp_path):
    done.ui.reviewedOnlyCheckBox.setChecked(True)
    assert refuses(done).startswith("No slice is ticked as reviewed, so there is nothing to learn from.")


@pytest.mark.parametrize("answers", [("",), ("FOLDER", 0), ("FOLDER", typed(" "))], ids=["no folder", "no", "no name"])
def test_a_cancelled_dialog_keeps_nothing(done, tmp_path, answers):
    reviewed(done)
    folder = tmp_path / "hearts"
    done.host.dialogs.answer(*(str(folder) if answer == "FOLDER" else answer for answer in answers))
    done.ui.keepCaseButton.click()
    done.host.dialogs.take()
    assert not folder.exists()


def refuses(user) -> str:
    """Presses the button; nothing is asked, and this is said."""
    user.ui.keepCaseButton.click()
    return user.is_told()


def test_a_result_of_another_model_is_not_kept_as_this_ones(done):
    done.parameters.model = "two"
    done.looks()
    assert refuses(done) == 'This is the result of the model "tiny". Choose that model to keep it.'


def test_a_result_of_another_image_is_not_kept_as_this_ones(done, monkeypatch):
    other = done.loads("other")
    monkeypatch.setattr(done.panel.input, "volumes", lambda: [other])
    assert refuses(done) == "This is the result of the images: cine. Choose these again to keep it."


def test_a_result_of_a_region_is_not_kept_as_that_of_the_whole_image(done, tmp_path):
    region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    done.parameters.region = region
    done.looks()
    done.panel.input._onRegionAdded(region)
    done.applies()
    assert refuses(done).startswith("Only a region was segmented")


@pytest.mark.parametrize(
    "damage", [{"provenance": None}, {"provenance": {"options": 5}}, {"further_images": "ab"}], ids=str
)
def test_a_report_that_is_damaged_keeps_nobody_from_keeping_the_case(done, tmp_path, damage):
    from CSAMSegmentLib.logic.result_nodes import REPORT
    from CSAMSegmentLib.widgets.training_case import save_case

    result = done.panel._find()
    result.volumes.SetAttribute(REPORT, json.dumps(result.report() | damage))
    assert save_case(result, [done.volume], done.panel.input.model, tmp_path / "hearts", "a") == 1
    assert str(tmp_path) not in result.volumes.GetAttribute("CSAMSegment.Case")


def test_a_result_whose_image_has_gone_is_told(done):
    from CSAMSegmentLib.widgets.training_case import check_case

    result, model = done.panel._find(), done.panel.input.model
    slicer.mrmlScene.RemoveNode(done.volume)
    with pytest.raises(ValueError, match="no longer in the scene"):
        check_case(result, [None], model)


def test_a_folder_that_cannot_be_used_is_told_before_a_name_is_asked_for(done, tmp_path):
    reviewed(done)
    (tmp_path / "letter.txt").write_text("Dear ...")
    done.host.dialogs.answer(str(tmp_path))
    done.ui.keepCaseButton.click()
    assert "holds other files and no dataset.json" in done.host.dialogs.take()[-1].text


def test_a_name_that_makes_one_patient_of_several_is_asked_about(done, tmp_path):
    reviewed(done)
    folder = tmp_path / "hearts"
    for name in ("heart_1", "heart_2"):
        keeps(done, folder, name)
    done.host.dialogs.answer(str(folder), typed("other"), qt.QMessageBox.Cancel)
    done.ui.keepCaseButton.click()
    said = done.host.dialogs.take()[-1].text
    assert said.endswith("the cases so far count as those of 1 patient(s) instead of 2. Use this name?")
    assert not (folder / "labelsTr" / "other.nii.gz").exists()


def test_a_name_that_no_file_can_have_is_told(done, tmp_path):
    reviewed(done)
    assert "'Smith, John' is no name for a case" in keeps(done, tmp_path / "hearts", "Smith, John")[-1]


def test_a_name_given_in_one_data_set_is_not_offered_in_another(done, tmp_path):
    reviewed(done)
    offered = []
    for folder in ("a", "b", "a"):
        done.host.dialogs.answer(str(tmp_path / folder), lambda dialog: offered.append(dialog.textValue()) or 0)
        done.ui.keepCaseButton.click()
        done.host.dialogs.take()
        if len(offered) == 1:
            keeps(done, tmp_path / "a", "p1_1")
    assert offered[2] == "p1_1"
    assert not {"p1_1"} & {*offered[:2]}


def test_a_segment_that_cannot_be_read_is_told(done, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("Export of segment failed.")

    monkeypatch.setattr(slicer.util, "arrayFromSegmentBinaryLabelmap", fails)
    assert refuses(done) == "A segment's voxels cannot be read: Export of segment failed."


def test_without_a_result_there_is_nothing_to_keep(user):
    user.loads()
    user.opens()
    assert not user.ui.keepCaseButton.enabled


def test_the_labels_of_a_data_set_go_by_their_values(done, tmp_path):
    from gui.panel_kit import make_model

    from csam.model import Label
    from CSAMSegmentLib.widgets.training_case import open_collection

    model = make_model("three", labels=("a", "b", "c"))
    mixed = replace(
        model, labels=tuple(Label(value, name, (9, 9, 9)) for name, value in (("c", 3), ("a", 1), ("b", 2)))
    )
    assert open_collection(tmp_path / "set", mixed).info["labels"] == {"background": 0, "a": 1, "b": 2, "c": 3}


def test_a_deleted_segment_is_asked_about_and_then_a_structure_that_is_not_there(done, tmp_path):
    done.parameters.segmentation.GetSegmentation().RemoveSegment(SEGMENT)
    reviewed(done)
    said = keeps(done, tmp_path / "hearts", "case001", qt.QMessageBox.Ok)
    assert said[0].startswith('The segment "Left ventricle cavity" is missing.')
    labels = sitk.ReadImage(str(tmp_path / "hearts" / "labelsTr" / "case001.nii.gz"))
    assert not sitk.GetArrayFromImage(labels).any()


def test_two_channels_are_kept_in_their_order_and_overlapping_segments_refused(user, tmp_path):
    from csam.training.dataset import read_dataset
    from CSAMSegmentLib.widgets import training_case

    first = user.loads("T2")
    second = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, first, "ADC")
    slicer.util.updateVolumeFromArray(second, slicer.util.arrayFromVolume(first) + 5)
    user.opens()
    user.parameters.model = "two"
    user.looks()
    user.panel.input.channels.selectors[0].setCurrentNode(second)
    user.looks()
    user.applies()
    reviewed(user)
    keeps(user, tmp_path / "prostates", "p1_1")
    [case] = read_dataset(tmp_path / "prostates").cases
    (t2, adc), truth = case.read()
    assert (sitk.GetArrayFromImage(adc) - sitk.GetArrayFromImage(t2) == 5).all()
    node = user.parameters.segmentation
    one, other = (f"CSAMSegment_two_{value}" for value in (1, 2))
    for identifier, value in ((one, 1), (other, 2)):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, first) > 0
        assert (mask == (sitk.GetArrayFromImage(truth) == value)).all()
        mask[0] = True
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, identifier, first)
    user.looks()
    assert refuses(user).startswith('The segments "Transition zone" and "Peripheral zone" overlap')
    assert len(read_dataset(tmp_path / "prostates").cases) == 1
    third = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, first, "third")
    third.SetName("ADC")
    user.panel.input.channels.selectors[0].setCurrentNode(third)
    user.looks()
    assert refuses(user) == "This is the result of the images: T2, ADC. Choose these again to keep it."
    check = training_case.check_case
    result, model = user.panel._find(), user.panel.input.model
    second.SetName("renamed")
    check(result, [first, second], model)
    slicer.mrmlScene.RemoveNode(second)
    check(result, [first, third], model)  # a scene that was loaded beside another gives its nodes other IDs
