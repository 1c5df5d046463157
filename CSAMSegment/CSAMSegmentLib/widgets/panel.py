"""The panel as a whole: it follows the parameter node and the scene, and brings its parts together.

The parts (input, worker, runner, result, review, training case, overlay) know little of each other; they meet here.
"""

from __future__ import annotations

import slicer
import vtk

from csam.errors import CSAMError

from ..logic import function_nodes, slice_views
from ..logic.map_display import ERROR_PROBABILITY
from ..logic.node_watch import CHANGED, NodeWatch
from ..logic.result_nodes import INPUT, SEGMENTATION
from ..logic.shown_result import find_result, segmentation_of
from ..logic.slice_chart import remove_orphans
from ..logic.texts import tr as _
from .batch_view import BatchView
from .correction_watch import EditWatch
from .filling import Filling
from .function_view import FunctionView
from .input_view import InputView
from .keys_and_timers import drop_shortcuts, make_shortcuts, make_timer
from .learn_view import LearnView
from .overlay_view import OverlayView
from .panel_state import Corrections, PanelState, Presence, ViewTask
from .result_view import ResultView
from .review_view import ReviewView
from .runner import Runner
from .teach_view import TeachView
from .training_case import TrainingCaseView
from .worker_view import WorkerView

CHOICES = ("inputVolume", "region", "segmentation", "uncertainty")
"""The parameters that are nodes."""


