"""``slicer.parameterNodeWrapper`` where no Slicer source is at hand: typed parameters on a node, connected to a form.

The types and widgets that a segmentation panel uses: bool, int, float, str, Path, enums, nodes (or a union of node
types), lists of these; check boxes, buttons, sliders, spin boxes, combo boxes, lines, labels, node selectors.
"""

import enum
import logging
import pathlib
import types
import typing
import weakref

import ctk
import qt
import slicer
import vtk

__all__ = [
    "Choice", "Decimals", "Default", "Exclude", "Maximum", "Minimum", "NotNone", "SingleStep", "Validator",
    "WithinRange", "isParameterNodeWrapper", "parameterNodeWrapper",
]  # fmt: skip

PROPERTY_IN_FORMS = "SlicerParameterName"


# Annotations ----------------------------------------------------------------------------------------------------------


class Default:
    def __init__(self, value=None, *, generator=None):
        self._value, self._generator = value, generator

    @property
    def value(self):
        return self._generator() if self._generator else self._value


class Decimals:
    def __init__(self, value):
        self.value = value


class SingleStep:
    def __init__(self, value):
        self.value = value


class Validator:
    def validate(self, value):
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value):
        if value is None:
            raise ValueError("The value must not be None")


class WithinRange(Validator):
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"The value {value} is not within [{self.minimum}, {self.maximum}]")


class Minimum(Validator):
    def __init__(self, minimum):
        self.minimum = minimum

    def validate(self, value):
        if value < self.minimum:
            raise ValueError(f"The value {value} is less than {self.minimum}")


class Maximum(Validator):
    def __init__(self, maximum):
        self.maximum = maximum

    def validate(self, value):
        if value > self.maximum:
            raise ValueError(f"The value {value} is greater than {self.maximum}")


class Choice(Validator):
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"The value {value!r} is none of {self.choices}")


class Exclude(Validator):
    def __init__(self, excludedValues):
        self.excludedValues = excludedValues

    def validate(self, value):
        if value in self.excludedValues:
            raise ValueError(f"The value {value!r} is excluded")


# How a value is kept on the node --------------------------------------------------------------------------------------


class _Text:
    """Kept as the text of a parameter."""

    def __init__(self, kind, write=str, read=None, default=None):
        self.kind, self._write, self._read, self._default = kind, write, read or kind, default

    def default(self):
        return self.kind() if self._default is None else self._default

    def check(self, value):
        accepted = (int, float) if self.kind is float else self.kind
        if not isinstance(value, accepted):
            raise (ValueError if value is None else TypeError)(f"{value!r} is no {self.kind.__name__}")

    def isIn(self, node, name):
        return node.HasParameter(name)

    def write(self, node, name, value):
        node.SetParameter(name, self._write(value))

    def read(self, node, name):
        return self._read(node.GetParameter(name))

    def remove(self, node, name):
        node.UnsetParameter(name)


class _Node(_Text):
    """Kept as a node reference; the parameter of the same name says that it was set, to None even."""

    def __init__(self, kinds):
        self.kinds = kinds

    def default(self):
        return None

    def check(self, value):
        if value is not None and not isinstance(value, self.kinds):
            raise TypeError(f"{value!r} is no {' or '.join(kind.__name__ for kind in self.kinds)}")

    def write(self, node, name, value):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class _List(_Text):
    """Kept element by element under name.0, name.1, ... and name.len; what is read writes its changes back."""

    def __init__(self, element):
        self.element = element

    def default(self):
        return []

    def check(self, value):
        for item in value:
            self.element.check(item)

    def isIn(self, node, name):
        return node.HasParameter(f"{name}.len")

    def write(self, node, name, value):
        with slicer.util.NodeModify(node):
            before = int(node.GetParameter(f"{name}.len") or 0)
            for index, item in enumerate(value):
                self.element.write(node, f"{name}.{index}", item)
            node.SetParameter(f"{name}.len", str(len(value)))
            for index in range(len(value), before):
                self.element.remove(node, f"{name}.{index}")

    def read(self, node, name):
        count = int(node.GetParameter(f"{name}.len") or 0)
        values = [self.element.read(node, f"{name}.{index}") for index in range(count)]
        return _WritingList(values, lambda changed: self.write(node, name, changed))

    def remove(self, node, name):
        self.write(node, name, [])
        node.UnsetParameter(f"{name}.len")


class _WritingList(list):
    def __init__(self, values, save):
        super().__init__(values)
        self._save = save


def _saving(name):
    def method(self, *args):
        result = getattr(list, name)(self, *args)
        self._save(self)
        return result

    return method


for _name in ("append", "extend", "insert", "remove", "pop", "clear", "sort", "__setitem__", "__delitem__"):
    setattr(_WritingList, _name, _saving(_name))


def _split(annotated):
    arguments = typing.get_args(typing.Annotated[annotated, "end"])
    return arguments[0], list(arguments[1:-1])


