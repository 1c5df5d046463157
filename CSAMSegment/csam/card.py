"""A model's card in Markdown, written from model.json alone."""

from __future__ import annotations

from pathlib import Path

from .model import Model

NOT_A_DEVICE = "Research software, not a medical device: it must not be used to diagnose or treat."


def card(model: Model) -> str:
    """What a person should know before trusting the model: what it does, what it learned from, how good it was."""
    where, trained = model.provenance, model.trained_on
    lines = [f"# {model.title}", "", model.about, "", f"**{NOT_A_DEVICE}**", "", "## What it takes and gives", ""]
    lines += [f"- Input: {c.name} ({c.modality})" for c in model.channels]
    lines += [f"- Structure {label.value}: {label.name}" for label in model.labels]
    lines += [
        f"- Slices: {model.slice_axis} axis, {model.num_slices} at a time; {model.in_plane_spacing:g} mm pixels, "
        f"field of view {model.field_of_view[0]}×{model.field_of_view[1]}",
        f"- Network: {model.architecture['network']}, {model.architecture['num_levels']} levels, base "
        f"{model.architecture['base_channels']}",
        f"- Licence: {model.licence or 'not stated'}",
        "",
        "## What it learned from",
        "",
        f"- {where.get('data', 'unknown data')} ({where.get('data_licence') or 'licence not stated'}): "
        f"{trained.patients} training patients; slices {trained.slice_spacing[0]:g} to {trained.slice_spacing[1]:g} mm "
        f"apart, pixels {trained.in_plane_spacing[0]:g} to {trained.in_plane_spacing[1]:g} mm, {trained.slices[0]:g} "
        f"to {trained.slices[1]:g} slices a stack",
    ]
    if where.get("extra_data"):
        lines.append(f"- Also, for training only: {', '.join(where['extra_data'])}")
    if where.get("validation_patients"):
        lines.append(f"- Validation patients, never trained on: {', '.join(where['validation_patients'])}")
    if model.metrics:
        lines += ["", "## How good it was", "", model.metrics.get("note", ""), ""]
        lines += _table(model.metrics)
        lines += ["", "Dice of every validation scan:", "", "| scan | Dice |", "|---|---|"]
        lines += [f"| {name} | {dice:.4f} |" for name, dice in model.metrics.get("cases", {}).items()]
    return "\n".join(lines).rstrip() + "\n"


def _table(metrics: dict) -> list[str]:
    before, after = metrics.get("before_calibration", {}), metrics.get("validation", {})
    lines = ["| measure | before calibration | after |", "|---|---|---|"]
    for name, value in after.items():
        flat = [(name, before.get(name), value)]
        if isinstance(value, dict):
            flat = [(f"{name}, {k}", before.get(name, {}).get(k), v) for k, v in value.items()]
        lines += [f"| {n.replace('_', ' ')} | {b} | {a} |" for n, b, a in flat]
    return lines


def write_card(model: Model, folder: Path) -> None:
    (folder / "MODEL_CARD.md").write_text(card(model), encoding="utf-8", newline="\n")
