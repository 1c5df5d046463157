"""Where the samples are taken: each for itself, in mirrored pairs, points of a quadrature."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from csam.errors import InputError
from csam.network.attention import GateDistribution
from csam.network.gate_sampling import sample_gates


def distribution(slices=4, rank=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean, factor, diagonal = (
        torch.randn(*shape, generator=generator) for shape in ((slices,), (slices, rank), (slices,))
    )
    return GateDistribution(mean, factor, diagonal.exp())


def standard(levels):
    return [GateDistribution(torch.zeros(1), torch.zeros(1, 0), torch.ones(1))] * levels


def seeded(number=1):
    return torch.Generator().manual_seed(number)


def test_independent_draws_are_those_of_the_distributions_one_sample_after_the_other():
    levels = [distribution(seed=1), None, distribution(seed=2)]
    first, nothing, last = sample_gates(levels, 3, seeded())
    generator = seeded()
    for sample in range(3):
        assert torch.equal(first[sample], levels[0].rsample(generator=generator))
        assert torch.equal(last[sample], levels[2].rsample(generator=generator))
    assert nothing is None


@pytest.mark.parametrize("samples", [1, 2, 5, 20])
def test_the_second_half_of_antithetic_draws_mirrors_the_first(samples):
    levels = [distribution(seed=1), distribution(seed=2)]
    plain = sample_gates(levels, samples, seeded())
    for level, independent, gates in zip(
        levels, plain, sample_gates(levels, samples, seeded(), "antithetic"), strict=True
    ):
        half = -(-samples // 2)
        assert gates.shape == (samples, 4)
        assert torch.equal(gates[:half], independent[:half])
        torch.testing.assert_close(gates[half:] + gates[: samples - half], (2 * level.mean).expand(samples - half, -1))


def test_antithetic_draws_have_the_covariance_of_the_posterior():
    level = distribution()
    (gates,) = sample_gates([level], 20000, seeded(), "antithetic")
    torch.testing.assert_close(torch.cov(gates.T), level.covariance_matrix, atol=0.15, rtol=0.1)


@given(levels=st.integers(2, 8), more=st.integers(1, 12))
def test_a_quadrature_is_exact_for_polynomials_of_degree_two(levels, more):
    points = torch.stack(sample_gates(standard(levels), levels + more, rule="quadrature"), 1)[..., 0].double()
    torch.testing.assert_close(points.mean(0), torch.zeros(levels).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(points.T @ points / len(points), torch.eye(levels).double(), atol=1e-5, rtol=0)


@given(levels=st.integers(2, 7), more=st.integers(0, 3))
def test_with_an_even_number_of_two_points_a_level_it_is_exact_for_degree_three(levels, more):
    points = torch.stack(sample_gates(standard(levels), 2 * (levels + more), rule="quadrature"), 1)[..., 0]
    for i, j, k in itertools.combinations_with_replacement(range(levels), 3):
        assert abs(float((points[:, i] * points[:, j] * points[:, k]).mean())) < 1e-5


def test_a_quadrature_has_every_slices_own_mean_and_deviation():
    level = distribution()
    gates = sample_gates([level, level], 4, rule="quadrature")[0]
    torch.testing.assert_close(gates.mean(0), level.mean)
    torch.testing.assert_close(gates.var(0, correction=0), level.variance)


def test_at_the_mean_all_samples_are_the_mean():
    level = distribution()
    assert torch.equal(sample_gates([level], 2, rule="mean")[0], torch.stack([level.mean, level.mean]))


def test_too_few_points_and_unknown_rules_are_refused_with_what_to_do():
    with pytest.raises(InputError, match="needs at least 6 samples; 5 were asked"):
        sample_gates(standard(5), 5, rule="quadrature")
    with pytest.raises(InputError, match="'sobol'; choose one of mean, independent, antithetic, quadrature"):
        sample_gates(standard(5), 5, rule="sobol")
