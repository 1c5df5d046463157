"""What reviewed slices change of an earlier result, and how far.

A correction can mislead: a model that is wrong in one slice is often right in the next. So what the network adds to a
correction fades with the distance from the reviewed slices as the correction itself does, and the case is asked first:
each reviewed slice is foretold from the other ones. Only a way of following them that foretells it better than the
earlier result did is taken; where none does, the result stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .certainty import surprise_of
from .inputs import soft
from .interpolation import FADING
from .predict import Scene, predict

CLEARLY = 0.95
"""Of what the earlier result had wrong, at most this share may be wrong after the correction without the network."""

Way = Callable[[Scene, Sequence[int]], Tensor]
"""From what is known to the log odds (n, h, w) of some slices."""


@dataclass(frozen=True)
class Update:
    """log_odds: (n, h, w). surprise: of the reviewed slices, as ``certainty.Circumstances.inner`` has it."""

    log_odds: Tensor
    surprise: float = 0.0


def updated(network: nn.Module, scene: Scene, wanted: Sequence[int], pause: Callable[[], None]) -> Update:
    """The slices ``wanted`` of an earlier result as the reviewed ones change them. scene: with ``found``.

    A single reviewed slice can foretell no other one: then its correction alone is carried on. pause: called often; it
    raises Cancelled to end.
    """

    half = network.num_slices // 2

    def with_network(scene: Scene, indices: Sequence[int]) -> Tensor:
        corrected = predict(None, scene, indices)
        around = range(max(0, min(indices) - half), min(len(scene.values), max(indices) + half))
        seen = predict(network, scene, around, pause)[[around.index(index) for index in indices]]
        apart = torch.tensor([min(abs(index - n) for n in scene.shapes) for index in indices], dtype=torch.float32)
        return corrected + (FADING ** (apart - 1))[:, None, None] * (seen - corrected)

    def corrected(scene: Scene, indices: Sequence[int]) -> Tensor:
        return predict(None, scene, indices)

    def unchanged(scene: Scene, indices: Sequence[int]) -> Tensor:
        return soft(torch.from_numpy(scene.found[[*indices]]), 1)[1]

    if len(scene.shapes) < 2:
        return Update(corrected(scene, wanted))
    foretold = {way: _foretold(way, scene) for way in (with_network, corrected, unchanged)}
    wrong = {way: sum(int(((f > 0) != t).sum()) for f, t in pairs) for way, pairs in foretold.items()}
    way = unchanged
    if wrong[with_network] <= wrong[unchanged]:
        way = with_network
    elif wrong[corrected] < CLEARLY * wrong[unchanged]:
        way = corrected
    return Update(way(scene, wanted), surprise_of(foretold[way]))


def _foretold(way: Way, scene: Scene) -> list[tuple[Tensor, Tensor]]:
    """Log odds of each reviewed slice, foretold from the other ones, and its truth, (h, w)."""
    pairs = []
    for index, shape in scene.shapes.items():
        others = {n: other for n, other in scene.shapes.items() if n != index}
        log_odds = way(replace(scene, shapes=others), [index])[0]
        pairs.append((log_odds, torch.from_numpy(shape.distance > 0)))
    return pairs
