"""The comparison of uncertainties for people: a block of text a method, and a picture of all."""

from __future__ import annotations

from pathlib import Path

from paired import roomy

COLOURS = ("#1a73e8", "#34a853", "#f9ab00", "#d93025", "#9334e6", "#12b5cb", "#9aa0a6")
PANELS = (
    ("Wrong voxels found by the error probability, AUROC", lambda f: f["voxels"]["smoothed, isotonic"]["AUROC"]),
    (
        "Interval score of the volume, low is good",
        lambda f: f["intervals"]["error probability around volume"]["interval score"],
    ),
    ("Poor scans found: −Spearman of 1 − expected Dice", lambda f: -f["case_scores"]["1 - expected Dice"]["Spearman"]),
    ("... of 1 − pairwise Dice of the samples", lambda f: None if _pairwise(f) is None else -_pairwise(f)),
    (
        "Wrong area in the three slices ranked first (1: all that three can hold)",
        lambda f: f["slice_scores"]["expected wrong area, breaks"]["found in 3"],
    ),
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
    """A panel a measure: groups of scans from left to right, a dot a method."""
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(name for group in table.values() for name in group))
    shown = [p for p in PANELS if any(p[1](f) is not None for group in table.values() for f in group.values())]
    figure = Figure(figsize=(14, 10), layout="constrained", facecolor="white")
    panels = figure.subplots(-(-len(shown) // 2), 2)
    figure.suptitle(title)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, (words, value) in zip(panels.flat, shown, strict=False):
        for number, method in enumerate(methods):
            found = [(p, value(group[method])) for p, group in enumerate(table.values()) if method in group]
            found = [(place, height) for place, height in found if height is not None]
            aside = (number - (len(methods) - 1) / 2) * 0.6 / len(methods)
            axes.scatter(
                [place + aside for place, _ in found],
                [height for _, height in found],
                60,
                color=COLOURS[number % len(COLOURS)],
                label=method,
                zorder=3,
            )
        axes.set_xticks(
            range(len(table)), ["as they are" if group == "none" else group.replace(" ", "\n") for group in table]
        )
        axes.set(title=words, xlim=(-0.5, len(table) - 0.5), ylim=roomy(axes.get_ylim()))
        axes.grid(axis="y", alpha=0.3)
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=100)
