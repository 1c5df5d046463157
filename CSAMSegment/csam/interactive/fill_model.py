"""The network that fills slices, on disk: a folder with ``fill.json`` and ``weights.pt``, neither of them trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..model.from_json import architecture_of
from ..model.json_fields import Fields
from ..model.weights import JSON_LIMIT, Weights, read_bounded
from .certainty import FEATURES, UNCALIBRATED
from .inputs import CHANNELS

FILE = "fill.json"
HERE = Path(__file__).resolve().parents[1]
PLACES = (HERE.parent / "Resources" / "Interactive", HERE / "shipped_fill")
SHIPPED = next(filter(Path.is_dir, PLACES), PLACES[0]) / "slice-fill"
"""In the extension beside the models that segment; in what pip installs beside this code."""


@dataclass(frozen=True)
class FillCalibration:
    """What robot users' rounds, on scans that the network has not learned from, taught about its probabilities.

    error_odds: weights of ``certainty.FEATURES``, which give the log odds that a label is wrong. volume_scale: the
    factor on the expected difference that makes an interval of nominal coverage. dice_scale: the factor on 1 - expected
    Dice that makes it true on average.
    """

    error_odds: Mapping[str, float] = field(default_factory=lambda: dict(UNCALIBRATED))
    volume_scale: float = 1.0
    dice_scale: float = 1.0


@dataclass(frozen=True)
class FillModel:
    """A network that fills slices, with what is needed to run it and to assess it. ``fill.json`` holds these fields."""

    name: str
    version: str
    about: str
    architecture: Mapping[str, Any]
    calibration: FillCalibration = FillCalibration()
    licence: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    weights: Weights = field(default=Weights(), compare=False)
    _networks: dict = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def load(cls, path: str | Path = SHIPPED) -> FillModel:
        """Reads the model from its folder; the weights when first needed. Raises ModelError naming file or field."""
        path = Path(path)
        try:
            values = json.loads(read_bounded(path / FILE, JSON_LIMIT))
        except (ValueError, RecursionError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"{path / FILE} is not JSON: {error}. Install the extension again.") from error
        fields = Fields(values, f"{path.name}/{FILE}")
        calibration = fields.sub("calibration")
        architecture = architecture_of(fields.sub("architecture"), fewest_classes=1)
        if (architecture["input_channels"], architecture["num_classes"]) != (CHANNELS, 1):
            raise ModelError(
                f"{fields.where}: the architecture has {architecture['input_channels']} input_channels and "
                f"{architecture['num_classes']} num_classes; {CHANNELS} and 1 were expected."
            )
        return cls(
            fields.text("name"),
            fields.text("version"),
            fields.text("about"),
            architecture,
            FillCalibration(
                _error_odds(calibration),
                calibration.number("volume_scale", 0, 1e3),
                calibration.number("dice_scale", 0, 1e3),
            ),
            fields.text("licence", ""),
            fields.mapping("provenance", {}),
            fields.text("sha256"),
            Weights(path / "weights.pt"),
        )

    def save(self, path: str | Path) -> None:
        """Writes the folder."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        (path / "weights.pt").write_bytes(self.weights.read())
        text = json.dumps(self.description(), indent=2) + "\n"
        (path / FILE).write_text(text, encoding="utf-8", newline="\n")

    def description(self) -> dict:
        """The fields of ``fill.json``."""
        names = ("name", "version", "about", "architecture", "licence", "provenance", "sha256")
        return {name: getattr(self, name) for name in names} | {"calibration": asdict(self.calibration)}

    def network(self, device: str = "cpu"):
        """The network in evaluation mode on a device; read once, then kept. Raises ModelError for damaged weights."""
        if device not in self._networks:
            from ..model.network_reader import read_network

            network = read_network(self.weights, self.name, FILE, self.sha256, self.architecture)
            self._networks[device] = network.to(device)
        return self._networks[device]


def _error_odds(calibration: Fields) -> dict[str, float]:
    odds = calibration.sub("error_odds")
    strange = sorted({*calibration.mapping("error_odds")} - {*FEATURES})
    if strange:
        raise ModelError(f"{odds.where} names {strange[0]}; known are {', '.join(FEATURES)}.")
    return {name: odds.number(name, -1e3, 1e3) for name in calibration.mapping("error_odds")}
