"""By how much are the numbers of a case wrong? Ejection fraction, expected Dice and the order of slices, with chance.

    python Testing/bench/case_errors.py Resources/Benchmarks/cardiac-lv.json --dataset Dataset101_CardiacLV

Takes the JSON file that ``csam evaluate`` or a cross-validation leaves. Of each patient with two scans the larger true
volume is end diastole. Chance is what a constant would do: everyone's mean. --dataset adds the chance of a slice list
whose order is random: 3 of n slices. Prints a table.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk

FIRST = 3


def pairs(cases: dict[str, dict]) -> list[tuple[dict, dict]]:
    """End diastole and end systole of every patient who has exactly two scans."""
    patients = defaultdict(list)
    for case in cases.values():
        patients[case["patient"]].append(case)
    two = [sorted(scans, key=lambda case: -case["truth_ml"][0]) for scans in patients.values() if len(scans) == 2]
    return [(diastole, systole) for diastole, systole in two]


def ejection_fraction(diastole: dict, systole: dict, volume: str) -> float:
    """In per cent: 100 · (EDV − ESV) / EDV. volume: "truth_ml" or "volume_ml"; of the first structure."""
    return 100 * (1 - systole[volume][0] / diastole[volume][0])


def errors(found, true) -> dict[str, float]:
    """Mean absolute error, bias (found − true), the largest, and what saying the mean would have given."""
    found, true = np.asarray(found, float), np.asarray(true, float)
    difference = found - true
    return {
        "mean": float(np.abs(difference).mean()),
        "bias": float(difference.mean()),
        "largest": float(np.abs(difference).max()),
        "chance": float(np.abs(true - true.mean()).mean()),
    }


def chance_of_first(slices: list[int]) -> float:
    """How often a list in random order has the worst of n slices among its first three: the mean of 3/n."""
    return float(np.mean([min(1, FIRST / count) for count in slices]))


def slices_of(dataset: Path, name: str) -> int:
    """The number of slices of a case: the samples along the axis of the largest spacing."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(next((dataset / "labelsTr").glob(f"{name}.*"))))
    reader.ReadImageInformation()
    return reader.GetSize()[int(np.argmax(reader.GetSpacing()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path)
    parser.add_argument("--dataset", type=Path, help="nnU-Net's raw layout, for the number of slices")
    options = parser.parse_args()
    cases = json.loads(options.figures.read_text(encoding="utf-8"))["cases"]
    both = pairs(cases)
    table = {}
    if both:
        of = {volume: [ejection_fraction(*pair, volume) for pair in both] for volume in ("volume_ml", "truth_ml")}
        table[f"Ejection fraction of {len(both)} patients, points"] = errors(of["volume_ml"], of["truth_ml"])
    expected, true = zip(*((c["case_quality"], np.mean(c["dice"])) for c in cases.values()), strict=True)
    table[f"Expected Dice of {len(cases)} scans"] = errors(expected, true)
    print(f"{'':42s}{'mean error':>12s}{'bias':>10s}{'largest':>10s}{'chance':>10s}")
    for name, row in table.items():
        print(f"{name:42s}{row['mean']:12.3f}{row['bias']:+10.3f}{row['largest']:10.3f}{row['chance']:10.3f}")
    if options.dataset:
        share = np.mean([case["worst_slice_in_first_three"] for case in cases.values()])
        chance = chance_of_first([slices_of(options.dataset, name) for name in cases])
        print(f"Worst slice among the first {FIRST}: {share:.2f}, chance {chance:.2f}")


if __name__ == "__main__":
    main()
