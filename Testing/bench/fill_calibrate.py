"""Calibrates the network that fills slices, on robot users' rounds over scans that it has not learned from.

    python Testing/bench/fill_calibrate.py Dataset101_CardiacLV Dataset103_CardiacLVMyo --folds FOLDS.json 0 1 \
      --without PATIENT ... [--cases 4] [--model FOLDER]

The patients of those folds' validation lists: left ventricular cavity, myocardium, both together; phantoms: each of
their structures; made-up shapes. Some with noise. One to five slices drawn, three most often. Writes into the folder's
fill.json: the weights of ``certainty.FEATURES``, by logistic regression in which every round counts the same and large
weights cost; the factor of the volume's interval; that of the expected Dice. Prints the calibration error of every kind
of case when the others of its origin were left out of the fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from robot import REACH_MM, Case, Stack, _union, cases_of, dice, evenly
from robot_corrections import made_worse
from scipy.optimize import minimize

from csam.image import geometry
from csam.interactive.certainty import FEATURES, Circumstances, features
from csam.interactive.drawing import FillOptions, Structure, read_drawing
from csam.interactive.fill_model import SHIPPED, FillCalibration, FillModel
from csam.interactive.filled import OUTSIDE
from csam.interactive.interpolation import signed_distance
from csam.interactive.one_structure import Filling, fill_structure
from csam.phantom import cine_stack
from csam.phantom.heart import LABELS
from csam.training.fill_shapes import random_stack

CAVITY, MYOCARDIUM = "left ventricular cavity", "left ventricular myocardium"
IN_TURN = ((3, 1), (3,), (2,), (3,), (5,), (3,))
"""How many slices are drawn: of the first case of every kind, of the second, …"""
NOMINAL = 0.9
PIXELS = 4000
"""Of a round, at random, for the fit."""
PENALTY = 1e-3
"""Of the squared weights of standardised features."""


@dataclass(frozen=True)
class Round:
    """What came of one filling, of the pixels within REACH_MM of an outline.

    kind, origin: of the case. log_odds, untuned: of both networks. apart: slices to the nearest drawn one. wrong: bool.
    voxel: of the image, ml. true_ml, found_ml: from the first to the last slice. drawn_ml: of the drawn slices.
    """

    kind: str
    origin: str
    known: Circumstances
    log_odds: np.ndarray
    untuned: np.ndarray
    apart: np.ndarray
    wrong: np.ndarray
    voxel: float
    true_ml: float
    found_ml: float
    drawn_ml: float
    dice: float

    def features(self, some: np.ndarray | slice = slice(None)) -> np.ndarray:
        """(n, FEATURES)."""
        log_odds, untuned = (torch.from_numpy(v[some].astype(np.float32)) for v in (self.log_odds, self.untuned))
        apart, table = self.apart[some], np.zeros((len(log_odds), len(FEATURES)))
        for slices in np.unique(apart):
            here = torch.from_numpy(apart == slices)
            seen = features(log_odds[here], untuned[here], int(slices), self.known)
            for column, name in enumerate(FEATURES):
                table[here.numpy(), column] = seen[name]
        return table

    def stated(self, weights: dict[str, float]) -> np.ndarray:
        """Error probability of each pixel."""
        odds = self.features() @ [weights.get(name, 0.0) for name in FEATURES]
        return 1 / (1 + np.exp(-np.minimum(odds, 0)))


def round_of(kind: str, origin: str, case: Case, count: int, model: FillModel) -> Round | None:
    stack = Stack.of(case)
    drawn = evenly(stack.there, count)
    part = range(len(stack.truth)) if count == 1 else range(drawn[0], drawn[-1] + 1)
    if len(part) == len(drawn):
        return None
    drawing = read_drawing(case.image, stack.drawing(drawn), [Structure(1, "structure")])
    image = np.ascontiguousarray(drawing.orientation.to_stack(geometry.array_of(case.image)))
    filling = Filling(image, drawing, 1, drawing.wanted(False), None, "cpu", FillOptions(device="cpu"), model)
    filled = fill_structure(filling, lambda *_: None)
    said, before = (filled.region.back(v, image.shape[1:], OUTSIDE).numpy() for v in (filled.values, filled.untuned))
    found, columns = stack.truth.copy(), ([], [], [], [])
    found[filled.indices] = said > 0
    for place, index in enumerate(filled.indices):
        outlines = (signed_distance(mask[index], stack.spacing[1:]) for mask in (found, stack.truth))
        near = np.maximum(*outlines) > -REACH_MM
        apart = np.full(near.sum(), min(abs(index - n) for n in drawn))
        wrong = (found[index] != stack.truth[index])[near]
        for column, values in zip(columns, (said[place][near], before[place][near], apart, wrong), strict=True):
            column.append(values)
    voxel = geometry.voxel_volume(case.image) / 1000
    true_ml, found_ml = (float(mask[list(part)].sum() * voxel) for mask in (stack.truth, found))
    drawn_ml = float(stack.truth[drawn].sum() * voxel)
    whole = dice(found[list(part)], stack.truth[list(part)])
    return Round(kind, origin, filled.known, *map(np.concatenate, columns), voxel, true_ml, found_ml, drawn_ml, whole)


def fit(rounds: Sequence[Round]) -> dict[str, float]:
    """Weights of FEATURES; every round counts the same."""
    random = np.random.default_rng(0)
    tables, wrong, weight = [], [], []
    for one in rounds:
        some = random.choice(len(one.wrong), min(PIXELS, len(one.wrong)), replace=False)
        tables.append(one.features(some))
        wrong.append(one.wrong[some])
        weight.append(np.full(len(some), 1 / len(some) / len(rounds)))
    x, y, weight = np.concatenate(tables), np.concatenate(wrong).astype(float), np.concatenate(weight)
    middle, scale = x.mean(0), x.std(0)
    middle[0], scale[0] = 0, 1  # the constant
    there = scale > 1e-9
    z = (x[:, there] - middle[there]) / scale[there]

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        odds = z @ b
        surplus = weight * (1 / (1 + np.exp(-odds)) - y)
        cost = PENALTY * np.r_[0, b[1:]]
        return (weight * (np.logaddexp(0, odds) - y * odds)).sum() + cost @ b, z.T @ surplus + 2 * cost

    found = minimize(loss, np.zeros(there.sum()), jac=True, method="L-BFGS-B").x
    weights = np.zeros(len(FEATURES))
    weights[there] = found / scale[there]
    weights[0] -= weights[1:] @ middle[1:]
    return {name: round(float(w), 4) for name, w in zip(FEATURES, weights, strict=True) if w}


def calibration_of(rounds: Sequence[Round]) -> FillCalibration:
    weights, volumes, lacks = fit(rounds), [], []
    for one in rounds:
        stated, found = one.stated(weights), one.log_odds > 0
        probable = np.where(found, 1 - stated, stated)
        difference = float(np.where(found, stated, np.where(probable > 0.01, probable, 0)).sum() * one.voxel)
        expected = float(probable.sum() * one.voxel) + one.drawn_ml
        volumes.append(abs(one.true_ml - one.found_ml) / max(difference, 1e-6))
        lacks.append((difference / max(one.found_ml + expected, 1e-6), 1 - one.dice))
    level = min(1.0, np.ceil(NOMINAL * (len(volumes) + 1)) / len(volumes))  # conformal
    expected, true = np.mean(lacks, 0)
    scale = float(np.quantile(volumes, level, method="higher"))
    return FillCalibration(weights, round(scale, 3), round(float(true / expected), 3))


def calibration_error(rounds: Sequence[Round], weights: dict[str, float]) -> float:
    """ROI-ECE in ten bins, of all rounds together."""
    stated = np.concatenate([one.stated(weights) for one in rounds])
    surplus = stated - np.concatenate([one.wrong for one in rounds])
    bins = np.minimum((stated * 10).astype(int), 9)
    return float(np.abs(np.bincount(bins, surplus)).sum() / len(bins))


def held_out(rounds: Sequence[Round]) -> None:
    """The calibration error of every kind of case, of which none of its origin was fitted on."""
    for origin in dict.fromkeys(one.origin for one in rounds):
        weights = fit([one for one in rounds if one.origin != origin])
        for kind in dict.fromkeys(one.kind for one in rounds if one.origin == origin):
            three = [one for one in rounds if one.kind == kind and one.known.drawn == 3]
            if three:
                print(f"{kind}, {len(three)} rounds of three drawn slices: {calibration_error(three, weights):.3f}")


def made_up(seed: int) -> Case:
    random = np.random.default_rng(seed)
    stack = random_stack(random, int(random.integers(7, 15)), 128)
    image, mask = sitk.GetImageFromArray(stack.image * 100), sitk.GetImageFromArray(stack.mask.astype(np.uint8))
    for one in (image, mask):
        one.SetSpacing((1.0, 1.0, 5.0))
    return Case(f"made-up {seed}", image, mask)


def cases(options: argparse.Namespace) -> Iterator[tuple[str, str, Case]]:
    """Kind, origin and case, one of each kind after the other."""
    folds = json.loads(Path(options.folds[0]).read_text("utf-8"))
    patients = {name for fold in options.folds[1:] for name in folds[int(fold)]["val"]} - {*options.without}
    scans = {"cavity": (options.cavities, [CAVITY]), "myocardium": (options.myocardia, [MYOCARDIUM])}
    scans["both"] = (options.myocardia, [CAVITY, MYOCARDIUM])
    kinds: dict[tuple[str, str], list[Case]] = {
        (kind, "scans"): [case for case in cases_of(*which, None) if case.name.split("_p")[0] in patients]
        for kind, which in scans.items()
    }
    kinds["made-up", "made-up"] = [made_up(seed) for seed in range(50_000, 50_000 + options.cases)]
    for seed in range(9000, 9000 + 2 * options.cases):  # every other one also with noise
        how = {"spacing": (1.4, 1.4, 6.0), "slices": 16, "phase": "systole"} if seed % 2 else {}
        phantom = cine_stack(seed=seed, **how)
        for name, value in LABELS.items():
            case = Case(f"phantom {seed}", phantom.image, _union(phantom.labels, [value]))
            kinds.setdefault((f"{name} of phantoms", "phantoms"), []).append(case)
    for kind, origin in (("myocardium", "scans"), ("right ventricular cavity of phantoms", "phantoms")):
        noisy = (made_worse(Stack.of(case), "noise", n).case for n, case in enumerate(kinds[kind, origin][::2]))
        kinds[f"{kind}, noise", origin] = list(noisy)
    for number in range(options.cases):
        yield from ((*kind, found[number]) for kind, found in kinds.items() if number < len(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cavities", help="a data set with the cavity")
    parser.add_argument("myocardia", help="one with cavity and myocardium")
    parser.add_argument("--folds", nargs="+", required=True, help="a file of folds, and the numbers of some")
    parser.add_argument("--without", nargs="+", default=[], help="patients of whom the benchmark is made")
    parser.add_argument("--cases", type=int, default=4, help="of each kind")
    parser.add_argument("--model", type=Path, default=SHIPPED)
    options = parser.parse_args()
    model, rounds, seen = FillModel.load(options.model), [], {}
    for kind, origin, case in cases(options):
        seen[kind] = seen.get(kind, 0) + 1
        for count in IN_TURN[(seen[kind] - 1) % len(IN_TURN)]:
            one = round_of(kind, origin, case, count, model)
            if one:
                rounds.append(one)
                print(f"{kind}, {case.name}: {count} drawn, Dice {one.dice:.3f}, {one.known}", flush=True)
    held_out(rounds)
    calibration = calibration_of(rounds)
    print(calibration)
    replace(model, calibration=calibration).save(options.model)


if __name__ == "__main__":
    main()
