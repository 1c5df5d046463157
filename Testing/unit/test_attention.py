"""The gates: equal to the published formulas, and random where and only where they should be."""

import itertools

import pytest
import torch
from unit.published_formulas import Published
from unit.small import unlike

from csam.errors import InputError
from csam.network.attention import CSAM, GateDistribution, PositionalAttention, SemanticAttention, SliceAttention

SWITCHES = list(itertools.product((False, True), repeat=4))


def names(switches):
    return "+".join(n for n, on in zip(("semantic", "positional", "slice", "uncertain"), switches, strict=True) if on)


@pytest.mark.parametrize("switches", SWITCHES, ids=names)
def test_every_combination_of_gates_equals_the_published_formulas(switches):
    torch.manual_seed(1)
    module = unlike(CSAM(7, 32, *switches)).eval()
    x = 3 * torch.randn(7, 32, 9, 11)
    expected = Published(module.state_dict(), *switches).csam("", x.double())
    torch.testing.assert_close(module(x), expected.float(), atol=1e-5, rtol=1e-5)


def test_a_published_state_dict_loads_by_its_names_and_shapes():
    shapes = {
        "semantic_att.linear.0.weight": (2, 32),
        "semantic_att.linear.0.bias": (2,),
        "semantic_att.linear.2.weight": (32, 2),
        "semantic_att.linear.2.bias": (32,),
        "positional_att.conv.weight": (1, 2, 7, 7),
        "positional_att.conv.bias": (1,),
        "slice_att.linear.0.weight": (28, 7),
        "slice_att.linear.0.bias": (28,),
        "slice_att.linear.2.weight": (7, 28),
        "slice_att.linear.2.bias": (7,),
        "slice_att.mean.weight": (7, 7),
        "slice_att.mean.bias": (7,),
        "slice_att.log_diag.weight": (7, 7),
        "slice_att.log_diag.bias": (7,),
        "slice_att.factor.weight": (35, 7),
        "slice_att.factor.bias": (35,),
    }
    state = {name: torch.randn(shape) for name, shape in shapes.items()}
    module = unlike(CSAM(7, 32))
    module.load_state_dict(state, strict=True)
    assert torch.equal(module.slice_att.factor.weight, state["slice_att.factor.weight"])


