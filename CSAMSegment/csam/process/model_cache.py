"""What stays loaded in the worker from one request to the next."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..model.shipped import model_path

if TYPE_CHECKING:
    from ..batch.run import Batch
    from ..batch.session import Session

MODELS_KEPT = 2
"""Models that stay loaded, the latest ones."""


class ModelCache:
    """The models loaded last; one whose files changed is read again."""

    def __init__(self):
        self._models: dict[Path, tuple[Any, Any]] = {}
        self._filler: tuple[Any, Any] = (None, None)
        self._rounds: list[tuple[Any, tuple[str, str], dict]] = []
        self._session: Session | None = None

    def filler(self, path: str | None) -> Any:
        """The network that fills slices, the latest one: the shipped one where no folder is named."""
        from ..interactive.fill_model import SHIPPED, FillModel

        place = Path(os.path.abspath(path or SHIPPED))
        known = (place, _stamp(place))
        if self._filler[0] != known:
            self._filler = (known, FillModel.load(place))
        return self._filler[1]

    def memory(self, case: tuple[str | None, str], cancelled: Callable[[Any], bool]) -> dict | None:
        """What a network learned from the drawn slices of the case filled last, of this one alone; a copy.

        case: its name, and the digest of the weights that the network began with; None for a name keeps nothing.
        cancelled: whether the request of a number was cancelled, be it after its end: its round is forgotten.
        """
        if self._rounds and cancelled(self._rounds[-1][0]):
            self._rounds.pop()
        of_last, learned = self._rounds[-1][1:] if self._rounds else (None, {})
        return None if case[0] is None else dict(learned) if of_last == case else {}

    def keep_memory(self, number: Any, case: tuple[str | None, str], learned: dict | None) -> None:
        """Keep what a round has learned, and that of the round before it. number: of its request."""
        if learned is not None:
            self._rounds = [*self._rounds[-1:], (number, case, learned)]

    def batch(self, batch: Batch) -> Session:
        """The batch that is under way; another one ends it."""
        from ..batch.session import Session

        if self._session is None or self._session.batch != batch:
            self.end_batch()
            self._session = Session(batch, self.get(batch.model))
        return self._session

    def end_batch(self) -> None:
        """Ends the batch that is under way, if there is one: its table and its page are whole then."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def get(self, name: str, digest: str = "") -> Any:
        """A model by its path here, or one that ships by its name.

        digest: that it must have; empty for any. Raises ModelError.
        """
        path = Path(os.path.abspath(model_path(name)))
        path = path.parent if path.name == "model.json" else path
        stamp = _stamp(path)
        known, model = self._models.pop(path, (None, None))
        if model is None or known != stamp:
            model = _load(path, name)
        self._models[path] = (stamp, model)
        while len(self._models) > MODELS_KEPT:
            del self._models[next(iter(self._models))]
        if digest:
            model.check_digest(digest, path)
        return model


def _load(path: Path, name: str) -> Any:
    from ..model import Model

    try:
        return Model.load(path)
    except ModelError as error:
        if path.exists():
            raise
        if path.name == name:
            raise ModelError(
                f"No model called {name} comes with the CSAMSegment on {platform.node()}. If the worker runs on "
                "another computer, install the same version of CSAMSegment there."
            ) from error
        raise ModelError(
            f"There is no model at {path} on {platform.node()}. If the worker runs on another computer, copy the model "
            "there, to the same path."
        ) from error


def _stamp(path: Path) -> list[tuple]:
    """What tells that a folder or zip has changed."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file()]
