"""``slicer.app`` and what hangs on it: main window, module selector, layout manager, reading and writing scenes."""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

from .mrml_widgets import qMRMLPlotWidget, qMRMLSliceWidget
from .pythonqt import stand_in
from .values import adopt

SLICE_VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}


class qSlicerApplication(stand_in("slicer.app", QtWidgets.QApplication)):
    """One for the whole process, as Qt demands; ``_open`` gives it the scene of a test."""

    startupCompleted = Signal()

    def __init__(self, settings_folder: Path):
        QtWidgets.QApplication.__init__(self, ["Slicer"])
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(settings_folder)
        )
        QtWidgets.QApplication.setOrganizationName("CSAMSegment")
        QtWidgets.QApplication.setApplicationName("Slicer")
        self._folder = settings_folder
        self._testing = False
        self._window = None
        self.temporaryPath = str(settings_folder)

    def _open(self, scene, application_logic, qt):
        self._scene, self._logic, self._qt = scene, application_logic, qt
        self._settings = qt.QSettings()
        self._settings.clear()
        self._modules = ModuleManager()
        self._window = MainWindow()
        self._window._build(self._modules)
        self._layout_manager = LayoutManager()
        self._layout_manager._build(scene, application_logic)
        self._io = CoreIOManager(scene, self._folder)

    def _shut(self):
        self._layout_manager._shut()
        QtWidgets.QWidget.close(self._window)
        QtCore.QObject.deleteLater(self._window)
        for name in ("_scene", "_logic", "_modules", "_layout_manager", "_io", "_settings"):
            self.__dict__.pop(name)
        self._window = None
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)

    def mrmlScene(self):
        return self._scene

    def applicationLogic(self):
        return self._logic

    def layoutManager(self):
        return self._layout_manager

    def moduleManager(self):
        return self._modules

    def moduleLogic(self, name):
        return self._modules.module(name).logic()

    def coreIOManager(self):
        return self._io

    ioManager = coreIOManager

    def testingEnabled(self):
        return self._testing

    def userSettings(self):
        return self._settings

    settings = userSettings
    revisionUserSettings = userSettings

    def translate(self, context, text):
        return text

    def startupEnvironment(self):
        return QtCore.QProcessEnvironment.systemEnvironment()

    def moduleDocumentationUrl(self, name):
        return ""

    def pauseRender(self):
        """Nothing is rendered."""

    resumeRender = pauseRender

    def topLevelWidgets(self):
        return tuple(adopt(widget) for widget in QtWidgets.QApplication.topLevelWidgets())

    def openNodeModule(self, node, role="", context=""):
        """The application would choose by the node's type; here the Segment Editor for segmentations, else Data."""
        self._window.moduleSelector().selectModule("SegmentEditor" if node.IsA("vtkMRMLSegmentationNode") else "Data")


class ModuleManager(QtCore.QObject):
    """The modules by name."""

    moduleAboutToBeUnloaded = Signal(str)
    moduleLoaded = Signal(str)

    def __init__(self):
        super().__init__()
        self._modules = {}

    def connect(self, signature, function):
        getattr(self, signature.partition("(")[0]).connect(function)

    def disconnect(self, signature, function):
        getattr(self, signature.partition("(")[0]).disconnect(function)

    def module(self, name):
        return self._modules.get(name)

    def factoryManager(self):
        return self

    def loadedModuleNames(self):
        return tuple(self._modules)


class MainWindow(stand_in("slicer.util.mainWindow()", QtWidgets.QMainWindow)):
    def _build(self, modules):
        QtCore.QObject.setObjectName(self, "qSlicerMainWindow")
        self._selector = ModuleSelector(modules)

    def moduleSelector(self):
        return self._selector

    def pythonConsole(self):
        return None


class ModuleSelector:
    """Opens modules as a user does: the one before is left, the next entered."""

    def __init__(self, modules: ModuleManager):
        self._modules = modules
        self.selectedModule = ""

    def selectModule(self, name):
        module = self._modules.module(name)
        if module is None:
            raise ValueError(f"The test host has no module {name}")
        before = self._modules.module(self.selectedModule)
        if before is module:
            return
        if before is not None:
            before.widgetRepresentation()._leave()
        self.selectedModule = name
        module.widgetRepresentation()._come()


