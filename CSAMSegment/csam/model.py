"""A model on disk: a folder, or a zip of it, with ``model.json`` and ``weights.pt``.

Nothing in either file is trusted: the JSON is checked field by field, sizes are bounded before anything is
allocated, weights are a plain state dict read with ``weights_only=True``, and a zip is read in memory, never
unpacked. Importing this module does not import torch: the application reads ``model.json`` without it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelError
from .fields import Fields
from .geometry import PLANES
from .intensity import Intensity
from .slice_risk import FACTS, SliceRisk
from .views import View, views_of

if TYPE_CHECKING:
    import torch

    from .result import Options

FORMAT = 2
"""Before format 2 a model had one calibration, measured over every orientation that it was taught."""
JSON_LIMIT = 4 * 2**20
WEIGHTS_LIMIT = 4 * 2**30
LARGEST_WINDOW = 2**32
"""Probabilities of a window of slices over the field of view, all classes: 16 GB."""
COLORS = ((216, 101, 79), (128, 174, 128), (241, 214, 145), (144, 238, 144), (183, 214, 211), (177, 122, 101))
"""For structures to which nobody gave a colour."""
OF_TRAINING = "model/model.json"
"""Where the folder of a training, and of every part of a cross-validation, has its model."""
SLICE_AXES = ("auto", *PLANES)


@dataclass(frozen=True)
class Channel:
    """One input image: its name for a person, and its modality, "MR" or "CT" or another of DICOM's."""

    name: str
    modality: str


@dataclass(frozen=True)
class Label:
    """One structure. color: RGB, 0 to 255. terminology: "category" and "type", each [scheme, code, meaning].

    connected: it forms one piece, so that only the largest piece found is kept.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    terminology: Mapping[str, tuple[str, str, str]] | None = None
    connected: bool = False


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
    """What validation data taught about the model's own doubt.

    error_map: pairs (doubt, observed chance that the label is wrong), rising; for the doubt see ``csam.doubt``.
    volume_scale: by label value, the factor on the expected difference that makes an interval of nominal coverage.
    dice_scale: the factor on 1 - expected Dice that makes it true on average.
    case_quality: that of every validation scan: where a case stands among them says more than the number alone.
    slice_risk: how the expected wrong area is shared out among the slices; None leaves it where the voxels expect it.
    """

    error_map: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 1.0))
    volume_scale: Mapping[int, float] = field(default_factory=dict)
    dice_scale: float = 1.0
    case_quality: tuple[float, ...] = ()
    slice_risk: SliceRisk | None = None


@dataclass(frozen=True)
class Weights:
    """Where the bytes of ``weights.pt`` are: a file, a member of a zip, or in memory."""

    path: Path | None = None
    member: str | None = None
    data: bytes | None = field(default=None, repr=False)

    def read(self) -> bytes:
        if self.data is not None:
            return self.data
        try:
            if self.member is None:
                size = self.path.stat().st_size
                return self.path.read_bytes() if _within(size, WEIGHTS_LIMIT, str(self.path)) else b""
            with zipfile.ZipFile(self.path) as archive:
                return _read_member(archive, self.member, WEIGHTS_LIMIT)
        except ModelError:
            raise
        except Exception as error:  # zipfile raises whatever its decompressors met
            raise ModelError(
                f"The weights of the model {self.path} cannot be read: {error}. Add the model again."
            ) from error


@dataclass(frozen=True)
class Model:
    """A CSAM model with everything needed to run it and to judge it. ``model.json`` holds these fields.

    in_plane_spacing: mm. field_of_view: rows, columns of one tile in pixels of that spacing.
    slice_axis: "auto" (largest spacing), "sagittal", "coronal" or "axial".
    free_orientation: it was taught to take a stack any way up; then test-time augmentation runs over the ``views``.
    calibration: of the default run. augmented_calibration: of a run with test-time augmentation.
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
    def views(self) -> tuple[View, ...]:
        """How a run looks at the stack."""
        return views_of(self.field_of_view, self.free_orientation)

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
            text, weights = _read_bounded(path / "model.json", JSON_LIMIT), Weights(path / "weights.pt")
            if not weights.path.is_file():
                raise ModelError(f"The model {path} has no weights.pt. Get the model again, or train it to its end.")
        elif path.is_file():
            text, weights = _open_zip(path)
        else:
            raise ModelError(f"There is no model at {path}. Give a model's folder, or a zip of it.")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"The model.json of {path} is not JSON: {error}.") from error
        return replace(_from_json(Fields(values, f"{path.name}/model.json")), weights=weights)

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
        _from_json(Fields(json.loads(json.dumps(self.description())), "model.json"))

    def description(self) -> dict:
        """The fields of ``model.json``."""
        return {"format": FORMAT} | {
            f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.name not in ("weights", "_networks")
        }

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
            self._networks[device] = self._read_network().to(device)
        return self._networks[device]

    def _read_network(self):
        import torch

        from .networks import build_with_weights, read_architecture

        data = self.weights.read()
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise ModelError(
                f"The weights of {self.name} are damaged: their SHA-256 is {found[:12]}..., model.json says "
                f"{self.sha256[:12]}.... Get the model again."
            )
        try:
            if zipfile.is_zipfile(io.BytesIO(data)):
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    _within(sum(member.file_size for member in archive.infolist()), WEIGHTS_LIMIT, "weights.pt")
            state_dict = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except ModelError:
            raise
        except Exception as error:  # torch.load raises whatever its reader met, and advises to trust the file
            raise ModelError(
                f"The weights of {self.name} cannot be read as a plain state dict of tensors: the file is damaged or "
                "holds more. Get the model again, from somebody you trust."
            ) from error
        if not isinstance(state_dict, Mapping) or not all(
            isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state_dict.items()
        ):
            raise ModelError(f"The weights of {self.name} are not a plain state dict of tensors.")
        claimed = 0
        for key, value in state_dict.items():
            # A view can claim more elements than are stored, and many can share one storage.
            plain = value.layout is torch.strided and value.device.type == "cpu"
            size = value.numel() * value.element_size()
            claimed += size
            if not plain or size > value.untyped_storage().nbytes() or claimed > WEIGHTS_LIMIT:
                raise ModelError(f"The weights of {self.name} claim a tensor {key} larger than the file holds.")
        found = read_architecture(state_dict)
        # What no tensor tells.
        untold = ("num_slices", "uncertainty", "rank") if not found["slice"] else ()
        untold = untold or (() if found["uncertainty"] else ("rank",))
        found |= {key: self.architecture[key] for key in untold}
        wrong = [key for key, value in found.items() if self.architecture[key] != value]
        if wrong:
            raise ModelError(
                f"{self.name}/model.json: architecture.{wrong[0]} is {self.architecture[wrong[0]]}, "
                f"but the weights are of a network with {found[wrong[0]]}."
            )
        network = build_with_weights(self.architecture, state_dict)
        if not all(torch.isfinite(parameter).all() for parameter in network.parameters()):
            raise ModelError(f"The weights of {self.name} hold values that are not finite; the training failed.")
        return network


