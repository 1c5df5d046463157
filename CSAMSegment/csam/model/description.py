"""A model on disk: a folder, or a zip of it, with ``model.json`` and ``weights.pt``.

Nothing in either file is trusted: the JSON is checked field by field, sizes are bounded before anything is
allocated, weights are a plain state dict read with ``weights_only=True``, and a zip is read in memory, never
unpacked. Importing this module does not import torch: the application reads ``model.json`` without it.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..image.geometry import PLANES
from ..image.intensity import Intensity
from ..network.orientations import StackOrientation, orientations_of
from ..uncertainty.slice_ranking import SliceRisk
from .json_fields import Fields

if TYPE_CHECKING:
    import torch

    from ..result import Options
from . import weights as stored
from .weights import OF_TRAINING, Weights, open_zip, read_bounded

FORMAT = 2
"""Before format 2 a model had one calibration, measured over every orientation that it was taught. What came since may
be missing, and a program that does not know it leaves it aside: measures, contour_shift, figure_scale of a
calibration, and slices_of of a label."""
COLORS = ((216, 101, 79), (128, 174, 128), (241, 214, 145), (144, 238, 144), (183, 214, 211), (177, 122, 101))
"""For structures to which nobody gave a colour."""
SLICE_AXES = ("auto", *PLANES)
OF_NO_RESULT = ("version", "title", "about", "licence", "provenance", "metrics")
"""Fields of a model on which no result depends."""
UNSAVED = ("weights", "_networks")


@dataclass(frozen=True)
class Channel:
    """One input image: its name for a user, and its modality, "MR" or "CT" or another of DICOM's."""

    name: str
    modality: str


