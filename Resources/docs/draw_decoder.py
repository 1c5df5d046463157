"""Draws what a sample computes anew, and what all samples share.

python Resources/docs/draw_decoder.py   writes Resources/docs/decoder.png
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

SHARED, SAMPLED, TEXT = "#3b6fb6", "#d0762c", "#222222"
LEVELS = 5


def box(axes, x: float, y: float, text: str, color: str, width: float = 1.5) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.24), width, 0.48, boxstyle="round,pad=0.03", fc=color, ec="none", alpha=0.9
        )
    )
    axes.text(x, y, text, ha="center", va="center", color="white", fontsize=8)


def arrow(axes, start, end, color: str, text: str = "") -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=color, lw=1.3))
    if text:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        axes.text(x, y + 0.1, text, ha="center", va="bottom", fontsize=8, color=TEXT)


def main() -> None:
    figure, axes = plt.subplots(figsize=(10.5, 5.2), dpi=130)
    for level in range(LEVELS):
        y = -level
        box(axes, 0, y, f"encoder {level}", SHARED)
        box(axes, 2.3, y, "content gates", SHARED)
        arrow(axes, (0.8, y), (1.5, y), SHARED)
        if level:
            arrow(axes, (0, y + 0.72), (0, y + 0.28), SHARED)
        if level < LEVELS - 1:
            box(axes, 4.7, y, f"W_skip ∗ skip {level}", SHARED, 1.8)
            arrow(axes, (3.1, y), (3.75, y), SHARED)
            arrow(axes, (5.65, y), (6.55, y), SAMPLED, f"· g{level}")
            axes.text(6.7, y, "+", ha="center", va="center", fontsize=15, color=SAMPLED)
            box(axes, 8.2, y, "norm, conv, norm", SAMPLED, 1.9)
            arrow(axes, (6.85, y), (7.2, y), SAMPLED)
    deepest = -(LEVELS - 1)
    box(axes, 4.7, deepest, "W_up ∗ upconv(bottleneck)", SHARED, 2.5)
    arrow(axes, (3.1, deepest), (3.4, deepest), SHARED)
    arrow(axes, (6.0, deepest), (6.68, deepest + 0.8), SAMPLED)
    axes.text(6.6, deepest + 0.3, f"· g{LEVELS - 1}", fontsize=8, color=TEXT, ha="left", va="center")
    for level in range(LEVELS - 2):
        arrow(axes, (8.2, -level - 0.7), (6.8, -level - 0.18), SAMPLED, "")
        axes.text(8.05, -level - 0.5, "W_up ∗ upconv", fontsize=8, color=SAMPLED, ha="left", va="center")
    box(axes, 10.3, 0, "logits", SAMPLED, 1.1)
    arrow(axes, (9.2, 0), (9.7, 0), SAMPLED)
    axes.text(0, 0.75, "once for all samples", color=SHARED, fontsize=11, weight="bold", ha="left")
    axes.text(6.6, 0.75, "once a sample", color=SAMPLED, fontsize=11, weight="bold", ha="left")
    axes.set_xlim(-1, 11)
    axes.set_ylim(deepest - 0.5, 1.1)
    axes.axis("off")
    figure.savefig(Path(__file__).parent / "decoder.png", bbox_inches="tight")


if __name__ == "__main__":
    main()