def _kept(kind):
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = tuple(k for k in typing.get_args(kind) if k is not type(None))
        if all(isinstance(k, type) and issubclass(k, slicer.vtkMRMLNode) for k in kinds):
            return _Node(kinds)
    elif typing.get_origin(kind) is list:
        return _List(_kept(typing.get_args(kind)[0]))
    elif kind is bool:
        return _Text(bool, lambda value: "True" if value else "False", lambda text: text == "True")
    elif kind in (int, float, str) or (isinstance(kind, type) and issubclass(kind, pathlib.PurePath)):
        return _Text(kind)
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _Text(kind, lambda value: value.name, lambda text: kind[text], next(iter(kind)))
    elif isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return _Node((kind,))
    raise TypeError(f"The test host's parameterNodeWrapper knows no {kind}; set CSAM_SLICER_SOURCE for Slicer's own")


class _Parameter:
    def __init__(self, name, annotated, default):
        self.name, self.annotated = name, annotated
        self.kind, annotations = _split(annotated)
        self.kept = _kept(self.kind)
        self.validators = [a for a in annotations if isinstance(a, Validator)]
        defaults = [a for a in annotations if isinstance(a, Default)]
        self.default = default or (defaults[0] if defaults else Default(generator=self.kept.default))
        self.annotations = annotations

    def find(self, kind):
        return next((a for a in self.annotations if isinstance(a, kind)), None)

    def write(self, node, value):
        self.kept.check(value)
        for validator in self.validators:
            validator.validate(value)
        self.kept.write(node, self.name, value)

    def read(self, node):
        if not self.kept.isIn(node, self.name):
            self.write(node, self.default.value)
        return self.kept.read(node, self.name)


# How a value is shown -------------------------------------------------------------------------------------------------


class _Shown:
    """A widget that shows a parameter: the name of its signal, how to read and to write it."""

    def __init__(self, widget, signal, read, write):
        self.signal = getattr(widget, signal) if signal else None
        self.read, self.write = read, write
        self.changed = None

    def connect(self, changed):
        self.changed = changed
        if self.signal:
            self.signal.connect(changed)

    def disconnect(self):
        if self.signal:
            self.signal.disconnect(self.changed)


def _attribute(widget, name, signal, convert=lambda value: value):
    def write(value):
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    return _Shown(widget, signal, lambda: convert(getattr(widget, name)), write)


def _bounds(parameter):
    within, low, high = parameter.find(WithinRange), parameter.find(Minimum), parameter.find(Maximum)
    return (
        within.minimum if within else low.minimum if low else None,
        within.maximum if within else high.maximum if high else None,
    )


def _number(widget, parameter, *, must_be_bounded):
    low, high = _bounds(parameter)
    if must_be_bounded and None in (low, high):
        raise RuntimeError(f"{type(widget).__name__} needs bounds: annotate {parameter.name} with WithinRange")
    whole = parameter.kind is int
    limit = 2**31 - 1 if type(widget) in (qt.QSlider, qt.QSpinBox) else float("inf")
    if type(widget) not in (qt.QSlider, qt.QSpinBox):
        decimals = parameter.find(Decimals)
        if whole or decimals:
            widget.decimals = 0 if whole else decimals.value
    if step := parameter.find(SingleStep):
        widget.singleStep = step.value
    widget.minimum = -limit if low is None else low
    widget.maximum = limit if high is None else high
    return _attribute(widget, "value", "valueChanged", parameter.kind)


def _combo(widget, values, label):
    def write(value):
        widget.currentIndex = values.index(value)

    widget.clear()
    for value in values:
        widget.addItem(label(value))
    return _Shown(widget, "currentIndexChanged", lambda: values[widget.currentIndex], write)


def _show(widget, parameter):
    of, kind = type(widget), parameter.kind
    if kind is bool and of in (qt.QCheckBox, ctk.ctkCheckBox):
        return _attribute(widget, "checked", "stateChanged")
    if kind is bool and of is qt.QPushButton:
        widget.checkable = True
        return _attribute(widget, "checked", "toggled")
    if kind is int and of in (qt.QSlider, qt.QSpinBox):
        return _number(widget, parameter, must_be_bounded=of is qt.QSlider)
    sliders = (ctk.ctkSliderWidget, slicer.qMRMLSliderWidget)
    if kind in (int, float) and of in (qt.QDoubleSpinBox, ctk.ctkDoubleSpinBox, *sliders):
        return _number(widget, parameter, must_be_bounded=of in sliders)
    if of in (qt.QComboBox, ctk.ctkComboBox) and isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _combo(widget, list(kind), getattr(kind, "label", lambda value: value.name))
    if of in (qt.QComboBox, ctk.ctkComboBox) and kind in (int, float, str, bool):
        if not (choice := parameter.find(Choice)):
            raise RuntimeError(f"A combo box needs choices: annotate {parameter.name} with Choice")
        return _combo(widget, list(choice.choices), str)
    if kind is str and of is qt.QLineEdit:
        return _attribute(widget, "text", "textChanged")
    if kind is str and of is qt.QLabel:
        return _attribute(widget, "text", None)
    if kind is str and of is qt.QTextEdit:
        return _Shown(widget, "textChanged", widget.toPlainText, widget.setPlainText)
    if of is ctk.ctkPathLineEdit and isinstance(kind, type) and issubclass(kind, pathlib.PurePath):
        read = lambda: kind(widget.currentPath)  # noqa: E731
        return _Shown(widget, "currentPathChanged", read, lambda value: widget.setCurrentPath(str(value)))
    if of is slicer.qMRMLNodeComboBox and isinstance(parameter.kept, _Node):
        widget.nodeTypes = tuple(node_class().GetClassName() for node_class in parameter.kept.kinds)
        return _Shown(widget, "currentNodeChanged", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"The parameter {parameter.name} ({parameter.annotated}) cannot be shown by a {of.__name__}")


