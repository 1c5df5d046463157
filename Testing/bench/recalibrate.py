"""Calibrates the default run of a model with the models of a cross-validation's folds, which learned as it did.

    python Testing/bench/recalibrate.py DATASET --folds OUT --model MODEL --note "…" --out calibrated

Every fold's model measures the patients that are unseen to it; OUT gets the figures. MODEL takes the calibration over,
and the figures if it has none. Figures of its own, and its calibration for test-time augmentation, stay as they are;
--note is added to their note in the card: how the models of the folds differ from MODEL.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from csam.cli import find_model
from csam.model import Calibration, Model
from csam.model.card import write_card
from csam.result import Options
from csam.training.calibrate import calibrated_from
from csam.training.dataset import read_dataset, read_folds
from csam.training.evaluate import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--folds", type=Path, required=True, help="the folder of a cross-validation")
    parser.add_argument("--model", default="cardiac-lv")
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    model = find_model(options.model)
    pattern = model.provenance["plan"]["patient_pattern"]
    folds, faults = read_folds(options.folds / "splits_final.json", read_dataset(options.dataset, pattern))
    if faults:
        raise SystemExit("\n".join(faults))
    measured, used = [], 0
    for number, (_, unseen) in enumerate(folds):
        folder = options.folds / f"fold-{number}" / "model"
        if not (folder / "model.json").is_file():
            print(f"Fold {number} has no model yet; its patients take no part.")
            continue
        own = replace(Model.load(folder), calibration=Calibration())
        measured, used = measured + evaluate(own, unseen, Options(device="cpu")), used + 1
    how = f"Cross-validation: each of {used} models segmented the fold of patients that it had not seen. {options.note}"
    done = calibrated_from(model, measured, options.out, how.strip())
    before = model.metrics or done.metrics
    metrics = {**before, "note": f"{before.get('note', '')} {options.note if model.metrics else ''}".strip()}
    own = replace(model, calibration=done.calibration, metrics=metrics)
    own.save(options.out / "model")
    write_card(own, options.out / "model")


if __name__ == "__main__":
    main()
