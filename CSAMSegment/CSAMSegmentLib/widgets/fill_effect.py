"""The Segment Editor's effect "Fill the rest": preview, apply, cancel, and which slice to draw next.

As with Grow from seeds, the preview and a run stay while another effect is used, so that drawn slices can be corrected
meanwhile. They end when no effect is active any more, or another segmentation or volume is edited.
"""

from __future__ import annotations

import logging

import slicer
import vtk

from csam.errors import Cancelled, CSAMError, InputError
from csam.interactive.drawing import FillOptions
from csam.result import Result

from ..logic import fill_texts
from ..logic.closed_voxels import closed_voxels
from ..logic.drawn_slices import drawn_indices, find_slices
from ..logic.fill_apply import apply_filling, check_geometry
from ..logic.fill_preview import FillPreview
from ..logic.fill_run import FillRun, plan_fill
from ..logic.node_watch import CHANGED, NodeWatch
from ..logic.segment_voxels import segment_voxels
from ..logic.sequence_browser import shown_item
from ..logic.slice_in_view import show_point
from ..logic.texts import tr as _
from ..logic.volume_geometry import check_volume
from .fill_form import SELECTED, VISIBLE, FillForm
from .fill_slices import FillSlices
from .fill_worker import FillWorker, chosen_device, chosen_slice_axis
from .keys_and_timers import make_timer

DRAWING_CHANGED = (
    vtk.vtkCommand.ModifiedEvent,
    slicer.vtkSegmentation.SegmentAdded,
    slicer.vtkSegmentation.SegmentRemoved,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkMRMLSegmentationNode.SegmentationChangedEvent,
)
REFRESH_DELAY, UPDATE_DELAY = 100, 1000
"""Milliseconds from a change of the drawing to reading it anew, and to the update of a preview."""
DEFAULTS = {"Segments": VISIBLE, "Beyond": 0, "AutoUpdate": 0, "PreviewOpacity": 0.6}


