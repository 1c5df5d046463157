"""The phantom: repeatable, plausible, and its labels true."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from csam.errors import InputError
from csam.phantom import LABELS, cine_stack, heart
from csam.phantom.dataset import write_dataset
from csam.phantom.heart import PHASES

SEEDS = range(4)
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.fixture(scope="module")
def stacks():
    return {seed: cine_stack(seed) for seed in SEEDS}


def array(image):
    return sitk.GetArrayFromImage(image)


def millilitres(labels, name):
    return (array(labels) == LABELS[name]).sum() * np.prod(labels.GetSpacing()) / 1000


def slices_with_a_ventricle(labels):
    return np.flatnonzero(array(labels).any((1, 2)))


def test_the_same_seed_gives_the_same_bits(stacks):
    again = cine_stack(3)
    assert np.array_equal(array(again.image), array(stacks[3].image))
    assert np.array_equal(array(again.labels), array(stacks[3].labels))
    assert again.image.GetDirection() == stacks[3].image.GetDirection()


def test_another_seed_gives_another_heart_in_another_chest(stacks):
    first, second = stacks[0], stacks[1]
    assert not np.array_equal(array(first.labels), array(second.labels))
    assert not np.array_equal(array(first.image), array(second.image))
    assert first.image.GetDirection() != second.image.GetDirection()


def test_image_and_labels_lie_on_the_grid_that_was_asked_for():
    stack = cine_stack(2, slices=9, size=192, spacing=(1.5, 1.6, 10.0))
    for image in (stack.image, stack.labels):
        assert image.GetSize() == (192, 192, 9)
        assert image.GetSpacing() == (1.5, 1.6, 10.0)
    assert stack.labels.GetOrigin() == stack.image.GetOrigin()
    assert stack.labels.GetDirection() == stack.image.GetDirection()
    assert stack.image.GetPixelID() == sitk.sitkUInt16
    assert stack.labels.GetPixelID() == sitk.sitkUInt8


@pytest.mark.parametrize("seed", SEEDS)
def test_the_direction_is_right_handed_and_oblique(stacks, seed):
    cosines = np.reshape(stacks[seed].image.GetDirection(), (3, 3))
    assert np.allclose(cosines.T @ cosines, np.eye(3))
    assert np.linalg.det(cosines) == pytest.approx(1)
    left, posterior, superior = cosines[:, 2]
    assert left > 0.4, "the apex lies to the patient's left"
    assert posterior < -0.4, "the apex lies in front of the base"
    assert superior < -0.3, "the apex lies below the base"
    assert np.abs(cosines).max() < 0.97, "no image axis is close to a patient axis"


@pytest.mark.parametrize("seed", SEEDS)
def test_in_patient_space_the_right_ventricle_lies_to_the_right_and_in_front(stacks, seed):
    labels = stacks[seed].labels
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(labels)
    left = np.array(statistics.GetCentroid(LABELS["left ventricular cavity"]))
    right = np.array(statistics.GetCentroid(LABELS["right ventricular cavity"]))
    assert right[0] < left[0] - 10
    assert right[1] < left[1] - 10


def test_a_direction_that_was_asked_for_shows_the_heart_as_it_is_displayed():
    stack = cine_stack(4, direction=IDENTITY)
    assert stack.image.GetDirection() == IDENTITY
    centre = {n: np.argwhere(array(stack.labels) == n).mean(0) for n in (1, 3)}
    assert centre[3][2] < centre[1][2] - 10, "the right ventricle is at the left of the picture"
    oblique = cine_stack(4)
    assert np.array_equal(array(stack.image), array(oblique.image)[:, ::-1])
    assert np.array_equal(array(stack.labels), array(oblique.labels)[:, ::-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_and_the_last_slice_show_no_ventricle(stacks, seed):
    labels = stacks[seed].labels
    there = slices_with_a_ventricle(labels)
    assert there[0] == 1
    assert 8 <= there[-1] <= 10
    assert np.array_equal(there, np.arange(there[0], there[-1] + 1))
    cavity = np.flatnonzero((array(labels) == LABELS["left ventricular cavity"]).any((1, 2)))
    assert 8 <= len(cavity) <= 9


def test_no_seed_puts_a_ventricle_above_the_base_or_below_the_apex():
    rng = np.random.default_rng(0)
    for seed in rng.integers(0, 2**32, 12).tolist():
        there = slices_with_a_ventricle(cine_stack(seed, size=64, spacing=(5, 5, 8)).labels)
        assert there[0] >= 1, seed
        assert there[-1] <= 10, seed


@pytest.mark.parametrize("seed", SEEDS)
def test_volumes_are_those_of_a_heart(stacks, seed):
    labels = stacks[seed].labels
    assert 85 < millilitres(labels, "left ventricular cavity") < 255
    assert 60 < millilitres(labels, "right ventricular cavity") < 255
    assert 55 < millilitres(labels, "myocardium") * 1.05 < 260, "grams"


@pytest.mark.parametrize("seed", SEEDS)
def test_in_systole_the_same_heart_is_contracted(stacks, seed):
    systole = cine_stack(seed, phase="systole").labels
    diastole = stacks[seed].labels
    ejected = 1 - millilitres(systole, "left ventricular cavity") / millilitres(diastole, "left ventricular cavity")
    assert 0.2 < ejected < 0.8
    muscle = millilitres(systole, "myocardium") / millilitres(diastole, "myocardium")
    assert muscle == pytest.approx(1, abs=0.25), "the muscle keeps its volume, roughly"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_myocardium_encloses_the_cavity(stacks, seed):
    for plane in array(stacks[seed].labels):
        cavity = plane == LABELS["left ventricular cavity"]
        if cavity.any():
            grown = sitk.BinaryDilate(sitk.GetImageFromArray(cavity.astype(np.uint8)), (1, 1), sitk.sitkCross)
            rim = (array(grown) == 1) & ~cavity
            assert np.mean(plane[rim] == LABELS["myocardium"]) > 0.97


@pytest.mark.parametrize("seed", SEEDS)
def test_blood_is_about_three_times_as_bright_as_myocardium(stacks, seed):
    image, labels = array(stacks[seed].image).astype(float), array(stacks[seed].labels)
    middle = (labels == 1).sum((1, 2)).argmax()
    blood, muscle, right = (np.median(image[middle][labels[middle] == n]) for n in (1, 2, 3))
    assert 2 < blood / muscle < 4.5
    assert 0.6 < right / blood < 1.6


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("phase", "thick"), [("diastole", False), ("systole", False), ("systole", True)])
def test_labels_are_what_fills_the_voxel(seed, phase, thick, monkeypatch):
    """Counts 6 × 6 × 64 points in voxels that touch another label; the module counts fewer, and only in close calls."""
    seen = {}
    labels_of = heart._labels

    def spy(anatomy, grid, fractions):
        seen["surfaces"], seen["grid"] = anatomy.ventricles, grid
        return labels_of(anatomy, grid, fractions)

    monkeypatch.setattr(heart, "_labels", spy)
    spacing = (2.5, 2.5, 8.0) if seed % 2 else (3.0, 1.9, 12.0)
    labels = array(cine_stack(seed, 12, 64, spacing, phase, IDENTITY, thick_walled=thick).labels)
    edge = np.zeros(labels.shape, bool)
    for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1), (2, 1), (2, -1)):
        edge |= labels != np.roll(labels, shift, axis)
    voxels = np.random.default_rng(seed).permutation(np.argwhere(edge))[:250]
    truth = [counted_label(seen["surfaces"], seen["grid"], spacing, voxel) for voxel in voxels]
    assert np.mean(labels[tuple(voxels.T)] != truth) < 0.012


def counted_label(surfaces, grid, spacing, voxel):
    def within(count, step):
        return (((np.arange(count) + 0.5) / count - 0.5) * step).astype(np.float32)

    k, row, column = voxel
    x = grid.x[column] + within(6, spacing[0])
    y = (grid.y[row] + within(6, spacing[1]))[:, None]
    z = ((k + 0.5) * spacing[2] + within(64, spacing[2]))[:, None, None]
    endocardium, epicardium, right = surfaces.distances(x, y, z)
    below_mitral, below_tricuspid = surfaces.below_base(x, y, z)
    left = (epicardium < 0) & (below_mitral > 0)
    shares = [
        np.mean(left & (endocardium < 0)),
        np.mean(left & (endocardium >= 0)),
        np.mean((right < 0) & (epicardium >= 0) & (below_tricuspid > 0)),
    ]
    return np.argmax(shares) + 1 if sum(shares) > 0.5 else 0


@pytest.mark.parametrize("seed", SEEDS)
def test_half_the_pixel_spacing_gives_the_same_volumes(seed):
    coarse = cine_stack(seed, size=128, spacing=(2.0, 2.0, 8.0)).labels
    fine = cine_stack(seed, size=256, spacing=(1.0, 1.0, 8.0)).labels
    for name in LABELS:
        assert millilitres(coarse, name) == pytest.approx(millilitres(fine, name), rel=0.02), name


def test_one_slice_shows_the_middle_of_the_ventricles():
    labels = array(cine_stack(0, slices=1).labels)
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_the_smallest_and_an_anisotropic_grid_work():
    assert cine_stack(1, slices=2, size=32, spacing=(4, 4, 10)).image.GetSize() == (32, 32, 2)
    assert set(np.unique(array(cine_stack(1, slices=60, size=96, spacing=(2, 1.5, 1.6)).labels))) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slices": 0}, "number of slices is 0"),
        ({"slices": 2.5}, "number of slices is 2.5"),
        ({"size": 16}, "size in pixels is 16"),
        ({"size": 64}, "field of view is 80 mm"),
        ({"size": 10**6}, "size in pixels is 1000000"),
        ({"spacing": (1.25, 1.25)}, "three numbers"),
        ({"spacing": (1.25, 1.25, -8)}, "three numbers"),
        ({"spacing": (1.25, float("nan"), 8)}, "three numbers"),
        ({"spacing": "thick"}, "three numbers"),
        ({"phase": "middle"}, "choose diastole or systole"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": None}, "seed is None"),
        ({"direction": (1, 0, 0, 0, 1, 0)}, "nine cosines"),
        ({"direction": (1, 0, 0, 0, 1, 0, 0, 1, 1)}, "nine cosines"),
    ],
)
def test_a_bad_argument_is_named_with_what_was_expected(arguments, message):
    with pytest.raises(InputError, match=message):
        cine_stack(**arguments)


def test_a_thick_walled_ventricle_has_more_muscle_than_blood_and_empties_well():
    whole = millilitres(cine_stack(3, size=128, spacing=(2.5, 2.5, 8.0)).labels, "left ventricular cavity")
    thick = {
        phase: cine_stack(3, size=128, spacing=(2.5, 2.5, 8.0), phase=phase, thick_walled=True).labels
        for phase in PHASES
    }
    cavity = {phase: millilitres(labels, "left ventricular cavity") for phase, labels in thick.items()}
    assert cavity["diastole"] < 0.85 * whole
    assert millilitres(thick["diastole"], "myocardium") > 1.5 * cavity["diastole"]
    assert cavity["systole"] < 0.4 * cavity["diastole"]


def test_in_systole_muscle_fills_the_cavity_towards_the_apex_and_stays_cavity():
    """As in Sunnybrook's contours: Testing/bench/blood_share.py."""

    def blood_share(phase):
        stack = cine_stack(3007, phase=phase, thick_walled=True)
        image, labels = array(stack.image).astype(float), array(stack.labels)
        slices = np.flatnonzero((labels == 1).any((1, 2)))
        beyond_the_middle = slices[(len(slices) + 1) // 2 :]
        halfway = (np.median(image[labels == 2]) + np.percentile(image[labels == 1], 95)) / 2
        return np.mean(image[beyond_the_middle][labels[beyond_the_middle] == 1] > halfway)

    assert blood_share("systole") < 0.7 * blood_share("diastole")


def test_a_data_set_of_the_whole_left_ventricle_has_its_two_structures(tmp_path):
    write_dataset(tmp_path, 1, 3, "whole-left-ventricle")
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(next((tmp_path / "labelsTr").iterdir()))))
    assert np.unique(labels).tolist() == [0, 1, 2]


