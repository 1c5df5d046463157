"""From data sets to the network that fills slices, in a folder: what ``csam train-fill`` does.

Step: train.
"""

from __future__ import annotations

import hashlib
import io
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from .. import __version__
from ..errors import InputError
from ..image import files, geometry
from ..image.intensity import Intensity
from ..image.unknown import UNKNOWN
from ..interactive.fill_model import FillModel
from ..model.weights import Weights
from ..phantom.dataset import write_dataset
from .augment import Example
from .auto_plan import patient_pattern
from .dataset import Case, Dataset, read_dataset
from .fill_training import FillPlan, train_fill

NAME = "slice-fill"
ABOUT = (
    "Fills the slices between drawn ones, of any structure. It adds to shape interpolation what the image tells. "
    "Research software, not a medical device."
)


@dataclass(frozen=True)
class Recipe:
    """What is learned from. data: folders of data sets. phantoms: how many, with the left ventricular cavity alone.

    split: nnU-Net's file of folds; who is validated on in ``unseen_folds`` is left out. without: patients or cases to
    leave out. without_labels: structures to leave out, by name. pattern: of the patients' names, None to be told by
    the cases' names.
    """

    data: tuple[str, ...] = ()
    phantoms: int = 0
    phantom_seed: int = 1000
    split: str | None = None
    unseen_folds: tuple[int, ...] = ()
    without: tuple[str, ...] = ()
    without_labels: tuple[str, ...] = ()
    pattern: str | None = None


def train_fill_model(recipe: Recipe, plan: Mapping, out: Path, log: Callable = print) -> FillModel:
    """Trains, or goes on, and writes the model to ``out``/model. plan: fields of FillPlan. Raises InputError."""
    plan = plan_of(plan)
    out.mkdir(parents=True, exist_ok=True)
    files.check_writable(out)
    sets = [_read(folder, recipe.pattern) for folder in recipe.data]
    unseen = {*recipe.without, *_unseen(recipe)}
    strange = sorted(unseen - {name for data in sets for name in data.named})
    if strange:
        raise InputError(f"To be left out, but in no data set: {', '.join(strange)}.")
    names = {name for data in sets for name in data.labels}
    if {*recipe.without_labels} - names:
        strange = ", ".join(sorted({*recipe.without_labels} - names))
        raise InputError(f"To be left out, but no structure of a data set: {strange}. There are: {', '.join(names)}.")
    if recipe.phantoms:
        write_dataset(out / "phantoms", recipe.phantoms, recipe.phantom_seed, "left-ventricle")
        sets.append(_read(out / "phantoms", recipe.pattern))
    used = [(data, [c for c in data.cases if not unseen & {c.name, c.patient}]) for data in sets]
    examples = [
        example_of(case, [n for n, name in enumerate(data.labels, 1) if name in recipe.without_labels])
        for data, cases in used
        for case in cases
    ]
    log(f"{len(examples)} cases, {plan.steps} steps", flush=True)
    network = train_fill(examples, plan, out, log)
    provenance = {
        "data": [
            {"name": d.name, "licence": d.licence, "patients": sorted({c.patient for c in cases}), "cases": len(cases)}
            for d, cases in used
        ],
        "phantoms": {"count": recipe.phantoms, "seed": recipe.phantom_seed},
        "left_out": {"patients": sorted(unseen), "labels": sorted(recipe.without_labels)},
        "plan": asdict(plan),
        "versions": {"csam": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    licences = sorted({data.licence for data, cases in used if cases and data.licence})
    model = replace(
        packed(network),
        licence=f"Learned from made-up shapes and from data under {', '.join(licences) or 'no other licence'}.",
        provenance=provenance,
    )
    model.save(out / "model")
    return model


def packed(network) -> FillModel:
    """A network as a model that can be saved: weights in half precision."""
    buffer = io.BytesIO()
    torch.save({name: value.half() for name, value in network.state_dict().items()}, buffer)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    return FillModel(NAME, __version__, ABOUT, network.architecture, sha256=digest, weights=Weights(data=data))


def plan_of(values: Mapping) -> FillPlan:
    """Raises InputError for a field that is unknown or of another kind."""
    known = {field.name: type(field.default) for field in fields(FillPlan)}
    for name, value in values.items():
        if name not in known:
            raise InputError(f"The plan has no field {name}; known are {', '.join(known)}.")
        if type(value) not in (known[name], int) or value < 0 or (value == 0 and name != "seed"):
            kind = "whole number" if known[name] is int else "number"
            raise InputError(f"The plan's {name} is {value!r}; a positive {kind} was expected.")
    return FillPlan(**values)


def example_of(case: Case, left_out: list[int]) -> Example:
    """The first channel, 0 to 1 between its percentiles 0.5 and 99.5, and the labels, in the orientation of the stack.

    left_out: values that become background.
    """
    images, truth = case.read()
    oriented = geometry.orientation(images[0].GetDirection(), geometry.axis_for(images[0], "auto"))
    values = np.ascontiguousarray(oriented.to_stack(geometry.array_of(images[0])))
    labels = np.ascontiguousarray(oriented.to_stack(sitk.GetArrayFromImage(truth))).astype(np.int64)
    labels[np.isin(labels, [value for value in left_out if value != UNKNOWN])] = 0
    return Example(torch.from_numpy(Intensity("volume")(values))[None], torch.from_numpy(labels))


def _read(folder: str | Path, pattern: str | None) -> Dataset:
    data = read_dataset(folder, pattern or "(.*)")
    return data if pattern else data.by_patient(patient_pattern([case.name for case in data.cases])[0])


def _unseen(recipe: Recipe) -> set[str]:
    """Who is validated on in the folds that are named."""
    if bool(recipe.split) != bool(recipe.unseen_folds):
        raise InputError("--split and --unseen-fold go together: whom the folds named validate on is left out.")
    if not recipe.split:
        return set()
    try:
        folds = files.read_json(recipe.split)
        return {str(name) for fold in recipe.unseen_folds for name in folds[fold]["val"]}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{recipe.split} is no file of nnU-Net's folds, or lacks one ({error!r}).") from error
