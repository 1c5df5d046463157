"""Segment Editor effects as PythonQt gives them: the adaptor that a scripted effect talks to, and where it registers.

``qSlicerSegmentEditorScriptedEffect`` offers the names that were measured in the application (segment_editor_api.json)
and no others. What it does to segments, masks and undo states is Slicer's own: vtkSlicerSegmentEditorLogic.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from functools import cache
from pathlib import Path

import slicer

from .values import NotInHost

API = Path(__file__).with_name("segment_editor_api.json")
MODES = {
    "ModificationModeSet": 0,
    "ModificationModeAdd": 1,
    "ModificationModeRemove": 2,
    "ModificationModeRemoveAll": 3,
}


@cache
def kinds() -> dict[str, str]:
    """Every name of a scripted effect, with its kind."""
    return json.loads(API.read_text(encoding="utf-8"))["qSlicerSegmentEditorScriptedEffect"]


class qSlicerSegmentEditorScriptedEffect:
    """One effect of one editor, or the one in the factory. Properties are attributes, as everywhere in PythonQt."""

    def __init__(self, parent):
        self.__dict__.update(
            name="", title="", perSegment=True, requireSegments=True, showEffectCursorInSliceView=True,
            showEffectCursorInThreeDView=False, objectName="", _python=None, _source="", _active=False, _editor=None,
            _node=None,
        )  # fmt: skip
        import qt

        frame = qt.QFrame()
        layout = qt.QFormLayout(frame)
        layout.setContentsMargins(4, 4, 4, 4)
        self.__dict__.update(_frame=frame, _layout=layout)

    def __getattribute__(self, name: str):
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        if name in MODES:
            return MODES[name]
        if name not in kinds():
            raise AttributeError(f"'qSlicerSegmentEditorScriptedEffect' object has no attribute '{name}' in PythonQt")
        try:
            return object.__getattribute__(self, name)
        except AttributeError:
            raise NotInHost(f"A scripted effect's {name}: the application has it, the test host has not") from None

    def __setattr__(self, name: str, value):
        if not kinds().get(name, "").startswith("property"):
            raise AttributeError(f"'{name}' does not exist on a scripted effect: PythonQt makes no new attributes")
        self.__dict__[name] = value

    # Where its Python is ----------------------------------------------------------------------------------------------

    def setPythonSource(self, path):
        """As the application: the folder's name is the module's, the file's name the class's."""
        path = Path(path)
        if path.suffix != ".py" or not path.is_absolute():
            return False
        name, class_name = path.parent.name, path.stem
        module = sys.modules.get(name)
        if module is None or not hasattr(module, class_name):
            spec = importlib.util.spec_from_file_location(name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        self.__dict__["_python"] = getattr(module, class_name)(self)
        self.__dict__["_source"] = str(path)
        setattr(slicer, name, self._python)
        return True

    def pythonSource(self):
        return self._source

    def self(self):
        return self._python

    def _call(self, name, *arguments):
        """What C++ calls of the Python class, where it has it."""
        function = getattr(self._python, name, None)
        return function(*arguments) if function is not None else None

    def _join(self, editor, node):
        """An editor has taken a copy of it."""
        self.__dict__["_editor"] = editor
        if node is not None:
            self._get_node(node)
        self._call("setupOptionsFrame")
        self._frame.setVisible(False)

    def _get_node(self, node):
        self.setParameterSetNode(node)
        if node is not None:
            self._call("setMRMLDefaults")

    # Life -------------------------------------------------------------------------------------------------------------

    def activate(self):
        self._frame.setVisible(True)
        self.__dict__["_active"] = True
        self.updateGUIFromMRML()
        self._call("activate")

    def deactivate(self):
        self._frame.setVisible(False)
        self.__dict__["_active"] = False
        self._call("deactivate")

    def active(self):
        return self._active

    def cleanup(self):
        self._call("cleanup")

    def helpText(self):
        return self._call("helpText") or ""

    def updateGUIFromMRML(self):
        if self._active:
            self._call("updateGUIFromMRML")

    def updateMRMLFromGUI(self):
        self._call("updateMRMLFromGUI")

    # Options ----------------------------------------------------------------------------------------------------------

    def optionsFrame(self):
        return self._frame

    def optionsLayout(self):
        return self._layout

    def addOptionsWidget(self, widget):
        self._layout.addRow(widget)

    def addLabeledOptionsWidget(self, label, widget):
        import qt

        shown = qt.QLabel(label)
        self._layout.addRow(shown, widget)
        return shown

    # Parameters -------------------------------------------------------------------------------------------------------

    def parameterSetNode(self):
        return self._node

    def setParameterSetNode(self, node):
        self.__dict__["_node"] = node

    def scene(self):
        return self._node.GetScene() if self._node else None

    def parameterDefined(self, name):
        return self.commonParameterDefined(f"{self.name}.{name}")

    def commonParameterDefined(self, name):
        return bool(self._node is not None and self._node.GetAttribute(name))

    def parameter(self, name):
        value = self._node.GetAttribute(f"{self.name}.{name}")
        value = self._node.GetAttribute(name) if value is None else value
        assert value is not None, f"Parameter named {name} cannot be found for effect {self.name}"  # a critical message
        return value

    def integerParameter(self, name):
        return int(self.parameter(name))

    def doubleParameter(self, name):
        return float(self.parameter(name))

    def setParameter(self, name, value):
        self.setCommonParameter(f"{self.name}.{name}", value)

    def setCommonParameter(self, name, value):
        before, value = self._node.GetAttribute(name), _text(value)
        if value == (before or ""):
            return
        disabled = self._node.GetDisableModifiedEvent()
        self._node.SetDisableModifiedEvent(1)
        self._node.SetAttribute(name, value)
        self._node.SetDisableModifiedEvent(disabled)
        self._node.InvokeCustomModifiedEvent(self._node.EffectParameterModified)

    def setParameterDefault(self, name, value):
        if not self.parameterDefined(name):
            self.setParameter(name, value)

    def setCommonParameterDefault(self, name, value):
        if not self.commonParameterDefined(name):
            self.setCommonParameter(name, value)

    def nodeReference(self, name):
        return self._node.GetNodeReference(f"{self.name}.{name}") or self._node.GetNodeReference(name)

    def setNodeReference(self, name, node):
        self.setCommonNodeReference(f"{self.name}.{name}", node)

    def setCommonNodeReference(self, name, node):
        self._node.SetNodeReferenceID(name, node.GetID() if node is not None else None)
        self._node.InvokeCustomModifiedEvent(self._node.EffectParameterModified)

    # Editing ----------------------------------------------------------------------------------------------------------

    def saveStateForUndo(self):
        self._editor.saveStateForUndo()

    def selectEffect(self, name):
        self._editor.setActiveEffectByName(name)

    def defaultModifierLabelmap(self):
        logic = self._editor._logic
        return logic.GetModifierLabelmap() if logic.ResetModifierLabelmapToDefault() else None

    def modifierLabelmap(self):
        return self._editor._logic.GetModifierLabelmap()

    def maskLabelmap(self):
        logic = self._editor._logic
        return logic.GetMaskLabelmap() if logic.UpdateMaskLabelmap() else None

    def referenceGeometryImage(self):
        logic = self._editor._logic
        return logic.GetReferenceGeometryImage() if logic.UpdateReferenceGeometryImage() else None

    def sourceVolumeImageData(self):
        logic = self._editor._logic
        return logic.GetAlignedSourceVolume() if logic.UpdateAlignedSourceVolume() else None

    def selectedSegmentLabelmap(self):
        logic = self._editor._logic
        return logic.GetSelectedSegmentLabelmap() if logic.UpdateSelectedSegmentLabelmap() else None

    def modifySegmentByLabelmap(self, segmentation, segment, labelmap, mode, bypass=False):
        logic = self._editor._logic
        [name] = [name for name, value in MODES.items() if value == mode]
        logic.ModifySegmentByLabelmap(
            segmentation, segment, labelmap, getattr(logic, name), self.perSegment, bool(bypass)
        )

    def modifySelectedSegmentByLabelmap(self, labelmap, mode, bypass=False):
        node = self._node
        segment = node.GetSelectedSegmentID() or ""
        self.modifySegmentByLabelmap(node.GetSegmentationNode(), segment, labelmap, mode, bypass)

    def applyImageMask(self, labelmap, mask, value, inverted=False):
        slicer.vtkOrientedImageDataResample.ApplyImageMask(labelmap, mask, value, bool(inverted))

    def scheduleRender(self, view):
        """Nothing is rendered."""

    forceRender = scheduleRender


def _text(value) -> str:
    """As Qt writes numbers; Python's True is an int there."""
    return str(int(value)) if isinstance(value, bool) else str(value)


