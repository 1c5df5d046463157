"""The module as Slicer lists it: its words, its sample data, its size; and sequences."""

from pathlib import Path

import numpy as np
import pytest
import qt
import slicer
from gui.panel_kit import MODULE

from csam.result import Options

LIBRARY = sorted((MODULE / "CSAMSegmentLib").glob("*.py"))


def test_the_module_says_what_it_is(person):
    parent = person.module
    assert parent.title == "CSAMSegment"
    assert parent.categories == ["Segmentation"]
    assert "where the result is not to be trusted" in parent.helpText
    assert "not a medical device" in parent.helpText
    assert "arXiv 2311.04942" in parent.acknowledgementText
    assert (MODULE / "Resources" / "Icons" / "CSAMSegment.png").is_file()


def test_a_run_from_the_panel_takes_the_usual_options(person):
    person.opens()
    assert person.parameters.samples == person.ui.samplesSlider.value == Options.samples
    assert person.parameters.seed == Options.seed


def test_the_files_are_short():
    assert len((MODULE / "CSAMSegment.py").read_text().splitlines()) < 120
    for path in LIBRARY:
        assert len(path.read_text().splitlines()) <= 400, path.name


def test_the_phantom_is_listed_with_a_picture_and_made_here(person):
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


def test_scripts_get_the_same_phantom(person):
    import SampleData

    made = slicer.util.arrayFromVolume(SampleData.SampleDataLogic().click("CSAM cardiac phantom")[0])
    volume = SampleData.downloadSample("CSAM cardiac phantom")
    assert volume.GetName().startswith("CSAM cardiac phantom")
    assert volume.GetSpacing() == pytest.approx((1.25, 1.25, 8.0))
    assert np.array_equal(slicer.util.arrayFromVolume(volume), made)


def test_every_tool_tip_says_something(person):
    person.opens()
    silent = []
    for name, widget in vars(person.ui).items():
        if name.endswith(("Button", "Selector", "ComboBox", "CheckBox", "Slider", "SpinBox", "LineEdit", "Table")):
            if name.endswith("CollapsibleButton") or name in ("SpinBox", "Slider", "DoubleSpinBox"):
                continue
            if len(widget.toolTip) < 15:
                silent.append(name)
    assert not silent


def test_no_two_letters_lead_to_different_places(person):
    person.opens()
    letters = {}
    for name, widget in vars(person.ui).items():
        text = getattr(widget, "text", "")
        if isinstance(text, str) and "&" in text:
            letter = text[text.index("&") + 1].lower()
            assert letter not in letters, f"{name} and {letters[letter]} both take Alt+{letter}"
            letters[letter] = name
    assert len(letters) > 12
    assert not set("fevh") & set(letters), "these open Slicer's own menus"


def make_sequence(person, count: int = 3):
    """A sequence of a stack at several times with its browser; the proxy volume comes back."""
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "beat")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("ms")
    for number in range(count):
        volume = person.loads(f"phase {number}", seed=number)
        sequence.SetDataNodeAtValue(volume, str(40 * number))
        slicer.mrmlScene.RemoveNode(volume)
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.SetSelectedItemNumber(1)
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
    return browser, browser.GetProxyNode(sequence)


def test_a_sequence_gives_sequences_of_results(person, monkeypatch):
    browser, proxy = make_sequence(person)
    person.opens()
    start, sent = person.panel.logic.start, []
    monkeypatch.setattr(
        person.panel.logic,
        "start",
        lambda volumes, *more: sent.append(slicer.util.arrayFromVolume(volumes[0]).copy()) or start(volumes, *more),
    )
    person.parameters.inputVolume = proxy
    person.looks()
    assert person.ui.wholeSequenceCheckBox.isVisible()
    assert person.ui.wholeSequenceCheckBox.text == "All 3 images of the &sequence"
    person.ui.wholeSequenceCheckBox.click()
    person.looks()
    person.sees("11-sequence")
    person.applies()
    images = [browser.GetMasterSequenceNode().GetNthDataNode(number) for number in range(3)]
    assert all(map(np.array_equal, sent, map(slicer.util.arrayFromVolume, images)))
    assert not np.array_equal(sent[0], sent[1])
    sequences = slicer.util.getNodesByClass("vtkMRMLSequenceNode")
    assert len(sequences) == 7  # the images, the segmentation, three maps, two tables
    for sequence in sequences:
        assert sequence.GetNumberOfDataNodes() == 3
        assert [sequence.GetNthIndexValue(number) for number in range(3)] == ["0", "40", "80"]
        assert browser.IsSynchronizedSequenceNodeID(sequence.GetID(), True)
    assert browser.GetSelectedItemNumber() == 1
    maps = [sequence for sequence in sequences if sequence.GetName() == person.nodes["error_probability"].GetName()]
    assert maps
    assert person.ui.sliceTable.rowCount == 6


def test_the_results_of_a_sequence_follow_its_browser(person):
    browser, proxy = make_sequence(person)
    person.opens()
    person.parameters.inputVolume = proxy
    person.parameters.wholeSequence = True
    person.looks()
    person.applies()
    shown = []
    for number in range(3):
        browser.SetSelectedItemNumber(number)
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)
        shown.append(slicer.util.arrayFromVolume(person.nodes["error_probability"]).copy())
        person.looks()
        assert person.ui.reviewedLabel.text == "0 of 6 slices reviewed"
        person.ui.sliceTable.item(number, 3).setCheckState(qt.Qt.Checked)
        person.looks()
        assert person.ui.reviewedLabel.text == "1 of 6 slices reviewed"
        assert person.parameters.segmentation.GetSegmentation().GetNumberOfSegments() == 1
    assert all(np.isfinite(values).all() for values in shown)


def test_a_cancelled_sequence_leaves_the_scene_as_it_was(person):
    browser, proxy = make_sequence(person)
    person.opens()
    person.parameters.inputVolume = proxy
    person.parameters.wholeSequence = True
    person.looks()
    before = slicer.mrmlScene.GetNumberOfNodes()
    person.makes_the_worker("quick")
    person.ui.applyButton.click()
    person.until(lambda: person.panel.runner._active is not None and person.panel.runner._active._item == 1)
    person.makes_the_worker("slow")
    person.cancels()
    person.looks()
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert browser.GetSelectedItemNumber() == 1
    assert person.ui.stageLabel.text == "Cancelled. The scene is as it was."


def test_a_volume_of_its_own_offers_no_sequence(person):
    person.loads()
    person.opens()
    assert not person.ui.wholeSequenceCheckBox.isVisible()
