"""Samples of the gates' joint posterior: the network's own forward pass, made once for all samples."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit import small

from csam.decoding import AfterUpsampling
from csam.networks import CSAMUNet, CSAMUNetPlusPlus
from csam.posterior import GatePosterior, sample_logits

NETWORKS = pytest.mark.parametrize("kind", [CSAMUNet, CSAMUNetPlusPlus], ids=lambda kind: kind.__name__)


def stack(seed=0, slices=5):
    return torch.randn(slices, 1, 16, 16, generator=torch.Generator().manual_seed(seed))


@NETWORKS
@torch.no_grad()
def test_at_the_gates_mean_a_sample_is_the_forward_pass(kind):
    net = small.network(kind, num_levels=3)
    posterior = GatePosterior(net, stack())
    torch.testing.assert_close(posterior.logits(posterior.mean()), net(stack()), atol=1e-5, rtol=1e-5)


@NETWORKS
@torch.no_grad()
def test_a_draw_is_the_forward_pass_in_training_with_the_same_noise(kind):
    net = small.lively(small.network(kind, num_levels=3))
    torch.manual_seed(11)
    in_training = net.train()(stack())
    posterior = GatePosterior(net, stack())
    torch.manual_seed(11)
    drawn = posterior.logits(posterior.draw())
    for one, other in zip(*(v if isinstance(v, list) else [v] for v in (drawn, in_training)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@NETWORKS
@torch.no_grad()
def test_some_slices_alone_come_out_as_they_do_among_all(kind):
    net = small.lively(small.network(kind, num_levels=3))
    posterior = GatePosterior(net, stack())
    gates = posterior.draw(torch.Generator().manual_seed(1))
    whole = posterior.logits(gates)
    for some in (slice(0, 2), slice(2, 3), slice(3, 5)):
        torch.testing.assert_close(posterior.logits(gates, some), whole[some], atol=1e-5, rtol=1e-5)


@settings(max_examples=60)
@given(
    kind=st.sampled_from([CSAMUNet, CSAMUNetPlusPlus]),
    levels=st.integers(2, 5),
    base=st.integers(1, 6),
    slices=st.integers(1, 5),
    channels=st.integers(1, 3),
    rows=st.integers(1, 4),
    columns=st.integers(2, 4),
    switches=st.tuples(*[st.booleans()] * 4),
    seed=st.integers(0, 1000),
)
@torch.no_grad()
def test_the_fast_way_equals_the_plain_way(kind, levels, base, slices, channels, rows, columns, switches, seed):
    """Logits within 1e-4 for the same gates, whatever the network, its gates and the picture's shape."""
    names = ("semantic", "positional", "slice", "uncertainty")
    numbers = {"num_levels": levels, "base_channels": base, "num_slices": slices, "input_channels": channels}
    net = small.network(kind, seed, **numbers, **dict(zip(names, switches, strict=True)))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(slices, channels, rows * 2 ** (levels - 1), columns * 2 ** (levels - 1), generator=generator)
    posterior = GatePosterior(net, x)
    gates = posterior.draws(3, generator)
    some = slice(seed % slices, slices)
    fast = posterior.sampler(some)(gates)
    for sample in range(3):
        gated = [
            content * torch.sigmoid(level[sample])[:, None, None, None]
            for content, level in zip(
                [g.content_gates(f) for g, f in zip(net.gates, net.encode(x), strict=True)], gates, strict=True
            )
        ]
        plain = net.decode(net.encode(x), gated)
        torch.testing.assert_close(fast[sample], plain[some], atol=1e-4, rtol=0)


@NETWORKS
@torch.no_grad()
def test_several_threads_give_what_one_gives(kind):
    net = small.lively(small.network(kind, num_levels=3))
    one = list(sample_logits(net, stack(), 2, torch.Generator().manual_seed(1)))
    torch.set_num_threads(3)
    try:
        several = list(sample_logits(net, stack(), 2, torch.Generator().manual_seed(1)))
    finally:
        torch.set_num_threads(1)
    for a, b in zip(one, several, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


@torch.no_grad()
def test_after_upsampling_a_convolution_is_the_same_at_the_border_too():
    upsampling = torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    for shape in ((1, 3, 1, 2), (2, 3, 4, 5), (1, 3, 7, 1)):
        convolution, x = torch.nn.Conv2d(3, 4, 3, padding=1), torch.randn(shape)
        found = AfterUpsampling(convolution.weight, convolution.bias)(x)
        torch.testing.assert_close(found, convolution(upsampling(x)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_seed_gives_the_same_samples_again_and_another_seed_others():
    net = small.lively(small.network())

    def draw(seed):
        return torch.stack(list(sample_logits(net, stack(), 3, torch.Generator().manual_seed(seed))))

    assert torch.equal(draw(5), draw(5))
    assert (draw(5) - draw(6)).abs().max() > 1e-3


@torch.no_grad()
def test_as_many_logits_come_as_were_asked_for_one_at_a_time():
    samples = sample_logits(small.lively(small.network()), stack(), 4)
    first = next(samples)
    assert first.shape == (5, 3, 16, 16)
    rest = list(samples)
    assert len(rest) == 3
    assert all(not torch.equal(first, other) for other in rest)


@torch.no_grad()
def test_the_samples_scatter_around_what_the_network_says_in_evaluation():
    """With a small spread the decoder is nearly linear in the gates, and the mean of many samples the mean's output."""
    net = small.lively(small.network(), 0.05)
    for gate in net.gates:
        gate.slice_att.log_diag.bias.fill_(-8)
        gate.slice_att.factor.weight.mul_(0.05)
    samples = torch.stack(list(sample_logits(net, stack(), 400)))
    spread = samples.std(0)
    assert spread.max() > 1e-4
    assert ((samples.mean(0) - net(stack())).abs() < 6 * spread / 20 + 1e-3).all()


@torch.no_grad()
def test_without_slice_attention_all_samples_are_alike():
    first, second = sample_logits(small.network(slice=False), stack(slices=3), 2)
    assert torch.equal(first, second)


def test_gradients_reach_the_distribution_through_the_samples_in_training():
    net = small.network().train()
    sum(logits.square().sum() for logits in sample_logits(net, stack(), 2)).backward()
    assert all(g.slice_att.log_diag.bias.grad.any() for g in net.gates)


def test_in_evaluation_samples_carry_no_gradients():
    assert not next(sample_logits(small.network(), stack(), 1)).requires_grad