class Factory:
    """``slicer.qSlicerSegmentEditorEffectFactory.instance()``: the effects that every editor copies."""

    def __init__(self):
        self._effects, self._editors = [], []

    def registerEffect(self, effect) -> bool:
        if not effect.name or any(one.name == effect.name for one in self._effects):
            return False
        self._effects.append(effect)
        for editor in self._editors:
            editor.updateEffectList()
        return True


factory = Factory()


class AbstractScriptedSegmentEditorEffect:
    """The base of scripted effects, of Slicer's module SegmentEditorEffects."""

    def __init__(self, scriptedEffect):
        self.scriptedEffect = scriptedEffect

    def register(self):
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self):
        """Nothing is held here."""


def install() -> None:
    """The modules that a scripted effect imports, and Slicer's names for it. No effect is registered."""
    effects = types.ModuleType("SegmentEditorEffects")
    effects.AbstractScriptedSegmentEditorEffect = AbstractScriptedSegmentEditorEffect
    classes = types.ModuleType("qSlicerSegmentationsEditorEffectsPythonQt")
    classes.qSlicerSegmentEditorScriptedEffect = qSlicerSegmentEditorScriptedEffect
    sys.modules[effects.__name__], sys.modules[classes.__name__] = effects, classes
    slicer.qSlicerSegmentEditorAbstractEffect = types.SimpleNamespace(**MODES)
    slicer.qSlicerSegmentEditorEffectFactory = types.SimpleNamespace(instance=lambda: factory)
    uninstall()


def uninstall() -> None:
    """No effect is registered any more, and none of their Python is remembered."""
    for effect in factory._effects:
        sys.modules.pop(Path(effect._source).parent.name, None)
        slicer.__dict__.pop(Path(effect._source).parent.name, None)
    factory._effects.clear()
    factory._editors.clear()
