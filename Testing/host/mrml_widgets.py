"""The qMRML widgets that a segmentation panel uses, over the real scene."""

from __future__ import annotations

from functools import cache

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .ctk_widgets import slider_with_box
from .pythonqt import stand_in
from .segment_editing import SegmentEditing


class qMRMLSliderWidget(slider_with_box("slicer.qMRMLSliderWidget")):
    pass


class _SceneWidget:
    """mrmlScene, setMRMLScene and the scene's events; subclasses say what to do in ``_scene_changed``."""

    EVENTS = (
        slicer.vtkMRMLScene.NodeAddedEvent,
        slicer.vtkMRMLScene.NodeRemovedEvent,
        slicer.vtkMRMLScene.EndBatchProcessEvent,
    )

    def mrmlScene(self):
        return self.__dict__.get("_scene")

    def setMRMLScene(self, scene):
        before = self.__dict__.get("_scene")
        if scene is before:
            return
        for tag in self.__dict__.pop("_tags", ()):
            before.RemoveObserver(tag)
        self.__dict__["_scene"] = scene
        if scene is not None:
            self.__dict__["_tags"] = [scene.AddObserver(event, self._on_scene_event) for event in self.EVENTS]
            self._tags.append(scene.AddObserver(scene.EndImportEvent, lambda *_: self._scene_refilled()))
        self._scene_changed()
        if "mrmlSceneChanged" in self._kinds:
            self.mrmlSceneChanged.emit(scene)

    def _on_scene_event(self, *_):
        if self._scene is not None and not self._scene.IsBatchProcessing():
            self._scene_changed()

    def _scene_changed(self):
        """The scene is another, or its nodes are."""

    def _scene_refilled(self):
        """A scene was loaded."""
        self._scene_changed()


class qMRMLWidget(_SceneWidget, stand_in("slicer.qMRMLWidget", QtWidgets.QWidget)):
    mrmlSceneChanged = Signal(object)


@cache
def _tag(node_type: str) -> str:
    """What a fresh scene calls nodes of a class; making one takes a fortieth of a second."""
    return slicer.vtkMRMLScene().GetTagByClassName(node_type) or "node"


