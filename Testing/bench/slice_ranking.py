"""Do the slices that are ranked first hold the errors? By voxels alone, and with what neighbouring slices tell.

    python Testing/bench/slice_ranking.py DATASET --folds CROSS-VALIDATION [--worse] [--phantoms DIR] [--store MODEL]

Every scan is segmented by the model to which its patient is unseen, and the weights of the facts
(csam.uncertainty.slice_ranking) are learned without that patient. --worse adds scans made worse (see held_out.py),
--phantoms those of a data set that taught no model
(`csam phantom DIR --count 40 --seed 5000 --structure left-ventricle`): they have slices beyond
base and apex. Runs are kept in OUT/held-out. Prints a table, writes OUT/slice_ranking.json. --store writes the weights
that all of these scans teach into a model's model.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from assessment import near
from compare_uncertainty import rounded
from held_out import INVERTED, OTHER, PHANTOM, RESLICED, WORSE, Scan, scans
from paired import public

from csam.model import Calibration, Model
from csam.training import measures
from csam.training.calibrate import error_map
from csam.training.learn_ranking import SliceFacts, fit
from csam.uncertainty.measures import calibrated_error_probability
from csam.uncertainty.slice_ranking import SliceRisk, of_stack

OUT = Path("out/bench/slices")
UNTAUGHT = (INVERTED, RESLICED, OTHER)
"""What is refused or warned of as a whole: here no slice is better than another, and none teaches."""
FIRST = 3
STANDS_OUT = (2.0, 0.15)
"""A worst slice stands out with so many times the middle slice's wrong area, and this share of the largest area."""


@dataclass(frozen=True)
class Ranked:
    """A scan with the calibration of other patients' voxels. expected: by voxels alone, mm² a slice."""

    scan: Scan
    facts: SliceFacts
    expected: np.ndarray

    @property
    def stands_out(self) -> bool:
        times, share = STANDS_OUT
        wrong, largest = self.facts.wrong, (self.scan.labels > 0).sum((1, 2)).max() * self.scan.pixel_mm2
        return wrong.max() >= times * np.median(wrong) and wrong.max() > share * largest


def maps(found: Sequence[Scan]) -> list[tuple]:
    """The calibration of the voxels for every fold, from the plain scans of the others."""
    plain = []
    for scan in found:
        if scan.kind == "none":
            region = near((scan.labels > 0) | (scan.truth > 0), scan.spacing)
            plain.append((scan.fold, scan.error[region], (scan.labels != scan.truth)[region]))
    out = []
    for fold in range(max(scan.fold for scan in found) + 1):
        others = [one for one in plain if one[0] != fold] or plain
        out.append(error_map(*(np.concatenate([one[k] for one in others]) for k in (1, 2))))
    return out


def ranked(found: Sequence[Scan]) -> list[Ranked]:
    of_voxels, out = maps(found), []
    for scan in found:
        if scan.kind in UNTAUGHT or not (scan.labels > 0).any():
            continue
        error = calibrated_error_probability(1 - scan.error, of_voxels[scan.fold])
        facts = of_stack(scan.labels, error, scan.image, scan.spacing[1:])
        expected = error.sum((1, 2)) * scan.pixel_mm2
        out.append(Ranked(scan, SliceFacts(scan.patient, facts, scan.wrong_mm2), expected))
    return out


def crossed(found: Sequence[Ranked], teachers: Sequence[Ranked]) -> list[np.ndarray]:
    """The expected areas of every scan, with the weights that the patients of other folds teach."""
    risks: dict[int, SliceRisk | None] = {}
    for fold in {one.scan.fold for one in found}:
        risks[fold] = fit([one.facts for one in teachers if one.scan.fold != fold])
        if risks[fold] is None:
            raise SystemExit("Too few patients to learn from. Give a cross-validation with more folds.")
    return [risks[one.scan.fold].expected(one.facts.facts, one.expected.sum()) for one in found]


