"""A robot user: draws k slices of a structure as the labels have them, lets the rest be filled, and compares.

    python Testing/bench/robot.py DATASET --label NAME --drawn 1 2 3 5 [--order even suggested random oracle]
        [--cases 12] [--model FOLDER] [--json FILE] [--png FILE]

DATASET: nnU-Net raw layout, or "phantoms" for stacks made on the spot. Compared with interpolation that does not see
the image: ITK's of contours (pip install itk-morphologicalcontourinterpolation; left out where it is absent), which
Slicer's "Fill between slices" uses, and the signed distance blended between the drawn slices. Dice over the slices that
were not drawn between the first and the last drawn one (of all other slices where one is drawn); HD95 there; ROI-ECE of
the error probability within 10 mm of either outline; seconds.

--order: the first and the last slice are drawn, then one more a round: evenly spaced, the one that the product
suggests, any, or the one with the most wrong pixels. Dice over all slices from the first to the last.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from csam.image import geometry
from csam.interactive.fill import UNKNOWN, FillOptions, Structure, fill
from csam.interactive.fill_model import SHIPPED, FillModel
from csam.interactive.interpolation import signed_distance
from csam.phantom import cine_stack
from csam.phantom.heart import LABELS
from csam.training import measures
from csam.training.dataset import read_dataset

REACH_MM = 10.0


@dataclass(frozen=True)
class Case:
    """image, truth: on one grid. truth: 1 where the structure is."""

    name: str
    image: sitk.Image
    truth: sitk.Image


def cases_of(dataset: str, names: list[str], count: int | None, first: int = 7000) -> Iterator[Case]:
    """The structure is the union of the labels of these names."""
    if dataset == "phantoms":
        for seed in range(first, first + (count or 12)):
            phantom = cine_stack(seed=seed, phase="systole" if seed % 2 else "diastole")
            yield Case(f"phantom {seed}", phantom.image, _union(phantom.labels, [LABELS[name] for name in names]))
        return
    data = read_dataset(dataset)
    values = json.loads((Path(dataset) / "dataset.json").read_text("utf-8"))["labels"]
    for case in data.cases[:count]:
        truth = _union(sitk.ReadImage(str(case.labels)), [values[name] for name in names])
        yield Case(case.name, sitk.ReadImage(str(case.images[0])), truth)


def _union(labels: sitk.Image, values: list[int]) -> sitk.Image:
    voxels = sitk.GetArrayFromImage(labels)
    return geometry.like(np.isin(voxels, values).astype(np.uint8), labels)


@dataclass(frozen=True)
class Stack:
    """A case in the orientation of its slices."""

    case: Case
    truth: np.ndarray
    orientation: geometry.Orientation
    spacing: tuple[float, ...]

    @classmethod
    def of(cls, case: Case) -> Stack:
        axis = geometry.axis_for(case.image, "auto")
        oriented = geometry.orientation(case.image.GetDirection(), axis)
        truth = np.ascontiguousarray(oriented.to_stack(sitk.GetArrayFromImage(case.truth))) > 0
        return cls(case, truth, oriented, tuple(case.image.GetSpacing()[a] for a in oriented.axes))

    def index(self, place: int) -> int:
        """A slice of the stack along the image's own slice axis."""
        axis = self.orientation.axes[0]
        return self.orientation.index(place, 0, 0, self.case.image.GetSize())[axis]

    @property
    def there(self) -> np.ndarray:
        return np.flatnonzero(self.truth.any((1, 2)))

    def drawing(self, drawn: list[int]) -> sitk.Image:
        labels = np.full(self.truth.shape, UNKNOWN, np.uint8)
        labels[drawn] = self.truth[drawn]
        return self.image_of(labels)

    def image_of(self, stack: np.ndarray) -> sitk.Image:
        return geometry.like(np.ascontiguousarray(self.orientation.from_stack(stack)), self.case.image)

    def stack_of(self, image: sitk.Image) -> np.ndarray:
        return np.ascontiguousarray(self.orientation.to_stack(sitk.GetArrayFromImage(image)))


