"""The volumes of a result's structures as they are now, after the user's corrections; and their table as text.

They are measured from the voxels of the segments. Nothing of it is stored: a structure is edited when its voxels are
not as many as the run has found.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from csam.result import REGION, SLICES, StructureVolume

from .result_tables import HIGH, LOW, MEAN, STRUCTURE, VOLUME
from .segments import LABELMAP
from .shown_result import ShownResult
from .text_file import write_text

PART = 2_000_000
"""Voxels that are counted in one turn of the event loop."""
HEADER = (
    *(STRUCTURE, VOLUME, "edited", "automatic volume (ml)", MEAN, LOW, HIGH, "expected dice", "model", "image"),
    "segmented",  # what of the image the figures are of
)
PARTS = {REGION: "region", SLICES: "some slices"}


def measure(result: ShownResult) -> dict[int, float]:
    """The volume of each of a result's structures as its segment is now, in ml by label value; see ``count``."""
    volumes: dict[int, float] = {}
    for _part in count(result, volumes):
        pass
    return volumes


def count(result: ShownResult, volumes: dict[int, float]) -> Iterator[None]:
    """Fill ``volumes``, in ml by label value, a part of the voxels at each step.

    A structure whose segment was deleted has 0 ml; one whose segment has no labelmap (its voxels are a surface's) is
    left out.
    """
    segmentation = result.segmentation.GetSegmentation()
    for structure in result.structures():
        segment = segmentation.GetSegment(result.segment_id(structure.value))
        layer = segment.GetRepresentation(LABELMAP) if segment is not None else None
        if segment is not None and layer is None:
            continue
        found, scalars = 0, layer.GetPointData().GetScalars() if layer is not None else None
        if scalars is not None:
            voxels, label = vtk_to_numpy(scalars), segment.GetLabelValue()
            for start in range(0, len(voxels), PART):
                found += int(np.count_nonzero(voxels[start : start + PART] == label))
                yield
        voxel = math.prod(layer.GetSpacing()) * result.local_volume(structure.value) if layer is not None else 0.0
        volumes[structure.value] = found * voxel / 1000


def edited(
    result: ShownResult, volumes: dict[int, float], found: Sequence[StructureVolume] | None = None
) -> dict[int, float]:
    """Those of ``measure`` that are not what the run has found. found: what it has; None for what its table says."""
    voxel = math.prod(result.volume.GetSpacing()) / 1000 if result.volume is not None else 0.0
    found = {one.value: one.volume_ml for one in (result.structures() if found is None else found)}
    return {
        value: volume
        for value, volume in volumes.items()
        if abs(volume - found[value]) > voxel / 2 + 1e-5 * found[value]  # a saved table has six digits
    }


def table_text(result: ShownResult, separator: str = ",") -> str:
    """A header and a line for each structure, as spreadsheets read it.

    The volume is that of the segment as it is now, whether a user has edited it or not; the mean and the interval
    belong to the automatic volume.
    """
    quality = None if result.is_empty else result.report().get("case_quality")
    segmented = PARTS.get(result.extent, "whole image")
    if result.extent in PARTS and quality is not None:  # in the column it would be compared with that of whole scans
        segmented, quality = f"{segmented}, expected Dice in it {quality:.4g}", None
    now = edited(result, measure(result))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(HEADER)
    image = result.volume.GetName() if result.volume else ""
    for entry in result.structures():
        was_edited = "yes" if entry.value in now else "no"
        automatic, *others = (f"{value:.4g}" for value in (entry.volume_ml, entry.mean_ml, entry.low_ml, entry.high_ml))
        volume = f"{now[entry.value]:.4g}" if entry.value in now else automatic
        expected = "" if quality is None else f"{quality:.4g}"
        writer.writerow([entry.name, volume, was_edited, automatic, *others, expected, result.model, image, segmented])
    return text.getvalue()


def write_csv(result: ShownResult, path: str | os.PathLike) -> None:
    """Write the table to a file, whole or not at all. Raises InputError when the disk is full or not writable."""
    write_text(path, table_text(result))
