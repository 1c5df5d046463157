"""How much of a piece's outline must border on the structure that holds it? ``csam.uncertainty.continuity.OPEN``.

    python Testing/bench/inside.py DATASET --models 'OUT/fold-{fold}/model' --folds Resources/cardiac-lv/folds.json \
        --phantoms 8 --model cardiac-lv-myo --json inside.json

DATASET: each fold's model segments the patients that are unseen to it; "lost" are slices of a structure that the model
had found, by more than half of what it found there, until the rule took them away. Phantoms, each at both phases and
with thick walls as well, by the model --model: "false" are slices that show something where the truth shows nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import SimpleITK as sitk

from csam.cli import find_model
from csam.model import Model
from csam.phantom import cine_stack
from csam.pipeline.segment import segment
from csam.result import Options
from csam.training.dataset import read_dataset, read_folds
from csam.training.measures import dice, mean
from csam.uncertainty import continuity

BOUNDS = (0.5, 0.25, 0.125, 0.05, 0.0)
SEED = 9000


def without_rules(images, model: Model) -> np.ndarray:
    """Labels (k, j, i) before pieces are left out."""
    labels = tuple(replace(label, connected=False, inside=0, slices_of=0) for label in model.labels)
    return sitk.GetArrayFromImage(segment(images, replace(model, labels=labels), Options(device="cpu")).labels)


def with_rules(labels: np.ndarray, model: Model, bound: float) -> np.ndarray:
    """What the pipeline keeps of the labels."""
    labels = labels.copy()
    with patch.object(continuity, "OPEN", bound):
        for label in model.labels:
            mask = labels == label.value
            if label.inside:
                labels[mask & ~continuity.inside_pieces(mask, labels == label.inside)] = 0
                mask = labels == label.value
            if label.connected:
                labels[mask & ~continuity.largest_piece(mask)] = 0
    return labels


def patients(folder: str, models: str, folds: str) -> Iterator[tuple[Model, np.ndarray, np.ndarray]]:
    """The fold's model, labels before the rules, and the truth, of every scan."""
    for number, (_, cases) in enumerate(read_folds(folds, read_dataset(folder, "(.*)_p"))[0]):
        model = Model.load(models.format(fold=number))
        for case in cases:
            images, truth = case.read()
            print(case.name, flush=True)
            yield model, without_rules(images, model), sitk.GetArrayFromImage(truth)


def phantoms(model: Model, count: int) -> Iterator[tuple[Model, np.ndarray, np.ndarray]]:
    classes = len(model.labels)
    for number in range(count):
        for thick in (False, True):
            for phase in ("diastole", "systole"):
                stack = cine_stack(SEED + number, phase=phase, thick_walled=thick)
                truth = sitk.GetArrayFromImage(stack.labels)
                yield model, without_rules(stack.image, model), np.where(truth > classes, 0, truth)


def summary(scans: list[tuple[Model, np.ndarray, np.ndarray]], bound: float) -> dict:
    held = next(label for label in scans[0][0].labels if label.inside)
    dices, lost, empty, false = [], 0, 0, 0
    for model, before, truth in scans:
        after = with_rules(before, model, bound)
        own, kept, true = (labels == held.value for labels in (before, after, truth))
        dices.append(dice(true, kept))
        right = (own & true).sum((1, 2)) > 0.5 * own.sum((1, 2))
        lost += int((right & own.any((1, 2)) & ~kept.any((1, 2))).sum())
        nothing = ~truth.any((1, 2))
        empty += int(nothing.sum())
        false += int((nothing & after.any((1, 2))).sum())
    return {"scans": len(scans), "dice": round(mean(dices), 4), "slices lost": lost, "empty": empty, "false": false}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--models", required=True, help="of the folds, with {fold}")
    parser.add_argument("--folds", required=True, help="the split's file")
    parser.add_argument("--phantoms", type=int, default=8)
    parser.add_argument("--model", default="cardiac-lv-myo", help="for the phantoms")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    groups = {
        "phantoms": list(phantoms(find_model(options.model), options.phantoms)),
        "unseen patients": list(patients(options.dataset, options.models, options.folds)),
    }
    report = {name: {f"{bound:g}": summary(scans, bound) for bound in BOUNDS} for name, scans in groups.items()}
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
