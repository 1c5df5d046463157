"""The end of a training: the model's error probabilities are measured on the validation patients and made true.

Step: calibrate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..model import Calibration, Measure, Model
from ..model.card import write_card
from ..model.description import VENTRICULAR_FUNCTION
from ..result import Options
from ..uncertainty.expected_error import case_quality, volume_interval
from ..uncertainty.measures import calibrated_error_probability
from ..uncertainty.slice_ranking import of_errors
from . import figures, function_figures, learn_ranking, measures
from .contours import measured_shift
from .dataset import Case, Dataset
from .evaluate import CERTAIN, CaseMeasures, evaluate
from .model_match import as_learned, calibrated_by, seen_patients
from .summary import summarise

ALONE = "one patient: not assessed"
CALIBRATED = "-calibrated"
"""What the name of a model that is calibrated again ends with."""
KNOTS = 24


def error_map(error_probability: np.ndarray, wrong: np.ndarray) -> tuple[tuple[float, float], ...]:
    """The rising map from stated to observed error probability: isotonic regression, thinned to at most KNOTS bins.

    error_probability: 1 - mean probability of the label, of every voxel of the regions. wrong: 0 or 1. Below CERTAIN
    the map falls to (0, 0): outside the regions lie many times more voxels, and next to none of them is wrong.
    """
    from sklearn.isotonic import IsotonicRegression

    counted = error_probability > CERTAIN
    if not counted.any():
        return Calibration().error_map
    fitted = (
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        .fit(error_probability, wrong)
        .predict(error_probability[counted])
    )
    stated = error_probability[counted]
    steps = np.linspace(0, 1, KNOTS // 2 + 1)
    edges = np.unique(np.concatenate([np.quantile(stated, steps), CERTAIN + (stated.max() - CERTAIN) * steps]))
    bins = np.digitize(stated, edges[1:-1])
    count, sums, observed = (np.bincount(bins, weights) for weights in (None, stated, fitted))
    filled = measures.enough(count)
    pairs = [(0.0, 0.0)]
    for s, o in zip(sums[filled] / count[filled], observed[filled] / count[filled], strict=True):
        if round(float(s), 5) > pairs[-1][0]:
            pairs.append((round(float(s), 5), round(max(float(o), pairs[-1][1]), 5)))
    return (*pairs, (1.0, 1.0)) if pairs[-1][0] < 1 else tuple(pairs)


def volume_scale(cases: Sequence[CaseMeasures], structure: int) -> float:
    """The factor on the intervals' half-widths that covers the truth of ``measures.NOMINAL`` of the cases."""
    needed = []
    for case in cases:
        true, volume, (_, _, high) = (part[structure] for part in (case.truth_ml, case.volume_ml, case.intervals_ml))
        if true:
            # Down it is the same, but for what would lie below 0.
            needed.append(measures.needed_factor(true - volume, high - volume))
    return measures.conformal_factor(needed)


def few_for_intervals(cases: Sequence[CaseMeasures]) -> str:
    """That the intervals of so few cases cover less than NOMINAL, in words; empty where they are enough.

    Among n exchangeable cases and a new one, the largest of the n factors covers the new one with n / (n + 1).
    """
    known = [sum(bool(case.truth_ml[i]) for case in cases) for i in range(len(cases[0].truth_ml))]
    count = min(known)
    needed = round(1 / (1 - measures.NOMINAL)) - 1
    if count >= needed:
        return ""
    if not any(known):
        return "No scan is known whole: volume intervals and the expected Dice are not calibrated."
    scans = "1 scan" if count == 1 else f"{count} scans"
    return (
        f"Intervals fitted on {scans} with structures cover {count / (count + 1):.0%} of new ones at best, not "
        f"{measures.NOMINAL:.0%}; that takes {needed}."
    )


