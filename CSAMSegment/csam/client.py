"""The worker's client, under the name that other programs import. The code is in ``csam.process.client``.

Plain Python: it needs neither torch nor Qt, and nothing in it waits unless it is asked to.

Example:
    >>> import sys
    >>> from csam.client import WorkerClient
    >>> with WorkerClient([sys.executable, "-m", "csam", "worker"]) as client:  # doctest: +SKIP
    ...     client.submit("hello").result(timeout=60)["torch"]
"""

from .process.client import WorkerClient

__all__ = [
    "WorkerClient",
]
