"""Some slices drawn, the rest filled: what is drawn stays, what is filled is told with its uncertainty."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from unit import small
from unit.small_fill import ROD, dice, disc, drawn, image_of, model, rod

from csam.errors import Cancelled, DeviceError, InputError
from csam.image.unknown import UNKNOWN
from csam.interactive import tuning
from csam.interactive.drawing import FillOptions, Structure
from csam.interactive.fill import fill
from csam.result import SLICES, WHOLE

PLAIN = FillOptions(device="cpu", tune=False)
BEYOND = FillOptions(device="cpu", tune=False, beyond=True)
TUNED = FillOptions(device="cpu")
MAPS = ("labels", "error_probability", "entropy", "mutual_information")


@pytest.fixture(scope="module")
def network():
    return model()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(tuning, "STEPS", 2)
    monkeypatch.setattr(tuning, "MORE_STEPS", 1)


def voxels(image):
    return sitk.GetArrayFromImage(image)


def same(one, other):
    return all((voxels(getattr(one, name)) == voxels(getattr(other, name))).all() for name in MAPS)


def two_rods():
    """Two touching rods of the values 1 and 2."""
    size = (48, 56)
    return np.stack(
        [np.where(disc(size, (20 + n, 18), 10), 1, np.where(disc(size, (20 + n, 36), 10), 2, 0)) for n in range(7)]
    ).astype(np.uint8)


@pytest.mark.parametrize("options", [PLAIN, BEYOND, TUNED], ids=["plain", "beyond", "tuned"])
@pytest.mark.parametrize("whose", ["network", "interpolation"])
def test_what_is_drawn_comes_back_to_the_voxel_and_without_error(network, options, whose):
    labels = rod()
    labels[3, 2:5, 2:9] = 1  # odd, as drawings are
    labels[3, 24, 20] = 0
    result = fill(image_of(labels), drawn(labels, [1, 3, 5]), ROD, network if whose == "network" else None, options)
    found, error = voxels(result.labels), voxels(result.error_probability)
    assert found.dtype == np.uint8
    assert (found[[1, 3, 5]] == labels[[1, 3, 5]]).all()
    assert (error[[1, 3, 5]] == 0).all()
    assert (voxels(result.entropy)[[1, 3, 5]] == 0).all()
    assert error[2].max() > 0
    assert ((error >= 0) & (error <= 1)).all()
    assert UNKNOWN not in found


def test_known_voxels_of_a_slice_that_is_drawn_in_part_are_kept(network):
    labels = rod()
    known = voxels(drawn(labels, [1, 5]))
    known[3, :20] = 1
    known[3, 20:30, :10] = 0
    result = fill(image_of(labels), small.placed(known), ROD, network, PLAIN)
    here = known[3] != UNKNOWN
    assert (voxels(result.labels)[3][here] == known[3][here]).all()
    assert (voxels(result.error_probability)[3][here] == 0).all()
    assert voxels(result.labels)[3, 24, 20] == 1


def test_the_slices_between_the_drawn_ones_are_filled_and_no_others(network):
    labels = rod()
    result = fill(image_of(labels), drawn(labels, [1, 5]), ROD, None, PLAIN)
    found = voxels(result.labels)
    assert all(dice(found[n] == 1, labels[n] == 1) > 0.9 for n in (2, 3, 4))
    assert not found[[0, 6]].any()
    assert not voxels(result.error_probability)[[0, 6]].any()
    assert result.extent == SLICES


def test_beyond_the_drawn_slices_is_filled_where_that_is_asked_for():
    labels = rod(lean=(0, 0))
    result = fill(image_of(labels), drawn(labels, [2, 4]), ROD, None, BEYOND)
    assert all(dice(found == 1, truth == 1) > 0.95 for found, truth in zip(voxels(result.labels), labels, strict=True))
    assert result.extent == WHOLE


def test_one_drawn_slice_fills_all_of_the_stack(network):
    labels = rod(lean=(0, 0))
    for options in (PLAIN, TUNED):
        result = fill(image_of(labels), drawn(labels, [3]), ROD, network, options)
        assert result.extent == WHOLE
        assert all(found.any() for found in voxels(result.labels))


def test_a_slice_drawn_empty_ends_a_structure():
    labels = rod(lean=(0, 0))
    labels[5:] = 0
    found = voxels(fill(image_of(labels), drawn(labels, [1, 5]), ROD, None, BEYOND).labels)
    assert not found[5:].any()
    assert found[2].sum() > found[4].sum()


def test_structures_that_touch_are_filled_side_by_side(network):
    labels = two_rods()
    structures = [Structure(1, "left"), Structure(2, "right")]
    for net in (None, network):
        result = fill(image_of(labels), drawn(labels, [0, 6]), structures, net, PLAIN)
        for value in (1, 2):
            assert dice(voxels(result.labels)[3] == value, labels[3] == value) > (0.9 if net is None else 0.3)
        assert [s.name for s in result.structures] == ["left", "right"]
        for n, s in enumerate(result.structures):
            assert result.slices[3].areas_mm2[n] == 4.0 * np.count_nonzero(voxels(result.labels)[3] == s.value)


def test_a_structure_that_is_in_no_drawn_slice_is_told(network):
    labels = rod()
    result = fill(image_of(labels), drawn(labels, [1, 5]), [*ROD, Structure(9, "stent")], network, PLAIN)
    assert any("stent" in warning for warning in result.warnings)
    assert not (voxels(result.labels) == 9).any()
    assert result.structures[1].volume_ml == 0


@pytest.mark.parametrize("options", [PLAIN, TUNED], ids=["plain", "tuned"])
def test_the_same_seed_gives_the_same_bits(network, options):
    labels = rod()
    one, other = (fill(image_of(labels), drawn(labels, [0, 3, 6]), ROD, network, options) for _ in "ab")
    assert same(one, other)


def test_another_seed_tunes_otherwise(network):
    labels = rod()
    one, other = (
        fill(image_of(labels), drawn(labels, [0, 3, 6]), ROD, network, FillOptions(seed=seed, device="cpu"))
        for seed in (0, 1)
    )
    assert not same(one, other)


def test_the_same_anatomy_stored_in_any_way_is_filled_alike():
    labels = two_rods()
    image, drawing = image_of(labels), drawn(labels, [0, 3, 6])
    structures = [Structure(1, "left"), Structure(2, "right")]
    expected = fill(image, drawing, structures, None, PLAIN)
    ways = [*zip(small.stored_in_every_way(drawing), small.stored_in_every_way(image), strict=True)]
    for (other, lines), (_, seen) in ways[::5]:
        result = fill(seen, lines, structures, None, PLAIN)
        assert (small.on_grid(result.labels, image) == voxels(expected.labels)).all(), other


@pytest.mark.parametrize(
    "way",
    [((0, 1, 2), (True, False, True)), ((2, 0, 1), (False, True, False)), ((1, 2, 0), (True, True, True))],
    ids=str,
)
@pytest.mark.parametrize("direction", [None, small.OBLIQUE], ids=["straight", "oblique"])
def test_a_tuned_network_fills_the_same_anatomy_alike_however_it_is_stored(network, way, direction):
    labels = rod()
    image, drawing = image_of(labels, direction=direction), drawn(labels, [0, 3, 6], direction=direction)
    expected = fill(image, drawing, ROD, network, TUNED)
    seen, lines = (sitk.Flip(sitk.PermuteAxes(one, way[0]), way[1], False) for one in (image, drawing))
    result = fill(seen, lines, ROD, network, TUNED)
    assert (small.on_grid(result.labels, image) == voxels(expected.labels)).all()
    assert small.on_grid(result.error_probability, image) == pytest.approx(voxels(expected.error_probability), abs=1e-5)


def test_a_left_handed_image_is_filled_as_its_right_handed_twin():
    labels = rod()
    mirrored = (-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
    result = fill(image_of(labels, direction=mirrored), drawn(labels, [1, 5], direction=mirrored), ROD, None, PLAIN)
    assert all(dice(voxels(result.labels)[n] == 1, labels[n] == 1) > 0.9 for n in (2, 3, 4))


def test_reviewed_slices_are_kept_and_their_neighbours_follow(network):
    """An earlier result that is too small everywhere: two slices corrected make the others larger."""
    labels = rod(9, lean=(0, 0), radius=12)
    earlier = rod(9, lean=(0, 0), radius=8)
    found = small.placed(earlier)
    for net in (None, network):
        result = fill(image_of(labels), drawn(labels, [2, 5]), ROD, net, PLAIN, found)
        after = voxels(result.labels)
        assert (after[[2, 5]] == labels[[2, 5]]).all()
        assert result.extent == WHOLE
        if net is None:
            for n in (1, 3, 4, 6):
                assert dice(after[n] == 1, labels[n] == 1) > dice(earlier[n] == 1, labels[n] == 1) + 0.05
    assert (voxels(found) == earlier).all()


def test_a_slice_that_was_right_changes_nothing():
    labels = rod(9, lean=(0, 0))
    result = fill(image_of(labels), drawn(labels, [2, 5]), ROD, None, PLAIN, small.placed(labels))
    assert (voxels(result.labels) == labels).all()


def test_a_structure_of_the_earlier_result_that_is_in_no_reviewed_slice_stays():
    labels = rod(9, lean=(0, 0))
    labels[5:] = 0
    found = voxels(fill(image_of(labels), drawn(labels, [6, 8]), ROD, None, PLAIN, small.placed(labels)).labels)
    assert (found == labels).all()
    fill(image_of(labels), drawn(labels, [6, 8]), ROD, model(), TUNED, small.placed(labels))


def test_an_earlier_result_on_another_grid_is_refused():
    labels = rod()
    with pytest.raises(InputError, match="another grid"):
        fill(image_of(labels), drawn(labels, [2, 5]), ROD, None, PLAIN, small.placed(labels[1:]))


def test_drawn_slices_that_lie_side_by_side_leave_nothing_to_fill():
    labels = rod()
    with pytest.raises(InputError, match="No slice lies between the drawn ones"):
        fill(image_of(labels), drawn(labels, [2, 3]), ROD, None, PLAIN)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.float64])
def test_any_pixel_type_is_filled(network, dtype):
    labels = rod()
    values = (voxels(image_of(labels)) / 4).astype(dtype)
    result = fill(small.placed(values), drawn(labels, [1, 5]), ROD, network, PLAIN)
    reference = fill(small.placed(values.astype(np.float32)), drawn(labels, [1, 5]), ROD, network, PLAIN)
    assert same(result, reference)


@pytest.mark.parametrize("what", ["constant", "nan", "infinite", "one odd voxel"])
def test_odd_images_give_finite_results(network, what):
    labels = rod()
    values = voxels(image_of(labels, np.float32))
    if what == "constant":
        values[:] = 5
    elif what == "nan":
        values[3, 10:20] = np.nan
    elif what == "infinite":
        values[2, 5, 5], values[4, 5, 5] = np.inf, -np.inf
    else:
        values[3, 24, 20] = 1e30
    for options in (PLAIN, TUNED):
        result = fill(small.placed(values), drawn(labels, [1, 3, 5]), ROD, network, options)
        assert np.isfinite(voxels(result.error_probability)).all()
        assert np.isfinite(voxels(result.entropy)).all()
        assert np.isfinite(result.case_quality)


@pytest.mark.parametrize("spacing", [(1e-3, 1e-3, 4e-3), (200.0, 200.0, 900.0), (0.5, 2.0, 9.0)])
def test_huge_tiny_and_uneven_spacings_are_filled(network, spacing):
    labels = rod(lean=(0.5, 0.5))
    place = {"spacing": spacing}
    assert np.isfinite(
        fill(image_of(labels, **place), drawn(labels, [1, 5], **place), ROD, network, TUNED).case_quality
    )
    result = fill(image_of(labels, **place), drawn(labels, [1, 5], **place), ROD, None, PLAIN)
    assert all(dice(voxels(result.labels)[n] == 1, labels[n] == 1) > 0.9 for n in (2, 3, 4))


def test_a_stack_of_two_slices_is_filled(network):
    labels = rod(2, lean=(0, 0))
    for options in (PLAIN, TUNED):
        result = fill(image_of(labels), drawn(labels, [0]), ROD, network, options)
        assert (voxels(result.labels)[0] == labels[0]).all()
        assert result.extent == WHOLE


@pytest.mark.parametrize("place", [(0, 0), (47, 39), (0, 39)])
def test_a_structure_at_the_image_s_edge_is_filled(place):
    labels = np.stack([disc((48, 40), place, 10)] * 5).astype(np.uint8)
    result = fill(image_of(labels), drawn(labels, [0, 4]), ROD, None, PLAIN)
    assert dice(voxels(result.labels)[2] == 1, labels[2] == 1) > 0.95


def test_a_single_pixel_is_filled():
    labels = np.zeros((5, 30, 30), np.uint8)
    labels[:, 14, 17] = 1
    found = voxels(fill(image_of(labels), drawn(labels, [0, 4]), ROD, None, PLAIN).labels)
    assert found[2, 14, 17] == 1
    assert found[2].sum() < 6


def test_slices_are_ranked_and_the_next_to_draw_is_an_undrawn_one(network):
    labels = rod(9)
    result = fill(image_of(labels), drawn(labels, [0, 8]), ROD, network, PLAIN)
    assert sorted(s.rank for s in result.slices) == [*range(1, 10)]
    assert [s.index for s in result.slices] == [*range(9)]
    first = result.ranked_slices()[0]
    assert first.index not in (0, 8)
    assert {s.index for s in result.ranked_slices()[-2:]} == {0, 8}
    assert [s.reason for s in result.slices] == ["drawn", *[""] * 7, "drawn"]
    error = voxels(result.error_probability)
    for s in result.slices:
        assert s.expected_wrong_area_mm2 == pytest.approx(4.0 * error[s.index].sum(), rel=1e-4)
    assert result.provenance["drawn"] == [0, 8]


def test_volumes_have_intervals_around_them(network):
    labels = two_rods()
    structures = [Structure(1, "left"), Structure(2, "right")]
    result = fill(image_of(labels), drawn(labels, [0, 3, 6]), structures, network, PLAIN)
    for s in result.structures:
        assert 0 <= s.low_ml <= s.volume_ml <= s.high_ml
        assert s.low_ml < s.high_ml
        assert s.volume_ml == pytest.approx(np.count_nonzero(voxels(result.labels) == s.value) * 32 / 1000)
        assert s.mean_ml > 0
    assert 0 <= result.case_quality <= 1


def test_a_run_that_is_cancelled_at_any_report_leaves_no_trace(network):
    labels = two_rods()
    structures = [Structure(1, "left"), Structure(2, "right")]
    image, drawing = image_of(labels), drawn(labels, [0, 3, 6])
    before = {name: tensor.clone() for name, tensor in network.network().state_dict().items()}
    reports, memory = 0, {}

    def run(last, kept):
        nonlocal reports
        reports = 0

        def cancelled():
            nonlocal reports
            reports += 1
            return reports == last

        return fill(image, drawing, structures, network, TUNED, cancelled=cancelled, memory=kept)

    expected = run(None, {})
    total = reports
    assert total > 8
    for last in range(1, total + 1):
        with pytest.raises(Cancelled):
            run(last, memory)
        assert memory == {}
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.network().state_dict().items())
    assert same(run(None, memory), expected)
    assert set(memory) == {1, 2}


def test_a_second_round_starts_from_what_the_first_one_learned(network):
    labels = rod(9)
    memory = {}
    fill(image_of(labels), drawn(labels, [0, 8]), ROD, network, TUNED, memory=memory)
    second = [fill(image_of(labels), drawn(labels, [0, 4, 8]), ROD, network, TUNED, memory=dict(memory)) for _ in "ab"]
    anew = fill(image_of(labels), drawn(labels, [0, 4, 8]), ROD, network, TUNED)
    assert same(*second)
    assert not same(second[0], anew)


def test_progress_rises_and_names_the_structure(network):
    labels = rod()
    seen = []
    fill(image_of(labels), drawn(labels, [0, 3, 6]), ROD, network, TUNED, progress=seen.append)
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] <= fractions[-1] <= 1
    assert any("rod" in progress.stage for progress in seen)


def test_a_large_image_is_filled_in_a_bounded_window(network):
    labels = np.zeros((40, 512, 512), np.uint8)
    labels[:, 60:450, 80:430] = 1
    shapes = []
    net = network.network()
    hook = net.register_forward_pre_hook(lambda _, inputs: shapes.append(tuple(inputs[0].shape)))
    try:
        values = small.placed((100 * labels).astype(np.uint8))
        result = fill(values, drawn(labels, [16, 20]), ROD, network, PLAIN)
    finally:
        hook.remove()
    assert shapes
    assert all(n <= 4 and max(h, w) <= 176 for n, _, h, w in shapes)
    assert (voxels(result.labels)[[16, 20]] == labels[[16, 20]]).all()


def test_images_are_not_changed(network):
    labels = rod()
    image, drawing = image_of(labels, np.float32), drawn(labels, [1, 5])
    copies = voxels(image), voxels(drawing)
    fill(image, drawing, ROD, network, TUNED)
    assert (voxels(image) == copies[0]).all()
    assert (voxels(drawing) == copies[1]).all()


class FailingGPU:
    """ "cpu:0" plays a GPU that fails when it has run the network ``after`` times."""

    def __init__(self, monkeypatch, network, after, error, where="cpu:0"):
        self.left, self.error, self.failed = after, error, 0
        monkeypatch.setattr("csam.interactive.fill.choose_device", lambda wanted: where)
        network.network(where).register_forward_pre_hook(lambda *_: self._run())  # copies of the network share it

    def _run(self):
        self.left -= 1
        if self.left < 0:
            self.failed += 1
            raise self.error


@pytest.mark.parametrize("after", [0, 1, 2, 3], ids=["at once", "learning", "filling", "the second structure"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "The GPU had too little memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "The GPU failed"),
    ],
    ids=["memory", "fault"],
)
def test_a_gpu_that_fails_on_the_way_leaves_the_filling_to_the_cpu(monkeypatch, after, error, said):
    labels, own = two_rods(), model()
    structures = [Structure(1, "left"), Structure(2, "right")]
    image, drawing = image_of(labels), drawn(labels, [0, 3, 6])
    first = {}
    expected = fill(image, drawing, structures, model(), TUNED, memory=first)
    gpu, seen, memory = FailingGPU(monkeypatch, own, after, error), [], {}
    result = fill(image, drawing, structures, own, TUNED, progress=seen.append, memory=memory)
    assert gpu.failed == 1  # nor is it tried again for the second structure
    assert same(result, expected)
    assert result.provenance["device"] == "cpu"
    assert [warning for warning in result.warnings if said in warning and "went on on the CPU" in warning]
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen)
    for value, kept in first.items():
        assert all(torch.equal(tensor, memory[value]["weights"][name]) for name, tensor in kept["weights"].items())


def test_a_filling_for_which_no_memory_suffices_says_so(monkeypatch):
    labels, own = rod(), model()
    error = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory")
    FailingGPU(monkeypatch, own, 1, error, "cpu")
    with pytest.raises(DeviceError, match="too little memory"):
        fill(image_of(labels), drawn(labels, [0, 3, 6]), ROD, own, TUNED)
