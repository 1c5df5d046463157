"""What a scan's passes say: segmentation, maps of where it may be wrong, scores of slices and case, volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter

from csam.image.stack import resize, resize_labels
from csam.training import measures
from csam.uncertainty.continuity import largest_piece, missing_between

REGION_MM = 10.0
ERROR_AT_A_BREAK = 0.9


@dataclass(frozen=True)
class Assessed:
    """One scan as one method sees it.

    maps, wrong, slices: of every voxel within REGION_MM of prediction or truth: maps by kind ("1 - p", "entropy",
    "mutual information"), whether its label is wrong, the slice it lies in.
    case_scores, slice_scores: by name; the higher, the worse. wrong_area: true, mm², by slice.
    volumes: truth, segmentation, samples, in ml. difference: expected size of the error, ml.
    """

    name: str
    patient: str
    dice: float
    hausdorff: float
    maps: Mapping[str, np.ndarray]
    wrong: np.ndarray
    slices: np.ndarray
    case_scores: dict[str, float]
    slice_scores: dict[str, np.ndarray]
    wrong_area: np.ndarray
    truth_ml: float
    found_ml: float
    sampled_ml: np.ndarray
    difference_ml: float
    energy_distance: float | None
    inside: np.ndarray = field(default=None)


def near(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The mask dilated by REGION_MM. spacing: mm of the array's axes."""
    radius = [max(1, round(REGION_MM / s)) for s in spacing[::-1]]
    return sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(mask.astype(np.uint8)), radius)) > 0


def expected_dice(inside: float, total: float, found: float) -> float:
    """2 E|A∩B| / (|A| + E|B|), the Dice that the probabilities expect; 1 where nothing is found or expected."""
    return 2 * inside / (found + total) if found + total > 0 else 1.0


