"""Torch in the worker: imported with words for what keeps it from being, and asked whether a GPU is lost."""

from __future__ import annotations

import importlib
import platform
import re
import sys
import traceback

from ..errors import CSAMError, DeviceLost, WorkerError, in_short, is_out_of_memory

OLDEST_TORCH = (2, 4)


class TorchMissing(WorkerError):
    """There is no torch, or one that is too old: an installation helps."""


def import_torch():
    """The module. Raises TorchMissing, or WorkerError where one that is there cannot be imported."""
    python = f"the Python that runs the worker ({sys.executable}, Python {platform.python_version()})"
    remedy = "Install it there (in 3D Slicer with the PyTorch extension, elsewhere with pip install torch)"
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # a damaged install raises OSError, RuntimeError and others
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise TorchMissing(
                f"PyTorch is not installed for {python}. {remedy}, or set another worker command."
            ) from error
        raise WorkerError(
            f"PyTorch is installed for {python}, but cannot be imported: {error}. Uninstall it (in 3D Slicer in the "
            "module PyTorch Utils, then restart Slicer), and install it again."
        ) from error
    version = getattr(torch, "__version__", "")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise TorchMissing(f"PyTorch {version} of {python} is too old; {oldest} or newer is needed. {remedy}.")
    return torch


def lost_device(error: Exception, device: str) -> DeviceLost | None:
    """A failure that nobody foresaw may be that of a GPU: it is, where one that was to be used answers no more."""
    foreseen = isinstance(error, CSAMError) or not isinstance(error, RuntimeError) or is_out_of_memory(error)
    if foreseen or device == "cpu" or "torch" not in sys.modules:
        return None
    try:
        devices = importlib.import_module("csam.network.devices")
        usable, unusable = devices.survey()
        for wanted in (entry["id"] for entry in (*usable, *unusable)):
            if device == "auto" or wanted.split(":")[0] == device.split(":")[0]:
                devices.check_answers(wanted, in_short(error))
    except DeviceLost as lost:
        lost.__cause__ = error
        return lost
    except Exception:
        traceback.print_exc()
    return None
