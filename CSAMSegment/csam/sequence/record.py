"""What is kept of a segmented series: enough to compute its figures anew and to write its tables and page.

It is JSON, so that a scene can hold it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from ..errors import InputError
from ..model import Measure
from ..result import StructureVolume
from .measures import BODY, Frame, Measured, measured, with_edits
from .page import Page, html_of
from .pictures import SlicePicture

MOST_IMPLAUSIBLE = 6
"""Implausible frames of which there is a picture."""


@dataclass(frozen=True)
class Record:
    """title: of the page. about: lines below it. frames: in the order of the series. measures, factors: of the model.

    given: numbers from the user (``csam.sequence.measures``). pictures: by frame, of the slices to look at first.
    warnings: of the frames, sentences for a user. edits: volumes of structures that were changed after the run, ml by
    label value, by frame. model: the name of the model whose structures these are.
    """

    title: str
    about: tuple[str, ...]
    frames: tuple[Frame, ...]
    measures: tuple[Measure, ...]
    factors: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[int, tuple[SlicePicture, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    edits: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    model: str = ""

    @property
    def now(self) -> tuple[Frame, ...]:
        """The frames as they are now."""
        return tuple(with_edits(frame, self.edits.get(frame.index, {})) for frame in self.frames)

    @property
    def found(self) -> tuple[Measured, ...]:
        """What the measures make of the frames as they are now. Raises InputError for a given number out of range."""
        return measured(self.now, self.measures, self.factors, self.given)

    @property
    def said(self) -> tuple[str, ...]:
        """All warnings, those of the series first."""
        return (*(sentence for one in self.found for sentence in one.warnings), *self.warnings)

    def with_pictures_of_marks(self) -> Record:
        """With those pictures alone that are looked at first, as many as fit on a page: those of the phases, and the
        first one of each of the first implausible frames."""
        found = self.found
        phases = [index for one in found for index in one.marks.values()] or [0]
        implausible = [index for one in found for index in one.implausible][:MOST_IMPLAUSIBLE]
        kept = {index: self.pictures[index] for index in dict.fromkeys(phases) if index in self.pictures}
        kept |= {index: self.pictures[index][:1] for index in implausible if index in self.pictures}
        return replace(self, pictures=kept)

    def html(self) -> str:
        """The page, with the pictures that there are, and the numbers from the user."""
        shown = [picture for of in self.pictures.values() for picture in of]
        given = ", ".join(f"{name} {value:g} {BODY.get(name, '')}".rstrip() for name, value in self.given.items())
        about = (*self.about, f"Given: {given}.") if given else self.about
        return html_of(Page(self.title, about, self.now, self.found, shown, self.said))


def gathered(warnings: Mapping[int, Sequence[str]]) -> list[str]:
    """Warnings of all frames, by frame, once each where they differ in their numbers alone."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for index in sorted(warnings):
        for sentence in warnings[index]:
            kinds.setdefault(re.sub(r"[\d.]+", "", sentence), []).append((index, sentence))
    return [
        f"Frame {of[0][0] + 1}: {of[0][1]}"
        + (f" The same in {len(of) - 1} more frame{'s' * (len(of) > 2)}." if len(of) > 1 else "")
        for of in kinds.values()
    ]


def to_json(record: Record) -> str:
    values = {name: value for name, value in vars(record).items() if name not in ("frames", "measures", "pictures")}
    values |= {name: [asdict(one) for one in getattr(record, name)] for name in ("frames", "measures")}
    values["pictures"] = [
        [index, picture.title, base64.b64encode(picture.png).decode("ascii")]
        for index, of in record.pictures.items()
        for picture in of
    ]
    return json.dumps(values)


def from_json(text: str) -> Record:
    """Raises InputError for what ``to_json`` has not written."""
    try:
        values = json.loads(text)
        frames = tuple(
            Frame(
                frame["index"],
                tuple(StructureVolume(**one) for one in frame["structures"]),
                frame["time"],
                frame["case_quality"],
                tuple(frame.get("edited", ())),
            )
            for frame in values["frames"]
        )
        pictures: dict[int, tuple[SlicePicture, ...]] = {}
        for index, title, png in values["pictures"]:
            pictures[index] = (*pictures.get(index, ()), SlicePicture(title, base64.b64decode(png)))
        record = Record(
            values["title"],
            tuple(values["about"]),
            frames,
            tuple(Measure(**measure) for measure in values["measures"]),
            values["factors"],
            values["given"],
            pictures,
            tuple(values["warnings"]),
            {int(frame): {int(v): float(ml) for v, ml in of.items()} for frame, of in values.get("edits", {}).items()},
            values.get("model", ""),
        )
        record.html()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The record of the figures cannot be read: {error!r:.80}. Segment the series again."
        ) from error
    return record
