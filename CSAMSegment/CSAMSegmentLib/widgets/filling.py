"""Fill the rest, Update the rest and Carry to next frame, from the press of the button to what is shown at the end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import slicer

from ..logic import slice_views
from ..logic.result_nodes import INPUT
from ..logic.shown_result import ShownResult, find_result
from ..logic.texts import tr as _
from ..logic.update_rest import Update, plan_update
from .panel_state import Corrections, ViewTask


class Filling:
    """The three buttons. panel: the Panel whose parts do the work. state: its PanelState. find: gives the
    result that is shown."""

    def __init__(self, panel, state, find):
        self._panel, self._state, self._find = panel, state, find
        panel.ui.fillButton.clicked.connect(self.fill)
        panel.ui.updateButton.clicked.connect(self.update)
        panel.ui.carryButton.clicked.connect(self.carry)

    def fill(self, *_arguments) -> None:
        """Fill the slices that are not drawn."""
        self._panel.runner.fill(self._drawing)

    def update(self, *_arguments) -> None:
        """Segment the slices anew that are neither reviewed nor corrected."""
        self._panel.runner.fill(self._corrected)

    def carry(self, *_arguments) -> None:
        """Start on the next frame of a sequence with what stands on this one."""
        self._panel.runner.fill(self._panel.teach.carry)

    def show(self, result: ShownResult | None) -> None:
        """An update needs a slice that teaches something."""
        edited = self._panel.result.isEdited
        self._panel.ui.updateButton.enabled = result is not None and (edited or any(r.reviewed for r in result.rows()))

    def edit(self, segmentation, volume, segment: str) -> bool:
        """Correct a segment in the panel; whether that can be done."""
        if not hasattr(slicer, "qMRMLSegmentEditorWidget"):
            return False
        self._panel.teach.edit(segmentation, volume, segment)
        return True

    def onDone(self, output) -> str:
        """Show what a filling has written; what to say of it."""
        panel, state, parameters = self._panel, self._state, self._panel.parameters
        image = output.segmentation.GetNodeReference(INPUT)
        if parameters is not None and parameters.inputVolume is image:
            panel.review.restart()
            state.views = ViewTask.NONE if slice_views.is_shown(image) else ViewTask.ARRANGE
            parameters.segmentation = output.segmentation
            if output.model == parameters.model:
                parameters.uncertainty = output.uncertainty
            panel.choose(output.segmentation)
            state.latest = output.model
        state.corrections = Corrections()
        result = find_result(output.segmentation, output.model)
        [first] = result.rows()[:1] or [None]
        said = _("Done. Look at slice {number} next.")
        if panel.logic.run.plan.before is not None:
            said = _("Carried. Look at slice {number} next.")
        return said.format(number=first.number) if first is not None else _("Done.")

    def _drawing(self) -> Update:
        return self._kept(self._panel.teach.plan())

    def _corrected(self) -> Update:
        parameters, editor = self._panel.parameters, self._panel.teach.editor
        return self._kept(plan_update(self._find(), parameters.seed, parameters.device, editor.node))

    def _kept(self, update: Update) -> Update:
        """With what lets the editor's own Undo lead back from it."""
        return replace(update, keep=partial(self._panel.teach.editor.keepForUndo, update.plan.segmentation))
