"""What the worker and its client say to each other: frames, and images, options and results inside them.

A frame is one line of JSON that states how many raw bytes follow, then those bytes::

    {"type": "segment", "id": 3, "images": [...], "bytes": 5242880}\\n<5242880 raw bytes>

Example:
    >>> import io
    >>> stream = io.BytesIO()
    >>> write_frame(stream, {"type": "note", "id": 1}, [b"abc"])
    >>> _ = stream.seek(0)
    >>> header, payload = read_frame(stream)
    >>> header["type"], bytes(payload)
    ('note', b'abc')
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk

from ..errors import ERRORS, CSAMError, DeviceError, InputError, WorkerError
from ..image.raster import Raster, voxels_of
from ..interactive.drawing import FillOptions
from ..model.json_fields import refuse_unknown
from ..result import Options, Result, SliceScore, StructureVolume

HEADER_LIMIT = 2 << 20
"""Longest header line, in bytes: the rows of some three thousand cases of a batch."""

PAYLOAD_LIMIT = 64 << 30
"""Most raw bytes that one frame may announce."""

DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64", "complex64", "complex128"),
)
"""Pixel types that travel, by their numpy names; on the wire they are little-endian."""

RESULT_IMAGES = ("error_probability", "entropy", "mutual_information", "probabilities", "labels")
"""In the order of a frame: large numbers first, so that all of them lie where a processor can read them."""


class PipeClosed(WorkerError):
    """The other side closed the stream, between two frames or in the middle of one."""


# Frames ---------------------------------------------------------------------------------------------------------


def write_frame(stream: BinaryIO, header: Mapping[str, Any], buffers: Iterable[Any] = ()) -> None:
    """Write one frame and flush.

    header: JSON-able; paths and numpy numbers in it are made so. "bytes" is added.
    buffers: C-contiguous objects with the buffer protocol, written one after the other without being copied.
    Raises WorkerError, before anything is written, when the header is longer than HEADER_LIMIT.
    """
    views = [memoryview(buffer) for buffer in buffers]
    views = [view.cast("B") for view in views if view.nbytes]
    fields = {**header, "bytes": sum(view.nbytes for view in views)}
    line = json.dumps(fields, default=_plain, separators=(",", ":")).encode("ascii") + b"\n"
    if len(line) > HEADER_LIMIT:
        raise WorkerError(f"A frame's header is {len(line)} bytes long; at most {HEADER_LIMIT} can be sent.")
    for view in (memoryview(line), *views):
        while view.nbytes:  # a raw stream may take only a part
            view = view[stream.write(view) :]
    stream.flush()


def read_frame(
    stream: BinaryIO, limit: int = PAYLOAD_LIMIT, coming: Callable[[dict[str, Any]], None] | None = None
) -> tuple[dict[str, Any], memoryview]:
    """Read one frame: its header and its raw bytes (writable, one copy, owned by the caller).

    stream: buffered binary stream. limit: most raw bytes that are accepted, checked before they are allocated.
    coming: called with the header before its bytes are read.
    Raises PipeClosed at the end of the stream, WorkerError for anything that is not a frame, DeviceError when the
    announced bytes do not fit into memory.
    """
    line = stream.readline(HEADER_LIMIT + 1)
    if not line:
        raise PipeClosed("The other side closed the connection.")
    header = _parse_header(line)
    count = header["bytes"]
    if count > limit:
        raise WorkerError(f"A frame announces {count} bytes; at most {limit} are accepted.")
    if coming:
        coming(header)
    try:
        payload = memoryview(np.empty(count, np.uint8))
    except (MemoryError, ValueError) as error:
        raise DeviceError(
            f"There is not enough memory to receive {count / 2**20:.0f} MiB of images. Close other programs, "
            "limit the run to a region, or do without the probabilities."
        ) from error
    received = 0
    while received < count:
        step = stream.readinto(payload[received:])
        if not step:
            raise PipeClosed(f"The connection ended after {received} of the {count} bytes of a frame.")
        received += step
    return header, payload


def _parse_header(line: bytes) -> dict[str, Any]:
    if line.startswith(b"{") and not line.endswith(b"\n") and len(line) <= HEADER_LIMIT:
        raise PipeClosed("The connection ended in the middle of a frame's header.")
    try:
        header = json.loads(line)
        count = header["bytes"]
        valid = line.endswith(b"\n") and isinstance(header["type"], str) and type(count) is int and count >= 0
    except (ValueError, TypeError, KeyError, RecursionError):
        valid = False
    if not valid:
        raise WorkerError(
            f"The other side sent {line[:80]!r}, which is no frame of the CSAM protocol: one line of JSON with "
            '"type" and "bytes" was expected. Check the worker command: only the worker may write to standard output.'
        )
    return header


def _plain(value: Any) -> Any:
    """What json itself cannot write: numpy values, mappings, data classes; anything else as text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


# Errors ---------------------------------------------------------------------------------------------------------


def pack_error(error: CSAMError, detail: str = "") -> dict[str, str]:
    """The fields of an error frame: kind, message (for a user), detail (for the log; its end is kept)."""
    return {"kind": error.kind, "message": str(error)[:4000], "detail": detail[-100_000:]}


def unpack_error(fields: Mapping[str, Any]) -> CSAMError:
    """The error that an error frame tells of, of the class of its kind, with the log text as ``error.detail``."""
    error = ERRORS.get(fields.get("kind"), CSAMError)(str(fields.get("message", "The worker failed.")))
    error.detail = str(fields.get("detail", ""))
    return error


# Images ---------------------------------------------------------------------------------------------------------


