"""The models of two stages become one: the mean of their weights, for the shipped model and for that of each fold.

    python Resources/cardiac-lv-myo/average_stages.py BEFORE AFTER OUT

BEFORE and AFTER are folders of two cross-validations, the second of which started from the first. OUT gets the folds
and the models of AFTER, each with the mean of the weights. Such a mean is often better than either (Wortsman et al.,
"Model soups", ICML 2022, https://arxiv.org/abs/2203.05482). It is not calibrated.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from csam.errors import InputError
from csam.model import Model
from csam.model.weights import OF_TRAINING
from csam.training.output_folder import SPLITS


def averaged(before: Model, after: Model) -> Model:
    """What ``after`` says of itself, with the mean of both models' weights."""
    if before.architecture != after.architecture:
        raise InputError("Both stages must have the same architecture, or their weights have no mean.")
    earlier, later = (model.network().state_dict() for model in (before, after))
    return after.with_weights({name: (earlier[name] + later[name]) / 2 for name in later}).uncalibrated()


def main(before: Path, after: Path, out: Path) -> None:
    found = sorted(after.glob(f"**/{OF_TRAINING}"))
    if not found:
        raise InputError(f"{after} holds no model. Give the folders of two cross-validations.")
    for description in found:
        name = description.relative_to(after).parent
        averaged(Model.load(before / name), Model.load(after / name)).save(out / name)
        print(f"{out / name}: the mean of {before / name} and {after / name}")
    shutil.copy(after / SPLITS, out / SPLITS)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    try:
        main(*map(Path, sys.argv[1:]))
    except InputError as error:
        raise SystemExit(str(error)) from error
