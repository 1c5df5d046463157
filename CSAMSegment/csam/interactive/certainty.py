"""How probable it is that a filled label is wrong.

A network that was tuned on three slices is too sure of itself in one case, and not sure enough in another. Two things
tell which case this is: what the network would have said of the drawn slices had they not been drawn, and where it said
otherwise before it was tuned. A logistic regression on robot users' rounds weighs them
(Testing/bench/fill_calibrate.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..image.distance import signed_distance
from .predict import Scene, predict

NEAR = 8.0
"""Pixels from an outline: farther off hardly anything is ever wrong."""
FLOOR = 0.01
"""Is added to the share of wrong pixels and to the share that was expected, before they are compared."""
OFF = (-6.0, 8.0)
"""Log odds of the untuned network beyond which nothing more is learned from them."""
FEATURES = (
    "constant", "root", "margin", "untuned", "distance", "single", "pair", "inner", "ends"
)  # fmt: skip
UNCALIBRATED: Mapping[str, float] = {"margin": -1.0}
"""The probability that the network itself states."""


@dataclass(frozen=True)
class Circumstances:
    """What is the same all over a structure.

    drawn: how many slices are. update: whether an earlier result is followed. inner: how much worse than expected the
    tuned network foretells drawn slices that lie between others, as the logarithm of a ratio; 0 for as expected, and
    where there are none; of an update that of all reviewed slices. ends: the same of the untuned network, for the first
    and the last drawn slice.
    """

    drawn: int = 0
    update: bool = False
    inner: float = 0.0
    ends: float = 0.0


def circumstances(
    untuned: nn.Module, tuned: nn.Module, scene: Scene, pause: Callable[[], None] = lambda: None
) -> Circumstances:
    """Those of a case without an earlier result. pause: called often; it raises Cancelled to end."""
    drawn = sorted(scene.shapes)
    known = Circumstances(len(drawn))
    if len(drawn) < 2:
        return known
    inner = surprise(tuned, scene, drawn[1:-1], pause)
    return replace(known, inner=inner, ends=surprise(untuned, scene, [drawn[0], drawn[-1]], pause))


def surprise(network: nn.Module, scene: Scene, indices: Sequence[int], pause: Callable[[], None]) -> float:
    """``surprise_of`` drawn slices, each foretold from the others."""
    pairs, half = [], network.num_slices // 2
    for index in indices:
        others = {n: shape for n, shape in scene.shapes.items() if n != index}
        if all(shape.empty for shape in others.values()):
            continue
        around = range(max(0, index - half), min(len(scene.values), index + half))
        log_odds = predict(network, replace(scene, shapes=others), around, pause)[around.index(index)]
        pairs.append((log_odds, torch.from_numpy(scene.shapes[index].distance > 0)))
    return surprise_of(pairs)


def surprise_of(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """ln (share of pixels near an outline that was wrong / share that was expected to be), 0 without slices.

    pairs: log odds and truth, (h, w), of slices.
    """
    wrong, expected = [], []
    for log_odds, truth in pairs:
        found = log_odds > 0
        near = np.maximum(*(signed_distance(mask.numpy(), (1.0, 1.0)) for mask in (truth, found))) > -NEAR
        if near.any():
            wrong.append((truth != found).numpy()[near].mean())
            expected.append(torch.sigmoid(-log_odds.abs()).numpy()[near].mean())
    return float(np.log((np.mean(wrong) + FLOOR) / (np.mean(expected) + FLOOR))) if wrong else 0.0


def features(log_odds: Tensor, untuned: Tensor, apart: int, known: Circumstances) -> dict[str, Tensor | float]:
    """What the regression is of, for the pixels of one slice. log_odds, untuned: of both networks, any one shape.

    apart: slices to the nearest drawn one.
    """
    margin = log_odds.abs()
    second = untuned * torch.where(log_odds > 0, 1.0, -1.0)
    return {
        "constant": 1.0,
        "root": margin.sqrt(),
        "margin": margin,
        "untuned": second.clamp(*OFF),
        "distance": float(np.log(max(1, apart))),
        "single": float(known.drawn == 1 and not known.update),
        "pair": float(known.drawn == 2 and not known.update),
        "inner": known.inner,
        "ends": known.ends,
    }


def assured(
    log_odds: Tensor, untuned: Tensor, apart: int, known: Circumstances, weights: Mapping[str, float]
) -> Tensor:
    """Log odds of one slice, (h, w), such that what they say against the label is its error probability.

    Their sign stays as it is. weights: of FEATURES, those that are not named are 0.
    """
    seen = features(log_odds, untuned, apart, known)
    error = sum((weight * seen[name] for name, weight in weights.items()), torch.zeros_like(log_odds))
    return torch.where(log_odds > 0, 1.0, -1.0) * (-error).clamp_min(0)
