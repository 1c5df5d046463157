"""Which devices are listed, and which are chosen."""

import pytest
import torch

from csam.devices import choose_device, describe_devices
from csam.errors import DeviceError


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs, the first of which is too new (or too old) for this torch: its first kernel fails."""
    ones = torch.ones

    def on_device(*size, device):
        if device == "cuda:0":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
        return ones(*size)

    monkeypatch.setattr(torch, "ones", on_device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (2**30, 2**31))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_a_gpu_that_this_torch_cannot_use_is_left_out_and_said_in_the_log(two_gpus, capsys):
    assert [device["id"] for device in describe_devices()] == ["cuda:1", "cpu"]
    assert "cuda:0 is left out, it cannot be used: CUDA error: no kernel image" in capsys.readouterr().err


def test_auto_takes_the_first_that_can_be_used(two_gpus):
    assert choose_device() == choose_device("cuda") == "cuda:1"
    assert choose_device("cpu") == "cpu"
    with pytest.raises(DeviceError, match="The device cuda:0 is not here; there is cuda:1, cpu"):
        choose_device("cuda:0")
