"""The optimiser: orthogonal steps for hidden convolutions, AdamW for everything else."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from unit import small

from csam.errors import InputError
from csam.training.muon import LENGTH, optimizer, orthogonalised
from csam.training.plan import Plan
from csam.training.trainer import Trainer

PLAN = Plan(base_channels=4, num_levels=2, num_slices=5, field_of_view=(16, 16), precision="float32", batch=1)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10_000))
def test_singular_values_become_about_one_and_directions_stay(rows, columns, seed):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    matrix = u @ torch.diag(s.clamp_min(0.1 * s.max())) @ vh  # none so small that five rounds do not reach it
    found = orthogonalised(matrix)
    assert found.shape == matrix.shape
    core = u.T @ found @ vh.T
    assert core.diag().min() > 0.6
    assert core.diag().max() < 1.3
    torch.testing.assert_close(core, torch.diag(core.diag()), atol=2e-3, rtol=0)


def test_a_gradient_of_zero_gives_no_step_and_no_nan():
    assert not orthogonalised(torch.zeros(3, 5)).any()


def test_five_rounds_are_those_of_torch():
    """In float32 instead of bfloat16: the same polynomial, and little more rounding than float32 itself has."""
    matrix = torch.randn(12, 30, generator=torch.Generator().manual_seed(1))
    x = (matrix / matrix.norm()).double()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    torch.testing.assert_close(orthogonalised(matrix), x.float(), atol=1e-5, rtol=1e-4)


def gradients(network, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def hidden(network):
    """The convolutions with the network's base or more channels on either side: neither the first nor the last."""
    return {name for name, p in network.named_parameters() if p.ndim == 4 and min(p.shape[:2]) >= 4}


def test_hidden_convolutions_move_by_the_length_and_the_rest_by_adamw():
    network = small.network()
    assert {"encoder.conv.0.conv.0.weight", "conv_final.weight"} & hidden(network) == set()
    assert {"encoder.conv.0.conv.3.weight", "decoder.conv.0.upconv.1.weight"} <= hidden(network)
    reference = copy.deepcopy(network)
    ours, adamw = optimizer(network, 4, 0.01, 0.1), torch.optim.AdamW(reference.parameters(), 0.01, weight_decay=0.1)
    for step in range(3):
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        for net, opt in ((network, ours), (reference, adamw)):
            gradients(net, step)
            opt.step()
        for (name, ours_now), theirs in zip(network.named_parameters(), reference.parameters(), strict=True):
            if name in hidden(network):
                moved = (ours_now.detach() - before[name] * (1 - 0.01 * 0.1)).flatten(1)
                # All singular values near 1: the root mean square is that of an orthogonal matrix.
                expected = 0.01 * LENGTH * (min(moved.shape) * max(moved.shape) / moved.numel()) ** 0.5
                assert float(moved.square().mean().sqrt()) == pytest.approx(expected, rel=0.3)
            else:
                torch.testing.assert_close(ours_now, theirs)


def test_a_saved_state_goes_on_as_if_nothing_had_happened(tmp_path):
    network = small.network()
    first = optimizer(network, 4, 0.01, 0.1)
    gradients(network, 0)
    first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    twin = copy.deepcopy(network)
    second = optimizer(twin, 4, 0.01, 0.1)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for net, opt in ((network, first), (twin, second)):
        gradients(net, 1)
        opt.step()
    for a, b in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_a_version_with_another_optimiser_is_refused_in_words(tmp_path):
    trainer = Trainer(PLAN, small.network(), "cpu")
    old = torch.optim.AdamW(trainer.network.parameters(), 0.01)
    torch.save(trainer.state() | {"optimizer": old.state_dict()}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"another version.*Remove it"):
        trainer.restore(tmp_path / "checkpoint.pt")
