"""What a model's measures make of the volumes of one patient's frames.

A model says in model.json which kinds it offers (``csam.model.Measure``); a kind is an entry of ``KINDS`` here.

Example:
    >>> from csam.result import StructureVolume
    >>> gland = StructureVolume(1, "Prostate", 40.0, 40.0, 36.0, 44.0)
    >>> density = Measure("volume density", {"structure": 1}, given="PSA", unit="ng/ml")
    >>> measured([Frame(0, (gland,))], [density], given={"PSA": 6.0})[0].figures[0].text
    '0.15 ng/ml/ml (0.14 to 0.17)'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..cardiac import Curve, Figure, body_surface_area, curve_of, ventricular_function
from ..errors import InputError
from ..model import Measure
from ..model.description import VENTRICULAR_FUNCTION, VOLUME_DENSITY
from ..result import Result, StructureVolume

HEIGHT, WEIGHT = "height", "weight"
BODY = {HEIGHT: "cm", WEIGHT: "kg"}
"""What a user may give of a patient, and its unit."""
END_DIASTOLE, END_SYSTOLE = "ED", "ES"


@dataclass(frozen=True)
class Frame:
    """One image of a series. index: from 0. time: of its place in the series, as "40 ms"; empty where not known.

    case_quality: the expected Dice, None where not known. edited: label values of structures that were changed after
    the run: their volume is that of now, and has no interval.
    """

    index: int
    structures: tuple[StructureVolume, ...]
    time: str = ""
    case_quality: float | None = None
    edited: tuple[int, ...] = ()

    def structure(self, value: int) -> StructureVolume | None:
        return next((one for one in self.structures if one.value == value), None)


@dataclass(frozen=True)
class Measured:
    """What a measure has found.

    marks: frames, from 0, by what they are, as {"ED": 0, "ES": 7}. implausible: frames that jump or are empty, from 0.
    curve: of the structure ``structure``, its label value; None for a kind that takes one frame. warnings: sentences
    for a user.
    """

    kind: str
    figures: tuple[Figure, ...]
    marks: Mapping[str, int]
    implausible: tuple[int, ...] = ()
    curve: Curve | None = None
    structure: int | None = None
    warnings: tuple[str, ...] = ()
    convention: str = ""


CONVENTION = (
    "End diastole and end systole are the frames with the largest and the smallest cavity. Papillary muscles and "
    "trabeculae count as cavity; mass is that of the myocardium without them, at 1.05 g/ml."
)


def with_edits(frame: Frame, volumes_ml: Mapping[int, float]) -> Frame:
    """The frame with volumes of now, by label value; the ends of their intervals are it."""
    structures = tuple(
        replace(one, **dict.fromkeys(("volume_ml", "low_ml", "high_ml"), volumes_ml[one.value]))
        if one.value in volumes_ml
        else one
        for one in frame.structures
    )
    edited = tuple(one.value for one in frame.structures if one.value in volumes_ml)
    return replace(frame, structures=structures, edited=edited)


def frame_of(result: Result, index: int = 0, time: str = "") -> Frame:
    """What a result tells of its frame."""
    return Frame(index, result.structures, time, None if result.is_empty else result.case_quality)


def measured(
    frames: Sequence[Frame],
    measures: Sequence[Measure],
    factors: Mapping[str, float] | None = None,
    given: Mapping[str, float] | None = None,
) -> tuple[Measured, ...]:
    """What the measures make of frames in the order of the series; those that these frames do not allow are left out.

    factors: ``figure_scale`` of the calibration that belongs to the run. given: numbers from the user by name: height
    (cm), weight (kg), and what the measures name. Raises InputError for a number out of range.
    """
    found = (KINDS[measure.kind](frames, measure, factors or {}, given or {}) for measure in measures)
    return tuple(one for one in found if one is not None)


def given_names(measures: Sequence[Measure]) -> tuple[str, ...]:
    """The names of the numbers that a user may give for these measures."""
    function = any(measure.kind == VENTRICULAR_FUNCTION for measure in measures)
    return (*((HEIGHT, WEIGHT) if function else ()), *(measure.given for measure in measures if measure.given))


def _function(frames, measure: Measure, factors, given) -> Measured | None:
    cavity = measure.structures["cavity"]
    volumes = [frame.structure(cavity) for frame in frames]
    if None in volumes or sum(one.volume_ml > 0 for one in volumes) < 2:
        return None
    corrected = [place for place, one in enumerate(volumes) if cavity in frames[place].edited and one.volume_ml > 0]
    curve = curve_of([one.volume_ml for one in volumes], corrected)
    ed, es = curve.end_diastole, curve.end_systole
    muscle = measure.structures.get("myocardium")
    myocardium = frames[ed].structure(muscle) if muscle is not None else None
    surface = None
    if HEIGHT in given and WEIGHT in given:
        surface = body_surface_area(given[HEIGHT], given[WEIGHT])
    implausible = tuple(frames[place].index for place in curve.implausible)
    figures = ventricular_function(volumes[ed], volumes[es], myocardium, factors, surface)
    edited = [frames[place].index for place in dict.fromkeys((ed, es)) if frames[place].edited]
    if edited:  # the interval is that of the model's own errors
        figures = tuple(replace(figure, low=None, high=None) for figure in figures)
    return Measured(
        measure.kind,
        figures,
        {END_DIASTOLE: frames[ed].index, END_SYSTOLE: frames[es].index},
        implausible,
        curve,
        cavity,
        (*_said(volumes, curve, frames), *_said_edited(edited)),
        CONVENTION,
    )


def _said(volumes, curve: Curve, frames: Sequence[Frame]) -> tuple[str, ...]:
    name, said = volumes[curve.end_diastole].name, []
    empty = [place for place in curve.implausible if not volumes[place].volume_ml]
    jumping = [place for place in curve.implausible if place not in empty]
    for places, what in (
        (empty, f"There is no {name} in"),
        (jumping, f"The volume of {name} does not fit those before and after in"),
    ):
        if places:
            which = ", ".join(str(frames[place].index + 1) for place in places)
            where, these = ("frame", "This frame was") if len(places) == 1 else ("frames", "These frames were")
            said.append(
                f"{what} {where} {which} (the first is 1). {these} not taken as end diastole or end systole. Look at "
                "the segmentation there."
            )
    if volumes[curve.end_diastole].volume_ml == volumes[curve.end_systole].volume_ml:
        said.append(f"The volume of {name} is the same in every frame. Check that the frames show a heartbeat.")
    return tuple(said)


def _said_edited(frames: Sequence[int]) -> tuple[str, ...]:
    if not frames:
        return ()
    which = " and ".join(str(index + 1) for index in frames)
    return (
        f"The segmentation of frame{'' if len(frames) == 1 else 's'} {which} was changed after the run. So the figures "
        "have no interval: it tells of the model's own errors.",
    )


def _density(frames, measure: Measure, factors, given) -> Measured | None:
    """A number from the laboratory by the volume, as PSA density; its interval has the ends of the volume's."""
    volume = frames[0].structure(measure.structures["structure"]) if len(frames) == 1 else None
    if volume is None or measure.given not in given or not volume.volume_ml > 0:
        return None
    value = given[measure.given]
    if not value >= 0:
        raise InputError(f"{measure.given} is {value:g}; a number of 0 or more was expected.")
    low, high = value / volume.high_ml, value / volume.low_ml if volume.low_ml > 0 else None
    name = f"{measure.given} density"
    figure = Figure(name, f"{name} ({volume.name})", f"{measure.unit}/ml", value / volume.volume_ml, low, high)
    return Measured(measure.kind, (figure,), {})


KINDS = {VENTRICULAR_FUNCTION: _function, VOLUME_DENSITY: _density}
"""By the kinds of ``csam.model.description.MEASURE_KINDS``: a function of frames, measure, factors and what is given;
None where these frames do not allow it."""
