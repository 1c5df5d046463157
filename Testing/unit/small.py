"""Small networks, models, images and data sets for the tests of the engine: quick on one core, seeded."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from csam.image.intensity import Intensity
from csam.model import Channel, Label, Model, TrainedOn
from csam.network.networks import CSAMUNet

OBLIQUE = tuple(
    (
        np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
        @ np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])
        @ np.array([[0.936, 0, 0.352], [0, 1, 0], [-0.352, 0, 0.936]])
    ).ravel()
)
"""Three rotations on top of each other, a proper direction matrix to 1e-5."""


def network(kind=CSAMUNet, seed: int = 7, **numbers):
    """A network of 3 classes, 2 levels, base 4 and 5 slices in evaluation mode, unless told otherwise."""
    torch.manual_seed(seed)
    small = {"input_channels": 1, "num_classes": 3, "num_levels": 2, "base_channels": 4, "num_slices": 5}
    made = kind(**(small | numbers)).eval()
    unlike(made.gates)
    return made


def unlike(gates: torch.nn.Module) -> torch.nn.Module:
    """The same gates with torch's usual random weights: fresh ones are all alike, which would hide faults."""
    for layer in gates.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return gates


def lively(network, factor: float = 4.0):
    """The same network with slice gates that differ visibly from sample to sample, and labels that differ in space."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "slice_att.factor.bias" in name:
                parameter.mul_(factor)
        if hasattr(network, "conv_final"):
            network.conv_final.weight.mul_(factor)
    return network


def model(net=None, **changes) -> Model:
    """A model of 16×16 pixels of 2 mm around a network."""
    net = net or lively(network())
    numbers = net.architecture
    values = {
        "name": "small",
        "version": "1.2.3",
        "title": "Small model",
        "about": "For tests.",
        "architecture": numbers,
        "channels": tuple(Channel(f"channel {i}", "MR") for i in range(numbers["input_channels"])),
        "labels": tuple(Label(v, f"structure {v}", (10 * v, 20, 30)) for v in range(1, numbers["num_classes"])),
        "in_plane_spacing": 2.0,
        "field_of_view": (16, 16),
        "slice_axis": "auto",
        "intensity": Intensity("volume"),
        "trained_on": TrainedOn((5.0, 10.0), (1.0, 2.0), (4, 12), 7),
    }
    return Model(**(values | changes)).with_weights(net.state_dict())


def image(
    size=(20, 18, 6), spacing=(2.0, 2.0, 8.0), direction=None, origin=(-12.0, 7.0, 31.0), seed: int = 0, dtype=np.int16
) -> sitk.Image:
    """Smooth noise of 0 to 1000 with a slope along each axis: every orientation looks different. size: (i, j, k)."""
    rng = np.random.default_rng(seed)
    array = rng.random(size[::-1])
    for axis, n in enumerate(array.shape):
        array += np.linspace(0, 1, n).reshape([-1 if a == axis else 1 for a in range(3)])
    array = 1000 * (array - array.min()) / max(np.ptp(array), 1e-9)
    return placed(array.astype(dtype), spacing, direction, origin)


def placed(array: np.ndarray, spacing=(2.0, 2.0, 8.0), direction=None, origin=(0.0, 0.0, 0.0)) -> sitk.Image:
    """An image of these voxels (k, j, i)."""
    result = sitk.GetImageFromArray(array)
    result.SetSpacing(spacing)
    result.SetOrigin(origin)
    if direction is not None:
        result.SetDirection(direction)
    return result


def stored_in_every_way(original: sitk.Image):
    """The image with its axes permuted and flipped in all 48 ways; every voxel stays where it is in patient space."""
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            yield (order, flips), sitk.Flip(sitk.PermuteAxes(original, order), flips, False)


def on_grid(result: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """The voxels of an image that lies on the same points of patient space as the grid, in the grid's order."""
    return sitk.GetArrayFromImage(sitk.Resample(result, grid, sitk.Transform(), sitk.sitkNearestNeighbor, -1))


def dataset(folder: Path, patients: int = 4, scans: int = 1, size=(20, 18, 6), seed: int = 0) -> Path:
    """A data set in nnU-Net's raw layout: a bright ball and a grey one; cases p00_0, p00_1, ..."""
    rng = np.random.default_rng(seed)
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    k, j, i = np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij")
    for patient, scan in itertools.product(range(patients), range(scans)):
        labels = np.zeros(size[::-1], np.uint8)
        for value, place in ((1, (0.35, 0.35)), (2, (0.65, 0.65))):
            centre = np.array(place) * size[:2] + rng.uniform(-1.5, 1.5, 2)
            ball = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (2.0 * (k - size[2] / 2 + 0.5)) ** 2 < 16
            labels[ball] = value
        values = np.choose(labels, (100, 800, 450)) + rng.normal(0, 40, labels.shape)
        name = f"p{patient:02d}_{scan}"
        sitk.WriteImage(placed(values.astype(np.int16)), str(folder / "imagesTr" / f"{name}_0000.nii.gz"))
        sitk.WriteImage(placed(labels), str(folder / "labelsTr" / f"{name}.nii.gz"))
    info = {
        "name": "Balls",
        "channel_names": {"0": "picture"},
        "labels": {"background": 0, "bright ball": 1, "grey ball": 2},
        "numTraining": patients * scans,
        "file_ending": ".nii.gz",
        "licence": "CC0-1.0",
    }
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder
