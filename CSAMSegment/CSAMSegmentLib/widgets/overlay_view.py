"""The overlay's controls: map, opacity, threshold, legend, and the chart and layout around the slice views."""

from __future__ import annotations

from contextlib import suppress

import slicer

from ..logic import slice_views
from ..logic.map_display import ERROR_PROBABILITY, MAPS
from ..logic.map_legend import follow_display, hide_legend, show_legend
from ..logic.node_watch import CHANGED, NodeWatch
from ..logic.result_tables import SLICE
from ..logic.shown_result import ShownResult
from ..logic.slice_chart import ensure_chart, fit_chart, points, show_chart
from ..logic.thick_slice_layout import ThickSliceLayout
from .keys_and_timers import make_timer

RESIZED = 60
"""Milliseconds after which the views of another layout have their sizes, and images can be fitted into them."""


class OverlayView:
    """Keeps the slice views and the chart as the parameter node says; touches them only when that has changed.

    onSlice: called with the index of a slice, from 0, whose point in the chart was clicked. onOther: called with the
    series and the row of a point that was clicked in another chart.
    """

    def __init__(self, onSlice, onOther):
        self._onSlice, self._onOther = onSlice, onOther
        self._other = None  # a chart in place of that of the slices
        self._solid = self._solidAsked = False
        self._shown: tuple | None = None
        self._look: tuple | None = None
        self._chart: tuple | None = None
        self._charting: bool | None = None
        self._maps: dict = {}
        self._drawn: tuple | None = None
        self._isOpen = False
        self._plane: tuple | None = None  # an image and the slice view of its plane of acquisition
        self._looks = NodeWatch(CHANGED, self._onLook)
        self._fitTimer = make_timer(RESIZED, self._fit, once=True)
        self._solidTimer = make_timer(RESIZED, self._centre, once=True)
        self._layout = ThickSliceLayout(self._fitTimer.start)
        self._plots: list = []

    def open(self) -> None:
        """The user opens the module: its layout comes back with the result."""
        self._isOpen = True
        self._plane = None
        self._layout.onNew()

    def leave(self) -> None:
        """The user opens another module: their own layout comes back, the maps stay."""
        self._isOpen = False
        self._layout.leave()

    def show(self, result: ShownResult | None, parameters) -> None:
        """Show what the parameters say of a result."""
        if result is None or parameters is None:
            if parameters is not None:
                self._hide()
            else:  # a scene goes or comes
                self._charting = None
                self._layout.onScene()
            self._shown = self._look = self._chart = self._drawn = self._plane = None
            self._maps = {}
            self._looks.follow(())
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
                slice_views.hide_overlay(maps.values())
        look = (parameters.overlayOpacity, parameters.overlayThreshold, parameters.legendVisible)
        if look != self._look:
            self._look = look
            if volume is not None:
                slice_views.set_threshold(volume, kind, result.classes, parameters.overlayThreshold / 100)
                if parameters.overlayVisible:
                    slice_views.show_overlay(volume, parameters.overlayOpacity)
            self._showLegend(result, kind if parameters.legendVisible and parameters.overlayVisible else None)
        self._showChart(result, parameters.chartVisible)

    def setView(self, chart, solid: bool) -> None:
        """Have ``show`` show another chart in place of that of the slices, None for the latter. solid: with 3D."""
        if solid and not self._solid:
            self._solidAsked = True
            self._solidTimer.start()
        self._other, self._solid = chart, solid

    def bringBack(self, result: ShownResult, parameters) -> None:
        """Show image and map again where nothing is drawn over anything: Slicer takes both off for a new volume."""
        volume = result.nodes.get(parameters.overlayKind.value)
        if parameters.overlayVisible and volume is not None and not slice_views.has_overlay():
            if result.volume is not None and not slice_views.is_shown(result.volume):
                self.showImage(result, parameters, arrange=False)
            slice_views.show_overlay(volume, parameters.overlayOpacity)

    def _hide(self) -> None:
        """Take the maps that were shown off the views."""
        self._maps = {role: node for role, node in self._maps.items() if node.GetScene() is not None}
        slice_views.hide_overlay(self._maps.values())
        self._showLegend(None, None)

    def _showLegend(self, result: ShownResult | None, kind: str | None) -> None:
        """The legend of this kind of map, in the view of the plane of acquisition, and of no other."""
        for role, node in self._maps.items():
            if role in MAPS and role != kind:
                hide_legend(node)
        volume = self._maps.get(kind)
        self._looks.follow([volume.GetDisplayNode()] if volume is not None else ())
        view = self._planeOf(result) if volume is not None else None
        if view is not None:
            show_legend(volume, kind, view, slice_views.free_corner(view, result.segmentation))

    def _onLook(self, display, *_event) -> None:
        """Colours or window of a map were changed elsewhere: its legend says the same."""
        for role, node in self._maps.items():
            if role in MAPS and node.GetDisplayNode() is display:
                follow_display(node, role)

    def showImage(self, result: ShownResult, parameters, arrange: bool = True) -> None:
        """Bring the segmented image into the slice views, in its own planes, filling them.

        arrange: a run has ended, and its result is to be seen.
        """
        self._look = None  # ranges may have changed with the values
        if arrange:
            self._layout.onNew()
        if result.volume is not None:
            slice_views.show_image(result.volume)
            self._plane = None
            self._arrange(result, parameters.chartVisible)
            self._fit()

    def _arrange(self, result: ShownResult, chart: bool, asked: bool = False) -> None:
        """Give the plane of acquisition room, while the module is open."""
        view = self._planeOf(result)
        if self._isOpen and view is not None:
            self._layout.enter(view.GetLayoutName(), chart, asked or self._solidAsked, self._solid)
            self._solidAsked = False

    def _planeOf(self, result: ShownResult):
        """The slice view of the plane of acquisition; it stays the same when a user then turns the views."""
        image = result.volume or result.nodes.get(ERROR_PROBABILITY.name)
        if image is not None and (self._plane is None or self._plane[0] is not image):
            self._plane = image, slice_views.acquisition_view(image, result.slice_axis)
        return self._plane[1] if image is not None else None

    def _fit(self) -> None:
        manager = slicer.app.layoutManager()
        if manager is not None:
            manager.resetSliceViews()

    def _centre(self) -> None:
        """Turn the 3D view to the structures: Slicer's camera looks at the origin, where no patient need be."""
        manager = slicer.app.layoutManager()
        if manager is not None and self._isOpen:
            manager.resetThreeDViews()

    # The chart ----------------------------------------------------------------------------------------------------

    def _showChart(self, result: ShownResult, visible: bool) -> None:
        state = (result.slices, visible, self._other)
        asked = visible and self._charting is False
        if state != self._chart:
            self._chart, self._charting = state, visible
            if visible:
                name = result.volume.GetName() if result.volume is not None else result.model
                own = ensure_chart(result.slices, name)
                show_chart(own if self._other is None else self._other)
        drawn = (result.slices, points(result.slices))
        if visible and drawn != self._drawn:  # only then: a user may have zoomed in
            self._drawn = drawn
            fit_chart(ensure_chart(result.slices, ""), drawn[1])
        self._arrange(result, visible, asked)
        if visible and (manager := slicer.app.layoutManager()) is not None:
            self._listen(manager)

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
            if clicked is None or points is None or not points.GetNumberOfTuples():
                continue
            row = int(points.GetTuple1(0))
            if clicked.GetTableNodeID() != slices.GetID():  # the view may show another chart
                self._onOther(clicked, row)
            elif 0 <= row < table.GetNumberOfRows():
                self._onSlice(table.GetValueByName(row, SLICE).ToInt() - 1)
            return

    def close(self) -> None:
        """Stop listening to the chart, and let go of the result."""
        self.show(None, None)
        self._layout.leave()
        self._fitTimer.stop()
        self._solidTimer.stop()
        for plot in self._plots:
            with suppress(ValueError):  # it has gone with its view node: the scene was cleared with all singletons
                plot.plotView().disconnect("dataSelected(vtkStringArray*,vtkCollection*)", self._onPoint)
        self._plots = []
