"""Do warnings warn? Precision and recall of every warning for a poor result, on held-out scans and on those made worse.

    python Testing/bench/warnings_worth.py DATASET --folds CROSS-VALIDATION [--phantoms DIR] [--others IMAGE ...]

Every scan is assessed by the model that has not seen its patient; the case quality is calibrated on the other folds. A
result is poor below a Dice of POOR, and always where the image shows another anatomy (--others).
precision: share of the scans warned of that are poor; recall: share of the poor that are warned of; chance: share
of all scans that are poor, the precision of a warning that knows nothing. Runs are kept in OUT/held-out; prints tables,
writes OUT/warnings.json.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from compare_uncertainty import rounded
from held_out import OTHER, WORSE, Scan, scans
from paired import public

from csam.uncertainty.expected_error import case_quality
from csam.uncertainty.expected_error import is_poor as is_said

OUT = Path("out/bench/slices")
POOR = 0.86
UNKNOWN = "not calibrated"
BOUNDS = (0.9, 0.86, 0.8, 0.7)
RANKS = (0.2, 0.1, 0.0)
ONE = "THE ONE SENTENCE: not found, or may be poor (csam.uncertainty.expected_error)"


def is_poor(scan: Scan) -> bool:
    return scan.kind == OTHER or scan.dice < POOR


def qualities(found: Sequence[Scan]) -> list[tuple[float, float]]:
    """Every scan's case quality and its rank among the plain scans, both calibrated on the other folds."""
    out = []
    for scan in found:
        others = [one for one in found if one.kind == "none" and one.fold != scan.fold]
        scale = sum(1 - one.dice for one in others) / sum(1 - one.quality for one in others)
        quality = case_quality(scan.quality, scale)
        reference = [case_quality(one.quality, scale) for one in others]
        out.append((quality, float(np.mean(np.less(reference, quality)))))
    return out


def told(scan: Scan, quality: float, rank: float) -> set[str]:
    """The names of all warnings that a scan gets, or would get: sentences without their numbers and names."""
    said = {
        ("before: " if s in scan.checked else "") + _kind(s) for s in (*scan.checked, *scan.warned) if UNKNOWN not in s
    }
    something = (scan.labels > 0).any()
    if something:
        said |= {f"expected Dice below {bound}" for bound in BOUNDS if quality < bound}
        said |= {f"higher than in at most {rank_:.0%} of the validation scans" for rank_ in RANKS if rank <= rank_}
    else:
        said.add("nothing was found")
    if not something or is_said(rank):
        said.add(ONE)
    return said


def _kind(sentence: str) -> str:
    return re.sub(r"\d[\d.,×%]*", "…", sentence)[:80]


def rows(found: Sequence[Scan], warned: Sequence[set[str]]) -> dict[str, dict]:
    poor = np.array([is_poor(scan) for scan in found])
    out = {}
    for name in sorted(set().union(*warned)):
        fired = np.array([name in some for some in warned])
        right = int((fired & poor).sum())
        out[name] = {
            "fired": int(fired.sum()),
            "precision": right / fired.sum(),
            "recall": right / poor.sum() if poor.any() else None,
            "chance": float(poor.mean()),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--folds", type=Path, required=True, help="the folder of a cross-validation")
    parser.add_argument("--phantoms", type=Path, help="also these, of seeds that taught no model")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="images of another anatomy")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    found = list(
        scans(options.dataset, options.folds, options.out / "held-out", WORSE, options.phantoms, options.others)
    )
    assessed = qualities(found)
    warned = [told(scan, *one) for scan, one in zip(found, assessed, strict=True)]
    kinds = {kind: [n for n, scan in enumerate(found) if scan.kind == kind] for kind in {scan.kind for scan in found}}
    print(f"{'':20s}{'scans':>7s}{'poor':>7s}{'Dice':>8s}{'expected':>10s}")
    for kind in sorted(kinds, key=lambda kind: (kind != "none", kind)):
        some = kinds[kind]
        poor, dice = ([f(found[n]) for n in some] for f in (is_poor, lambda scan: scan.dice))
        expected = np.mean([assessed[n][0] for n in some])
        print(f"{kind:20s}{len(some):7d}{sum(poor):7d}{np.mean(dice):8.3f}{expected:10.3f}")
    groups = {"scans as they are": kinds["none"], "all": range(len(found))}
    table = {}
    for name, some in groups.items():
        table[name] = rows([found[n] for n in some], [warned[n] for n in some])
        print(f"\n{name} ({len(some)})\n{'warning':82s}{'fired':>7s}{'precision':>11s}{'recall':>8s}{'chance':>8s}")
        for warning, row in sorted(table[name].items(), key=lambda item: -item[1]["precision"]):
            recall = "-" if row["recall"] is None else f"{row['recall']:.2f}"
            print(f"{warning:82s}{row['fired']:7d}{row['precision']:11.2f}{recall:>8s}{row['chance']:8.2f}")
    command = shlex.join(["python", "Testing/bench/warnings_worth.py", *public(sys.argv[1:])])
    options.out.mkdir(parents=True, exist_ok=True)
    values = rounded({"command": command, "poor_below": POOR, "groups": table})
    (options.out / "warnings.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
