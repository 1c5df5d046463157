"""The orientations of a stack: they undo themselves, differ, and a run takes its samples from all of them."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from passes import MIRRORED
from unit import small

from csam.network.orientations import ORIENTATIONS, StackOrientation, orientations_of
from csam.network.posterior import GatePosterior
from csam.pipeline import sliding_window, tiles
from csam.pipeline.segment import Options, segment
from csam.pipeline.sliding_window import Sampling

ALL = (*ORIENTATIONS, *MIRRORED)


@pytest.mark.parametrize("orientation", ALL, ids=str)
def test_an_orientation_undoes_itself_and_knows_where_slices_went(orientation):
    stack = torch.rand(5, 2, 10, 14)
    seen = orientation.apply(stack)
    assert torch.equal(orientation.undo(seen), stack)
    some = slice(1, 3)
    there = orientation.place(some, 5)
    assert torch.equal(orientation.undo(seen[there]), stack[some])
    assert orientation.place(there, 5) == some


def test_the_sixteen_orientations_are_different_and_eight_of_them_mirror_nothing():
    """A rotation of space keeps the handedness of any three directions; a mirror turns it round."""
    stack = torch.arange(2 * 3 * 3, dtype=torch.float).reshape(2, 1, 3, 3)
    assert len({orientation.apply(stack).contiguous().numpy().tobytes() for orientation in ALL}) == 16
    for orientation, handed in (*((v, 1) for v in ORIENTATIONS), *((v, -1) for v in MIRRORED)):
        grid = torch.stack(torch.meshgrid(*(torch.arange(3.0) for _ in range(3)), indexing="ij"))
        turned = torch.stack([orientation.apply(axis[:, None])[:, 0] for axis in grid])
        steps = [turned[:, 1, 0, 0], turned[:, 0, 1, 0], turned[:, 0, 0, 1]]
        matrix = torch.stack([step - turned[:, 0, 0, 0] for step in steps])
        assert torch.linalg.det(matrix).item() == pytest.approx(handed)


@torch.no_grad()
@pytest.mark.parametrize("samples", [3, 8, 19])
def test_a_run_takes_its_samples_over_one_orientation_after_the_other(samples):
    net, values = small.lively(small.network()), torch.rand(1, 5, 8, 12)
    run = Sampling(net, (8, 12), samples=samples, seed=4, orientations=ORIENTATIONS)
    (slab,) = run.slabs(values)
    expected = torch.empty(samples, 5, 3, 8, 12)
    for first, orientation in enumerate(ORIENTATIONS[:samples]):
        numbers = range(first, samples, 8)
        posterior = GatePosterior(net, orientation.apply(values.transpose(0, 1)).contiguous())
        gates = posterior.sample_gates(len(numbers), torch.Generator().manual_seed(4 + first), "antithetic")
        for number, *level in zip(numbers, *gates, strict=True):
            expected[number] = orientation.undo(posterior.logits(level).softmax(1))
    torch.testing.assert_close(slab.mean_probabilities, expected.mean(0), atol=1e-5, rtol=0)
    areas = (expected.argmax(2)[:, :, None] == torch.arange(3)[:, None, None]).sum((3, 4)).numpy()
    assert np.abs(run.areas[..., 1:] - areas[..., 1:]).max() <= 1  # of rounding, a pixel may change sides


@torch.no_grad()
def test_some_slices_alone_come_out_as_among_all_in_every_orientation():
    net, values = small.lively(small.network()), torch.rand(1, 12, 8, 12)
    run = Sampling(net, (8, 8), samples=8, orientations=ORIENTATIONS)
    whole = torch.cat([slab.mean_probabilities for slab in run.slabs(values)])
    for only in (range(1), range(4, 6), range(11, 12)):
        alone = Sampling(net, (8, 8), samples=8, orientations=ORIENTATIONS)
        found = torch.cat([slab.mean_probabilities for slab in alone.slabs(values, only)])
        torch.testing.assert_close(found, whole[only.start : only.stop], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_each_close_pass_sees_the_stack_in_an_orientation_of_its_own_and_is_encoded_once(monkeypatch):
    """The first pass sees it as it is; the numbers of the samples say which close pass is whose."""
    values, seen = torch.rand(1, 5, 24, 32, generator=torch.Generator().manual_seed(1)), []
    places = [
        tiles.Tile(slice(a, a + 8), slice(b, b + 8), np.full((8, 8), 0.5, np.float32)) for a, b in ((3, 4), (7, 9))
    ]
    monkeypatch.setattr(
        tiles,
        "close_passes",
        lambda found, field, inside, samples: [
            (range(first, samples, 2), [tile], np.ones(found.shape, np.float32)) for first, tile in enumerate(places)
        ],
    )

    class Watched(GatePosterior):
        def __init__(self, network, x, *rest):
            seen.append(x.clone())
            super().__init__(network, x, *rest)

    monkeypatch.setattr(sliding_window, "GatePosterior", Watched)
    run = Sampling(small.network(), (8, 8), samples=4, orientations=ORIENTATIONS[:2], focused=True)
    list(run.slabs(values))
    first, close = seen[:-2], seen[-2:]
    stack = values.transpose(0, 1)
    expected = [tile.place for tile in tiles.first_pass((24, 32), (8, 8))]
    assert all(torch.equal(x, stack[place]) for x, place in zip(first, expected, strict=True))
    for x, tile, orientation in zip(close, places, ORIENTATIONS[:2], strict=True):
        assert torch.equal(x, orientation.apply(stack[tile.place]))


def test_the_default_run_takes_the_first_orientations_that_its_model_knows():
    assert small.model(free_orientation=True).default_orientations == ORIENTATIONS[:3]
    assert len(ORIENTATIONS[:3]) == len(tiles.LEANINGS)
    assert small.model().default_orientations == (StackOrientation(),)


@pytest.mark.parametrize("orientation", ORIENTATIONS[1:], ids=str)
def test_what_a_run_over_all_rotations_says_turns_with_the_anatomy(orientation):
    net = small.lively(small.network(uncertainty=False))  # samples that differ would tell the orientations apart
    model = small.model(net, free_orientation=True)
    assert model.orientations == ORIENTATIONS
    voxels = sitk.GetArrayFromImage(small.image((20, 20, 5)))
    turned = orientation.apply(torch.from_numpy(voxels[:, None])).contiguous().numpy()[:, 0]
    one, other = (segment(small.placed(v), model, Options(8, test_time_augmentation=True)) for v in (voxels, turned))
    found = torch.from_numpy(sitk.GetArrayFromImage(other.error_probability)[:, None])
    expected = torch.from_numpy(sitk.GetArrayFromImage(one.error_probability)[:, None])
    torch.testing.assert_close(orientation.undo(found), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.01


def test_quarter_turns_are_for_square_fields_of_view_only():
    """Augmentation turns no others."""
    assert small.model().orientations == (StackOrientation(),)
    assert orientations_of((96, 160), True) == tuple(
        orientation for orientation in ORIENTATIONS if orientation.quarter_turns in (0, 2)
    )
    assert len(orientations_of((96, 160), True)) == 4