def evenly(there: np.ndarray, count: int) -> list[int]:
    """As a person would: the first, the last, and those between them at equal distances; a single one in the middle."""
    if count == 1:
        return [int(there[len(there) // 2])]
    return sorted({int(there[round(place)]) for place in np.linspace(0, len(there) - 1, count)})


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """1 where neither shows anything."""
    value = measures.dice(found, truth)
    return 1.0 if value is None else value


def contour_interpolation(stack: Stack, drawn: list[int]) -> np.ndarray | None:
    try:
        import itk
    except ImportError:
        return None
    labels = np.zeros(stack.truth.shape, np.uint8)
    labels[drawn] = stack.truth[drawn]
    image = itk.image_from_array(labels)
    between = itk.MorphologicalContourInterpolator.New(image)
    between.SetAxis(2)
    between.Update()
    return itk.array_from_image(between.GetOutput()) > 0


def distance_interpolation(stack: Stack, drawn: list[int]) -> np.ndarray:
    """Plain: blended where they lie."""
    distances = {n: signed_distance(stack.truth[n], stack.spacing[1:]) for n in drawn}
    found = np.zeros(stack.truth.shape, bool)
    for index in range(len(found)):
        below, above = (
            max([n for n in drawn if n <= index], default=None),
            min([n for n in drawn if n >= index], default=None),
        )
        if below is None or above is None:
            continue
        share = (index - below) / max(1, above - below)
        found[index] = (1 - share) * distances[below] + share * distances[above] > 0
    return found


@dataclass
class Row:
    """What came of one case with k slices drawn. ours: of the undrawn slices. whole: of all of them, as the expected
    Dice is."""

    case: str
    drawn: int
    ours: float
    whole: float
    contour: float | None
    distance: float
    hd95: float
    reliability: tuple[list[float], list[float], list[int]]
    expected_dice: float
    volume_inside: bool
    volume_width: float
    seconds: float


def measure(stack: Stack, drawn: list[int], model: FillModel | None, options: FillOptions) -> Row | None:
    inner = [n for n in range(drawn[0], drawn[-1]) if n not in drawn]
    if len(drawn) == 1:
        inner = [n for n in range(len(stack.truth)) if n not in drawn]
    if not inner:
        return None
    started = time.perf_counter()
    result = fill(stack.case.image, stack.drawing(drawn), [Structure(1, "structure")], model, options)
    seconds = time.perf_counter() - started
    found, error = stack.stack_of(result.labels) > 0, stack.stack_of(result.error_probability)
    assert (found[drawn] == stack.truth[drawn]).all(), "a drawn slice was changed"
    truth = stack.truth[inner]
    contour = contour_interpolation(stack, drawn)
    volume = result.structures[0]
    voxel = geometry.voxel_volume(stack.case.image) / 1000
    part = sorted([*inner, *drawn])
    true_ml = stack.truth[part].sum() * voxel
    return Row(
        stack.case.name,
        len(drawn),
        dice(found[inner], truth),
        dice(found[part], stack.truth[part]),
        None if contour is None else dice(contour[inner], truth),
        dice(distance_interpolation(stack, drawn)[inner], truth),
        hd95(found[inner], truth, stack.spacing),
        reliability(found[inner], truth, error[inner], stack.spacing),
        result.case_quality,
        bool(volume.low_ml <= true_ml <= volume.high_ml),
        (volume.high_ml - volume.low_ml) / max(true_ml, 1e-6),
        seconds,
    )


def hd95(found: np.ndarray, truth: np.ndarray, spacing) -> float:
    """In-plane, mm, mean over the slices that show both."""
    values = []
    for a, b in zip(found, truth, strict=True):
        if a.any() and b.any():
            one, other = (np.abs(signed_distance(m, spacing[1:])) for m in (a, b))
            edges = [np.abs(d) <= max(spacing[1:]) for d in (one, other)]
            values.append(np.percentile(np.r_[other[edges[0]], one[edges[1]]], 95))
    return float(np.mean(values)) if values else float("nan")


def reliability(found, truth, error, spacing) -> tuple[list[float], list[float], list[int]]:
    """Sums of stated error probability and of errors, and counts, in ten bins, within REACH_MM of an outline."""
    near = np.stack(
        [
            np.maximum(*(signed_distance(m, spacing[1:]) for m in (a, b))) > -REACH_MM
            for a, b in zip(found, truth, strict=True)
        ]
    )
    stated, wrong = error[near], (found != truth)[near]
    bins = np.minimum((stated * 10).astype(int), 9)
    sums = (np.bincount(bins, weights, minlength=10).tolist() for weights in (stated, wrong))
    return (*sums, np.bincount(bins, minlength=10).tolist())


def pooled_ece(rows: list[Row]) -> float:
    stated, wrong, count = (np.sum([row.reliability[n] for row in rows], 0) for n in range(3))
    return float(np.abs(stated - wrong).sum() / count.sum())


def summary(rows: list[Row]) -> dict:
    """Means over cases; better: of the two interpolations; closed: share of what it lacks to 1."""
    ours, distance = np.array([r.ours for r in rows]), np.array([r.distance for r in rows])
    contour = np.array([r.distance if r.contour is None else r.contour for r in rows])
    better = max(distance.mean(), contour.mean())
    worse = ours < np.maximum(distance, contour) - 0.02
    return {
        "cases": len(rows),
        "ours": ours.mean(),
        "contour": contour.mean(),
        "distance": distance.mean(),
        "closed": (ours.mean() - better) / (1 - better),
        "worse_by_0.02": int(worse.sum()),
        "worst": rows[int((ours - np.maximum(distance, contour)).argmin())].case,
        "worst_difference": float((ours - np.maximum(distance, contour)).min()),
        "hd95": float(np.nanmean([r.hd95 for r in rows])),
        "roi_ece": pooled_ece(rows),
        "expected_dice_error": float(np.mean([abs(r.expected_dice - r.whole) for r in rows])),
        "covered": float(np.mean([r.volume_inside for r in rows])),
        "width": float(np.median([r.volume_width for r in rows])),
        "seconds": float(np.median([r.seconds for r in rows])),
    }


def rounds(
    stack: Stack, order: str, most: int, model: FillModel | None, options: FillOptions, seed: int
) -> list[float]:
    """Dice from the first to the last slice after two, three, … ``most`` drawn ones."""
    random, found, memory = np.random.default_rng(seed), [], {}
    drawn = evenly(stack.there, 2)
    part = range(drawn[0], drawn[-1] + 1)
    while True:
        if order == "even":
            drawn = evenly(stack.there, len(found) + 2)
        undrawn = [n for n in part if n not in drawn]
        if not undrawn:
            return [*found, *[1.0] * (most - 1 - len(found))]
        result = fill(
            stack.case.image, stack.drawing(drawn), [Structure(1, "structure")], model, options, memory=memory
        )
        labels = stack.stack_of(result.labels) > 0
        found.append(dice(labels[list(part)], stack.truth[list(part)]))
        if len(found) == most - 1:
            return found
        if order == "suggested":
            first = result.ranked_slices()[0].index
            place = next(n for n in undrawn if stack.index(n) == first)
        elif order == "oracle":
            place = max(undrawn, key=lambda n: int((labels[n] != stack.truth[n]).sum()))
        else:
            place = int(random.choice(undrawn))
        drawn = sorted([*drawn, place])


def seconds_of_rounds(stack: Stack, model: FillModel | None, options: FillOptions) -> tuple[float, float]:
    """Of the first round, with three drawn slices, and of the second, with one more."""
    memory, seconds = {}, []
    for count in (3, 4):
        begun = time.perf_counter()
        drawing = stack.drawing(evenly(stack.there, count))
        fill(stack.case.image, drawing, [Structure(1, "structure")], model, options, memory=memory)
        seconds.append(time.perf_counter() - begun)
    return tuple(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--label", nargs="+", required=True, help="a structure; several are one together")
    parser.add_argument("--drawn", nargs="+", type=int, default=[])
    parser.add_argument("--cases", type=int, help="the first so many")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a folder; none for interpolation alone")
    parser.add_argument("--no-network", action="store_true", help="interpolation alone")
    parser.add_argument("--no-tuning", action="store_true")
    parser.add_argument("--seeds", type=int, default=4, help="how often to draw in random order")
    parser.add_argument("--order", nargs="+", choices=("even", "suggested", "random", "oracle"), default=[])
    parser.add_argument("--times", action="store_true", help="seconds of the first and the second round")
    parser.add_argument("--json", type=Path, help="is added to")
    parser.add_argument("--png", type=Path, help="a chart of all that is in the file")
    options = parser.parse_args()
    model = None if options.no_network else FillModel.load(options.model)
    how = FillOptions(device="cpu", tune=not options.no_tuning)
    stacks = [Stack.of(case) for case in cases_of(options.dataset, options.label, options.cases)]
    stacks = [stack for stack in stacks if len(stack.there) >= 4]
    report = {"drawn": {}, "orders": {}}
    for count in options.drawn:
        rows = [measure(stack, evenly(stack.there, count), model, how) for stack in stacks]
        rows = [row for row in rows if row]
        if rows:
            found = summary(rows)
            print(count, " ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()))
            rows = [{k: v for k, v in vars(row).items() if k != "reliability"} for row in rows]
            report["drawn"][str(count)] = found | {"rows": rows}
    if options.times:
        first, second = np.median([seconds_of_rounds(stack, model, how) for stack in stacks], 0)
        slices = [len(stack.truth) for stack in stacks]
        print(
            f"{min(slices)} to {max(slices)} slices, {torch.get_num_threads()} threads: first round {first:.1f} s, "
            f"second {second:.1f} s (medians)"
        )
    for order in options.order:
        seeds = range(options.seeds if order == "random" else 1)
        after = np.array([rounds(stack, order, 6, model, how, seed) for seed in seeds for stack in stacks])
        report["orders"][order] = after.mean(0).round(4).tolist()
        print(f"{order}: Dice after 2, 3, … drawn slices {' '.join(f'{d:.3f}' for d in after.mean(0))}")
    if options.json:
        known = json.loads(options.json.read_text("utf-8")) if options.json.is_file() else {}
        key = f"{Path(options.dataset).name}: {' + '.join(options.label)}"
        before = known.get(key, {"drawn": {}, "orders": {}})
        known[key] = {part: before[part] | report[part] for part in ("drawn", "orders")}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
        if options.png:
            chart(known, options.png)


def chart(known: dict, png: Path) -> None:
    """Dice of the undrawn slices against the number of drawn ones, one picture a structure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = {key: found["drawn"] for key, found in known.items() if found["drawn"]}
    figure, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.2), sharey=True, squeeze=False)
    names = {"ours": "Fill the rest", "contour": "contour interpolation", "distance": "signed distance"}
    for axis, (key, drawn) in zip(axes[0], shown.items(), strict=True):
        counts = sorted(drawn, key=int)
        for name, label in names.items():
            shown_counts = [k for k in counts if name == "ours" or int(k) > 1]  # one slice cannot be interpolated
            axis.plot([int(k) for k in shown_counts], [drawn[k][name] for k in shown_counts], "o-", label=label)
        axis.set_xticks([int(k) for k in counts])
        axis.set_title(key.replace(": ", "\n"), fontsize=8)
        axis.set_xlabel("slices drawn")
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("Dice of the other slices")
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="lower center", ncol=3, fontsize=8)
    figure.savefig(png, dpi=110)


if __name__ == "__main__":
    torch.set_num_threads(max(1, torch.get_num_threads()))
    main()
