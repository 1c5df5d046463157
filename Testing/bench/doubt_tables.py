"""The comparison of doubts for people: a block of text a method, and a picture of all."""

from __future__ import annotations

from pathlib import Path

COLOURS = ("#1a73e8", "#34a853", "#f9ab00", "#d93025", "#9334e6", "#12b5cb", "#9aa0a6")
PANELS = (
    ("Wrong voxels found by doubt, AUROC", lambda f: f["voxels"]["1 - p, isotonic"]["AUROC"]),
    ("... by smoothed doubt", lambda f: f["voxels"]["smoothed, isotonic"]["AUROC"]),
    ("Poor scans found: −Spearman of 1 − expected Dice", lambda f: -f["case_scores"]["1 - expected Dice"]["Spearman"]),
    ("... of 1 − pairwise Dice of the samples", lambda f: -(_pairwise(f) or 0)),
    ("Wrong area in the three slices ranked first", lambda f: f["slice_scores"]["expected wrong area"]["found in 3"]),
    ("Dice", lambda f: f["dice"]),
)


def _pairwise(figures: dict) -> float | None:
    return figures["case_scores"].get("1 - pairwise Dice", {}).get("Spearman")


def text(group: str, name: str, figures: dict) -> str:
    cost = f"{figures['cost']:.1f} × the plain pass, " if "cost" in figures else ""
    energy = "" if figures["energy_distance"] is None else f", GED {figures['energy_distance']:.3f}"
    lines = [
        "",
        f"== {group}: {name} ({cost}{figures['scans']} scans)",
        f"   Dice {figures['dice']:.4f}, lowest {figures['dice_lowest']:.4f}, HD95 {figures['hausdorff_95_mm']:.2f} mm"
        + energy,
    ]
    for part in ("voxels", "case_scores", "slice_scores", "intervals"):
        rows = figures[part]
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines.append(f"   {part.replace('_', ' '):34s}" + "".join(f"{column:>15s}" for column in columns))
        for row, values in rows.items():
            shown = (values.get(column) for column in columns)
            lines.append(f"     {row:32s}" + "".join(f"{'-' if v is None else format(v, '.4f'):>15s}" for v in shown))
    return "\n".join(lines)


def draw(path: Path, table: dict[str, dict[str, dict]], title: str) -> None:
    """A panel a measure: groups of scans from left to right, a bar a method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    methods = list(dict.fromkeys(name for group in table.values() for name in group))
    figure, panels = plt.subplots(3, 2, figsize=(14, 10), layout="constrained", facecolor="white")
    figure.suptitle(title)
    for axes, (words, value) in zip(panels.flat, PANELS, strict=True):
        width = 0.8 / len(methods)
        for number, method in enumerate(methods):
            places = [place for place, group in enumerate(table.values()) if method in group]
            heights = [value(table[group][method]) for group in table if method in table[group]]
            axes.bar(
                [place + (number - (len(methods) - 1) / 2) * width for place in places],
                heights,
                0.9 * width,
                color=COLOURS[number % len(COLOURS)],
                label=method,
            )
        lowest = min(value(f) for group in table.values() for f in group.values())
        axes.set_xticks(range(len(table)), ["as they are" if group == "none" else group for group in table])
        axes.set(title=words, ylim=(max(min(0, lowest), lowest - 0.1), None))
        axes.grid(axis="y", alpha=0.3)
    panels.flat[0].legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    figure.savefig(path, dpi=100)
    plt.close(figure)
