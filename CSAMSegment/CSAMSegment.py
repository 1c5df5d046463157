"""CSAMSegment, the module as Slicer looks for it; what it does is in CSAMSegmentLib. Older Slicers read this, too."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    python = "{}.{}".format(*sys.version_info[:2])
    raise ImportError(
        "CSAMSegment needs 3D Slicer 5.10 or newer; the Python of this one is " + python + ". Update Slicer."
    )

from typing import Annotated

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from CSAMSegmentLib import self_test
from CSAMSegmentLib.logic import about, module_logic
from CSAMSegmentLib.logic.parameters import OverlayKind, SliceAxis
from CSAMSegmentLib.widgets import panel


class CSAMSegment(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("CSAMSegment")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Colors", "Segmentations"]
        parent.contributors = list(about.CONTRIBUTORS)
        parent.helpText = about.HELP
        parent.acknowledgementText = about.ACKNOWLEDGEMENT
        slicer.app.connect("startupCompleted()", about.onStartupCompleted)


@parameterNodeWrapper
class CSAMSegmentParameterNode:
    """What the user has chosen; saved and restored with the scene."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    wholeSequence: bool = False
    model: str
    region: slicer.vtkMRMLMarkupsROINode
    segmentation: slicer.vtkMRMLSegmentationNode
    uncertainty: slicer.vtkMRMLScalarVolumeNode
    samples: Annotated[int, WithinRange(1, 200)] = 4
    seed: Annotated[int, WithinRange(0, 2147483647)] = 0
    sliceAxis: SliceAxis = SliceAxis.AUTO
    device: str = "auto"
    keepProbabilities: bool = False
    testTimeAugmentation: bool = False
    overlayKind: OverlayKind = OverlayKind.ERROR_PROBABILITY
    overlayVisible: bool = True
    overlayOpacity: Annotated[float, WithinRange(0, 1)] = 0.6
    overlayThreshold: Annotated[float, WithinRange(0, 100)] = 10
    legendVisible: bool = True
    chartVisible: bool = True


class CSAMSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.ui = self.logic = self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/CSAMSegment.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = CSAMSegmentLogic()
        self.panel = panel.Panel(self, self.ui, self.logic)
        if getattr(self.parent, "isEntered", False):  # reloaded while it is open: nobody will call enter
            self.enter()

    def enter(self):
        self.panel.enter()

    def exit(self):
        self.panel.exit()

    def onReload(self):
        about.forget_library()
        ScriptedLoadableModuleWidget.onReload(self)

    def cleanup(self):
        try:
            if self.panel is not None:
                self.panel.close()
        finally:
            self.panel = None
            self.removeObservers()


class CSAMSegmentLogic(ScriptedLoadableModuleLogic, module_logic.CSAMSegmentLogic):
    """For scripts: ``CSAMSegmentLogic().process(volume, "cardiac-lv", progress=print)``, see CSAMSegmentLib.logic."""

    def __init__(self, clientFactory=None, library=None):
        ScriptedLoadableModuleLogic.__init__(self)
        module_logic.CSAMSegmentLogic.__init__(self, clientFactory, library)

    def getParameterNode(self):
        return CSAMSegmentParameterNode(super().getParameterNode())


class CSAMSegmentTest(ScriptedLoadableModuleTest):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self, **_arguments):
        self.delayDisplay(self_test.run(self_test.tests(CSAMSegmentLogic), self.setUp, self.delayDisplay))
