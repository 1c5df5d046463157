"""What a qMRMLSegmentEditorWidget does for its effects: the parameter node, who is active, undo and redo."""

from __future__ import annotations

import slicer
from PySide6 import QtWidgets

from .segment_editor_effect import factory, qSlicerSegmentEditorScriptedEffect
from .values import plain

OF_SLICER = ("Paint", "Erase", "Fill between slices", "Grow from seeds")
"""Some of the effects that every editor has; here they can be chosen, and do nothing."""
UNDO_STATES = 10


class SegmentEditing:
    """With a vtkMRMLSegmentEditorNode the editor works; without one it only remembers what it was told to edit."""

    def _begin(self):
        self.__dict__.update(_logic=slicer.vtkSlicerSegmentEditorLogic(), _effects=[], _shown=None, _node_tags=[])
        self._logic.SetMaximumNumberOfUndoStates(UNDO_STATES)
        self.__dict__["_options"] = QtWidgets.QVBoxLayout(self)
        factory._editors.append(self)
        self.updateEffectList()

    def _end(self):
        """The scene has been taken away."""
        self.setMRMLSegmentEditorNode(None)
        for effect in self._effects:
            effect.cleanup()

    # Its node ---------------------------------------------------------------------------------------------------------

    def mrmlSegmentEditorNode(self):
        return self._logic.GetSegmentEditorNode()

    def setMRMLSegmentEditorNode(self, node):
        before = self.mrmlSegmentEditorNode()
        if node is before:
            return
        for tag in self._node_tags:
            before.RemoveObserver(tag)
        self._logic.SetSegmentEditorNode(node)
        self.__dict__["_node_tags"] = []
        if node is not None:
            self.__dict__["_node_tags"] = [
                node.AddObserver("ModifiedEvent", lambda *_: self._follow()),
                node.AddObserver(node.EffectParameterModified, lambda *_: self._tell_parameters()),
            ]
        for effect in self._effects:
            effect._get_node(node)
        self.__dict__["_source_seen"] = None
        self._follow()

    def _follow(self):
        """As updateWidgetFromMRML: tell effects of another source volume, and make the node's effect the active one."""
        node, scene = self.mrmlSegmentEditorNode(), self.mrmlScene()
        if scene is not None and (scene.IsClosing() or scene.IsBatchProcessing()):
            return
        if node is not None and node.GetSourceVolumeNode() is not self.__dict__.get("_source_seen"):
            self.__dict__["_source_seen"] = node.GetSourceVolumeNode()
            for effect in self._effects:
                effect._call("sourceVolumeNodeChanged")
        wanted = node.GetActiveEffectName() if node is not None else ""
        effect = self.effectByName(wanted)
        if effect is self._shown:
            return
        before, self.__dict__["_shown"] = self._shown, None
        if before is not None:
            before.deactivate()
        if effect is not None and self._logic.SetSourceRepresentationToBinaryLabelMap():
            self.__dict__["_shown"] = effect
            effect.activate()

    def _tell_parameters(self):
        for effect in self._effects:
            effect.updateGUIFromMRML()

    # Its effects ------------------------------------------------------------------------------------------------------

    def updateEffectList(self):
        for original in factory._effects:
            if self.effectByName(original.name) is None:
                effect = original.self().clone()
                self._effects.append(effect)
                effect._join(self, self.mrmlSegmentEditorNode())
                self._options.addWidget(plain(effect.optionsFrame()))

    def availableEffectNames(self):
        return (*OF_SLICER, *(effect.name for effect in self._effects))

    def effectByName(self, name):
        return next((effect for effect in self._effects if effect.name == name), None)

    def activeEffect(self):
        return self._shown

    def setActiveEffect(self, effect):
        assert effect is None or isinstance(effect, qSlicerSegmentEditorScriptedEffect)
        if self.mrmlSegmentEditorNode() is not None:
            self.mrmlSegmentEditorNode().SetActiveEffectName(effect.name if effect is not None else "")

    def setActiveEffectByName(self, name):
        if self.mrmlSegmentEditorNode() is not None:
            self.mrmlSegmentEditorNode().SetActiveEffectName(name)

    # Undo -------------------------------------------------------------------------------------------------------------

    def saveStateForUndo(self):
        self._logic.SaveStateForUndo()

    def undo(self):
        self._logic.Undo()

    def redo(self):
        self._logic.Redo()