def few_for_function(cases: Sequence[CaseMeasures], model: Model) -> str:
    """The same of the intervals of stroke volume and ejection fraction, which a patient with both phases teaches."""
    if not any(measure.kind == VENTRICULAR_FUNCTION for measure in model.measures):
        return ""
    values = [label.value for label in model.labels]
    count, needed = len(function_figures.beats(cases, values, model.measures)), round(1 / (1 - measures.NOMINAL)) - 1
    if count == 0:
        return "No patient has a scan at both phases: the intervals of SV and EF are not calibrated."
    if count >= needed:
        return ""
    people = "1 patient" if count == 1 else f"{count} patients"
    return (
        f"Intervals of SV and EF fitted on {people} cover {count / (count + 1):.0%} of new ones at best; "
        f"{measures.NOMINAL:.0%} takes {needed}."
    )


def dice_scale(cases: Sequence[CaseMeasures]) -> float:
    """The factor on 1 - expected Dice that makes it 1 - Dice on average, over the cases that are known whole."""
    whole = [case for case in cases if case.whole]
    expected = sum(1 - case.case_quality for case in whole)
    return round(sum(1 - case.mean_dice for case in whole) / expected, 4) if expected > 0 else 1.0


def fit(cases: Sequence[CaseMeasures], values: Sequence[int], offered: Sequence[Measure] = ()) -> Calibration:
    """A calibration from cases measured with an identity calibration. offered: the model's measures."""
    error_probability, wrong = (
        np.concatenate([getattr(case, part) for case in cases]) for part in ("error_probability", "wrong")
    )
    scale = dice_scale(cases)
    of_voxels = error_map(error_probability, wrong)
    stacks = [
        learn_ranking.SliceFacts(
            case.patient,
            case.of_known_slices(
                all_facts(case, calibrated_error_probability(1 - case.voxels.error_probability, of_voxels))
            ),
            case.of_known_slices(case.slice_wrong_mm2),
        )
        for case in cases
        if case.slice_facts is not None
    ]
    of_volumes = {v: volume_scale(cases, i) for i, v in enumerate(values)}
    scaled = [replace(case, intervals_ml=_intervals(case, of_volumes, values)) for case in cases]
    return Calibration(
        of_voxels,
        of_volumes,
        scale,
        tuple(sorted(round(case_quality(case.case_quality, scale), 5) for case in cases)),
        learn_ranking.fit(stacks),
        function_figures.factors(function_figures.beats(scaled, values, offered)),
    )


def _intervals(case: CaseMeasures, of_volumes: Mapping[int, float], values: Sequence[int]) -> tuple:
    """The intervals of an identity calibration, with the factors on their half-widths."""
    found = []
    for value, volume, (_, mean, high) in zip(values, case.volume_ml, case.intervals_ml, strict=True):
        low, high = volume_interval(volume, high - volume, of_volumes.get(value, 1.0))
        found.append((low, mean, high))
    return tuple(found)


def all_facts(case: CaseMeasures, error: np.ndarray) -> np.ndarray:
    """The facts of a case's slices, (S, facts), with these error probabilities of its voxels."""
    kept, counted = case.voxels, error > CERTAIN
    inside = kept.found > 0
    count = len(case.slice_wrong_mm2)
    largest = int(np.bincount(kept.slice, inside, count).max(initial=0))
    errors = of_errors(error[counted], inside[counted], kept.slice[counted], count, largest)
    return np.concatenate([errors, case.slice_facts], axis=1)


def apply(case: CaseMeasures, calibration: Calibration, values: Sequence[int]) -> CaseMeasures:
    """The case as it would have been measured with this calibration."""
    error_probability = calibrated_error_probability(1 - case.voxels.error_probability, calibration.error_map)
    wrong_area = np.bincount(case.voxels.slice, error_probability, len(case.slice_scores)) * case.pixel_mm2
    if calibration.slice_risk and case.slice_facts is not None and case.slice_facts.any():
        wrong_area = calibration.slice_risk.expected(all_facts(case, error_probability), wrong_area.sum())
    return replace(
        case,
        case_quality=case_quality(case.case_quality, calibration.dice_scale),
        intervals_ml=_intervals(case, calibration.volume_scale, values),
        figure_scale=calibration.figure_scale,
        slice_scores=tuple(wrong_area.tolist()),
        voxels=replace(case.voxels, error_probability=error_probability),
    )


