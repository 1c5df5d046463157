"""What the module tests in a running Slicer: the shipped model on the phantom, through the real worker.

Where the worker's Python has no torch, as on the machines that build extensions, the tests that segment are skipped and
the log says so. With CSAM_REQUIRE_TORCH=1 they fail instead.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer

from csam.errors import Cancelled
from csam.image.files import read_image
from csam.pipeline.input_check import check
from csam.result import Options

from .logic.result_nodes import find_outputs, own_matrix
from .logic.result_tables import set_reviewed
from .logic.sample_data import make_phantom_nodes
from .logic.shown_result import find_result
from .logic.volume_geometry import raster_from_volume
from .widgets.training_case import save_case

MODEL = "cardiac-lv"
CAVITY = 1
LEAST_DICE = 0.85
QUICK = Options(samples=4)
REQUIRE_TORCH = "CSAM_REQUIRE_TORCH"
"""Environment variable: 1 says that torch must be there."""


def run(tests: list[Callable], setUp: Callable, show: Callable) -> str:
    """Run tests in order; what is skipped stands in the log as a warning. Returns the last line for the user.

    setUp: called before each test. show: shows one line. Raises AssertionError where a test fails.
    """
    skipped = []
    for test in tests:
        setUp()
        show(test.__doc__)
        try:
            test()
        except unittest.SkipTest as reason:
            skipped.append(test.__doc__)
            logging.warning("CSAMSegment self-test SKIPPED: %s. %s", test.__doc__, reason)
    if not skipped:
        return "Test passed"
    return f"Test passed, but {len(skipped)} of {len(tests)} parts were SKIPPED, because they need PyTorch; see the log"


def tests(makeLogic: Callable) -> list[Callable]:
    """The tests, each to be called on an empty scene. makeLogic: gives a CSAMSegmentLogic."""

    def test_the_phantom_fits_the_shipped_model():
        """The phantom and the shipped model load, and fit each other"""
        with _open(makeLogic) as logic:
            volume, truth = make_phantom_nodes()
            _path, model = logic.library.find(MODEL)
            assert model.labels, "The shipped model has no structures."
            assert np.any(truth == CAVITY), "The phantom has no ventricle."
            found = check([raster_from_volume(volume)], model)
            assert not found, f"The phantom does not fit the model: {' '.join(found)}"

    def test_the_worker_answers():
        """The worker starts and says which Python runs it"""
        with _open(makeLogic) as logic:
            hello = logic.client.hello()
            assert hello["python"], "The worker does not say which Python runs it."
            assert hello["torch"] or hello["reason"], "The worker has no torch and does not say why."

    def test_the_worker_has_torch():
        """The worker can import torch and has a device"""
        with _inference(makeLogic) as logic:
            assert logic.client.hello()["devices"], "The worker has torch but no device."

    def test_the_model_finds_the_ventricle():
        """The shipped model finds the ventricle of the phantom"""
        with _inference(makeLogic) as logic:
            volume, truth = make_phantom_nodes()
            stages = []
            output = logic.process(volume, MODEL, options=QUICK, progress=stages.append, maps=ALL_MAPS)
            found = slicer.util.arrayFromSegmentBinaryLabelmap(output.segmentation, output.segment_ids[0], volume) > 0
            dice = 2 * np.sum(found & (truth == CAVITY)) / (np.sum(found) + np.sum(truth == CAVITY))
            assert dice >= LEAST_DICE, f"Dice of {dice:.3f} on the phantom; at least {LEAST_DICE} is expected."
            assert stages, "The run reported no progress."
            _check_nodes(volume, output)

    def test_a_cancel_leaves_the_scene_as_it_was():
        """Cancel ends the run soon and leaves the scene as it was"""
        with _inference(makeLogic) as logic:
            volume, _truth = make_phantom_nodes()
            before = _node_ids()
            started = []

            def cancelled():
                started.append(time.monotonic())
                return len(started) > 10

            try:
                logic.process(volume, MODEL, options=Options(samples=200), cancelled=cancelled)
            except Cancelled:
                took = time.monotonic() - started[10]
            else:
                raise AssertionError("A run of 200 samples ended although it was cancelled.")
            assert took < 10, f"The cancel took {took:.1f} s."
            assert _node_ids() == before, "The cancelled run has left nodes in the scene."

    def test_a_saved_scene_brings_the_result_back():
        """A saved scene brings the result, the figures and the ticks back"""
        with _inference(makeLogic) as logic, tempfile.TemporaryDirectory() as folder:
            volume, _truth = make_phantom_nodes()
            output = logic.process(volume, MODEL, options=QUICK, maps=ALL_MAPS)
            set_reviewed(output.slices, 3)
            name = output.segmentation.GetName()
            rows, report = find_result(output.segmentation, MODEL).rows(), find_result(output.segmentation).report()
            path = str(Path(folder) / "scene.mrb")
            assert slicer.util.saveScene(path), "The scene could not be saved."
            slicer.mrmlScene.Clear(0)
            slicer.util.loadScene(path)
            result = find_result(slicer.util.getNode(name), MODEL)
            assert result is not None, "The loaded scene has no result."
            assert [row.number for row in result.rows()] == [row.number for row in rows]
            assert [row.number for row in result.rows() if row.reviewed] == [3]
            assert result.report() == report
            assert result.volume is not None, "The result no longer knows its image."

    def test_a_kept_case_is_what_the_scene_shows():
        """A case kept for training holds the image and the segments as they are"""
        with _inference(makeLogic) as logic, tempfile.TemporaryDirectory() as folder:
            volume, _truth = make_phantom_nodes()
            output = logic.process(volume, MODEL, options=QUICK)
            result, model = find_result(output.segmentation, MODEL), logic.library.find(MODEL)[1]
            assert save_case(result, [volume], model, folder, "case001") == 1
            files = (Path(folder) / part for part in ("imagesTr/case001_0000.nii.gz", "labelsTr/case001.nii.gz"))
            image, labels = (sitk.GetArrayFromImage(read_image(file)) for file in files)
            found = slicer.util.arrayFromSegmentBinaryLabelmap(output.segmentation, output.segment_ids[0], volume) > 0
            assert np.array_equal(image, slicer.util.arrayFromVolume(volume)), "The image is not the scene's."
            assert found.any(), "Nothing was found to be kept."
            assert np.array_equal(labels == CAVITY, found), "The labels are not the segment's."

    return [
        test_the_phantom_fits_the_shipped_model,
        test_the_worker_answers,
        test_the_worker_has_torch,
        test_the_model_finds_the_ventricle,
        test_a_cancel_leaves_the_scene_as_it_was,
        test_a_saved_scene_brings_the_result_back,
        test_a_kept_case_is_what_the_scene_shows,
    ]


ALL_MAPS = ("error_probability", "entropy", "mutual_information")


class _open:
    """A logic whose worker ends with the block."""

    def __init__(self, makeLogic: Callable):
        self._logic = makeLogic()

    def __enter__(self):
        return self._logic

    def __exit__(self, *error) -> None:
        self._logic.close()


class _inference(_open):
    """The same, for what cannot run without torch: skipped there, or failed where torch must be there."""

    def __enter__(self):
        hello = self._logic.client.hello()
        if not hello["torch"]:
            self._logic.close()
            if os.environ.get(REQUIRE_TORCH) == "1":
                raise AssertionError(f"{REQUIRE_TORCH} is 1, but: {hello['reason']}")
            raise unittest.SkipTest(hello["reason"])
        return self._logic


def _check_nodes(volume, output) -> None:
    nodes = find_outputs(output.segmentation, MODEL)
    assert set(nodes) >= {*ALL_MAPS, "volumes", "slices"}, f"Only {sorted(nodes)} were written."
    for kind in ALL_MAPS:
        matrices = [own_matrix(node) for node in (nodes[kind], volume)]
        values = [[matrix.GetElement(row, column) for row in range(4) for column in range(4)] for matrix in matrices]
        assert np.allclose(*values), f"The map {kind} does not lie where the image lies."
        assert nodes[kind].GetImageData().GetScalarTypeAsString() == "float"
    error = slicer.util.arrayFromVolume(nodes["error_probability"])
    assert error.min() >= 0, "An error probability is below 0."
    assert 0 < error.max() <= 1, "The error probability is 0 everywhere, or above 1."
    assert nodes["volumes"].GetTable().GetNumberOfRows() == len(output.segment_ids)
    assert nodes["slices"].GetTable().GetNumberOfRows() == volume.GetImageData().GetDimensions()[2]


def _node_ids() -> set[str]:
    scene = slicer.mrmlScene
    return {scene.GetNthNode(position).GetID() for position in range(scene.GetNumberOfNodes())}