class qMRMLNodeComboBox(_SceneWidget, stand_in("slicer.qMRMLNodeComboBox", QtWidgets.QWidget)):
    """Follows the scene: the nodes of its types, "None" if allowed, and an entry that makes a new one if allowed."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    nodeAboutToBeEdited = Signal(object)

    def __init__(self, *args):
        super().__init__(*args)
        defaults = {
            "types": [], "hidden_types": [], "attributes": [], "none": False, "add": True, "hidden": False,
            "children": True, "select_new": True, "none_text": "None", "base_name": "", "current": None, "row": -1,
        }  # fmt: skip
        self.__dict__["_is"] = defaults
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        QtWidgets.QWidget.setFocusProxy(self, self._combo)
        self._combo.activated.connect(lambda index: self._chosen(index))

    # The list ---------------------------------------------------------------------------------------------------------

    def _nodes(self) -> list:
        scene = self.__dict__.get("_scene")
        if scene is None:
            return []
        return [node for node in map(scene.GetNthNode, range(scene.GetNumberOfNodes())) if self._fits(node)]

    def _fits(self, node) -> bool:
        setting = self._is
        if node.GetHideFromEditors() and not setting["hidden"]:
            return False
        if any(node.IsA(name) for name in setting["hidden_types"]):
            return False
        if not any(node.IsA(t) if setting["children"] else node.GetClassName() == t for t in setting["types"]):
            return False
        for node_type, name, value in setting["attributes"]:
            if node.IsA(node_type) and (
                node.GetAttribute(name) is None or (value is not None and node.GetAttribute(name) != str(value))
            ):
                return False
        return True

    def _scene_changed(self):
        nodes = self._nodes()
        combo, setting = self._combo, self._is
        combo.blockSignals(True)
        combo.clear()
        if setting["none"]:
            combo.addItem(setting["none_text"], None)
        for node in nodes:
            combo.addItem(node.GetName(), node.GetID())
        if setting["add"]:
            for name in setting["types"]:
                label = self.nodeTypeLabel(name)
                combo.addItem(f"Create new {label}", f"new:{name}")
        combo.blockSignals(False)
        current, row = setting["current"], setting["row"]
        if current is not None and current not in nodes and nodes:
            # As QComboBox does when its current row goes: the row that takes its place, or the last one.
            current = nodes[min(max(row, 0), len(nodes) - 1)]
        elif current not in nodes:
            current = None if setting["none"] or not nodes else nodes[0]
        self._select(current)

    def _scene_refilled(self):
        # As qMRMLSceneModel::updateScene does: all rows go, then they come again.
        if self._is["none"]:
            self._select(None)
        self._scene_changed()

    def _select(self, node):
        changed = node is not self._is["current"]
        nodes = self._nodes()
        self._is["current"], self._is["row"] = node, nodes.index(node) if node in nodes else -1
        self._combo.blockSignals(True)
        self._combo.setCurrentIndex(self._combo.findData(node.GetID()) if node else (0 if self._is["none"] else -1))
        self._combo.blockSignals(False)
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node else "")

    def _chosen(self, index):
        data = self._combo.itemData(index)
        if isinstance(data, str) and data.startswith("new:"):
            self.nodeAddedByUser.emit(self.addNode(data.removeprefix("new:")))
        else:
            self.setCurrentNodeID(data or "")
            self.nodeActivated.emit(self._is["current"])

    # As in the application --------------------------------------------------------------------------------------------

    def currentNode(self):
        return self._is["current"]

    def setCurrentNode(self, node):
        self._select(node if node is not None and node in self._nodes() else None)

    def setCurrentNodeID(self, node_id):
        self.setCurrentNode(self._scene.GetNodeByID(node_id) if node_id and self.mrmlScene() else None)

    def setCurrentNodeIndex(self, index):
        nodes = self._nodes()
        self.setCurrentNode(nodes[index] if 0 <= index < len(nodes) else None)

    def nodeCount(self):
        return len(self._nodes())

    def nodeFromIndex(self, index):
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addNode(self, node_type=None):
        node_type = node_type or self._is["types"][0]
        label = self._is["base_name"] or self.nodeTypeLabel(node_type)
        node = self._scene.CreateNodeByClass(node_type)
        node.UnRegister(None)
        node.SetName(self._scene.GenerateUniqueName(label))
        for wanted, name, value in self._is["attributes"]:
            if node.IsA(wanted) and value is not None:
                node.SetAttribute(name, str(value))
        node = self._scene.AddNode(node)
        self.nodeAdded.emit(node)
        if self._is["select_new"]:
            self._select(node)
        return node

    def removeCurrentNode(self):
        self._scene.RemoveNode(self._is["current"])

    def nodeTypeLabel(self, node_type):
        return self._is.get("labels", {}).get(node_type) or _tag(node_type)

    def setNodeTypeLabel(self, label, node_type):
        self._is.setdefault("labels", {})[node_type] = label

    def addAttribute(self, node_type, name, value=None):
        self._is["attributes"].append((node_type, name, value))
        self._scene_changed()

    def removeAttribute(self, node_type, name):
        self._is["attributes"] = [a for a in self._is["attributes"] if a[:2] != (node_type, name)]
        self._scene_changed()

    def _set(self, name, value):
        self._is[name] = value
        self._scene_changed()

    nodeTypes = Property("QStringList", lambda self: self._is["types"], lambda self, v: self._set("types", list(v)))
    hideChildNodeTypes = Property(
        "QStringList", lambda self: self._is["hidden_types"], lambda self, v: self._set("hidden_types", list(v))
    )
    noneEnabled = Property(bool, lambda self: self._is["none"], lambda self, v: self._set("none", v))
    addEnabled = Property(bool, lambda self: self._is["add"], lambda self, v: self._set("add", v))
    showHidden = Property(bool, lambda self: self._is["hidden"], lambda self, v: self._set("hidden", v))
    showChildNodeTypes = Property(bool, lambda self: self._is["children"], lambda self, v: self._set("children", v))
    selectNodeUponCreation = Property(
        bool, lambda self: self._is["select_new"], lambda self, v: self._set("select_new", v)
    )
    noneDisplay = Property(str, lambda self: self._is["none_text"], lambda self, v: self._set("none_text", v))
    baseName = Property(str, lambda self: self._is["base_name"], lambda self, v: self._set("base_name", v))
    currentNodeID = Property(
        str,
        lambda self: self._is["current"].GetID() if self._is["current"] else "",
        lambda self, value: self.setCurrentNodeID(value),
    )
    currentNodeId = currentNodeID


class qMRMLPlotView(_SceneWidget, stand_in("slicer.qMRMLPlotView", QtWidgets.QWidget)):
    """Knows its plot view node; draws nothing. ``dataSelected`` is for tests to emit, as a click on the chart does."""

    dataSelected = Signal(object, object)
    mrmlSceneChanged = Signal(object)
    plotAdded = Signal(object)
    plotRemoved = Signal(object)

    def setMRMLPlotViewNode(self, node):
        self.__dict__["_view_node"] = node

    def fitToContent(self):
        """There is nothing drawn to fit."""

    def RemovePlotSelections(self):
        """There is nothing drawn to select."""


class qMRMLPlotWidget(_SceneWidget, stand_in("slicer.qMRMLPlotWidget", QtWidgets.QWidget)):
    mrmlSceneChanged = Signal(object)

    def __init__(self, *args):
        super().__init__(*args)
        self._view = qMRMLPlotView(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(self._view)

    def plotView(self):
        return self._view

    def viewWidget(self):
        return self._view

    def mrmlPlotViewNode(self):
        return self._view.__dict__.get("_view_node")

    def mrmlAbstractViewNode(self):
        return self.mrmlPlotViewNode()

    def setMRMLPlotViewNode(self, node):
        self._view.setMRMLPlotViewNode(node)

    def _scene_changed(self):
        self._view.setMRMLScene(self._scene)


class qMRMLSliceWidget(_SceneWidget, stand_in('slicer.app.layoutManager().sliceWidget("Red")', QtWidgets.QWidget)):
    """A slice view without pixels: its logic, slice node and composite node are real."""

    mrmlSceneChanged = Signal(object)
    nodeAboutToBeEdited = Signal(object)

    def _set_logic(self, logic):
        self.__dict__["_logic"] = logic

    def sliceLogic(self):
        return self._logic

    def logic(self):
        return self._logic

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def mrmlAbstractViewNode(self):
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self):
        self._logic.FitSliceToBackground()


class qMRMLSegmentEditorWidget(
    SegmentEditing, _SceneWidget, stand_in("slicer.qMRMLSegmentEditorWidget", QtWidgets.QWidget)
):
    """What it is told to edit is in its parameter node; while it has none, it remembers it itself."""

    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    masterVolumeNodeChanged = Signal(object)
    currentSegmentIDChanged = Signal(str)
    mrmlSceneChanged = Signal(object)

    def __init__(self, *args):
        super().__init__(*args)
        self.__dict__["_edits"] = {"segmentation": None, "source": None, "segment": ""}
        self.__dict__["_looks"] = {}
        self._begin()

    def segmentationNode(self):
        node = self.mrmlSegmentEditorNode()
        return node.GetSegmentationNode() if node is not None else self._edits["segmentation"]

    def setSegmentationNode(self, segmentation):
        node = self.mrmlSegmentEditorNode()
        if segmentation is self.segmentationNode():
            return
        self._edits["segmentation"] = segmentation
        if node is not None:
            node.SetAndObserveSegmentationNode(segmentation)
            self.setActiveEffect(None)
        self.segmentationNodeChanged.emit(segmentation)

    def segmentationNodeID(self):
        return self.segmentationNode().GetID() if self.segmentationNode() is not None else ""

    def sourceVolumeNode(self):
        node = self.mrmlSegmentEditorNode()
        return node.GetSourceVolumeNode() if node is not None else self._edits["source"]

    def setSourceVolumeNode(self, volume):
        node = self.mrmlSegmentEditorNode()
        self._edits["source"] = volume
        if node is not None:
            node.SetAndObserveSourceVolumeNode(volume)
        self.sourceVolumeNodeChanged.emit(volume)

    def sourceVolumeNodeID(self):
        return self.sourceVolumeNode().GetID() if self.sourceVolumeNode() is not None else ""

    def currentSegmentID(self):
        node = self.mrmlSegmentEditorNode()
        return (node.GetSelectedSegmentID() or "") if node is not None else self._edits["segment"]

    def setCurrentSegmentID(self, segment_id):
        node = self.mrmlSegmentEditorNode()
        self._edits["segment"] = segment_id
        if node is not None:
            node.SetSelectedSegmentID(segment_id)
        self.currentSegmentIDChanged.emit(segment_id)

    def setEffectNameOrder(self, names):
        self.__dict__["_order"] = [str(name) for name in names]

    def effectNameOrder(self):
        return self.__dict__.get("_order", [])

    def setupViewObservations(self):
        self.__dict__["_observes_views"] = True

    def removeViewObservations(self):
        self.__dict__["_observes_views"] = False

    def _look(name):
        """A part of it that can be shown or not; here it is only remembered."""
        return Property(bool, lambda self: self._looks.get(name, True), lambda self, v: self._looks.update({name: v}))

    unorderedEffectsVisible = _look("unordered")
    segmentationNodeSelectorVisible = _look("segmentation")
    sourceVolumeNodeSelectorVisible = _look("source")

    def _scene_changed(self):
        if self._scene is None:
            self._end()
        for part in ("segmentation", "source"):
            node = self._edits[part]
            if node is not None and (self._scene is None or not self._scene.IsNodePresent(node)):
                self._edits[part] = None
