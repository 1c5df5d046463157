"""A small scripted module, written as Slicer's template is: what the host has to be able to run."""

SOURCE = """
import enum
from typing import Annotated

import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Kind(enum.Enum):
    ERROR = "Chance of error"
    ENTROPY = "Entropy"

    def label(self):
        return self.value


class Sample(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Sample")
        parent.categories = ["Segmentation"]
        slicer.app.connect("startupCompleted()", self.onStarted)
        self.started = 0

    def onStarted(self):
        self.started += 1


@parameterNodeWrapper
class SampleParameterNode:
    inputVolume: vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0, 1)] = 0.25
    samples: Annotated[int, WithinRange(1, 1000)] = 20
    overlay: bool = True
    kind: Kind
    device: Annotated[str, Choice(["auto", "cpu"])] = "auto"
    command: str
    reviewed: list[int]


class SampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.parameters = None
        self.log = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/Sample.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = SampleLogic()
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneReady)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneReady)
        self.ui.applyButton.connect("clicked(bool)", self.onApply)
        self.onSceneReady()

    def onSceneStartClose(self, caller=None, event=None):
        self.useParameters(None)

    def onSceneReady(self, caller=None, event=None):
        self.useParameters(self.logic.getParameterNode())

    def useParameters(self, parameters):
        if self.parameters:
            self.parameters.disconnectGui(self.tag)
            self.removeObserver(self.parameters, vtk.vtkCommand.ModifiedEvent, self.check)
        self.parameters = parameters
        if parameters:
            self.tag = parameters.connectGui(self.ui)
            self.addObserver(parameters, vtk.vtkCommand.ModifiedEvent, self.check)
            self.check()

    def check(self, caller=None, event=None):
        self.ui.applyButton.enabled = self.parameters.inputVolume is not None

    def onApply(self):
        if slicer.util.confirmYesNoDisplay(_("Really?")):
            with slicer.util.tryWithErrorDisplay(_("It failed."), waitCursor=True):
                raise ValueError("no luck")

    def enter(self):
        self.log.append("enter")

    def exit(self):
        self.log.append("exit")

    def cleanup(self):
        self.removeObservers()
        self.log.append("cleanup")


class SampleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return SampleParameterNode(super().getParameterNode())
"""


def widget(kind: str, name: str, parameter: str = "", properties: str = "") -> str:
    dynamic = f'<property name="SlicerParameterName" stdset="0"><string>{parameter}</string></property>'
    return f'<widget class="{kind}" name="{name}">{properties}{dynamic if parameter else ""}</widget>'


def form(*widgets: str, connections: str = "") -> str:
    rows = "".join(f'<item row="{row}" column="1">{widget}</item>' for row, widget in enumerate(widgets))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Sample</class>
<widget class="qMRMLWidget" name="Sample"><layout class="QVBoxLayout" name="all">
<item><widget class="ctkCollapsibleButton" name="inputs"><property name="text"><string>Inputs</string></property>
<layout class="QFormLayout" name="rows">{rows}</layout></widget></item>
<item><widget class="QPushButton" name="applyButton"/></item>
</layout></widget><resources/><connections>{connections}</connections></ui>"""


SELECTOR = widget(
    "qMRMLNodeComboBox",
    "inputSelector",
    "inputVolume",
    '<property name="noneEnabled"><bool>true</bool></property><property name="addEnabled"><bool>false</bool></property>'
    '<property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>',
)
SCENE_TO_SELECTOR = (
    "<connection><sender>Sample</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>"
    "<receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"
)
FORM = form(
    SELECTOR,
    widget("ctkSliderWidget", "thresholdSlider", "threshold"),
    widget("QSpinBox", "samplesBox", "samples"),
    widget("QCheckBox", "overlayBox", "overlay"),
    widget("QComboBox", "kindBox", "kind"),
    widget("QComboBox", "deviceBox", "device"),
    widget("QLineEdit", "commandEdit", "command"),
    connections=SCENE_TO_SELECTOR,
)


def write(folder, source: str = SOURCE, ui: str = FORM):
    """The module's files; the path of the one to load."""
    (folder / "Resources" / "UI").mkdir(parents=True)
    (folder / "Resources" / "UI" / "Sample.ui").write_text(ui)
    path = folder / "Sample.py"
    path.write_text(source)
    return path
