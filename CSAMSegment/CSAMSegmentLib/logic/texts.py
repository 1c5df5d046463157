"""What the panel says, in the language of the application. Pure functions, without Qt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape

from csam.result import REGION, SLICES, WHOLE

try:
    from slicer.i18n import tr
except ImportError:  # no application (slicer-core): the text itself

    def tr(text: str) -> str:
        """The text in the language of the application."""
        return text


_ = tr

GOOD, FAIR = 0.9, 0.8
"""Expected Dice from which on a result of an uncalibrated model is good or fair."""

GOOD_RANK, FAIR_RANK = 0.5, 0.1
"""The same for a calibrated one: share of the validation scans with a lower one. 0.1 is ``expected_error.POOR``."""


def quality(value: float, rank: float | None = None, extent: str = WHOLE) -> str:
    """The expected Dice and what it means; rank: its place among the validation scans, where known.

    extent: what of the image was segmented. Of a part, no more than its own Dice is known: no word for it.
    """
    part = {
        REGION: _("Inside the region the expected Dice is {dice}."),
        SLICES: _("In these slices the expected Dice is {dice}."),
    }.get(extent)
    if part is not None:
        known = part.format(dice=f"{value:.2f}")
        return f"{known} " + _("Do not compare it with that of a whole scan; for that, segment the whole image.")
    measured, good, fair = (value, GOOD, FAIR) if rank is None else (rank, GOOD_RANK, FAIR_RANK)
    if measured >= good:
        said, advice = _("Expected Dice {dice}: good"), ""
    elif measured >= fair:
        said, advice = _("Expected Dice {dice}: fair"), _("Look at the first slices of the list.")
    else:
        said, advice = _("Expected Dice {dice}: poor"), _("Look at every slice before you use this result.")
    said = said.format(dice=f"{value:.2f}")
    if rank is not None:
        place = _("higher than in {share} % of the validation scans").format(share=f"{100 * rank:.0f}")
        said = f"{said}, {place}"
    return f"{said}. {advice}".rstrip()


def seconds(value: float | None) -> str:
    """A duration in words; empty while unknown."""
    if value is None or value < 0:
        return ""
    if value < 90:
        return _("{count} s").format(count=max(1, round(value)))
    return _("{count} min").format(count=round(value / 60))


def memory(size: float) -> str:
    """A size in bytes as gigabytes."""
    gigabytes = size / 2**30
    return _("{size} GB").format(size=f"{gigabytes:.0f}" if gigabytes >= 10 else f"{gigabytes:.1f}")


def device(entry: Mapping) -> str:
    """A device of the worker's hello: its name, with free memory or threads where known."""
    name = entry.get("name") or entry["id"]
    if entry["id"] == "cpu":
        threads = entry.get("threads")
        if not threads:
            return _("CPU")
        return _("CPU, 1 thread") if threads == 1 else _("CPU, {count} threads").format(count=threads)
    free = entry.get("free_bytes")
    return _("{name}, {size} free").format(name=name, size=memory(free)) if free else name


def no_device(wanted: str, unusable: Iterable[Mapping]) -> str:
    """What to do when the chosen device cannot be had; unusable: as in the worker's hello."""
    for entry in unusable:
        if wanted in (entry["id"], entry["id"].split(":")[0]):
            return _("{device} cannot be used: {reason}. Choose Automatic under Advanced.").format(
                device=entry["name"], reason=entry["reason"]
            )
    return _("{device} is not on this computer. Choose Automatic under Advanced.").format(device=wanted)


def millilitres(value: float) -> str:
    """A volume with as many digits as mean something."""
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def interval(low: float, high: float) -> str:
    return _("{low} to {high}").format(low=millilitres(low), high=millilitres(high))


def edits(structures: Iterable[tuple[str, float, float]]) -> str:
    """What a user has changed: name, volume now and volume found by the run, in ml, of each edited structure."""
    said = [
        _("{name} was edited: {now} ml now, {before} ml before.").format(
            name=name, now=millilitres(now), before=millilitres(before)
        )
        for name, now, before in structures
    ]
    return (
        " ".join([*said, _("The interval and the error probability still belong to the result before your edits.")])
        if said
        else ""
    )


def bullets(sentences, color: str = "#b35900") -> str:
    """Sentences as rich text, one a line, each with a warning sign; the colour reads on light and on dark."""
    return "<br>".join(f'<span style="color:{color}">⚠</span> {_rich(sentence)}' for sentence in sentences)


def _rich(sentence: str) -> str:
    """A sentence as rich text. Long names may break: Qt gives a label the width of its longest word. Paths stay as
    they are, as somebody may copy them."""
    words = (
        word if {*word} & {*"/\\"} else re.sub(r"(\S{30})(?=\S)", "\\1\u200b", word) for word in sentence.split(" ")
    )
    return escape(" ".join(words))


def fits() -> str:
    return '<span style="color:#2e8b57">✓</span> ' + _("The image fits what the model was trained on.")


def cannot_run(reason: str) -> str:
    return f'<span style="color:#d03030">✗</span> {_rich(reason)}'