def cross_fitted(
    cases: Sequence[CaseMeasures], values: Sequence[int], offered: Sequence[Measure] = ()
) -> list[CaseMeasures]:
    """Every case with the calibration that the other half of the patients gave: figures nobody has fitted.

    But for the factor on the case quality, which is that of all of them: a model has one, which leaves the order of
    its scans as it is, and that order is what is assessed. A factor for each half would turn it about. A single patient
    has no other half: her cases stay as measured, and are not assessed.
    """
    patients = sorted({case.patient for case in cases})
    halves = [set(patients[::2]), set(patients[1::2])]
    if not all(halves):
        return [replace(case, assessed=False) for case in cases]
    out, scale = [], dice_scale(cases)
    for half in halves:
        other = fit([case for case in cases if case.patient not in half], values, offered)
        other = replace(other, dice_scale=scale)
        out += [apply(case, other, values) for case in cases if case.patient in half]
    return out


def calibrated(cases: Sequence[CaseMeasures], model: Model, options: Options = Options()) -> list[CaseMeasures]:
    """Cases measured with an identity calibration, as the model's own for such a run would have them.

    Patients who taught the model its calibration are assessed by what the other half of them teaches.
    """
    values = [label.value for label in model.labels]
    teachers = calibrated_by(model, cases)
    taught = cross_fitted([case for case in cases if case.patient in teachers], values, model.measures)
    crossed = {case.name: case for case in taught}
    return [crossed.get(case.name) or apply(case, model.calibration_for(options), values) for case in cases]


def summary(cases: Sequence[CaseMeasures], model: Model) -> dict:
    """Figures over all cases, by name, with those of the model's measures."""
    values, names = [label.value for label in model.labels], [label.name for label in model.labels]
    assessed = [case for case in cases if case.assessed] or cases
    return summarise(cases, names) | function_figures.summary(function_figures.beats(assessed, values, model.measures))


def assessment_note(cases: Sequence[CaseMeasures], model: Model) -> str:
    """In words: which of the patients the model has seen, and what calibration assessed them."""
    patients = {case.patient for case in cases}
    teachers, trained = calibrated_by(model, cases), len(seen_patients(model, cases, "training"))
    taught, selected = len(teachers), len(seen_patients(model, cases, "validation", "calibration") - teachers)
    lines = []
    if trained:
        lines.append(f"{trained} of the {len(patients)} patients were trained on: their figures are too good.")
    if taught:
        how = "each half of them is assessed by the calibration that the other half gives" if taught > 1 else ALONE
        lines.append(f"{taught} of the {len(patients)} patients calibrated the model: after calibration, {how}.")
    if selected:
        lines.append(
            f"{selected} of the {len(patients)} patients were used to select its weights, or to train a model that it "
            "started from."
        )
    if not trained and not taught and not selected:
        lines.append("The model has not seen these patients, as far as their names tell.")
    return " ".join(lines)


def calibrate(
    model: Model,
    cases: Sequence[Case],
    out: Path,
    log: Callable[[str], None] = print,
    cancelled: Callable[[], bool] | None = None,
    device: str = "auto",
) -> Model:
    """The model with a calibration and metrics of these cases, which it must not have been trained on.

    OUT gets model/ with its card, evaluation.json and evaluation.png.
    """
    before, augmented = measured(model, cases, log, cancelled, device)
    whom = "calibration" if "calibrated_on" in model.provenance else "validation"
    whose = f"Dice and measures of uncertainty on the {whom} patients."
    return calibrated_from(model, before, out, whose, log, augmented)


def measured(
    model: Model,
    cases: Sequence[Case],
    log: Callable[[str], None] = print,
    cancelled: Callable[[], bool] | None = None,
    device: str = "auto",
) -> tuple[list[CaseMeasures], list[CaseMeasures]]:
    """Cases without calibration: of the default run, and with test-time augmentation where the model is for it."""
    model = replace(model, calibration=Calibration(), augmented_calibration=Calibration())
    before = evaluate(model, cases, Options(device=device), log, cancelled)
    if not model.free_orientation:
        return before, []
    log("With test-time augmentation:")
    options = Options(device=device, test_time_augmentation=True)
    return before, evaluate(model, cases, options, log, cancelled)


