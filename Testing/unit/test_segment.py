"""The whole pipeline on a tiny network: the same in patient space however the image is stored, and on odd input."""

import time
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit import small

import csam.pipeline.segment as pipeline
from csam.errors import Cancelled, DeviceError, InputError
from csam.image.stack import resize, stack_of
from csam.model import Calibration, Label
from csam.network.number_format import format_for
from csam.pipeline import native_grid
from csam.pipeline.segment import segment
from csam.pipeline.sliding_window import Sampling
from csam.result import Options
from csam.uncertainty import continuity
from csam.uncertainty.expected_error import stated_error
from csam.uncertainty.measures import expected_difference

FEW = Options(samples=2)
MAPS = ("labels", "error_probability", "entropy", "mutual_information")


@pytest.fixture(scope="module")
def model():
    return small.model()


def arrays(result, names=MAPS):
    return {name: sitk.GetArrayFromImage(getattr(result, name)) for name in names}


@pytest.mark.parametrize("direction", [None, small.OBLIQUE], ids=["straight", "oblique"])
def test_all_48_ways_to_store_an_image_give_the_same_result_in_patient_space(model, direction):
    original = small.image((20, 18, 6), direction=direction)
    expected = segment(original, model, FEW)
    labels = sitk.GetArrayFromImage(expected.labels)
    assert len(np.unique(labels)) == 3
    volumes = [s.volume_ml for s in expected.structures]
    worst = [(s.expected_wrong_area_mm2, *s.worst_point) for s in expected.ranked_slices()]
    for way, stored in small.stored_in_every_way(original):
        found = segment(stored, model, FEW)
        for name in MAPS:
            np.testing.assert_array_equal(
                small.on_grid(getattr(found, name), original),
                sitk.GetArrayFromImage(getattr(expected, name)),
                err_msg=f"{name} {way}",
            )
        assert [s.volume_ml for s in found.structures] == pytest.approx(volumes)
        ranked = [(s.expected_wrong_area_mm2, *s.worst_point) for s in found.ranked_slices()]
        np.testing.assert_allclose(ranked, worst, rtol=1e-5, atol=1e-3)


def test_turning_the_patient_turns_the_result_with_him(model):
    """The same voxels under an oblique direction matrix close to the straight one: the same voxels come out."""
    straight = segment(small.image(), model, FEW)
    oblique = segment(small.image(direction=small.OBLIQUE), model, FEW)
    for name in MAPS:
        np.testing.assert_array_equal(arrays(oblique)[name], arrays(straight)[name])


@pytest.mark.parametrize("slices", [1, 2, 5, 12, 60])
def test_any_number_of_slices_gives_a_result_on_the_grid_of_the_image(model, slices):
    image = small.image((20, 18, slices))
    result = segment(image, model, FEW)
    for name in MAPS:
        found = getattr(result, name)
        assert found.GetSize() == image.GetSize()
        assert found.GetOrigin() == image.GetOrigin()
        assert found.GetDirection() == image.GetDirection()
    assert [s.index for s in result.slices] == list(range(slices))
    assert sorted(s.rank for s in result.slices) == list(range(1, slices + 1))


def test_the_maps_are_float32_within_their_bounds(model):
    result = segment(small.image(), model, Options(samples=5))
    found = arrays(result)
    assert found["labels"].dtype == np.uint8
    for name in MAPS[1:]:
        assert found[name].dtype == np.float32
        assert (found[name] >= 0).all()
    assert (found["error_probability"] <= 1).all()
    assert (found["entropy"] <= np.log(3) + 1e-6).all()
    assert (found["mutual_information"] <= found["entropy"] + 1e-6).all()
    assert found["mutual_information"].max() > 1e-4


def test_samples_that_are_all_alike_have_no_mutual_information_at_any_resolution():
    model = small.model(small.network(slice=False), field_of_view=(32, 32))
    found = arrays(segment(small.image((50, 45, 5), (0.8, 0.8, 8.0)), model, FEW))
    assert found["mutual_information"].max() < 1e-5
    assert found["entropy"].max() > 0.1


def test_the_probabilities_sum_to_one_and_their_largest_is_the_label(model):
    result = segment(small.image(), model, replace(FEW, keep_probabilities=True))
    p = sitk.GetArrayFromImage(result.probabilities)
    assert p.dtype == np.float32
    assert p.shape[-1] == 3
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(p.argmax(-1), arrays(result)["labels"])
    # At the model's own spacing: one of its pixels is one of the image's.
    error = np.stack([stated_error(1 - p.max(-1)[k], (1.0, 1.0)) for k in range(len(p))])
    found = arrays(result)["error_probability"]
    np.testing.assert_allclose(np.where(found == np.float32(0.9), error, found), error, atol=1e-5)
    assert segment(small.image(), model, FEW).probabilities is None


