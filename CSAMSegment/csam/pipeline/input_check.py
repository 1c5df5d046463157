"""Does this image fit this model, and what was found in it? Said in words, without torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..image import geometry
from ..image.raster import Raster, voxels_of
from ..model import Model
from ..result import StructureVolume

HOUNSFIELD_AIR = -500
BRIGHT = 0.75
"""Where the middle value of an inverted image lies, or above, between its darkest and its brightest (0.5 % of either
left out). Of the 36 MR scans that were measured, it was 0.5 or less; of cine scans 0.11 or less."""
FEW_VALUES = 32
"""An image has hundreds of values; whole numbers of no more than these, most often 0, are labels."""


def chosen_axis(image: sitk.Image, model: Model, slice_axis: str = "auto") -> int:
    """The image axis (0, 1, 2) of the slices: the user's choice ("i", "j", "k"), the model's, or the image's."""
    if slice_axis != "auto":
        return geometry.AXES.index(slice_axis)
    return geometry.axis_for(image, model.slice_axis)


def check(images: Sequence[sitk.Image | Raster], model: Model, slice_axis: str = "auto") -> tuple[str, ...]:
    """One sentence for everything that does not fit, nothing when all does.

    Raises InputError for what cannot be run at all: the wrong number of channels, or images that are no scalar volumes
    on one grid.
    """
    if len(images) != len(model.channels):
        names = ", ".join(channel.name for channel in model.channels)
        raise InputError(
            f"{len(images)} image(s) were given; the model {model.title} needs {len(model.channels)}: {names}."
        )
    geometry.check_channels(images)
    samples = [_sample(image) for image in images]
    warnings = [w for sample, channel in zip(samples, model.channels, strict=True) for w in _intensity(sample, channel)]
    return tuple(dict.fromkeys([*warnings, *_twins(samples, model), *_geometry(images[0], model, slice_axis)]))


def sizes(structures: Sequence[StructureVolume], model: Model) -> tuple[str, ...]:
    """One sentence for every structure far smaller or larger than in the scans that the model was trained on.

    Of the whole of an image: in a part of it a structure may be cut. What was not found at all is passed over.
    """
    learnt = model.trained_on.volumes_ml
    return tuple(
        f"{found.name} measures {_ml(found.volume_ml)} ml. In the training scans it measured "
        f"{' to '.join(map(_ml, learnt[found.value]))} ml. Check the image's spacing and the segmentation."
        for found in structures
        if found.value in learnt
        and found.volume_ml
        and not 0.75 * learnt[found.value][0] <= found.volume_ml <= 1.25 * learnt[found.value][1]
    )


