"""The number format of a run: what the hardware multiplies, if the result bears it, and the same every time."""

import pytest
import SimpleITK as sitk
import torch
from unit import small

from csam.network import number_format
from csam.network.networks import CSAMUNet, CSAMUNetPlusPlus
from csam.network.posterior import GatePosterior
from csam.pipeline.segment import segment
from csam.result import Options


@pytest.fixture
def in_hardware(monkeypatch):
    monkeypatch.setattr(number_format, "hardware_format", lambda device: torch.bfloat16)


@pytest.mark.parametrize("kind", [CSAMUNet, CSAMUNetPlusPlus])
@torch.inference_mode()
def test_half_the_bits_change_probabilities_little_and_leave_gates_and_logits_in_float32(kind):
    network = small.lively(small.network(kind))
    x = number_format.synthetic_image(network)
    posterior = GatePosterior(network, x.bfloat16())
    logits = posterior.sampler()(posterior.sample_gates(2, torch.Generator().manual_seed(0)))
    assert {level.dtype for level in posterior.features} == {torch.bfloat16}
    assert {d.mean.dtype for d in posterior.distributions} == {logits.dtype} == {torch.float32}
    assert number_format.change(network, "cpu", torch.bfloat16) == pytest.approx(0, abs=0.05)


def test_a_format_that_changes_the_result_is_not_used(in_hardware, monkeypatch):
    monkeypatch.setattr(number_format, "change", lambda *_: number_format.BOUND)
    assert number_format.format_for(small.network(), "cpu") == torch.bfloat16
    for change in (2 * number_format.BOUND, float("inf")):
        monkeypatch.setattr(number_format, "change", lambda *_, change=change: change)
        assert number_format.format_for(small.network(), "cpu") == torch.float32


def test_numbers_that_overflow_count_as_an_infinite_change():
    network = small.network()
    with torch.no_grad():
        network.encoder.attentions[0].semantic_att.linear[-1].bias.fill_(float("nan"))
    assert number_format.change(network, "cpu", torch.bfloat16) == float("inf")


def test_the_check_is_made_once_for_a_network(in_hardware, monkeypatch):
    seen = []
    monkeypatch.setattr(number_format, "change", lambda *given: seen.append(given) or 0.0)
    network = small.network()
    assert {number_format.format_for(network, "cpu") for _ in range(3)} == {torch.bfloat16}
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), torch.float32)],
)
def test_a_gpu_gets_the_format_that_it_multiplies_in_hardware(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert number_format.hardware_format("cuda:0") == expected
    assert number_format.hardware_format("mps") == torch.float32


def test_a_run_says_its_number_format_and_repeats_itself_bit_for_bit(in_hardware, monkeypatch):
    monkeypatch.setattr(number_format, "BOUND", 1.0)
    image, model = small.image(), small.model()
    first, second = (segment(image, model, Options(samples=2)) for _ in range(2))
    assert first.provenance["number_format"] == "bfloat16"
    assert (
        sitk.GetArrayFromImage(first.error_probability).tobytes()
        == sitk.GetArrayFromImage(second.error_probability).tobytes()
    )