def test_the_error_probability_follows_the_models_calibration(model):
    image = small.image()
    plain = arrays(segment(image, model, FEW))["error_probability"]
    calibrated = replace(model, calibration=Calibration(((0.0, 0.0), (0.2, 0.6), (1.0, 0.8))))
    found = arrays(segment(image, calibrated, FEW))["error_probability"]
    np.testing.assert_allclose(found, np.interp(plain, [0, 0.2, 1], [0, 0.6, 0.8]), atol=1e-6)


def test_the_volumes_are_those_of_the_labels_and_lie_in_their_intervals(model):
    scaled = replace(model, calibration=Calibration(volume_scale={1: 0.1, 2: 3.0}))
    image = small.image((20, 18, 6), (1.3, 1.7, 8.0))
    plain, result = segment(image, model, Options(samples=8)), segment(image, scaled, Options(samples=8))
    labels = arrays(result)["labels"]
    for before, structure in zip(plain.structures, result.structures, strict=True):
        expected = (labels == structure.value).sum() * 1.3 * 1.7 * 8 / 1000
        assert structure.volume_ml == pytest.approx(expected)
        assert structure.low_ml <= structure.volume_ml <= structure.high_ml
        assert before.mean_ml == structure.mean_ml
        assert structure.mean_ml == pytest.approx(expected, rel=0.5, abs=2)
    assert result.structures[1].high_ml - result.structures[1].volume_ml == pytest.approx(
        3 * (plain.structures[1].high_ml - plain.structures[1].volume_ml)
    )


def test_the_slices_are_scored_by_their_expected_wrong_area(model):
    result = segment(small.image(spacing=(1.3, 1.7, 8.0)), model, FEW)
    error = arrays(result)["error_probability"].astype(np.float64)
    labels = arrays(result)["labels"]
    for score in result.slices:
        assert score.expected_wrong_area_mm2 == pytest.approx(error[score.index].sum() * 1.3 * 1.7, rel=1e-5)
        assert score.areas_mm2 == pytest.approx([(labels[score.index] == v).sum() * 1.3 * 1.7 for v in (1, 2)])
        assert result.labels.TransformPhysicalPointToIndex(score.worst_point)[2] == score.index
    areas = [s.expected_wrong_area_mm2 for s in result.ranked_slices()]
    assert areas == sorted(areas, reverse=True)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_draw(model):
    first, again, other = (segment(small.image(), model, Options(samples=4, seed=seed)) for seed in (7, 7, 8))
    for name in MAPS:
        np.testing.assert_array_equal(arrays(first)[name], arrays(again)[name])
    assert first.structures == again.structures
    assert first.slices == again.slices
    assert not np.array_equal(arrays(first)["entropy"], arrays(other)["entropy"])


def test_one_sample_is_one_pass_with_the_gates_at_their_mean(model):
    image, once = small.image(), Options(samples=1)
    found = arrays(segment(image, model, once))
    for name, again in arrays(segment(image, model, replace(once, seed=5))).items():
        np.testing.assert_array_equal(found[name], again)  # nothing is drawn
    assert not np.array_equal(found["error_probability"], arrays(segment(image, model, FEW))["error_probability"])
    run = Sampling(model.network(), model.field_of_view, samples=0, focused=True, number_format=format_for)
    values = stack_of([image], model.in_plane_spacing, model.intensity, "k").values
    mean = torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
    sure = sitk.GetArrayFromImage(segment(image, model, replace(once, keep_probabilities=True)).probabilities)
    assert abs(float(mean.mean((0, 2, 3))[1]) - sure[..., 1].mean()) < 1e-4


def test_two_seeds_agree_on_the_mean_within_sampling_error(model):
    one, other = (
        sitk.GetArrayFromImage(segment(small.image(), model, Options(60, seed, keep_probabilities=True)).probabilities)
        for seed in (1, 2)
    )
    assert np.abs(one - other).mean() < 0.02
    assert not np.array_equal(one, other)


