"""The steps that Testing/slicer/drive_effect.py takes in the application, taken on the host."""

import importlib.util
import sys
from pathlib import Path

import slicer

SCRIPT = Path(__file__).parents[1] / "slicer" / "drive_effect.py"


def test_the_driver_for_the_application_gets_through_the_effect(user, monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("drive_effect", SCRIPT)
    drive_effect = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drive_effect)
    driver = drive_effect.EffectDriver(tmp_path / "pictures")

    def with_mode(step, mode):
        """The fake worker is slow while a step needs to act in the middle of a run."""
        plain = getattr(driver, step)

        def run():
            user.makes_the_worker(mode)
            plain()
            user.makes_the_worker("quick")

        monkeypatch.setattr(driver, step, run)

    with_mode("cancel", "slow")
    with_mode("leave", "slow")
    driver.run()
    said = capsys.readouterr().out
    for words in ("previewed: 4 slices", "undone: Slices 3, 5, 6 and 9", "cancelled after 0.", "saved and loaded: "):
        assert words in said
    assert len(list((tmp_path / "pictures").glob("*.png"))) == driver.pictures
    assert slicer.util.selectedModule() == "Data"
    sys.modules["CSAMSegmentLib.widgets.fill_worker"].close_own_worker()
