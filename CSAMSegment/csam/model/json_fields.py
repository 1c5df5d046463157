"""Reads untrusted JSON field by field, with errors that name the field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InputError, ModelError

_MISSING = object()


class Fields:
    """A JSON object and where it stands: every getter checks type and bounds and raises ModelError naming the field.

    >>> Fields({"labels": [{"value": 1}]}, "model.json").items("labels")[0].integer("value", 1, 255)
    1
    """

    def __init__(self, values: Any, where: str):
        if not isinstance(values, Mapping):
            raise ModelError(f"{where} is {_short(values)}; an object with named fields was expected.")
        self.values = values
        self.where = where

    def check_writable(self) -> None:
        """Raises ModelError for what no file can hold: JSON may have half a character, such as \\ud800 alone."""
        for name, value in self.values.items():
            try:
                json.dumps([name, value], ensure_ascii=False).encode()
            except (UnicodeEncodeError, RecursionError) as error:
                raise ModelError(f"{self.where}: the field {name!r:.60} cannot be written: {error}.") from error

    def _get(self, name: str, kind: str, accepts, default) -> Any:
        value = self.values.get(name, default)
        if value is default and default is not _MISSING:
            return default
        if value is _MISSING:
            raise ModelError(f"{self.where}: the field {name} is missing; {kind} was expected.")
        if not accepts(value):
            raise ModelError(f"{self.where}: the field {name} is {_short(value)}; {kind} was expected.")
        return value

    def text(self, name: str, default: Any = _MISSING, choices: tuple[str, ...] = (), limit: int = 20_000) -> str:
        kind = "one of " + ", ".join(choices) if choices else f"text of at most {limit} characters"
        return self._get(
            name, kind, lambda v: isinstance(v, str) and len(v) <= limit and (not choices or v in choices), default
        )

    def flag(self, name: str, default: Any = _MISSING) -> bool:
        return self._get(name, "true or false", lambda v: isinstance(v, bool), default)

    def integer(self, name: str, low: int, high: int, default: Any = _MISSING) -> int:
        kind = f"a whole number from {low} to {high}"
        return self._get(name, kind, lambda v: type(v) is int and low <= v <= high, default)

    def number(self, name: str, low: float, high: float, default: Any = _MISSING) -> float:
        kind = f"a number from {low} to {high}"
        return self._get(name, kind, lambda v: _is_number(v, low, high), default)

    def numbers(self, name: str, count: int, low: float, high: float, default: Any = _MISSING) -> tuple[float, ...]:
        kind = f"a list of {count} numbers from {low} to {high}"
        value = self._get(
            name,
            kind,
            lambda v: isinstance(v, list) and len(v) == count and all(_is_number(n, low, high) for n in v),
            default,
        )
        return value if value is default else tuple(value)

    def texts(self, name: str, default: Any = _MISSING) -> Sequence[str]:
        return self._get(
            name, "a list of texts", lambda v: isinstance(v, list) and all(isinstance(t, str) for t in v), default
        )

    def mapping(self, name: str, default: Any = _MISSING) -> dict:
        return self._get(name, "an object with named fields", lambda v: isinstance(v, Mapping), default)

    def sub(self, name: str) -> Fields:
        return Fields(self.mapping(name), f"{self.where}: {name}")

    def items(self, name: str, limit: int = 1000) -> list[Fields]:
        value = self._get(
            name, f"a list of 1 to {limit} entries", lambda v: isinstance(v, list) and 1 <= len(v) <= limit, _MISSING
        )
        return [Fields(item, f"{self.where}: {name}[{i}]") for i, item in enumerate(value)]


def _is_number(value: Any, low: float, high: float) -> bool:
    # Comparing comes first: it refuses NaN and infinity, and whole numbers too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def refuse_unknown(found: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raises InputError that names the fields nobody knows, misspelt perhaps, and those that there are."""
    unknown = sorted(set(found) - set(known))
    if unknown:
        named = f"field {unknown[0]!r} is" if len(unknown) == 1 else f"fields {', '.join(map(repr, unknown))} are"
        raise InputError(f"{what} {named} not known; there are {', '.join(known)}.")
