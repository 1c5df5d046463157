from CSAMSegmentLib import words


def test_a_calibrated_case_is_judged_by_its_place_among_the_validation_scans():
    said = words.quality(0.892, 0.06)
    assert said.startswith("Case quality: poor (expected Dice 0.89, higher than in 6 % of the validation scans)")
    assert words.quality(0.892, 0.8).startswith("Case quality: good")


def test_without_validation_scans_the_number_itself_decides():
    assert words.quality(0.93).startswith("Case quality: good (expected Dice 0.93)")
    assert words.quality(0.85).startswith("Case quality: fair")
    assert words.quality(0.5).startswith("Case quality: poor")
