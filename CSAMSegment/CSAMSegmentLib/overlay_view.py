"""The overlay's controls: map, opacity, threshold, legend, and the chart beside the slice views."""

from __future__ import annotations

from contextlib import suppress

import slicer

from . import views
from .chart import ensure_chart, find_chart, show_chart
from .results import ShownResult
from .tables import SLICE


class OverlayView:
    """Keeps the slice views and the chart as the parameter node says; touches them only when that has changed.

    onSlice: called with the index of a slice, from 0, whose point in the chart was clicked.
    """

    def __init__(self, onSlice):
        self._onSlice = onSlice
        self._shown: tuple | None = None
        self._look: tuple | None = None
        self._chart: tuple | None = None
        self._charting: bool | None = None
        self._maps: dict = {}
        self._layout: int | None = None
        self._plots: list = []

    def show(self, result: ShownResult | None, parameters) -> None:
        """Show what the parameters say of a result."""
        if result is None or parameters is None:
            if parameters is not None:
                self._hide()
            else:  # a scene goes or comes
                self._charting = None
            self._shown = self._look = self._chart = None
            self._maps = {}
            return
        kind = parameters.overlayKind.value
        volume = result.nodes.get(kind)
        maps = {role: node for role, node in result.nodes.items() if node.IsA("vtkMRMLScalarVolumeNode")}
        if not {*self._maps.values()} <= {*maps.values()}:
            self._hide()
        self._maps = maps
        shown = (result.segmentation.GetID(), kind if parameters.overlayVisible else None, volume)
        if shown != self._shown:
            self._shown, self._look = shown, None
            if volume is None or not parameters.overlayVisible:
                views.hide_overlay(maps.values())
        look = (parameters.overlayOpacity, parameters.overlayThreshold, parameters.legendVisible)
        if look != self._look:
            self._look = look
            if volume is not None:
                views.set_threshold(volume, kind, result.classes, parameters.overlayThreshold / 100)
                if parameters.overlayVisible:
                    views.show_overlay(volume, parameters.overlayOpacity)
            self._showLegends(volume if parameters.legendVisible and parameters.overlayVisible else None)
        self._showChart(result, parameters.chartVisible)

    def bringBack(self, result: ShownResult, parameters) -> None:
        """Show image and map again where nothing is drawn over anything: Slicer takes both off for a new volume."""
        volume = result.nodes.get(parameters.overlayKind.value)
        if parameters.overlayVisible and volume is not None and not views.has_overlay():
            if result.volume is not None and not views.is_shown(result.volume):
                self.showImage(result, parameters, arrange=False)
            views.show_overlay(volume, parameters.overlayOpacity)

    def _hide(self) -> None:
        """Take the maps that were shown off the views."""
        self._maps = {role: node for role, node in self._maps.items() if node.GetScene() is not None}
        views.hide_overlay(self._maps.values())
        self._showLegends(None)

    def _showLegends(self, volume) -> None:
        """The legend of this map, and of no other."""
        for role, node in self._maps.items():
            if role in views.MAPS:
                views.show_legend(node, role, node is volume)

    def showImage(self, result: ShownResult, parameters, arrange: bool = True) -> None:
        """Bring the segmented image into the slice views, in its own planes, filling them.

        arrange: also choose the layout that has room for the chart.
        """
        self._look = None  # ranges may have changed with the values
        manager = slicer.app.layoutManager()
        if manager is not None and parameters.chartVisible and arrange:
            self._switchLayout(manager)  # first: it changes the views that are to be filled
        if result.volume is not None:
            views.show_image(result.volume)
            if manager is not None:
                manager.resetSliceViews()

    # The chart ----------------------------------------------------------------------------------------------------

    def _showChart(self, result: ShownResult, visible: bool) -> None:
        state = (result.slices, visible)
        if state == self._chart:
            return
        self._chart = state
        charting, self._charting = self._charting, visible
        manager = slicer.app.layoutManager()
        if visible:
            name = result.volume.GetName() if result.volume is not None else result.model
            loaded = charting is None and find_chart(result.slices) is not None  # it came with a layout of its scene
            chart = ensure_chart(result.slices, name)
            if manager is not None and not charting and not loaded:  # else the layout is the reader's choice
                self._switchLayout(manager)
            if manager is not None:
                self._listen(manager)
            show_chart(chart)
        elif manager is not None and self._layout is not None:
            if manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView:
                manager.setLayout(self._layout)
            self._layout = None

    def _switchLayout(self, manager) -> None:
        wanted = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView
        if manager.layout != wanted:
            self._layout = manager.layout
            manager.setLayout(wanted)

    def _listen(self, manager) -> None:
        """Hear of clicks in the plot views that there are."""
        for index in range(manager.plotViewCount):
            plot = manager.plotWidget(index)
            if plot is not None and not any(known is plot for known in self._plots):
                self._plots.append(plot)
                plot.plotView().connect("dataSelected(vtkStringArray*,vtkCollection*)", self._onPoint)

    def _onPoint(self, series, selections) -> None:
        if self._chart is None or series is None or selections is None:
            return
        slices = self._chart[0]
        table = slices.GetTable()
        for number in range(selections.GetNumberOfItems()):
            points, clicked = selections.GetItemAsObject(number), slicer.mrmlScene.GetNodeByID(series.GetValue(number))
            ours = clicked is not None and clicked.GetTableNodeID() == slices.GetID()  # the view may show another chart
            if ours and points is not None and points.GetNumberOfTuples():
                row = int(points.GetTuple1(0))
                if 0 <= row < table.GetNumberOfRows():
                    self._onSlice(table.GetValueByName(row, SLICE).ToInt() - 1)
                return

    def close(self) -> None:
        """Stop listening to the chart, and let go of the result."""
        self.show(None, None)
        for plot in self._plots:
            with suppress(ValueError):  # it has gone with its view node: the scene was cleared with all singletons
                plot.plotView().disconnect("dataSelected(vtkStringArray*,vtkCollection*)", self._onPoint)
        self._plots = []
