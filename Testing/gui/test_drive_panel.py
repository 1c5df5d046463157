"""The steps that Testing/slicer/drive_panel.py takes in the application, taken on the host."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
from gui.panel_kit import make_model
from gui.test_learn import TRAINER

from csam.model import Measure
from csam.process.line_process import LineProcess
from CSAMSegmentLib.logic import case_import, learning

SCRIPT = Path(__file__).parents[1] / "slicer" / "drive_panel.py"


def test_the_driver_for_the_application_gets_through_the_panel(user, monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("drive_panel", SCRIPT)
    drive_panel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drive_panel)
    driver = drive_panel.Driver(tmp_path / "pictures")
    function = (Measure("ventricular function", {"cavity": 1}),)
    make_model("tiny", title="Tiny heart", measures=function).save(tmp_path / "shipped/tiny")

    def with_mode(step, *modes):
        """The fake worker is slow while a step needs to act in the middle of a run."""
        plain = getattr(driver, step)

        def run():
            user.makes_the_worker(modes[0])
            plain()
            user.makes_the_worker("quick")

        monkeypatch.setattr(driver, step, run)

    apply = driver.apply

    def quick():
        user.makes_the_worker("quick")
        apply()

    monkeypatch.setattr(driver, "apply", quick)
    with_mode("cancel", "slow")
    with_mode("kill", "slow")
    with_mode("function", "oracle")
    beat = driver.beat()
    voxels = [tuple(map(sitk.GetArrayFromImage, (phantom.image, phantom.labels))) for phantom in beat]
    truth = {str(int(image.sum(dtype=np.int64))): (labels == 1).astype(np.uint8) for image, labels in voxels}
    np.savez(user.folder / "truth.npz", **truth)
    monkeypatch.setattr(driver, "beat", lambda: beat)
    volumes = [int(labels.sum()) for labels in truth.values()]
    (user.folder / "trainer").write_text("slow")
    slicer.app.userSettings().setValue("CSAMSegment/ModelFolder", str(tmp_path / "own" / "Models"))

    def start(arguments, take=None):
        return LineProcess([sys.executable, str(TRAINER), str(user.folder), *arguments], dict(os.environ), take)

    for place in (case_import, learning):
        monkeypatch.setattr(place, "start_process", start)
    driver.run()
    said = capsys.readouterr().out
    steps = (
        "ready: NVIDIA Test GPU",
        "cancelled after 0.",
        "killed: The worker ended",
        "saved and loaded",
        "test-time augmentation: ",
        "second run, and the first restored",
        "region: Inside the region",
        "the rest updated: Done.",
        "filled: Done. Look at slice",
        "taken back",
        f"function: EF {100 * (1 - min(volumes) / max(volumes)):.1f} %",
        "end systole corrected: ",
        "height and weight: SV per body surface area",
        "figures after loading: ",
        "Frame 2 of 6: Done. Look at slice",
        "Frame 3 of 6: Carried. Look at slice",
        "batch: 3 done, 1 failed, 0 to do",
        "opened from the batch: Expected Dice",
        "the next case to draw: scan",
        "imported: Added: 1; there already: 0; not added: 1.",
        "corrected: p3, drawn ",
        "plan: • 2 patient(s) for training, 1 for validation: p3.",
        "learning: Learning",
        'paused: A training on "hearts" is not finished',
        'learned: The model "hearts ',
    )
    for words in (*steps, "CSAMSegment_tiny_1", "was edited: "):
        assert words in said
    assert len(list((tmp_path / "pictures").glob("*.png"))) == driver.pictures
    assert slicer.util.selectedModule() == "CSAMSegment"
