"""One competitor of run_time.py: told "run", "count" or "peak" on standard input, it answers in JSON.

python Testing/bench/run_time_rivals.py product demo
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from run_time import STACKS

import csam
from csam.model import Model  # of the checkout that is measured: public names alone, which old ones have too
from csam.networks import CSAMUNet
from csam.phantom import cine_stack
from csam.segment import Options, segment

PASSES = 8
SHIPPED = Path(csam.__file__).resolve().parents[1] / "Resources/Models/cardiac-lv"
DEMO_PHANTOM = 7


def stack_and_model(name: str) -> tuple[sitk.Image, Model]:
    """The demo's and the cardiac stack with the shipped model, the others with a fresh one of their own pixels."""
    if STACKS[name] is None:
        return cine_stack(DEMO_PHANTOM).image, Model.load(SHIPPED)
    size, spacing, classes = STACKS[name]
    if classes == 2:
        image = sitk.Cast(cine_stack(DEMO_PHANTOM).image, sitk.sitkFloat32)
        # The phantom's own pixels, cut or filled to the size; where slices lack it shows itself again.
        array = np.resize(sitk.GetArrayFromImage(image), size[::-1])
        model = Model.load(SHIPPED)
    else:
        array = np.random.default_rng(0).random(size[::-1], np.float32)
        torch.manual_seed(0)
        card = {"in_plane_spacing": spacing, "field_of_view": [256, 256]}
        try:
            from csam.model.convert import convert
        except ImportError:  # before the rooms
            from csam.convert import convert

        model = convert(CSAMUNet(1, classes, 5, 16, num_slices=12).state_dict(), card)
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((spacing, spacing, 8.0))
    return made, model


def product(image: sitk.Image, model: Model) -> Callable[[], object]:
    return lambda: segment(image, model, Options())


def resized(image: sitk.Image, model: Model) -> torch.Tensor:
    from csam.image.stack import stack_of

    return stack_of([image], model.in_plane_spacing, model.intensity, model.slice_axis).values


def published(image: sitk.Image, model: Model) -> Callable[[], object]:
    """T passes of the whole network, sharing nothing, in the windows and tiles that the paper's code would need."""
    from csam.image.geometry import fields, pad_amounts, windows

    network = model.network()

    @torch.inference_mode()
    def run() -> None:
        values = resized(image, model)
        lengths, least = values.shape[:0:-1], (*model.field_of_view[::-1], model.num_slices)
        padding = [n for pair in zip(lengths, least, strict=True) for n in pad_amounts(*pair)]
        padded = torch.nn.functional.pad(values, padding)[0]
        total = torch.zeros(len(model.labels) + 1, *padded.shape)
        rows, columns = model.field_of_view
        for _ in range(PASSES):
            for k in windows(padded.shape[0], model.num_slices)[0]:
                for i in fields(padded.shape[1], rows)[0]:
                    for j in fields(padded.shape[2], columns)[0]:
                        here = (slice(k, k + model.num_slices), slice(i, i + rows), slice(j, j + columns))
                        features = network.encode(padded[here][:, None].contiguous())
                        gated = [gate(level) for gate, level in zip(network.gates, features, strict=True)]
                        total[(slice(None), *here)] += network.decode(features, gated).softmax(1).transpose(0, 1)

    return run


def dynunet(image: sitk.Image, model: Model) -> Callable[[], object]:
    """As many slices, pixels and channels as the product's network sees; windows of half overlap, Gaussian weights."""
    from monai.inferers import sliding_window_inference
    from rivals import network_for

    from csam.training.plan import Plan

    plan = Plan(
        base_channels=model.architecture["base_channels"],
        num_slices=model.num_slices,
        field_of_view=model.field_of_view,
        in_plane_spacing=model.in_plane_spacing,
    )
    network = network_for("dynunet-3d", plan, 1, len(model.labels) + 1, 8.0).network.eval()
    window = (model.num_slices, *model.field_of_view)

    @torch.inference_mode()
    def run() -> None:
        sliding_window_inference(resized(image, model)[None], window, 1, network, 0.5, "gaussian").softmax(1)

    return run