# The wrapper ----------------------------------------------------------------------------------------------------------


class _Wrapper:
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode):
        self.parameterNode = parameterNode
        self._forms, self._observers, self._updating = {}, {}, False
        self._read_all()
        this = weakref.ref(self)  # so that the wrapper can go while the node stays
        self._cache_observer = parameterNode.AddObserver(
            vtk.vtkCommand.ModifiedEvent, lambda *_: this() and this()._read_all()
        )

    def __del__(self):
        self.parameterNode.RemoveObserver(self._cache_observer)

    def _read_all(self):
        """As in the application, values are read when the node says that it changed: a node that is loaded after the
        parameter node, as a scene is read, is not seen before the next change."""
        self._values = {name: parameter.read(self.parameterNode) for name, parameter in self.allParameters.items()}

    def getValue(self, name):
        self._parameter(name)
        return self._values[name]

    def setValue(self, name, value):
        with slicer.util.NodeModify(self.parameterNode):
            self._parameter(name).write(self.parameterNode, value)
            self._values[name] = self._parameter(name).read(self.parameterNode)

    def default(self, name):
        return self._parameter(name).default

    @classmethod
    def dataType(cls, name):
        return cls._parameter(name).annotated

    @classmethod
    def _parameter(cls, name):
        if name not in cls.allParameters:
            raise ValueError(f"There is no parameter {name!r}; there are {', '.join(cls.allParameters)}")
        return cls.allParameters[name]

    def connectGui(self, gui):
        if getattr(gui, "isWidgetType", lambda: False)():
            widgets = gui.findChildren(qt.QWidget)
        else:
            widgets = vars(gui).values()
        named = ((widget.property(PROPERTY_IN_FORMS), widget) for widget in widgets)
        return self.connectParametersToGui({name: widget for name, widget in named if name})

    def connectParametersToGui(self, mapping):
        for name in mapping:
            self._parameter(name)
        shown = {name: _show(widget, self._parameter(name)) for name, widget in mapping.items()}
        tag = max(self._forms, default=-1) + 1
        self._forms[tag] = shown
        for name, widget in shown.items():
            widget.write(self.getValue(name))
            widget.connect(self._from_gui(name, widget))
        self._observers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._to_gui())
        return tag

    def disconnectGui(self, tag):
        for widget in self._forms.pop(tag, {}).values():
            widget.disconnect()
        if tag in self._observers:
            self.RemoveObserver(self._observers.pop(tag))

    def _from_gui(self, name, widget):
        def changed():
            if not self._updating:
                with slicer.util.NodeModify(self.parameterNode):
                    self.setValue(name, widget.read())

        return changed

    def _to_gui(self):
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self.parameterNode):
                for form in list(self._forms.values()):
                    for name, widget in form.items():
                        widget.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, before):
        return self.parameterNode.EndModify(before)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag):
        self.parameterNode.RemoveObserver(tag)

    def Modified(self):
        self.parameterNode.Modified()


def isParameterNodeWrapper(found):
    return getattr(found, "_is_parameter_node_wrapper", False)


def parameterNodeWrapper(cls=None):
    """Class decorator: the annotated names of a class become parameters on a node."""
    if cls is None:
        return parameterNodeWrapper
    parameters = {}
    for name, annotated in typing.get_type_hints(cls, include_extras=True).items():
        if hasattr(_Wrapper, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        default = Default(getattr(cls, name)) if hasattr(cls, name) else None
        parameters[name] = _Parameter(name, annotated, default)
        unused = [
            a for a in parameters[name].annotations if not isinstance(a, (Validator, Default, Decimals, SingleStep))
        ]
        if unused:
            logging.warning(f"Unused annotations: {unused}")
        setattr(
            cls,
            name,
            property(
                lambda self, name=name: self.getValue(name), lambda self, value, name=name: self.setValue(name, value)
            ),
        )
    return type(cls.__name__, (_Wrapper, cls), {"allParameters": parameters, "__module__": cls.__module__})