def test_the_distribution_is_the_published_one():
    torch.manual_seed(2)
    module = unlike(SliceAttention(6, rank=3))
    x = torch.randn(6, 4, 5, 5)
    _, mean, diagonal, factor = Published(module.state_dict(), True, True, True, True).slice_gate("", x.double())
    found = module.gate_distribution(x)
    torch.testing.assert_close(found.mean, mean.float(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        found.covariance_matrix, (factor @ factor.T + diagonal.diag()).float(), atol=2e-5, rtol=1e-4
    )
    torch.testing.assert_close(found.variance, found.covariance_matrix.diagonal())


def test_samples_have_the_mean_and_covariance_of_the_distribution():
    torch.manual_seed(3)
    distribution = GateDistribution(torch.randn(5), torch.randn(5, 2), torch.rand(5) + 0.1)
    samples = distribution.rsample((40_000,))
    assert samples.shape == (40_000, 5)
    assert_moments(samples, distribution)


def assert_moments(samples, distribution):
    """Within five standard errors of the mean, and of the covariance of a normal distribution."""
    n, covariance = len(samples), distribution.covariance_matrix
    assert ((samples.mean(0) - distribution.mean).abs() < 5 * (distribution.variance / n).sqrt()).all()
    spread = distribution.variance
    error = ((spread[:, None] * spread + covariance.square()) / n).sqrt()
    assert ((samples.T.cov() - covariance).abs() < 5 * error).all()


@torch.no_grad()
def test_the_gate_in_training_has_the_mean_and_covariance_of_the_distribution():
    torch.manual_seed(4)
    module = unlike(SliceAttention(3, rank=2)).train()
    module.log_diag.bias.fill_(-2.0)
    x = torch.rand(3, 2, 2, 2) + 0.5
    gates = torch.stack([(module(x) / x).mean((1, 2, 3)) for _ in range(3000)])
    assert_moments(gates.logit(), module.gate_distribution(x))


@torch.no_grad()
def test_in_evaluation_the_gate_is_at_its_mean_and_nothing_is_random():
    torch.manual_seed(5)
    module = unlike(SliceAttention(4)).eval()
    x = torch.randn(4, 3, 6, 6)
    expected = x * module.gate_distribution(x).mean.sigmoid()[:, None, None, None]
    state = torch.get_rng_state()
    torch.testing.assert_close(module(x), expected)
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_without_uncertainty_training_is_as_deterministic_as_evaluation():
    torch.manual_seed(6)
    module = unlike(SliceAttention(4, uncertainty=False))
    x = torch.randn(4, 3, 6, 6)
    assert torch.equal(module.train()(x), module.eval()(x))
    assert module.gate_distribution(x).variance.tolist() == [0] * 4


def test_a_seeded_generator_draws_the_same_again_and_another_seed_something_else():
    distribution = GateDistribution(torch.zeros(4), torch.ones(4, 2), torch.ones(4))

    def draw(seed):
        return distribution.sample((3,), torch.Generator().manual_seed(seed))

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize("log_variance", [-1e4, -200.0, 200.0, 1e4])
def test_an_extreme_diagonal_leaves_the_covariance_positive_and_the_gradients_finite(log_variance):
    torch.manual_seed(7)
    module = unlike(SliceAttention(5)).train()
    with torch.no_grad():
        module.log_diag.bias.fill_(log_variance)
        module.factor.weight.zero_()
        module.factor.bias.zero_()
    x = torch.randn(5, 3, 4, 4)
    covariance = module.gate_distribution(x).covariance_matrix
    assert torch.isfinite(torch.linalg.cholesky(covariance)).all()
    module(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_mixed_precision_leaves_the_distribution_in_float32():
    torch.manual_seed(8)
    module = unlike(CSAM(4, 32)).train()
    x = torch.randn(4, 32, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = module.content_gates(x.bfloat16())
        distribution = module.slice_att.gate_distribution(halved)
        out = module(x.bfloat16())
    assert {distribution.mean.dtype, distribution.factor.dtype, distribution.diagonal.dtype} == {torch.float32}
    assert out.dtype == torch.bfloat16
    exact = module.slice_att.gate_distribution(halved.float())
    assert torch.equal(distribution.covariance_matrix, exact.covariance_matrix)


def test_gradients_reach_every_parameter_of_the_gates():
    torch.manual_seed(9)
    module = unlike(CSAM(6, 32)).train()
    module(torch.randn(6, 32, 8, 8)).square().sum().backward()
    dead = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


def test_training_changes_the_slice_attention_and_shrinks_a_spread_that_hurts():
    """Nothing but whole slices that come and go stands between this gate and its target."""
    torch.manual_seed(10)
    module = unlike(SliceAttention(6)).train()
    x = torch.randn(6, 3, 4, 4)
    before = module.gate_distribution(x).variance.mean().item()
    start = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        (module(x) - 0.7 * x).square().mean().backward()
        optimizer.step()
    assert module.gate_distribution(x).variance.mean().item() < 0.2 * before
    still = [name for name, value in module.state_dict().items() if torch.equal(value, start[name])]
    assert not still


@pytest.mark.parametrize("training", [False, True])
def test_one_slice_is_enough(training):
    module = unlike(CSAM(1, 32)).train(training)
    out = module(torch.randn(1, 32, 8, 8))
    assert out.shape == (1, 32, 8, 8)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("channels", [1, 3, 15])
def test_fewer_than_sixteen_channels_keep_one_hidden_unit(channels):
    module = unlike(CSAM(2, channels))
    assert module.semantic_att.linear[0].weight.shape == (1, channels)
    assert module(torch.randn(2, channels, 4, 4)).shape == (2, channels, 4, 4)


def test_each_gate_keeps_the_shape():
    x = torch.randn(4, 32, 6, 10)
    for gate in (SemanticAttention(32), PositionalAttention(), SliceAttention(4)):
        assert gate(x).shape == x.shape


def test_another_number_of_slices_is_refused_in_words():
    with pytest.raises(InputError, match=r"19 slices.*built for 20.*repeating its edge slices"):
        SliceAttention(20)(torch.rand(19, 2, 4, 4))


@pytest.mark.parametrize("uncertainty", [True, False], ids=["uncertain", "certain"])
def test_before_training_every_gate_is_open_alike_whatever_comes_in(uncertainty):
    torch.manual_seed(11)
    module = CSAM(6, 32, uncertainty=uncertainty).eval()
    x = 10 * torch.randn(6, 32, 8, 8)
    torch.testing.assert_close(module(x), x * torch.tensor(2.0).sigmoid() ** 3)
    if uncertainty:
        assert module.slice_att.gate_distribution(x).variance.max() < 0.9


def test_gates_that_begin_alike_learn_to_differ():
    """Everything is learned, though at first no gradient passes the zero weights."""
    torch.manual_seed(12)
    module = CSAM(6, 32).train()
    start = {name: value.clone() for name, value in module.state_dict().items()}
    x = torch.randn(6, 32, 8, 8)
    target = x * torch.rand(6, 1, 1, 1) * torch.rand(1, 32, 1, 1) * torch.rand(1, 1, 8, 8)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (module(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert not [name for name, value in module.state_dict().items() if torch.equal(value, start[name])]
    with torch.no_grad():
        gates = module.eval()(torch.ones_like(x))
    assert all(gates.std(axis).max() > 1e-3 for axis in (0, 1))