def _sample(image: sitk.Image | Raster) -> np.ndarray:
    """Some hundred thousand voxels from all over the image, float32."""
    values = voxels_of(image)
    return values[tuple(slice(None, None, max(1, n // 64)) for n in values.shape)].astype(np.float32)


def _twins(samples: Sequence[np.ndarray], model: Model) -> list[str]:
    named = zip((channel.name for channel in model.channels), samples, strict=True)
    return [
        f"{first} and {second} are the same image; the model was trained with a different image for each."
        for (first, one), (second, other) in itertools.combinations(named, 2)
        if np.array_equal(one, other)
    ]


def _intensity(sample: np.ndarray, channel) -> list[str]:
    if not np.isfinite(sample).all():
        return ["The image holds values that are not finite numbers; they are treated as the darkest value."]
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        return [f"The image has no contrast: every value is {low:g}."]
    if _is_label_map(sample):
        return [
            f"The image looks like a label map: it holds {len(np.unique(sample))} values, whole numbers from 0 to "
            f"{high:.0f}, and 0 most often. Give the scan itself: a segmentation of labels means nothing."
        ]
    looks_like_ct = low < HOUNSFIELD_AIR and np.mean(sample < HOUNSFIELD_AIR) > 0.02
    if looks_like_ct and channel.modality != "CT":
        return [
            f"The image looks like CT (values from {low:.0f}); the model was trained on {channel.modality}: "
            f"{channel.name}."
        ]
    if channel.modality == "MR" and _is_inverted(sample):
        return [
            "The image looks inverted: more than half of it is bright. In the scans that the model was trained on, air "
            "is dark. Invert the image and try again: a segmentation of this one means nothing."
        ]
    if channel.modality == "CT" and low >= 0:
        return [
            f"The image does not look like CT (no value below {low:.0f}); the model was trained on CT: {channel.name}."
        ]
    return []


def _is_inverted(sample: np.ndarray) -> bool:
    """Whether bright and dark are exchanged, as in a negative: air, then the brightest, fills much of every MR scan."""
    dark, middle, bright = np.percentile(sample, (0.5, 50, 99.5))
    return bool(middle - dark > BRIGHT * (bright - dark))


def _is_label_map(sample: np.ndarray) -> bool:
    values, counts = np.unique(sample, return_counts=True)
    whole = values[0] == 0 and np.array_equal(values, np.round(values))
    return bool(whole and len(values) <= FEW_VALUES and counts.argmax() == 0)


def _geometry(image: sitk.Image, model: Model, slice_axis: str) -> list[str]:
    axis = chosen_axis(image, model, slice_axis)
    size, spacing, trained = image.GetSize(), image.GetSpacing(), model.trained_on
    columns, rows = (a for a in range(3) if a != axis)
    said = []
    others = [spacing[a] for a in (columns, rows)]
    chosen = slice_axis != "auto" or model.slice_axis != "auto"
    if not chosen and size[axis] > 1 and not geometry.spacing_tells(spacing, axis):
        said.append(
            f"The spacing {spacing[0]:.3g}×{spacing[1]:.3g}×{spacing[2]:.3g} mm does not tell along which axis the "
            f"slices are stacked; {geometry.AXES[axis]} ({_slices(size[axis])}) is assumed. Choose the slice axis if "
            "that is wrong."
        )
    if not 0.75 * trained.slice_spacing[0] <= spacing[axis] <= 1.25 * trained.slice_spacing[1]:
        said.append(
            f"Slices are {spacing[axis]:.3g} mm apart; the model was trained on {_range(trained.slice_spacing)} mm."
        )
    if max(others) > 2 * trained.in_plane_spacing[1] or max(others) < 0.3 * trained.in_plane_spacing[0]:
        said.append(
            f"Pixels are {others[0]:.3g}×{others[1]:.3g} mm; the model was trained on "
            f"{_range(trained.in_plane_spacing)} mm."
        )
    if max(others) > 1.3 * min(others):
        said.append(
            f"Pixels are not square ({others[0]:.3g}×{others[1]:.3g} mm); the model was trained on square ones."
        )
    cosines = np.reshape(image.GetDirection(), (3, 3))
    lean = np.degrees(np.arcsin(min(1.0, np.abs(np.triu(cosines.T @ cosines, 1)).max())))
    if lean > 1:
        said.append(f"The image's axes are {lean:.0f}° off the right angle. Distances are not exact.")
    if size[axis] < 0.75 * trained.slices[0] or size[axis] > 2 * trained.slices[1]:
        said.append(f"The stack has {_slices(size[axis])}; the model was trained on {_range(trained.slices)}.")
    extent = [size[columns] * spacing[columns], size[rows] * spacing[rows]]
    expected = [n * model.in_plane_spacing for n in model.field_of_view]
    if min(extent) < 0.5 * min(expected):
        said.append(
            f"A slice covers {extent[0]:.0f}×{extent[1]:.0f} mm; the model sees {expected[1]:.0f}×{expected[0]:.0f} mm."
        )
    if model.slice_axis != "auto" and axis != geometry.axis_for(image, model.slice_axis):
        said.append(
            f"The slices are stacked along {geometry.AXES[axis]}; in the training scans they were {model.slice_axis}."
        )
    return said


def _slices(count: int) -> str:
    return f"{count} slice" + ("" if count == 1 else "s")


def _ml(volume: float) -> str:
    return f"{volume:.3g}" if volume < 100 else f"{volume:.0f}"


def _range(pair: Sequence[float]) -> str:
    low, high = (f"{value:.3g}" for value in pair)
    return low if low == high else f"{low} to {high}"