def _from_json(json_: Fields) -> Model:
    format_ = json_.integer("format", 1, FORMAT)
    architecture = json_.sub("architecture")
    classes = architecture.integer("num_classes", 2, 256)
    numbers = {
        "network": architecture.text("network", choices=("CSAMUNet", "CSAMUNetPlusPlus")),
        "input_channels": architecture.integer("input_channels", 1, 64),
        "num_classes": classes,
        "num_levels": architecture.integer("num_levels", 2, 8),
        "base_channels": architecture.integer("base_channels", 1, 256),
        "num_slices": architecture.integer("num_slices", 1, 256),
        **{k: architecture.flag(k) for k in ("semantic", "positional", "slice", "uncertainty")},
        "rank": architecture.integer("rank", 1, 64),
    }
    multiple = 2 ** (numbers["num_levels"] - 1)
    field_of_view = json_.numbers("field_of_view", 2, multiple, 2048)
    if any(n % multiple for n in field_of_view) or field_of_view == (multiple, multiple):
        raise ModelError(
            f"{json_.where}: the field field_of_view is {field_of_view}; multiples of {multiple}, one of them at least "
            f"{2 * multiple}, were expected."
        )
    if math.prod((*field_of_view, numbers["num_slices"], classes)) > LARGEST_WINDOW:
        raise ModelError(f"{json_.where}: field_of_view, num_slices and num_classes together need too much memory.")
    channels = tuple(Channel(c.text("name"), c.text("modality", limit=16)) for c in json_.items("channels", 64))
    if len(channels) != numbers["input_channels"]:
        raise ModelError(
            f"{json_.where}: the field channels has {len(channels)} entries; architecture.input_channels is "
            f"{numbers['input_channels']}."
        )
    labels = tuple(_label(item, classes) for item in json_.items("labels", 255))
    if sorted(label.value for label in labels) != list(range(1, classes)):
        raise ModelError(f"{json_.where}: the field labels must have each value from 1 to {classes - 1} once.")
    intensity, trained = json_.sub("intensity"), json_.sub("trained_on")
    free_orientation = json_.flag("free_orientation", False)
    calibration, augmented = _calibration(json_.sub("calibration"), classes), Calibration()
    if format_ > 1:
        augmented = _calibration(json_.sub("augmented_calibration"), classes)
    elif free_orientation:
        calibration, augmented = augmented, calibration
    return Model(
        name=json_.text("name", limit=100),
        version=json_.text("version", limit=100),
        title=json_.text("title", limit=200),
        about=json_.text("about", ""),
        architecture=numbers,
        channels=channels,
        labels=labels,
        in_plane_spacing=json_.number("in_plane_spacing", 0.01, 100),
        field_of_view=tuple(int(n) for n in field_of_view),
        slice_axis=json_.text("slice_axis", choices=SLICE_AXES),
        intensity=Intensity(
            intensity.text("scope"), intensity.number("lower", -1e9, 1e9), intensity.number("upper", -1e9, 1e9)
        ),
        trained_on=TrainedOn(
            slice_spacing=trained.numbers("slice_spacing", 2, 0, 1e6),
            in_plane_spacing=trained.numbers("in_plane_spacing", 2, 0, 1e6),
            slices=trained.numbers("slices", 2, 1, 1e6),
            patients=trained.integer("patients", 0, 10**9),
            volumes_ml=_volumes(trained, classes),
        ),
        free_orientation=free_orientation,
        calibration=calibration,
        augmented_calibration=augmented,
        licence=json_.text("licence", ""),
        provenance=_provenance(json_),
        metrics=_metrics(json_),
        sha256=json_.text("sha256", limit=64),
    )


