"""Random transforms: in-plane, picture and labels together, determined by the seed."""

import numpy as np
import pytest
import torch

from csam.training.transforms import LowResolution, SlicesOutOfLine, transforms

SLICES, CHANNELS = 4, 2


def stack(seed=0, size=24):
    """Pictures (CHANNELS·SLICES, h, w) that show their labels: 0.2, 0.6 and 1 for background, 1 and 2."""
    labels = torch.zeros(SLICES, size, size)
    labels[:, 6:16, 6:16] = 1
    labels[:, 10:18, 12:20] = 2
    return {"image": (0.2 + 0.4 * labels).repeat(CHANNELS, 1, 1), "label": labels}


def shown(data):
    """What the pictures of the last channel show, as labels."""
    return ((data["image"][-SLICES:] - 0.2) / 0.4).round().clamp(0, 2)


def seeded(transform, seed):
    transform.set_random_state(seed)
    return transform


def test_slices_out_of_line_move_with_their_labels_and_in_all_channels():
    moved = 0
    for seed in range(20):
        data = stack()
        out = seeded(SlicesOutOfLine(1.0, most=3), seed)(data)
        assert torch.equal(out["image"][:SLICES], out["image"][SLICES:])
        visible = out["image"][:SLICES] > 0  # what came in at the border is 0
        assert torch.equal(shown(out)[visible], out["label"][visible])
        changed = [not torch.equal(out["label"][s], data["label"][s]) for s in range(SLICES)]
        moved += sum(changed)
        assert (out["label"].sum((1, 2)) == data["label"].sum((1, 2))).all()
    assert 10 < moved < 50


def test_slices_out_of_line_leave_what_they_were_given():
    data = stack()
    before = {key: value.clone() for key, value in data.items()}
    seeded(SlicesOutOfLine(1.0, most=3), 1)(data)
    assert all(torch.equal(data[key], before[key]) for key in data)


def test_low_resolution_blurs_the_picture_in_place_and_leaves_the_labels():
    data = stack()
    data["image"] = torch.rand(CHANNELS * SLICES, 24, 24, generator=torch.Generator().manual_seed(0))
    out = seeded(LowResolution(1.0, 2.0), 3)(data)
    assert out["label"] is data["label"]
    assert out["image"].shape == data["image"].shape
    assert out["image"].std() < 0.9 * data["image"].std()
    torch.testing.assert_close(out["image"].mean((1, 2)), data["image"].mean((1, 2)), atol=0.02, rtol=0)


@pytest.mark.parametrize("transform", [SlicesOutOfLine(0.0, 3), LowResolution(0.0, 2.0)], ids=["line", "resolution"])
def test_a_transform_that_is_not_drawn_does_nothing(transform):
    data = stack()
    assert seeded(transform, 0)(data) is data


@pytest.mark.parametrize("free", [True, False])
def test_picture_and_labels_stay_together_through_all_that_moves_them(free):
    """Intensity transforms keep the order of the grey values in a smooth picture, so ranks tell the labels."""
    agreed = []
    every = transforms((16, 16), free)
    for seed in range(40):
        out = seeded(every, seed)(stack())
        assert out["image"].shape == (CHANNELS * SLICES, 16, 16)
        assert out["label"].shape == (SLICES, 16, 16)
        assert set(out["label"].unique().tolist()) <= {0.0, 1.0, 2.0}
        means = [
            out["image"][-SLICES:][out["label"] == v].mean().item() for v in range(3) if (out["label"] == v).sum() > 40
        ]
        agreed.append(means == sorted(means))
    assert np.mean(agreed) > 0.9


def test_the_same_seed_does_the_same_and_another_something_else():
    every = transforms((16, 16))
    one, other, third = (seeded(every, seed)(stack())["image"] for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


def test_examples_are_stretched_along_their_rows():
    """A quarter turn makes columns of rows, where it is free to."""
    affine = transforms((64, 64), free_orientation=False).transforms[0].transforms[0]
    affine.rand_affine.rand_affine_grid.shear_range = affine.rand_affine.rand_affine_grid.rotate_range = ()
    square = torch.zeros(1, 64, 64)
    square[:, 12:52, 12:52] = 1
    extents = []
    for seed in range(40):
        out = seeded(affine, seed)({"image": square.clone(), "label": square.clone()})["image"][0]
        extents.append([float(out.sum(axis).max()) / 40 for axis in (0, 1)])
    rows, columns = np.transpose(extents)
    assert 0.8 < rows.min() < 0.9 < 1.1 < rows.max() < 1.3
    assert np.allclose(columns, 1, atol=0.01)


def test_what_has_a_side_keeps_it():
    """Without free orientation structure 2 stays below and to the right of structure 1."""
    sides = {True: set(), False: set()}
    for free, seen in sides.items():
        every = transforms((24, 24), free)
        for seed in range(30):
            label = seeded(every, seed)(stack())["label"]
            if all((label == v).sum() > 40 for v in (1, 2)):
                one, two = (torch.nonzero(label == v)[:, 1:].float().mean(0) for v in (1, 2))
                seen.add(tuple((two > one).tolist()))
    assert sides[False] == {(True, True)}
    assert len(sides[True]) == 4


def test_a_field_of_view_that_is_no_square_keeps_its_shape():
    assert {tuple(seeded(transforms((24, 8)), seed)(stack())["label"].shape) for seed in range(8)} == {(4, 24, 8)}
