"""A series: what measures make of its frames, its tables, and its page."""

import csv
import io
import json
import struct
import zlib
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from csam.errors import InputError
from csam.model import Measure
from csam.phantom.beat import contraction_at
from csam.result import StructureVolume
from csam.sequence.measures import KINDS, Frame, given_names, measured, with_edits
from csam.sequence.page import Page, curve_svg, html_of
from csam.sequence.pictures import OUTLINES, WIDTH, SlicePicture, png_of, slice_pictures
from csam.sequence.record import Record, from_json, to_json
from csam.sequence.tables import FIGURES, VOLUMES, csv_text, described, figure_rows, volume_rows

FUNCTION = Measure("ventricular function", {"cavity": 1, "myocardium": 2})
DENSITY = Measure("volume density", {"structure": 1}, "PSA", "ng/ml")
DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def frames(count: int = 12, jump: int | None = None) -> list[Frame]:
    found = []
    for n in range(count):
        ml = 120 * (1 - 0.55 * contraction_at(n / count)) * (1.5 if n == jump else 1)
        cavity = StructureVolume(1, "Cavity", ml, ml, 0.9 * ml, 1.1 * ml)
        found.append(Frame(n, (cavity, StructureVolume(2, "Myocardium", 90, 90, 80, 100)), f"{40 * n} ms", 0.93))
    return found


def test_ventricular_function_of_a_series():
    [one] = measured(frames(), [FUNCTION], {"EF": 0.5, "SV": 0.3}, {"height": 180, "weight": 80})
    figures = {figure.name: figure for figure in one.figures}
    assert one.marks == {"ED": 0, "ES": 4}
    assert figures["EF"].value == pytest.approx(55, abs=1)
    assert figures["mass"].value == pytest.approx(94.5)
    assert figures["EDV/BSA"].value == pytest.approx(60)
    assert one.warnings == ()
    assert "Papillary muscles" in one.convention


def test_a_frame_that_jumps_is_said_and_left_out():
    [one] = measured(frames(20, jump=13), [FUNCTION])
    assert one.implausible == (13,)
    assert "does not fit those before and after in frame 14 (the first is 1)" in one.warnings[0]
    assert one.marks["ED"] == 0


def test_a_frame_in_which_nothing_was_found_is_said_so():
    series = frames(20)
    series[4] = Frame(4, (StructureVolume(1, "Cavity", 0, 0, 0, 1), *series[4].structures[1:]))
    [one] = measured(series, [FUNCTION])
    assert one.implausible == (4,)
    assert "There is no Cavity in frame 5 (the first is 1). This frame was not taken" in one.warnings[0]


def test_what_the_frames_do_not_allow_is_left_out():
    assert measured(frames()[:1], [FUNCTION]) == ()
    assert measured(frames(), [DENSITY], given={"PSA": 6}) == ()
    assert measured(frames()[:1], [DENSITY]) == ()
    only = [Measure("ventricular function", {"cavity": 1})]
    empty = [Frame(n, (StructureVolume(1, "Cavity", 0, 0, 0, 1),)) for n in range(3)]
    assert measured(empty, only) == ()
    assert measured([*frames()[:1], *empty[1:]], only) == ()  # of one volume no fraction
    assert measured([*frames()[:1], with_edits(frames()[1], {1: 0.0})], only) == ()  # nor where a user has removed it


def test_a_density_has_the_ends_of_the_volume():
    [one] = measured(frames()[:1], [FUNCTION, DENSITY], given={"PSA": 6})
    [figure] = one.figures
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.05, 6 / 132, 6 / 108))
    assert figure.unit == "ng/ml/ml"
    with pytest.raises(InputError, match="PSA is -1"):
        measured(frames()[:1], [DENSITY], given={"PSA": -1})


def test_every_kind_that_a_model_may_offer_is_computed():
    from csam.model.description import MEASURE_KINDS

    assert KINDS.keys() == MEASURE_KINDS.keys()
    assert given_names([FUNCTION, DENSITY]) == ("height", "weight", "PSA")


def test_tables_tell_frames_phases_and_jumps():
    series = frames(20, jump=13)
    found = measured(series, [FUNCTION], {"EF": 0.5, "SV": 0.3})
    rows = [*csv.DictReader(io.StringIO(csv_text(VOLUMES, volume_rows(series, found))))]
    assert len(rows) == 40
    assert (rows[0]["frame"], rows[0]["time"], rows[0]["mark"], rows[0]["volume (ml)"]) == ("1", "0 ms", "ED", "120")
    assert [row["frame"] for row in rows if row["implausible"]] == ["14"]
    assert [row["structure"] for row in rows if row["mark"] == "ES"] == ["Cavity"]
    figures = {row["figure"]: row for row in csv.DictReader(io.StringIO(csv_text(FIGURES, figure_rows(found))))}
    assert float(figures["EF"]["low"]) < float(figures["EF"]["value"]) < float(figures["EF"]["high"])
    told = json.loads(json.dumps(described(series, found)))
    assert told["measures"][0]["marks"] == found[0].marks
    assert len(told["frames"]) == 20


