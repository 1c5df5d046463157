"""The cases of a batch over the workers of a Dask scheduler; retries and the dashboard are Dask's own.

Every worker needs csam, and sees the folders under the same paths.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from ..errors import CSAMError, InputError, told_of
from ..model import Model
from .cases import Case
from .folder import BatchFolder
from .row import Row
from .run import Batch, attempt, check_model, whole_run

RETRIES = 2
"""How often a case is tried again whose task failed; a worker that dies is counted by the scheduler."""
_running = threading.Lock()
"""A process segments one case at a time: its threads share the cores already."""


def over_workers(batch: Batch, cases: Sequence[Case], address: str) -> Iterator[Row]:
    """Segments the cases that are not done yet; the rows as they come. Raises InputError, FolderError."""
    if importlib.util.find_spec("distributed") is None:
        raise InputError("The package distributed is missing. Run: pip install 'csamsegment[batch]'")
    from distributed import Client, as_completed

    try:
        client = Client(address, timeout=15)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"There is no Dask scheduler at {address}: {error}. Start one with: dask scheduler, and workers with: "
            "dask worker ADDRESS --nthreads 1"
        ) from error
    with client:
        futures = {client.submit(task, batch, case, pure=False, retries=RETRIES): case for case in cases}
        for future in as_completed(futures):
            case, error = futures[future], future.exception()
            if isinstance(error, CSAMError):  # no case's own: it would end them all
                raise error
            yield future.result() if error is None else _lost(batch, case, error)
            future.release()


def task(batch: Batch, case: Case) -> Row:
    """One case, in a worker's process."""
    with _running:
        model = _model(batch.model, batch.digest)
        check_model(model, batch)
        return attempt(case, batch, whole_run(model, batch.options))


@lru_cache(maxsize=1)
def _model(name: str, _digest: str) -> Model:
    from ..cli.files import find_model

    return find_model(name)


def _lost(batch: Batch, case: Case, error: BaseException) -> Row:
    """The fault of a case whose task has failed, again and again, outside of the case's own work."""
    said = f"No worker could segment it: {told_of(error) if isinstance(error, Exception) else error!r}"
    return BatchFolder(Path(batch.out)).fail(case.name, case.images, said)
