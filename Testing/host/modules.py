"""Scripted modules as the application holds them, and the few others that a panel asks for."""

from __future__ import annotations

import importlib.util
import sys
import types
import urllib.request
from pathlib import Path

import slicer
from PySide6 import QtCore, QtWidgets

from .mrml_widgets import _SceneWidget, qMRMLSegmentEditorWidget
from .pythonqt import stand_in


class qSlicerScriptedLoadableModule:
    """A module: what a ``ScriptedLoadableModule`` gets as its parent, and ``slicer.modules.name``."""

    ATTRIBUTES = {
        "title": "", "categories": [], "dependencies": [], "contributors": [], "helpText": "",
        "acknowledgementText": "", "icon": None, "index": -1, "hidden": False, "path": "",
        "associatedNodeTypes": [], "name": "", "widgetRepresentationCreationEnabled": True,
    }  # fmt: skip

    def __init__(self, name: str, path: str):
        self.__dict__.update({key: list(v) if isinstance(v, list) else v for key, v in self.ATTRIBUTES.items()})
        self.__dict__.update(name=name, path=path, title=name, _widget=None, _instance=None, _logic=None)

    def __setattr__(self, name, value):
        if name not in self.ATTRIBUTES:
            raise AttributeError(f"A module's parent has no {name!r} in the application")
        self.__dict__[name] = value

    def widgetRepresentation(self):
        """The panel, made when first asked for."""
        if self._widget is None:
            self.__dict__["_widget"] = qSlicerScriptedLoadableModuleWidget()
            self._widget._build(self)
        return self._widget

    def logic(self):
        return self._logic

    def _new_python_widget(self, parent):
        return getattr(sys.modules[self.name], f"{self.name}Widget")(parent)

    def _close(self):
        if self._widget is not None:
            self._widget._leave()
            self._widget._cleanup()
            self.__dict__["_widget"] = None


class qSlicerScriptedLoadableModuleWidget(_SceneWidget, stand_in("slicer.qMRMLWidget", QtWidgets.QWidget)):
    """The panel of a scripted module: calls setup, enter, exit and cleanup of its Python class."""

    _kinds = stand_in("slicer.qMRMLWidget", QtWidgets.QWidget)._kinds | {
        "isEntered": "property", "moduleName": "property", "self": "method", "reload": "method", "module": "method",
    }  # fmt: skip
    mrmlSceneChanged = QtCore.Signal(object)
    isEntered = QtCore.Property(bool, lambda self: self.__dict__.get("_entered", False))
    moduleName = QtCore.Property(str, lambda self: self._module.name)

    def _build(self, module):
        self.__dict__["_module"] = module
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)
        self.reload()

    def module(self):
        return self._module

    def self(self):
        return self._python

    def reload(self):
        """A new instance of the Python class, set up but not entered; as ``slicer.util.reloadScriptedModule`` asks."""
        self.__dict__["_python"] = self._module._new_python_widget(self)
        setattr(slicer.modules, f"{self._module.name}Widget", self._python)
        self._python.setup()

    def _come(self):
        self.__dict__["_entered"] = True
        getattr(self._python, "enter", lambda: None)()
        QtWidgets.QWidget.show(self)

    def _leave(self):
        if self.isEntered:
            self.__dict__["_entered"] = False
            getattr(self._python, "exit", lambda: None)()
            QtWidgets.QWidget.hide(self)

    def _cleanup(self):
        python = self.__dict__.pop("_python")
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self._module.name)
        self.setMRMLScene(None)
        slicer.modules.__dict__.pop(f"{self._module.name}Widget", None)
        python.parent = None
        QtWidgets.QWidget.close(self)
        QtCore.QObject.deleteLater(self)


class SegmentEditorWidget:
    """The Segment Editor's Python widget: ``editor``, and what Slicer's own does with it."""

    def __init__(self, parent):
        self.parent = parent
        self.editor = qMRMLSegmentEditorWidget(parent)
        self._select_node()
        self.editor.setMRMLScene(slicer.mrmlScene)
        scene = slicer.mrmlScene
        self._scene, self._tags = (
            scene,
            [
                scene.AddObserver(scene.StartCloseEvent, lambda *_: self._on_start_close()),
                scene.AddObserver(
                    scene.EndCloseEvent, lambda *_: self._select_node() if self.parent.isEntered else None
                ),
            ],
        )
        self.entered = 0

    def _select_node(self):
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag("SegmentEditor")
            node = slicer.mrmlScene.AddNode(node)
        self.editor.setMRMLSegmentEditorNode(node)

    def _on_start_close(self):
        self.editor.setSegmentationNode(None)

    def setup(self):
        """The editor is all."""

    def enter(self):
        self.entered += 1
        self._select_node()

    def exit(self):
        self.editor.setActiveEffect(None)

    def cleanup(self):
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self.editor.setMRMLScene(None)


