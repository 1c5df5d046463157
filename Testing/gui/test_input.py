"""Images that cannot be run, or fit no longer, are told before Apply; what is no longer chosen is let go."""

import numpy as np
import pytest
import slicer
import vtk
from gui.panel_kit import make_model


@pytest.fixture
def two(user):
    """A user with the model of two channels and one image in the first."""
    user.loads("T2")
    user.opens()
    user.parameters.model = "two"
    user.looks()
    return user


def second(user, volume) -> None:
    user.panel.input.channels.selectors[0].setCurrentNode(volume)
    user.looks()


def another(user):
    """A second image on the grid of the first."""
    volume = user.loads("ADC")
    slicer.util.arrayFromVolume(volume)[:] //= 2
    return volume


def moved(volume, matrix):
    """The volume under a new linear transform."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
    volume.SetAndObserveTransformNodeID(node.GetID())
    return node


# Several channels -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [{"slices": 5}, {"spacing": (4.0, 4.0, 7.0)}], ids=["size", "spacing"])
def test_channels_on_different_grids_cannot_be_run(two, other):
    second(two, two.loads("ADC", **other))
    assert "does not lie on the grid of channel 1" in two.ui.fitLabel.text
    assert not two.ui.applyButton.enabled


def test_a_channel_that_is_moved_away_from_the_other_cannot_be_run(two):
    adc = another(two)
    second(two, adc)
    assert two.ui.applyButton.enabled
    shifted = np.eye(4)
    shifted[0, 3] = 20.0
    moved(adc, shifted)
    two.looks()
    assert "does not lie on the grid of channel 1" in two.ui.applyButton.toolTip


def test_the_same_image_for_both_channels_is_said(two):
    second(two, two.volume)
    assert "T2 and ADC are the same image" in two.ui.fitLabel.text
    assert two.ui.applyButton.enabled
    second(two, another(two))
    assert "same image" not in two.ui.fitLabel.text
    assert two.ui.applyButton.enabled


# What is no image, or not yet -----------------------------------------------------------------------------------------


def test_a_map_of_a_result_is_no_image(user):
    user.loads()
    user.opens().applies()
    user.parameters.inputVolume = user.nodes["entropy"]
    user.looks()
    assert user.ui.applyButton.toolTip == (
        '"cine entropy" is a map of a result, not an image. Choose the image that was segmented.'
    )
    assert not user.ui.applyButton.enabled


def test_a_long_name_in_a_message_makes_the_panel_no_wider(user):
    user.loads("sub-0123_ses-01_acq-" + "shortaxis" * 15).SetAttribute("CSAMSegment.Role", "entropy")
    user.opens()
    user.parameters.inputVolume = user.volume
    user.looks(0.3)
    assert "is a map of a result" in user.ui.fitLabel.text
    user.sees("37-long-name")


def test_an_image_under_a_transform_that_bends_space_can_be_run_and_it_is_said(user):
    user.loads()
    user.opens()
    spline, landmarks = vtk.vtkThinPlateSplineTransform(), [vtk.vtkPoints(), vtk.vtkPoints()]
    for corner in ((0, 0, 0), (90, 0, 0), (0, 90, 0), (0, 0, 90), (90, 90, 50)):
        landmarks[0].InsertNextPoint(corner)
        landmarks[1].InsertNextPoint(corner[0], corner[1], corner[2] + corner[0] * corner[1] / 1000)
    spline.SetSourceLandmarks(landmarks[0])
    spline.SetTargetLandmarks(landmarks[1])
    spline.SetBasisToR()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "Bent")
    node.SetAndObserveTransformToParent(spline)
    user.volume.SetAndObserveTransformNodeID(node.GetID())
    user.looks()
    assert user.ui.applyButton.enabled
    assert "bends the grid of the image" in user.ui.fitLabel.text
    user.applies()
    assert user.parameters.segmentation.GetTransformNodeID() == node.GetID()
    assert "bends the grid of the image" in user.ui.warningsLabel.text


def test_an_empty_image_can_be_run_once_it_is_filled(user):
    full = user.loads()
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "arrives")
    user.opens()
    user.parameters.inputVolume = empty
    user.looks()
    assert not user.ui.applyButton.enabled
    empty.CopyOrientation(full)
    empty.SetAndObserveImageData(full.GetImageData())
    user.looks()
    assert user.ui.applyButton.enabled
    assert "The image fits" in user.ui.fitLabel.text


def test_a_transform_that_is_edited_later_is_looked_at_again(user):
    user.loads()
    user.opens()
    node = moved(user.volume, np.eye(4))
    user.looks()
    assert "The image fits" in user.ui.fitLabel.text
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([2.0, 1, 1, 1])))
    user.looks()
    assert "stretches or shears" in user.ui.fitLabel.text
    assert not user.ui.applyButton.enabled
    node.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
    user.looks()
    assert "The image fits" in user.ui.fitLabel.text
    assert user.ui.applyButton.enabled


def test_a_rotation_is_compared_with_the_planes_of_the_model_again(user):
    from dataclasses import replace

    volume = user.loads()
    directions = np.zeros((3, 3))
    volume.GetIJKToRASDirections(directions)
    upright, lying = np.eye(4), np.eye(4)
    upright[:3, :3] = np.linalg.inv(directions)
    lying[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    replace(make_model("planes"), slice_axis="axial").save(user.folder / "shipped" / "planes")
    user.opens()
    user.parameters.model = "planes"
    node = moved(volume, upright)
    user.looks()
    assert "The image fits" in user.ui.fitLabel.text
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(lying @ upright))
    user.looks()
    assert "Slices are 4 mm apart; the model was trained on 8 mm." in user.ui.fitLabel.text


# Letting go -----------------------------------------------------------------------------------------------------------


def watched(volume) -> bool:
    return bool(volume.HasObserver(slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent))


def test_only_chosen_images_are_watched(two):
    adc = two.loads("ADC")
    second(two, adc)
    assert watched(two.volume)
    assert watched(adc)
    second(two, None)
    assert not watched(adc)
    two.parameters.inputVolume = adc
    two.looks()
    assert watched(adc)
    assert not watched(two.volume)
    two.panel.setParameters(None)
    assert not watched(adc)


def test_a_deleted_image_is_let_go_at_once(two):
    adc = two.loads("ADC")
    second(two, adc)
    for volume in (adc, two.volume):
        slicer.mrmlScene.RemoveNode(volume)
        assert not watched(volume)
    two.looks()


def test_no_image_outlives_its_scene(user):
    user.loads()
    user.opens()
    volume, user.volume = user.volume, None
    gone = []
    volume.AddObserver(vtk.vtkCommand.DeleteEvent, lambda *_event: gone.append(True))
    slicer.mrmlScene.Clear(0)
    user.looks()
    assert not watched(volume)
    del volume
    assert gone


def test_a_closed_panel_watches_nothing(user):
    user.loads()
    user.opens()
    user.panel.close()
    assert not watched(user.volume)
