"""Which devices are listed, and which are chosen."""

import warnings

import pytest
import torch

from csam.errors import DeviceError, DeviceLost
from csam.network import devices
from csam.network.devices import check_answers, choose_device, describe_devices, said_of, unusable_devices


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
    with pytest.raises(DeviceError, match=r"cuda:7 is not there\. Choose auto or one of these: cuda:1, cpu"):
        choose_device("cuda:7")


def test_a_chosen_gpu_that_cannot_be_used_is_refused_with_the_reason(two_gpus):
    with pytest.raises(
        DeviceError,
        match=r"cuda:0 cannot be used \(CUDA error: no kernel image .*Choose auto or one of these: cuda:1, cpu",
    ):
        choose_device("cuda:0")


def test_a_gpu_that_cannot_be_used_is_told_with_its_name_and_the_reason(two_gpus):
    (left_out,) = unusable_devices()
    assert (left_out["id"], left_out["name"]) == ("cuda:0", "GPU 0")
    assert "no kernel image" in left_out["reason"]
    assert said_of([left_out]).startswith("The GPU could not be used (GPU 0: CUDA error: no kernel image")
    assert said_of([]) == ""


def test_a_driver_that_torch_refuses_is_told_as_often_as_one_asks(monkeypatch):
    """torch warns once in a process, and then says that there is no CUDA at all."""
    said = ["CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Update it."]

    def is_available():
        if said:
            warnings.warn(said.pop(), stacklevel=1)
        return False

    monkeypatch.setattr(devices, "_said_of_cuda", [])
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for _ in range(2):
        (left_out,) = unusable_devices()
        assert left_out["id"] == "cuda"
        assert "NVIDIA driver on your system is too old" in left_out["reason"]


def test_a_gpu_that_answers_no_more_is_lost_and_a_full_one_is_not(monkeypatch):
    def ones(*size, device):
        raise RuntimeError(f"CUDA error: {fault}")

    monkeypatch.setattr(torch, "ones", ones)
    fault = "out of memory"
    check_answers("cpu:0", "so")
    fault = "unspecified launch failure"
    with pytest.raises(DeviceLost, match=r"cpu:0 failed and no longer answers \(so\)"):
        check_answers("cpu:0", "so")
    check_answers("cpu", "so")
