"""Both networks: equal to the published formulas, and rebuilt from a bare state dict."""

import itertools

import pytest
import torch
from unit import small
from unit.published_formulas import Published

from csam.errors import InputError, ModelError
from csam.network.networks import CSAMUNet, CSAMUNetPlusPlus, build, from_state_dict

SWITCHES = list(itertools.product((False, True), repeat=4))
NETWORKS = (CSAMUNet, CSAMUNetPlusPlus)


def names(value):
    if isinstance(value, type):
        return value.__name__
    return "+".join(n for n, on in zip(("semantic", "positional", "slice", "uncertain"), value, strict=True) if on)


def switched(kind, switches, **numbers):
    semantic, positional, slice_, uncertainty = switches
    return small.network(
        kind, semantic=semantic, positional=positional, slice=slice_, uncertainty=uncertainty, **numbers
    )


@pytest.mark.parametrize("switches", SWITCHES, ids=names)
@pytest.mark.parametrize("kind", NETWORKS, ids=names)
@torch.no_grad()
def test_the_output_equals_the_published_formulas(kind, switches):
    net = switched(kind, switches, input_channels=2, num_levels=3, base_channels=8, num_slices=3)
    x = torch.randn(3, 2, 16, 24)
    reference = Published(net.state_dict(), *switches)
    if kind is CSAMUNet:
        expected = reference.unet(x.double(), 3)
    else:
        expected = reference.unet_plus_plus(x.double(), 3)[-1]
    torch.testing.assert_close(net(x), expected.float(), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_deep_supervision_gives_every_head_in_training_the_shallowest_first():
    net = small.network(CSAMUNetPlusPlus, num_levels=4, base_channels=4, uncertainty=False)
    x = torch.randn(5, 1, 16, 16)
    heads = net.train()(x)
    expected = Published(net.state_dict(), True, True, True, False).unet_plus_plus(x.double(), 4)
    assert len(heads) == 3
    for head, reference in zip(heads, expected, strict=True):
        torch.testing.assert_close(head, reference.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("switches", SWITCHES, ids=names)
@pytest.mark.parametrize("kind", NETWORKS, ids=names)
@torch.no_grad()
def test_a_bare_state_dict_gives_the_same_network_again(kind, switches):
    slices = 7 if switches[2] else 20  # without slice attention no tensor tells, and any number will do
    net = switched(kind, switches, input_channels=2, num_classes=4, num_levels=3, num_slices=slices, rank=3)
    found = from_state_dict({f"module.{name}": value for name, value in net.state_dict().items()})
    x = torch.randn(slices, 2, 8, 8)
    assert torch.equal(found(x), net(x))
    assert not found.training
    told = {"rank": 3, "uncertainty": True} if switches[2] and switches[3] else {"num_slices": slices, "num_levels": 3}
    assert told.items() <= found.architecture.items()


def test_the_rebuilt_network_shares_no_memory_with_the_state_dict():
    state = small.network().state_dict()
    net = from_state_dict({name: value.half() for name, value in state.items()})
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    net = from_state_dict(state)
    with torch.no_grad():
        net.conv_final.bias.fill_(7)
    assert not (state["conv_final.bias"] == 7).any()


PUBLISHED_UNET_NAMES = [
    *(f"encoder.conv.{level}.conv.{layer}" for level in range(2) for layer in (0, 3)),
    *(
        f"encoder.attentions.{level}.{part}"
        for level in range(2)
        for part in (
            "semantic_att.linear.0",
            "semantic_att.linear.2",
            "positional_att.conv",
            "slice_att.linear.0",
            "slice_att.linear.2",
            "slice_att.mean",
            "slice_att.log_diag",
            "slice_att.factor",
        )
    ),
    "decoder.conv.0.upconv.1",
    "decoder.conv.0.conv.conv.0",
    "decoder.conv.0.conv.conv.3",
    "conv_final",
]


def test_the_unet_has_the_published_names_and_no_others():
    expected = {f"{name}.{part}" for name in PUBLISHED_UNET_NAMES for part in ("weight", "bias")}
    assert set(small.network(CSAMUNet, num_levels=2).state_dict()) == expected


def test_the_unet_plus_plus_has_the_published_names_and_no_others():
    gates = [name.removeprefix("encoder.") for name in PUBLISHED_UNET_NAMES if "attentions" in name]
    convolutions = [f"conv.{i}.{j}.conv.{layer}" for i, j in ((0, 0), (0, 1), (1, 0)) for layer in (0, 3)]
    expected = {f"{name}.{part}" for name in [*gates, *convolutions, "final.0"] for part in ("weight", "bias")}
    assert set(small.network(CSAMUNetPlusPlus, num_levels=2).state_dict()) == expected


@pytest.mark.parametrize(
    ("kind", "levels", "millions", "gates_percent"),
    [(CSAMUNet, 6, 139.07, 0.54), (CSAMUNet, 5, 34.72, 0.60), (CSAMUNetPlusPlus, 5, 36.82, 0.57)],
)
def test_the_networks_of_the_paper_have_the_published_number_of_parameters(kind, levels, millions, gates_percent):
    with torch.device("meta"):
        net = kind(1, 3, levels)
    count = sum(p.numel() for p in net.parameters())
    assert round(count / 1e6, 2) == millions
    gates = sum(p.numel() for p in net.gates.parameters())
    assert round(100 * gates / (count - gates), 2) == gates_percent


@pytest.mark.parametrize("kind", NETWORKS, ids=names)
def test_gradients_reach_every_parameter_that_the_forward_pass_uses(kind):
    net = small.network(kind, num_levels=3, base_channels=16).train()
    with torch.no_grad():
        for gate in net.gates:  # awake, whatever the weights: a ReLU that sleeps lets no gradient through
            gate.semantic_att.linear[0].bias.fill_(1)
            gate.slice_att.linear[2].bias.fill_(1)
    out = net(torch.randn(5, 1, 16, 16))
    sum(head.square().sum() for head in (out if isinstance(out, list) else [out])).backward()
    dead = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    unused = {name for name, _ in net.named_parameters() if name.startswith("attentions.2.")}
    assert dead == (unused if kind is CSAMUNetPlusPlus else set())


@pytest.mark.parametrize(
    ("numbers", "given", "expected"),
    [
        ({"num_levels": 3, "base_channels": 1}, (5, 1, 8, 12), (5, 3, 8, 12)),
        ({"num_levels": 2, "base_channels": 3, "num_slices": 1}, (1, 1, 4, 4), (1, 3, 4, 4)),
        ({"num_levels": 4, "base_channels": 5, "num_classes": 2, "input_channels": 3}, (5, 3, 16, 8), (5, 2, 16, 8)),
    ],
)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", NETWORKS, ids=names)
def test_any_width_and_number_of_slices_works(kind, training, numbers, given, expected):
    out = small.network(kind, **numbers).train(training)(torch.randn(given))
    out = out[-1] if isinstance(out, list) else out
    assert out.shape == expected
    assert torch.isfinite(out).all()


def test_mixed_precision_leaves_every_distribution_in_float32():
    net = small.network(base_channels=16).train()
    found = []
    for gate in net.gates:
        original = gate.slice_att.gate_distribution
        gate.slice_att.gate_distribution = lambda x, f=original: found.append(f(x)) or found[-1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(torch.randn(5, 1, 8, 8))
    assert out.dtype == torch.bfloat16
    assert len(found) == 2
    assert {t.dtype for d in found for t in (d.mean, d.factor, d.diagonal)} == {torch.float32}


@pytest.mark.parametrize(
    "shape", [(5, 1, 8, 7), (5, 2, 8, 8), (5, 8, 8), (0, 1, 8, 8), (5, 1, 2, 2)], ids=lambda s: "x".join(map(str, s))
)
@pytest.mark.parametrize("kind", NETWORKS, ids=names)
def test_a_shape_that_does_not_fit_is_refused_in_words(kind, shape):
    with pytest.raises(InputError, match=r"takes \(slices, 1, height, width\) with height and width multiples of 2"):
        small.network(kind)(torch.zeros(shape))


def test_another_number_of_slices_is_refused_in_words():
    with pytest.raises(InputError, match="4 slices and the network was built for 5"):
        small.network()(torch.zeros(4, 1, 8, 8))


@torch.no_grad()
def test_without_slice_attention_any_number_of_slices_will_do():
    assert small.network(slice=False)(torch.randn(9, 1, 8, 8)).shape == (9, 3, 8, 8)


@pytest.mark.parametrize("name", ["num_levels", "base_channels", "num_slices", "num_classes"])
def test_an_impossible_architecture_is_refused_by_name(name):
    with pytest.raises(InputError, match=name):
        small.network(**{name: 0})


def test_weights_of_something_else_are_refused_in_words():
    for odd in ({}, {"layer.weight": torch.zeros(3)}, {"conv.0.0.conv.0.weight": torch.zeros(3)}):
        with pytest.raises(ModelError, match="not those of a CSAM"):
            from_state_dict(odd)
    for odd in ([1, 2], {"model": {}}, {1: torch.zeros(1)}):
        with pytest.raises(ModelError, match="plain state dict was expected"):
            from_state_dict(odd)


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_weights_that_do_not_fit_are_refused_in_one_short_line(change):
    state = dict(small.network().state_dict())
    if change == "missing":
        del state["decoder.conv.0.upconv.1.bias"]
    elif change == "surplus":
        state["decoder.conv.7.upconv.1.bias"] = torch.zeros(2)
    else:
        state["decoder.conv.0.upconv.1.bias"] = torch.zeros(2)
    with pytest.raises(ModelError, match=r"decoder\.conv\.\d\.upconv\.1\.bias") as caught:
        from_state_dict(state)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_names_that_claim_a_huge_network_take_no_memory():
    """Forty levels would be 2^40 channels: refused by shape, before anything of that size is allocated."""
    state = dict(small.network().state_dict())
    state |= {f"encoder.conv.{level}.conv.0.weight": torch.zeros(1) for level in range(2, 40)}
    with pytest.raises(ModelError):
        from_state_dict(state)


def test_an_architecture_builds_the_network_it_came_from():
    for kind in NETWORKS:
        net = small.network(kind, rank=2, positional=False)
        assert build(net.architecture).architecture == net.architecture
