import pytest

from csam.result import REGION, SLICES
from CSAMSegmentLib import words


def test_a_calibrated_case_is_judged_by_its_place_among_the_validation_scans():
    said = words.quality(0.892, 0.06)
    assert said.startswith("Case quality: poor (expected Dice 0.89, higher than in 6 % of the validation scans)")
    assert words.quality(0.892, 0.8).startswith("Case quality: good")


def test_without_validation_scans_the_number_itself_decides():
    assert words.quality(0.93).startswith("Case quality: good (expected Dice 0.93)")
    assert words.quality(0.85).startswith("Case quality: fair")
    assert words.quality(0.5).startswith("Case quality: poor")


@pytest.mark.parametrize("rank", [None, 0.93])
def test_a_part_of_the_image_is_neither_good_nor_compared_with_whole_scans(rank):
    for extent, start in ((REGION, "Inside the region the expected"), (SLICES, "In these slices the expected")):
        said = words.quality(0.95, rank, extent)
        assert said.startswith(f"{start} Dice is 0.95. It cannot be compared with that of whole scans.")
        assert "good" not in said
        assert "validation" not in said


@pytest.mark.parametrize(
    ("said", "words_of_a_person"),
    [
        (lambda: words.seconds(0.2), "1 s"),
        (lambda: words.seconds(300), "5 min"),
        (lambda: words.memory(11 * 2**30), "11 GB"),
        (lambda: words.memory(1.5 * 2**30), "1.5 GB"),
        (lambda: words.device({"id": "cpu"}), "CPU"),
        (lambda: words.device({"id": "cpu", "threads": 1}), "CPU, 1 thread"),
        (lambda: words.device({"id": "cpu", "threads": 8}), "CPU, 8 threads"),
        (lambda: words.device({"id": "cuda:0", "name": "Card", "free_bytes": 2**31}), "Card, 2.0 GB free"),
        (lambda: words.interval(1.25, 120.4), "1.2 to 120"),
        (lambda: words.quality(0.93), "Case quality: good (expected Dice 0.93)."),
        (lambda: words.quality(0.93, None, REGION), "Inside the region the expected Dice is 0.93."),
        (lambda: words.edits([("LV", 90, 80)]), "LV was edited: 90.0 ml now, 80.0 ml before."),
        (words.fits, "The image fits what the model was trained on."),
    ],
)
def test_every_sentence_goes_through_the_translation(said, words_of_a_person, monkeypatch):
    assert words_of_a_person in said()
    monkeypatch.setattr(words, "_", lambda text: f"«{text}»")
    assert "«" in said()
