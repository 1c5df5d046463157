"""How fake_worker.py fills, without torch: every open slice gets what the drawn slice before it has, or the next one.

Its modes are those of a segmentation: quick, slow, deaf, broken.
"""

import time

import numpy as np
import SimpleITK as sitk

from csam.errors import Cancelled, ModelError
from csam.interactive.drawing import UNKNOWN, Structure, read_drawing
from csam.process.protocol import pack_result, unpack_fill_options
from csam.result import Progress, Result, SliceScore, StructureVolume


def answer(request, how: str) -> None:
    """Reply to a request to fill."""
    images = request.named_images()
    drawn = images.pop("drawn")
    options = unpack_fill_options(request.header.get("options") or {})
    structures = [Structure(entry["value"], entry["name"]) for entry in request.field("structures")]
    if how == "broken":
        raise ModelError("The weights of the filling are damaged. Install the extension again.")
    for step in range(1200 if how in ("slow", "deaf") else 2):
        time.sleep(0.05 if how in ("slow", "deaf") else 0.01)
        if how != "deaf" and request.cancelled():
            raise Cancelled()
        request.progress(Progress(0.1 + step / 2000, "Filling", 60 - step / 20))
    fields, made = pack_result(result(next(iter(images.values())), drawn, structures, options))
    request.reply("result", made, result=fields)


def result(image, drawn, structures, options) -> Result:
    """As ``csam.interactive.fill.fill`` gives it. Open slices are less sure the farther they are from a drawn one."""
    drawing = read_drawing(image, drawn, structures, options.slice_axis)
    labels = drawing.labels.copy()
    error = np.zeros(labels.shape, np.float32)
    for index in range(len(labels)):
        if index not in drawing.drawn:
            before = max((n for n in drawing.drawn if n < index), default=drawing.drawn[0])
            labels[index] = drawing.labels[before] if index in drawing.wanted(options.beyond) else 0
            far = min(abs(index - n) for n in drawing.drawn)
            error[index, 20:30, 20:30] = 0.1 * far
    assert UNKNOWN not in labels

    def back(voxels):
        made = sitk.GetImageFromArray(np.ascontiguousarray(drawing.orientation.from_stack(voxels)))
        made.CopyInformation(drawn)
        return made

    scores = []
    order = list(np.argsort(-error.sum((1, 2)), kind="stable"))
    for index in range(len(labels)):
        where = drawing.orientation.index(index, 25, 25, drawing.size)
        scores.append(
            SliceScore(
                where[drawing.axis],
                float(error[index].sum()),
                drawn.TransformIndexToPhysicalPoint(where),
                order.index(index) + 1,
                tuple(float((labels[index] == entry.value).sum()) for entry in structures),
                "drawn" if index in drawing.drawn else "",
            )
        )
    return Result(
        labels=back(labels),
        error_probability=back(error),
        entropy=back(error),
        mutual_information=back(np.zeros_like(error)),
        probabilities=None,
        slice_axis=drawing.axis,
        slices=tuple(sorted(scores, key=lambda score: score.index)),
        structures=tuple(StructureVolume(entry.value, entry.name, 1.0, 1.0, 0.9, 1.1) for entry in structures),
        case_quality=0.9,
        warnings=(),
        provenance={"model": None, "device": "cpu", "seconds": 1.0, "drawn": list(drawing.drawn)},
    )
