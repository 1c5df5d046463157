"""A finished model on its way from the computer that trained it, in lines of JSON, and its place here.

It travels as a zip of model.json and weights.pt, in pieces of base64 with their number; the event "done" tells the
SHA-256 of the whole. Nothing of it is trusted: it is bounded, read in memory, checked as any model is, and written here
file by file. The card is made anew from model.json.

Example:
    >>> for fields in pieces(archive_of(Path("out/model"))):  # there  # doctest: +SKIP
    ...     tell("model", **fields)
    >>> process = LineProcess(command, environment, Receiver(folder, "hearts"))  # here  # doctest: +SKIP
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..image.files import replace_file
from ..model import Model
from ..model.card import write_card
from ..model.from_json import model_from_json
from ..model.json_fields import Fields
from ..model.weights import JSON_LIMIT, Weights, read_member

PIECE = 3 * 2**16
"""Bytes of a piece, before base64: short enough that no line holds up a program that reads it."""
LIMIT = 2**30
"""Bytes of a whole archive that are taken; a shipped model has 4.4 MB."""
MEMBERS = {"model.json", "weights.pt"}


def archive_of(folder: Path) -> bytes:
    """A model's folder as it travels. Raises OSError."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(MEMBERS):
            archive.write(folder / name, name)
    return held.getvalue()


def pieces(archive: bytes) -> Iterator[dict[str, Any]]:
    """The fields of the events "model": ``part``, from 0, and ``data``, base64."""
    for part, begin in enumerate(range(0, len(archive), PIECE)):
        yield {"part": part, "data": base64.b64encode(archive[begin : begin + PIECE]).decode("ascii")}


def fingerprint(archive: bytes) -> str:
    """The ``sha256`` of the event "done"."""
    return hashlib.sha256(archive).hexdigest()


class Receiver:
    """Takes the events of a training elsewhere as they come, in the thread that reads them.

    folder: of the training, here; it gets ``model``. name: that the model must have. limit: bytes of the archive.
    """

    def __init__(self, folder: Path, name: str, limit: int = LIMIT):
        self._folder, self._name, self._limit = folder, name, limit
        self._held, self._next = bytearray(), 0

    def __call__(self, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The event as it goes on to the program: no piece of the model, and "done" when the model is in its place.

        One that cannot be used is an event "error".
        """
        try:
            if event["event"] == "model":
                self._add(event)
                return None
            if event["event"] == "done":
                return {**event, "model": str(self._place(str(event.get("sha256"))))}
        except (ModelError, OSError) as error:
            text = f"The training has ended, but its model was not received: {error}"
            return {"event": "error", "text": f"{text} Resume it to have the model sent again."}
        return event

    def _add(self, event: Mapping[str, Any]) -> None:
        """A piece out of turn, or one too many, spoils the whole: its SHA-256 will be another."""
        try:
            data = base64.b64decode(event.get("data"), validate=True)
        except (TypeError, ValueError, binascii.Error):
            data = b""
        if event.get("part") == self._next and len(self._held) + len(data) <= self._limit:
            self._held += data
            self._next += 1
        else:
            self._next = -1

    def _place(self, sha256: str) -> Path:
        if self._next < 1 or fingerprint(self._held) != sha256:
            raise ModelError("What came is damaged or not whole.")
        model = received(bytes(self._held), self._name)
        target, part = self._folder / "model", self._folder / "model.part"
        shutil.rmtree(part, ignore_errors=True)
        model.save(part)
        write_card(model, part)
        shutil.rmtree(target, ignore_errors=True)
        replace_file(part, target)
        return target


def received(data: bytes, name: str) -> Model:
    """The model of an archive that came from elsewhere. name: that it must have.

    Raises ModelError where it holds anything but a model's two files, or the model could not be used.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            held = archive.infolist()
            if {one.filename for one in held} != MEMBERS or len(held) != len(MEMBERS):
                shown = ", ".join(one.filename for one in held[:5])
                raise ModelError(f"It holds {shown or 'nothing'}; model.json and weights.pt were expected.")
            if any(one.compress_type != zipfile.ZIP_STORED for one in held):
                raise ModelError("Its files are compressed; a model is sent as it is.")
            text, weights = (
                read_member(archive, "model.json", JSON_LIMIT),
                read_member(archive, "weights.pt", len(data)),
            )
        values = json.loads(text)
    except ModelError:
        raise
    except Exception as error:  # zipfile and json raise whatever they met
        raise ModelError(f"It cannot be read: {error}.") from error
    model = replace(model_from_json(Fields(values, "its model.json")), weights=Weights(data=weights))
    if model.name != name:
        raise ModelError(f'It has the name "{model.name}"; "{name}" was asked for.')
    if hashlib.sha256(weights).hexdigest() != model.sha256:
        raise ModelError("Its weights are not those that its model.json names.")
    return model
