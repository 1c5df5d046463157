"""The worker's part in a batch: it alone reads the cases and writes the results, table and page.

batch: folder, of the cases, or ``csam.batch.folder.SCENE``; out, of the results; model, a path, or the name of one that
ships; perhaps its digest, and frame.
case: name, images, series, as ``csam.batch.cases.Case``; of the scene the name alone, and the images come along.
row: ``csam.batch.row.Row`` as plain fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import InputError, WorkerError
from ..model.json_fields import refuse_unknown
from .protocol import unpack_options
from .torch_import import import_torch, lost_device

if TYPE_CHECKING:
    from ..batch.cases import Case
    from ..batch.session import Session
    from .model_cache import ModelCache
    from .worker import Request


def begin(request: Request, models: ModelCache) -> None:
    """Answers with the cases that there are, the names of those to be segmented, and the rows of what is known."""
    import_torch()
    from ..batch.folder import SCENE

    session = _session(request, models)
    cases = session.find() if session.batch.folder != SCENE else ()
    waiting, rows = session.waiting(cases), [asdict(row) for row in session.rows.values()]
    request.reply("result", cases=[asdict(case) for case in cases], waiting=waiting, rows=rows)


def run_case(request: Request, models: ModelCache) -> None:
    """Segments one case, unless it is done. fault: a sentence; the case is not segmented, but failed so."""
    from ..batch.folder import SCENE

    session, case = _session(request, models), _case(request.field("case"))
    if "fault" in request.header:
        row = session.fail(case.name, case.images, str(request.header["fault"]))
    elif session.batch.folder == SCENE:
        images = request.take_images()
        row = session.run_images(case.name, images, lambda images: _segment(images, request, session, models))
    else:
        row = session.run(case, lambda images: _segment(images, request, session, models))
    request.reply("result", row=asdict(row))


def end(request: Request, models: ModelCache) -> None:
    """Table and page are whole afterwards, and the folder is free for another process."""
    models.end_batch()
    request.reply("result")


def _segment(images: list, request: Request, session: Session, models: ModelCache):
    import_torch()
    from ..pipeline.segment import segment

    options = unpack_options(request.header.get("options") or {})
    model = models.get(session.batch.model)
    try:
        return segment(images, model, options, progress=request.progress, cancelled=request.cancelled)
    except Exception as error:
        lost = lost_device(error, request.device)
        if lost is not None:
            raise lost from error
        raise


def _session(request: Request, models: ModelCache) -> Session:
    from ..batch.run import Batch

    told = request.field("batch")
    if not isinstance(told, dict):
        raise WorkerError(f"The batch of a request is {told!r}; an object with named fields was expected.")
    refuse_unknown(told, ("folder", "out", "model", "digest", "frame"), "The batch's")
    try:
        folder, out, path = (str(told[name]) for name in ("folder", "out", "model"))
    except KeyError as error:
        raise InputError(f"The batch of a request lacks {error}.") from error
    model = models.get(path, str(told.get("digest") or ""))
    options = unpack_options(request.header.get("options") or {})
    batch = Batch(folder, out, path, model.digest, options, len(model.channels), told.get("frame"))
    return models.batch(batch)


def _case(told: Mapping[str, Any]) -> Case:
    from ..batch.cases import Case, safe_name

    try:
        name = str(told["name"])
        if safe_name(name) != name:
            raise InputError(f"{name!r} cannot be the name of a case, for it cannot be that of a folder.")
        return Case(name, tuple(map(str, told.get("images", ()))), str(told.get("series", "")))
    except (KeyError, TypeError, AttributeError) as error:
        raise WorkerError(f"The case of a request is not as the protocol says: {error}.") from error
