"""The bytes of a model's files, read with bounds and without trust: from a folder, a zip, or memory."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ModelError

JSON_LIMIT = 4 * 2**20


WEIGHTS_LIMIT = 4 * 2**30


OF_TRAINING = "model/model.json"
"""Where the folder of a training, and of every part of a cross-validation, has its model."""


@dataclass(frozen=True)
class Weights:
    """Where the bytes of ``weights.pt`` are: a file, a member of a zip, or in memory."""

    path: Path | None = None
    member: str | None = None
    data: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        if self.data is not None:
            return self.data
        try:
            if self.member is None:
                size = self.path.stat().st_size
                return self.path.read_bytes() if bounded(size, WEIGHTS_LIMIT, str(self.path)) else b""
            with zipfile.ZipFile(self.path) as archive:
                return read_member(archive, self.member, WEIGHTS_LIMIT)
        except ModelError:
            raise
        except Exception as error:  # zipfile raises whatever its decompressors met
            raise ModelError(
                f"The weights of the model {self.path} cannot be read: {error}. Add the model again."
            ) from error


def bounded(size: int, limit: int, name: str) -> bool:
    if size > limit:
        raise ModelError(f"{name} has {size} bytes; at most {limit} are read. This is not a usable model.")
    return True


def read_bounded(path: Path, limit: int) -> bytes:
    try:
        bounded(path.stat().st_size, limit, str(path))
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Give a model's folder, or a zip of it.") from error


def open_zip(path: Path) -> tuple[bytes, Weights]:
    """The text of model.json and the place of the weights; both in one folder of the zip, or at its top."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.replace("\\", "/"): name for name in archive.namelist()}  # some of Windows have the former
            chosen = _chosen([name for name in members if name.split("/")[-1] == "model.json"], path)
            member = chosen.removesuffix("model.json") + "weights.pt"
            if member not in members:
                raise ModelError(f"{path} holds no {member}. Get the model again.")
            return read_member(archive, members[chosen], JSON_LIMIT), Weights(path, members[member])
    except ModelError:
        raise
    except Exception as error:  # zipfile raises whatever its decompressors met
        raise ModelError(f"{path} is neither a model's folder nor a readable zip of it: {error}.") from error


def _chosen(found: list[str], path: Path) -> str:
    """The one model.json of a zip; of a cross-validation's folder that of the model which its parts have assessed."""
    top = min(found, key=lambda name: name.count("/"), default="")
    above = top.removesuffix(OF_TRAINING)
    parts = [name for name in found if name != top]
    of_parts = [n for n in parts if n.startswith(above) and n.removeprefix(above).partition("/")[2] == OF_TRAINING]
    if len(found) == 1 or (found and top.endswith(OF_TRAINING) and of_parts == parts):
        return top
    if not found:
        raise ModelError(f"{path} holds no model.json. Give a zip of the folder that holds model.json and weights.pt.")
    several = ", ".join(sorted(found)[:5]) + " ..." * (len(found) > 5)
    raise ModelError(f"{path} holds {len(found)} models: {several}. Give a zip of one of them alone.")


def read_member(archive: zipfile.ZipFile, member: str, limit: int) -> bytes:
    """Reads at most ``limit`` bytes: what the zip claims of a member's size need not be true."""
    bounded(archive.getinfo(member).file_size, limit, member)
    with archive.open(member) as stream:
        data = stream.read(limit + 1)
    bounded(len(data), limit, member)
    return data