class FillEffect:
    """What one editor's copy of the effect does. effect: the qSlicerSegmentEditorScriptedEffect."""

    def __init__(self, effect):
        self._effect = effect
        self.form = self.slices = self.worker = None  # the factory's copy never gets any
        self.preview = FillPreview()
        self._run: FillRun | None = None  # of the preview
        self._result: Result | None = None
        self._next = None  # the SliceScore of the slice to draw next

    def setup(self) -> None:
        """Make the options. Slicer calls it once for every editor."""
        form = self.form = FillForm(self._effect)
        self.slices = FillSlices(form, self._onDrawingChanged)
        self.worker = FillWorker(self._onProgress, self._onEnd)
        self._refreshTimer = make_timer(REFRESH_DELAY, self.refresh, once=True)
        self._updateTimer = make_timer(UPDATE_DELAY, self._onUpdateDue, once=True)
        self._drawing = NodeWatch(DRAWING_CHANGED, lambda *_: self._onDrawingChanged())
        self._editor = NodeWatch(CHANGED, lambda *_: self._onEditorChanged())
        self._scene = NodeWatch((slicer.vtkMRMLScene.StartCloseEvent,), lambda *_: self._drop(closing=True))
        form.segmentsComboBox.connect("activated(int)", self._onSegmentsChosen)
        form.beyondCheckBox.toggled.connect(lambda on: self._set("Beyond", int(on)))
        form.autoUpdateCheckBox.toggled.connect(lambda on: self._set("AutoUpdate", int(on)))
        form.opacitySlider.valueChanged.connect(self._onOpacity)
        form.previewButton.clicked.connect(self.startPreview)
        form.cancelButton.clicked.connect(self.cancel)
        form.applyButton.clicked.connect(self.apply)
        form.nextButton.clicked.connect(self._onGoThere)
        self._show("")

    # What Slicer tells ------------------------------------------------------------------------------------------------

    def setDefaults(self) -> None:
        for name, value in DEFAULTS.items():
            self._effect.setParameterDefault(name, value)

    def activate(self) -> None:
        self._watch()
        self.showParameters()
        self.refresh()

    def deactivate(self) -> None:
        self._refreshTimer.stop()
        self._onEditorChanged()
        self._watch()

    def onSourceVolumeChanged(self) -> None:
        if self.form is not None and self._effect.active():
            self._refreshTimer.start()

    def close(self) -> None:
        """The editor goes."""
        if self.form is None:
            return
        self._drop()
        self.worker.close()
        for watch in (self._drawing, self._editor, self._scene):
            watch.follow(())

    # Buttons ----------------------------------------------------------------------------------------------------------

    @property
    def isRunning(self) -> bool:
        return self.worker.isRunning

    def startPreview(self, *_arguments) -> None:
        """Fill in the worker, and show what comes back. What keeps it from starting is said in the options."""
        self._updateTimer.stop()
        try:
            run = self._plan()
        except InputError as error:
            self._show(str(error))
            return
        self.worker.start(run)
        self._watch()

    def cancel(self, *_arguments) -> None:
        """Stop a run; where none is under way, remove the preview."""
        self._updateTimer.stop()
        if self.isRunning:
            self.worker.cancel()
        elif self._result is not None:
            self._drop()
            self._show(fill_texts.CANCELLED)

    def apply(self, *_arguments) -> None:
        """Put the preview into the segments."""
        if self._result is None or self.isRunning:
            return
        run, result = self._run, self._result
        try:
            apply_filling(self._effect, run, result)
        except InputError as error:
            self._show(str(error))
            return
        self._drop()
        self._watch()
        self.refresh()
        self._show(fill_texts.applied(len(run.changing)))

    def _onGoThere(self, *_arguments) -> None:
        volume = self._effect.parameterSetNode().GetSourceVolumeNode()
        if self._next is not None and volume is not None:
            show_point(volume, self._next.worst_point)

    def _onSegmentsChosen(self, index: int) -> None:
        self._set("Segments", self.form.segmentsComboBox.itemData(index))

    def _onOpacity(self, value: float) -> None:
        self.preview.set_opacity(value)
        self._set("PreviewOpacity", value)

    def _set(self, name: str, value) -> None:
        self._effect.setParameter(name, value)
        self._onDrawingChanged()

    # The run ----------------------------------------------------------------------------------------------------------

    def _plan(self) -> FillRun:
        volume, segmentation, segments = self._input()
        check_geometry(self._effect, volume, segmentation)
        axis, beyond = chosen_slice_axis(volume), bool(self._effect.integerParameter("Beyond"))
        drawn = drawn_indices(find_slices(segmentation, volume, segments, axis))
        options = FillOptions(device=chosen_device(), slice_axis=axis, beyond=beyond)
        closed = closed_voxels(segmentation, volume, segments, self._effect.parameterSetNode())
        return plan_fill(volume, segmentation, segments, drawn, options, closed=closed)

    def _input(self) -> tuple:
        """Volume, segmentation and IDs of the segments to be filled. Raises InputError, a sentence for the user."""
        node = self._effect.parameterSetNode()
        volume, segmentation = node.GetSourceVolumeNode(), node.GetSegmentationNode()
        if volume is None or segmentation is None:
            raise InputError(fill_texts.NO_VOLUME)
        check_volume(volume)
        content, display = segmentation.GetSegmentation(), segmentation.GetDisplayNode()
        if self._effect.parameter("Segments") == SELECTED:
            selected = node.GetSelectedSegmentID()
            if not selected or content.GetSegment(selected) is None:
                raise InputError(fill_texts.NOT_SELECTED)
            return volume, segmentation, [selected]
        every = content.GetSegmentIDs()
        visible = [one for one in every if display is None or display.GetSegmentVisibility(one)]
        if not visible:
            raise InputError(fill_texts.NO_SEGMENT)
        drawn = [one for one in visible if segment_voxels(segmentation, one, volume).any()]
        return volume, segmentation, drawn or visible

    def _onProgress(self, words: str, fraction: float | None) -> None:
        self._show(words, fraction)

    def _onEnd(self, run: FillRun, outcome) -> None:
        if isinstance(outcome, Cancelled):
            self._show(fill_texts.CANCELLED)
            return
        try:
            if isinstance(outcome, CSAMError):
                if outcome.detail:
                    logging.debug(outcome.detail)
                raise outcome
            self.preview.show(run, outcome, self._effect.doubleParameter("PreviewOpacity"))
        except CSAMError as error:
            self._show(str(error))
            return
        except Exception as error:
            logging.exception("A filling could not be shown")
            self.preview.remove()
            self._show(_("The filling could not be shown: {error}. The log has more.").format(error=error))
            return
        self._run, self._result = run, outcome
        changing = set(run.changing)
        scores = [score for score in outcome.slices if score.index in changing and score.expected_wrong_area_mm2 > 0]
        self._next = min(scores, key=lambda score: score.rank, default=None)
        self._watch()
        self._show(" ".join((fill_texts.filled(len(changing)), *run.warnings, *outcome.warnings)))
        if not self._isCurrent():
            self._onDrawingChanged()

    def _isCurrent(self) -> bool:
        """Whether the preview is of the drawing as it is now."""
        run = self._run
        try:
            run.check_unchanged()
            axis, beyond = chosen_slice_axis(run.volume), bool(self._effect.integerParameter("Beyond"))
            drawn = drawn_indices(find_slices(run.segmentation, run.volume, list(run.segments), axis))
            now, then = (drawn, beyond, axis), (run.drawn, run.options.beyond, run.options.slice_axis)
            return now == then and list(run.segments) == self._input()[2]
        except InputError:
            return False

    # The scene changes ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Follow what is edited while the effect is active, or a run or a preview is there."""
        node = self._effect.parameterSetNode()
        held = node is not None and (self.isRunning or self._result is not None)
        awake = node is not None and (held or self._effect.active())
        segmentation = node.GetSegmentationNode() if awake else None
        if segmentation is not None:
            nodes = segmentation, node.GetSourceVolumeNode()  # both change where a sequence shows another frame
            self._drawing.follow((*nodes, segmentation.GetSegmentation(), segmentation.GetDisplayNode()))
        else:
            self._drawing.follow(())
        self._editor.follow((node,) if awake else ())
        self._scene.follow((node.GetScene(),) if held else ())

    def _onDrawingChanged(self) -> None:
        run = self.worker.run or self._run
        if run is not None and run.item != shown_item(run.volume):
            self._drop()
            self._show(fill_texts.other_frame(run.item))
        self._watch()
        if self._effect.active():
            self._refreshTimer.start()
        if self._result is not None or self.isRunning:
            self._updateTimer.start()

    def _onUpdateDue(self) -> None:
        """The drawing has been left alone for a while after a change."""
        if self.isRunning:
            self._updateTimer.start()
        elif self._result is None or self._isCurrent():
            self._showButtons()
        elif self._effect.integerParameter("AutoUpdate"):
            self.startPreview()
        else:
            self._show(fill_texts.STALE)

    def _onEditorChanged(self) -> None:
        """The editor's node has changed: its effect, segmentation or volume may be others."""
        node, run = self._effect.parameterSetNode(), self.worker.run or self._run
        if run is not None:
            kept = node is not None and node.GetActiveEffectName() and node.GetSegmentationNode() is run.segmentation
            if not (kept and node.GetSourceVolumeNode() is run.volume):
                self._drop()
                self._show("")
        if self._effect.active():
            self._watch()
            self._refreshTimer.start()

    def _drop(self, closing: bool = False) -> None:
        """Give up the run and the preview. closing: the scene removes all nodes by itself."""
        self._updateTimer.stop()
        self.worker.stop()
        if closing:
            self.preview.node = self._next = None
        self.preview.remove()
        self._run = self._result = None
        if not closing:
            self._watch()

    # What is shown ----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read the drawing anew."""
        if self._effect.parameterSetNode() is None or not self._effect.active():
            return
        try:
            drawing = self._input()
            self.slices.read(*drawing, chosen_slice_axis(drawing[0]))
        except InputError as error:
            self.slices.clear(str(error))
        self._showButtons()

    def showParameters(self) -> None:
        """Show what is stored in the editor's node."""
        form, effect = self.form, self._effect
        if effect.parameterSetNode() is None:
            return
        values = (
            (form.segmentsComboBox, "currentIndex", form.segmentsComboBox.findData(effect.parameter("Segments"))),
            (form.beyondCheckBox, "checked", bool(effect.integerParameter("Beyond"))),
            (form.autoUpdateCheckBox, "checked", bool(effect.integerParameter("AutoUpdate"))),
            (form.opacitySlider, "value", effect.doubleParameter("PreviewOpacity")),
        )
        for widget, name, value in values:
            was_blocked = widget.blockSignals(True)
            setattr(widget, name, value)
            widget.blockSignals(was_blocked)

    def _show(self, words: str, fraction: float | None = None) -> None:
        form, running = self.form, self.isRunning
        form.messageLabel.text = words
        form.messageLabel.setVisible(bool(words))
        form.progressBar.setVisible(running)
        form.progressBar.setRange(0, 0 if fraction is None else 1000)
        if fraction is not None:
            form.progressBar.setValue(round(1000 * fraction))
        self._showButtons()

    def _showButtons(self) -> None:
        form, running, there = self.form, self.isRunning, self._result is not None
        form.previewButton.text = _("Update") if there else _("Preview")
        form.previewButton.enabled = bool(self.slices.states) and not running
        form.cancelButton.enabled = running or there
        form.applyButton.enabled = there and not running
        form.opacitySlider.enabled = there
        form.nextLabel.text = fill_texts.draw_next(self._next.index) if self._next is not None else ""
        form.nextRow.setVisible(self._next is not None)
