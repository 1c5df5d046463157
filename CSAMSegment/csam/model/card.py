"""A model's card in Markdown, written from model.json alone."""

from __future__ import annotations

from pathlib import Path

from ..image.geometry import PLANES
from .description import Measure, Model

AXIS_WORDS = {"auto": "the axis with the largest spacing", **{p: f"the axis across {p} slices" for p in PLANES}}
NOT_A_DEVICE = "Research software, not a medical device: it must not be used to diagnose or treat."


def card(model: Model) -> str:
    """What a user should know before trusting the model: what it does, what it learned from, how good it was."""
    where, trained = model.provenance, model.trained_on
    lines = [f"# {model.title}", "", model.about, "", f"**{NOT_A_DEVICE}**", "", "## Input and output", ""]
    lines += [f"- Input: {c.name} ({c.modality})" for c in model.channels]
    lines += [f"- Structure {label.value}: {label.name}" for label in model.labels]
    lines += [f"- Also computed: {_measure(model, measure)}" for measure in model.measures]
    names = {label.value: label.name for label in model.labels}
    lines += [
        f"- Before the first and behind the last slice with {names[label.slices_of]}, {label.name} is left out unless "
        "the model is sure of it"
        for label in model.labels
        if label.slices_of
    ]
    for label in model.labels:
        if distance := model.contour_shift.get(label.value):
            way = "outwards" if distance > 0 else "inwards"
            whose = where.get("contours_of", "other data")
            lines.append(f"- Contours of {label.name} are moved {way} by {abs(distance):g} mm, to those of {whose}")
    lines += [
        f"- Slices: stacked along {AXIS_WORDS[model.slice_axis]}. The network sees "
        f"{model.num_slices} at a time, with {model.in_plane_spacing:g} mm pixels and a field of view of "
        f"{model.field_of_view[0]}×{model.field_of_view[1]} pixels",
        f"- Network: {model.architecture['network']}, {model.architecture['num_levels']} levels, "
        f"{model.architecture['base_channels']} base channels",
        f"- Orientation of the stack: {'any' if model.free_orientation else 'one; stacks are turned to it'}",
        f"- Licence: {model.licence or 'not stated'}",
        "",
        "## What it learned from",
        "",
        f"- {where.get('data', 'unknown data')} ({where.get('data_licence') or 'licence not stated'}): "
        + (
            f"{trained.patients} training patients; slices {_range(trained.slice_spacing)} mm apart, pixels "
            f"{_range(trained.in_plane_spacing)} mm, {_range(trained.slices)} slices per stack"
            if trained.patients
            else "what it was trained on is not known"
        ),
    ]
    for label in model.labels:
        if label.value in trained.volumes_ml:
            lines.append(f"- {label.name}: {_range(trained.volumes_ml[label.value])} ml in the training scans")
    if where.get("extra_data"):
        lines.append(f"- Also, for training only: {', '.join(where['extra_data'])}")
    lines += _ancestors(model)
    if where.get("folds"):
        lines.append(
            f"- Calibrated and measured by cross-validation in {len(where['folds'])} folds (see below), on scans of "
            "these data alone"
        )
    never = ", never trained on" if where.get("training_patients") else ""
    of = f" of {where.get('calibrated_on')}"
    for part, data in (("validation", ""), ("calibration", of)):
        if where.get(f"{part}_patients"):
            lines.append(f"- {part.capitalize()} patients{data}{never}: {', '.join(where[f'{part}_patients'])}")
    if model.metrics:
        lines += ["", "## How good it was", "", model.metrics.get("note", ""), ""]
        lines += ["| measure | before calibration | after | how to read it |", "|---|---|---|---|"]
        figures = (model.metrics.get(name, {}) for name in ("before_calibration", "validation"))
        lines += [f"| {' | '.join(row)} |" for row in rows(*figures)]
        lines += ["", "Dice of every scan:", "", "| scan | Dice |", "|---|---|"]
        lines += [f"| {name} | {dice:.4f} |" for name, dice in model.metrics.get("cases", {}).items()]
    return "\n".join(lines).rstrip() + "\n"


