"""What keeps a result from being written: nodes that cannot take it, and nodes that have changed or gone."""

from __future__ import annotations

from collections.abc import Sequence

import SimpleITK as sitk

from csam.errors import InputError
from csam.image.raster import Raster

from .map_display import ERROR_PROBABILITY, MAPS
from .result_nodes import ROLE
from .segments import LABELMAP
from .volume_geometry import check_volume, ijk_to_world, transform_between


def check_outputs(volumes: Sequence, segmentation=None, uncertainty=None, maps: Sequence[str] = ()) -> None:
    """Raise InputError when ``write_result`` would refuse the nodes or the maps; cheap, for before a run.

    volumes: the image of every channel; results lie on the first.
    """
    volume = volumes[0]
    unknown = sorted(set(maps) - set(MAPS))
    if unknown:
        raise InputError(f"Unknown maps: {', '.join(unknown)}. Known are: {', '.join(MAPS)}.")
    check_volume(volume)
    ijk_to_world(volume)
    for node, kind, what in (
        (segmentation, "vtkMRMLSegmentationNode", "segmentation"),
        (uncertainty, "vtkMRMLScalarVolumeNode", "scalar volume"),
    ):
        if node is None:
            continue
        if not node.IsA(kind) or node.IsA("vtkMRMLLabelMapVolumeNode"):
            raise InputError(f'The output "{node.GetName()}" is a {node.GetClassName()}; choose a {what}.')
        if node.GetScene() is None or node.GetScene() is not volume.GetScene():
            raise InputError(f'The output "{node.GetName()}" is no longer in the scene. Choose another one.')
    if any(uncertainty is image for image in volumes if image is not None):
        raise InputError(
            f'"{uncertainty.GetName()}" is the image to segment and cannot also be the error map. Choose another '
            "volume for the error map."
        )
    role = uncertainty.GetAttribute(ROLE) if uncertainty is not None else None
    if role not in (None, ERROR_PROBABILITY.name):
        raise InputError(
            f'"{uncertainty.GetName()}" holds the {MAPS[role].title if role in MAPS else role} of a result. Choose '
            "another volume for the error map."
        )
    if segmentation is not None:
        content = segmentation.GetSegmentation()
        if content.GetNumberOfSegments() and content.GetSourceRepresentationName() != LABELMAP:
            raise InputError(
                f'The segmentation "{segmentation.GetName()}" keeps its segments as '
                f"{content.GetSourceRepresentationName()}; a {LABELMAP} is expected. Make that its source "
                "representation (module Segmentations), or choose another segmentation."
            )
        what = f'the segmentation "{segmentation.GetName()}"'
        transform_between(volume.GetParentTransformNode(), segmentation.GetParentTransformNode(), what)


def check_grid(image: sitk.Image | Raster, volume) -> None:
    """Raise InputError where a result is not on the grid of its volume."""
    expected = volume.GetImageData().GetDimensions()
    if tuple(image.GetSize()) != tuple(expected):
        raise InputError(
            f'The result has {" x ".join(map(str, image.GetSize()))} voxels, the volume "{volume.GetName()}" '
            f"{' x '.join(map(str, expected))}: it was changed during the run. Run it again."
        )


def check_there(scene, nodes: Sequence) -> None:
    """Raise InputError where a user has removed one of the result's nodes while it was being written."""
    for node in nodes:
        if node.GetScene() is not scene:
            raise InputError(f'"{node.GetName()}" was removed while the result was being written. Run it again.')
