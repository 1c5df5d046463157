"""Numbers in words, as the panel says them. Pure functions, without Qt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

GOOD, FAIR = 0.9, 0.8
"""Case quality (the Dice to expect) from which on a result of an uncalibrated model is good or fair."""

GOOD_RANK, FAIR_RANK = 0.5, 0.2
"""The same for a calibrated one: share of the validation scans with a lower one."""


def quality(value: float, rank: float | None = None) -> str:
    """The case quality in words, with its number; rank: its place among the validation scans, where known."""
    measured, good, fair = (value, GOOD, FAIR) if rank is None else (rank, GOOD_RANK, FAIR_RANK)
    place = "" if rank is None else f", higher than in {rank:.0%} of the validation scans".replace("%", " %")
    if measured >= good:
        return f"Case quality: good (expected Dice {value:.2f}{place})."
    if measured >= fair:
        return f"Case quality: fair (expected Dice {value:.2f}{place}). Look at the uncertain slices."
    return f"Case quality: poor (expected Dice {value:.2f}{place}). Look at every slice before you use this result."


def seconds(value: float | None) -> str:
    """A duration for a person; empty while unknown."""
    if value is None or value < 0:
        return ""
    if value < 90:
        return f"{max(1, round(value))} s"
    return f"{round(value / 60)} min"


def memory(size: float) -> str:
    """A size in bytes as gigabytes."""
    gigabytes = size / 2**30
    return f"{gigabytes:.0f} GB" if gigabytes >= 10 else f"{gigabytes:.1f} GB"


def device(entry: Mapping) -> str:
    """A device of the worker's hello: its name, with free memory or threads where known."""
    name = entry.get("name") or entry["id"]
    if entry["id"] == "cpu":
        name = "CPU"
        threads = entry.get("threads")
        return f"{name}, {threads} thread{'' if threads == 1 else 's'}" if threads else name
    free = entry.get("free_bytes")
    return f"{name}, {memory(free)} free" if free else name


def millilitres(value: float) -> str:
    """A volume with as many digits as mean something."""
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def interval(low: float, high: float) -> str:
    return f"{millilitres(low)} to {millilitres(high)}"


def edits(structures: Iterable[tuple[str, float, float]]) -> str:
    """What a person has changed: name, volume now and volume found by the run, in ml, of each edited structure."""
    said = [
        f"{name} was edited: {millilitres(now)} ml now, {millilitres(before)} ml before."
        for name, now, before in structures
    ]
    return " ".join([*said, "Interval and uncertainty are those of the automatic result."]) if said else ""


def bullets(sentences, color: str = "#b35900") -> str:
    """Sentences as rich text, one a line, each with a warning sign; the colour reads on light and on dark."""
    return "<br>".join(f'<span style="color:{color}">⚠</span> {escape(sentence)}' for sentence in sentences)


def fits() -> str:
    return '<span style="color:#2e8b57">✓</span> The image fits what the model was trained on.'


def cannot_run(reason: str) -> str:
    return f'<span style="color:#d03030">✗</span> {escape(reason)}'