def test_a_wall_drawn_thinner_ends_further_in_and_the_cavity_stays(tmp_path):
    drawn = {}
    for by in (0.0, 1.75):
        write_dataset(tmp_path / str(by), 1, 3, "whole-left-ventricle", wall_drawn_thinner=by)
        drawn[by] = sitk.GetArrayFromImage(sitk.ReadImage(str(next((tmp_path / str(by) / "labelsTr").iterdir()))))
    assert np.array_equal(drawn[0.0] == 1, drawn[1.75] == 1)
    assert not ((drawn[1.75] == 2) & (drawn[0.0] != 2)).any()
    middle = int((drawn[0.0] == 1).sum((1, 2)).argmax())
    outer = {by: np.sqrt((labels[middle] > 0).sum() / np.pi) * 1.25 for by, labels in drawn.items()}
    assert outer[0.0] - outer[1.75] == pytest.approx(1.75, abs=0.35)
    around = ndimage.binary_dilation(drawn[0.0][middle] == 1)
    assert (drawn[1.75][middle][around] > 0).all()


@pytest.mark.parametrize(("structure", "by"), [("left-ventricle", 1.0), ("all", -1.0), ("all", float("nan"))])
def test_a_wall_that_cannot_be_drawn_thinner_is_refused(tmp_path, structure, by):
    with pytest.raises(InputError, match="mm thinner"):
        write_dataset(tmp_path / "out", 1, 3, structure, wall_drawn_thinner=by)
    assert not (tmp_path / "out").exists()