class Panel:
    """What CSAMSegmentWidget does, apart from being a widget of Slicer.

    widget: gives addObserver and removeObserver. ui: the widgets of CSAMSegment.ui. logic: a CSAMSegmentLogic.
    """

    def __init__(self, widget, ui, logic):
        self.widget, self.ui, self.logic = widget, ui, logic
        self.parameters = None
        self._guiTag = self._parametersTag = None
        self._state = PanelState()
        self._volume = self._chosen = None
        # The tables change with a tick, and where a sequence's browser goes to another image.
        self._tables = NodeWatch(CHANGED, self._onModified)
        self.input = InputView(ui, logic, self._onModified)
        self.worker = WorkerView(ui, logic, self.input, self._onWorkerRestart)
        self.runner = Runner(ui, logic, self.input, self.worker, self._mayRun, self._onDone)
        self.result = ResultView(ui, self.restorePrevious)
        self.edits = EditWatch(self._onEdits)
        self.filling = Filling(self, self._state, self._find)
        self.review = ReviewView(ui, self._onGo, self.filling.edit)
        self.teach = TeachView(ui)
        ui.undoFillButton.clicked.connect(self.restorePrevious)
        ui.nextSliceButton.clicked.connect(self.review.first)
        self.trainingCase = TrainingCaseView(ui, self._find, self.input)
        self.batch = BatchView(ui, logic, self.input, self.runner, self._onOpened)
        self.function = FunctionView(ui, self._onView)
        self.overlay = OverlayView(self.review.goToSlice, self.function.onPoint)
        self.learn = LearnView(widget, ui, logic, self.input, self.runner, self.worker)
        # What follows a change is done in steps, so that the application can draw and react in between.
        self._refreshTimer = make_timer(0, self._refreshStep)
        self._steps = iter(())
        self._overlayTimer = make_timer(0, self._showOverlay, once=True)
        self._workerTimer = make_timer(0, self._startWorker, once=True)
        self._shortcuts = self._makeShortcuts()
        scene = slicer.mrmlScene
        widget.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        widget.addObserver(scene, scene.StartImportEvent, self.onSceneStartImport)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):  # after all selectors have filled their lists anew
            widget.addObserver(scene, event, self.onSceneChanged, priority=-10.0)
        widget.addObserver(scene, scene.NodeAboutToBeRemovedEvent, self.onNodeGoes)
        widget.addObserver(scene, scene.NodeRemovedEvent, self._onModified)  # it may have been part of what is shown
        for name, label in vars(ui).items():  # Alt and the underlined letter of a label go to its widget
            if name.endswith("Label") and hasattr(ui, name.removesuffix("Label")):
                label.setBuddy(getattr(ui, name.removesuffix("Label")))

    @property
    def isRunning(self) -> bool:
        """Whether a run is under way, or waits for the worker to start."""
        return self.runner.isRunning

    # Life ---------------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The user opens the module: the worker starts, so that it is warm when it is needed."""
        self._state.presence = Presence.HERE
        self.overlay.open()
        self.input.lookForModels()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(True)
        if self.parameters is None:
            self.setParameters(self.logic.getParameterNode())
        else:
            self.input.chooseFirst()
            self.refresh()
        self.teach.enter()
        self.learn.enter()
        self._workerTimer.start()

    def exit(self) -> None:
        """The user opens another module; a run goes on, and so do its results."""
        self._state.presence = Presence.ELSEWHERE
        self.teach.rest()
        if not self.review.isEditing:  # the Segment Editor that it opens works on the same plane
            self.overlay.leave()
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)

    def close(self) -> None:
        """The panel goes: the worker ends with it."""
        drop_shortcuts(self._shortcuts)
        self._shortcuts = []
        self.review.close()
        try:
            self.setParameters(None)
            self.teach.close()
            self.function.close()
            self.runner.close()
            self.batch.close()
            self.learn.close()
            for timer in (self._refreshTimer, self._overlayTimer, self._workerTimer):
                timer.stop()
            self.edits.stop()
            self.input.stop()
            self.overlay.close()
            self.logic.forget()
        finally:
            self.worker.stop(wait=True)

    def onSceneStartClose(self, *_event) -> None:
        """The scene goes: a run, the worker and all nodes go with it."""
        self._pause()
        self.batch.onSceneCloses()
        self.runner.forget()
        self.logic.forget()
        self._workerTimer.stop()
        self.worker.stop()

    def onSceneStartImport(self, *_event) -> None:
        """A scene comes: its nodes are not whole yet, and selectors that fill anew must not choose among them."""
        self._pause()

    def onSceneChanged(self, *_event) -> None:
        """A scene was closed or loaded: take up its parameters."""
        if self._state.scene_changes:
            self._state.scene_changes = False
            self.setParameters(self.logic.getParameterNode())

    def _pause(self) -> None:
        if self._state.presence is Presence.HERE or self.parameters is not None:
            self._state.scene_changes = True
        self.setParameters(None)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeGoes(self, scene, _event, node) -> None:
        """Let go of a node before it goes: Qt's lists would choose their next row in its place."""
        if self.parameters is None or scene.IsClosing():
            return
        for name in CHOICES:
            if getattr(self.parameters, name) is node:
                setattr(self.parameters, name, None)
        self.input.letGo(node)

    def setParameters(self, parameters) -> None:
        """Follow a parameter node; None when there is none."""
        modified = vtk.vtkCommand.ModifiedEvent
        if self.parameters is not None:
            self.parameters.disconnectGui(self._guiTag)
            self.parameters.RemoveObserver(self._parametersTag)
        self.parameters = self.runner.parameters = self.batch.parameters = parameters
        self._volume = self._chosen = None
        self._state.views, self._state.corrections, self._state.latest = ViewTask.NONE, Corrections(), ""
        if parameters is not None:
            self._guiTag = parameters.connectGui(self.ui)
            self._parametersTag = parameters.AddObserver(modified, self._onModified)
        self.input.setParameters(parameters)
        self.worker.setParameters(parameters)
        self.refresh()

    # What is shown ------------------------------------------------------------------------------------------------

    def _onModified(self, *_event) -> None:
        self._steps = self._refreshSteps()  # from the start again, where it was under way
        self._refreshTimer.start()

    def refresh(self) -> None:
        """Show the parameter node and the result that belongs to its segmentation, at once."""
        self._refreshTimer.stop()
        for _step in self._refreshSteps():
            pass

    def _refreshStep(self) -> None:
        steps = self._steps
        try:
            next(steps)
        except StopIteration:
            if steps is self._steps:  # else the last step has changed something
                self._refreshTimer.stop()

    def _refreshSteps(self):
        """``refresh`` in steps of some milliseconds."""
        if self.parameters is not None:
            self._followChoices()
            self.input.refresh()
            yield
            self.worker.refresh()
            yield
        result = self._find()
        self.result.show(result, self._canRestore(result), self.parameters.model if self.parameters is not None else "")
        self.function.show(result)
        self.edits.follow(result)
        self._tables.follow([result.volumes, result.slices] if result is not None else [])
        yield
        self.review.show(result)
        self.filling.show(result)
        yield
        self.teach.show(self.parameters, result, self._canRestore(result))
        yield
        self.trainingCase.show(result)
        self.runner.check()
        self._overlayTimer.start()

    def _canRestore(self, result) -> bool:
        """Whether what the last run replaced can be put back where the user would see it."""
        possible = self.logic.canRestorePrevious and result is not None
        return possible and self.logic.lastOutput.previous.segmentation is result.segmentation

    def _find(self):
        """The ShownResult that the panel shows, None where there is none."""
        parameters = self.parameters
        if parameters is None:
            return None
        return find_result(parameters.segmentation, self._state.latest or parameters.model)

    def choose(self, segmentation) -> None:
        """A result has been written into a segmentation: its nodes are chosen already."""
        self._chosen = segmentation, self.parameters.model

    def _showOverlay(self) -> None:
        result, task = self._find(), self._state.views
        if task is not ViewTask.NONE and self._state.presence is Presence.ELSEWHERE:  # they change on the way back
            return
        if task is not ViewTask.NONE and result is not None:
            slice_views.show_only(result.segmentation)
            self.overlay.showImage(result, self.parameters, task is ViewTask.ARRANGE)
            self._state.views = ViewTask.NONE
            self._overlayTimer.start()
            return
        self.overlay.setView(self.function.chart, self.function.solid)
        self.overlay.show(result, self.parameters)

    def _onView(self, chart: bool = False) -> None:
        """Another chart, or 3D, is to be shown. chart: the user has asked for the chart, which may be hidden."""
        if chart and self.parameters is not None and self.function.chart is not None:
            self.parameters.chartVisible = True
        self._overlayTimer.start()

    def _onEdits(self, volumes: dict[int, float]) -> None:
        self.result.showEdits(volumes)
        if not self.edits.busy:  # what is not measured yet says nothing of this image
            self.function.onEdits(volumes)
        self.filling.show(self._find())

    def _onGo(self) -> None:
        result = self._find()
        if result is not None:
            self.overlay.bringBack(result, self.parameters)

    def _followChoices(self) -> None:
        """Outputs belong to an image: another image brings its own earlier result, or new outputs."""
        parameters = self.parameters
        volume, segmentation = parameters.inputVolume, parameters.segmentation
        if volume is not self._volume:
            before, self._volume = self._volume, volume
            self._state.views = ViewTask.NONE
            self.runner.clear()
            if segmentation is not None and segmentation.GetNodeReference(INPUT) not in (None, volume):
                segmentation = None
            if segmentation is None and volume is not None:
                segmentation = segmentation_of(volume, parameters.model)
            parameters.segmentation = segmentation
            known = None not in (before, volume, segmentation)  # else a scene has come with views of its own
            if known and segmentation.GetNodeReference(INPUT) is volume:
                self._state.views = ViewTask.SHOW
            if volume is not None:
                self._workerTimer.start()
        if self._chosen != (segmentation, parameters.model):
            self._chosen, self._state.latest = (segmentation, parameters.model), ""
            uncertainty = parameters.uncertainty
            result = find_result(segmentation, parameters.model)
            if result is not None and result.model == parameters.model:
                parameters.uncertainty = result.nodes.get(ERROR_PROBABILITY.name)
            elif uncertainty is not None and uncertainty.GetNodeReferenceID(SEGMENTATION) is not None:
                parameters.uncertainty = None

    def _mayRun(self) -> bool:
        """Whether to run; asks where that makes corrections unrecoverable. Those just made can be restored after it."""
        result, corrections = self._find(), self._state.corrections
        self.edits.measure()
        corrections.editing = self.result.corrected(self.parameters.model)
        may_be_lost = corrections.replaced is not None and corrections.replaced is self.logic.lastOutput
        if not (may_be_lost and self._canRestore(result)):
            return True
        question = _(
            "The last run replaced your corrections. If you run again, they are lost for good. To get them back, press "
            "Cancel here and then Restore previous."
        )
        return slicer.util.confirmOkCancelDisplay(question)

    def _onDone(self, output) -> str:
        """Show what a run has written, unless the user has gone on to another image meanwhile; what to say of it."""
        if self.logic.run is not None and self.logic.run.plan is not None:
            said = self.filling.onDone(output)
            self._onModified()
            return said
        self._state.latest = ""
        parameters, corrections = self.parameters, self._state.corrections
        if corrections.editing is None and parameters is not None:  # during the run, perhaps
            corrections.editing = self.result.corrected(parameters.model)
        if parameters is not None and parameters.inputVolume is output.segmentation.GetNodeReference(INPUT):
            self.review.restart()
            self._state.views = ViewTask.ARRANGE
            parameters.segmentation, parameters.uncertainty = output.segmentation, output.uncertainty
            self.choose(output.segmentation)
            if output.result is None:  # of a sequence
                self.function.onNew()
        elif parameters is not None:  # outputs that were chosen for the image before are not for this one
            if parameters.segmentation is output.segmentation:
                parameters.segmentation = None
            if parameters.uncertainty is output.uncertainty:
                parameters.uncertainty = None
        self._onModified()
        replaced = output.previous is not None and output.segmentation is corrections.editing
        corrections.replaced = output if replaced else None
        return _("Done. Restore previous brings your corrections back.") if replaced else _("Done.")

    def _onOpened(self, opened) -> None:
        """Show a case of a batch, as if it had just been segmented."""
        parameters = self.parameters
        parameters.model, self._state.latest = opened.model, ""
        for number, volume in enumerate(opened.volumes[1:], start=2):
            parameters.parameterNode.SetNodeReferenceID(f"channel{number}", volume.GetID())
        parameters.segmentation = None  # of the image before
        parameters.inputVolume = opened.volumes[0]
        parameters.segmentation = opened.segmentation
        if opened.uncertainty is not None:
            parameters.uncertainty = opened.uncertainty
        self.refresh()
        self.runner.clear()
        self.review.restart()
        self._state.views = ViewTask.ARRANGE
        self._onModified()

    def restorePrevious(self, *_arguments) -> None:
        """Put back what the last run replaced; asks first where corrections would be lost."""
        question = _("Bring back the previous result? Corrections that you have made since the run will be lost.")
        if self.result.isEdited and not slicer.util.confirmYesNoDisplay(question):
            return
        try:
            self.logic.restorePrevious()
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
        self._state.corrections.replaced = None
        self.runner.clear()
        remove_orphans(slicer.mrmlScene)
        function_nodes.remove_orphans(slicer.mrmlScene)
        self.review.restart()
        self._onModified()

    # Worker and keys ----------------------------------------------------------------------------------------------

    def _startWorker(self) -> None:
        self.worker.start()
        self.runner.watch()

    def _onWorkerRestart(self) -> None:
        self.runner.stop()
        self.runner.watch()

    def _makeShortcuts(self) -> list:
        window = slicer.util.mainWindow() or self.ui.applyButton.window()
        made = make_shortcuts(window, self.review.keys)
        for shortcut in made:
            shortcut.setEnabled(False)
        return made
