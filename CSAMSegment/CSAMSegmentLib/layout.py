"""A layout for thick slices: the plane of acquisition large, the other two and the chart small beside it.

The layout that a person had is given back when they leave, and one that they choose meanwhile stands. A scene is saved
with theirs: in a Slicer without this module ours would be an empty window.
"""

from __future__ import annotations

import slicer

VIEWS = {"Red": ("Axial", "R", "#F34A33"), "Green": ("Coronal", "G", "#6EB04B"), "Yellow": ("Sagittal", "Y", "#EDD54C")}
"""Slicer's slice views: orientation, letter and colour that they have where no scene has set others."""
FIRST = 5760
"""The number of our first layout; Slicer's own end at 100."""
IDS = {(name, chart): FIRST + 2 * n + chart for n, name in enumerate(VIEWS) for chart in (False, True)}
"""The number of each of our layouts, by its large view and whether it has the chart."""
SHOWN = "CSAMSegment.Layout"
"""Attribute of the layout node in a saved scene: ours was shown."""


def layout_xml(large: str, chart: bool) -> str:
    """A layout as Slicer describes it. large: the slice view that gets two thirds."""
    small = [_slice_view(name) for name in VIEWS if name != large]
    if chart:
        plot = '<property name="viewlabel" action="default">P</property>'
        small.append(f'<view class="vtkMRMLPlotViewNode" singletontag="PlotView1">{plot}</view>')
    column = "".join(f'<item splitSize="333">{view}</item>' for view in small)
    return (
        f'<layout type="horizontal" split="true"><item splitSize="660">{_slice_view(large)}</item>'
        f'<item splitSize="340"><layout type="vertical" split="true">{column}</layout></item></layout>'
    )


def _slice_view(name: str) -> str:
    properties = zip(("orientation", "viewlabel", "viewcolor"), VIEWS[name], strict=True)
    inside = "".join(f'<property name="{key}" action="default">{value}</property>' for key, value in properties)
    return f'<view class="vtkMRMLSliceNode" singletontag="{name}">{inside}</view>'


class ThickSliceLayout:
    """Goes into our layout and out of it. onSwitched: called after each switch, when the views have other sizes."""

    def __init__(self, onSwitched):
        self._onSwitched = onSwitched
        self._ours: int | None = None  # what we have set, while it should be there
        self._before: int | None = None
        self._declined = False
        self._sceneCame = False
        scene = slicer.mrmlScene
        self._tags = [
            scene.AddObserver(scene.StartSaveEvent, self._onSave),
            scene.AddObserver(scene.EndSaveEvent, self._onSaved),
        ]

    def onScene(self) -> None:
        """A scene goes or comes while the module is open: the layout that it brings is the person's choice."""
        self._sceneCame = True

    def onNew(self) -> None:
        """The person opens the module, or a run has ended in it."""
        self._sceneCame = False

    def enter(self, large: str, chart: bool, asked: bool = False) -> None:
        """Show our layout, unless the person has chosen another one since it was shown.

        large: the slice view of the plane of acquisition. asked: the person asks for it now, by showing the chart.
        """
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        node = manager.layoutLogic().GetLayoutNode()
        loaded = node.GetAttribute(SHOWN) is not None
        node.RemoveAttribute(SHOWN)
        if self._ours is not None and manager.layout != self._ours:
            self._ours, self._declined = None, not loaded
        theirs = self._declined or (self._sceneCame and self._ours is None)
        if theirs and not (asked or loaded):
            return
        self._declined = False
        wanted = IDS[large, chart]
        if self._ours is None:
            ours_already = manager.layout in IDS.values()
            self._before = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView if ours_already else manager.layout
        self._ours = wanted
        if manager.layout != wanted:
            node.AddLayoutDescription(wanted, layout_xml(large, chart))  # does nothing where it is known
            manager.setLayout(wanted)
            self._onSwitched()

    def leave(self) -> None:
        """Give the person's layout back, unless they have chosen another one."""
        manager, ours = slicer.app.layoutManager(), self._ours
        if manager is None or ours is None:
            return
        self._ours = None
        if manager.layout != ours:
            self._declined = True
            return
        manager.setLayout(self._before)
        self._onSwitched()

    def close(self) -> None:
        """Leave, for good."""
        self.leave()
        for tag in self._tags:
            slicer.mrmlScene.RemoveObserver(tag)
        self._tags = []

    # A scene is saved with the person's layout. The node's events are off meanwhile: nothing on the screen changes.

    def _onSave(self, *_event) -> None:
        manager = slicer.app.layoutManager()
        if manager is not None and self._ours is not None and manager.layout == self._ours:
            node = manager.layoutLogic().GetLayoutNode()
            node.SetAttribute(SHOWN, "1")
            node.DisableModifiedEventOn()
            node.SetViewArrangement(self._before)

    def _onSaved(self, *_event) -> None:
        manager = slicer.app.layoutManager()
        node = manager.layoutLogic().GetLayoutNode() if manager is not None else None
        if node is not None and node.GetDisableModifiedEvent():
            node.SetViewArrangement(self._ours)
            node.DisableModifiedEventOff()
            node.RemoveAttribute(SHOWN)
