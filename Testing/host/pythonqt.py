"""PySide6 classes made to behave as PythonQt's: the one place that knows how the two differ.

``host_class("qt.QSlider", QtWidgets.QSlider)`` is a subclass whose instances and class offer the names of the table
in ``api`` and no others:

- a property is an attribute (``slider.value``; ``slider.value()`` raises TypeError), assignable;
- a method takes no keywords and takes and gives enums as ints, lists as tuples;
- a signal connects by ``w.clicked.connect(f)`` and by ``w.connect("clicked(bool)", f)``;
- any other name raises AttributeError; a name that the application has and this host has not, NotImplementedError.

Objects that were made in C++ show the same names through a proxy (``Adopted``).
"""

from __future__ import annotations

import inspect
import keyword
import opcode
import sys
from typing import Any

from PySide6.QtCore import Property, QObject

from . import api
from .bound import BoundSignal, Method, special_methods, special_statics
from .values import NotInHost, Objects, adopt, call, enum_class, enum_members, plain

PASSING = {"staticMetaObject", "mro"}
"""Public names that PySide itself looks for on its classes."""

_host_of: dict[type, type] = {}
_being_read: set[tuple[int, str]] = set()


def host_of(pyside_class: type) -> type | None:
    """The host's class for objects of a PySide class; for an unmeasured one a class with its nearest base's names."""
    if pyside_class not in _host_of:
        nearest = next((base for base in pyside_class.__mro__[1:] if base in _host_of), None)
        if nearest is None:
            return None
        host_class(_host_of[nearest]._key, pyside_class)
        if not issubclass(pyside_class, QObject):  # an event or item: all its names are calls
            names = {name: api.METHOD for name in dir(pyside_class) if not name.startswith("_")}
            _host_of[pyside_class]._kinds = names | _host_of[nearest]._kinds
    return _host_of[pyside_class]


def see(value: Any) -> Any:
    """An object of PySide6 as its host class shows it."""
    kind = type(value)
    if isinstance(kind, type(QObject)) and not isinstance(kind, PythonQtType):
        host = host_of(kind)
        if host is not None:
            return Adopted(value, host)
    return value


def give(value: Any) -> Any:
    """The PySide6 class of a host class, the object behind a proxy."""
    if isinstance(value, PythonQtType):
        return value._pyside
    if type(value) is Adopted:
        return value._raw
    return value


class PythonQtType(type(QObject)):
    """The class side: enums as flat ints, static methods, nothing that was not measured."""

    def __getattribute__(cls, name: str):
        get = super().__getattribute__
        if name.startswith("_") or name in PASSING or any(name in vars(base) for base in get("_python_classes")()):
            return get(name)
        kind, pyside = get("_kinds").get(name), get("_pyside")
        if kind == api.ENUM:
            members = enum_members(pyside)
            if name not in members:
                raise NotInHost(f"{cls.__name__}.{name} is an enum value that Qt 6 does not have")
            return members[name]
        if kind == api.CLASS:
            return enum_class(pyside, name)
        if kind == api.METHOD:
            if (pyside.__name__, name) in special_statics:
                return special_statics[pyside.__name__, name]
            function = get(name) if hasattr(pyside, name) else None
            if function is None:
                raise NotInHost(f"{cls.__name__}.{name} is not in Qt 6")
            return lambda *args: call(function, function, args)
        if kind is not None:
            return get(name)
        raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}' in PythonQt")

    def _python_classes(cls) -> list[type]:
        """The classes that were written in Python on top of the host's generated class."""
        return cls.__mro__[: next(i for i, base in enumerate(cls.__mro__) if "_generated" in vars(base))]


