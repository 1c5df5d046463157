"""Is a NIfTI file whole? ITK's reader fills what is missing with zeros and does not say so."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

CHUNK = 2**20
HEADERS = ((348, 344, b"n+1", "8h", 40, 72, "f", 108), (540, 4, b"n+2", "8q", 16, 14, "q", 168))
"""Of version 1 and 2: bytes of the header; place and text of the magic; format and place of the dimensions; place of
the bits of a voxel; format and place of the offset of the voxels."""


def fault_of(path: str | Path) -> str | None:
    """What is wrong with a file that ends early or whose compression is damaged, in words; None for any other file.

    Compressed files are read to their end, a chunk at a time. Raises OSError when the file cannot be opened.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".gz")):
        return None
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if compressed else path.open("rb") as file:
            header = file.read(540)
            rest = iter(lambda: file.read(CHUNK), b"")
            held = len(header) + sum(map(len, rest)) if compressed else path.stat().st_size
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f"{path.name} is cut short or damaged ({error}); copy it again from where it is whole"
    promised = _promised(header)
    if held < promised:
        return (
            f"{path.name} is cut short: its header promises {promised} bytes and it holds {held}; copy it again from "
            "where it is whole"
        )
    return None


def _promised(header: bytes) -> int:
    """Bytes of the whole file; 0 where this is no header of a NIfTI file that holds its voxels, too."""
    for order in "<>":
        for length, at, magic, sizes, sizes_at, bits_at, offset, offset_at in HEADERS:
            fits = len(header) >= length and header.startswith(struct.pack(order + "i", length))
            if not fits or not header.startswith(magic, at):
                continue
            dimensions, *size = struct.unpack_from(order + sizes, header, sizes_at)
            (bits,) = struct.unpack_from(order + "h", header, bits_at)
            (begin,) = struct.unpack_from(order + offset, header, offset_at)
            begin = int(begin) if length <= begin < 2**40 else length
            return begin + prod(max(1, n) for n in size[:dimensions]) * bits // 8
    return 0