class _Pixels(np.ndarray):
    """The bytes of an image; keeps the image's buffer alive for as long as they are needed."""

    image: sitk.Image


def pack_images(images: Mapping[str, sitk.Image | Raster]) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Describe images for a header and give their bytes, without copying them.

    Each description has name, dtype, shape (numpy's order: last image axis first), components (None for a scalar
    image), spacing, origin and direction. The bytes stay valid when a SimpleITK image is
    changed or deleted afterwards; those of a Raster follow its voxels.
    Raises InputError for a pixel type that cannot travel (label maps).
    """
    specs, buffers = [], []
    for name, image in images.items():
        kind = image.GetPixelIDTypeAsString()
        if kind.startswith("label"):
            raise InputError(f"The image {name!r} is a {kind}; give a scalar or vector image.")
        pixels = voxels_of(image)
        components = image.GetNumberOfComponentsPerPixel() if kind.startswith("vector") else None
        specs.append(
            {
                "name": name,
                "dtype": pixels.dtype.name,
                "shape": image.GetSize()[::-1],
                "components": components,
                "spacing": image.GetSpacing(),
                "origin": image.GetOrigin(),
                "direction": image.GetDirection(),
            }
        )
        pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).view(_Pixels)
        if not isinstance(image, Raster):
            pixels.image = sitk.Image(image)  # shares the buffer: changing the caller's image makes that one copy
        buffers.append(pixels)
    return specs, buffers


def unpack_images(
    specs: Sequence[Mapping[str, Any]], payload: Any, rasters: bool = False
) -> dict[str, sitk.Image] | dict[str, Raster]:
    """The images that ``pack_images`` described, in order; every value is exactly what it was.

    rasters: give Rasters, whose voxels are those bytes, instead of images with copies of them.
    Raises WorkerError when a description is not whole or does not fit the payload.
    """
    images, offset, available = {}, 0, memoryview(payload).nbytes
    try:
        for spec in specs:
            name, shape, components, dtype = spec["name"], spec["shape"], spec["components"], spec["dtype"]
            sizes = [*shape] if components is None else [*shape, components]
            if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in sizes):
                raise ValueError(f"dtype {dtype!r}, shape {shape!r}, components {components!r}")
            kind = np.dtype(dtype).newbyteorder("<")
            count = math.prod(sizes)
            if offset + count * kind.itemsize > available:
                raise ValueError(f"{count} values of {dtype} do not fit into the {available} bytes that came")
            pixels = np.frombuffer(payload, kind, count, offset) if count else np.empty(0, kind)
            pixels = np.require(pixels.reshape(sizes).astype(dtype, copy=False), requirements="A")
            place = spec["spacing"], spec["origin"], spec["direction"]
            images[name] = Raster(pixels, *place) if rasters else _image(pixels, components is not None, *place)
            offset += count * kind.itemsize
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise WorkerError(f"An image in a frame is not described as the protocol says: {error}.") from error
    if offset != available:
        raise WorkerError(f"The images of a frame take {offset} bytes, but {available} came.")
    return images


def _image(pixels: np.ndarray, is_vector: bool, spacing, origin, direction) -> sitk.Image:
    image = sitk.GetImageFromArray(pixels, isVector=is_vector)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


# Options and results --------------------------------------------------------------------------------------------


def pack_options(options: Options | FillOptions) -> dict[str, Any]:
    """Options as plain JSON-able fields."""
    return dataclasses.asdict(options)


def unpack_options(fields: Mapping[str, Any]) -> Options:
    """The options from plain fields; those left out have their defaults. InputError names what is unknown."""
    refuse_unknown(fields, [field.name for field in dataclasses.fields(Options)], "The options'")
    region = fields.get("region")
    if region is not None:
        try:
            region = tuple(tuple(float(value) for value in corner) for corner in region)
        except (TypeError, ValueError):
            region = ()
        if [len(corner) for corner in region] != [3, 3]:
            raise InputError(f"The region is {fields['region']!r}; give two corners of three millimetre values.")
    return Options(**{**fields, "region": region})


def unpack_fill_options(fields: Mapping[str, Any]) -> FillOptions:
    """The options of a filling from plain fields, as ``unpack_options``."""
    refuse_unknown(fields, [field.name for field in dataclasses.fields(FillOptions)], "The options'")
    return FillOptions(**fields)


def pack_result(result: Result) -> tuple[dict[str, Any], dict[str, sitk.Image]]:
    """A result as plain fields and its images by name; the probabilities only when there are any."""
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    images = {name: fields.pop(name) for name in RESULT_IMAGES}
    for name in ("slices", "structures"):
        fields[name] = [dataclasses.asdict(entry) for entry in fields[name]]
    return fields, {name: image for name, image in images.items() if image is not None}


def unpack_result(fields: Mapping[str, Any], images: Mapping[str, sitk.Image]) -> Result:
    """The result that ``pack_result`` took apart. Raises WorkerError when something of it is missing."""
    try:
        slices = tuple(
            SliceScore(**{**entry, "worst_point": tuple(entry["worst_point"]), "areas_mm2": tuple(entry["areas_mm2"])})
            for entry in fields["slices"]
        )
        return Result(
            **{
                **fields,
                "slices": slices,
                "structures": tuple(StructureVolume(**entry) for entry in fields["structures"]),
                "warnings": tuple(fields["warnings"]),
                "probabilities": None,
                **images,
            }
        )
    except (KeyError, TypeError) as error:
        raise WorkerError(
            f"The worker's result is incomplete ({error}). Install the same version of CSAMSegment there as here."
        ) from error