def _volumes(trained: Fields, classes: int) -> dict[int, tuple[float, float]]:
    found = Fields(trained.mapping("volumes_ml", {}), f"{trained.where}: volumes_ml")
    return {v: found.numbers(str(v), 2, 0, 1e9) for v in range(1, classes) if str(v) in found.values}


def _provenance(json_: Fields) -> dict:
    """Where a model comes from: of what is read again, here and there, every field is of its kind."""
    found = Fields(json_.mapping("provenance", {}), f"{json_.where}: provenance")
    for field_ in ("training_patients", "validation_patients", "calibration_patients", "extra_data", "data_labels"):
        found.texts(field_, ())
    for field_ in ("data", "data_licence", "calibrated_on"):
        found.text(field_, "")
    folds = found.values.get("folds", [])
    if not isinstance(folds, list):
        raise ModelError(f"{found.where}: the field folds is {folds!r:.60}; a list of lists of names was expected.")
    for number, fold in enumerate(folds):
        Fields({"patients": fold}, f"{found.where}: fold {number}").texts("patients")
    Fields(found.mapping("plan", {}), f"{found.where}: plan").text("patient_pattern", "")
    if found.values.get("started_from") is not None:
        _provenance(found.sub("started_from"))
    return dict(found.values)


def _metrics(json_: Fields) -> dict:
    """How good a model was: numbers, by name, or by name and structure."""
    found = Fields(json_.mapping("metrics", {}), f"{json_.where}: metrics")
    found.text("note", "")
    for name in ("before_calibration", "validation", "cases"):
        part = Fields(found.mapping(name, {}), f"{found.where}: {name}")
        for figure, value in part.values.items():
            for value_ in value.values() if isinstance(value, Mapping) and name != "cases" else (value,):
                if not isinstance(value_, int | float) and (value_ is not None or name == "cases"):
                    raise ModelError(f"{part.where}: the field {figure} is {value_!r:.60}; a number was expected.")
    return dict(found.values)


def _label(item: Fields, classes: int) -> Label:
    terminology = None
    if item.mapping("terminology", None) is not None:
        terms = item.sub("terminology")
        terminology = {}
        for part in ("category", "type"):
            value = terms.values.get(part)
            if not (isinstance(value, list) and len(value) == 3 and all(isinstance(v, str) for v in value)):
                raise ModelError(f"{terms.where}: the field {part} is {value!r}; [scheme, code, meaning] was expected.")
            terminology[part] = tuple(value)
    color = tuple(int(c) for c in item.numbers("color", 3, 0, 255))
    value, name = item.integer("value", 1, classes - 1), item.text("name", limit=200)
    return Label(value, name, color, terminology, item.flag("connected", False))