def calibrated_from(
    model: Model,
    before: Sequence[CaseMeasures],
    out: Path,
    whose: str,
    log: Callable[[str], None] = print,
    augmented: Sequence[CaseMeasures] = (),
) -> Model:
    """The model with a calibration and metrics of cases measured with an identity calibration, by itself or by others
    that learned as it did; written as ``calibrate`` says. whose: the first sentence of the note on the figures.
    augmented: the cases with test-time augmentation, which has a calibration of its own."""
    values = [label.value for label in model.labels]
    after = cross_fitted(before, values, model.measures)
    how = (
        'For the column "after", the calibration was fitted on one half of the patients and measured on the other, '
        "then the reverse. The calibration that is stored with the model was fitted on all."
    )
    if not all(case.assessed for case in after):
        how = f"After calibration, {ALONE}."
    few = " ".join(filter(None, (few_for_intervals(before), few_for_function(before, model))))
    if few:
        log(f"Note: {few}")
    note = f"{whose} {how} {few}".rstrip()
    first, last = (summary(cases, model) for cases in (before, after))
    metrics = {
        "before_calibration": first,
        "validation": last,
        "note": note,
        "cases": {case.name: round(case.mean_dice, 4) for case in sorted(after, key=lambda case: case.name)},
    }
    plain, own = (fit(some, values, model.measures) if some else Calibration() for some in (before, augmented))
    model = replace(model, calibration=plain, augmented_calibration=own, metrics=metrics)
    model = save(model, out / "model", log)
    figures.write_json(out / "evaluation.json", {"model": model.name, "note": note}, first, last, after)
    figures.draw(out / "evaluation.png", f"{model.title}: {len(after)} scans", before, after)
    return model


def calibrate_on(
    model: Model,
    data: Dataset,
    cases: Sequence[Case],
    out: Path,
    log: Callable[[str], None] = print,
    cancelled: Callable[[], bool] | None = None,
    device: str = "auto",
    contours: bool = False,
    name: str = "",
) -> Model:
    """Calibrates a finished model again, on these cases of a data set, and writes it to OUT/model.

    contours: also move the model's contours to where theirs lie (``csam.training.contours``). name: of the new model,
    which stands beside the old one in a list; without one, that of the old one with "-calibrated" behind it.
    Raises InputError where the model was trained on one of the patients, or has other labels than the data set.
    """
    known = sorted(seen_patients(model, cases, "training"))
    if known:
        raise InputError(
            f"{model.name} was trained on {', '.join(known[:5])}, and is surer of these than of new patients. Give "
            "other patients, or --patients validation. If these are other people of the same names, rename their cases."
        )
    patients = sorted({case.patient for case in cases})
    provenance = {name: value for name, value in model.provenance.items() if name != "folds"}  # they assess no longer
    provenance |= {"calibrated_on": data.name, "calibration_patients": patients}
    cases = as_learned(model, data, cases, log)
    if contours:
        provenance["contours_of"] = data.name
        model = replace(model, contour_shift=measured_shift(model, cases, log, cancelled, device))
    name = name or f"{model.name.removesuffix(CALIBRATED)}{CALIBRATED}"
    title = f"{model.title.removesuffix(_calibrated_on(model.provenance))}{_calibrated_on(provenance)}"
    model = replace(model, name=name, title=title, provenance=provenance)
    return calibrate(model, cases, out, log, cancelled, device)


def _calibrated_on(provenance: Mapping) -> str:
    """What a title says of it."""
    return f", calibrated on {provenance['calibrated_on']}" if "calibrated_on" in provenance else ""


def save(model: Model, folder: Path, log: Callable[[str], None]) -> Model:
    """Writes the model with its card."""
    model.save(folder)
    write_card(model, folder)
    measured = model.metrics["validation"]
    log(f"Saved {folder}: mean Dice {measured['dice_mean']} on {measured['cases']} scans.")
    return model
