"""What a filling shows its result as: segments of the user's own, where a run shows the labels of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .drawn_slices import Record, as_tag

TAUGHT = "drawn slices"
"""The name that results of a filling bear in place of a model's."""


@dataclass(frozen=True)
class FilledLabel:
    """One structure that was filled. segment: the ID of its segment. drawn: what the segment remembers of it."""

    value: int
    name: str
    color: tuple[int, int, int]
    segment: str
    drawn: str = ""
    terminology: None = None


@dataclass(frozen=True)
class FilledModel:
    """Stands for a model where a result is written; ``result_writer.ModelLike``."""

    name: str
    labels: tuple[FilledLabel, ...]


def filled_model(name: str, segmentation, segments: Mapping[str, int], records: Mapping[str, Record]) -> FilledModel:
    """The model of a filling.

    name: ``TAUGHT``, or that of the model whose result is updated. segments: label values by ID. records: as
    ``FillRun.records`` gives them.
    """
    content, labels = segmentation.GetSegmentation(), []
    for identifier, value in segments.items():
        segment = content.GetSegment(identifier)
        color = tuple(round(255 * channel) for channel in segment.GetColor())
        tag = as_tag(records[identifier]) if identifier in records else ""
        labels.append(FilledLabel(value, segment.GetName(), color, identifier, tag))
    return FilledModel(name, tuple(labels))
