"""The errors that a user may see. Each says what was found, what was expected and what to do.

``kind`` travels over the worker's protocol, so that the other side can tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable


class CSAMError(Exception):
    """Base of every error raised on purpose; ``str(error)`` is one sentence for a user."""

    kind = "internal"
    detail = ""
    """For the log: a traceback, or the worker's last words."""


class InputError(CSAMError, ValueError):
    """The image, the data set or an option cannot be used as it is."""

    kind = "input"


class ModelError(CSAMError, ValueError):
    """The model on disk is missing, damaged or not a CSAM model."""

    kind = "model"


class DeviceError(CSAMError, RuntimeError):
    """The device asked for is not there, or no device has the memory that is needed."""

    kind = "device"


class DeviceLost(DeviceError):
    """A GPU has stopped to answer: this process can use it no more, a new one perhaps."""

    kind = "device_lost"


class Cancelled(CSAMError):
    """The user who started the run stopped it."""

    kind = "cancelled"

    def __init__(self, message: str = "Cancelled."):
        super().__init__(message)


class WorkerError(CSAMError, RuntimeError):
    """The worker process could not be started, ended, or said something that is not the protocol."""

    kind = "worker"


ERRORS = {
    error.kind: error for error in (CSAMError, InputError, ModelError, DeviceError, DeviceLost, Cancelled, WorkerError)
}

OUT_OF_MEMORY = ("out of memory", "not enough memory", "alloc", "cudnn_status_not_initialized")
PERHAPS_OUT_OF_MEMORY = (
    "unable to find a valid cudnn algorithm",
    "unable to find an engine",
    "cublas_status_not_initialized",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
)
"""What a GPU says whose memory is too full for the libraries that work there; an unfit one says the same."""


def is_out_of_memory(error: BaseException) -> bool:
    """Python's MemoryError, torch's OutOfMemoryError, and the other ways in which torch says so, on GPU and CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or _says(error, OUT_OF_MEMORY)


def smaller_pieces_may_help(error: BaseException) -> bool:
    """Whether a GPU's memory is short, or may be."""
    return is_out_of_memory(error) or _says(error, PERHAPS_OUT_OF_MEMORY)


def in_short(error: BaseException) -> str:
    """The first sentence of an error's text, its class where it has none; torch adds pages of advice."""
    return re.split(r"\.\s|\.$|\n", str(error).strip())[0][:200] or type(error).__name__


def told_of(error: Exception) -> CSAMError:
    """What a user is told of any error: itself where it was raised on purpose."""
    if isinstance(error, CSAMError):
        return error
    what = f"{type(error).__name__}: {str(error)[:300]}".rstrip(": ")
    if is_out_of_memory(error):
        advice = "Close other programs, limit the run to a region, or choose another device."
        return DeviceError(f"There was not enough memory ({what}). {advice}")
    return CSAMError(f"Something unexpected went wrong ({what}). The log has the details.")


def _says(error: BaseException, words: Iterable[str]) -> bool:
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
