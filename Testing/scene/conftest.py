"""A fresh MRML scene for every test, and the small made-up things that go through it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("slicer", reason="slicer-core, the MRML scene without the application, is not installed")

import slicer
import vtk
from host.scene_host import SceneHost

from csam.result import Progress, Result, SliceScore, StructureVolume


@dataclass(frozen=True)
class FakeLabel:
    value: int
    name: str
    color: tuple[int, int, int]
    terminology: dict | None = None


@dataclass(frozen=True)
class FakeModel:
    """The part of csam.model.Model that the Slicer side reads."""

    name: str = "two-chambers"
    title: str = "Two chambers"
    labels: tuple[FakeLabel, ...] = (
        FakeLabel(
            1,
            "Left ventricle",
            (200, 40, 40),
            {
                "category": ["SCT", "123037004", "Anatomical Structure"],
                "type": ["SCT", "87878005", "Left ventricle"],
            },
        ),
        FakeLabel(2, "Right ventricle", (40, 80, 200)),
    )
    channels: tuple = (SimpleNamespace(name="cine", modality="MR"),)
    digest: str = "f" * 64


class FakeJob:
    """A request that says what the test lets it say."""

    def __init__(self, header, images):
        self.header, self.images = header, images
        self.events = []
        self.cancelled = 0

    def poll(self):
        events, self.events = self.events, []
        return events


class FakeClient:
    """The worker's client without a worker. ``answer(job)`` is called for each job; its cancels are counted."""

    def __init__(self, answer=lambda job: None):
        self.answer = answer
        self.jobs = []
        self.closed = False

    def submit(self, header, images):
        job = FakeJob(header, images)
        self.jobs.append(job)
        self.answer(job)
        return job

    def cancel(self, job):
        job.cancelled += 1

    def close(self, wait=True):
        self.closed = True

    def log_lines(self):
        return []


@pytest.fixture
def host():
    """The scene's host; a VTK error or warning in the test fails it."""
    window = slicer.vtkTestingOutputWindow()
    before = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    try:
        with SceneHost() as scene_host:
            yield scene_host
        assert window.GetNumberOfLoggedWarningErrorMessages() == 0, "VTK wrote errors or warnings, see above"
    finally:
        vtk.vtkOutputWindow.SetInstance(before)


@pytest.fixture
def scene(host):
    """A fresh MRML scene, which is slicer.mrmlScene."""
    return host.scene


@pytest.fixture
def volume(host):
    """A stack of 4 slices of 6 x 5 pixels (k, j, i), 1.5 x 1.25 x 8 mm, away from the origin."""
    voxels = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5)
    return host.add_volume(voxels, spacing=(1.5, 1.25, 8.0), origin=(-20.0, 30.0, 5.0))


@pytest.fixture
def model():
    return FakeModel()


def _make_result(volume_node, labels=None, probabilities=False) -> Result:
    from CSAMSegmentLib.logic.result_writer import image_from_volume

    image = image_from_volume(volume_node)
    shape = image.GetSize()[::-1]
    if labels is None:
        labels = np.zeros(shape, np.uint8)
        labels[1, : shape[1] // 2, :2] = 1
        labels[-1, -1, -1] = 2

    def like(array, vector=False):
        made = sitk.GetImageFromArray(array, isVector=vector)
        made.CopyInformation(image)
        return made

    error = np.linspace(0, 0.5, labels.size, dtype=np.float32).reshape(shape)
    scores = [
        SliceScore(
            index=index,
            expected_wrong_area_mm2=float(error[index].sum()),
            worst_point=image.TransformIndexToPhysicalPoint((0, 0, index)),
            rank=shape[0] - index,
            areas_mm2=(10.0 * index, 1.0),
            reason="the area jumps" if index == shape[0] - 1 else "",
        )
        for index in range(shape[0])
    ]
    return Result(
        labels=like(labels),
        error_probability=like(error),
        entropy=like(error * 1.2),
        mutual_information=like(error / 10),
        probabilities=like(np.stack([1 - error, error, error * 0], -1), vector=True) if probabilities else None,
        slice_axis=2,
        slices=tuple(scores),
        structures=(
            StructureVolume(1, "Left ventricle", 101.5, 100.0, 91.25, 110.0),
            StructureVolume(2, "Right ventricle", 120.0, 121.0, 100.0, 140.0),
        ),
        case_quality=0.93,
        warnings=("Slices are 8 mm apart.",),
        provenance={"model": "two-chambers", "seconds": 1.5},
    )


@pytest.fixture
def make_result():
    """Makes a result on the grid of a volume: two structures, an uncertainty that rises voxel by voxel."""
    return _make_result


@pytest.fixture
def fake():
    """The stand-ins, for tests that make several: fake.Model, fake.Label, fake.Client, fake.Progress."""
    return SimpleNamespace(Model=FakeModel, Label=FakeLabel, Client=FakeClient, Progress=Progress, replace=replace)
