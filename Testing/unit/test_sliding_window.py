"""Whole stacks through windows and tiles: nothing missing, nothing counted twice, memory that does not grow."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit import small

from csam.errors import DeviceError, DeviceLost, in_short
from csam.image.geometry import pad_amounts, windows
from csam.network.decoding import Decoding
from csam.network.posterior import elements_at_once, sample_logits
from csam.pipeline import tiles
from csam.pipeline.sliding_window import Sampling, mean_probabilities
from csam.uncertainty.measures import SampleReducer, entropy


@given(window=st.integers(1, 40), more=st.integers(0, 120))
def test_blending_weights_add_up_to_one_and_windows_cover_everything(window, more):
    length = window + more
    starts, weights = windows(length, window)
    total = np.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        assert 0 <= start <= length - window
        assert (weight > 0).all()
        total[start : start + window] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert starts == sorted(set(starts))


@given(window=st.integers(4, 40), more=st.integers(0, 120))
def test_neighbouring_windows_overlap_by_about_a_quarter(window, more):
    starts, _ = windows(window + more, window)
    assert all(b - a <= 0.75 * window + 1 for a, b in pairwise(starts))


@given(length=st.integers(1, 50), minimum=st.integers(1, 50))
def test_padding_is_shared_between_both_ends(length, minimum):
    before, behind = pad_amounts(length, minimum)
    assert before + length + behind == max(length, minimum)
    assert 0 <= behind - before <= 1


@pytest.mark.parametrize("slices", [1, 2, 5, 6, 12, 60])
def test_every_slice_comes_once_and_in_order(slices):
    run = Sampling(small.network(), (8, 8), samples=2)
    slabs = list(run.slabs(torch.rand(1, slices, 8, 8)))
    firsts = np.cumsum([0, *(len(slab.mean_probabilities) for slab in slabs)])
    assert [slab.first for slab in slabs] == firsts[:-1].tolist()
    assert firsts[-1] == slices
    together = torch.cat([slab.mean_probabilities for slab in slabs])
    torch.testing.assert_close(together.sum(1), torch.ones(slices, 8, 8))
    assert run.areas.shape == (2, slices, 3)


@torch.no_grad()
def test_one_window_and_tile_gives_what_the_samples_give():
    net, x = small.lively(small.network()), torch.rand(1, 5, 8, 8)
    run = Sampling(net, (8, 8), samples=6, seed=3)
    (slab,) = run.slabs(x)
    logits = torch.stack(list(sample_logits(net, x.transpose(0, 1), 6, torch.Generator().manual_seed(3), "antithetic")))
    p = logits.softmax(2)
    torch.testing.assert_close(slab.mean_probabilities, p.mean(0))
    torch.testing.assert_close(slab.expected_entropy, torch.stack([entropy(one) for one in p]).mean(0))
    labels = p.argmax(2)
    areas = np.stack([(labels == k).sum((2, 3)).numpy() for k in range(3)], 2)
    np.testing.assert_allclose(run.areas[:, :, 1:], areas[:, :, 1:], rtol=1e-5)


@pytest.mark.parametrize("slices", [2, 5, 12])
def test_some_slices_alone_come_out_as_among_all_and_cost_no_sample_of_the_others(slices, monkeypatch):
    net, values = small.lively(small.network()), torch.rand(1, slices, 8, 12)
    run = Sampling(net, (8, 8), samples=4)
    whole = torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
    seen = []
    add = SampleReducer.add
    monkeypatch.setattr(
        SampleReducer, "add", lambda self, i, logits, some: seen.append(len(logits)) or add(self, i, logits, some)
    )
    for only in (range(1), range(slices - 1, slices), range(slices // 2, slices // 2 + 1)):
        seen.clear()
        alone = Sampling(net, (8, 8), samples=4)
        slabs = list(alone.slabs(values, only))
        assert slabs[0].first == only.start
        found = torch.cat([slab.mean_probabilities for slab in slabs])
        torch.testing.assert_close(found, whole[only.start : only.stop], atol=1e-6, rtol=1e-5)
        np.testing.assert_allclose(alone.areas[:, only], run.areas[:, only], atol=1e-4)
        assert set(seen) == {1}


@torch.no_grad()
def test_several_threads_give_the_same_sums():
    net, values = small.lively(small.network()), torch.rand(1, 9, 16, 16)
    one, several = Sampling(net, (16, 16), samples=5), Sampling(net, (16, 16), samples=5)
    expected = torch.cat([slab.mean_probabilities for slab in one.slabs(values)])
    torch.set_num_threads(3)
    try:
        found = torch.cat([slab.mean_probabilities for slab in several.slabs(values)])
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert np.abs(several.areas - one.areas).max() <= 1  # of rounding, a pixel may change sides


@torch.no_grad()
def test_a_short_stack_repeats_its_edge_slices(monkeypatch):
    net = small.network()
    x = torch.rand(1, 2, 8, 8)
    repeated = x[:, [0, 0, 1, 1, 1]]  # 5 slices: one more in front, two more behind
    torch.testing.assert_close(
        mean_probabilities(net, x, (8, 8)), net(repeated.transpose(0, 1)).softmax(1)[1:3], atol=1e-6, rtol=1e-5
    )


@torch.no_grad()
def test_a_small_picture_is_padded_and_the_padding_counts_nowhere():
    net = small.lively(small.network())
    run = Sampling(net, (16, 16), samples=3)
    (slab,) = run.slabs(torch.rand(1, 5, 6, 9))
    assert slab.mean_probabilities.shape == (5, 3, 6, 9)
    assert (run.areas.sum(2) <= 6 * 9 + 1e-3).all()
    assert run.areas[:, :, 1:].any()


@settings(max_examples=8)
@given(rows=st.integers(3, 30), columns=st.integers(3, 30), slices=st.integers(1, 9))
def test_windows_and_tiles_change_nothing_where_the_network_sees_no_neighbours(rows, columns, slices):
    """A network that looks at single pixels gives the same whole or in pieces, areas included."""

    class OnePixel:
        num_slices, architecture = 4, {"num_classes": 2, "num_levels": 1}

        def elements_per_slice(self, x):
            return x.shape[-2] * x.shape[-1]

    class WithoutGates:
        def __init__(self, network, x, threads, elements):
            self.x = x

        def sample_gates(self, samples, generator, rule):
            return [torch.zeros(samples, len(self.x))]

        def sampler(self, slices):
            some = self.x[slices]
            return lambda gates: torch.cat([0.5 - some, some - 0.5], 1).expand(len(gates[0]), -1, -1, -1, -1)

    values = torch.rand(1, slices, rows, columns, generator=torch.Generator().manual_seed(rows + columns))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("csam.pipeline.sliding_window.GatePosterior", WithoutGates)
        run = Sampling(OnePixel(), (8, 8), samples=2)
        together = torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
    logits = torch.stack([0.5 - values[0], values[0] - 0.5], 1)
    torch.testing.assert_close(together, logits.softmax(1), atol=1e-5, rtol=1e-5)
    expected = (values[0] > 0.5).sum((1, 2)).numpy()
    for found in run.areas[:, :, 1]:
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_tick_goes_up_to_one():
    ticks = []
    run = Sampling(small.network(), (8, 8), samples=3, tick=ticks.append)
    list(run.slabs(torch.rand(1, 12, 8, 12)))
    assert ticks == sorted(ticks)
    assert ticks[-1] == pytest.approx(1)
    assert len(ticks) == len(set(ticks))


@pytest.mark.parametrize(
    ("pieces", "device", "said"),
    [(2, "cpu:0", ["smaller pieces"]), (0, "cpu", ["smaller pieces", "on the CPU, which is slower"])],
)
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
    ],
    ids=str,
)
def test_a_gpu_out_of_memory_is_met_with_smaller_pieces_and_then_the_cpu(monkeypatch, pieces, device, said, error):
    """ "cpu:0" plays the GPU: it refuses more than so many slices at a time."""
    original = Sampling._sample
    tried = []

    def sample(self, x, wanted, weights, chunk, tick, samples):
        tried.append((self.device, chunk))
        if self.device == "cpu:0" and chunk > pieces:
            raise error
        return original(self, x, wanted, weights, chunk, tick, samples)

    values = torch.rand(1, 9, 8, 8)
    net = small.lively(small.network())
    expected = torch.cat([slab.mean_probabilities for slab in Sampling(net, (8, 8), samples=3).slabs(values)])
    monkeypatch.setattr(Sampling, "_sample", sample)
    run = Sampling(net, (8, 8), "cpu:0", samples=3)
    found = torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert run.device == device
    assert (run.network is net) == (device != "cpu")  # a copy: the one that was lent stays where it is
    assert [fragment in warning for fragment, warning in zip(said, run.warnings, strict=True)] == [True] * len(said)
    assert len([t for t in tried if t[0] == "cpu:0" and t[1] > pieces]) <= 4  # learned once, not in every window


@pytest.fixture
def broken_gpu(monkeypatch):
    """ "cpu:0" plays a GPU on which every convolution fails with the error that it is given."""
    error, place = [], []
    sample, convolve = Sampling._sample, Decoding._convolve

    def watched(self, *arguments):
        place[:] = [self.device]
        return sample(self, *arguments)

    def fail(self, *arguments):
        if place == ["cpu:0"] and error:
            raise error[0]
        return convolve(self, *arguments)

    monkeypatch.setattr(Sampling, "_sample", watched)
    monkeypatch.setattr(Decoding, "_convolve", fail)
    return error


UNFIT = [
    RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might ..."),
    NotImplementedError("The operator 'aten::upsample' is not currently implemented for the MPS device."),
    getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: device-side assert triggered"),
    RuntimeError("A failure with words that nobody has met yet"),
]


@pytest.mark.parametrize("error", UNFIT, ids=str)
def test_whatever_a_gpu_fails_at_is_done_on_the_cpu_with_a_warning(broken_gpu, error):
    values, net = torch.rand(1, 9, 8, 8), small.lively(small.network())
    expected = torch.cat([slab.mean_probabilities for slab in Sampling(net, (8, 8), samples=3).slabs(values)])
    broken_gpu.append(error)
    run = Sampling(net, (8, 8), "cpu:0", samples=3)
    found = torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert run.device == "cpu"
    assert f"The GPU failed ({in_short(error)}): the run went on on the CPU, which is slower." in run.warnings
    perhaps_memory = any(word in str(error) for word in ("cuDNN", "engine", "CUBLAS"))
    assert any("smaller pieces" in warning for warning in run.warnings) == perhaps_memory


def test_a_gpu_that_cannot_even_say_how_much_memory_it_has_leaves_the_run_to_the_cpu(monkeypatch):
    def ask(device):
        if device == "cpu:0":
            raise RuntimeError("CUDA error: unknown error")
        return elements_at_once(device)

    monkeypatch.setattr("csam.pipeline.sliding_window.elements_at_once", ask)
    run = Sampling(small.network(), (8, 8), "cpu:0", samples=2)
    assert len(list(run.slabs(torch.rand(1, 5, 8, 8)))) == 1
    assert run.warnings == ["The GPU failed (CUDA error: unknown error): the run went on on the CPU, which is slower."]


def test_a_gpu_that_answers_no_more_is_lost_for_the_process(broken_gpu, monkeypatch):
    broken_gpu.append(RuntimeError("CUDA error: unspecified launch failure"))
    run = Sampling(small.network(), (8, 8), "cpu:0", samples=2).slabs(torch.rand(1, 5, 8, 8))
    monkeypatch.setattr(
        "csam.network.devices.why_unusable", lambda device, tidy: "CUDA error: unspecified launch failure"
    )
    with pytest.raises(DeviceLost, match="no longer answers"):
        next(run)


def test_a_cpu_out_of_memory_ends_in_one_clear_error(monkeypatch):
    def sample(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Sampling, "_sample", sample)
    with pytest.raises(DeviceError, match="too little memory"):
        list(Sampling(small.network(), (8, 8)).slabs(torch.rand(1, 5, 8, 8)))


def test_another_error_of_the_network_is_not_taken_for_a_lack_of_memory(monkeypatch):
    def sample(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Sampling, "_sample", sample)
    with pytest.raises(RuntimeError, match="multiplied"):
        list(Sampling(small.network(), (8, 8), "cpu:0").slabs(torch.rand(1, 5, 8, 8)))


PEAK = """
import resource, sys
sys.path[:0] = {paths!r}
from unit import small
import torch
from csam.pipeline.sliding_window import Sampling
net = small.network(num_slices=8, num_classes=4, base_channels=2)
run = Sampling(net, (128, 128), samples=int(sys.argv[1]))
for slab in run.slabs(torch.rand(1, 20, 128, 128)):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is not there")
def test_twenty_samples_take_no_more_memory_than_two():
    """Kept samples would show: 18 more of 8×4×128×128 floats are 38 MB, a tenth of the process."""
    here = Path(__file__).resolve()
    program = PEAK.format(paths=[str(here.parents[2] / "CSAMSegment"), str(here.parents[1])])

    def peak(samples):
        return int(subprocess.check_output([sys.executable, "-c", program, str(samples)], text=True))

    assert peak(20) < 1.05 * peak(2)


