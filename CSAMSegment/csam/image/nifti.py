"""What the header of a NIfTI file tells and ITK's reader does not: how long the file is to be, how its axes lie."""

from __future__ import annotations

import struct
from math import prod

import numpy as np

HEADERS = ((348, 344, b"n+1", "8h", 40, 70, "f", 108), (540, 4, b"n+2", "8q", 16, 12, "q", 168))
"""Of version 1 and 2: bytes of the header; place and text of the magic; format and place of the dimensions; place of
the type of a voxel; format and place of the offset of the voxels."""
SFORM = {348: ("h", 254, "12f", 280), 540: ("i", 348, "12d", 400)}
"""By bytes of the header: format and place of the sform's code, and of its three rows."""
BYTES = {
    2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 1536: 16, 1792: 16,
    2048: 32, 2304: 4,
}  # fmt: skip
"""Of a voxel, by its type. The header's own number of bits is not what readers go by."""
LONGEST = max(length for length, *_ in HEADERS)


def promised(header: bytes, pair: bool = False) -> int:
    """Bytes of the whole file, or, of a pair of files, of the voxels' own; 0 where this is no NIfTI file of that kind.

    header: the file's first ``LONGEST`` bytes or more.
    """
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


def axes_of(header: bytes) -> np.ndarray | None:
    """The directions of the image axes by the sform, (3, 3), LPS, each column of length 1; None without an sform.

    ITK turns them until they are at right angles, or refuses the file.
    """
    for order in "<>":
        for length, (code, code_at, rows, rows_at) in SFORM.items():
            if len(header) < length or not header.startswith(struct.pack(order + "i", length)):
                continue
            matrix = np.reshape(struct.unpack_from(order + rows, header, rows_at), (3, 4))[:, :3]
            lengths = np.linalg.norm(matrix, axis=0)
            if struct.unpack_from(order + code, header, code_at)[0] > 0 and np.all(lengths > 0):
                return np.diag([-1.0, -1.0, 1.0]) @ (matrix / lengths)
    return None
