"""How good will a model be that learns from my first ten patients? Dice over the number of training patients.

    python Testing/bench/first_cases.py DATASET --patients 5 10 99 --folds 0 1 --steps 500 --plan plan.json \
        --network 2d-unet --fine-tune cardiac-lv

A network is trained on so many of the patients that are not held out (on all of them, where there are fewer), always
with the same steps: from scratch and, with --fine-tune, from a model's weights as well. Resumable as compare.py, in
the same folders. Prints a table, writes first-cases.json and .png beside the networks'.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from compare import Unit, held_out, parser_of_units, run, unit_of
from paired import public
from rivals import BEGINS_AS, RIVALS

from csam.training.dataset import read_dataset


def summary(units: list[Unit]) -> dict:
    """Of all folds with one start and number of patients."""
    results = [json.loads(unit.result.read_text()) for unit in units]
    cases = [case for result in results for case in result["cases"].values()]
    dice = [case["mean_dice"] for case in cases]
    return {
        "scans": len(dice),
        "dice": float(np.mean(dice)),
        "dice_lowest": min(dice),
        "share_above_0.85": float(np.mean(np.array(dice) > 0.85)),
        "training_seconds": float(np.mean([r["step_seconds"] * r["plan"]["steps"] for r in results])),
    }


def text(rows: list[dict]) -> str:
    lines = [f"{'start':24s}{'patients':>9s}{'scans':>7s}{'Dice':>8s}{'lowest':>8s}{'> 0.85':>8s}{'training':>10s}"]
    lines += [
        f"{row['start']:24s}{row['patients']:9d}{row['scans']:7d}{row['dice']:8.3f}{row['dice_lowest']:8.3f}"
        f"{row['share_above_0.85']:8.0%}{row['training_seconds'] / 60:6.1f} min"
        for row in rows
    ]
    return "\n".join(lines)


def draw(path: Path, rows: list[dict], title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    starts = list(dict.fromkeys(row["start"] for row in rows))
    for start, dashes in zip(starts, ("-", "--"), strict=False):
        own = [row for row in rows if row["start"] == start]
        for key, words, colour in (("dice", "mean", "#1a73e8"), ("dice_lowest", "poorest scan", "#d93025")):
            label = words if len(starts) == 1 else f"{words}, {start}"
            numbers, values = [row["patients"] for row in own], [row[key] for row in own]
            axes.plot(numbers, values, dashes, marker="o", color=colour, label=label)
    axes.set(title=title, xlabel="training patients", ylabel="Dice of held-out scans")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = parser_of_units(__doc__, steps=500)
    parser.add_argument("--patients", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--network", choices=sorted(RIVALS.keys() - BEGINS_AS.keys()), default="csam")
    options = parser.parse_args()
    asked = replace(unit_of(options), network=options.network)
    starts = {"from scratch": replace(asked, fine_tune=None)}
    if options.fine_tune:
        starts[f"from {Path(options.fine_tune).name}"] = asked
    patients = read_dataset(options.dataset, options.patient_pattern).patients
    most = len(patients) - max(len(held_out(patients, fold, options.of)) for fold in options.folds)
    rows = []
    for start, whole in starts.items():
        for number in sorted({min(n, most) for n in options.patients if n > 0}):
            # Those with all patients are compare.py's.
            units = [replace(whole, fold=f, patients=None if number == most else number) for f in options.folds]
            for one in units:
                if not one.result.exists():
                    print(f"{one.folder.relative_to(one.out)}: {run(one)}", flush=True)
            rows.append({"start": start, "patients": number} | summary(units))
    print(text(rows))
    command = shlex.join(["python", "Testing/bench/first_cases.py", *public(sys.argv[1:])])
    folder = asked.of_network.parent
    values = {"command": command, "plan": asdict(asked.plan), "rows": rows}
    (folder / "first-cases.json").write_text(json.dumps(values, indent=2) + "\n")
    before = f"{options.begin_steps} steps on {options.begin_on.name}, then " if options.begin_on else ""
    draw(folder / "first-cases.png", rows, f"{options.dataset.name}: {before}{options.steps} steps on patients")
    print(f"Written to {folder}/first-cases.json and .png")


if __name__ == "__main__":
    main()
