"""Which slices of some segments count as drawn: told by voxels, by what the user marks, and by what was filled.

Before the first filling a slice with voxels is a drawn one. After it every slice has voxels: what counts then are the
slices that were drawn, those that the user has changed or ticked as reviewed since, and those that the user marks. The
record is a tag of each segment: it is saved with the segmentation, and goes back with the editor's own undo.

Example:
    >>> slices = find_slices(segmentation, volume, ["Segment_1"])
    >>> [state.index for state in slices if state.drawn]
    [2, 6, 10]
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from csam.errors import InputError
from csam.image.geometry import AXES, axis_for

from .segment_voxels import segment_voxels
from .segments import drawn_tag, set_drawn_tag
from .volume_geometry import raster_from_volume

DRAWN, EMPTY, CORRECTED, REVIEWED = "drawn", "empty", "corrected", "reviewed"


@dataclass(frozen=True)
class SliceState:
    """One slice. index: from 0 along the slice axis. drawn: whether it counts as drawn.

    why: "drawn", "empty" (marked as drawn, nothing is in it), "corrected" or "reviewed" since the filling, or nothing.
    """

    index: int
    drawn: bool
    why: str = ""


@dataclass(frozen=True)
class Record:
    """What is remembered of one segment. axis: "i", "j" or "k". count: of slices; both must fit the volume.

    drawn: the slices that were drawn when it was filled, None before. prints: what tells a changed slice, for each.
    marked, unmarked: slices that the user says are drawn, or are not. carried: it was carried from the frame before.
    """

    axis: str
    count: int
    drawn: tuple[int, ...] | None = None
    prints: tuple[int, ...] = ()
    marked: tuple[int, ...] = ()
    unmarked: tuple[int, ...] = ()
    carried: bool = False


def slice_axis_of(volume, choice: str = "auto") -> int:
    """The axis (0, 1, 2) of a volume's slices for a choice as in ``Options.slice_axis``."""
    return axis_for(raster_from_volume(volume), choice)


def recorded_axis(segmentation, volume, identifiers: Sequence[str], choice: str = "auto") -> int:
    """The axis (0, 1, 2) of the slices that segments remember; that of the choice where they remember none."""
    chosen, counts = slice_axis_of(volume, choice), volume.GetImageData().GetDimensions()
    for axis in sorted(range(3), key=lambda one: one != chosen):
        fresh = Record(AXES[axis], counts[axis])
        if any(read_record(segmentation, one, axis, counts[axis]) != fresh for one in identifiers):
            return axis
    return chosen


def find_slices(
    segmentation, volume, identifiers: Sequence[str], slice_axis: str = "auto", reviewed: Collection[int] = ()
) -> list[SliceState]:
    """Every slice of a volume, whether it counts as drawn, and why, for some of a segmentation's segments.

    reviewed: the slices that are ticked in the list of the filled result, from 0. Raises InputError where a segment is
    not there or cannot be read.
    """
    axis = slice_axis_of(volume, slice_axis)
    count = volume.GetImageData().GetDimensions()[axis]
    states: dict[int, SliceState] = {}
    for identifier in identifiers:
        mask = np.moveaxis(segment_voxels(segmentation, identifier, volume), 2 - axis, 0)
        record = read_record(segmentation, identifier, axis, count)
        for index, why in _reasons(mask, record, reviewed).items():
            if index not in states or states[index].why == EMPTY:
                states[index] = SliceState(index, True, why)
    return [states.get(index, SliceState(index, False)) for index in range(count)]


def drawn_indices(states: Sequence[SliceState]) -> tuple[int, ...]:
    """The slices that count as drawn, rising."""
    return tuple(state.index for state in states if state.drawn)


def mark(segmentation, volume, identifiers: Sequence[str], index: int, drawn: bool, slice_axis: str = "auto") -> None:
    """Say that a slice counts as drawn, be it empty, or that it does not, whatever is in it."""
    axis = slice_axis_of(volume, slice_axis)
    count = volume.GetImageData().GetDimensions()[axis]
    if not 0 <= index < count:
        raise InputError(f"There is no slice {index + 1}; the volume has {count}.")
    for identifier in identifiers:
        record = read_record(segmentation, identifier, axis, count)
        marked, unmarked = {*record.marked} - {index}, {*record.unmarked} - {index}
        (marked if drawn else unmarked).add(index)
        record = replace(record, marked=tuple(sorted(marked)), unmarked=tuple(sorted(unmarked)))
        write_tag(segmentation, identifier, as_tag(record))


