"""Values between PySide6 and PythonQt: enums are ints, lists are tuples, objects show their host class."""

from __future__ import annotations

import enum
import functools
import operator
import typing
from functools import cache
from typing import Any

from shibokensupport.signature import get_signature


class NotInHost(NotImplementedError):
    """The application has this name; the test host does not have it yet."""


class Objects:
    """How objects cross; ``pythonqt`` sets both, because it knows the classes."""

    seen = staticmethod(lambda value: value)
    given = staticmethod(lambda value: value)


def adopt(value: Any) -> Any:
    """What Python sees of a value that came from Qt: ints for enums, tuples for lists, host classes for objects."""
    if isinstance(value, enum.Enum):
        return int(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(adopt(item) for item in value)
    return Objects.seen(value)


def plain(value: Any) -> Any:
    """What PySide gets: its own class or object in place of the host's."""
    return Objects.given(value)


def call(function, signatures_of, args: tuple) -> Any:
    """Call a PySide function as PythonQt would: ints stand for enums."""
    args = tuple(plain(arg) for arg in args)
    try:
        return adopt(function(*args))
    except TypeError:
        for variant in _with_enums(signatures_of, args):
            try:
                return adopt(function(*variant))
            except (TypeError, ValueError):
                continue
        raise


def _with_enums(function, args: tuple):
    signatures = get_signature(function) or []
    for signature in signatures if isinstance(signatures, list) else [signatures]:
        parameters = [p for p in signature.parameters.values() if p.name != "self" and p.kind is not p.KEYWORD_ONLY]
        variant = list(args)
        for position, (arg, parameter) in enumerate(zip(args, parameters, strict=False)):
            enums = _enums_in(parameter.annotation) if type(arg) is int else []
            if enums:
                fitting = [expected for expected in enums if _is_value_of(expected, arg)]
                if not fitting:
                    break  # another overload is meant
                variant[position] = fitting[0](arg)
        else:
            if any(new is not old for new, old in zip(variant, args, strict=True)):
                yield variant


def _enums_in(annotation) -> list[type[enum.Enum]]:
    kinds = typing.get_args(annotation) or (annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, enum.Enum)]


def _is_value_of(expected: type[enum.Enum], value: int) -> bool:
    values = [int(member.value) for member in expected.__members__.values()]
    if not issubclass(expected, enum.Flag):
        return value in values
    return value & ~functools.reduce(operator.or_, values, 0) == 0


@cache
def enum_members(pyside_class: type) -> dict[str, int]:
    """Every enum constant of a class and its bases, flat, as PythonQt has them."""
    enums = [getattr(pyside_class, name, None) for name in dir(pyside_class)]
    return {
        name: int(member.value)
        for found in enums
        if isinstance(found, type) and issubclass(found, enum.Enum)
        for name, member in found.__members__.items()
    }


class EnumClass:
    """``qt.Qt.Orientation``: its constants as ints; called with an int it gives the int."""

    def __init__(self, members: dict[str, int]):
        self.__dict__.update(members)

    def __call__(self, value: int) -> int:
        return int(value)


def enum_class(pyside_class: type, name: str) -> EnumClass:
    for candidate in (name, name.removesuffix("s")):
        found = getattr(pyside_class, candidate, None)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            return EnumClass({key: int(member.value) for key, member in found.__members__.items()})
    raise NotInHost(f"{pyside_class.__name__}.{name} is an enum that Qt 6 does not have")
