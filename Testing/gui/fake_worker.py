"""A worker that needs no torch, for tests of the panel: the real worker's loop with a made result.

Its argument is a folder; the file "mode" in it says how it behaves from the next request on:

quick    a result at once (also when there is no such file)
slow     a result after a minute, with progress; hears a cancel
deaf     a result after a minute, and hears no cancel
no-torch its hello says that torch cannot be imported
damaged-torch  the same, and an installation would not help
no-gpu   its GPU is there but cannot be used
cpu-speed it measures the CPU, as the GPU failed at it; runs are on the CPU too
lost     its GPU is lost in every run that is not on the CPU
no-speed  it measures no model
empty    a result at once, in which nothing was found
bench    a result of all structures after half a second
oracle   a result at once whose first structure is the truth in truth.npz, by the sum of the image's voxels
broken   every segmentation ends in an error of the model
dies     it ends in every case of a batch
"""

import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from csam.errors import Cancelled, DeviceLost, ModelError
from csam.model import shipped
from csam.process import batching, worker
from csam.process.protocol import pack_result, unpack_options
from csam.result import REGION, WHOLE, Options, Progress, Result, SliceScore, StructureVolume

NO_TORCH = "PyTorch is not installed for the Python that runs the worker."

DAMAGED_TORCH = "PyTorch is installed, but cannot be imported. Uninstall it."


def mode() -> str:
    path = Path(sys.argv[1]) / "mode"
    return path.read_text().strip() if path.is_file() else "quick"


def hello(request, models):
    how = mode()
    torch = None if how in ("no-torch", "damaged-torch") else "2.13.0"
    devices = [
        {"id": "cuda:0", "name": "NVIDIA Test GPU", "free_bytes": 11 * 2**30, "threads": None},
        {"id": "cpu", "name": "x86_64", "free_bytes": None, "threads": 8},
    ]
    unusable = []
    if how == "no-gpu":
        devices, gpu = devices[1:], devices[0]
        unusable = [{"id": gpu["id"], "name": gpu["name"], "reason": "CUDA error: no kernel image is available"}]
    request.reply(
        "hello",
        version="0",
        python="3",
        executable="",
        torch=torch,
        reason={"no-torch": NO_TORCH, "damaged-torch": DAMAGED_TORCH}.get(how),
        installable=how == "no-torch",
        devices=devices if torch else [],
        unusable=unusable,
    )


def load(request, models):
    model = models.get(request.field("model"))
    speed = (
        {"fixed": 1.0, "sample": 0.1, "num_orientations": 1, "of_a_later_version": 7} if mode() != "no-speed" else None
    )
    request.reply(
        "loaded", model=model.description(), speed=speed, device="cpu" if mode() == "cpu-speed" else request.device
    )


def segment(request, models):
    labels = models.get(request.field("model")).labels
    images = request.take_images()
    how = mode()
    if how == "lost" and request.device != "cpu":
        raise DeviceLost("The device cuda:0 failed and does not answer any more.")
    if how == "broken":
        raise ModelError("The weights of tiny are damaged. Get the model again.")
    for step in range(1200 if how in ("slow", "deaf") else 2):
        time.sleep(0.05 if how in ("slow", "deaf") else 0.3 if how == "bench" else 0.01)
        if how != "deaf" and request.cancelled():
            raise Cancelled()
        request.progress(Progress(0.1 + step / 2000, f"Sample {step + 1} of 1200", 60 - step / 20))
    options = unpack_options(request.header.get("options") or {})
    made = result(images[0], labels, len(images), options, -100 if how == "empty" else 25)
    if how == "oracle":
        made = with_truth(made, images[0])
    if how == "bench":
        made = with_every_structure(made, len(labels))
    fields, made = pack_result(made)
    if how in ("cpu-speed", "lost", "no-gpu"):
        fields["provenance"]["device"] = "cpu"
    request.reply("result", made, result=fields)


