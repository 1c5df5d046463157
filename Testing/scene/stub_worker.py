"""A worker that needs no torch: labels 1 where the image is above its mean. Run as a program, as the real one is.

"slow" as its argument lets it deaf and busy after the first progress, as a worker in the middle of a computation.
"""

import sys
import time

import numpy as np
import SimpleITK as sitk

from csam.process.protocol import pack_images, pack_result, read_frame, unpack_images, write_frame
from csam.result import Result, SliceScore, StructureVolume


def segment(image):
    array = sitk.GetArrayFromImage(image).astype("f4")

    def like(values):
        made = sitk.GetImageFromArray(values)
        made.CopyInformation(image)
        return made

    likely = np.full(array.shape, 0.25, "f4")
    maps = {name: like(likely) for name in ("error_probability", "entropy", "mutual_information")}
    scores = tuple(
        SliceScore(index, 1.0, image.TransformIndexToPhysicalPoint((0, 0, index)), index + 1, (1.0,))
        for index in range(array.shape[0])
    )
    volumes = (StructureVolume(1, "Left ventricle", 1.0, 1.0, 0.5, 1.5),)
    labels = like((array > array.mean()).astype("u1"))
    return Result(labels, **maps, probabilities=None, slice_axis=2, slices=scores, structures=volumes, case_quality=1.0)


def main():
    while True:
        header, payload = read_frame(sys.stdin.buffer)
        if header["type"] != "segment":
            return
        progress = {"type": "progress", "id": header["id"], "fraction": 0.1, "stage": "Sampling", "seconds_left": 1.0}
        write_frame(sys.stdout.buffer, progress)
        if "slow" in sys.argv:
            time.sleep(600)
        (image,) = unpack_images(header["images"], payload).values()
        fields, images = pack_result(segment(image))
        specs, buffers = pack_images(images)
        answer = {"type": "result", "id": header["id"], "result": fields, "images": specs}
        write_frame(sys.stdout.buffer, answer, buffers)


if __name__ == "__main__":
    main()
