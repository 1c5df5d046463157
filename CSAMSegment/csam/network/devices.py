"""Where a network can run: CUDA when available, then MPS, else the CPU; and which GPUs are there but cannot be used."""

from __future__ import annotations

import platform
import sys
import warnings

from ..errors import DeviceError, DeviceLost, in_short, is_out_of_memory

_said_of_cuda: list[str] = []
"""What torch warned of when it first looked for GPUs: it says so once in a process."""


def describe_devices() -> list[dict]:
    """Every usable device, the best first: id, name, free_bytes (None where unknown) and threads (CPU only)."""
    return survey()[0]


def unusable_devices() -> list[dict]:
    """The GPUs that are there but cannot be used: id, name and reason."""
    return survey()[1]


def survey() -> tuple[list[dict], list[dict]]:
    """All devices: those of ``describe_devices`` and those of ``unusable_devices``."""
    import torch

    usable, unusable = [], []
    for device in _gpus():
        name, reason = _name(device), why_unusable(device)
        if reason:  # in a mode or state that refuses work, or this torch has no code for it
            print(f"{device} is left out, it cannot be used: {reason}", file=sys.stderr)
            unusable.append({"id": device, "name": name, "reason": reason})
            continue
        free = torch.cuda.mem_get_info(int(device[5:]))[0] if device.startswith("cuda") else None
        usable.append({"id": device, "name": name, "free_bytes": free, "threads": None})
    if _said_of_cuda and not any(device["id"].startswith("cuda") for device in (*usable, *unusable)):
        unusable.append({"id": "cuda", "name": "NVIDIA GPU", "reason": _said_of_cuda[0]})
    name = platform.processor() or platform.machine() or "CPU"
    cpu = {"id": "cpu", "name": name, "free_bytes": None, "threads": torch.get_num_threads()}
    return [*usable, cpu], unusable


def choose_device(wanted: str = "auto") -> str:
    """The device's id for a wish: "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises DeviceError if it is not there, or is there and cannot be used.
    """
    usable, unusable = survey()
    there = [device["id"] for device in usable]
    if wanted == "auto":
        return there[0]

    def is_it(device: str) -> bool:
        return device == wanted or device.split(":")[0] == wanted

    chosen = next(filter(is_it, there), None)
    if chosen is None:
        reason = next((device["reason"] for device in unusable if is_it(device["id"])), None)
        fault = f"cannot be used ({reason})" if reason else "is not there"
        raise DeviceError(f"The device {wanted} {fault}. Choose auto or one of these: {', '.join(there)}.")
    return chosen


def why_unusable(device: str, tidy: bool = False) -> str | None:
    """What a device answers to its smallest task when it is no good; None when it does it, or only lacks memory.

    tidy: first let go of the memory that torch keeps there for later.
    """
    import torch

    try:
        if device.startswith("cuda"):
            if tidy:
                torch.cuda.empty_cache()
            torch.cuda.mem_get_info(int(device[5:]))
        torch.ones(1, device=device).add_(1).item()
    except (RuntimeError, AssertionError) as error:
        return None if is_out_of_memory(error) else in_short(error)
    return None


def check_answers(device: str, reason: str) -> None:
    """After a failure on a device: let go of what torch keeps there.

    Raises DeviceLost where even the smallest task fails, as all do in a process whose GPU has failed once in earnest.
    reason: of the failure.
    """
    if device != "cpu" and why_unusable(device, tidy=True):
        raise DeviceLost(
            f"The device {device} failed and no longer answers ({reason}). Restart the worker, or choose the CPU."
        )


def said_of(unusable: list[dict]) -> str:
    """For the result of a run on the CPU that was to choose for itself; empty where there was no choice."""
    gpus = "; ".join(f"{device['name']}: {device['reason']}" for device in unusable)
    return f"The GPU could not be used ({gpus}): the run was on the CPU, which is slower." if gpus else ""


def _gpus() -> list[str]:
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    _said_of_cuda.extend(in_short(warning.message) for warning in said if "CUDA" in str(warning.message))
    return [f"cuda:{number}" for number in range(count)] + ["mps"] * torch.backends.mps.is_available()


def _name(device: str) -> str:
    import torch

    if device == "mps":
        return "Apple GPU"
    try:
        return torch.cuda.get_device_name(int(device[5:]))
    except (RuntimeError, AssertionError):
        return device
