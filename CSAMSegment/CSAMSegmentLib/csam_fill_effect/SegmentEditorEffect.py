"""The Segment Editor's effect "Fill the rest", as Slicer looks for it; what it does is in widgets/fill_effect.py.

Slicer takes the name of this folder for a module's and that of the file for the class's (setPythonSource): the folder's
name must be nobody else's.
"""

from __future__ import annotations

import qt
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect

from CSAMSegmentLib.logic import fill_texts
from CSAMSegmentLib.logic.about import RESOURCES
from CSAMSegmentLib.widgets.fill_effect import FillEffect


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """Every editor has a copy of it, made by ``clone``."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = fill_texts.NAME
        scriptedEffect.title = fill_texts.TITLE
        scriptedEffect.perSegment = False  # it fills what is visible, selected or not
        scriptedEffect.showEffectCursorInSliceView = False
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.filling = FillEffect(scriptedEffect)

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        copy = effects.qSlicerSegmentEditorScriptedEffect(None)
        copy.setPythonSource(__file__.replace("\\", "/"))
        return copy

    def icon(self):
        return qt.QIcon(str(RESOURCES / "Icons" / "FillTheRest.png"))

    def helpText(self):
        return fill_texts.HELP

    def setupOptionsFrame(self):
        self.filling.setup()

    def setMRMLDefaults(self):
        self.filling.setDefaults()

    def activate(self):
        self.filling.activate()

    def deactivate(self):
        self.filling.deactivate()

    def updateGUIFromMRML(self):
        self.filling.showParameters()

    def updateMRMLFromGUI(self):
        """Every option is stored as soon as it is changed."""

    def sourceVolumeNodeChanged(self):
        self.filling.onSourceVolumeChanged()

    def cleanup(self):
        self.filling.close()