def fill(request, models):
    """Every slice that is not drawn becomes as the nearest drawn one; of a result to be updated, wider by a pixel.

    What is carried from the frame before moves by as many pixels as the frames' brightest voxels are apart.
    """
    images, how = request.named_images(), mode()
    if how == "broken":
        raise ModelError("The weights for filling are damaged. Get them again.")
    for step in range(1200 if how in ("slow", "deaf") else 2):
        time.sleep(0.05 if how in ("slow", "deaf") else 0.01)
        if how != "deaf" and request.cancelled():
            raise Cancelled()
        request.progress(Progress(0.1 + step / 2000, f"Sample {step + 1} of 1200", 60 - step / 20))
    drawing = sitk.GetArrayFromImage(images["drawn"])
    drawn = [n for n in range(len(drawing)) if not (drawing[n] == 255).any()]
    labels, error = np.zeros_like(drawing), np.zeros(drawing.shape, "f4")
    apart = 0
    if "before" in images:
        first, second = (int(sitk.GetArrayFromImage(images[name]).argmax()) for name in ("before", "0"))
        apart = second - first
    for n in range(len(drawing)):
        if "before" in images and n not in drawn:
            labels[n] = np.roll(sitk.GetArrayFromImage(images["found"])[n], apart, 1)
            error[n] = 0.01 * (n + 1)
            continue
        nearest = min(drawn, key=lambda d: abs(d - n))
        labels[n] = drawing[nearest]
        if n != nearest:
            if "found" in images:
                found = sitk.GetArrayFromImage(images["found"])[n]
                labels[n] = np.maximum(found, np.roll(found, 1, 1))
            error[n] = np.where(labels[n] != np.roll(labels[n], 1, 1), 0.1 * abs(nearest - n), 0.01)

    def like(array):
        made = sitk.GetImageFromArray(array)
        made.CopyInformation(images["drawn"])
        return made

    area = float(np.prod(images["drawn"].GetSpacing()[:2]))
    wrong = error.sum((1, 2)) * area
    order = sorted(range(len(labels)), key=lambda n: (n in drawn, -wrong[n], n))
    names = {one["value"]: one["name"] for one in request.field("structures")}
    scores = []
    for n in range(len(labels)):
        row, column = np.unravel_index(error[n].argmax(), error[n].shape)
        point = images["drawn"].TransformIndexToPhysicalPoint((int(column), int(row), n))
        areas = tuple(float((labels[n] == value).sum() * area) for value in names)
        scores.append(SliceScore(n, float(wrong[n]), point, order.index(n) + 1, areas))
    voxel = float(np.prod(images["drawn"].GetSpacing())) / 1000
    volumes = {value: float((labels == value).sum() * voxel) for value in names}
    made = Result(
        labels=like(labels),
        error_probability=like(error),
        entropy=like(error * 1.2),
        mutual_information=like(error * 0),
        probabilities=None,
        slice_axis=2,
        slices=tuple(scores),
        structures=tuple(StructureVolume(v, name, *[volumes[v]] * 2, 0.0, 1e3) for v, name in names.items()),
        case_quality=0.9,
        provenance={"options": request.header["options"], "device": "cpu", "drawn": drawn},
    )
    fields, made = pack_result(made)
    request.reply("result", made, result=fields)


