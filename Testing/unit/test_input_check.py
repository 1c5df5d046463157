"""What does not fit a model is said, each thing once; what fits is passed over in silence."""

import numpy as np
import pytest
import SimpleITK as sitk
from unit import small

from csam.errors import InputError
from csam.image.raster import Raster
from csam.model import Channel, TrainedOn
from csam.pipeline import input_check
from csam.result import StructureVolume

AXIAL = (1, 0, 0, 0, 1, 0, 0, 0, 1)
CORONAL = (1, 0, 0, 0, 0, 1, 0, -1, 0)  # slices along P


def model(**changes):
    return small.model(trained_on=TrainedOn((6.0, 10.0), (1.0, 2.0), (8, 12), 9), **changes)


def fitting(size=(24, 22, 10), spacing=(1.5, 1.5, 8.0), **more):
    return small.image(size, spacing, **more)


def with_values(change):
    image = fitting()
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    change(array)
    found = sitk.GetImageFromArray(array)
    found.CopyInformation(image)
    return found


def test_of_a_fitting_image_nothing_is_said():
    assert input_check.check([fitting()], model()) == ()
    assert input_check.check([fitting(direction=AXIAL)], model(slice_axis="axial")) == ()


def no_number(array):
    array[3, 4, 5:] = np.nan


def flat(array):
    array[:] = 7


def like_ct(array):
    array -= 1000


def inverted(array):
    array[:] = np.where(array > 800, 1000 - array, 1000 - array / 8)


WARNINGS = {
    "inverted": (with_values(inverted), {}, "looks inverted: more than half of it is bright"),
    "not finite": (with_values(no_number), {}, "not finite"),
    "nothing finite": (with_values(lambda a: a.fill(np.nan)), {}, "not finite"),
    "no contrast": (with_values(flat), {}, "no contrast: every value is 7"),
    "CT for MR": (with_values(like_ct), {}, "looks like CT .values from -1000.; the model was trained on MR"),
    "MR for CT": (fitting(), {"channels": (Channel("chest", "CT"),)}, "does not look like CT"),
    "labels": (with_values(lambda a: np.copyto(a, (a > 800) + 2.0 * (a > 900))), {}, "a label map: it holds 3 values"),
    "labels for CT": (
        with_values(lambda a: np.copyto(a, 4.0 * (a > 800))),
        {"channels": (Channel("chest", "CT"),)},
        "looks like a label map: it holds 2 values, whole numbers from 0 to 4",
    ),
    "which axis": (fitting((24, 22, 10), (8.0, 7.5, 8.0)), {"in_plane_spacing": 7.0}, "does not tell along which axis"),
    "thin slices": (fitting(spacing=(1.5, 1.5, 3.0)), {}, "Slices are 3 mm apart; .* 6 to 10 mm"),
    "thick slices": (fitting(spacing=(1.5, 1.5, 15.0)), {}, "Slices are 15 mm apart"),
    "coarse pixels": (fitting(spacing=(5.0, 5.0, 8.0)), {}, "Pixels are 5×5 mm; .* 1 to 2 mm"),
    "fine pixels": (fitting((200, 190, 10), (0.2, 0.2, 8.0)), {}, "Pixels are 0.2×0.2 mm"),
    "pixels not square": (fitting(spacing=(1.2, 2.0, 8.0)), {}, "not square .1.2×2 mm."),
    "one slice": (fitting((24, 22, 1)), {}, "The stack has 1 slice; .* 8 to 12"),
    "many slices": (fitting((24, 22, 60)), {}, "60 slices"),
    "small picture": (fitting((9, 9, 10)), {}, "covers 14×14 mm; the model sees 32×32 mm"),
    "leaning axes": (fitting(direction=(1, 0, 0.6, 0, 1, 0, 0, 0, 0.8)), {}, "37° off the right angle"),
    "another plane": (fitting(direction=CORONAL), {"slice_axis": "axial"}, "in the training scans they were axial"),
}


@pytest.mark.parametrize(("image", "changes", "said"), WARNINGS.values(), ids=WARNINGS)
def test_what_does_not_fit_is_said_in_one_sentence(image, changes, said):
    import re

    choice = "k" if "another plane" in said or "axial" in said else "auto"
    warnings = input_check.check([image], model(**changes), choice)
    assert len([w for w in warnings if re.search(said, w)]) == 1, warnings
    assert all(w.endswith(".") for w in warnings)
    assert len(set(warnings)) == len(warnings)


@pytest.mark.parametrize(
    "name", ["thin slices", "thick slices", "coarse pixels", "pixels not square", "many slices", "small picture"]
)
def test_one_thing_that_does_not_fit_raises_one_warning(name):
    image, changes, _ = WARNINGS[name]
    assert len(input_check.check([image], model(**changes))) == 1


def test_the_axis_chosen_by_the_user_is_not_questioned():
    isotropic = fitting((24, 22, 10), (8.0, 8.0, 8.0))
    said = input_check.check([isotropic], model(), "k")
    assert not any("does not tell" in w for w in said)
    assert any("does not tell" in w for w in input_check.check([isotropic], model()))


