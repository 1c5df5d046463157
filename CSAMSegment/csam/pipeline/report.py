"""A result on one page: slices with their outline and overlay, and how much of each is expected to be wrong."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..image import geometry
from ..model.card import NOT_A_DEVICE
from ..result import Result

MOST_SLICES = 15
NARROWEST = 11.0
"""Inches: the words below the pictures need them."""
MARGIN_MM = 30.0
OUTLINES = ("#2ee6e6", "#7dff6b", "#ff8ad8", "#ffd34d", "#8ab4ff")
SHOWN_FROM = 0.05
"""Error probability below which nothing is laid over the picture."""


def draw(image: sitk.Image, result: Result, path: str | Path, title: str, truth: sitk.Image | None = None) -> None:
    """Writes a PNG. image: the first channel. truth: labels on the same grid, drawn dashed. Needs matplotlib."""
    from matplotlib.figure import Figure

    oriented = geometry.orientation(image.GetDirection(), result.slice_axis)
    picture, labels, error, expected = (
        None if one is None else oriented.to_stack(sitk.GetArrayFromImage(one))
        for one in (image, result.labels, result.error_probability, truth)
    )
    spacing = [image.GetSpacing()[axis] for axis in oriented.axes]
    scores = sorted(result.slices, key=lambda s: s.index, reverse=oriented.flips[0])
    places = {score.index: (len(picture) - 1 - score.index if oriented.flips[0] else score.index) for score in scores}
    shown = _chosen(scores)
    rows, columns = window_of((labels > 0) | (error > 0.2), spacing)
    across = min(range(min(3, len(shown)), 7), key=lambda n: (-(-len(shown) // n) * n - len(shown), abs(n - 5)))
    down = -(-len(shown) // across)
    words = "; ".join(
        f"{s.name} {s.volume_ml:.1f} ml (90 % interval {s.low_ml:.1f} to {s.high_ml:.1f} ml)" for s in result.structures
    )
    width = max(NARROWEST, 2.5 * across + 3.6)
    said = textwrap.wrap(f"{words}; expected Dice {result.expected_dice}", round(13 * width))
    height = 2.5 * down + 1.5 + 0.18 * len(said)
    figure = Figure(figsize=(width, height), facecolor="white")
    grid = figure.add_gridspec(
        down, across + 1, width_ratios=[*[1] * across, 1.25], left=0.012, right=0.955,
        bottom=0.75 / height, top=1 - (0.5 + 0.18 * len(said)) / height, wspace=0.04, hspace=0.1,
    )  # fmt: skip
    low, high = np.percentile(picture, [0.5, 99.5])
    overlay = None
    for number, score in enumerate(shown):
        axes = figure.add_subplot(grid[number // across, number % across])
        here = places[score.index]
        axes.imshow(
            picture[here, rows, columns], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear"
        )
        part = error[here, rows, columns]
        overlay = axes.imshow(
            np.ma.masked_less(part, SHOWN_FROM), cmap="inferno", vmin=0, vmax=0.5, alpha=0.65, interpolation="nearest"
        )
        for source, style in ((labels, "solid"), (expected, "dashed")):
            for value in [] if source is None else [v for v in np.unique(source[here]) if v]:
                color = OUTLINES[(int(value) - 1) % len(OUTLINES)] if style == "solid" else "white"
                axes.contour(
                    source[here, rows, columns] == value, [0.5], colors=color, linewidths=1.1, linestyles=style
                )
        first = score.rank <= 3
        axes.set_aspect(spacing[1] / spacing[2])
        axes.set_xticks([])
        axes.set_yticks([])
        for edge in axes.spines.values():
            edge.set(color="#d9480f" if first else "#999999", linewidth=3 if first else 0.8)
        text = f"slice {score.index + 1}" + (f" · look {_ordinal(score.rank)}" if first else "")
        axes.text(
            0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=9, color="white",
            bbox={"facecolor": "#d9480f" if first else "black", "alpha": 0.75, "pad": 2, "linewidth": 0},
        )  # fmt: skip
    chart = figure.add_subplot(grid[:, across])
    wrong = [score.expected_wrong_area_mm2 for score in scores]
    chart.barh(range(len(scores)), wrong, color=["#d9480f" if s.rank <= 3 else "#868e96" for s in scores])
    step = max(1, len(scores) // 20)
    chart.set_yticks(range(0, len(scores), step), [s.index + 1 for s in scores[::step]], fontsize=8)
    chart.invert_yaxis()
    chart.yaxis.tick_right()
    chart.yaxis.set_label_position("right")
    chart.set_ylabel("slice (the first is 1)", fontsize=9)
    chart.set_xlabel("area expected to be wrong (mm²)", fontsize=9)
    chart.tick_params(axis="x", labelsize=8)
    for side in ("top", "left"):
        chart.spines[side].set_visible(False)
    top = 1 - 0.12 / height
    figure.suptitle(title, x=0.012, y=top, ha="left", va="top", fontsize=12, fontweight="bold")
    figure.text(0.012, top - 0.26 / height, "\n".join(said), va="top", fontsize=10)
    if overlay is not None:
        legend = figure.add_axes((0.012, 0.45 / height, 0.3, 0.09 / height))
        bar = figure.colorbar(overlay, cax=legend, orientation="horizontal", ticks=[0, 0.1, 0.2, 0.3, 0.4, 0.5])
        bar.set_ticklabels(["0", "10 %", "20 %", "30 %", "40 %", "50 %"], fontsize=8)
        bar.set_label("error probability", fontsize=9)
    lines = "solid: segmentation" + ("" if truth is None else "; dashed: truth")
    figure.text(0.34, 0.54 / height, f"{lines}\n{NOT_A_DEVICE}", fontsize=9, va="top", color="#333333", linespacing=1.5)
    figure.savefig(path, dpi=110, format="png")


def _chosen(scores: list) -> list:
    """All slices, or as many as fit on the page: evenly spread, those to look at first among them."""
    if len(scores) <= MOST_SLICES:
        return scores
    kept = {s.index for s in scores if s.rank <= 3}
    for i in np.linspace(0, len(scores) - 1, MOST_SLICES - 3):
        kept.add(scores[round(float(i))].index)
    return [s for s in scores if s.index in kept]


def window_of(mask: np.ndarray, spacing: list[float]) -> tuple[slice, slice]:
    """Rows and columns that hold the mask (S, H, W) and a margin; all of them when it is empty."""
    ranges = []
    for axis in (1, 2):
        found = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(MARGIN_MM / spacing[axis])
        length = mask.shape[axis]
        ranges.append(
            slice(max(0, found[0] - margin), min(length, found[-1] + margin + 1)) if len(found) else slice(0, length)
        )
    return ranges[0], ranges[1]


def _ordinal(rank: int) -> str:
    return ("first", "second", "third")[rank - 1]
