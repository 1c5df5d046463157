"""Which doubt deserves to be shown? Softmax, CSAM's gates, test-time augmentation, both, or an ensemble.

python Testing/bench/compare_uncertainty.py DATASET [--model MODEL ...] [--shifts none noise ...] [--patients ...]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from degrade import SHIFTS, degrade
from doubts import judge
from passes import CHANGED, IDENTITY, MIRRORED, ROTATIONS, Passes

from csam import geometry
from csam.cli import find_model
from csam.dataset import Case, read_dataset
from csam.stack import stack_of

OUT = Path("out/bench/uncertainty")
DRAWS = 20
FULL = {
    IDENTITY: [None, *range(DRAWS)],
    **{view: [None, n, n + 8] for n, view in enumerate(ROTATIONS) if n},
    **{view: [None] for view in (*MIRRORED, *CHANGED)},
}
SHORT = {IDENTITY: [None, *range(6)], **{view: [None] for view in ROTATIONS[1:]}}


def scan(case: Case, model, shift: str) -> tuple:
    """The stack of a case under a shift, and its truth (S, H, W) in the stack's orientation."""
    images, truth = case.read()
    axis = geometry.axis_for(images[0], model.slice_axis)
    oriented = geometry.orientation(images[0].GetDirection(), axis)
    pixels = round(10 / images[0].GetSpacing()[oriented.axes[-1]])
    labels = sitk.GetArrayFromImage(truth)
    channels = []
    for image in images:
        array = sitk.GetArrayFromImage(image).astype(np.float32)
        # Views: what is written to them is written to the arrays.
        worse = degrade(oriented.to_stack(array), oriented.to_stack(labels), shift, pixels, seed=1)
        oriented.to_stack(array)[:] = worse[0]
        channels.append(geometry.like(array, image))
    stack = stack_of(channels, model.in_plane_spacing, model.intensity, model.slice_axis)
    return stack, worse[1]


def collect(cases: list[Case], models: list, shifts: list[str], wanted: dict, out: Path) -> None:
    """Computes the passes that are not on disk yet."""
    for shift in shifts:
        for case in cases:
            started = time.perf_counter()
            for model in models:
                passes = Passes(out / model.sha256[:12] / shift.replace(" ", "-") / f"{case.name}.npz")
                stack, _ = scan(case, model, shift)
                passes.complete(model.network(), stack.values, model.field_of_view, wanted)
            print(f"{shift:18s}{case.name:24s}{time.perf_counter() - started:8.1f} s", flush=True)


METHODS = {
    "softmax": [(IDENTITY, None)],
    "gates": [(IDENTITY, n) for n in range(DRAWS)],
    "8 rotations": [(view, None) for view in ROTATIONS],
    "16 symmetries": [(view, None) for view in (*ROTATIONS, *MIRRORED)],
    "4 turns": [(view, None) for view in ROTATIONS[:4]],
    "2 rotations": [(view, None) for view in (ROTATIONS[0], ROTATIONS[6])],
    "rotations, contrast, scale": [(view, None) for view in CHANGED],
    "gates and rotations": [(view, n) for n, view in enumerate(ROTATIONS)],
    "gates and rotations, 16": [(view, n) for n, view in enumerate(ROTATIONS)]
    + [(v, n + 8) for n, v in enumerate(ROTATIONS)],
}


def judged(cases: list[Case], model, shift: str, method: list, out: Path) -> list:
    found = []
    for case in cases:
        path = out / model.sha256[:12] / shift.replace(" ", "-") / f"{case.name}.npz"
        if not path.exists():
            continue
        passes = Passes(path)
        try:
            stacked = passes.stacked(method)
        except KeyError:
            continue
        stack, truth = scan(case, model, shift)
        connected = any(label.connected for label in model.labels)
        found.append(judge(stacked, truth, stack.spacing, connected, case.name, case.patient))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--model", nargs="+", default=["cardiac-lv"])
    parser.add_argument("--shifts", nargs="+", choices=SHIFTS, default=["none"])
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    models = [find_model(name) for name in options.model]
    pattern = models[0].provenance["plan"]["patient_pattern"]
    held_out = models[0].provenance["validation_patients"]
    cases = [c for c in read_dataset(options.dataset, pattern).cases if (c.patient in held_out) != options.training]
    torch.set_num_threads(1)
    collect(cases, models, options.shifts, SHORT if options.short else FULL, OUT)


if __name__ == "__main__":
    main()
