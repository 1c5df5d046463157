"""Frames of a sequence: a filling is of the frame on which it was asked for, and a carry that fails leaves no trace."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer
from unit.small_fill import ROD, model, rod

from csam.errors import InputError
from csam.interactive import tuning
from csam.interactive.drawing import FillOptions
from csam.interactive.fill import fill
from csam.process.model_cache import ModelCache
from csam.process.protocol import pack_images, unpack_images
from CSAMSegmentLib.logic.carry import plan_carry
from CSAMSegmentLib.logic.fill_run import plan_fill
from CSAMSegmentLib.logic.module_logic import CSAMSegmentLogic
from CSAMSegmentLib.logic.new_structure import add_structure
from CSAMSegmentLib.logic.segment_voxels import segment_voxels

COUNT, DRAWN = 3, [1, 5]
TRUTH = [np.roll(rod(), 2 * number, 2) for number in range(COUNT)]


class Beat:
    """A rod that moves over the frames of a sequence, drawn on each; the second one is shown."""

    def __init__(self, host):
        sequence = host.scene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
        sequence.SetIndexName("time")
        for number, truth in enumerate(TRUTH):
            noise = np.random.default_rng(number).normal(0, 20, truth.shape)
            volume = host.add_volume((300 + 300.0 * truth + noise).astype(np.int16), spacing=(1.5, 1.5, 8.0))
            sequence.SetDataNodeAtValue(volume, f"{40 * number}")
            host.scene.RemoveNode(volume)
        self.browser = host.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
        self.browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)
        self.volume = self.browser.GetProxyNode(sequence)
        self.show(1)
        self.segmentation, self.segment = add_structure(self.volume)
        for number in range(COUNT):
            self.show(number)
            self.draw(self.segment, *DRAWN)
        self.show(1)

    def show(self, number: int) -> None:
        self.browser.SetSelectedItemNumber(number)

    def draw(self, segment: str, *slices: int) -> None:
        """The rod of the frame that is shown, in some slices."""
        voxels = np.zeros_like(TRUTH[0])
        voxels[[*slices]] = TRUTH[self.browser.GetSelectedItemNumber()][[*slices]]
        slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, self.segmentation, segment, self.volume)

    def voxels(self, segment: str = "") -> np.ndarray:
        return segment_voxels(self.segmentation, segment or self.segment, self.volume)

    def contents(self) -> list[dict]:
        """Every segment of every frame."""
        shown, found = self.browser.GetSelectedItemNumber(), []
        for number in range(COUNT):
            self.show(number)
            content = self.segmentation.GetSegmentation()
            found.append({one: self.voxels(one).tobytes() for one in content.GetSegmentIDs()})
        self.show(shown)
        return found

    def plan(self):
        return plan_fill(self.volume, self.segmentation, [self.segment], DRAWN, FillOptions(device="cpu"))


@pytest.fixture
def beat(host):
    return Beat(host)


def filled(beat, *numbers: int) -> np.ndarray:
    """The error probability of the last of these frames, all filled by one worker, one after the other."""
    models, network = ModelCache(), model()
    for number in numbers:
        beat.show(number)
        header, images = beat.plan().request()
        specs, buffers = pack_images(images)
        images = unpack_images(specs, memoryview(b"".join(bytes(one) for one in buffers)))
        case = header["case"], network.sha256
        memory = models.memory(case, lambda _request: False)
        result = fill(images["0"], images["drawn"], ROD, network, FillOptions(device="cpu"), memory=memory)
        assert memory
        models.keep_memory(number, case, memory)
    return sitk.GetArrayFromImage(result.error_probability)


def test_what_was_learned_on_one_frame_does_not_change_the_filling_of_another(beat, monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 3)
    assert np.array_equal(filled(beat, 1, 2), filled(beat, 2))


def test_a_filling_is_of_the_frame_on_which_it_was_asked_for(beat, fake):
    client = fake.Client()
    plan = beat.plan()
    image = slicer.util.arrayFromVolume(beat.volume).copy()
    beat.show(2)
    CSAMSegmentLogic(lambda: client).startFill(plan)
    assert beat.browser.GetSelectedItemNumber() == 1
    assert np.array_equal(client.jobs[0].images["0"].voxels, image)


def test_a_filling_that_is_refused_leaves_the_frame_that_is_shown(beat, fake):
    client = fake.Client()
    plan = beat.plan()
    beat.draw(beat.segment, 1, 3, 5)
    beat.show(2)
    with pytest.raises(InputError, match="was changed while it was being filled"):
        CSAMSegmentLogic(lambda: client).startFill(plan)
    assert beat.browser.GetSelectedItemNumber() == 2
    assert not client.jobs


def test_a_filling_whose_frames_were_changed_says_so(beat, fake):
    client = fake.Client()
    plan = beat.plan()
    beat.show(2)
    beat.browser.GetMasterSequenceNode().RemoveDataNodeAtValue("0")
    shown = beat.browser.GetSelectedItemNumber()
    with pytest.raises(InputError, match="frames of the sequence were changed"):
        CSAMSegmentLogic(lambda: client).startFill(plan)
    assert beat.browser.GetSelectedItemNumber() == shown
    assert not client.jobs


def test_a_filling_of_an_image_that_joined_a_sequence_says_so(beat):
    plan = replace(beat.plan(), item=None, frame=None)
    with pytest.raises(InputError, match="became a frame of a sequence"):
        plan.check_unchanged()


def test_a_filling_of_an_image_that_was_removed_says_so(beat, fake):
    plan = beat.plan()
    slicer.mrmlScene.RemoveNode(beat.volume)
    with pytest.raises(InputError, match=r'The image ".*" was removed while it was being filled'):
        CSAMSegmentLogic(fake.Client).startFill(plan)


def test_a_carry_that_comes_to_nothing_leaves_the_segments_of_every_frame_as_they_were(beat):
    added = beat.segmentation.GetSegmentation().AddEmptySegment("", "On this frame alone")
    beat.draw(added, 3)
    before = beat.contents()
    update = plan_carry(beat.volume, beat.segmentation, [beat.segment, added], FillOptions())
    assert beat.browser.GetSelectedItemNumber() == 2
    update.undo()
    assert beat.browser.GetSelectedItemNumber() == 1
    assert beat.contents() == before


def test_what_is_drawn_on_a_third_frame_during_a_carry_that_comes_to_nothing_stays(beat):
    added = beat.segmentation.GetSegmentation().AddEmptySegment("", "On this frame alone")
    beat.draw(added, 3)
    update = plan_carry(beat.volume, beat.segmentation, [added], FillOptions())
    beat.show(0)
    beat.draw(added, 2)
    update.undo()
    beat.show(0)
    assert np.array_equal(beat.voxels(added)[2], TRUTH[0][2] > 0)
