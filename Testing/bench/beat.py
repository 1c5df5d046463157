"""A model on beating phantoms of known ejection fraction: how far EDV, ESV and EF are off, and are ED and ES found?

    python Testing/bench/beat.py --json Resources/Benchmarks/beat.json

The truth is that of the labels, which a perfect segmentation would have. Of each phantom, every frame is segmented.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from csam.cardiac import curve_of, ejection_fraction
from csam.cli import find_model
from csam.model.description import VENTRICULAR_FUNCTION
from csam.phantom.beat import beating_heart
from csam.pipeline.segment import segment
from csam.result import Options
from csam.sequence.measures import frame_of, measured

FIRST_SEED = 70_000
"""No training has seen these."""
FRACTIONS = (0.3, 0.45, 0.6, 0.7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cardiac-lv")
    parser.add_argument("--phantoms", type=int, default=4)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = find_model(options.model)
    rows = [
        row_of(model, FIRST_SEED + n, FRACTIONS[n % len(FRACTIONS)], options.frames) for n in range(options.phantoms)
    ]
    errors = np.array([row["ef"] - row["true_ef"] for row in rows])
    summary = {
        "ef_mean_absolute_error": round(float(np.abs(errors).mean()), 2),
        "ef_bias": round(float(errors.mean()), 2),
        "ef_largest_error": round(float(np.abs(errors).max()), 2),
        "ef_inside_its_interval": sum(row["low"] <= row["true_ef"] <= row["high"] for row in rows),
        "phases_right": sum(row["phases_right"] for row in rows),
        "phantoms": len(rows),
    }
    print("\n".join(f"{name}: {value}" for name, value in summary.items()))
    if options.json:
        about = {"model": model.name, "version": model.version, "frames": options.frames}
        options.json.write_text(json.dumps({**about, **summary, "rows": rows}, indent=1) + "\n")


def row_of(model, seed: int, fraction: float, frames: int) -> dict:
    """One phantom. A phase is right where the true volume of the frame is within 2 % of the truth's extreme."""
    cavity = next(m.structures["cavity"] for m in model.measures if m.kind == VENTRICULAR_FUNCTION)
    beat = beating_heart(seed, frames, fraction, size=160, spacing=(2.0, 2.0, 8.0))
    true = [_ml(phantom.labels) for phantom in beat]
    found = [frame_of(segment(phantom.image, model, Options()), n) for n, phantom in enumerate(beat)]
    [one] = measured(found, model.measures, model.calibration.figure_scale)
    figures = {figure.name: figure for figure in one.figures}
    phases = one.marks["ED"], one.marks["ES"]
    right = true[phases[0]] >= 0.98 * max(true) and true[phases[1]] <= 1.02 * min(true)
    row = {
        "seed": seed,
        "asked_ef": 100 * fraction,
        "true_ef": round(100 * ejection_fraction(max(true), min(true)), 2),
        "ef": round(figures["EF"].value, 2),
        "low": round(figures["EF"].low, 2),
        "high": round(figures["EF"].high, 2),
        "true_edv": round(max(true), 1),
        "edv": round(figures["EDV"].value, 1),
        "true_esv": round(min(true), 1),
        "esv": round(figures["ESV"].value, 1),
        "phases_right": bool(right),
        "implausible": list(one.implausible),
        "true_curve_phases": [curve_of(true).end_diastole, curve_of(true).end_systole],
        "volumes": [round(asdict(frame.structure(cavity))["volume_ml"], 1) for frame in found],
    }
    print(row)
    return row


def _ml(labels: sitk.Image) -> float:
    return float((sitk.GetArrayFromImage(labels) == 1).sum() * np.prod(labels.GetSpacing()) / 1000)


if __name__ == "__main__":
    main()