def test_the_page_shows_figures_curve_pictures_and_warnings_and_loads_nothing():
    series = frames(20, jump=13)
    found = measured(series, [FUNCTION])
    image = np.random.default_rng(0).integers(0, 100, (4, 30, 30))
    labels = np.zeros_like(image)
    labels[:, 10:20, 10:20] = 1
    error = np.zeros(image.shape)
    [pixels] = slice_pictures(image, labels, error, (2, 2, 8), DIRECTION, 2, [1])
    pictures = [SlicePicture("<slice> 2", png_of(pixels))]
    page = html_of(Page("Heart & more", ["cine"], series, found, pictures, ["Look."]))
    assert "Heart &amp; more" in page
    assert "&lt;slice&gt; 2" in page
    assert "Ejection fraction" in page
    assert "<td>none</td>" in page
    assert "must not be used to diagnose" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    svg = ElementTree.fromstring(curve_svg(series, found[0]))
    texts = [part.text for part in svg if part.tag.endswith("text")]
    assert "ED" in texts
    assert "ES" in texts
    assert len([part for part in svg if part.tag.endswith("path")]) == 1


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_a_picture_shows_the_slice_with_its_outline_and_its_error(flip):
    image = np.zeros((4, 40, 40), np.int16)
    image[2, 10:20, 10:20] = 100
    labels = np.zeros(image.shape, np.uint8)
    labels[2, 10:20, 10:20] = 2
    error = np.zeros(image.shape, np.float32)
    error[2, 12:18, 12:18] = 0.5
    direction = (1.0, 0, 0, 0, 1.0, 0, 0, 0, flip)
    [shown] = slice_pictures(image, labels, error, (1.0, 2.0, 8.0), direction, 2, [2])
    assert shown.shape[1] == WIDTH
    outline = (shown == OUTLINES[1]).all(2)
    rows, columns = np.nonzero(outline)
    assert (rows.max() - rows.min()) / (columns.max() - columns.min()) == pytest.approx(2, rel=0.05)
    middle = shown[(rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2]
    assert middle[0] > middle[2] + 50
    [other] = slice_pictures(image, labels, error, (1.0, 2.0, 8.0), direction, 2, [1])
    assert not (other == OUTLINES[1]).all(2).any()


def test_what_was_found_is_well_seen_beside_bright_fat():
    image = np.zeros((2, 40, 40), np.int16)
    image[:, :4] = 2000
    image[:, 15:25, 15:25] = 300
    labels = (image == 300).astype(np.uint8)
    [shown] = slice_pictures(image, labels, np.zeros(image.shape), (1.0, 1.0, 8.0), DIRECTION, 2, [0])
    assert 150 < shown[WIDTH // 2, WIDTH // 2, 0] < 250
    assert shown[0, 0, 0] == 255
    holed = np.where(image == 0, np.nan, image)
    [same] = slice_pictures(holed, labels, np.zeros(image.shape), (1.0, 1.0, 8.0), DIRECTION, 2, [0])
    assert same[0, 0, 0] == 255
    assert not same[-1, -1].any()


def test_a_png_holds_the_pixels():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    data = png_of(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    length = struct.unpack(">I", data[33:37])[0]
    lines = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8).reshape(2, 10)
    np.testing.assert_array_equal(lines[:, 1:].reshape(2, 3, 3), pixels)


def test_a_record_comes_back_as_it_was_and_a_strange_one_is_refused():
    picture = SlicePicture("slice", png_of(np.zeros((2, 2, 3), np.uint8)))
    pictures = dict.fromkeys(range(20), (picture, picture))
    kept = Record("Heart", ("cine",), tuple(frames(20, 13)), (FUNCTION,), {"EF": 0.5}, {}, pictures, ("Look.",))
    fewer = kept.with_pictures_of_marks()
    assert {index: len(of) for index, of in fewer.pictures.items()} == {0: 2, fewer.found[0].marks["ES"]: 2, 13: 1}
    assert from_json(to_json(fewer)) == fewer
    assert fewer.said[-1] == "Look."
    for text in ("", "{}", "[1]", to_json(fewer).replace('"cavity"', '"hole"')):
        with pytest.raises(InputError, match="Segment the series again"):
            from_json(text)


def test_a_record_of_an_earlier_version_is_read():
    kept = Record("Heart", (), tuple(frames(20)), (FUNCTION,), edits={15: {1: 0.0}})
    values = json.loads(to_json(kept)) | {"found_empty": {"15": [1]}}
    for frame in values["frames"]:
        frame["found_empty"] = []
    assert from_json(json.dumps(values)) == kept
    del values["found_empty"], values["edits"], values["model"]
    for frame in values["frames"]:
        del frame["found_empty"], frame["edited"]
    assert from_json(json.dumps(values)) == replace(kept, edits={})


def test_the_page_tells_the_height_and_weight_that_were_given():
    kept = Record("Heart", ("cine",), tuple(frames()), (FUNCTION,), given={"height": 178.0, "weight": 80.5})
    assert "Given: height 178 cm, weight 80.5 kg." in kept.html()
    assert "Given" not in replace(kept, given={}).html()


def test_a_corrected_phase_counts_as_it_is_now_and_its_figures_have_no_interval():
    series = tuple(frames(20))
    kept = Record("Heart", (), series, (FUNCTION,), {"EF": 0.5, "SV": 0.3})
    [before] = kept.found
    changed = from_json(to_json(replace(kept, edits={0: {1: 150.0}})))
    [after] = changed.found
    figures = {figure.name: figure for figure in after.figures}
    assert (figures["EDV"].value, figures["EDV"].low) == (150, None)
    assert figures["EF"].low is None
    assert "frame 1 was changed after the run" in changed.said[0]
    rows = [*csv.DictReader(io.StringIO(csv_text(VOLUMES, volume_rows(changed.now, changed.found))))]
    assert [(row["volume (ml)"], row["low (ml)"], row["edited"]) for row in rows[:1]] == [("150", "", "yes")]
    assert rows[2]["edited"] == ""
    [removed] = replace(kept, edits={15: {1: 0.0}}).found
    assert (removed.marks, removed.implausible) == (before.marks, (15,))
    assert "There is no Cavity in frame 16" in removed.warnings[0]
    [elsewhere] = replace(kept, edits={10: {2: 5.0}}).found  # neither phase
    assert elsewhere.figures == before.figures
