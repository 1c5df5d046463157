"""What a GPU fails at is done on the CPU: the network there, and what the user is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch

from ..errors import CSAMError, DeviceError, DeviceLost, in_short, is_out_of_memory
from ..network.devices import check_answers
from ..result import Result

T = TypeVar("T")
TOO_LARGE = (
    "This computer has too little memory for this run. Close other programs, limit the run to a region, or use a "
    "smaller model."
)


def on_the_cpu(error: BaseException) -> str:
    """What is said of a run that a GPU has failed."""
    fault = "The GPU had too little memory" if is_out_of_memory(error) else "The GPU failed"
    return f"{fault} ({in_short(error)}): the run went on on the CPU, which is slower."


def done_on(device: str, work: Callable[[str], T]) -> tuple[T, str, list[str]]:
    """What ``work`` gives on a device, or on the CPU where that fails at it; where it was done, and what there is to
    say of it.

    work: takes a device; what it leaves behind when it fails must not matter. Raises DeviceLost where the device
    answers no more, and DeviceError where not even the CPU's memory suffices.
    """
    try:
        return work(device), device, []
    except CSAMError:
        raise
    except (MemoryError, RuntimeError) as error:
        if device == "cpu":
            if not is_out_of_memory(error):
                raise
            raise DeviceError(TOO_LARGE) from error
        said, reason = on_the_cpu(error), in_short(error)
    check_answers(device, reason)  # here, where the error no longer holds on to the tensors
    return done_on("cpu", work)[0], "cpu", [said]


def network_on(model, device: str) -> tuple[torch.nn.Module, str, list[str]]:
    """A model's network on a device, or on the CPU where that fails; where it is, and what there is to say of it.

    Raises DeviceLost where the device answers no more.
    """
    return done_on(device, model.network)


def on_cpu_if_lost(attempt: Callable[[Any], Result], options: Any) -> Result:
    """The result of an attempt with these options; on the CPU, and said, where a GPU answers this process no more."""
    try:
        return attempt(options)
    except DeviceLost as error:
        said = f"{error} The run was on the CPU, which is slower."
        result = attempt(replace(options, device="cpu"))
        return replace(result, warnings=(*result.warnings, said))


def copied_to_the_cpu(network: torch.nn.Module) -> torch.nn.Module:
    """A copy that takes no memory where the network is."""
    here = {id(buffer): buffer.cpu() for buffer in network.buffers()}
    here |= {id(weight): torch.nn.Parameter(weight.detach().cpu(), False) for weight in network.parameters()}
    return copy.deepcopy(network, here)
