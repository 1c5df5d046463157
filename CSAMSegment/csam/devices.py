"""Where a network can run: CUDA when available, then MPS, else the CPU."""

from __future__ import annotations

import platform
import sys

from .errors import DeviceError


def describe_devices() -> list[dict]:
    """Every usable device, the best first: id, name, free_bytes (None where unknown) and threads (CPU only)."""
    import torch

    devices = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = f"cuda:{number}"
        try:
            free, _ = torch.cuda.mem_get_info(number)
            torch.ones(1, device=device).add_(1).item()
        except RuntimeError as error:  # in a mode or state that refuses work, or this torch has no code for it
            print(f"{device} is left out, it cannot be used: {error}", file=sys.stderr)
            continue
        devices.append({"id": device, "name": torch.cuda.get_device_name(number), "free_bytes": free, "threads": None})
    if torch.backends.mps.is_available():
        devices.append({"id": "mps", "name": "Apple GPU", "free_bytes": None, "threads": None})
    name = platform.processor() or platform.machine() or "CPU"
    return [*devices, {"id": "cpu", "name": name, "free_bytes": None, "threads": torch.get_num_threads()}]


def choose_device(wanted: str = "auto") -> str:
    """The device's id for a wish: "auto", "cpu", "cuda", "cuda:1" or "mps". Raises DeviceError if it is not there."""
    there = [device["id"] for device in describe_devices()]
    if wanted == "auto":
        return there[0]
    chosen = next((device for device in there if device == wanted or device.split(":")[0] == wanted), None)
    if chosen is None:
        raise DeviceError(f"The device {wanted} is not here; there is {', '.join(there)}. Choose one of them, or auto.")
    return chosen
