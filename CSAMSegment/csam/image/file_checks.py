"""Is an image file whole? ITK's readers fill what is missing with zeros or with what was in memory, and do not say so.

Of NIfTI, legacy VTK, GIPL and TIFF; the readers of the other formats raise by themselves.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import BinaryIO

from . import nifti

CHUNK = 2**20
MAGIC = b"\x1f\x8b"
PACKED = (".nii.gz", ".img.gz", ".hdr.gz", ".gipl.gz", ".mgz", ".mgh.gz")
"""Names of gzip files that ITK unpacks."""
VTK = re.compile(
    rb"# vtk DataFile[^\n]*\n[^\n]*\n\s*(?P<coding>BINARY|ASCII)\s.*?DIMENSIONS\s+(?P<size>\d+\s+\d+\s+\d+)\s.*?"
    rb"(?:COLOR_SCALARS\s+\S+\s+(?P<colours>\d+)[ \t]*|"
    rb"SCALARS\s+\S+\s+(?P<kind>\w+)(?:[ \t]+(?P<parts>\d+))?\s*\n\s*LOOKUP_TABLE\s+\S+[ \t]*|"
    rb"VECTORS\s+\S+\s+(?P<vectors>\w+)[ \t]*)\r?\n",
    re.DOTALL | re.IGNORECASE,
)
VTK_HEADER = 4096
"""Bytes that no header is longer than."""
VTK_BYTES = {
    b"unsigned_char": 1, b"char": 1, b"unsigned_short": 2, b"short": 2, b"unsigned_int": 4, b"int": 4, b"float": 4,
    b"double": 8, b"vtktypeint64": 8, b"vtktypeuint64": 8, b"unsigned_long": 4, b"long": 4,
}  # fmt: skip
"""Of a number, by its type; of a long the fewest, for systems differ."""
GIPL_BYTES = {1: 1, 7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8, 144: 4, 160: 4, 192: 8, 193: 16}
GIPL_HEADER = 256


def fault_of(path: str | Path) -> str | None:
    """What is wrong with a file that ends early or whose compression is damaged, in words; None for any other file.

    Compressed files are read to their end, a chunk at a time. Raises OSError when the file cannot be opened.
    """
    path = Path(path)
    name = path.name.lower()
    if path.suffix.lower() in (".hdr", ".img"):
        return _fault_of_pair(path.with_suffix(".hdr"), path.with_suffix(".img"))
    with path.open("rb") as file:
        packed = file.read(len(MAGIC)) == MAGIC
    if packed and not name.endswith(PACKED):
        return _misnamed(path)
    if name.endswith((".tif", ".tiff")):
        return _ends_early(path) if _is_cut_tiff(path) else None
    promised = next((of for endings, of in KINDS.items() if name.endswith(endings)), None)
    if promised is None:
        return None
    try:
        with path.open("rb") as file:
            header, held = _measured(_inflated(file)) if packed else (file.read(CHUNK), path.stat().st_size)
    except (EOFError, zlib.error) as error:
        return f"{path.name} is incomplete or damaged ({error}); copy it again from its source"
    found = _vtk_header(header) if name.endswith(".vtk") else None
    if found and found["coding"].upper() == b"ASCII":
        return _ends_early(path) if _numbers_in(path, found.end()) < _vtk_numbers(found) else None
    return _short(path, promised(header), held)


def _fault_of_pair(header: Path, voxels: Path) -> str | None:
    """The same of a header and its voxels in two files, as Analyze and NIfTI have them."""
    if not (header.is_file() and voxels.is_file()):
        return None
    with header.open("rb") as file:
        promised = nifti.promised(file.read(nifti.LONGEST), pair=True)
    return _short(voxels, promised, voxels.stat().st_size)


def _short(path: Path, promised: int, held: int) -> str | None:
    if held >= promised:
        return None
    return (
        f"{path.name} is incomplete: it should have {promised} bytes according to its header but has {held}; copy it "
        "again from its source"
    )


def _ends_early(path: Path) -> str:
    return f"{path.name} is incomplete: it ends before its last slice; copy it again from its source"


def _misnamed(path: Path) -> str:
    if path.suffix.lower() in (".nii", ".gipl"):
        return f"{path.name} is compressed (gzip), but its name does not say so; rename it to {path.name}.gz"
    return f"{path.name} is compressed (gzip), which its format does not allow; unpack it first"


def _measured(parts: Iterator[bytes]) -> tuple[bytes, int]:
    """The beginning of what comes piece by piece, and how many bytes there are."""
    header, held = b"", 0
    for part in parts:
        header, held = header + part if len(header) < nifti.LONGEST else header, held + len(part)
    return header, held


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


def _gipl(header: bytes) -> int:
    """Bytes of a GIPL file: four sizes, 0 for none, and the type of a voxel, big-endian, in a header of 256 bytes."""
    if len(header) < GIPL_HEADER:
        return GIPL_HEADER
    *size, kind = struct.unpack_from(">5H", header)
    return GIPL_HEADER + prod(max(1, n) for n in size) * GIPL_BYTES[kind] if kind in GIPL_BYTES else 0


def _vtk(header: bytes) -> int:
    """Bytes of a binary legacy VTK file with structured points, as the format's own documentation has it."""
    found = _vtk_header(header)
    kind = b"unsigned_char" if found is None or found["colours"] else (found["kind"] or found["vectors"]).lower()
    return found.end() + _vtk_numbers(found) * VTK_BYTES[kind] if found and kind in VTK_BYTES else 0


def _vtk_header(content: bytes) -> re.Match | None:
    return VTK.match(content[:VTK_HEADER])


def _vtk_numbers(found: re.Match) -> int:
    parts = 3 if found["vectors"] else int(found["colours"] or found["parts"] or 1)
    return prod(map(int, found["size"].split())) * parts


def _numbers_in(path: Path, begin: int) -> int:
    """How many words a text holds from a byte on, and so numbers; the last may be cut itself."""
    count, inside = 0, False
    with path.open("rb") as file:
        file.seek(begin)
        while part := file.read(CHUNK):
            words = part.split()
            count += len(words) - (inside and not part[:1].isspace() and bool(words))
            inside = not part[-1:].isspace()
    return count


def _is_cut_tiff(path: Path) -> bool:
    """Whether the chain of a TIFF file's pages leads out of the file: its reader takes those before for all there are.

    TIFF 6.0, section 2; BigTIFF has 43 for 42 and offsets of eight bytes.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        if order is None or len(start) < 16:
            return False
        big = struct.unpack_from(order + "H", start, 2)[0] == 43
        count, entry, offset = (order + "Q", 20, order + "Q") if big else (order + "H", 12, order + "I")
        (at,) = struct.unpack_from(offset, start, 8 if big else 4)
        seen = set()
        while at and at not in seen:
            seen.add(at)
            if at + struct.calcsize(count) > size:
                return True
            file.seek(at)
            (entries,) = struct.unpack(count, file.read(struct.calcsize(count)))
            link = at + struct.calcsize(count) + entries * entry
            if link + struct.calcsize(offset) > size:
                return True
            file.seek(link)
            (at,) = struct.unpack(offset, file.read(struct.calcsize(offset)))
    return False


KINDS: dict[tuple[str, ...], Callable[[bytes], int]] = {
    (".gipl", ".gipl.gz"): _gipl,
    (".vtk",): _vtk,
    (".nii", ".gz"): nifti.promised,
}
"""How many bytes a file of such a name is to have, by its beginning; 0 where it is no such file after all."""