def _calibration(item: Fields, classes: int) -> Calibration:
    pairs = item.values.get("error_map")
    if not (isinstance(pairs, list) and 2 <= len(pairs) <= 1000):
        raise ModelError(f"{item.where}: the field error_map must be a list of 2 to 1000 pairs.")
    table = {str(i): pair for i, pair in enumerate(pairs)}
    error_map = tuple(Fields(table, f"{item.where}: error_map").numbers(key, 2, 0, 1) for key in table)
    if any(b[0] <= a[0] or b[1] < a[1] for a, b in pairwise(error_map)):
        raise ModelError(f"{item.where}: the field error_map must rise.")
    scale = Fields(item.mapping("volume_scale", {}), f"{item.where}: volume_scale")
    qualities = item.values.get("case_quality", [])
    if not (isinstance(qualities, list) and len(qualities) <= 100_000):
        raise ModelError(f"{item.where}: the field case_quality must be a list of numbers.")
    table = {"case_quality": qualities}
    return Calibration(
        error_map,
        {v: scale.number(str(v), 0, 1e6) for v in range(1, classes) if str(v) in scale.values},
        item.number("dice_scale", 0, 1e6, 1.0),
        Fields(table, item.where).numbers("case_quality", len(qualities), 0, 1),
        _slice_risk(item),
    )


def _slice_risk(item: Fields) -> SliceRisk | None:
    """None where a model has none, as those of before have."""
    if item.values.get("slice_risk") is None:
        return None
    where = f"{item.where}: slice_risk"
    table = Fields(Fields(item.mapping("slice_risk", {}), where).mapping("facts", {}), f"{where}.facts")
    unknown = sorted(table.values.keys() - set(FACTS))
    if unknown:
        raise ModelError(f"{table.where}: there is no fact {unknown[0]!r:.40}; known are {', '.join(FACTS)}.")
    return SliceRisk({name: table.numbers(name, 2, 0, 1e3) for name in table.values})


def _plain(value: Any) -> Any:
    """Data classes, mappings and tuples as JSON has them."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value


def _within(size: int, limit: int, name: str) -> bool:
    if size > limit:
        raise ModelError(f"{name} has {size} bytes; at most {limit} are read. This is not a usable model.")
    return True


def _read_bounded(path: Path, limit: int) -> bytes:
    try:
        _within(path.stat().st_size, limit, str(path))
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Give a model's folder, or a zip of it.") from error


def _open_zip(path: Path) -> tuple[bytes, Weights]:
    """The text of model.json and the place of the weights; both in one folder of the zip, or at its top."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.replace("\\", "/"): name for name in archive.namelist()}  # some of Windows have the former
            chosen = _chosen([name for name in members if name.split("/")[-1] == "model.json"], path)
            member = chosen.removesuffix("model.json") + "weights.pt"
            if member not in members:
                raise ModelError(f"{path} holds no {member}. Get the model again.")
            return _read_member(archive, members[chosen], JSON_LIMIT), Weights(path, members[member])
    except ModelError:
        raise
    except Exception as error:  # zipfile raises whatever its decompressors met
        raise ModelError(f"{path} is neither a model's folder nor a readable zip of it: {error}.") from error


def _chosen(found: list[str], path: Path) -> str:
    """The one model.json of a zip; of a cross-validation's folder that of the model which its parts have judged."""
    top = min(found, key=lambda name: name.count("/"), default="")
    above = top.removesuffix(OF_TRAINING)
    parts = [name for name in found if name != top]
    of_parts = [n for n in parts if n.startswith(above) and n.removeprefix(above).partition("/")[2] == OF_TRAINING]
    if len(found) == 1 or (found and top.endswith(OF_TRAINING) and of_parts == parts):
        return top
    if not found:
        raise ModelError(f"{path} holds no model.json. Give a zip of the folder that holds model.json and weights.pt.")
    several = ", ".join(sorted(found)[:5]) + " ..." * (len(found) > 5)
    raise ModelError(f"{path} holds {len(found)} models: {several}. Give a zip of one of them alone.")


def _read_member(archive: zipfile.ZipFile, member: str, limit: int) -> bytes:
    """Reads at most ``limit`` bytes: what the zip claims of a member's size need not be true."""
    _within(archive.getinfo(member).file_size, limit, member)
    with archive.open(member) as stream:
        data = stream.read(limit + 1)
    _within(len(data), limit, member)
    return data
