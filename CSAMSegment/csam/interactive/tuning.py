"""A network that has seen this case's drawn slices, each predicted from the others."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .predict import Scene


def tuned(
    network: nn.Module, scene: Scene, seed: int, report: Callable[[float], None], kept: dict | None = None
) -> nn.Module:
    """report: told the fraction done. kept: holds the weights from one round to the next."""
    return network
