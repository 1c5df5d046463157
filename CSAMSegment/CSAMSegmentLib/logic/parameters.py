"""The choices that the panel offers as lists, with their words."""

from __future__ import annotations

from enum import Enum

from csam.result import Options

from .texts import tr as _


class SliceAxis(Enum):
    """Along which of the image's own axes the slices are stacked; the values are those of ``Options.slice_axis``."""

    AUTO = "auto"
    I = "i"  # noqa: E741
    J = "j"
    K = "k"

    def label(self) -> str:
        """The words in the list, for the parameter node wrapper."""
        return {
            SliceAxis.AUTO: _("Automatic"),
            SliceAxis.I: _("i (first axis of the image)"),
            SliceAxis.J: _("j (second axis)"),
            SliceAxis.K: _("k (third axis)"),
        }[self]


class OverlayKind(Enum):
    """Which map is drawn over the image; the values are the roles of the output nodes."""

    ERROR_PROBABILITY = "error_probability"
    ENTROPY = "entropy"
    MUTUAL_INFORMATION = "mutual_information"
    CHANCE_OF_ERROR = ERROR_PROBABILITY  # the name in scenes of version 0.1.0

    def label(self) -> str:
        """The words in the list, for the parameter node wrapper."""
        return {
            OverlayKind.ERROR_PROBABILITY: _("Error probability"),
            OverlayKind.ENTROPY: _("Entropy"),
            OverlayKind.MUTUAL_INFORMATION: _("Mutual information"),
        }[self]


def run_options(parameters, region=None) -> Options:
    """How the parameter node says to run. region: corners as of ``Options``, None for whole images."""
    return Options(
        samples=parameters.samples,
        seed=parameters.seed,
        device=parameters.device,
        slice_axis=parameters.sliceAxis.value,
        region=region,
        keep_probabilities=parameters.keepProbabilities,
        test_time_augmentation=parameters.testTimeAugmentation,
    )