class LayoutManager(stand_in("slicer.app.layoutManager()", QtCore.QObject)):
    """The slice views and the plot view, with real nodes and logics behind them."""

    layoutChanged = Signal(int)

    def _build(self, scene, application_logic):
        self._scene = scene
        self._logics = vtk.vtkCollection()
        self._slices = {}
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        for name, orientation in SLICE_VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(application_logic)
            logic.SetMRMLScene(scene)
            node = logic.AddSliceNode(name)
            node.SetOrientation(orientation)
            node.SetDefaultOrientation(orientation)
            node.SetMappedInLayout(1)
            widget = qMRMLSliceWidget()
            widget._set_logic(logic)
            self._slices[name] = widget
            self._logics.AddItem(logic)
        application_logic.SetSliceLogics(self._logics)
        layouts = slicer.vtkMRMLLayoutLogic()
        layouts.SetMRMLScene(scene)
        self._layout_logic = layouts
        layouts.GetLayoutNode().SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        self._plot = qMRMLPlotWidget()
        plot_node = scene.GetSingletonNode("PlotView1", "vtkMRMLPlotViewNode")
        if plot_node is None:
            plot_node = slicer.vtkMRMLPlotViewNode()
            plot_node.SetSingletonTag("PlotView1")
            plot_node.SetLayoutName("PlotView1")
            plot_node = scene.AddNode(plot_node)
        self._plot.setMRMLScene(scene)
        self._plot.setMRMLPlotViewNode(plot_node)

    def _shut(self):
        self._plot.setMRMLScene(None)
        for widget in self._slices.values():
            logic = widget.__dict__.pop("_logic")
            logic.SetMRMLScene(None)
            logic.SetMRMLApplicationLogic(None)
        self._layout_logic.SetMRMLScene(None)
        self._logics.RemoveAllItems()

    def sliceViewNames(self):
        return tuple(self._slices)

    def sliceWidget(self, name):
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return self._logics

    def layoutLogic(self):
        return self._layout_logic

    def mrmlScene(self):
        return self._scene

    def plotWidget(self, index):
        return self._plot if index == 0 else None

    def setLayout(self, layout):
        self._layout_logic.GetLayoutNode().SetViewArrangement(layout)
        self.layoutChanged.emit(layout)

    def resetSliceViews(self):
        for widget in self._slices.values():
            widget.sliceLogic().FitSliceToBackground()

    def resetThreeDViews(self):
        """There is no camera here."""

    layout = QtCore.Property(int, lambda self: self._layout_logic.GetLayoutNode().GetViewArrangement(), setLayout)
    plotViewCount = QtCore.Property(int, lambda self: 1)


class CoreIOManager:
    """Scenes as .mrb and .mrml, volumes and segmentations as files, with the scene's own readers and writers."""

    NODES = {"VolumeFile": "vtkMRMLScalarVolumeNode", "SegmentationFile": "vtkMRMLSegmentationNode"}

    def __init__(self, scene, folder: Path):
        self._scene = scene
        cache = slicer.vtkCacheManager()  # the scene unpacks a .mrb there
        cache.SetRemoteCacheDirectory(str(folder))
        transfers = slicer.vtkDataIOManager()
        transfers.SetCacheManager(cache)
        scene.SetCacheManager(cache)
        scene.SetDataIOManager(transfers)

    def fileType(self, name):
        return "SceneFile" if str(name).endswith((".mrb", ".mrml")) else "VolumeFile"

    def fileWriterFileType(self, node):
        return "SegmentationFile" if node.IsA("vtkMRMLSegmentationNode") else "VolumeFile"

    def saveNodes(self, kind, properties, messages):
        path = str(properties["fileName"])
        if kind == "SceneFile":
            if path.endswith(".mrb"):
                return bool(self._scene.WriteToMRB(path, None, messages))
            self._scene.SetURL(path)
            return bool(self._scene.Commit(path, messages))
        node = self._scene.GetNodeByID(properties["nodeID"])
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        storage.SetFileName(path)
        return bool(storage.WriteData(node))

    def loadNodes(self, kind, properties, loaded, messages):
        path = str(properties["fileName"])
        if kind == "SceneFile":
            clear = bool(properties.get("clear", False))
            if path.endswith(".mrb"):
                return bool(self._scene.ReadFromMRB(path, clear, messages))
            self._scene.SetURL(path)
            return bool(self._scene.Connect(messages) if clear else self._scene.Import(messages))
        node = self._scene.AddNewNodeByClass(self.NODES[kind], properties.get("name") or Path(path).name.split(".")[0])
        storage = node.CreateDefaultStorageNode()
        storage.UnRegister(None)
        storage.SetFileName(path)
        if not storage.ReadData(node):
            self._scene.RemoveNode(node)
            return False
        loaded.AddItem(node)
        return True