MEASURES = {
    "cases": ("Scans", ""),
    "patients": ("Patients", ""),
    "cases_known_whole": ("Scans labelled completely, for volumes, HD95 and expected Dice", ""),
    "dice": ("Dice", "1 is best"),
    "dice_mean": ("Dice, mean of the structures", "1 is best"),
    "dice_lowest": ("Dice of the poorest scan", ""),
    "hausdorff_95_mm": ("Surface distance, 95th percentile (HD95), mm", "0 is best"),
    "relative_volume_difference": ("Volume, relative difference", "0 is best; + is too large"),
    "empty_slices": ("Slices without any structure", ""),
    "empty_slices_with_structure": ("... in which the model found one", "0 is best"),
    "roi_calibration_error": ("Calibration error of the error probability (ROI-ECE)", "0 is best"),
    "roi_adaptive_calibration_error": ("... in bins of equally many voxels (ACE)", "0 is best"),
    "roi_brier_score": ("Brier score of the error probability", "0 is best"),
    "roi_log_loss": ("Negative log-likelihood of the error probability", "0 is best"),
    "roi_share_wrong": ("Share of wrong voxels within 10 mm of result or truth (the ROI)", ""),
    "voxel_error_auroc": ("Wrong voxels found by the error probability, AUROC", "1 is best, 0.5 is chance"),
    "voxel_error_aupr": (
        "Wrong voxels found by the error probability, AUPR",
        "1 is best, chance is the share that is wrong",
    ),
    "qu_brats_score": ("QU-BraTS score of the error probability", "1 is best"),
    "case_quality_spearman": ("Expected Dice against true Dice, Spearman", "1 is best, 0 is chance"),
    "case_quality_aurc": (
        "Mean of 1 − Dice while scans of low expected Dice are set aside (AURC)",
        "low is good; the next two rows are best and chance",
    ),
    "aurc_of_perfect_order": ("... while scans of low true Dice are set aside", "the best possible"),
    "aurc_of_no_order": ("... while scans are set aside at random", "chance"),
    "worst_slice_first": ("Slice with the largest error is ranked first", "1 is best"),
    "worst_slice_in_first_three": ("... is among the first three", "1 is best"),
    "slice_spearman": ("Order of the slices against their true errors, Spearman", "1 is best, 0 is chance"),
    "interval_coverage": ("True volumes inside their 90 % interval", "0.9 is promised"),
    "interval_relative_width": ("Width of the interval, share of the volume (median)", "low is good"),
    "function_patients": ("Patients with both phases, for ventricular function", ""),
    "function_error": ("Ventricular function, mean absolute error", "0 is best"),
    "function_error_of_guessing": (
        "... of guessing the mean of the other patients",
        "a useful model is far below this",
    ),
    "function_bias": ("... bias", "0 is best; + is too large"),
    "function_interval_coverage": ("... true figures inside their 90 % interval", "0.9 is promised"),
    "function_interval_width": ("... width of the interval (median)", "low is good"),
    "energy_distance": ("Generalised energy distance of the samples", "0 is best"),
}
"""What the figures of ``csam evaluate`` mean, in the order in which they are shown: words, and how to read them."""


def rows(before: dict, after: dict) -> list[tuple[str, str, str, str]]:
    """Words, figure before and after calibration, how to read it; one row a measure (and structure) that is known."""
    found = []
    for name in [*(n for n in MEASURES if n in after), *(n for n in after if n not in MEASURES)]:
        words, hint = MEASURES.get(name, (name.replace("_", " "), ""))
        pairs = [(words, before.get(name), after[name])]
        if isinstance(after[name], dict):
            first = before.get(name) or {}
            pairs = [(f"{words}: {part}", first.get(part), value) for part, value in after[name].items()]
        found += [(w, _text(b), _text(a), hint) for w, b, a in pairs if (b, a) != (None, None)]
    return found


def _measure(model: Model, measure: Measure) -> str:
    """A kind and what of, as "ventricular function (cavity: Left ventricle)"."""
    names = {label.value: label.name for label in model.labels}
    parts = [f"{part}: {names.get(value, value)}" for part, value in measure.structures.items()]
    return f"{measure.kind} ({', '.join([*parts, *filter(None, [measure.given])])})"


def _ancestors(model: Model) -> list[str]:
    """A line for every model that this one was fine-tuned from; stages on the same data are one."""
    lines: dict[tuple, str] = {}
    for name, origin in model.ancestors:
        data = origin.get("data", "unknown data")
        many = f" ({len(origin['training_patients'])} training patients)" if origin.get("training_patients") else ""
        who = "an earlier model of the same name" if name == model.name else name
        lines.setdefault((name, data), f"- Fine-tuned from {who}, which learned from {data}{many}")
    return [*lines.values()]


def _range(pair) -> str:
    low, high = (f"{value:g}" for value in pair)
    return low if low == high else f"{low} to {high}"


def _text(value) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def write_card(model: Model, folder: Path) -> None:
    (folder / "MODEL_CARD.md").write_text(card(model), encoding="utf-8", newline="\n")
