import pytest

from csam.result import REGION, SLICES
from CSAMSegmentLib.logic import texts


def test_the_dice_of_a_calibrated_model_is_good_or_poor_by_its_place_among_the_validation_scans():
    said = texts.quality(0.892, 0.06)
    assert said.startswith("Expected Dice 0.89: poor, higher than in 6 % of the validation scans.")
    assert texts.quality(0.892, 0.8).startswith("Expected Dice 0.89: good, higher than in 80 %")


def test_without_validation_scans_the_number_itself_decides():
    assert texts.quality(0.93).startswith("Expected Dice 0.93: good")
    assert texts.quality(0.85).startswith("Expected Dice 0.85: fair")
    assert texts.quality(0.5).startswith("Expected Dice 0.50: poor")


@pytest.mark.parametrize("rank", [None, 0.93])
def test_a_part_of_the_image_is_neither_good_nor_compared_with_whole_scans(rank):
    for extent, start in ((REGION, "Inside the region the expected"), (SLICES, "In these slices the expected")):
        said = texts.quality(0.95, rank, extent)
        assert said.startswith(f"{start} Dice is 0.95. Do not compare it with that of a whole scan")
        assert "good" not in said
        assert "validation" not in said


@pytest.mark.parametrize(
    ("said", "words_of_a_user"),
    [
        (lambda: texts.seconds(0.2), "1 s"),
        (lambda: texts.seconds(300), "5 min"),
        (lambda: texts.memory(11 * 2**30), "11 GB"),
        (lambda: texts.memory(1.5 * 2**30), "1.5 GB"),
        (lambda: texts.device({"id": "cpu"}), "CPU"),
        (lambda: texts.device({"id": "cpu", "threads": 1}), "CPU, 1 thread"),
        (lambda: texts.device({"id": "cpu", "threads": 8}), "CPU, 8 threads"),
        (lambda: texts.device({"id": "cuda:0", "name": "Card", "free_bytes": 2**31}), "Card, 2.0 GB free"),
        (lambda: texts.interval(1.25, 120.4), "1.2 to 120"),
        (lambda: texts.quality(0.93), "Expected Dice 0.93: good."),
        (lambda: texts.quality(0.93, None, REGION), "Inside the region the expected Dice is 0.93."),
        (lambda: texts.edits([("LV", 90, 80)]), "LV was edited: 90.0 ml now, 80.0 ml before."),
        (texts.fits, "The image fits what the model was trained on."),
    ],
)
def test_every_sentence_goes_through_the_translation(said, words_of_a_user, monkeypatch):
    assert words_of_a_user in said()
    monkeypatch.setattr(texts, "_", lambda text: f"«{text}»")
    assert "«" in said()


def test_a_long_name_may_break_and_a_path_stays_as_it_is():
    name, paths = "shortaxis" * 5, ("/data/" + "longaxis" * 5, "C:\\data\\" + "longaxis" * 5)
    said = texts.cannot_run(f"{name} is not in {paths[0]} or {paths[1]}.")
    assert name not in said
    assert name in said.replace("\u200b", "")
    assert all(path in said for path in paths)
