"""How to pad an image smaller than the field of view: scans cut to small squares round the truth, on unmet scans.

    python Testing/bench/padding.py DATASET --models OUT/fold-{fold}/model --folds Resources/cardiac-lv/folds.json \
        --out padding.json

"field": up to the model's field of view. "least": to the next size that the network takes. Zeros, or the image's edge.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from run_modes import folds_of

from csam.image.stack import resize, stack_of
from csam.pipeline import tiles
from csam.pipeline.sliding_window import mean_probabilities
from csam.training.measures import dice

MODES = {"zeros": "constant", "edge": "replicate"}


def padded_dice(model, values: torch.Tensor, truth: np.ndarray, size: str, mode: str) -> float:
    """values: (C, S, h, w). truth: (S, h, w) bool, of all structures."""
    fitted, pad, wanted = tiles.fitted, F.pad, MODES[mode]
    with (
        patch("csam.pipeline.tiles.fitted", fitted if size == "least" else lambda image, field, multiple: field),
        patch("csam.pipeline.sliding_window.F.pad", lambda x, widths, mode: pad(x, widths, mode=wanted)),
    ):
        found = mean_probabilities(model.network("cpu"), values, model.field_of_view).argmax(1).numpy() > 0
    return dice(truth, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--models", required=True, help="folder of a fold's model, {fold} for its number")
    parser.add_argument("--folds", required=True, help="splits_final.json")
    parser.add_argument("--sides", nargs="+", type=float, default=[0.9, 0.7, 0.55], help="of the field of view")
    parser.add_argument("--every", type=int, default=1, help="only every so many scans of a fold")
    parser.add_argument("--out", default="padding.json")
    options = parser.parse_args()
    rows = {}
    for model, cases in folds_of(options):
        for case in cases:
            images, truth = case.read()
            stack = stack_of(images, model.in_plane_spacing, model.intensity, model.slice_axis)
            labels = stack.orientation.to_stack(sitk.GetArrayFromImage(truth)) > 0
            shown = resize(torch.from_numpy(labels.astype(np.float32)), stack.values.shape[-2:]).numpy() > 0.5
            middle = np.argwhere(shown.any(0)).mean(0)
            row = rows[case.name] = {}
            for side, size, mode in itertools.product(options.sides, ("field", "least"), MODES):
                lengths = [min(n, round(side * f)) for n, f in zip(shown.shape[1:], model.field_of_view, strict=True)]
                starts = [
                    min(max(round(m - length / 2), 0), n - length)
                    for m, length, n in zip(middle, lengths, shown.shape[1:], strict=True)
                ]
                cut = (..., *(slice(a, a + n) for a, n in zip(starts, lengths, strict=True)))
                row[f"{side:g} {size} {mode}"] = padded_dice(model, stack.values[cut], shown[cut], size, mode)
            print(case.name, flush=True)
    for name in next(iter(rows.values())):
        found = [row[name] for row in rows.values()]
        print(f"{name:18s} Dice {np.mean(found):.4f}, lowest {np.min(found):.4f}, {len(found)} scans")
    Path(options.out).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
