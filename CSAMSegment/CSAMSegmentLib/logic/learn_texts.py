"""What the part Learn says. Pure functions, without Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log2
from typing import Any

from csam.training.training_request import CALIBRATING, ELSEWHERE

from .texts import seconds
from .texts import tr as _

TOLD = ("field_of_view", "in_plane_spacing", "num_slices", "slice_axis", "intensity", "learning_rate")
"""The decisions of a plan that are told in the panel; reasons.txt in the training's folder has all of them."""


def plan(event: Mapping[str, Any], minutes: float) -> str:
    """What a training would do and why. event: the fields of the event "plan" of ``csam.cli.training_lines``."""
    names = {
        "field_of_view": _("Field of view (pixels)"),
        "in_plane_spacing": _("Pixel size (mm)"),
        "num_slices": _("Slices at once"),
        "slice_axis": _("Slice axis"),
        "intensity": _("Intensities"),
        "learning_rate": _("Learning rate"),
    }
    learn, validate = event["training"], event["validation"]
    said = [
        _("{learn} patient(s) for training, {validate} for validation: {names}.").format(
            learn=len(learn), validate=len(validate), names=", ".join(validate[:6]) + ("…" if len(validate) > 6 else "")
        )
    ]
    decisions = {field: (value, reason) for field, value, reason in event["decisions"]}
    for field in TOLD:
        if field in decisions:
            value, reason = decisions[field]
            value = " × ".join(f"{v:g}" for v in value) if isinstance(value, list) else value
            said.append(f"{names[field]}: {value}. {_sentence(reason)}")
    steps = decisions.get("steps", (4000, ""))[0]
    if minutes:
        said.append(
            _(
                "The first steps are timed. Then the number of steps is set to fit the chosen time. If too few fit, "
                "a training from scratch gets a lighter plan. The training ends earlier if the validation stops "
                "improving."
            )
        )
    else:
        said.append(
            _("Up to {steps} steps. The training ends earlier if the validation stops improving.").format(steps=steps)
        )
    said += [_sentence(note) for note in (*event["notes"], *event["anew"])]
    return "\n".join(f"• {line}" for line in said)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def progress(stage: str, seconds_left: float | None, rows: Sequence[Mapping[str, Any]]) -> str:
    """How far a training is: stage, time left, loss and the last validation Dice."""
    if stage == CALIBRATING:
        said = [_("Measuring and calibrating on the validation patients")]
    else:
        said = [_("Learning") if stage else _("Starting")]
        left = seconds(seconds_left)
        said += [_("{time} left").format(time=left)] if left and stage else []
    said += [_("loss {loss}").format(loss=f"{rows[-1]['loss']:.2f}")] if rows else []
    dice = [row["validation_dice"] for row in rows if row.get("validation_dice") is not None]
    said += [_("validation Dice {dice}").format(dice=f"{dice[-1]:.2f}")] if dice else []
    return ", ".join(said)


def where(host: str) -> str:
    """On which other computer the model learns, and what is needed there; empty for this one."""
    if not host:
        return ""
    return _("Models learn on {host}. The data set must be there, under the same path.").format(host=host)


def discard(host: str) -> str:
    """The question before a training is deleted. host: the other computer on which it was, empty for none."""
    question = _("Delete this training and what it has learned? The data set stays.")
    if host:
        question += " " + _("Its checkpoints stay on {host}, in the folder {folder}.").format(
            host=host, folder=ELSEWHERE
        )
    return question


def found(dataset: str, step: int, steps: int) -> str:
    """That there is a training to go on with."""
    if not step:
        return _('A training on "{dataset}" was started and not finished.').format(dataset=dataset)
    text = _('A training on "{dataset}" is not finished: step {step} of {steps}. Press Resume to continue it.')
    return text.format(dataset=dataset, step=step, steps=steps or "?")


def summary(model, chosen: bool = True) -> str:
    """What a finished model has learned, for a clinician. model: with its metrics. chosen: whether the panel has chosen
    it."""
    measured = model.metrics.get("validation", {}) if isinstance(model.metrics, Mapping) else {}
    scans, by_name = measured.get("cases", 0), measured.get("dice", {})
    where = (
        _('The model "{title}" is in the list of models and chosen.')
        if chosen
        else _('The model "{title}" is in the list of models.')
    )
    said = [where.format(title=model.title)]
    if not scans:
        return said[0]
    said.append(_("Measured on {scans} scan(s) that it has not learned from:").format(scans=scans))
    for name, dice in by_name.items():
        figure = _("not in these scans") if dice is None else _("Dice {dice}").format(dice=f"{dice:.2f}")
        said.append(f"• {name}: {figure}")
    if scans > 1 and measured.get("dice_lowest") is not None:
        said.append(_("Lowest Dice of a scan: {dice}.").format(dice=f"{measured['dice_lowest']:.2f}"))
    if scans < FEW:
        said.append(
            _("With so few scans, these figures say little about others. Look at every slice of this model's results.")
        )
    return "\n".join(said)


def more_cases(model, others: Iterable) -> str:
    """Whether further cases are likely to help, by the models that have learned from fewer cases of this data set.

    model: the newest. others: of the list, it among them or not. Empty without a model that learned from fewer.
    """
    data = model.provenance.get("data")
    of_size = {_learned(one): _dice(one) for one in (*others, model) if one.provenance.get("data") == data}
    sizes = sorted(size for size in of_size if 0 < size <= _learned(model) and of_size[size] is not None)
    if len(sizes) < 2 or sizes[-1] != _learned(model):
        return ""
    so_far = "; ".join(
        _("{count} patients: Dice {dice}").format(count=size, dice=f"{of_size[size]:.2f}") for size in sizes
    )
    before, now = sizes[-2:]
    gain = (of_size[now] - of_size[before]) / log2(now / before)
    if gain >= WORTH:
        advice = _("More cases are likely to help.")
    else:
        advice = _("The last cases brought little.")
    said = _("Models of this data set, by the number of patients that they learned from: {so_far}. {advice}")
    return said.format(so_far=so_far, advice=advice) + " " + _("Each was measured on other scans, so this is rough.")


def _learned(model) -> int:
    return len(model.provenance.get("training_patients") or ())


def _dice(model) -> float | None:
    measured = model.metrics.get("validation", {}) if isinstance(model.metrics, Mapping) else {}
    return measured.get("dice_mean")


WORTH = 0.01
"""Dice that twice as many patients have to bring, or more of them are said not to help."""
FEW = 5
"""Validation scans below which the summary warns that there are few."""
