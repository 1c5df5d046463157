"""The module as Slicer lists it: its words, its sample data, its size."""

from pathlib import Path

import numpy as np
import pytest
import slicer
from gui.panel_kit import MODULE

from csam.result import Options

LIBRARY = sorted((MODULE / "CSAMSegmentLib").glob("*.py"))


def test_the_module_says_what_it_is(user):
    parent = user.module
    assert parent.title == "CSAMSegment"
    assert parent.categories == ["Segmentation"]
    assert "where not to trust the result" in parent.helpText
    assert "not a medical device" in parent.helpText
    assert "arXiv 2311.04942" in parent.acknowledgementText
    assert (MODULE / "Resources" / "Icons" / "CSAMSegment.png").is_file()


def test_a_run_from_the_panel_takes_the_usual_options(user):
    user.opens()
    assert user.parameters.samples == user.ui.samplesSlider.value == Options.samples
    assert user.parameters.seed == Options.seed


def test_the_files_are_short():
    assert len((MODULE / "CSAMSegment.py").read_text().splitlines()) < 120
    for path in LIBRARY:
        assert len(path.read_text().splitlines()) <= 400, path.name


def test_the_phantom_is_listed_with_a_picture_and_made_here(user):
    import SampleData

    [source] = slicer.modules.sampleDataSources["CSAMSegment"]
    assert source.sampleName == "CSAM cardiac phantom"
    picture = Path(source.thumbnailFileName).read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(picture[start : start + 4], "big") for start in (16, 20))
    assert (width, height) == (260, 280)
    [volume] = SampleData.SampleDataLogic().click("CSAM cardiac phantom")
    assert volume.GetImageData().GetDimensions() == (256, 256, 12)
    assert volume.GetSpacing() == (1.25, 1.25, 8.0)
    assert not volume.GetDisplayNode().GetAutoWindowLevel()


def test_scripts_get_the_same_phantom(user):
    import SampleData

    made = slicer.util.arrayFromVolume(SampleData.SampleDataLogic().click("CSAM cardiac phantom")[0])
    volume = SampleData.downloadSample("CSAM cardiac phantom")
    assert volume.GetName().startswith("CSAM cardiac phantom")
    assert volume.GetSpacing() == pytest.approx((1.25, 1.25, 8.0))
    assert np.array_equal(slicer.util.arrayFromVolume(volume), made)
    [file] = Path(slicer.app.temporaryPath).glob("*phantom*-made.nrrd")
    before = file.stat().st_mtime_ns
    SampleData.downloadSample("CSAM cardiac phantom")
    assert file.stat().st_mtime_ns == before  # made once


def test_every_tool_tip_says_something(user):
    user.opens()
    silent = []
    for name, widget in vars(user.ui).items():
        if name.endswith(("Button", "Selector", "ComboBox", "CheckBox", "Slider", "SpinBox", "LineEdit", "Table")):
            if name.endswith("CollapsibleButton") or name in ("SpinBox", "Slider", "DoubleSpinBox"):
                continue
            if len(widget.toolTip) < 15:
                silent.append(name)
    assert not silent


def test_no_two_letters_lead_to_different_places(user):
    user.opens()
    letters = {}
    for name, widget in vars(user.ui).items():
        text = getattr(widget, "text", "")
        if isinstance(text, str) and "&" in text:
            letter = text[text.index("&") + 1].lower()
            assert letter not in letters, f"{name} and {letters[letter]} both take Alt+{letter}"
            letters[letter] = name
    assert len(letters) > 12
    assert not set("fevh") & set(letters), "these open Slicer's own menus"