def test_what_the_fewest_samples_decided_is_said_before_the_run():
    said = input_check.check([fitting((24, 22, 10), (2.0, 2.0, 2.9))], model())
    assert any(
        "2×2×2.9 mm does not tell along which axis the slices are stacked; k (10 slices) is assumed" in w for w in said
    )


@pytest.mark.parametrize("size", [(24, 22, 1), (1, 24, 22)])
def test_of_one_slice_no_axis_is_assumed(size):
    image = fitting(size, (1.25, 1.25, 1.25))
    assert size[input_check.chosen_axis(image, model())] == 1
    assert not any("does not tell" in w for w in input_check.check([image], model()))


def test_the_axis_is_the_users_or_the_models_or_that_of_the_largest_spacing():
    image = fitting(direction=CORONAL)
    assert input_check.chosen_axis(image, model(), "i") == 0
    assert input_check.chosen_axis(image, model()) == 2
    assert input_check.chosen_axis(image, model(slice_axis="axial")) == 1


def two_channels():
    return small.model(small.network(input_channels=2), trained_on=TrainedOn((6.0, 10.0), (1.0, 2.0), (8, 12), 9))


@pytest.mark.parametrize("levels", [90, 256])
def test_an_image_of_whole_numbers_on_much_dark_background_is_no_label_map(levels):
    def coarse(array):
        array[:] = np.floor(array / array.max() * (levels - 1)) * (array > 600)

    assert not input_check.check([with_values(coarse)], model())


def test_the_same_fault_of_two_channels_is_said_once():
    image = WARNINGS["not finite"][0]
    assert len(input_check.check([image, image], two_channels())) == 1


def test_the_same_image_for_both_channels_is_said():
    assert input_check.check([fitting(), fitting(seed=1)], two_channels()) == ()
    [said] = input_check.check([fitting(), fitting()], two_channels())
    assert said == "channel 0 and channel 1 are the same image; the model was trained with a different image for each."


@pytest.mark.parametrize(("ml", "told"), [(0.0, False), (14.9, True), (15.1, False), (249.0, False), (251.0, True)])
def test_a_structure_is_called_too_small_or_too_large_beyond_a_quarter(ml, told):
    learnt = TrainedOn((6.0, 10.0), (1.0, 2.0), (8, 12), 9, {1: (20.0, 200.0)})
    found = [StructureVolume(v, f"structure {v}", ml, ml, ml, ml) for v in (1, 2)]  # of 2 nothing is known
    said = input_check.sizes(found, small.model(trained_on=learnt))
    text = "structure 1 measures {:.3g} ml. In the training scans it measured 20 to 200 ml."
    assert [s.partition(" Check")[0] for s in said] == ([text.format(ml)] if told else [])


def test_litres_are_written_out():
    learnt = TrainedOn((6.0, 10.0), (1.0, 2.0), (8, 12), 9, {1: (900.0, 1810.0)})
    [said] = input_check.sizes([StructureVolume(1, "liver", 2512.3, 0, 0, 0)], small.model(trained_on=learnt))
    assert said.startswith("liver measures 2512 ml. In the training scans it measured 900 to 1810 ml.")


OTHER_GRIDS = {
    "size": {"size": (24, 22, 9)},
    "spacing": {"spacing": (1.5, 1.5, 7.5)},
    "origin": {"origin": (-12.0, 7.0, 35.0)},
    "direction": {"direction": CORONAL},
}


@pytest.mark.parametrize("as_raster", [False, True], ids=["SimpleITK", "raster"])
@pytest.mark.parametrize("change", OTHER_GRIDS.values(), ids=OTHER_GRIDS)
def test_channels_on_different_grids_are_refused_before_the_run(change, as_raster):
    images = [fitting(), fitting(seed=1, **change)]
    if as_raster:
        images = [as_a_raster(image) for image in images]
    with pytest.raises(InputError, match=r"Channel 2 .*does not lie on the grid of channel 1"):
        input_check.check(images, two_channels())


def as_a_raster(image: sitk.Image) -> Raster:
    return Raster(sitk.GetArrayFromImage(image), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def test_another_number_of_images_than_channels_is_refused_by_their_names():
    two = small.model(small.network(input_channels=2))
    with pytest.raises(InputError, match=r"1 image\(s\) were given; .* needs 2: channel 0, channel 1"):
        input_check.check([fitting()], two)
    with pytest.raises(InputError, match=r"0 image\(s\)"):
        input_check.check([], two)


def test_what_is_no_scalar_volume_is_refused():
    with pytest.raises(InputError, match="series of 3 volumes"):
        input_check.check([sitk.Image([4, 4, 4, 3], sitk.sitkInt16)], model())
    with pytest.raises(InputError, match="Channel 2 has 3 values per voxel"):
        input_check.check(
            [fitting(), sitk.Image([24, 22, 10], sitk.sitkVectorUInt8, 3)],
            small.model(small.network(input_channels=2)),
        )
