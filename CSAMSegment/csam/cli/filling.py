"""csam fill: an image and drawn slices in; labels, maps, report.json and a page out. csam train-fill: its training."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..batch.saved import write_result
from ..errors import InputError
from ..image.unknown import UNKNOWN
from ..interactive.drawing import FillOptions, Structure
from .files import check_extras, check_place, read_image
from .segmenting import folder_for, progress_bar, summary

ALONE = "none"
"""Instead of a model's folder: interpolation alone."""


def run_fill(options: argparse.Namespace) -> None:
    from ..interactive.fill import fill
    from ..interactive.fill_model import FillModel
    from ..pipeline.cpu_fallback import on_cpu_if_lost

    if options.png:
        check_extras(["matplotlib"])
    run = FillOptions(options.seed, options.device, options.slice_axis, options.beyond, not options.no_tuning)
    image = read_image(options.image, options.frame)
    drawn = _with_unknown(read_image(options.drawn), options.unknown)
    structures = _structures(options.structure, drawn)
    found = read_image(options.found) if options.found else None
    model = None if options.model == ALONE else FillModel.load(*filter(None, [options.model]))
    sources = [str(Path(path).resolve()) for path in (options.image, options.drawn, options.found) if path]
    out = folder_for(sources, options.frame, Path(options.out))
    if options.png:
        check_place(options.png)
    result = on_cpu_if_lost(lambda run: fill(image, drawn, structures, model, run, found, progress=progress_bar()), run)
    write_result(result, out, {"images": sources, "frame": options.frame})
    if options.png:
        from ..pipeline.report import draw

        draw(image, result, options.png, f"{', '.join(s.name for s in structures)}: {Path(options.image).name}")
    print(summary(result, ask="Slices to draw or correct next"))
    print(f"Written to {out}.")


def _with_unknown(drawn, value: int):
    """The drawing with UNKNOWN where the file has ``value``."""
    import numpy as np
    import SimpleITK as sitk

    from ..image import geometry

    if value == UNKNOWN:
        return drawn
    voxels = sitk.GetArrayFromImage(drawn)
    if (voxels == UNKNOWN).any():
        raise InputError(f"--unknown is {value}, but the drawing also has voxels of {UNKNOWN}. Give these a label.")
    return geometry.like(np.where(voxels == value, np.asarray(UNKNOWN, np.int16), voxels), drawn)


def _structures(named: list[str], drawn) -> list[Structure]:
    """Those of VALUE=NAME; without any, every value that is drawn."""
    import numpy as np
    import SimpleITK as sitk

    structures = []
    for text in named:
        value, _, name = text.partition("=")
        if not (value.isdecimal() and name):
            raise InputError(f"The structure {text!r} is not of the form VALUE=NAME, such as 1=prostate.")
        structures.append(Structure(int(value), name))
    if structures:
        return structures
    values = np.unique(sitk.GetArrayViewFromImage(drawn)).tolist()
    return [Structure(int(v), f"structure {v:g}") for v in values if v not in (0, UNKNOWN) and v == int(v)]


def run_train_fill(options: argparse.Namespace) -> None:
    from ..training.fill_recipe import Recipe, train_fill_model
    from .files import json_object

    plan = json_object(options.plan)
    for name in ("steps", "seed"):
        given = getattr(options, name)
        if given is not None:
            plan[name] = given
    recipe = Recipe(
        tuple(options.data),
        options.phantoms,
        options.phantom_seed,
        options.split,
        tuple(options.unseen_fold),
        tuple(options.without),
        tuple(options.without_label),
        options.patient_pattern,
    )
    model = train_fill_model(recipe, plan, Path(options.out))
    print(f"Written to {Path(options.out) / 'model'}: {model.about}")
