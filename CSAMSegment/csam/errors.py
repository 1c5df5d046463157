"""The errors a person may meet. Each says what was found, what was expected and what to do.

``kind`` travels over the worker's protocol, so that the other side can tell them apart.
"""


class CSAMError(Exception):
    """Base of every error raised on purpose; ``str(error)`` is one sentence for a person."""

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


class Cancelled(CSAMError):
    """The person who started the run stopped it."""

    kind = "cancelled"

    def __init__(self, message: str = "Cancelled."):
        super().__init__(message)


class WorkerError(CSAMError, RuntimeError):
    """The worker process could not be started, ended, or said something that is not the protocol."""

    kind = "worker"


ERRORS = {error.kind: error for error in (CSAMError, InputError, ModelError, DeviceError, Cancelled, WorkerError)}


def is_out_of_memory(error: BaseException) -> bool:
    """Python's MemoryError, torch's OutOfMemoryError, and the other ways in which torch says so, on GPU and CPU."""
    words = ("out of memory", "not enough memory", "alloc", "cudnn_status_not_initialized")
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words))
