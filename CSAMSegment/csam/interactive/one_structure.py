"""One structure, filled: what is drawn of it becomes log odds for every slice wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..pipeline.cpu_fallback import done_on
from .carry import SURENESS, carried
from .certainty import Circumstances, circumstances
from .drawing import Drawing, FillOptions
from .interpolation import REACH
from .predict import Scene, predict
from .region import Region, normalised, region_of
from .tuning import tuned
from .update import updated

if TYPE_CHECKING:
    from .fill_model import FillModel


@dataclass(frozen=True)
class Filling:
    """What a structure is filled from.

    image: (S, H, W) float32. value: of the structure in the drawing and in ``earlier``. wanted: slices, rising.
    earlier: labels (S, H, W) of an earlier result, or None. model: None for interpolation alone. before: (S, H, W)
    float32, the frame that ``earlier`` is of and is to be carried from, or None.
    """

    image: np.ndarray
    drawing: Drawing
    value: int
    wanted: list[int]
    earlier: np.ndarray | None
    device: str
    options: FillOptions
    model: FillModel | None
    before: np.ndarray | None = None

    @property
    def region(self) -> Region:
        masks = [self.drawing.mask(self.value, index) for index in self.drawing.drawn]
        if self.earlier is not None:
            masks += [mask for mask in self.earlier == self.value if mask.any()]
        return region_of(masks, self.drawing.spacing[1:])

    def scene(self, region: Region) -> Scene:
        """What the network sees."""
        drawing, spacing = self.drawing, self.drawing.spacing[1:]
        masks = {index: drawing.mask(self.value, index) for index in drawing.drawn}
        values = normalised(region.seen(torch.from_numpy(self.image)))
        found = None
        if self.earlier is not None:
            found = region.distances(self.earlier == self.value, spacing).clamp(-REACH, REACH).numpy()
        return Scene(values, region.shapes(masks, spacing), found)


@dataclass(frozen=True)
class LogOdds:
    """For and against a structure. values: (n, h, w) of the slices ``indices`` in the region's pixels.

    untuned: the same, before the network has learned from the case. known: how far both can be trusted. device: where
    the network ran.
    """

    region: Region
    indices: list[int]
    values: Tensor
    untuned: Tensor
    known: Circumstances
    device: str = "cpu"
    warnings: tuple[str, ...] = ()


def fill_structure(filling: Filling, report: Callable[[float, str], None], memory: dict | None = None) -> LogOdds:
    """Log odds for every slice wanted. report: told fraction and stage; it raises Cancelled to end.

    A GPU that fails on the way leaves all of it to the CPU, from the beginning.
    """
    region = filling.region
    if filling.before is not None:
        found, spacing = filling.earlier == filling.value, filling.drawing.spacing
        follow = lambda part: report(0.9 * part, "Following the motion")  # noqa: E731
        log_odds = carried(filling.before, filling.image, found, region, spacing, follow)[filling.wanted]
        return LogOdds(region, filling.wanted, log_odds, log_odds, Circumstances(update=True, inner=SURENESS))
    scene = filling.scene(region)
    report(0.0, "Looking at what is drawn")
    if filling.model is None:
        log_odds = predict(None, scene, filling.wanted)
        return LogOdds(region, filling.wanted, log_odds, log_odds, Circumstances())
    before = {} if memory is None else memory.get(filling.value, {})

    def filled() -> None:
        report(0.9, "Filling")

    def work(device: str) -> tuple:
        untuned, kept = filling.model.network(device), dict(before)
        if scene.found is not None:
            update = updated(untuned, scene, filling.wanted, filled)
            known = Circumstances(len(scene.shapes), True, update.surprise)
            return (update.log_odds, update.log_odds, known), kept
        network = untuned
        if filling.options.tune:
            network = tuned(network, scene, filling.options.seed, lambda part: report(0.8 * part, "Learning"), kept)
        log_odds = predict(network, scene, filling.wanted, filled)
        known = circumstances(untuned, network, scene, filled)
        second = log_odds if network is untuned else predict(untuned, scene, filling.wanted, filled)
        return (log_odds, second, known), kept

    (said_of_it, kept), device, warnings = done_on(filling.device, work)
    if memory is not None:
        memory[filling.value] = kept
    return LogOdds(region, filling.wanted, *said_of_it, device, tuple(warnings))
