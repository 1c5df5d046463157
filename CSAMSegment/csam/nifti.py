"""Is a NIfTI file whole? ITK's reader fills what is missing with zeros and does not say so."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import BinaryIO

CHUNK = 2**20
HEADERS = ((348, 344, b"n+1", "8h", 40, 70, "f", 108), (540, 4, b"n+2", "8q", 16, 12, "q", 168))
"""Of version 1 and 2: bytes of the header; place and text of the magic; format and place of the dimensions; place of
the type of a voxel; format and place of the offset of the voxels."""
BYTES = {
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1536: 16, 1792: 16,
    2048: 32, 2304: 4,
}  # fmt: skip
"""Of a voxel, by its type. The header's own number of bits is not what readers go by."""
LONGEST = max(length for length, *_ in HEADERS)
MAGIC = b"\x1f\x8b"


def fault_of(path: str | Path) -> str | None:
    """What is wrong with a file that ends early or whose compression is damaged, in words; None for any other file.

    Compressed files are read to their end, a chunk at a time. Raises OSError when the file cannot be opened.
    """
    path = Path(path)
    if path.suffix.lower() in (".hdr", ".img"):
        return _fault_of_pair(path.with_suffix(".hdr"), path.with_suffix(".img"))
    if not path.name.lower().endswith((".nii", ".gz")):
        return None
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                file.seek(0)
                header, held = b"", 0
                for part in _inflated(file):
                    header, held = header + part if len(header) < LONGEST else header, held + len(part)
            else:
                file.seek(0)
                header, held = file.read(CHUNK), path.stat().st_size
    except (EOFError, zlib.error) as error:
        return f"{path.name} is cut short or damaged ({error}); copy it again from where it is whole"
    return _short(path, _promised(header), held)


def _fault_of_pair(header: Path, voxels: Path) -> str | None:
    """The same of a header and its voxels in two files, as Analyze and NIfTI have them."""
    if not (header.is_file() and voxels.is_file()):
        return None
    with header.open("rb") as file:
        promised = _promised(file.read(LONGEST), pair=True)
    return _short(voxels, promised, voxels.stat().st_size)


def _short(path: Path, promised: int, held: int) -> str | None:
    if held >= promised:
        return None
    return (
        f"{path.name} is cut short: its header promises {promised} bytes and it holds {held}; copy it again from "
        "where it is whole"
    )


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    """The content of a gzip file, a piece at a time; what follows its last member is padding."""
    stream, rest = zlib.decompressobj(31), file.read(CHUNK)
    while True:
        part = stream.decompress(rest, CHUNK)
        yield part
        if stream.eof:
            rest = stream.unused_data + file.read(CHUNK)
            if not rest.startswith(MAGIC):
                return
            stream = zlib.decompressobj(31)
            continue
        rest = stream.unconsumed_tail or file.read(CHUNK)
        if not (part or rest):
            raise EOFError("the compressed data ends early")


def _promised(header: bytes, pair: bool = False) -> int:
    """Bytes of the whole file, or of the voxels' own; 0 where this is no header of a NIfTI file of that kind."""
    for order in "<>":
        for length, at, magic, sizes, sizes_at, type_at, offset, offset_at in HEADERS:
            fits = len(header) >= length and header.startswith(struct.pack(order + "i", length))
            if not fits or header.startswith(magic, at) == pair:
                continue
            dimensions, *size = struct.unpack_from(order + sizes, header, sizes_at)
            (kind,) = struct.unpack_from(order + "h", header, type_at)
            (begin,) = struct.unpack_from(order + offset, header, offset_at)
            first = 0 if pair else length
            begin = int(begin) if first <= begin < 2**40 else first
            return begin + prod(max(1, n) for n in size[:dimensions]) * BYTES[kind] if kind in BYTES else 0
    return 0
