"""The log of a training as a table and as a picture.

Step: train.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ..image.files import replace_file, write_text


def write_log(history: Sequence[dict], path: Path) -> None:
    """log.csv, always whole: what a killed run had written beyond its last checkpoint is gone."""
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0] if history else ["step"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue())


def draw(history: Sequence[dict], path: Path, title: str = "", best_step: int = 0) -> bool:
    """A picture of loss, validation Dice and learning rate over the steps. False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    steps, losses = ([row[key] for row in history] for key in ("step", "loss"))
    seen = [(row["step"], row["validation_dice"]) for row in history if row["validation_dice"] != ""]
    axes.plot(steps, losses, color="tab:blue", linewidth=1, label="training loss (left)")
    axes.set_xlabel("step")
    axes.set_ylabel("loss: cross-entropy + Dice loss")
    axes.set_ylim(0, None)
    axes.set_xlim(0, None)
    axes.grid(alpha=0.3)
    right = axes.twinx()
    right.set_ylim(0, 1)
    right.set_ylabel("validation Dice, averaged weights" if seen else "learning rate, share of the highest")
    highest = max((row["learning_rate"] for row in history), default=0) or 1
    right.plot(
        steps,
        [row["learning_rate"] / highest for row in history],
        color="0.6",
        linestyle=":",
        linewidth=1,
        label=f"learning rate / {highest:.2g} (right)",
    )
    if seen:
        right.plot(*zip(*seen, strict=True), "o-", color="tab:orange", markersize=4, label="validation Dice (right)")
        best = dict(seen).get(best_step)
        if best is not None:
            right.plot(best_step, best, "*", color="tab:red", markersize=13, label=f"kept: {best:.3f} at {best_step}")
    lines = [handle for a in (axes, right) for handle in a.get_legend_handles_labels()[0]]
    names = [line.get_label() for line in lines]
    axes.legend(lines, names, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False, fontsize=9)
    if title:
        axes.set_title(title)
    temporary = path.with_name(path.name + ".tmp")
    figure.savefig(temporary, format="png")
    replace_file(temporary, path)
    return True