def filled_record(mask: np.ndarray, axis: int, drawn: Sequence[int], carried: bool = False) -> Record:
    """What to remember of a segment that has just been filled. mask: bool (k, j, i), all of it. drawn: the slices."""
    slices = np.moveaxis(mask, 2 - axis, 0)
    return Record(AXES[axis], len(slices), tuple(drawn), tuple(_print(one) for one in slices), carried=carried)


def are_carried(segmentation, identifiers: Sequence[str], axis: int, count: int) -> bool:
    """Whether segments were carried from the frame before. Raises InputError where only some of them were."""
    records = {one: read_record(segmentation, one, axis, count).carried for one in identifiers}
    if len({*records.values()}) > 1:
        content = segmentation.GetSegmentation()
        names = ", ".join(content.GetSegment(one).GetName() for one, carried in records.items() if carried)
        raise InputError(
            f"Carried from the frame before: {names}. The other chosen segments were not. Choose only one of these two "
            "groups at a time, and fill it."
        )
    return True in records.values()


def read_record(segmentation, identifier: str, axis: int, count: int) -> Record:
    """The record of a segment; an empty one where there is none, or one of slices that the volume does not have."""
    fresh = Record(AXES[axis], count)
    try:  # it may come from a damaged file
        fields = json.loads(read_tag(segmentation, identifier) or "{}")
        lists = {name: tuple(map(int, fields[name])) for name in ("prints", "marked", "unmarked")}
        drawn = fields["drawn"] if fields["drawn"] is None else tuple(map(int, fields["drawn"]))
        carried = fields.get("carried") is True
        record = Record(str(fields["axis"]), int(fields["count"]), drawn, **lists, carried=carried)
    except (ValueError, TypeError, KeyError):
        return fresh
    fits = (record.axis, record.count) == (fresh.axis, count) and len(record.prints) in (0, count)
    return record if fits else fresh


def as_tag(record: Record) -> str:
    """A record as the text of the tag."""
    return json.dumps(asdict(record), separators=(",", ":"))


def read_tag(segmentation, identifier: str) -> str:
    """The text that a segment keeps; empty where there is none."""
    segment = segmentation.GetSegmentation().GetSegment(identifier)
    return drawn_tag(segment) if segment is not None else ""


def write_tag(segmentation, identifier: str, text: str) -> None:
    """Let a segment keep a text, or nothing."""
    segment = segmentation.GetSegmentation().GetSegment(identifier)
    if segment is not None:
        set_drawn_tag(segment, text)
        segmentation.StorableModified()


def reviewed_of(rows) -> tuple[int, ...]:
    """The slices, from 0, that are ticked in a list of ``SliceRow``."""
    return tuple(sorted(row.index for row in rows if row.reviewed))


def _reasons(mask: np.ndarray, record: Record, reviewed: Collection[int]) -> Mapping[int, str]:
    """Why each slice of a segment that counts as drawn does so."""
    some = [bool(one.any()) for one in mask]
    if record.drawn is None:
        why = {index: DRAWN for index, there in enumerate(some) if there}
    else:
        why = {index: REVIEWED for index in reviewed if 0 <= index < len(mask)}
        changed = (n for n, (now, before) in enumerate(zip(mask, record.prints, strict=False)) if _print(now) != before)
        why |= dict.fromkeys(changed, CORRECTED)
        why |= {index: DRAWN if some[index] else EMPTY for index in record.drawn}
    for index in record.marked:
        why.setdefault(index, DRAWN if some[index] else EMPTY)
    return {index: reason for index, reason in why.items() if index not in record.unmarked and index < len(mask)}


def _print(one: np.ndarray) -> int:
    return zlib.crc32(np.packbits(one).tobytes())
