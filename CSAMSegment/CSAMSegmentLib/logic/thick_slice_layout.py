"""A layout for thick slices: the plane of acquisition large, the other two and the chart small beside it.

The layout that a user had is given back when they leave, and one that they choose meanwhile stands.
"""

from __future__ import annotations

import slicer

VIEWS = {"Red": ("Axial", "R", "#F34A33"), "Green": ("Coronal", "G", "#6EB04B"), "Yellow": ("Sagittal", "Y", "#EDD54C")}
"""Slicer's slice views: orientation, letter and colour that they have where no scene has set others."""
FIRST = 5760
"""The number of our first layout; Slicer's own end at 100."""
IDS = {(name, chart): FIRST + 2 * n + chart for n, name in enumerate(VIEWS) for chart in (False, True)}
"""The number of each of our layouts, by its large view and whether it has the chart."""
SOLID_IDS = {key: number + len(IDS) for key, number in IDS.items()}
"""The same with a 3D view in place of the two small slice views."""
OURS = frozenset((*IDS.values(), *SOLID_IDS.values()))


def add_layouts() -> None:
    """Make our layouts known to Slicer, also for scenes that were saved with one: without it the window is empty."""
    manager = slicer.app.layoutManager()
    if manager is not None:
        for ids, solid in ((IDS, False), (SOLID_IDS, True)):
            for (large, chart), number in ids.items():
                manager.layoutLogic().GetLayoutNode().AddLayoutDescription(number, layout_xml(large, chart, solid))


def layout_xml(large: str, chart: bool, solid: bool = False) -> str:
    """A layout as Slicer describes it. large: the slice view that gets two thirds. solid: with a 3D view."""
    small = [_slice_view(name) for name in VIEWS if name != large]
    if solid:
        label = '<property name="viewlabel" action="default">1</property>'
        small = [f'<view class="vtkMRMLViewNode" singletontag="1">{label}</view>']
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
        self._before: int | None = None  # the user's, while ours should be there
        self._declined = False
        self._sceneCame = False

    def onScene(self) -> None:
        """A scene goes or comes while the module is open: the layout that it brings is the user's choice."""
        self._sceneCame = True

    def onNew(self) -> None:
        """The user opens the module, or a run has ended in it."""
        self._sceneCame = False

    def enter(self, large: str, chart: bool, asked: bool = False, solid: bool = False) -> None:
        """Show our layout, unless the user has chosen another one since it was shown.

        large: the slice view of the plane of acquisition. asked: the user asks for it now, by showing the chart or 3D.
        solid: with a 3D view.
        """
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        ours, wanted = manager.layout in OURS, (SOLID_IDS if solid else IDS)[large, chart]
        if self._before is not None and not ours:
            self._before, self._declined = None, True
        if not (asked or ours) and (self._declined or self._sceneCame):
            return
        self._declined = self._sceneCame = False
        if self._before is None:  # ours is there without us in a scene that was saved with it
            self._before = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView if ours else manager.layout
        if manager.layout != wanted:
            add_layouts()
            manager.setLayout(wanted)
            self._onSwitched()

    def leave(self) -> None:
        """Give the user's layout back, unless they have chosen another one."""
        manager, before = slicer.app.layoutManager(), self._before
        if manager is None or before is None:
            return
        self._before = None
        if manager.layout not in OURS:
            self._declined = True
            return
        manager.setLayout(before)
        self._onSwitched()