@dataclass(frozen=True)
class Label:
    """One structure. color: RGB, 0 to 255. terminology: "category" and "type", each [scheme, code, meaning].

    connected: it forms one piece, so that only the largest piece found is kept. inside: value of the structure that
    surrounds it in every slice, so that pieces without are left out and that structure is learned together with what it
    holds; 0 for none. slices_of: value of the structure in whose slices it is found; before the first and behind the
    last of them it has to be sure (``csam.uncertainty.continuity``); 0 for none.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: Mapping[str, tuple[str, str, str]] | None = None
    connected: bool = False
    inside: int = 0
    slices_of: int = 0


def within(labels: Sequence[Label]) -> dict[int, tuple[int, ...]]:
    """By label value, the values that its outer contour holds: its own, and those of the structures inside it."""
    around = {label.value: label.inside for label in labels}
    held = {value: [value] for value in around}
    for value in around:
        outer, seen = around[value], {value}
        while outer and outer not in seen:
            held[outer].append(value)
            seen.add(outer)
            outer = around.get(outer, 0)
    return {value: tuple(values) for value, values in held.items()}


@dataclass(frozen=True)
class TrainedOn:
    """The range of the training scans, to tell what is unlike them. Spacings in mm, smallest and largest.

    volumes_ml: by label value, the smallest and the largest of the structure where it was there.
    """

    slice_spacing: tuple[float, float]
    in_plane_spacing: tuple[float, float]
    slices: tuple[int, int]
    patients: int
    volumes_ml: Mapping[int, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """What validation data taught about the model's own error probabilities.

    error_map: pairs (stated, observed error probability), rising; see ``csam.uncertainty.expected_error``.
    keeps_peaks: whether the stated one is 1 - p where that is larger than the smoothed one; False: always smoothed, as
      in models calibrated before this field was there.
    volume_scale: by label value, the factor on the expected difference that makes an interval of nominal coverage.
    dice_scale: the factor on 1 - expected Dice that makes it true on average.
    case_quality: that of every validation scan: where a case stands among them says more than the number alone.
    slice_risk: how the expected wrong area is shared out among the slices; None leaves it where the voxels expect it.
    figure_scale: by the name of a figure that takes several scans, such as "EF", the factor on its prior half-width
      that makes an interval of nominal coverage (``csam.cardiac.function``).
    """

    error_map: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 1.0))
    volume_scale: Mapping[int, float] = field(default_factory=dict)
    dice_scale: float = 1.0
    case_quality: tuple[float, ...] = ()
    slice_risk: SliceRisk | None = None
    figure_scale: Mapping[str, float] = field(default_factory=dict)
    keeps_peaks: bool = True


@dataclass(frozen=True)
class Measure:
    """What is to be made of a model's volumes; ``MEASURE_KINDS`` has the kinds and the structures that each takes.

    structures: label value by part, such as {"cavity": 1, "myocardium": 2}. given, unit: of a kind that takes a number
    from the user, what it is and its unit, such as "PSA" and "ng/ml".
    """

    kind: str
    structures: Mapping[str, int]
    given: str = ""
    unit: str = ""


VENTRICULAR_FUNCTION, VOLUME_DENSITY = "ventricular function", "volume density"
MEASURE_KINDS = {VENTRICULAR_FUNCTION: (("cavity",), ("myocardium",)), VOLUME_DENSITY: (("structure",), ())}
"""By kind: the parts that it needs, and those that it can use. ``csam.sequence.measures`` computes them."""


@dataclass(frozen=True)
class Model:
    """A CSAM model with everything needed to run it and to assess it. ``model.json`` holds these fields.

    in_plane_spacing: mm. field_of_view: rows, columns of one tile in pixels of that spacing.
    slice_axis: "auto" (largest spacing), "sagittal", "coronal" or "axial".
    free_orientation: it was taught to take a stack any way up; then test-time augmentation takes its samples over
    the ``orientations``.
    calibration: of the default run. augmented_calibration: of a run with test-time augmentation.
    measures: what its volumes are good for beside themselves.
    contour_shift: by label value, how far the contours are moved outwards, mm (``csam.pipeline.contour_shift``).
    """

    name: str
    version: str
    title: str
    about: str
    architecture: Mapping[str, Any]
    channels: tuple[Channel, ...]
    labels: tuple[Label, ...]
    in_plane_spacing: float
    field_of_view: tuple[int, int]
    slice_axis: str
    intensity: Intensity
    trained_on: TrainedOn
    free_orientation: bool = False
    calibration: Calibration = Calibration()
    augmented_calibration: Calibration = Calibration()
    measures: tuple[Measure, ...] = ()
    contour_shift: Mapping[int, float] = field(default_factory=dict)
    licence: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    weights: Weights = field(default=Weights(), compare=False)
    _networks: dict = field(default_factory=dict, compare=False, repr=False)

    @property
    def ancestors(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Name and provenance of the models that this one was fine-tuned from, the latest first."""
        found, before = [], self.provenance.get("started_from")
        while isinstance(before, Mapping):
            origin = before.get("provenance")
            origin = origin if isinstance(origin, Mapping) else {}
            found.append((str(before.get("name")), origin))
            before = origin.get("started_from")
        return found

    @property
    def num_slices(self) -> int:
        return self.architecture["num_slices"]

    @property
    def orientations(self) -> tuple[StackOrientation, ...]:
        """Those that test-time augmentation takes its samples over."""
        return orientations_of(self.field_of_view, self.free_orientation)

    @property
    def default_orientations(self) -> tuple[StackOrientation, ...]:
        """Those of the default run: each of its close passes sees the stack in another."""
        return self.orientations[:3]

    def uncalibrated(self) -> Model:
        """The model without its calibrations, stating the error probabilities that these take."""
        return replace(
            self,
            calibration=Calibration(keeps_peaks=self.calibration.keeps_peaks),
            augmented_calibration=Calibration(keeps_peaks=self.augmented_calibration.keeps_peaks),
        )

    def calibration_for(self, options: Options) -> Calibration:
        """What belongs to a run: test-time augmentation has its own, where the model knows several orientations."""
        augmented = options.test_time_augmentation and self.free_orientation
        return self.augmented_calibration if augmented else self.calibration

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Reads a model from a folder, its ``model.json``, or a zip; a training's folder is as good as the model in it.

        The weights are read when first needed.

        Raises ModelError that names the file or the field at fault.
        """
        path = Path(path)
        if path.name == "model.json":
            path = path.parent
        if path.is_dir():
            if not (path / "model.json").exists() and (path / OF_TRAINING).is_file():
                path = path / Path(OF_TRAINING).parent
            text, weights = read_bounded(path / "model.json", stored.JSON_LIMIT), Weights(path / "weights.pt")
            if not weights.path.is_file():
                raise ModelError(f"The model {path} has no weights.pt. Get the model again, or train it to its end.")
        elif path.is_file():
            text, weights = open_zip(path)
        else:
            raise ModelError(f"There is no model at {path}. Give a model's folder, or a zip of it.")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"The model.json of {path} is not JSON: {error}.") from error
        from .from_json import model_from_json

        return replace(model_from_json(Fields(values, f"{path.name}/model.json")), weights=weights)

    def save(self, path: str | Path) -> None:
        """Writes the model to a folder, or to a zip when the path ends in .zip. The last file written is model.json.

        Raises ModelError naming the field, before anything is written, when the model could not be loaded again.
        """
        path = Path(path)
        self.check()
        text = json.dumps(self.description(), indent=2, ensure_ascii=False) + "\n"
        weights = self.weights.read()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr("weights.pt", weights)
                archive.writestr("model.json", text)
            return
        path.mkdir(parents=True, exist_ok=True)
        (path / "weights.pt").write_bytes(weights)
        (path / "model.json").write_text(text, encoding="utf-8", newline="\n")

    def check(self) -> None:
        """Raises ModelError naming the first field with which the model could not be loaded again."""
        from .from_json import model_from_json

        model_from_json(Fields(json.loads(json.dumps(self.description())), "model.json"))

    def description(self) -> dict:
        """The fields of ``model.json``."""
        return {"format": FORMAT} | self._without(UNSAVED)

    @property
    def digest(self) -> str:
        """SHA-256 of all that a result depends on: of the weights' own, the calibrations, the names of structures."""
        told = self._without((*UNSAVED, *OF_NO_RESULT))
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def check_digest(self, digest: str, place: str | Path) -> None:
        """Raises ModelError where this is not the model that was chosen, perhaps on another computer.

        digest: of that one. place: where this one is.
        """
        if digest != self.digest:
            raise ModelError(
                f"The model {place} on {platform.node()} ({self.name} {self.version}) is not the one that was chosen: "
                "its weights, its calibration or its structures differ. Install the same version of CSAMSegment on "
                "both computers, or copy the model again."
            )

    def _without(self, names: Sequence[str]) -> dict:
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in names}

    def with_weights(self, state_dict: Mapping[str, torch.Tensor]) -> Model:
        """This model with other weights, kept in half precision."""
        import torch

        buffer = io.BytesIO()
        torch.save({key: value.detach().cpu().half() for key, value in state_dict.items()}, buffer)
        data = buffer.getvalue()
        return replace(self, weights=Weights(data=data), sha256=hashlib.sha256(data).hexdigest(), _networks={})

    def network(self, device: str = "cpu"):
        """The network in evaluation mode on a device; read once, then kept.

        Raises ModelError when the weights are damaged or do not fit the architecture in model.json.
        """
        if device not in self._networks:
            from .network_reader import read_network

            network = read_network(self.weights, self.name, "model.json", self.sha256, self.architecture)
            self._networks[device] = network.to(device)
        return self._networks[device]


def _plain(value: Any) -> Any:
    """Data classes, mappings and tuples as JSON has them."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
