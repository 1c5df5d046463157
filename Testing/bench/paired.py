"""Results of many trainings as a table: means over seeds and folds, differences in pairs with bootstrap intervals."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rivals import WORDS

from csam.training import measures

DRAWS = 10_000
NARROWEST = 0.1
"""The least that an axis of figures spans: what differs by less looks alike."""


def bootstrap(differences: dict[str, list[float]], seed: int = 0) -> tuple[float, float, float]:
    """Mean of paired differences and its 95 % interval, patients drawn with replacement.

    differences: by patient, one a scan. Scans of a patient are not independent and are drawn together.
    """
    sums = np.array([sum(values) for values in differences.values()])
    counts = np.array([len(values) for values in differences.values()])
    drawn = np.random.default_rng(seed).integers(0, len(sums), (DRAWS, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def by_scan(results: Sequence[dict]) -> dict[tuple, dict]:
    """(seed, fold, scan) → its figures."""
    return {(r["seed"], r["fold"], r["of"], name): case for r in results for name, case in r["cases"].items()}


OF_SCANS = ("hausdorff_95_mm", "voxel_error_auroc", "worst_slice_in_first_three")
"""Figures of single scans that are compared in pairs beside Dice; after calibration."""


def of_scan(case: dict, figure: str) -> float | None:
    """Of several structures the mean; None where there is none."""
    value = case.get(figure)
    return measures.mean(value) if isinstance(value, list) else value


def difference(results: Sequence[dict], reference: Sequence[dict], figure: str = "mean_dice") -> dict | None:
    """Of a figure, over the scans for which both have measured it with the same seed and fold."""
    ours, theirs = (
        {where: case for where, case in by_scan(some).items() if of_scan(case, figure) is not None}
        for some in (results, reference)
    )
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return None
    seeds: dict[tuple, list[float]] = defaultdict(list)
    for where in both:
        seeds[ours[where]["patient"], where[-1]].append(of_scan(ours[where], figure) - of_scan(theirs[where], figure))
    patients: dict[str, list[float]] = defaultdict(list)
    for (patient, _), values in seeds.items():
        patients[patient].append(float(np.mean(values)))
    mean, low, high = bootstrap(patients)
    return {"mean": mean, "low": low, "high": high, "scans": len(seeds), "pairs": len(both)}


def without(result: dict, pattern: str | None) -> dict:
    """The result without the scans whose name the regular expression finds, and then without what pools all of them."""
    if not pattern:
        return result
    cases = {name: case for name, case in result["cases"].items() if not re.search(pattern, name)}
    return result | {"cases": cases, "after_calibration": dict.fromkeys(FIGURES)}


def compare(results: Sequence[dict], reference: str) -> dict[str, dict]:
    """Network → its figures over all its units."""
    groups: dict[str, list[dict]] = defaultdict(list)
    for result in results:
        groups[result["network"]].append(result)
    table = {}
    for name in sorted(groups, key=lambda n: (n != reference, list(WORDS).index(n))):
        own = groups[name]
        seeds: dict[int, list[dict]] = defaultdict(list)
        for result in own:
            seeds[result["seed"]] += result["cases"].values()
        dice = [float(np.mean([case["mean_dice"] for case in cases])) for cases in seeds.values()]

        def mean(figure: str, own: list[dict] = own) -> float | None:
            return measures.mean([result["after_calibration"][figure] for result in own])

        distances = [d for r in own for case in r["cases"].values() for d in case["hausdorff_95_mm"] if d is not None]
        table[name] = {
            "seeds": len(seeds),
            "folds": len({result["fold"] for result in own}),
            "scans": len({scan for result in own for scan in result["cases"]}),
            "parameters": own[0]["parameters"],
            "device": ", ".join(sorted({result["device"] for result in own})),
            "step_seconds": float(np.mean([result["step_seconds"] for result in own])),
            "dice": float(np.mean(dice)),
            "dice_spread_of_seeds": float(np.std(dice, ddof=1)) if len(dice) > 1 else None,
            "difference": None if name == reference else difference(own, groups.get(reference, [])),
            "further_differences": None
            if name == reference
            else {figure: difference(own, groups.get(reference, []), figure) for figure in OF_SCANS},
            "hausdorff_95_mm": measures.mean(distances),
            **{figure: mean(figure) for figure in FIGURES},
            "case_quality_spearman": measures.mean(
                [  # before calibration, which has another factor for every fold
                    measures.rank_correlation([c["expected_dice"] for c in cases], [c["mean_dice"] for c in cases])
                    for cases in seeds.values()
                    if all("expected_dice" in c for c in cases)
                ]
            ),
        }
    return table


FIGURES = ("roi_calibration_error", "voxel_error_auroc", "worst_slice_in_first_three", "interval_coverage")
COLUMNS = (
    ("Dice", "dice", ".4f"),
    ("± seeds", "dice_spread_of_seeds", ".4f"),
    ("HD95 mm", "hausdorff_95_mm", ".2f"),
    ("ROI-ECE", "roi_calibration_error", ".3f"),
    ("AUROC", "voxel_error_auroc", ".3f"),
    ("Spearman", "case_quality_spearman", ".2f"),
    ("top 3", "worst_slice_in_first_three", ".2f"),
    ("covered", "interval_coverage", ".2f"),
    ("s a step", "step_seconds", ".2f"),
)


def text(table: dict[str, dict]) -> str:
    head = f"{'network':40s}{'M par.':>7s}{'units':>7s}" + "".join(f"{words:>9s}" for words, _, _ in COLUMNS)
    lines = [head + "   difference of Dice [95 %]"]
    for name, row in table.items():
        line = f"{WORDS[name]:40s}{row['parameters'] / 1e6:7.2f}{row['seeds']:>4d}×{row['folds']:<2d}"
        line += "".join(f"{'-' if row[key] is None else format(row[key], form):>9s}" for _, key, form in COLUMNS)
        d = row["difference"]
        lines.append(line + (f"   {interval(d)}" if d else ""))
        lines += [f"    {words}: {interval(d)}" for words, d in (row["further_differences"] or {}).items() if d]
    return "\n".join(lines)


def interval(difference: dict) -> str:
    return "{mean:+.4f} [{low:+.4f}, {high:+.4f}]".format(**difference)


def public(arguments: Sequence[str]) -> list[str]:
    """A command line without the folders of this machine."""
    return [Path(a).name if a.startswith("/") or ("/" in a and Path(a).exists()) else a for a in arguments]


def roomy(limits: tuple[float, float]) -> tuple[float, float]:
    """The limits of an axis, or wider ones around the same middle."""
    low, high = limits
    room = max(0.0, NARROWEST - (high - low)) / 2
    return low - room, high + room


def draw(path: Path, table: dict[str, dict], reference: str, title: str) -> None:
    """Mean Dice of every network, and its difference from the reference with the interval."""
    from matplotlib.figure import Figure

    names = list(table)[::-1]
    figure = Figure(figsize=(11, 1.4 + 0.45 * len(names)), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, sharey=True)
    figure.suptitle(title)
    for place, name in enumerate(names):
        row, d = table[name], table[name]["difference"]
        left.errorbar(row["dice"], place, xerr=row["dice_spread_of_seeds"] or 0, fmt="o", color="#1a73e8", capsize=3)
        if d:
            error = [[d["mean"] - d["low"]], [d["high"] - d["mean"]]]
            right.errorbar(d["mean"], place, xerr=error, fmt="o", color="#1a73e8", capsize=3)
    left.set_yticks(range(len(names)), [WORDS[name] for name in names])
    left.set(
        xlabel="mean Dice of held-out scans (bar: spread of seeds)",
        ylim=(-0.6, len(names) - 0.4),
        xlim=roomy(left.get_xlim()),
    )
    right.axvline(0, color="black", linewidth=0.8, linestyle="dotted")
    right.set(xlabel=f"Dice minus that of {WORDS[reference]} (95 %, paired)")
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
        axes.locator_params(axis="x", nbins=5)
    figure.savefig(path, dpi=110)
