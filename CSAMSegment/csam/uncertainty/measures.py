"""Measures of uncertainty: pure functions of tensors, each with its source.

Terms as in Kahl et al., "ValUES", ICLR 2024 (https://openreview.net/forum?id=yV6fD7LYkF). Class probabilities have
their classes in dimension 1; entropies are in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def entropy(probabilities: Tensor) -> Tensor:
    """H(p) = -Σ_k p_k ln p_k over dimension 1: (S, K, H, W) → (S, H, W), 0 to ln K.

    Of the samples' mean this is the predictive entropy, averaged over samples the expected entropy.
    """
    return torch.special.entr(probabilities).sum(1).clamp_min(0)


def mutual_information(mean_probabilities: Tensor, expected_entropy: Tensor) -> Tensor:
    """H(p̄) - E[H(p)] (Houlsby et al. 2011, arXiv 1112.5745), at least 0: the disagreement between samples.

    mean_probabilities: (S, K, H, W). expected_entropy: (S, H, W). For a model whose samples are outputs, as CSAM's
    gates are, ValUES counts it as aleatoric.
    """
    return (entropy(mean_probabilities) - expected_entropy).clamp_min(0)


def most_probable(probabilities: Tensor) -> Tensor:
    """The class of the largest probability, the first of equals: (S, K, H, W) → (S, H, W), uint8.

    As argmax, whose walk through dimension 1 takes a CPU seven times as long.
    """
    best = probabilities[:, 0]
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for k in range(1, probabilities.shape[1]):
        labels.masked_fill_(probabilities[:, k] > best, k)
        best = torch.maximum(best, probabilities[:, k])
    return labels


def areas_of(probabilities: Tensor, weights: Tensor) -> np.ndarray:
    """(S, K), float64: what each structure covers of every slice; 0 for the background. weights: (H, W), a pixel's."""
    labels = most_probable(probabilities)
    areas = [((labels == k) * weights).sum((1, 2)) for k in range(1, probabilities.shape[1])]
    # One copy from a device, however many structures.
    return np.pad(torch.stack(areas, 1).cpu().numpy().astype(np.float64), ((0, 0), (1, 0)))


def calibrated_error_probability(
    probability_of_label: np.ndarray, error_map: Sequence[tuple[float, float]]
) -> np.ndarray:
    """The error probability: 1 - p of the label, through the rising map found on validation data.

    error_map: pairs (1 - p, observed error rate), linear in between (isotonic calibration, Zadrozny & Elkan 2002).
    """
    stated, observed = np.asarray(error_map, np.float64).T
    return np.interp(1 - probability_of_label, stated, observed).astype(np.float32)


def expected_difference(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Expected size of the difference between each structure and its truth, in pixels: (S, K, H, W) → (K,).

    Σ (1 - p_k) where the label is k, and Σ p_k elsewhere: the expected false positives and false negatives if the mean
    probabilities were right. labels: (S, H, W). Elsewhere, probabilities below 1 % count as none.
    """
    chosen = labels[:, None] == torch.arange(probabilities.shape[1], device=labels.device)[None, :, None, None]
    missed = torch.where(probabilities > 0.01, probabilities, torch.zeros_like(probabilities))
    return torch.where(chosen, 1 - probabilities, missed).sum((0, 2, 3))


class SampleReducer:
    """Takes in samples of a stack piece by piece and keeps sums only: its memory does not grow with their number.

    ``add`` is called once a sample and slice chunk; weights (H, W) say how much each pixel counts in areas, for tiles
    that share pixels with their neighbours.
    """

    def __init__(self, samples: int, shape: tuple[int, int, int, int], weights: Tensor):
        slices, classes, *image = shape
        device = weights.device
        self.samples = samples
        self.weights = weights
        self.probability_sum = torch.zeros(shape, device=device)
        self.entropy_sum = torch.zeros(slices, *image, device=device)
        self.areas = np.zeros((samples, slices, classes))

    def add(self, sample: int, logits: Tensor, slices: slice) -> None:
        """logits: (chunk, K, H, W) of the slices given."""
        probabilities = torch.softmax(logits.float(), dim=1)
        self.probability_sum[slices] += probabilities
        self.entropy_sum[slices] += entropy(probabilities)
        self.areas[sample, slices] = areas_of(probabilities, self.weights)

    @property
    def mean_probabilities(self) -> Tensor:
        return self.probability_sum / self.samples

    @property
    def expected_entropy(self) -> Tensor:
        return self.entropy_sum / self.samples


@dataclass(frozen=True)
class FirstPass:
    """What the first pass over a window gave, as a ``SampleReducer`` has it; every sample saw the same."""

    mean_probabilities: Tensor
    expected_entropy: Tensor
    areas: np.ndarray

    @classmethod
    def of(cls, probabilities: Tensor, entropies: Tensor, weights: Tensor, samples: int) -> FirstPass:
        """weights: (H, W), how much a pixel counts as area."""
        areas = areas_of(probabilities, weights)
        return cls(probabilities, entropies, np.repeat(areas[None], samples, 0))
