"""The result that belongs to a segmentation, found again in any scene: after a run, after loading, after undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from csam.result import REGION, WHOLE, StructureVolume

from .filled_model import TAUGHT
from .map_display import ERROR_PROBABILITY
from .result_nodes import INPUT, MODEL, REPORT, ROLE, SEGMENTATION, SLICES_ROLE, VOLUMES_ROLE, find_outputs, read_report
from .result_tables import SliceRow, read_slices, read_volumes
from .segments import own_segments, segment_id
from .sequence_browser import shown_item
from .texts import tr as _
from .volume_geometry import place_in_world


@dataclass(frozen=True)
class ShownResult:
    """A result as it stands in the scene. nodes: by role, as in ``Output.nodes``."""

    segmentation: Any
    model: str
    nodes: dict[str, Any]

    @property
    def volume(self):
        """The image that was segmented, None when it is gone."""
        return self.segmentation.GetNodeReference(INPUT)

    @property
    def volumes(self):
        return self.nodes[VOLUMES_ROLE]

    @property
    def slices(self):
        return self.nodes[SLICES_ROLE]

    @property
    def segments(self) -> dict[str, str]:
        """The names of the result's segments by ID."""
        segmentation = self.segmentation.GetSegmentation()
        own = [self.segment_id(entry.value) for entry in self.structures()] if self._users() else None
        return {
            identifier: segmentation.GetSegment(identifier).GetName()
            for identifier in (own_segments(segmentation, self.model) if own is None else own)
            if segmentation.GetSegment(identifier) is not None
        }

    def segment_id(self, value: int) -> str:
        """The ID of the segment of a structure, by its label value: the model's, or one that a user has drawn."""
        return self._users().get(str(value)) or segment_id(self.model, value)

    @property
    def is_taught(self) -> bool:
        """Whether it was filled between drawn slices, and is no model's."""
        return self.model == TAUGHT

    @property
    def is_of_shown_image(self) -> bool:
        """Whether its image is the one that a sequence shows; there is no other outside of a sequence."""
        return self.report().get("sequence_item") in (None, shown_item(self.volume))

    def _users(self) -> dict[str, str]:
        """The IDs of segments that are a user's own, by label value as text."""
        kept = self.report().get("segments")
        return kept if isinstance(kept, dict) else {}

    @property
    def classes(self) -> int:
        """Number of classes with the background."""
        return self.volumes.GetTable().GetNumberOfRows() + 1

    def structures(self) -> list[StructureVolume]:
        """The structures with the volumes that the run has found, in the order of the model's labels."""
        return read_volumes(self.volumes)

    @property
    def is_empty(self) -> bool:
        """Whether the run has found nothing at all: the expected Dice then says nothing."""
        return not any(entry.volume_ml for entry in self.structures())

    def local_volume(self, value: int) -> float:
        """How much larger the voxels of a structure are than those of an even grid, by the transform that bends it."""
        return float((self.report().get("local_volumes") or {}).get(str(value), 1.0))

    def rows(self) -> list[SliceRow]:
        """The slices, the one to look at first in front."""
        return read_slices(self.slices)

    def report(self) -> dict[str, Any]:
        return read_report(self.volumes)

    @property
    def slice_axis(self) -> int:
        """The image's axis, 0 to 2, along which its slices are stacked."""
        return max("ijk".find(str(self.report().get("slice_axis"))), -1) % 3

    @property
    def extent(self) -> str:
        """What of the image was segmented, as in ``csam.result.Result``; scenes from before it was kept say it too."""
        report = self.report()
        provenance = report.get("provenance")
        options = provenance.get("options") if isinstance(provenance, dict) else None
        limited = isinstance(options, dict) and options.get("region") is not None
        return report.get("extent") or (REGION if limited else WHOLE)

    def place_now(self, point: tuple[float, float, float]) -> tuple[float, float, float]:
        """Where a point of the run, world RAS, is shown now: a transform may have moved or bent the image since."""
        before, image = self.report().get("ijk_to_world"), self.nodes.get(ERROR_PROBABILITY.name) or self.volume
        if before is None or image is None:
            return point
        return place_in_world(image, (np.linalg.inv(before) @ [*point, 1.0])[:3])

    def warnings(self) -> list[str]:
        """What the run has said; first, where a sequence shows another image by now, which one was segmented."""
        report, shown = self.report(), shown_item(self.volume)
        item, said = report.get("sequence_item"), list(report.get("warnings") or ())
        if item is None or shown in (None, item):
            return said
        elsewhere = _("This is the result of {item}; the sequence shows {shown} now.")
        return [elsewhere.format(item=item, shown=shown), *said]


def find_result(segmentation, model: str = "") -> ShownResult | None:
    """What a model's last run has left beside a segmentation; of any model when that one has left nothing.

    In a frame of a sequence in which nothing has been found yet, None.
    """
    if segmentation is None or segmentation.GetScene() is None:
        return None
    for name in dict.fromkeys([model, *_models(segmentation)]):
        nodes = find_outputs(segmentation, name) if name else {}
        if VOLUMES_ROLE in nodes and SLICES_ROLE in nodes and nodes[VOLUMES_ROLE].GetAttribute(REPORT):
            return ShownResult(segmentation, name, nodes)
    return None


def result_at(result: ShownResult, browser, item: int) -> ShownResult | None:
    """A result with its segments and volumes as they stand in another frame of its sequence; None where it has none.

    browser: whose frames it follows. item: the frame's number there, from 0.
    """
    value, found = browser.GetMasterSequenceNode().GetNthIndexValue(item), []
    for node in (result.segmentation, result.volumes):
        sequence = browser.GetSequenceNode(node)
        found.append(sequence.GetDataNodeAtValue(value) if sequence is not None else None)
    segmentation, volumes = found
    return ShownResult(segmentation, result.model, {VOLUMES_ROLE: volumes}) if None not in found else None


def segmentation_of(volume, model: str):
    """The segmentation that a model's latest run on a volume went into, None when there is none."""
    for table in reversed(slicer.util.getNodesByClass("vtkMRMLTableNode")):
        same = table.GetNodeReferenceID(INPUT) == volume.GetID() and table.GetAttribute(MODEL) == model
        segmentation = table.GetNodeReference(SEGMENTATION)
        if same and segmentation is not None and table.GetAttribute(ROLE) == SLICES_ROLE:
            return segmentation
    return None


def _models(segmentation) -> list[str]:
    return [
        table.GetAttribute(MODEL)
        for table in slicer.util.getNodesByClass("vtkMRMLTableNode")
        if table.GetNodeReferenceID(SEGMENTATION) == segmentation.GetID() and table.GetAttribute(ROLE) == SLICES_ROLE
    ]
