"""What hangs on one object: its methods and signals, as PythonQt gives them."""

from __future__ import annotations

import inspect
import re
from typing import Any

import shiboken6
from PySide6.QtCore import QObject
from shibokensupport.signature import get_signature

from . import api
from .values import adopt, call, plain

special_methods: dict[str, Any] = {}
"""Methods that PythonQt adds or that tests replace (dialogs): name to ``function(instance, *args)``."""
special_statics: dict[tuple[str, str], Any] = {}
"""(class name, method name) to function, for class-level calls such as QMessageBox.question."""


class Method:
    """A method of one object, as PythonQt gives it."""

    def __init__(self, owner: QObject, name: str, function, signatures_of):
        self._owner, self._name, self._function, self._signatures_of = owner, name, function, signatures_of

    def __call__(self, *args, **keywords):
        if keywords:
            raise TypeError(f"{self._name}() takes no keyword arguments in PythonQt")
        if not shiboken6.isValid(self._owner):
            raise ValueError(f"Trying to call '{self._name}' on a destroyed {type(self._owner).__name__} object")
        return call(self._function, self._signatures_of, args)

    def __eq__(self, other):
        return isinstance(other, Method) and (self._owner, self._name) == (other._owner, other._name)

    def __hash__(self):
        return hash((id(self._owner), self._name))

    def takes_arguments(self) -> bool:
        signatures = get_signature(self._signatures_of) or []
        signatures = signatures if isinstance(signatures, list) else [signatures]
        return any(set(signature.parameters) - {"self"} for signature in signatures)


class BoundSignal:
    """``widget.clicked``: connect, disconnect, and emit by calling."""

    def __init__(self, owner: QObject, name: str, signal):
        self._owner, self._name, self._signal = owner, name, signal

    def connect(self, function, arguments: int | None = None) -> bool:
        if not callable(function):
            raise TypeError(f"{self._name}.connect needs a function, got {function!r}")

        def run(*args):
            args = tuple(adopt(arg) for arg in args)
            return function(*args[: _accepted(function, len(args) if arguments is None else arguments)])

        slot = _with_parameters(run, self._parameter_count())
        self._signal.connect(slot)
        self._connections().append((function, slot))
        return True

    def disconnect(self, function=None) -> bool:
        connections = self._connections()
        matching = [pair for pair in connections if function is None or pair[0] == function]
        for pair in matching:
            self._signal.disconnect(pair[1])
            connections.remove(pair)
        return bool(matching)

    def emit(self, *args):
        self._signal.emit(*(plain(arg) for arg in args))

    __call__ = emit

    def _parameter_count(self) -> int:
        """The most that any overload has; a signal written in Python is in the meta object only once it is used."""
        meta = QObject.metaObject(self._owner)
        methods = [meta.method(index) for index in range(meta.methodCount())]
        counts = [m.parameterCount() for m in methods if m.name() == self._name.encode()]
        written = re.search(r"\((.*)\)", str(self._signal)).group(1)
        return max(*counts, written.count(",") + 1 if written else 0, 0)

    def _connections(self) -> list:
        return self._owner.__dict__.setdefault("_connections", {}).setdefault(self._name, [])


def _with_parameters(run, count: int):
    """A function with as many parameters as the signal: for any number PySide would choose ``clicked()``."""
    return (lambda: run(), lambda a: run(a), lambda a, b: run(a, b), lambda a, b, c: run(a, b, c))[min(count, 3)]


def _accepted(function, offered: int) -> int:
    """How many of the signal's arguments a function takes: PythonQt leaves the rest away."""
    if isinstance(function, Method) and not function.takes_arguments():
        return 0
    if isinstance(function, (Method, BoundSignal)):
        return offered
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return offered
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return offered
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return min(offered, len(positional))


def connect(owner: QObject, signature: str, function) -> bool:
    """``widget.connect("clicked(bool)", f)``: the signature's arguments are those that f gets."""
    name, _, rest = signature.partition("(")
    seen = adopt(owner)
    if seen.__class__._kinds.get(name) != api.SIGNAL:
        raise AttributeError(f"{seen.__class__.__name__} has no signal {signature!r}")
    arguments = rest.rstrip(")").strip()
    return getattr(seen, name).connect(function, arguments.count(",") + 1 if arguments else 0)


def disconnect(owner: QObject, signature: str, function=None) -> bool:
    return getattr(adopt(owner), signature.partition("(")[0]).disconnect(function)


def set_property(owner: QObject, name: str, value) -> bool:
    """As measured: a name that Qt does not know keeps text only; other values come back as 0."""
    known = owner.metaObject().indexOfProperty(name) >= 0
    return QObject.setProperty(owner, name, value if known or isinstance(value, str) else 0)


special_methods.update(
    connect=connect,
    disconnect=disconnect,
    setProperty=set_property,
    className=lambda owner: QObject.metaObject(owner).className(),
    delete=lambda owner: QObject.deleteLater(owner),
)