def nnunet(image: sitk.Image, model: Model, configuration: str, mirroring: bool) -> Callable[[], object]:
    """nnU-Net's own planner, preprocessing, predictor and export, for a data set of stacks like this one."""
    folder = Path(tempfile.mkdtemp(prefix="run-time-"))
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(folder / name)
    dataset = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0} | {label.name: label.value for label in model.labels},
        "numTraining": 40,
        "file_ending": ".nii.gz",
    }
    size, spacing = image.GetSize()[::-1], image.GetSpacing()[::-1]
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    names = ("mean", "median", "std", "min", "max", "percentile_00_5", "percentile_99_5")
    numbers = [f(values) for f in (np.mean, np.median, np.std, np.min, np.max)] + [*np.percentile(values, (0.5, 99.5))]
    fingerprint = {
        "spacings": [list(spacing)] * 40,
        "shapes_after_crop": [list(size)] * 40,
        "foreground_intensity_properties_per_channel": {"0": dict(zip(names, map(float, numbers), strict=True))},
        "median_relative_size_after_cropping": 1.0,
    }
    raw, preprocessed = folder / "raw" / "Dataset001_Stack", folder / "preprocessed" / "Dataset001_Stack"
    for part in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        part.mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(dataset))
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    sitk.WriteImage(image, str(raw / "imagesTr" / "stack_0000.nii.gz"))
    sitk.WriteImage(sitk.Cast(image > 0, sitk.sitkUInt8), str(raw / "labelsTr" / "stack.nii.gz"))

    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(ExperimentPlanner("Dataset001_Stack").plan_experiment())
    chosen = plans.get_configuration(configuration)
    print(configuration, chosen.patch_size, chosen.spacing, file=sys.stderr)
    network = get_network_from_plans(
        chosen.network_arch_class_name,
        chosen.network_arch_init_kwargs,
        chosen.network_arch_init_kwargs_req_import,
        1,
        len(model.labels) + 1,
        allow_init=True,
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(
        use_mirroring=mirroring, device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    axes = tuple(range(len(chosen.patch_size)))
    predictor.manual_initialization(network, plans, chosen, [network.state_dict()], dataset, "nnUNetTrainer", axes)
    pixels, properties = SimpleITKIO().read_images([str(raw / "imagesTr" / "stack_0000.nii.gz")])
    return lambda: predictor.predict_single_npy_array(pixels, properties)


MAKERS = {
    "product": product,
    "base": product,
    "published": published,
    "dynunet": dynunet,
    "nnunet-2d": lambda *given: nnunet(*given, "2d", True),
    "nnunet-2d-plain": lambda *given: nnunet(*given, "2d", False),
    "nnunet-3d": lambda *given: nnunet(*given, "3d_fullres", True),
    "nnunet-3d-plain": lambda *given: nnunet(*given, "3d_fullres", False),
}


def counted(run: Callable[[], object]) -> float:
    """GFLOP of one run, on one thread: torch counts in the thread that asks."""
    from torch.utils.flop_counter import FlopCounterMode

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with FlopCounterMode(display=False) as counter:
        run()
    torch.set_num_threads(threads)
    return counter.get_total_flops() / 1e9


def peak() -> float:
    """GiB that this process held at most; infinite where the system does not say."""
    try:
        import resource
    except ImportError:
        return math.inf
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    name, stack = sys.argv[1:]
    answers, sys.stdout = sys.stdout, open(os.devnull, "w")  # nnU-Net's planner prints  # noqa: SIM115
    run = MAKERS[name](*stack_and_model(stack))
    for line in sys.stdin:
        started, spent = time.perf_counter(), time.process_time()
        if line.strip() == "count":
            answer = {"gflop": counted(run)}
        elif line.strip() == "peak":
            answer = {"gib": peak()}
        else:
            run()
            answer = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - spent}
        print("answer " + json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
