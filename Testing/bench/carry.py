"""Carry to the next frame, on beating phantoms, whose truth is known in every frame.

    python Testing/bench/carry.py [--phantoms 4] [--frames 12] [--steps 5] [--network] [--json FILE]

A robot user has the truth on one frame, at end diastole and at end systole, and carries it from frame to frame without
a correction. Dice over all slices after 1, 2, … frames, mean over phantoms and both starts, of:

copy      the outlines of the first frame, unchanged
carry     what the product does: moved as the images have moved
network   each frame predicted anew by slice-fill, tuned on three slices of the first frame; the outlines of the frame
          before stand for those of drawn slices (--network; slow)

ROI-ECE of the carried error probability within 10 mm of either outline, as in robot.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from robot import Case, Stack, dice, evenly, reliability

from csam.image.unknown import UNKNOWN
from csam.interactive.drawing import FillOptions, Structure
from csam.interactive.fill import fill
from csam.interactive.fill_model import FillModel
from csam.interactive.predict import Scene, predict
from csam.interactive.region import normalised, region_of
from csam.interactive.tuning import tuned
from csam.phantom.beat import beating_heart
from csam.phantom.heart import LABELS

FIRST_SEED = 70_100
"""No training has seen these, and no setting of the registration was chosen on them."""
FRACTIONS = (0.3, 0.45, 0.6, 0.7)
STRUCTURE = [Structure(1, "structure")]


def carry(before: Stack, now: Stack, found: np.ndarray, model: FillModel):
    """The product's result on ``now``."""
    unknown = now.image_of(np.full(found.shape, UNKNOWN, np.uint8))
    labels = now.image_of(found.astype(np.uint8))
    options = FillOptions(device="cpu")
    return fill(now.case.image, unknown, STRUCTURE, model, options, labels, before=before.case.image)


class Network:
    """slice-fill, tuned on three slices of a frame."""

    def __init__(self, model: FillModel, stack: Stack):
        self.spacing = stack.spacing
        masks = {n: stack.truth[n] for n in evenly(stack.there, 3)}
        region = region_of([*masks.values()], self.spacing[1:])
        scene = Scene(self._values(stack, region), region.shapes(masks, self.spacing[1:]))
        self.network = tuned(model.network("cpu"), scene, 0, lambda _: None)

    def __call__(self, now: Stack, found: np.ndarray) -> np.ndarray:
        region = region_of([mask for mask in found if mask.any()], self.spacing[1:])
        shapes = region.shapes(dict(enumerate(found)), self.spacing[1:])
        log_odds = predict(self.network, Scene(self._values(now, region), shapes), range(len(found)))
        return region.back(log_odds, found.shape[1:], -12.0).numpy() > 0

    @staticmethod
    def _values(stack: Stack, region) -> torch.Tensor:
        image = stack.orientation.to_stack(sitk.GetArrayFromImage(stack.case.image)).astype(np.float32)
        return normalised(region.seen(torch.from_numpy(np.ascontiguousarray(image))))


def frames_of(beat: list, name: str) -> list[Stack]:
    """The stacks of a beat with the truth of one structure."""
    stacks = []
    for number, phantom in enumerate(beat):
        truth = sitk.Cast(phantom.labels == LABELS[name], sitk.sitkUInt8)
        stacks.append(Stack.of(Case(f"frame {number}", phantom.image, truth)))
    return stacks


def rounds(stacks: list[Stack], start: int, steps: int, model: FillModel, network: bool) -> tuple[dict, list]:
    """Dice of every way after each step; and the reliability of what was carried."""
    ways = {"copy": [], "carry": []} | ({"network": []} if network else {})
    found = dict.fromkeys(ways, stacks[start].truth)
    guess = Network(model, stacks[start]) if network else None
    told = []
    for step in range(1, steps + 1):
        before, now = (stacks[(start + n) % len(stacks)] for n in (step - 1, step))
        result = carry(before, now, found["carry"], model)
        found["carry"] = now.stack_of(result.labels) > 0
        error = now.stack_of(result.error_probability)
        told.append(reliability(found["carry"], now.truth, error, now.spacing))
        if guess is not None and found["network"].any():
            found["network"] = guess(now, found["network"])
        for way, labels in found.items():
            ways[way].append(dice(labels, now.truth))
    return ways, told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=4)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first phantom")
    parser.add_argument("--json", type=Path, help="is added to")
    options = parser.parse_args()
    model, rows, told = FillModel.load(), [], []
    for number in range(options.phantoms):
        seed, fraction = options.first + number, FRACTIONS[number % len(FRACTIONS)]
        beat = beating_heart(seed, options.frames, fraction, size=160, spacing=(1.6, 1.6, 8.0))
        for name in LABELS:
            stacks = frames_of(beat, name)
            for start in (0, round(0.38 * options.frames)):
                ways, sums = rounds(stacks, start, options.steps, model, options.network)
                told += sums
                rows.append({"seed": seed, "structure": name, "start": start, **ways})
                print(
                    seed, name, start, {way: np.round(values, 3).tolist() for way, values in ways.items()}, flush=True
                )
    ways = [way for way in ("copy", "carry", "network") if way in rows[0]]
    means = {way: np.mean([row[way] for row in rows], 0) for way in ways}
    print(f"Dice after 1 to {options.steps} frames of {options.frames}, {len(rows)} rounds:")
    for way, values in means.items():
        each = ", ".join(
            f"{name} {np.mean([row[way] for row in rows if row['structure'] == name]):.3f}" for name in LABELS
        )
        print(f"  {way}: {' '.join(f'{value:.3f}' for value in values)}; mean {values.mean():.3f} ({each})")
    worse = sum(np.mean(row["carry"]) < np.mean(row["copy"]) for row in rows)
    stated, wrong, count = (np.sum([one[n] for one in told], 0) for n in range(3))
    ece = float(np.abs(stated - wrong).sum() / count.sum())
    print(f"carry below copy in {worse} of {len(rows)} rounds; ROI-ECE {ece:.3f}")
    if options.json:
        known = json.loads(options.json.read_text("utf-8")) if options.json.is_file() else {}
        found = {way: [round(float(value), 4) for value in values] for way, values in means.items()}
        known[f"{options.phantoms} phantoms, {options.frames} frames"] = {
            **found, "rounds": len(rows), "carry_below_copy": worse, "roi_ece": round(ece, 4), "rows": rows
        }  # fmt: skip
        options.json.write_text(json.dumps(known, indent=1, default=float) + "\n", "utf-8")


if __name__ == "__main__":
    main()