def assess(
    passes: np.ndarray, truth: np.ndarray, spacing: Sequence[float], connected: bool, name: str, patient: str
) -> Assessed:
    """passes: (n, K, S, h, w). truth: labels (S, H, W). spacing: slice, row, column, mm.

    "smoothed" is 1 - p under a Gaussian as wide as a pixel of the passes: a border is not known better.
    "breaks" raises what is missing between two slices that show a structure (csam.uncertainty.continuity).
    """
    classes, size = passes.shape[1], truth.shape[1:]
    average = passes.mean(0)
    native = np.stack([resize(torch.from_numpy(average[k]), size).numpy() for k in range(classes)])
    raw = native.argmax(0)
    labels = raw.copy()
    missing = np.zeros(labels.shape, bool)
    for k in range(1, classes):
        labels[(raw == k) & ~largest_piece(raw == k) & connected] = 0
        missing |= missing_between(labels == k)
    probability = np.take_along_axis(native, labels[None], 0)[0]
    entropy = -(native * np.log(np.maximum(native, 1e-12))).sum(0)
    each = -(passes * np.log(np.maximum(passes, 1e-12))).sum(1).mean(0)
    information = np.maximum(-(average * np.log(np.maximum(average, 1e-12))).sum(0) - each, 0)
    information = resize(torch.from_numpy(information.astype(np.float32)), size).numpy()
    width = [n / m for n, m in zip(size, passes.shape[-2:], strict=True)]  # of a pixel of the passes, in voxels
    maps = {
        "1 - p": 1 - probability,
        "smoothed": gaussian_filter(1 - probability, (0, *width)),
        "1 - p, breaks": np.where(missing, ERROR_AT_A_BREAK, 1 - probability),
        "entropy": entropy,
        "mutual information": information,
    }
    wrong = labels != truth
    region = near((labels > 0) | (truth > 0), spacing)
    pixel = spacing[1] * spacing[2]
    voxel_ml = float(np.prod(spacing)) / 1000
    sampled = passes.argmax(1)
    stack_pixel = pixel * size[0] * size[1] / (passes.shape[-1] * passes.shape[-2])

    # Samples: how much they differ.
    masks = sampled > 0 if classes == 2 else sampled
    areas = np.stack([(sampled == k).sum((2, 3)) for k in range(1, classes)])  # (K - 1, n, S)
    pairs = [(a, b) for a in range(len(passes)) for b in range(a)]
    overlap, differ = [], np.zeros(len(truth))
    for a, b in pairs:
        for k in range(1, classes):
            both = ((sampled[a] == k) & (sampled[b] == k)).sum()
            total = areas[k - 1, [a, b]].sum()
            overlap.append(2 * both / total if total else 1.0)
        differ += (masks[a] != masks[b]).sum((1, 2)) / len(pairs)
    foreground = native[1:].copy()
    chosen = np.stack([labels == k for k in range(1, classes)])
    counts = chosen | (foreground > 0.01)  # as csam.uncertainty.measures.expected_difference
    for k in range(1, classes):  # a piece that was left out was right with its probability times its share
        left_out = (raw == k) & ~chosen[k - 1]
        foreground[k - 1][left_out] *= left_out.sum() / max(1, (raw == k).sum())
    counted = np.where(counts, foreground, 0)
    false_positive = np.where(chosen, 1 - foreground, 0)
    false_negative = np.where(chosen, 0, counted)
    found = chosen.sum((2, 3))  # (K - 1, S)
    inside, total = (counted * chosen).sum((2, 3)), counted.sum((2, 3))
    by_slice = np.array(
        [
            np.mean([1 - expected_dice(inside[k, s], total[k, s], found[k, s]) for k in range(classes - 1)])
            for s in range(len(truth))
        ]
    )
    case = {
        "1 - expected Dice": np.mean(
            [1 - expected_dice(*(a[k].sum() for a in (inside, total, found))) for k in range(classes - 1)]
        ),
        "mean entropy in structure": entropy[labels > 0].mean() if (labels > 0).any() else np.log(classes),
        "mean entropy in region": entropy[near(labels > 0, spacing)].mean() if (labels > 0).any() else np.log(classes),
        "error probability / volume": maps["1 - p"].sum() / max(1, (labels > 0).sum()),
        "error probability / surface": maps["1 - p"].sum() / max(1, (labels > 0).sum()) ** 0.5,
        "worst slice's 1 - expected Dice": by_slice.max(),
        "removed pieces": (raw != labels).sum() / max(1, (labels > 0).sum()),
    }
    slices = {
        "expected wrong area": maps["1 - p"].sum((1, 2)) * pixel,
        "expected wrong area, breaks": maps["1 - p, breaks"].sum((1, 2)) * pixel,
        "entropy": entropy.sum((1, 2)) * pixel,
        "1 - expected Dice": by_slice,
        "expected wrong area / √area": maps["1 - p"].sum((1, 2))
        * pixel
        / np.sqrt(np.maximum(found.sum(0) * pixel, 100)),
    }
    if len(passes) > 1:
        case["1 - pairwise Dice"] = 1 - np.mean(overlap)
        case["volume spread"] = np.std(areas.sum(2)) / max(1, areas.sum(2).mean())
        slices["samples' disagreement"] = differ * stack_pixel
        slices["mutual information"] = information.sum((1, 2)) * pixel
        slices["wrong + disagreement"] = slices["expected wrong area"] + slices["samples' disagreement"]
    energy = None
    if len(passes) > 1:
        reference = resize_labels(truth, passes.shape[-2:]).numpy()
        energy = measures.generalised_energy_distance(sampled, reference, classes)
    return Assessed(
        name,
        patient,
        float(measures.mean([measures.dice(labels == k, truth == k) for k in range(1, classes)])),
        measures.mean([measures.hausdorff_95(labels == k, truth == k, spacing) for k in range(1, classes)]),
        {kind: values[region].astype(np.float32) for kind, values in maps.items()},
        wrong[region],
        np.broadcast_to(np.arange(len(truth))[:, None, None], truth.shape)[region],
        {k: float(v) for k, v in case.items()},
        slices,
        wrong.sum((1, 2)) * pixel,
        float((truth > 0).sum() * voxel_ml),
        float((labels > 0).sum() * voxel_ml),
        areas.sum((0, 2)) * stack_pixel * spacing[0] / 1000,
        float((false_positive + false_negative).sum() * voxel_ml),
        energy,
        (labels > 0)[region],
    )