class PythonQtObject:
    """The instance side, in front of a PySide6 class."""

    __slots__ = ()

    def __init__(self, *args, **keywords):
        if keywords:
            raise TypeError(f"{type(self).__name__}() takes no keyword arguments in PythonQt")
        pyside = type(self)._pyside
        call(lambda *values: pyside.__init__(self, *values), pyside, args)

    def __init_subclass__(cls, **keywords):
        """Events that Qt hands to overridden methods are adopted, too."""
        super().__init_subclass__(**keywords)
        pyside = cls._pyside
        for name, function in list(vars(cls).items()):
            if inspect.isfunction(function) and not name.startswith("_") and hasattr(pyside, name):
                setattr(cls, name, _override(function))

    def __getattribute__(self, name: str):
        get = super().__getattribute__
        if name.startswith("_") or name in PASSING:
            return get(name)
        cls = type(self)
        kind = cls._kinds.get(name)
        if (kind is None and name in get("__dict__")) or cls._is_python(name, kind):
            return get(name)
        if kind is None:
            if hasattr(cls._pyside, name) and not _is_attribute_of_the_source(sys._getframe(1)):
                return get(name)  # Qt looks for an overridden virtual method
            raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}' in PythonQt")
        return cls._bind(self, name, kind, get)

    @classmethod
    def _is_python(cls, name: str, kind: str | None) -> bool:
        """Whether a class written in Python on top of the host's has this name (for itself, or to override Qt)."""
        found = next((vars(base)[name] for base in cls._python_classes() if name in vars(base)), None)
        return found is not None and (kind is None or inspect.isfunction(found))

    @classmethod
    def _bind(cls, owner, name: str, kind: str, get):
        if kind == api.PROPERTY:
            return cls._read(owner, name)
        if kind == api.METHOD and name in special_methods:
            function = special_methods[name]
            return lambda *args: adopt(function(owner, *args))
        if kind in (api.ENUM, api.CLASS):
            return getattr(cls, name)
        try:
            found = get(f"{name}_" if keyword.iskeyword(name) else name)
        except AttributeError:
            raise NotInHost(f"{cls.__name__}.{name}: the application has it, the test host has not") from None
        if kind == api.SIGNAL:
            return BoundSignal(owner, name, found)
        if inspect.ismethod(found):
            return found
        return Method(owner, name, found, getattr(cls._pyside, name, found))

    @classmethod
    def _read(cls, owner, name: str):
        name = "objectName" if name == "name" else name
        if not isinstance(owner, QObject):
            raise NotInHost(f"{cls.__name__}.{name}: a property of something that is no QObject")
        if QObject.metaObject(owner).indexOfProperty(name) < 0:
            plain_getter = getattr(cls._pyside, name, None)
            if plain_getter is None:
                raise NotInHost(f"{cls.__name__}.{name}: the application has this property, the test host has not")
            return adopt(plain_getter(owner))
        if (id(owner), name) in _being_read:  # Qt asks for the virtual method of this name
            return getattr(cls._pyside, name)
        _being_read.add((id(owner), name))
        try:
            return adopt(QObject.property(owner, name))
        finally:
            _being_read.discard((id(owner), name))

    @classmethod
    def _assign(cls, owner, name: str, value) -> bool:
        """Assign as PythonQt does to what belongs to Qt; False where the name is none of Qt's."""
        kind = cls._kinds.get(name)
        if kind == api.PROPERTY:
            qt_name = "objectName" if name == "name" else name
            if not isinstance(owner, QObject) or QObject.metaObject(owner).indexOfProperty(qt_name) < 0:
                raise NotInHost(f"{cls.__name__}.{name} = ...: the test host has no such property")
            if not QObject.setProperty(owner, qt_name, list(value) if isinstance(value, tuple) else plain(value)):
                raise ValueError(f"Property {name} of {cls.__name__} is read only or does not accept {value!r}")
            return True
        if kind is not None:
            raise AttributeError(f"{kind} '{name}' can not be overwritten on {cls.__name__} object")
        if isinstance(owner, QObject) and QObject.property(owner, name) is not None:
            return QObject.setProperty(owner, name, value) or True
        return False

    def __setattr__(self, name: str, value):
        cls = type(self)
        if name.startswith("_") or (name not in cls._kinds and cls._python_classes()):
            super().__setattr__(name, value)
        elif not cls._assign(self, name, value):
            raise AttributeError(f"'{name}' does not exist on {cls.__name__}: PythonQt makes no new attributes")

    def __dir__(self):
        return sorted(type(self)._kinds)


def _is_attribute_of_the_source(frame) -> bool:
    """Whether a frame is at ``something.name`` in Python source, rather than inside a call."""
    return opcode.opname[frame.f_code.co_code[frame.f_lasti]] in ("LOAD_ATTR", "LOAD_METHOD")


class Adopted:
    """An object that was made in C++, seen as an instance of its host class."""

    __slots__ = ("_host", "_raw")

    def __init__(self, raw, host: type):
        object.__setattr__(self, "_raw", raw)
        object.__setattr__(self, "_host", host)

    @property
    def __class__(self):
        return self._host

    def __getattribute__(self, name: str):
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        raw, host = self._raw, self._host
        kind = host._kinds.get(name)
        if kind is None:
            raise AttributeError(f"'{host.__name__}' object has no attribute '{name}' in PythonQt")
        return host._bind(raw, name, kind, lambda wanted: getattr(raw, wanted))

    def __setattr__(self, name: str, value):
        if not self._host._assign(self._raw, name, value):
            raise AttributeError(f"'{name}' does not exist on {self._host.__name__}: PythonQt makes no new attributes")

    def __eq__(self, other):
        return self._raw == plain(other)

    def __hash__(self):
        return hash(self._raw)

    def __repr__(self):
        return f"<{self._host.__name__} made in C++: {self._raw!r}>"

    def __dir__(self):
        return sorted(self._host._kinds)


def _override(function):
    def overridden(self, *args):
        return function(self, *(adopt(arg) for arg in args))

    overridden.__name__ = function.__name__
    overridden.__doc__ = function.__doc__
    return overridden


def host_class(key: str, pyside_class: type) -> type:
    """The host's class for a measured one, on top of a PySide6 class; made once."""
    if pyside_class in _host_of and _host_of[pyside_class]._key == key:
        return _host_of[pyside_class]
    namespace = {"__slots__": (), "_key": key, "_kinds": api.kinds(key), "_pyside": pyside_class, "_generated": True}
    made = PythonQtType(pyside_class.__name__, (PythonQtObject, pyside_class), namespace)
    _host_of.setdefault(pyside_class, made)
    return made


def stand_in(key: str, pyside_class: type) -> type:
    """A base for a class that PySide6 does not have: ``class ctkX(stand_in("ctk.ctkX", QtWidgets.QWidget))``.

    Properties that were measured and are not written there are kept, without effect.
    """
    meta = pyside_class.staticMetaObject
    namespace = {"_key": key, "_kinds": api.kinds(key), "_pyside": pyside_class, "_generated": True}
    for name, type_name in api.property_types(key).items():
        if meta.indexOfProperty(name) < 0:
            namespace[name] = _kept(name, type_name)
    # A name of its own: PySide leaves the signals of a class out that is called as its base.
    return PythonQtType(f"Base of {key}", (PythonQtObject, pyside_class), namespace)


def _kept(name: str, type_name: str) -> Property:
    field = f"_kept_{name}"
    empty = {"bool": False, "int": 0, "float": 0.0, "str": "", "tuple": ()}.get(type_name)
    return Property(
        api.TYPES.get(type_name, "QVariant"),
        lambda self: self.__dict__.get(field, empty),
        lambda self, value: self.__dict__.__setitem__(field, value),
    )


Objects.seen, Objects.given = see, give