def figures(found: Sequence[Ranked], expected: Sequence[np.ndarray]) -> dict[str, float | None]:
    pairs = [(areas, one.facts.wrong) for one, areas in zip(found, expected, strict=True)]
    return {
        "worst first": measures.mean([measures.worst_is_among_first(a, w, 1) for a, w in pairs]),
        "worst in first 3": measures.mean([measures.worst_is_among_first(a, w, FIRST) for a, w in pairs]),
        "Spearman": measures.mean([measures.rank_correlation(a, w) for a, w in pairs]),
        "found in 3": measures.mean([_share(a, w) for a, w in pairs]),
        "stated / wrong area": sum(a.sum() for a, _ in pairs) / max(1e-9, sum(w.sum() for _, w in pairs)),
    }


def chance(found: Sequence[Ranked]) -> dict[str, float | None]:
    """Of slices in any order."""
    wrong = [one.facts.wrong for one in found if one.facts.wrong.any()]
    return {
        "worst first": float(np.mean([1 / len(w) for w in wrong])),
        "worst in first 3": float(np.mean([min(1, FIRST / len(w)) for w in wrong])),
        "Spearman": 0.0,
        "found in 3": measures.mean([min(FIRST, len(w)) * w.mean() / np.sort(w)[-FIRST:].sum() for w in wrong]),
        "stated / wrong area": None,
    }


def _share(expected: np.ndarray, wrong: np.ndarray) -> float | None:
    """Share of the wrong area in the first three slices, of the most that three slices hold."""
    most = np.sort(wrong)[-FIRST:].sum()
    return float(wrong[np.argsort(-expected, kind="stable")[:FIRST]].sum() / most) if most else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--folds", type=Path, required=True, help="the folder of a cross-validation")
    parser.add_argument("--worse", action="store_true", help="also scans made worse")
    parser.add_argument("--phantoms", type=Path, help="also these, of seeds that taught no model")
    parser.add_argument("--store", type=Path, help="a model's folder, whose model.json gets the weights")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    worse = [kind for kind in WORSE if kind not in UNTAUGHT] if options.worse else []
    found = ranked(list(scans(options.dataset, options.folds, options.out / "held-out", worse, options.phantoms)))
    plain = [one for one in found if one.scan.kind == "none"]
    groups = {
        "scans as they are": plain,
        "scans made worse": [one for one in found if one.scan.kind in worse],
        "phantoms": [one for one in found if one.scan.kind == PHANTOM],
    }
    groups |= {f"{name}, a slice stands out": [one for one in some if one.stands_out] for name, some in groups.items()}
    table: dict[str, dict] = {}
    for name, some in groups.items():
        if not some:
            continue
        rows = {
            "chance": chance(some),
            "voxels alone": figures(some, [one.expected for one in some]),
            "learned from scans as they are": figures(some, crossed(some, plain)),
            "learned from all of these": figures(some, crossed(some, found)),
        }
        table[name] = {"scans": len(some), **rows}
        print(f"\n{name} ({len(some)})\n{'':32s}" + "".join(f"{title:>22s}" for title in rows["chance"]))
        for row, values in rows.items():
            print(f"{row:32s}" + "".join(f"{'-' if v is None else format(v, '.3f'):>22s}" for v in values.values()))
    risk = fit([one.facts for one in found])
    print("\nweights (each with the highest value it counts to):")
    for name, (weight, highest) in (risk.facts if risk else {}).items():
        print(f"{name:20s}{weight:8.3f}{highest:8.3f}   at most × {np.exp(weight * highest):.2f}")
    command = shlex.join(["python", "Testing/bench/slice_ranking.py", *public(sys.argv[1:])])
    options.out.mkdir(parents=True, exist_ok=True)
    values = rounded({"command": command, "groups": table, "weights": risk.facts if risk else {}})
    (options.out / "slice_ranking.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    if options.store and risk:
        store(options.store, risk)
        print(f"Stored in {options.store}.")


def store(folder: Path, risk: SliceRisk) -> None:
    """Gives every calibration of a model these weights; nothing else of it changes."""
    model = Model.load(folder)
    named = [name for name in vars(model) if isinstance(getattr(model, name), Calibration)]
    replace(model, **{name: replace(getattr(model, name), slice_risk=risk) for name in named}).save(folder)


if __name__ == "__main__":
    main()
