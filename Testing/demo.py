"""``make demo``: the whole way once, through the same logic, worker and scene code as in 3D Slicer.

Segments a phantom (or --image FILE), prints what was found and writes segmentation.seg.nrrd, uncertainty.nrrd,
report.json and report.png to --out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from host.scene_host import SceneHost
from tqdm import tqdm

from csam.cli import describe, read_image
from csam.errors import CSAMError, InputError
from csam.image.geometry import check_image, same_grid
from csam.phantom import cine_stack
from csam.pipeline.report import draw
from csam.process.client import WorkerClient, worker_environment
from csam.result import Options, Progress
from CSAMSegmentLib.logic.module_logic import CSAMSegmentLogic

PHANTOM_SEED = 7


def main() -> int:
    options = parser().parse_args()
    try:
        run(options)
    except (CSAMError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", help="a scan; without it a phantom of the heart is made")
    parser.add_argument("--truth", help="labels on the scan's grid, to compare with")
    parser.add_argument("--frame", type=int, help="the volume of a 4-D image, from 0")
    parser.add_argument("--model", default="cardiac-lv", help="a model's name, folder or zip")
    parser.add_argument("--samples", type=int, default=Options.samples)
    parser.add_argument("--out", default="out/demo")
    return parser


def run(options: argparse.Namespace) -> None:
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    image, truth, name = sample(options)
    if truth is not None and not same_grid(image, truth):
        raise InputError(f"The truth {options.truth} does not lie on the grid of the image.")
    started = time.monotonic()
    with SceneHost() as host:
        client = WorkerClient([sys.executable, "-m", "csam", "worker"], env=worker_environment())
        logic = CSAMSegmentLogic(clientFactory=lambda: client)
        try:
            volume = add_volume(host, image, name)
            with tqdm(
                total=100,
                mininterval=0.5,
                bar_format="{desc:28s} {percentage:3.0f}% |{bar:40}| {elapsed}",
                file=sys.stderr,
            ) as bar:

                def show(progress: Progress) -> None:
                    bar.set_description_str(progress.stage, refresh=False)
                    bar.update(100 * progress.fraction - bar.n)

                output = logic.process(volume, options.model, options=Options(options.samples), progress=show)
            seconds = time.monotonic() - started
            host.save_node(output.segmentation, out / "segmentation.seg.nrrd")
            host.save_node(output.uncertainty, out / "uncertainty.nrrd")
            result = output.result
        finally:
            logic.close()
    title = f"{logic.run.model.title}: {name}" if logic.run else name
    dices = {} if truth is None else {s.name: dice(result.labels, truth, s.value) for s in result.structures}
    report = describe(result) | {"image": name, "dice": dices, "seconds_with_worker_start": round(seconds, 1)}
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    draw(image, result, out / "report.png", title, truth)
    print(table(result, dices, seconds))
    print(f"\nWritten to {out}: segmentation.seg.nrrd, uncertainty.nrrd, report.json, report.png")


def sample(options: argparse.Namespace) -> tuple[sitk.Image, sitk.Image | None, str]:
    """The image, its truth if there is one, and a name."""
    if options.image:
        truth = read_image(options.truth) if options.truth else None
        return read_image(options.image, options.frame), truth, Path(options.image).name
    phantom = cine_stack(PHANTOM_SEED)
    return phantom.image, sitk.Cast(phantom.labels == 1, sitk.sitkUInt8), f"cardiac phantom {PHANTOM_SEED}"


def add_volume(host: SceneHost, image: sitk.Image, name: str):
    """A volume node of an image; SimpleITK speaks LPS, the scene RAS."""
    check_image(image)
    to_ras = np.diag([-1.0, -1.0, 1.0])
    directions = to_ras @ np.reshape(image.GetDirection(), (3, 3))
    return host.add_volume(
        sitk.GetArrayFromImage(image), image.GetSpacing(), to_ras @ np.array(image.GetOrigin()), directions, name
    )


def dice(labels: sitk.Image, truth: sitk.Image, value: int) -> float:
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(sitk.Cast(labels == value, sitk.sitkUInt8), sitk.Cast(truth == value, sitk.sitkUInt8))
    return overlap.GetDiceCoefficient()


def table(result, dices: dict[str, float], seconds: float) -> str:
    lines = [f"Note: {warning}" for warning in result.warnings]
    lines.append(f"{'structure':28s} {'volume':>10s}   {'90 % interval':>20s}   {'Dice to truth':>13s}")
    for s in result.structures:
        known = f"{dices[s.name]:.3f}" if s.name in dices else "unknown"
        span = f"{s.low_ml:.1f} to {s.high_ml:.1f} ml"
        lines.append(f"{s.name:28s} {s.volume_ml:7.1f} ml   {span:>20s}   {known:>13s}")
    lines.append("")
    lines.append(f"Expected Dice: {result.expected_dice}")
    lines.append("Slices to look at first (the first is 1):")
    for score in result.ranked_slices()[:3]:
        lines.append(f"  slice {score.index + 1:3d}: {score.expected_wrong_area_mm2:6.0f} mm² expected to be wrong")
    made = result.provenance
    lines.append(
        f"{made['device']} ({made['device_name']}): {made['seconds']:.1f} s, {seconds:.1f} s with the worker's start"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
