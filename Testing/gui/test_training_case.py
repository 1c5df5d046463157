"""A person keeps a corrected result for training: a case that the trainer reads, or nothing at all."""

import numpy as np
import pytest
import qt
import SimpleITK as sitk
import slicer
from gui.panel_kit import SEGMENT


def reviewed(person) -> None:
    for row in range(person.ui.sliceTable.rowCount):
        person.ui.sliceTable.item(row, 3).setCheckState(qt.Qt.Checked)
    person.looks()


def typed(name: str):
    """Types a name over the one that is offered."""

    def work(dialog) -> int:
        assert dialog.textValue().startswith("case00")
        assert "not of the patient" in dialog.labelText()
        dialog.setTextValue(name)
        return 1

    return work


def keeps(person, folder, name: str, *before) -> list[str]:
    """Presses the button and answers; the texts of the dialogs that were shown."""
    person.host.dialogs.answer(*before, str(folder), typed(name))
    person.ui.keepCaseButton.click()
    return [shown.text for shown in person.host.dialogs.take()]


def test_what_was_corrected_is_what_is_kept(done, tmp_path):
    from csam.training.dataset import read_dataset
    from CSAMSegmentLib.geometry import image_from_volume

    truth = done.paints(2)
    reviewed(done)
    keeps(done, tmp_path / "hearts", "case001")
    data = read_dataset(tmp_path / "hearts")
    assert (data.channels, data.labels, data.patients) == (("cine",), ("Left ventricle cavity",), ["case001"])
    [image], labels = data.cases[0].read()
    wanted = image_from_volume(done.volume)
    np.testing.assert_array_equal(*map(sitk.GetArrayFromImage, (image, wanted)))
    np.testing.assert_allclose(image.GetDirection(), wanted.GetDirection(), atol=1e-5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), truth)
    keeps(done, tmp_path / "hearts", "case002")
    assert len(read_dataset(tmp_path / "hearts").cases) == 2


def test_of_slices_that_nobody_ticked_it_is_asked(done, tmp_path):
    folder = tmp_path / "hearts"
    done.host.dialogs.answer(qt.QMessageBox.Cancel)
    done.ui.keepCaseButton.click()
    assert done.is_told().startswith("6 of 6 slices are not ticked as reviewed.")
    assert not folder.exists()
    keeps(done, folder, "case001", qt.QMessageBox.Ok)
    assert (folder / "labelsTr" / "case001.nii.gz").is_file()


@pytest.mark.parametrize("answers", [("",), ("FOLDER", 0), ("FOLDER", typed(" "))], ids=["no folder", "no", "no name"])
def test_a_cancelled_dialog_keeps_nothing(done, tmp_path, answers):
    reviewed(done)
    folder = tmp_path / "hearts"
    done.host.dialogs.answer(*(str(folder) if answer == "FOLDER" else answer for answer in answers))
    done.ui.keepCaseButton.click()
    done.host.dialogs.take()
    assert not folder.exists()


def test_a_name_that_is_taken_is_told_and_nothing_is_lost(done, tmp_path):
    reviewed(done)
    folder = tmp_path / "hearts"
    keeps(done, folder, "case001")
    before = (folder / "labelsTr" / "case001.nii.gz").read_bytes()
    done.paints(3)
    done.looks()
    assert "has a case case001 already" in keeps(done, folder, "case001")[-1]
    assert (folder / "labelsTr" / "case001.nii.gz").read_bytes() == before


def test_a_result_of_another_model_or_image_is_not_kept_as_this_ones(done, tmp_path):
    reviewed(done)
    done.parameters.model = "two"
    done.looks()
    assert 'that of the model "tiny"' in keeps(done, tmp_path / "hearts", "case001")[-1]
    assert not (tmp_path / "hearts").exists()


def test_without_a_result_there_is_nothing_to_keep(person):
    person.loads()
    person.opens()
    assert not person.ui.keepCaseButton.enabled


def test_a_deleted_segment_is_a_structure_that_is_not_there(done, tmp_path):
    done.parameters.segmentation.GetSegmentation().RemoveSegment(SEGMENT)
    reviewed(done)
    keeps(done, tmp_path / "hearts", "case001")
    labels = sitk.ReadImage(str(tmp_path / "hearts" / "labelsTr" / "case001.nii.gz"))
    assert not sitk.GetArrayFromImage(labels).any()


def test_two_channels_are_kept_in_their_order_and_overlapping_segments_refused(person, tmp_path):
    from csam.training.dataset import read_dataset

    first = person.loads("T2")
    second = slicer.modules.volumes.logic().CloneVolume(slicer.mrmlScene, first, "ADC")
    slicer.util.updateVolumeFromArray(second, slicer.util.arrayFromVolume(first) + 5)
    person.opens()
    person.parameters.model = "two"
    person.looks()
    person.panel.input._channels[0].setCurrentNode(second)
    person.looks()
    person.applies()
    reviewed(person)
    keeps(person, tmp_path / "prostates", "p1_1")
    [case] = read_dataset(tmp_path / "prostates").cases
    (t2, adc), truth = case.read()
    assert (sitk.GetArrayFromImage(adc) - sitk.GetArrayFromImage(t2) == 5).all()
    node = person.parameters.segmentation
    one, other = (f"CSAMSegment_two_{value}" for value in (1, 2))
    for identifier, value in ((one, 1), (other, 2)):
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, first) > 0
        assert (mask == (sitk.GetArrayFromImage(truth) == value)).all()
        mask[0] = True
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, identifier, first)
    person.looks()
    said = keeps(person, tmp_path / "prostates", "p1_2")[-1]
    assert said.startswith('The segments "Transition zone" and "Peripheral zone" overlap')
    assert len(read_dataset(tmp_path / "prostates").cases) == 1