def result(image, labels, channels, options=Options(), radius_mm=25) -> Result:
    """A ball in the middle for the first structure, errors probable around its edge, most at the ends of the stack."""
    k, j, i = np.indices(image.GetSize()[::-1], dtype=np.float32)
    size = image.GetSize()
    spacing = image.GetSpacing()
    radius = np.sqrt(((i - size[0] / 2) * spacing[0]) ** 2 + ((j - size[1] / 2) * spacing[1]) ** 2)
    inside = radius_mm - radius - 2 * np.abs(k - (size[2] - 1) / 2)
    error = (0.5 * np.exp(-((inside / 3) ** 2)) * (0.3 + 0.7 * np.abs(2 * k / max(size[2] - 1, 1) - 1))).astype("f4")

    def like(array):
        made = sitk.GetImageFromArray(array)
        made.CopyInformation(image)
        return made

    area, wrong = spacing[0] * spacing[1], error.sum((1, 2)) * spacing[0] * spacing[1]
    order = list(np.argsort(-wrong, kind="stable"))
    found = (inside > 0).astype("u1")
    scores = []
    for index in range(size[2]):
        row, column = np.unravel_index(error[index].argmax(), error[index].shape)
        point = image.TransformIndexToPhysicalPoint((int(column), int(row), index))
        areas = (float(found[index].sum() * area), *[0.0] * (len(labels) - 1))
        why = "the structure ends abruptly" if index == 0 else ""
        scores.append(SliceScore(index, float(wrong[index]), point, order.index(index) + 1, areas, why))
    volume = float(found.sum() * area * spacing[2] / 1000)
    structures = [
        StructureVolume(
            label.value, label.name, *((volume, volume, 0.9 * volume, 1.1 * volume) if not n else [0.0] * 4)
        )
        for n, label in enumerate(labels)
    ]
    return Result(
        labels=like(found),
        error_probability=like(error),
        entropy=like(error * 1.2),
        mutual_information=like(error / 10),
        probabilities=None,
        slice_axis=2,
        slices=tuple(scores),
        structures=tuple(structures),
        case_quality=0.93,
        extent=WHOLE if options.region is None else REGION,
        warnings=("Made by a fake worker.",),
        provenance={
            "model": "tiny",
            "seconds": 12.0,
            "device": "cuda:0",
            "channels": channels,
            "options": asdict(options),
        },
    )


def with_truth(made: Result, image) -> Result:
    """The result with the true labels of its image, and an interval of 10 % either way."""
    with np.load(Path(sys.argv[1]) / "truth.npz") as truth:
        values = truth[str(int(sitk.GetArrayFromImage(image).sum(dtype=np.int64)))]
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(image)
    ml = float(values.sum() * np.prod(image.GetSpacing()) / 1000)
    first, *others = made.structures
    first = replace(first, volume_ml=ml, mean_ml=ml, low_ml=0.9 * ml, high_ml=1.1 * ml)
    areas = values.sum((1, 2)) * np.prod(image.GetSpacing()[:2])
    slices = tuple(replace(one, areas_mm2=(float(areas[one.index]), *one.areas_mm2[1:])) for one in made.slices)
    return replace(made, labels=labels, structures=(first, *others), slices=slices)


def with_every_structure(made: Result, count: int) -> Result:
    """The result with the ball cut into slabs, one for each structure."""
    values = sitk.GetArrayFromImage(made.labels)
    values *= (1 + np.arange(values.shape[1]) * count // values.shape[1]).astype("u1")[:, None]
    labels = sitk.GetImageFromArray(values)
    labels.CopyInformation(made.labels)
    voxel_ml = np.prod(labels.GetSpacing()) / 1000
    volumes = [float(np.count_nonzero(values == entry.value) * voxel_ml) for entry in made.structures]
    structures = tuple(replace(e, volume_ml=v) for e, v in zip(made.structures, volumes, strict=True))
    return replace(made, labels=labels, structures=structures)


def segment_of_batch(images, request, session, models):
    """In a batch, as ``segment``; the first voxel's value decides how sure it is."""
    model, how = models.get(session.batch.model), mode()
    for step in range(1200 if how == "slow" else 2):
        time.sleep(0.05 if how == "slow" else 0.01)
        if request.cancelled():
            raise Cancelled()
        request.progress(Progress(0.1 + step / 2000, f"Sample {step + 1} of 1200", 60 - step / 20))
    if how == "dies":
        os._exit(9)
    made = result(images[0], model.labels, len(images), session.batch.options)
    sure = 0.5 + 0.4 * float(sitk.GetArrayViewFromImage(images[0]).mean() % 1)
    provenance = {**made.provenance, "model": {"name": model.name, "version": model.version, "sha256": model.sha256}}
    return replace(made, case_quality=sure, provenance=provenance)


if __name__ == "__main__":
    batching.import_torch = lambda: None
    batching._segment = segment_of_batch
    shipped.SHIPPED = Path(sys.argv[1]) / "shipped"
    worker.HANDLERS.update(hello=hello, load=load, segment=segment, fill=fill)
    sys.exit(worker.main())
