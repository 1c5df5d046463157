"""How long a run takes is foretold from a piece of it and the size of the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from unit import small

from csam.errors import InputError
from csam.image.raster import Raster
from csam.pipeline.run_time import CLOSE_PASSES, FIRST_PASS, Speed, measure, work
from csam.pipeline.sliding_window import Sampling
from csam.pipeline.tiles import first_pass, surroundings


def raster(columns, rows, slices, spacing=2.0):
    return Raster(np.zeros((slices, rows, columns), "i2"), (spacing, spacing, 8.0))


@pytest.fixture(scope="module")
def model():
    return small.model()


def test_one_window_over_the_field_of_view_is_the_unit(model):
    columns, rows = (round(length * model.in_plane_spacing / 2.0) for length in model.field_of_view)
    assert work(raster(columns, rows, model.num_slices), model) == 1.0


def test_a_larger_image_is_more_work_and_a_shorter_stack_less(model):
    side = round(model.field_of_view[0] * model.in_plane_spacing / 2.0)
    one = work(raster(side, side, model.num_slices), model)
    assert work(raster(2 * side, side, model.num_slices), model) > one
    assert work(raster(side, side, 3 * model.num_slices), model) >= 2.9 * one
    assert work(raster(side, side, 2), model) < one


def test_a_field_of_view_that_is_not_square_is_laid_along_rows_and_columns(model):
    model = replace(model, in_plane_spacing=2.0, field_of_view=(16, 64))
    assert work(raster(64, 16, model.num_slices), model) == 1.0
    assert work(raster(64, 64, model.num_slices), model, augmented=True) == 7.0
    assert work(raster(16, 64, model.num_slices), model, augmented=True) == 7.0
    looks = FIRST_PASS * 5 + CLOSE_PASSES
    assert work(raster(64, 64, model.num_slices), model) == looks, "five tiles at a glance, one place closely"


def test_a_region_limits_the_work(model):
    side = round(model.field_of_view[0] * model.in_plane_spacing / 2.0)
    image = raster(3 * side, 3 * side, model.num_slices)
    region = (0.0, 0.0, 0.0), (2.0 * side, 2.0 * side, 8.0 * model.num_slices)
    assert work(image, model, region=region) < work(image, model)


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_region_in_the_middle_is_near_more_tiles_than_one_in_a_corner(model, direction):
    """Counted for the tiles that a run takes, wherever the region lies."""
    model = replace(model, in_plane_spacing=2.0, field_of_view=(16, 16))
    image = raster(100, 100, model.num_slices)
    image = replace(image, direction=(direction, 0, 0, 0, direction, 0, 0, 0, 1))

    def foretold(first, last):
        ends = sorted((direction * 2.0 * first, direction * 2.0 * last))
        return work(image, model, region=((ends[0], ends[0], 0), (ends[1], ends[1], 8.0 * model.num_slices)))

    for first, last in ((0, 5), (48, 52), (94, 99)):
        seen = surroundings(first, last + 1, 16, 100)
        tiles = len(first_pass((16, seen.stop - seen.start), (16, 16)))
        assert foretold(first, last) == (FIRST_PASS * tiles**2 + CLOSE_PASSES if tiles > 1 else 1)
    assert foretold(48, 52) > foretold(0, 5)


def test_a_region_outside_the_image_is_refused(model):
    with pytest.raises(InputError, match="outside"):
        work(raster(32, 32, 4), model, region=((500.0,) * 3, (600.0,) * 3))


def test_samples_count_on_top_of_what_is_done_once():
    assert Speed(10.0, 3.0).seconds(2.0, 20) == 140.0
    assert Speed(10.0, 3.0, num_orientations=8).seconds(2.0, 20) == 140.0
    assert Speed(10.0, 3.0, num_orientations=8).seconds(2.0, 20, augmented=True) == 280.0
    assert Speed(10.0, 3.0, num_orientations=8).seconds(2.0, 3, augmented=True) == 208.0, "a sample of each orientation"


def test_the_pace_is_measured_on_the_network_itself(model):
    speed, device = measure(model, "cpu")
    assert device == "cpu"
    assert speed.sample > 0
    assert speed.fixed >= 0
    assert speed.num_orientations == 1
    assert measure(replace(model, free_orientation=True), "cpu")[0].num_orientations == 8


def test_a_gpu_whose_memory_ends_while_the_pace_is_measured_leaves_it_to_the_cpu(monkeypatch):
    """ "cpu:0" plays the GPU."""
    model, original, where = small.model(), Sampling._sample, []

    def sample(self, x, wanted, weights, chunk, tick, samples):
        where.append(self.device)
        if self.device == "cpu:0":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(self, x, wanted, weights, chunk, tick, samples)

    monkeypatch.setattr(Sampling, "_sample", sample)
    speed, device = measure(model, "cpu:0")
    assert speed.sample > 0
    assert device == "cpu"  # under whose name it is kept
    assert where[-1] == "cpu"
    assert "cpu:0" not in where[where.index("cpu") :]  # it knows by then
