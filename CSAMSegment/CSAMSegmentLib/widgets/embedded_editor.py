"""Slicer's Segment Editor inside the panel: nobody changes modules to draw or to correct a slice."""

from __future__ import annotations

import slicer

EFFECTS = ("Paint", "Draw", "Erase", "Level tracing", "Scissors", "Smoothing", "Islands", "Threshold")
"""What is offered, in this order; the others are in the module Segment Editor."""
SINGLETON = "CSAMSegment"


class EmbeddedEditor:
    """Made when it is first shown. place: a widget with a layout for it."""

    def __init__(self, place):
        self._place = place
        self._widget = None

    @property
    def node(self):
        """Its vtkMRMLSegmentEditorNode, whose masking settings hold for a filling; None before it was shown."""
        return self._widget.mrmlSegmentEditorNode() if self._widget is not None else None

    @property
    def widget(self):
        """The qMRMLSegmentEditorWidget; None before it was shown."""
        return self._widget

    def show(self, segmentation, volume) -> None:
        """Edit a segmentation on an image; None for none."""
        if self._widget is None:
            self._make()
        widget = self._widget
        if self.node is None or self.node.GetScene() is not slicer.mrmlScene:
            widget.setMRMLSegmentEditorNode(_editor_node())
        if widget.segmentationNode() is not segmentation:
            widget.setSegmentationNode(segmentation)
        if segmentation is not None and widget.sourceVolumeNode() is not volume:
            widget.setSourceVolumeNode(volume)

    def choose(self, segment: str, effect: str = "") -> None:
        """Choose a segment, and a tool where one is named."""
        self._widget.setCurrentSegmentID(segment)
        if effect:
            self._widget.setActiveEffectByName(effect)

    def keepForUndo(self, segmentation) -> None:
        """Let its own Undo lead back to a segmentation's segments as they are now; while it edits another one, not."""
        if self._widget is not None and self._widget.segmentationNode() is segmentation:
            self._widget.saveStateForUndo()

    def watchViews(self) -> None:
        """Hear of the mouse in the slice views."""
        if self._widget is not None:
            self._widget.setupViewObservations()

    def rest(self) -> None:
        """Put the tool away: clicks in the slice views are no strokes."""
        if self._widget is not None:
            self._widget.setActiveEffect(None)
            self._widget.removeViewObservations()

    def letGo(self) -> None:
        """The scene goes or changes."""
        self.rest()
        if self._widget is not None:
            self._widget.setMRMLSegmentEditorNode(None)

    def close(self) -> None:
        """Before the widget goes: with a tool or a scene it would take the application along at its end."""
        if self._widget is not None:
            self.rest()
            self._widget.setMRMLScene(None)
            self._widget = None

    def _make(self) -> None:
        self._widget = widget = slicer.qMRMLSegmentEditorWidget()
        self._place.layout().addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        widget.setEffectNameOrder(list(EFFECTS))
        widget.unorderedEffectsVisible = False
        widget.segmentationNodeSelectorVisible = widget.sourceVolumeNodeSelectorVisible = False


def _editor_node():
    """The editor's own settings, saved with the scene."""
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(SINGLETON, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(SINGLETON)
        node = scene.AddNode(node)
    return node
