"""An evaluation for users and programs: a readable table, JSON, and a picture of reliability and risk.

Step: evaluate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..model.card import rows
from . import measures
from .evaluate import CaseMeasures

COLOURS = {"before": "#9aa0a6", "after": "#1a73e8"}


def table(before: dict, after: dict, note: str) -> str:
    """Two summaries side by side, a line a measure; what calibration does not change is said once."""
    found = [("", "before", "after calibration", ""), *rows(before, after)]
    widths = [max(len(row[column]) for row in found) for column in range(3)]
    lines = [
        f"{name:{widths[0]}s}  {first:>{widths[1]}s}  {second:>{widths[2]}s}  {hint}".rstrip()
        for name, first, second, hint in found
    ]
    return "\n".join(["", *lines, "", note])


def write_json(path: str | Path, about: dict, before: dict, after: dict, cases: Sequence[CaseMeasures]) -> None:
    """about: what was evaluated on what. before, after: summaries. cases: as after calibration."""
    figures = {case.name: case.figures for case in cases}
    values = {**about, "before_calibration": before, "after_calibration": after, "cases": figures}
    Path(path).write_text(json.dumps(values, indent=2, default=float) + "\n", encoding="utf-8", newline="\n")


def draw(path: str | Path, title: str, before: Sequence[CaseMeasures], after: Sequence[CaseMeasures]) -> None:
    """Writes a PNG: the reliability diagram of the error probability, and the risk-coverage curve of the cases.

    Where nobody is assessed after calibration, both are as before.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    figure.suptitle(title)
    assessed = [case for case in after if case.assessed]
    _draw_reliability(left, {"before": before, "after": assessed} if assessed else {"before": before})
    _draw_risk(right, assessed or before)
    figure.savefig(path, dpi=110, format="png")


def _draw_reliability(axes, cases: dict[str, Sequence[CaseMeasures]]) -> None:
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="dotted")
    for name, measured in cases.items():
        error_probability, wrong = (
            np.concatenate([getattr(case, part) for case in measured]) for part in ("error_probability", "wrong")
        )
        points = measures.reliability(error_probability, wrong)
        stated, observed, count = (part[measures.enough(points[-1])] for part in points)
        error = measures.calibration_error(error_probability, wrong)
        label = f"{name} calibration, ECE {error:.3f}"
        axes.plot(stated, observed, color=COLOURS[name], linewidth=1, label=label)
        axes.scatter(stated, observed, 8 + 22 * np.log10(count), color=COLOURS[name], alpha=0.8)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        xlabel="stated error probability",
        ylabel="share of these voxels that are wrong",
        title="Is the error probability true? Within 10 mm of result or truth",
    )
    axes.legend(loc="upper left", frameon=False, title="size of a point: log of its voxels")


def _draw_risk(axes, cases: Sequence[CaseMeasures]) -> None:
    cases = [case for case in cases if case.whole]
    if not cases:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "No scan is known whole.", ha="center")
        return
    risk = 1 - np.array([case.mean_dice for case in cases])
    quality = [case.case_quality for case in cases]
    share = np.arange(1, len(cases) + 1) / max(1, len(cases))
    curves = (
        ("by expected Dice", quality, COLOURS["after"], "solid"),
        ("perfect order", -risk, "#34a853", "dashed"),
        ("no order", np.zeros(len(cases)), "black", "dotted"),
    )
    for name, order, colour, style in curves:
        area = measures.area_under_risk_coverage(order, risk)
        axes.plot(
            share, measures.risk_coverage(order, risk), color=colour, linestyle=style, label=f"{name}, AURC {area:.3f}"
        )
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.15 * float(risk.max(initial=0)) or 1),
        xlabel="share of the scans accepted, highest expected Dice first",
        ylabel="their mean risk, 1 − Dice",
        title="Does the expected Dice find the poor scans?",
    )
    axes.legend(loc="best", frameon=False)