def test_a_run_does_not_touch_the_random_numbers_of_the_caller(model):
    model.network()
    state = torch.get_rng_state()
    segment(small.image(), model, FEW)
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_rises_from_zero_to_the_end(model):
    seen = []
    segment(small.image((20, 18, 12)), model, Options(samples=3), progress=seen.append)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert 0.98 < fractions[-1] <= 1
    assert all(p.stage for p in seen)
    assert seen[0].seconds_left is None
    assert seen[-1].seconds_left >= 0


def test_a_cancel_is_answered_soon_and_leaves_the_network_as_it_was():
    net = small.network(num_levels=4, base_channels=8, num_slices=12, num_classes=2)
    model = small.model(net, field_of_view=(96, 96))
    started = time.monotonic()
    asked = []

    def cancelled():
        if time.monotonic() - started < 0.3:
            return False
        asked.append(time.monotonic())
        return True

    with pytest.raises(Cancelled):
        segment(small.image((96, 96, 60)), model, Options(samples=200), cancelled=cancelled)
    assert time.monotonic() - started < 10, "the whole run takes several times as long"
    assert len(asked) == 1


def test_cancelled_is_asked_all_the_time(model):
    calls = []
    segment(small.image((20, 18, 12)), model, Options(samples=3), cancelled=lambda: calls.append(1))
    assert len(calls) > 50


@pytest.mark.parametrize("direction", [None, (1, 0, 0, 0, 1, 0, 0, 0, -1)])
def test_slices_that_are_wanted_first_come_alone_as_the_whole_run_gives_them(model, direction):
    image = small.image((20, 18, 9), direction=direction)
    whole, first = segment(image, model, FEW), segment(image, model, FEW, slices=[6])
    for name in MAPS:
        np.testing.assert_allclose(arrays(first)[name][6], arrays(whole)[name][6], atol=1e-5)
        assert not np.delete(arrays(first)[name], 6, 0).any()
    (score,) = first.slices
    assert score.index == 6
    assert score.expected_wrong_area_mm2 == pytest.approx(whole.slices[6].expected_wrong_area_mm2, rel=1e-3)


def test_a_slice_that_is_not_there_is_refused(model):
    with pytest.raises(InputError, match=r"asked for are \[9\]; give some from 0 to 5"):
        segment(small.image((20, 18, 6)), model, FEW, slices=[9])


def test_outside_the_region_everything_is_background(model):
    image = small.image((40, 36, 10))
    corners = [image.TransformIndexToPhysicalPoint(corner) for corner in ((8, 6, 2), (27, 23, 7))]
    low, high = np.min(corners, 0), np.max(corners, 0)
    result = segment(image, model, Options(samples=2, region=(tuple(low), tuple(high)), keep_probabilities=True))
    inside = np.zeros((10, 36, 40), bool)
    inside[2:8, 6:24, 8:28] = True
    for name in MAPS:
        found = arrays(result)[name]
        assert not found[~inside].any()
        assert found[inside].any()
    p = sitk.GetArrayFromImage(result.probabilities)
    assert (p[~inside] == [1, 0, 0]).all()
    assert [s.index for s in result.slices] == list(range(2, 8))


@pytest.mark.parametrize("corners", [((14, 12, 2), (19, 17, 6)), ((3, 2, 0), (9, 9, 1))], ids=["middle", "corner"])
def test_a_region_smaller_than_the_field_of_view_is_seen_with_the_image_that_surrounds_it(model, monkeypatch, corners):
    """In its slices and through them, with the intensities of the whole: no padding where the image goes on."""
    image, seen, original = small.image((40, 36, 10)), [], Sampling._sample

    def sample(self, x, *rest):
        seen.append(x[:, 0].clone())
        return original(self, x, *rest)

    monkeypatch.setattr(Sampling, "_sample", sample)
    points = [image.TransformIndexToPhysicalPoint(corner) for corner in corners]
    segment(image, model, replace(FEW, region=(tuple(np.min(points, 0)), tuple(np.max(points, 0)))))
    values = stack_of([image], model.in_plane_spacing, model.intensity, "k").values[0]
    slices, (rows, columns) = model.num_slices, model.field_of_view
    parts = values.unfold(0, slices, 1).unfold(1, rows, 1).unfold(2, columns, 1)
    for x in seen:
        assert x.shape == (slices, rows, columns)
        assert (parts == x).all((3, 4, 5)).any()