def test_a_small_image_is_padded_with_its_own_border():
    """So that the network sees no edge that the scan does not have: a flat image comes out flat."""
    run, seen, original = Sampling(small.network(), (16, 16), samples=0), [], Sampling._sample

    def sample(self, x, *rest):
        seen.append(x)
        return original(self, x, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sampling, "_sample", sample)
        list(run.slabs(torch.full((1, 5, 6, 7), 0.75)))
    assert seen
    assert all((x == 0.75).all() for x in seen)


def test_samples_are_taken_where_the_first_look_finds_something(monkeypatch):
    """What it found nothing in keeps its probabilities."""
    values = torch.zeros(1, 4, 40, 40)
    values[:, :, 4:9, 6:11] = 1
    looks = []

    def sample(self, x, wanted, weights, chunk, tick, numbers):
        looks.append((numbers, float(x.sum())))
        reducer = SampleReducer(len(numbers or [0]), (4, 2, *x.shape[-2:]), weights)
        for number in range(len(numbers or [0])):
            logits = 6 * torch.cat((0.5 - x, x - 0.5), 1)
            reducer.add(number, logits, slice(0, 4))
        return reducer

    class Bright:
        num_slices, architecture = 4, {"num_classes": 2, "num_levels": 1}

        def elements_per_slice(self, x):
            return 1

    monkeypatch.setattr(Sampling, "_sample", sample)
    monkeypatch.setattr(tiles, "FOUND", 0.1)
    run = Sampling(Bright(), (16, 16), samples=3, focused=True)
    (slab,) = run.slabs(values)
    whole = 4 * 25.0
    assert [look for look in looks if look[0]] == [(range(first, 3, 3), whole) for first in range(3)], (
        "three close passes over all of what was found, which share out the samples"
    )
    assert ((slab.mean_probabilities[:, 1] > 0.5) == (values[0] > 0)).all()
    np.testing.assert_allclose(run.areas[..., 1], 25, rtol=1e-5)


@pytest.mark.parametrize("focused", [False, True])
@pytest.mark.parametrize("field", [(8, 8), (32, 48)], ids=["tiles", "one tile"])
def test_of_a_box_only_what_lies_inside_counts_as_area(focused, field):
    """The network sees what surrounds it; a structure that lies there is not the region's."""
    net, box = small.lively(small.network()), (slice(3, 9), slice(20, 31))
    run = Sampling(net, field, samples=0, focused=focused)
    slabs = list(run.slabs(torch.rand(1, 5, 20, 40, generator=torch.Generator().manual_seed(0)), box=box))
    labels = torch.cat([slab.mean_probabilities for slab in slabs])[(..., *box)].argmax(1)
    assert run.areas.sum((0, 2)).max() <= 6 * 11 + 1e-3
    assert run.areas[:, :, 1:].any()
    if field == (32, 48):
        np.testing.assert_allclose(run.areas[0, :, 1:].sum(1), (labels > 0).sum((1, 2)).numpy(), atol=1e-3)
