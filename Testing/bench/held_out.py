"""What models of a cross-validation make of unseen scans, as they are, made worse, or other: kept on disk.

Every scan is run once, in one orientation and without a calibration, and kept in OUT as arrays, so that figures of
slices and of warnings cost seconds, and a stopped run goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np
import SimpleITK as sitk
from compare_uncertainty import from_folds, split
from degrade import SHIFTS, degrade

from csam.image import geometry
from csam.model import Calibration, Model
from csam.pipeline import input_check
from csam.pipeline.segment import segment
from csam.result import Options, StructureVolume
from csam.training import measures
from csam.training.cross_validation import FOLDS
from csam.training.dataset import Case, read_dataset

INVERTED, RESLICED, PHANTOM, OTHER = "inverted contrast", "other orientation", "phantom", "other anatomy"
WORSE = (*SHIFTS[1:], INVERTED, RESLICED)
SHARE = 3
"""One scan in so many is made worse in each way; which ones, their names decide."""
SAMPLES = 2
"""The fewest that a run takes: without gates they are all alike."""


@dataclass(frozen=True)
class Scan:
    """One scan as a run left it, in the stack's orientation: arrays (S, H, W).

    error: its probability before calibration. fold: whose model ran it. kind: "none", one of WORSE, PHANTOM, OTHER.
    said: the run's warnings and those of the check before it, one or more of them. spacing: slice, row, column, mm.
    """

    name: str
    patient: str
    fold: int
    kind: str
    image: np.ndarray
    labels: np.ndarray
    truth: np.ndarray
    error: np.ndarray
    spacing: tuple[float, float, float]
    quality: float
    checked: tuple[str, ...]
    warned: tuple[str, ...]

    @property
    def pixel_mm2(self) -> float:
        return self.spacing[1] * self.spacing[2]

    @property
    def wrong_mm2(self) -> np.ndarray:
        return (self.labels != self.truth).sum((1, 2)) * self.pixel_mm2

    @property
    def dice(self) -> float:
        """The mean over structures; 0 where something was found and nothing is there, 1 where neither is."""
        values = np.union1d(np.unique(self.labels), np.unique(self.truth))
        found = measures.mean([measures.dice(self.labels == v, self.truth == v) for v in values[values > 0]])
        return 1.0 if found is None else found


def scans(
    dataset: Path,
    folds: Path,
    out: Path,
    worse: Sequence[str] = (),
    phantoms: Path | None = None,
    others: Sequence[Path] = (),
) -> Iterator[Scan]:
    """Every held-out scan by the model that has not learned from its patient; those of ``worse`` of one in SHARE.

    phantoms: a data set of them, with seeds that taught no model, and others: images without the structure. The models
    share them out.
    """
    ensembles = [models[:1] for models in from_folds(folds)]
    held, _ = split(dataset, ensembles)
    models = [models[0] for models in ensembles]
    jobs = [("none", held_out.case, models.index(held_out.models[0])) for held_out in held]
    plain = list(jobs)
    for kind in worse:
        jobs += [(kind, case, fold) for _, case, fold in plain if crc32((case.name + kind).encode()) % SHARE == 0]
    if phantoms is not None:
        cases = read_dataset(phantoms, "(.*)").cases
        jobs += [(PHANTOM, case, number % FOLDS) for number, case in enumerate(cases) if number % FOLDS < len(models)]
    jobs += [(OTHER, path, number % FOLDS) for number, path in enumerate(others) if number % FOLDS < len(models)]
    for kind, case, fold in jobs:
        yield _scan(kind, case, fold, models[fold], out)


def _scan(kind: str, case: Case | Path, fold: int, model: Model, out: Path) -> Scan:
    name = case.name if isinstance(case, Case) else case.name.split(".")[0]
    patient = case.patient if isinstance(case, Case) else name
    path = out / model.sha256[:12] / kind.replace(" ", "-") / f"{name}.npz"
    if not path.exists():
        started = time.perf_counter()
        arrays = _run(kind, case, model)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(partial, **arrays)
        partial.replace(path)
        print(f"{kind:20s}{name:24s}{time.perf_counter() - started:6.1f} s", flush=True)
    with np.load(path) as kept:
        told = json.loads(str(kept["told"]))
        return Scan(
            name, patient, fold, kind, kept["image"], kept["labels"], kept["truth"],
            kept["error"].astype(np.float32), tuple(kept["spacing"].tolist()),
            told["quality"], tuple(told["checked"]), tuple(told["warned"]),
        )  # fmt: skip


def _run(kind: str, case: Case | Path, model: Model) -> dict[str, np.ndarray]:
    if isinstance(case, Case):
        (image, *_), truth = case.read()
    else:
        image = sitk.ReadImage(str(case))
        truth = sitk.Image(image.GetSize(), sitk.sitkUInt8)
        truth.CopyInformation(image)
    image, truth = _made(kind, image, truth, model)
    plain = replace(model, calibration=Calibration(), free_orientation=False)
    checked = input_check.check([image], plain)
    result = segment(image, plain, Options(samples=SAMPLES, device="cpu"))
    oriented = geometry.orientation(image.GetDirection(), result.slice_axis)

    def stacked(some: sitk.Image) -> np.ndarray:
        return np.ascontiguousarray(oriented.to_stack(geometry.array_of(some)))

    told = {"quality": result.case_quality, "checked": checked, "warned": result.warnings[len(checked) :]}
    return {
        "image": stacked(image).astype(np.float32),
        "labels": stacked(result.labels).astype(np.uint8),
        "truth": stacked(truth).astype(np.uint8),
        "error": stacked(result.error_probability).astype(np.float16),
        "spacing": np.array([image.GetSpacing()[a] for a in oriented.axes]),
        "told": np.array(json.dumps(told)),
    }


def _made(kind: str, image: sitk.Image, truth: sitk.Image, model: Model) -> tuple[sitk.Image, sitk.Image]:
    """The scan and its truth under a change. A phantom gets one of its own, or none, by what it shows."""
    axis = geometry.axis_for(image, model.slice_axis)
    oriented = geometry.orientation(image.GetDirection(), axis)
    stack = oriented.to_stack(geometry.array_of(image)).astype(np.float32)
    labels = oriented.to_stack(sitk.GetArrayFromImage(truth))
    if kind == PHANTOM:
        changes = ("none", "noise", "low contrast", "bias field", "misaligned slice", "empty slice")
        kind = changes[int(stack.sum(dtype=np.float64)) % len(changes)]
    if kind == INVERTED:
        stack = stack.max() - stack
    elif kind == RESLICED:
        return _resliced(image, axis), _resliced(truth, axis, labels=True)
    elif kind in SHIFTS:
        pixels = round(10 / image.GetSpacing()[oriented.axes[-1]])
        stack, labels = degrade(stack, labels, kind, pixels, seed=1)
    return tuple(
        geometry.like(np.ascontiguousarray(oriented.from_stack(a)), image) for a in (stack, labels.astype(np.uint8))
    )


def _resliced(image: sitk.Image, axis: int, labels: bool = False) -> sitk.Image:
    """Thick slices across the rows, as a long-axis stack: the scan's rows become its slices."""
    spacing, size = list(image.GetSpacing()), list(image.GetSize())
    row = next(a for a in (1, 2, 0) if a != axis)
    fine, thick = spacing[row], spacing[axis]
    extent = [n * s for n, s in zip(size, spacing, strict=True)]
    spacing[axis], spacing[row] = fine, thick
    size = [max(1, round(e / s)) for e, s in zip(extent, spacing, strict=True)]
    how = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    return sitk.Resample(image, size, sitk.Transform(), how, image.GetOrigin(), spacing, image.GetDirection())


def structures(scan: Scan, model: Model) -> list[StructureVolume]:
    """The volumes of a scan as a run has them, without an interval."""
    voxel = float(np.prod(scan.spacing)) / 1000
    volumes = [(label, float((scan.labels == label.value).sum()) * voxel) for label in model.labels]
    return [StructureVolume(label.value, label.name, v, v, v, v) for label, v in volumes]