class DataWidget:
    """A module's Python widget of which tests only see that it was entered."""

    def __init__(self, parent):
        self.parent = parent

    def setup(self):
        """It shows nothing."""

    def cleanup(self):
        """Nothing is kept."""


class BuiltIn(qSlicerScriptedLoadableModule):
    """Segment Editor, Data: modules that tests only enter and ask for their widget."""

    def _new_python_widget(self, parent):
        return (SegmentEditorWidget if self.name == "SegmentEditor" else DataWidget)(parent)

    def _close(self):
        if self._widget is not None:
            self._widget._leave()
            self._widget.self().cleanup()
        super()._close()


def load(path: Path) -> qSlicerScriptedLoadableModule:
    """Load a scripted module as the application does at start-up: import the file, make its module class."""
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    source = importlib.util.module_from_spec(spec)
    sys.modules[name] = source
    spec.loader.exec_module(source)
    module = qSlicerScriptedLoadableModule(name, str(path))
    register(module)
    instance = getattr(source, name)(module)
    module.__dict__["_instance"] = instance
    setattr(slicer.modules, f"{name}Instance", instance)
    return module


def register(module: qSlicerScriptedLoadableModule) -> None:
    setattr(slicer.modules, module.name.lower(), module)
    slicer.app.moduleManager()._modules[module.name] = module


def sample_data_module() -> types.ModuleType:
    """``SampleData``: remembers what was registered, in ``slicer.modules.sampleDataSources``, and fetches it.

    As in Slicer, ``downloadSample`` fetches the address, which rules may rewrite, and loads the file; a source's
    customDownloader is called by the module's button alone (``click``).
    """

    class SampleDataSource:
        def __init__(
            self, sampleName=None, sampleDescription=None, uris=None, fileNames=None, nodeNames=None, checksums=None,
            loadFiles=None, customDownloader=None, thumbnailFileName=None, loadFileTypes=None,
            loadFileProperties=None, loadFileType=None,
        ):  # fmt: skip
            len(uris)  # as measured: without uris a TypeError
            lists = {name: [value] if isinstance(value, str) else value for name, value in locals().items()}
            self.__dict__.update({name: value for name, value in lists.items() if name != "self"})
            self.sampleName = sampleName
            self.thumbnailFileName = thumbnailFileName

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataCategory(category, title=None, visible=True):
            slicer.modules.__dict__.setdefault("sampleDataSources", {}).setdefault(category, [])

        @staticmethod
        def registerCustomSampleDataSource(category="Custom", **source):
            SampleDataLogic.registerCustomSampleDataCategory(category)
            slicer.modules.sampleDataSources[category].append(SampleDataSource(**source))

        @staticmethod
        def registerUrlRewriteRule(name, rewriteFunction):
            slicer.modules.__dict__.setdefault("sampleDataUrlRewriteRules", {})[name] = rewriteFunction

        def sourceForSampleName(self, sampleName):
            sources = [s for group in slicer.modules.sampleDataSources.values() for s in group]
            return next((source for source in sources if source.sampleName == sampleName), None)

        def downloadSample(self, sampleName):
            source, folder = self.sourceForSampleName(sampleName), Path(slicer.app.temporaryPath)
            nodes = []
            for address, name, node_name in zip(source.uris, source.fileNames, source.nodeNames, strict=True):
                for rule in getattr(slicer.modules, "sampleDataUrlRewriteRules", {}).values():
                    address = rule(address)
                urllib.request.urlretrieve(address, folder / name)
                nodes.append(slicer.modules.volumes.logic().AddArchetypeVolume(str(folder / name), node_name))
            return nodes[0]

        def click(self, sampleName):
            source = self.sourceForSampleName(sampleName)
            return source.customDownloader(source)

    module = types.ModuleType("SampleData")
    module.SampleDataLogic, module.SampleDataSource = SampleDataLogic, SampleDataSource
    module.downloadSample = lambda name: SampleDataLogic().downloadSample(name)
    return module
