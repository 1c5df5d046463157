"""A real MRML scene without the application: slicer-core's scene and logics, put together as Slicer does.

Example:
    >>> with SceneHost() as host:
    ...     volume = host.add_volume(voxels, spacing=(1.25, 1.25, 8.0))

While it is open, ``slicer.mrmlScene`` is its scene and ``slicer.modules`` has the logics that ``slicer.util`` asks for.
Needs the pip package slicer-core; what is done here the application does at start-up.
"""

from __future__ import annotations

import gc
import math
from types import SimpleNamespace

import numpy as np
import slicer
import vtk

LOGICS = {
    "volumes": "vtkSlicerVolumesLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "tables": "vtkSlicerTablesLogic",
    "plots": "vtkSlicerPlotsLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "transforms": "vtkSlicerTransformLogic",
}
"""Module name, as in ``slicer.modules``, and the class of its logic. Their SetMRMLScene registers the node classes;
that of segmentations also the rules that convert between representations."""

IN_HIERARCHY = (
    *("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLTableNode", "vtkMRMLTransformNode"),
    *("vtkMRMLMarkupsNode", "vtkMRMLModelNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLSequenceNode"),
)


class _ColorLogic(slicer.vtkMRMLColorLogic):
    """The colour legends of vtkSlicerColorLogic without its search for the application's colour files."""

    AddDefaultColorLegendDisplayNode = staticmethod(slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode)
    GetColorLegendDisplayNode = staticmethod(slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode)


class SceneHost:
    """The scene, its logics, and the subject hierarchy kept as Slicer's plugin keeps it."""

    def __init__(self):
        self._before = {name: getattr(slicer, name, None) for name in ("mrmlScene", "modules")}
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetMRMLScene(self.scene)
        self.logics = {}
        slicer.modules = SimpleNamespace()
        colors = _ColorLogic()
        colors.SetMRMLApplicationLogic(self.application_logic)
        colors.SetMRMLScene(self.scene)
        self.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
        self._publish("colors", colors)
        self.application_logic.SetModuleLogic("Colors", colors)
        self._add_inferno()
        self._publish("terminologies", slicer.vtkSlicerTerminologiesModuleLogic())  # with a scene it looks for files
        for name, class_name in LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLApplicationLogic(self.application_logic)
            logic.SetMRMLScene(self.scene)
            self._publish(name, logic)
        self._observers = [
            self.scene.AddObserver(self.scene.NodeAddedEvent, self._on_node_added),
            self.scene.AddObserver(self.scene.NodeAboutToBeRemovedEvent, self._on_node_about_to_be_removed),
        ]

    def __enter__(self) -> SceneHost:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Empty the scene and let go of everything, in the order in which the application ends."""
        if self.scene is None:
            return
        for observer in self._observers:
            self.scene.RemoveObserver(observer)
        self.scene.Clear(True)
        self.logics.clear()
        for name, value in self._before.items():
            if value is None:
                delattr(slicer, name)
            else:
                setattr(slicer, name, value)
        self.scene = self.application_logic = None
        gc.collect()

    def _publish(self, name: str, logic) -> None:
        self.logics[name] = logic
        setattr(slicer.modules, name, SimpleNamespace(logic=lambda: logic))

    # Content ------------------------------------------------------------------------------------------------------

    def add_volume(
        self,
        voxels: np.ndarray,
        spacing=(1.0, 1.0, 1.0),
        origin=(0.0, 0.0, 0.0),
        directions=None,
        name: str = "cine",
        class_name: str = "vtkMRMLScalarVolumeNode",
    ):
        """A volume node of voxels (k, j, i), its geometry in RAS; directions: 3x3, a column for each of i, j, k."""
        matrix = np.eye(4)
        matrix[:3, :3] = (np.eye(3) if directions is None else np.asarray(directions, float)) * np.asarray(spacing)
        matrix[:3, 3] = origin
        return slicer.util.addVolumeFromArray(voxels, matrix, name, class_name)

    def add_transform(self, matrix: np.ndarray, name: str = "Moved"):
        """A linear transform node that takes its children to their parent's coordinates by a 4x4 matrix."""
        node = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.asarray(matrix, float)))
        return node

    def add_roi(self, center, size, name: str = "Region"):
        """A markups ROI along the patient axes, RAS millimetres."""
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
        node.SetCenter(*center)
        node.SetSize(*size)
        return node

    def node_ids(self) -> set[str]:
        """The IDs of all nodes, to compare before and after."""
        return {self.scene.GetNthNode(position).GetID() for position in range(self.scene.GetNumberOfNodes())}

    def save_node(self, node, path) -> None:
        """Write a node's data with its own storage node, as "Save data" does."""
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        storage.SetFileName(str(path))
        if not storage.WriteData(node):
            raise RuntimeError(f"{path} could not be written: {storage.GetUserMessages().GetAllMessagesAsString()}")

    def load_node(self, class_name: str, path):
        """A new node of a class with the data of a file."""
        node = self.scene.AddNewNodeByClass(class_name)
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        storage.SetFileName(str(path))
        if not storage.ReadData(node):
            raise RuntimeError(f"{path} could not be read: {storage.GetUserMessages().GetAllMessagesAsString()}")
        return node

    # As the application -------------------------------------------------------------------------------------------

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_added(self, scene, event, node) -> None:
        """What qSlicerSubjectHierarchyPluginLogic::onNodeAdded does."""
        if scene.IsImporting() or node.GetHideFromEditors() or not any(node.IsA(name) for name in IN_HIERARCHY):
            return
        hierarchy = scene.GetSubjectHierarchyNode()
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _on_node_about_to_be_removed(self, scene, event, node) -> None:
        if scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _add_inferno(self) -> None:
        """Inferno under the ID that the Colors module gives it; an approximation of its colours by six points."""
        node = slicer.vtkMRMLColorTableNode()
        node.SetTypeToUser()
        node.SetName("Inferno")
        node.SetSingletonTag("FileInferno.txt")
        node.SetNumberOfColors(256)
        points = np.array(
            [(0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)], float
        )
        for index in range(256):
            position = index / 255 * (len(points) - 1)
            first = min(math.floor(position), len(points) - 2)
            color = points[first] + (position - first) * (points[first + 1] - points[first])
            node.SetColor(index, *(color / 255), 1.0)
        self.scene.AddNode(node)