def test_a_region_beside_the_image_is_refused(model):
    with pytest.raises(InputError, match=r"from \[900, 900, 900\] to .* outside the image"):
        segment(small.image(), model, Options(region=((900,) * 3, (950,) * 3)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_axis_can_be_chosen(model, axis):
    result = segment(small.image((8, 7, 6)), model, replace(FEW, slice_axis="ijk"[axis]))
    assert result.slice_axis == axis
    assert len(result.slices) == (8, 7, 6)[axis]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_scalar_type_is_taken(model, dtype):
    reference = np.round(sitk.GetArrayFromImage(small.image(dtype=np.float64)) / 4.5)
    expected = segment(small.placed(reference), model, FEW)
    found = segment(small.placed(reference.astype(dtype)), model, FEW)
    np.testing.assert_array_equal(arrays(found)["labels"], arrays(expected)["labels"])


def test_an_image_without_contrast_gives_a_result_and_a_warning(model):
    result = segment(small.placed(np.full((6, 18, 20), 5, np.int16)), model, FEW)
    assert any("no contrast" in w for w in result.warnings)
    assert np.isfinite(arrays(result)["error_probability"]).all()


def test_values_that_are_not_finite_give_a_result_and_a_warning(model):
    array = sitk.GetArrayFromImage(small.image(dtype=np.float32))
    array[2, 3:6, :] = np.nan
    array[0, 0, 0] = np.inf
    result = segment(small.placed(array), model, FEW)
    assert any("not finite" in w for w in result.warnings)
    assert all(np.isfinite(values).all() for values in arrays(result).values())


def test_an_image_of_a_single_voxel_gives_a_result(model):
    assert arrays(segment(small.placed(np.ones((1, 1, 1), np.int16)), model, FEW))["labels"].shape == (1, 1, 1)


def test_what_is_no_scalar_volume_is_refused_in_words(model):
    with pytest.raises(InputError, match="3 values per voxel"):
        segment(sitk.Image([8, 8, 4], sitk.sitkVectorFloat32, 3), model, FEW)
    with pytest.raises(InputError, match="series of 5 volumes"):
        segment(sitk.Image([8, 8, 4, 5], sitk.sitkFloat32), model, FEW)
    with pytest.raises(InputError, match="2 dimensions"):
        segment(sitk.Image([8, 8], sitk.sitkFloat32), model, FEW)


def test_channels_must_lie_on_one_grid():
    model = small.model(small.lively(small.network(input_channels=2)))
    image = small.image()
    result = segment([image, small.image(seed=1)], model, FEW)
    assert result.labels.GetSize() == image.GetSize()
    for other in (small.image((20, 18, 5)), small.image(origin=(-12, 7, 35)), small.image(spacing=(2, 2, 7))):
        with pytest.raises(InputError, match=r"Channel 2 .*does not lie on the grid of channel 1"):
            segment([image, other], model, FEW)
    with pytest.raises(InputError, match="1 image"):
        segment(image, model, FEW)


def test_the_order_of_the_channels_counts():
    model = small.model(small.lively(small.network(input_channels=2)))
    one, other = small.image(seed=0), small.image(seed=1)
    first, second = segment([one, other], model, FEW), segment([other, one], model, FEW)
    assert not np.array_equal(arrays(first)["entropy"], arrays(second)["entropy"])


def test_a_spacing_that_cannot_be_meant_is_refused_before_memory_is_taken(model):
    with pytest.raises(InputError, match="Correct the spacing"):
        segment(small.image(spacing=(5000.0, 5000.0, 8.0)), model, replace(FEW, slice_axis="k"))


def test_a_device_that_is_not_there_is_refused(model):
    with pytest.raises(DeviceError, match=r"cuda:7 is not there\. Choose auto or one of these: "):
        segment(small.image(), model, Options(device="cuda:7"))


@pytest.mark.parametrize(
    "options",
    [
        {"samples": 0},
        {"samples": 2.5},
        {"samples": 1001},
        {"seed": -1},
        {"seed": "x"},
        {"slice_axis": "axial"},
        {"region": 5},
        {"region": ((0, 0), (1, 1))},
        {"region": ("abc", "def")},
        {"region": ((0, 0, 0), (float("nan"), 1, 1))},
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_in_words(options):
    with pytest.raises(InputError):
        Options(**options)


def test_a_gpu_out_of_memory_ends_on_the_cpu_with_a_warning_in_the_result(monkeypatch):
    """ "cpu:0" plays a GPU whose memory ends on the way."""
    model = small.model()
    original, seen = Sampling._sample, []
    expected = segment(small.image(), model, FEW)

    def sample(self, x, wanted, weights, chunk, tick, samples):
        if self.device == "cpu:0":
            tick(0.9)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(self, x, wanted, weights, chunk, tick, samples)

    monkeypatch.setattr(pipeline, "choose_device", lambda wanted: "cpu:0")
    monkeypatch.setattr(Sampling, "_sample", sample)
    result = segment(small.image(), model, FEW, progress=seen.append)
    assert result.provenance["device"] == "cpu"
    assert any("went on on the CPU" in w for w in result.warnings)
    assert any("smaller pieces" in w for w in result.warnings)
    np.testing.assert_array_equal(arrays(result)["labels"], arrays(expected)["labels"])
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen)


def test_a_gpu_without_room_for_the_network_leaves_the_run_to_the_cpu(monkeypatch):
    model = small.model()
    expected = segment(small.image(), model, FEW)
    network = type(model).network

    def refuse(self, device="cpu"):
        if device == "cpu:0":
            raise RuntimeError("CUDA error: out of memory. CUDA kernel errors might be reported later")
        return network(self, device)

    monkeypatch.setattr(pipeline, "choose_device", lambda wanted: "cpu:0")
    monkeypatch.setattr(type(model), "network", refuse)
    result = segment(small.image(), model, FEW)
    assert result.provenance["device"] == "cpu"
    assert any(
        "too little memory (CUDA error: out of memory): the run went on on the CPU" in w for w in result.warnings
    )
    np.testing.assert_array_equal(arrays(result)["labels"], arrays(expected)["labels"])


def test_a_gpu_that_cannot_be_used_is_said_in_the_result_of_a_run_that_was_to_choose(monkeypatch, model):
    left_out = {"id": "cuda:0", "name": "Old card", "reason": "CUDA error: no kernel image is available"}
    monkeypatch.setattr(pipeline, "unusable_devices", lambda: [left_out])
    (said,) = (warning for warning in segment(small.image(), model, FEW).warnings if "GPU" in warning)
    assert said == (
        "The GPU could not be used (Old card: CUDA error: no kernel image is available): the run was on the CPU, which "
        "is slower."
    )
    chosen = segment(small.image(), model, replace(FEW, device="cpu"))
    assert not any("GPU" in warning for warning in chosen.warnings)


def test_the_provenance_says_with_what_and_how(model):
    options = Options(samples=3, seed=9)
    found = segment(small.image(), model, options).provenance
    assert found["model"] == {"name": "small", "version": "1.2.3", "sha256": model.sha256}
    assert found["options"]["samples"] == 3
    assert found["options"]["seed"] == 9
    assert found["device"] == "cpu"
    assert found["seconds"] >= 0


def test_the_case_quality_is_the_dice_that_the_probabilities_expect(model):
    result = segment(small.image(), model, replace(FEW, keep_probabilities=True))
    p, labels = sitk.GetArrayFromImage(result.probabilities), arrays(result)["labels"]
    expected = []
    for value in (1, 2):
        own = np.where((labels == value) | (p[..., value] > 0.01), p[..., value], 0)
        expected.append(2 * own[labels == value].sum() / ((labels == value).sum() + own.sum()))
    assert result.case_quality == pytest.approx(np.mean(expected), abs=1e-4)


def test_of_a_connected_structure_the_largest_piece_is_kept(model):
    image = small.image((20, 18, 6))
    everything = segment(image, model, replace(FEW, keep_probabilities=True))
    connected = replace(model, labels=(Label(1, "structure 1", (9, 9, 9), connected=True), model.labels[1]))
    found = segment(image, connected, FEW)
    before, after = arrays(everything)["labels"], arrays(found)["labels"]
    pieces = sitk.GetArrayFromImage(sitk.RelabelComponent(sitk.ConnectedComponent(everything.labels == 1, True)))
    assert pieces.max() > 1
    np.testing.assert_array_equal(after == 1, pieces == 1)
    np.testing.assert_array_equal(after == 2, before == 2)
    removed = pieces > 1
    unchanged = ~removed
    error = arrays(found)["error_probability"]
    np.testing.assert_array_equal(error[unchanged], arrays(everything)["error_probability"][unchanged])
    share = removed.sum() / (before == 1).sum()
    foreground = 1 - sitk.GetArrayFromImage(everything.probabilities)[..., 0]
    np.testing.assert_allclose(error[removed], foreground[removed] * share, atol=1e-5)
    said = [warning for warning in found.warnings if "lay apart from the rest of it" in warning]
    assert bool(said) == (share > 0.2)
    assert found.structures[0].volume_ml < everything.structures[0].volume_ml


def test_what_lies_outside_its_surroundings_is_left_out(model):
    image = small.image((20, 18, 6))
    before = arrays(segment(image, model, FEW))
    one, two = model.labels
    found = segment(image, replace(model, labels=(replace(one, inside=two.value), two)), FEW)
    after = arrays(found)
    inside = continuity.inside_pieces(before["labels"] == 1, before["labels"] == 2)
    assert 0 < inside.sum() < (before["labels"] == 1).sum()
    np.testing.assert_array_equal(after["labels"] == 1, inside)
    np.testing.assert_array_equal(after["labels"] == 2, before["labels"] == 2)
    removed = (before["labels"] == 1) & ~inside
    assert (after["error_probability"][removed] > 0).all()
    assert any("lay apart" in warning for warning in found.warnings) == (
        removed.sum() > 0.2 * (before["labels"] == 1).sum()
    )


def hide(monkeypatch, value: int, slices) -> None:
    """Has the network find nothing of a structure in these slices."""
    take = native_grid.NativeGrid._take

    def without(grid, slab, offset):
        if slab.first + offset in slices:
            means = slab.mean_probabilities.clone()
            means[:, 0] += means[:, value]
            means[:, value] = 0
            slab = replace(slab, mean_probabilities=means)
        return take(grid, slab, offset)

    monkeypatch.setattr(native_grid.NativeGrid, "_take", without)


def test_beyond_the_slices_of_another_structure_only_what_is_sure_stays(model, monkeypatch):
    """Structure 1 is found in all six slices, structure 2 in four; in one of the two, structure 1 is sure enough."""
    hide(monkeypatch, 2, (0, 5))
    image = small.image((20, 18, 6))
    free = segment(image, model, replace(FEW, keep_probabilities=True))
    before, foreground = arrays(free)["labels"], 1 - sitk.GetArrayFromImage(free.probabilities)[..., 0]
    assert np.flatnonzero((before == 2).any((1, 2))).tolist() == [1, 2, 3, 4]
    means = {here: foreground[here][before[here] == 1].mean() for here in (0, 5)}
    unsure = min(means, key=means.get)
    monkeypatch.setattr(continuity, "SURE", np.mean([*means.values()]))
    one, two = model.labels
    found = segment(image, replace(model, labels=(replace(one, slices_of=two.value), two)), FEW)
    expected = before.copy()
    expected[unsure][before[unsure] == 1] = 0
    assert (expected != before).any()
    np.testing.assert_array_equal(arrays(found)["labels"], expected)
    share = (expected == 1).sum() / (before == 1).sum()
    assert found.structures[0].volume_ml == pytest.approx(share * free.structures[0].volume_ml)
    assert found.structures[1] == free.structures[1]
    error, removed = arrays(found)["error_probability"], expected != before
    np.testing.assert_allclose(error[removed], foreground[removed], atol=1e-5)
    np.testing.assert_array_equal(error[~removed], arrays(free)["error_probability"][~removed])


def test_where_the_other_structure_is_in_no_slice_all_stays(model, monkeypatch):
    hide(monkeypatch, 2, range(6))
    monkeypatch.setattr(continuity, "SURE", 1.0)
    image = small.image((20, 18, 6))
    before = arrays(segment(image, model, FEW))["labels"]
    one, two = model.labels
    found = segment(image, replace(model, labels=(replace(one, slices_of=two.value), two)), FEW)
    assert (before == 1).any()
    np.testing.assert_array_equal(arrays(found)["labels"], before)


def test_in_a_region_that_may_cut_the_other_structure_off_all_stays(model, monkeypatch):
    hide(monkeypatch, 2, (0, 5))
    monkeypatch.setattr(continuity, "SURE", 1.0)
    image = small.image((20, 18, 6))
    corners = [image.TransformContinuousIndexToPhysicalPoint(index) for index in ((-0.5, -0.5, -0.5), (9.5, 17.5, 5.5))]
    options = replace(FEW, region=(tuple(np.min(corners, 0)), tuple(np.max(corners, 0))))
    one, two = model.labels
    before = arrays(segment(image, model, options))["labels"]
    found = segment(image, replace(model, labels=(replace(one, slices_of=two.value), two)), options)
    assert (before[[0, 5]] == 1).any()
    np.testing.assert_array_equal(arrays(found)["labels"], before)


def test_a_stack_has_the_models_spacing_over_the_same_extent(model):
    stack = stack_of([small.image((50, 40, 6), (0.7, 1.1, 8.0))], 2.0, model.intensity, "auto")
    assert stack.values.shape == (1, 6, 22, 18)
    assert stack.shape == (6, 40, 50)
    assert stack.spacing == (8.0, 1.1, 0.7)
    assert stack.pixels * 22 * 18 == pytest.approx(50 * 40)


@pytest.mark.parametrize("columns", [1, 64])
def test_a_slice_of_one_pixel_is_segmented_whatever_its_sense(model, columns):
    image = sitk.Flip(small.image((columns, 65 - columns, 6)), [True, True, False], False)
    assert len(segment(image, model, replace(FEW, slice_axis="k")).slices) == 6


def test_volumes_of_leaning_axes_count_their_voxels(model):
    image = small.image()
    image.SetDirection((1, 0, 0.6, 0, 1, 0, 0, 0, 0.8))
    found = segment(image, model, FEW)
    voxel = np.prod(image.GetSpacing()) * 0.8 / 1000
    counts = np.bincount(sitk.GetArrayFromImage(found.labels).ravel(), minlength=3)
    assert [s.volume_ml for s in found.structures] == pytest.approx(counts[1:] * voxel)
    assert any("right angle" in warning for warning in found.warnings)


def test_where_nothing_is_there_it_has_no_rank(monkeypatch, model):
    calibrated = replace(model, calibration=replace(model.calibration, case_quality=(0.5, 0.9)))
    monkeypatch.setattr(native_grid, "resize", lambda values, size: emptied(resize(values, size)))
    found = segment(small.image(), calibrated, FEW)
    assert found.is_empty
    assert (found.case_quality, found.case_rank) == (1.0, None)  # as its mean Dice is with a truth as empty


def emptied(values):
    """Probabilities (K, h, w) of background alone; other maps as they are."""
    if values.dim() == 3 and len(values) > 1:
        values = torch.zeros_like(values)
        values[0] = 1
    return values


def test_a_calibrated_model_places_a_case_among_its_validation_scans(model):
    calibrated = replace(model, calibration=replace(model.calibration, case_quality=(0.0, 0.1, 0.2, 1.0)))
    assert segment(small.image(), calibrated, Options(samples=2)).case_rank == 0.75
    assert segment(small.image(), model, Options(samples=2)).case_rank is None


def test_a_part_of_the_image_has_no_place_among_whole_scans(model):
    calibrated = replace(model, calibration=replace(model.calibration, case_quality=(0.0, 0.1)))
    image = small.image()
    corners, all_of_it = (
        tuple(image.TransformIndexToPhysicalPoint(index) for index in (first, last))
        for first, last in (((0, 0, 0), (12, 12, 4)), ((0, 0, 0), [n - 1 for n in image.GetSize()]))
    )
    region = segment(image, calibrated, replace(FEW, region=corners))
    slices = segment(image, calibrated, FEW, slices=[2, 3])
    whole = segment(image, calibrated, replace(FEW, region=all_of_it))
    assert [(part.extent, part.case_rank) for part in (region, slices)] == [("region", None), ("slices", None)]
    assert (whole.extent, whole.case_rank) == ("whole", 1.0)
    known = f"{region.case_quality:.2f} inside the region (not comparable with that of whole scans)"
    assert region.expected_dice == known
    assert slices.expected_dice.endswith(" in these slices (not comparable with that of whole scans)")
    assert whole.expected_dice == f"{whole.case_quality:.2f}"


def test_a_result_is_said_to_be_poor_where_its_case_quality_is_below_that_of_validation_scans(model):
    high, low = ((q,) * 10 for q in (1.0, 0.0))
    said = [
        segment(small.image(), replace(model, calibration=replace(model.calibration, case_quality=q)), FEW).warnings
        for q in (high, low, ())
    ]
    assert said[0][0].startswith("The result may be poor: its expected Dice is 0.")
    assert "lower than that of every validation scan" in said[0][0]
    assert not any("poor" in sentence for sentence in said[1] + said[2])


def test_a_volume_unlike_those_learned_from_is_said_only_where_the_result_is_probably_poor(model):
    learnt = replace(model.trained_on, volumes_ml={1: (1e5, 2e5), 2: (1e5, 2e5)})
    said = []
    for qualities in ((1.0,), (0.0,), ()):
        calibration = replace(model.calibration, case_quality=qualities)
        unlike = replace(model, trained_on=learnt, calibration=calibration)
        found = segment(small.image(), unlike, FEW)
        said.append(any("In the training scans it measured" in sentence for sentence in found.warnings))
    assert said == [True, False, True]  # without a calibration nobody knows


def test_of_a_region_nobody_says_that_it_is_poor(model):
    calibrated = replace(model, calibration=replace(model.calibration, case_quality=(1.0,)))
    image = small.image()
    corners = [image.TransformIndexToPhysicalPoint(index) for index in ((4, 4, 0), (15, 13, 5))]
    region = tuple(tuple(map(f, *corners)) for f in (min, max))
    found = segment(image, calibrated, Options(samples=2, region=region))
    assert not any("poor" in sentence for sentence in found.warnings)


def test_a_structure_that_was_not_found_is_said(monkeypatch):
    model = small.model()
    only = next(iter(model.labels))
    monkeypatch.setattr(native_grid.NativeGrid, "take", lambda self, slab, threads: None)  # nothing becomes foreground
    said = segment(small.image(), model, FEW).warnings
    assert f"{only.name} was not found, so do not rely on the expected Dice. Look for it in the image." in said


def test_a_size_unlike_those_of_the_training_is_said_of_a_whole_image_alone(model):
    image = small.image()
    before = segment(image, model, FEW)
    [ml] = [s.volume_ml for s in before.structures if s.value == 1]
    assert ml
    strict = replace(model, trained_on=replace(model.trained_on, volumes_ml={1: (4 * ml, 5 * ml)}))
    [said] = set(segment(image, strict, FEW).warnings) - set(before.warnings)
    assert said.startswith(f"structure 1 measures {ml:.3g} ml. ")
    corners = [image.TransformIndexToPhysicalPoint(index) for index in ((0, 0, 0), (12, 12, 4))]
    parts = (
        segment(image, strict, replace(FEW, region=tuple(corners))),
        segment(image, strict, FEW, slices=[2, 3]),
    )
    assert not any("In the training scans it measured" in w for part in parts for w in part.warnings)


@pytest.mark.parametrize("augmented", [False, True])
def test_a_run_says_that_its_own_way_is_not_calibrated(augmented):
    done = Calibration(dice_scale=2.0)
    model = small.model(free_orientation=True, calibration=done, augmented_calibration=done)
    options = Options(samples=2, test_time_augmentation=augmented)
    image = small.image((20, 18, 6))
    assert not any("not calibrated" in said for said in segment(image, model, options).warnings)
    lacking = replace(model, **{"augmented_calibration" if augmented else "calibration": Calibration()})
    how = "with test-time augmentation" if augmented else "without test-time augmentation"
    assert any(f"is not calibrated {how}" in said for said in segment(image, lacking, options).warnings)


def test_one_sample_is_one_pass_whatever_the_seed(model):
    image = small.image((20, 18, 6))
    one, other = (segment(image, model, Options(samples=1, seed=seed)) for seed in (0, 1))
    for name in MAPS:
        np.testing.assert_array_equal(arrays(one)[name], arrays(other)[name])


def test_what_touches_the_border_of_a_region_counts_as_one_piece():
    """What joins them may lie beyond it."""
    mask = np.zeros((3, 12, 12), bool)
    mask[:, 0:3, 2:5] = mask[:, 5:8, 0:2] = mask[:, 9:11, 6:9] = True
    kept = continuity.largest_piece(mask, ((False, False), (True, False), (True, False)))
    assert kept[:, 0:3, 2:5].all()
    assert kept[:, 5:8, 0:2].all()
    assert not kept[:, 9:11].any()


@pytest.mark.parametrize("threads", [1, 2])
def test_expected_differences_are_those_of_the_probabilities_on_the_native_grid(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = small.model()
        result = segment(small.image(), model, Options(samples=2, keep_probabilities=True))
    finally:
        torch.set_num_threads(before)
    probabilities = torch.from_numpy(np.moveaxis(sitk.GetArrayFromImage(result.probabilities), -1, 1).copy())
    labels = torch.from_numpy(sitk.GetArrayFromImage(result.labels).astype(np.int64))
    difference = expected_difference(probabilities, labels).numpy()
    voxel_ml = np.prod(small.image().GetSpacing()) / 1000
    for structure in result.structures:
        scale = model.calibration.volume_scale.get(structure.value, 1.0)
        high = structure.volume_ml + scale * difference[structure.value] * voxel_ml
        assert structure.high_ml == pytest.approx(high, rel=1e-4)
