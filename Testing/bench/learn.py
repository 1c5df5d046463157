"""Does the part Learn teach a structure that no model has, from five drawn phantoms, in a quarter of an hour?

    python Testing/bench/learn.py --out out/learn                       # the claim: 15 minutes, full and sparse labels
    python Testing/bench/learn.py --out out/learn --minutes 2 --size 128 --sparse none   # shorter

Cases are added as the panel adds them (csam.training.add_case), with the right ventricle as the robot draws it: exact
truth, moved by its hand's error; the training is the panel's command (--minutes, --progress json). The Dice is that of
the finished model on six phantoms that nobody has seen. Sparse: the same, with 3 of 12 slices drawn in each case, in
each case others, empty ones among them; and with twice the cases. A training that is finished is only measured again.
Prints a table and writes learn.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from csam.model import Model
from csam.phantom import cine_stack
from csam.result import Options
from csam.segment import segment
from csam.training.add_case import collection
from csam.training.measures import dice
from csam.training.training_request import TrainingRequest, train_arguments, write_request

NAME, VALUE = "right ventricle", 3
UNSEEN = range(5000, 5006)
"""Seeds of the phantoms that the model is tried on."""
HAND = 0.5
"""Pixels, standard deviation: how far the robot's line lies beside the true one, slice by slice."""


def drawn(labels: np.ndarray, seed: int) -> np.ndarray:
    """The structure as a hand draws it: in each slice its border is moved in or out, smoothly along the line."""
    random = np.random.default_rng(seed)
    out = np.zeros(labels.shape, np.uint8)
    for index, one in enumerate(labels == VALUE):
        if one.any():
            distance = ndimage.distance_transform_edt(one) - ndimage.distance_transform_edt(~one)
            error = ndimage.gaussian_filter(random.normal(0, 1, one.shape), 8)
            out[index] = distance + HAND * error / max(error.std(), 1e-6) > 0
    return out


def data_set(folder: Path, seeds: range, slices: int | None, size: int) -> None:
    """Cases as the panel keeps them. slices: how many of each are drawn, spread over the stack, in each case others;
    None for all."""
    for number, seed in enumerate(seeds):
        phantom = cine_stack(seed, size=size, spacing=(320 / size, 320 / size, 8.0))
        labels = drawn(sitk.GetArrayFromImage(phantom.labels), seed)
        truth = sitk.GetImageFromArray(labels)
        truth.CopyInformation(phantom.image)
        apart = len(labels) // (slices or 1)
        known = None if slices is None else [number % apart + apart * n for n in range(slices)]
        collection(folder, ("image",), (NAME,)).add(f"p{seed}", [phantom.image], truth, known_slices=known)


def learn(data: Path, out: Path, minutes: float, plan: dict) -> tuple[Model, float]:
    """The model of the panel's command, and the minutes that it took."""
    request = TrainingRequest(str(data), minutes=minutes, card={"name": data.name, "title": data.name}, plan=plan)
    write_request(out, request)
    begun = time.monotonic()
    command = [sys.executable, "-m", "csam", *train_arguments(request, out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        for line in process.stdout:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") in ("log", "error"):
                print(event["text"], flush=True)
    if process.returncode:
        raise SystemExit(f"The training ended with {process.returncode}.")
    return Model.load(out / "model"), (time.monotonic() - begun) / 60


def unseen_dice(model: Model, size: int) -> list[float]:
    found = []
    for seed in UNSEEN:
        phantom = cine_stack(seed, size=size, spacing=(320 / size, 320 / size, 8.0))
        labels = sitk.GetArrayFromImage(segment([phantom.image], model, Options(device="cpu")).labels)
        found.append(float(dice(labels == 1, sitk.GetArrayFromImage(phantom.labels) == VALUE)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--cases", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="pixels of a side of the phantoms")
    parser.add_argument("--slices", type=int, default=3, help="drawn in each case with sparse labels")
    parser.add_argument(
        "--sparse", default="both", choices=("both", "only", "none"), help="trainings with full and with sparse labels"
    )
    parser.add_argument("--plan", default="{}", help="JSON: fields of the plan")
    options = parser.parse_args()
    runs = {}
    if options.sparse != "only":
        runs["full"] = options.cases, None
    if options.sparse != "none":
        runs["sparse"] = options.cases, options.slices
        runs["sparse, twice the cases"] = 2 * options.cases, options.slices
    table = options.out / "learn.json"
    found = json.loads(table.read_text()) if table.exists() else {}
    for name, (cases, slices) in runs.items():
        place = options.out / name.replace(", ", "-").replace(" ", "-")
        if not (place / "data" / "dataset.json").exists():
            data_set(place / "data", range(100, 100 + cases), slices, options.size)
        finished = place / "training" / "model"
        if name in found and (finished / "model.json").exists():
            model, minutes = Model.load(finished), found[name]["minutes"]
        else:
            model, minutes = learn(place / "data", place / "training", options.minutes, json.loads(options.plan))
        unseen = unseen_dice(model, options.size)
        found[name] = {
            "cases": cases,
            "drawn_slices": slices,
            "minutes": round(minutes, 1),
            "steps": model.provenance["plan"]["steps"],
            "validation_dice": model.metrics["validation"]["dice_mean"],
            "pixel_mm": model.in_plane_spacing,
            "unseen_dice": round(float(np.mean(unseen)), 4),
            "unseen_lowest": round(min(unseen), 4),
        }
        table.write_text(json.dumps(found, indent=2) + "\n")
    print(
        f"{'labels':26s}{'cases':>6s}{'drawn':>7s}{'min':>7s}{'steps':>7s}{'validation':>12s}{'unseen':>8s}{'lowest':>8s}"
    )
    for name, row in found.items():
        print(
            f"{name:26s}{row['cases']:6d}{row['drawn_slices'] or 'all':>7}{row['minutes']:7.1f}{row['steps']:7d}"
            f"{row['validation_dice']:12.3f}{row['unseen_dice']:8.3f}{row['unseen_lowest']:8.3f}"
        )


if __name__ == "__main__":
    main()
