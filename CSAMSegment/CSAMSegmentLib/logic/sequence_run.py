"""A run over all images of a sequence: sequences of results, in the same browser, or nothing at all."""

from __future__ import annotations

import logging

import slicer

from csam.cardiac import order
from csam.errors import Cancelled, CSAMError, InputError
from csam.result import Progress
from csam.sequence.measures import Frame, frame_of
from csam.sequence.pictures import pictures_of
from csam.sequence.record import Record, gathered

from .frames import FRAMES_CHANGED, join, new_sequence
from .function_nodes import write_record
from .result_nodes import Output
from .run import Run
from .sequence_browser import place_in
from .texts import tr as _
from .transaction import Transaction
from .volume_geometry import raster_from_volume


class SequenceRun:
    """Segments one image after the other and adds the results as sequences when all of them are there.

    logic: a CSAMSegmentLogic. browser: the vtkMRMLSequenceBrowserNode that the first volume is a proxy of. volumes,
    model, options, maps: as for ``logic.start``; each volume that is a proxy steps through its sequence, others stay.
    A model that offers measures gets their figures and the curve over time beside the results (``function_nodes``).
    While it is under way the browser goes to the image that is being segmented; it returns to where it was.
    """

    def __init__(self, logic, browser, volumes, model: str, options, maps):
        check_followed(browser, volumes)
        self._logic, self._browser, self._volumes = logic, browser, list(volumes)
        self._arguments = (model, options, maps)
        self._selected = browser.GetSelectedItemNumber()
        self._before = logic.lastOutput, logic.lastItem
        self._count = browser.GetNumberOfItems()
        self._order = order(self._count)  # end diastole and end systole first
        self._done = 0
        self._frames: dict[int, Frame] = {}
        self._pictures: dict = {}
        self._warnings: dict[int, tuple[str, ...]] = {}
        self._output: Output | None = None
        self._recorded: dict = {}
        self._run: Run | None = None
        self.output: Output | None = None
        self.error: CSAMError | None = None
        self.cancelling = False
        self.plan = None  # it is no filling
        try:
            self._next()
        except BaseException:
            browser.SetSelectedItemNumber(self._selected)
            raise

    @property
    def finished(self) -> bool:
        return self.output is not None or self.error is not None

    @property
    def _item(self) -> int:
        """The place in the sequence of the image that is being segmented."""
        return self._order[min(self._done, self._count - 1)]

    @property
    def writing(self) -> bool:
        """Whether an image's result is being written."""
        return not self.finished and self._run.writing

    @property
    def progress(self) -> Progress:
        """Over all images."""
        inner = self._run.progress
        left = inner.seconds_left
        if left is not None and inner.fraction < 1:
            left += (self._count - self._done - 1) * left / (1 - inner.fraction)
        stage = _("Frame {number} of {count}: {stage}").format(
            number=self._item + 1, count=self._count, stage=inner.stage
        )
        return Progress((self._done + inner.fraction) / self._count, stage, left)

    def cancel(self) -> None:
        self.cancelling = True
        self._logic.cancel()

    def abandon(self) -> None:
        """End at once, as when the worker is about to end."""
        if not self.finished:
            self._end(Cancelled())

    def poll(self) -> None:
        """Bring the run forward; never raises, never waits."""
        if self.finished:
            return
        if self._browser.GetScene() is None:
            self._end(CSAMError("The sequence browser was removed while its images were being segmented."))
            return
        if self._browser.GetNumberOfItems() != self._count:
            self._end(CSAMError(FRAMES_CHANGED))
            return
        self._logic.poll()
        if not self._run.finished:
            return
        if self.cancelling or self._run.error is not None:
            self._end(self._run.error or Cancelled())
            return
        try:
            self._record(self._run.output)
            self._done += 1
            if self._done < self._count:
                self._next()
            else:
                self._publish()
        except CSAMError as error:
            self._end(error)
        except Exception as error:
            logging.exception("The images of a sequence could not all be segmented")
            self._end(CSAMError(f"The sequence could not be segmented: {error}. The scene is as it was."))

    def _next(self) -> None:
        """Start on the next image; the first one's outputs serve all."""
        model, options, maps = self._arguments
        self._browser.SetPlaybackActive(False)
        self._browser.SetSelectedItemNumber(self._item)
        outputs = (self._output.segmentation, self._output.uncertainty) if self._output is not None else (None, None)
        self._run = self._logic.start(self._volumes, model, *outputs, options, maps)
        self.model = self._run.model

    def _record(self, output: Output) -> None:
        """Copy the output nodes into sequences of their own, which join the scene at the end."""
        self._output = self._output or output
        master = self._browser.GetMasterSequenceNode()
        value = master.GetNthIndexValue(self._item)
        for node in (output.segmentation, *output.nodes.values()):
            if node not in self._recorded:
                self._recorded[node] = new_sequence(master, node.GetName())
            self._recorded[node].SetDataNodeAtValue(node, value)
        self._frames[self._item] = frame_of(output.result, self._item, place_in(self._browser, self._item))
        self._warnings[self._item] = output.result.warnings
        if self.model.measures:
            self._pictures[self._item] = pictures_of(raster_from_volume(self._volumes[0]), output.result, self._item)

    def _publish(self) -> None:
        was_modifying = self._browser.StartModify()  # every change of it would fill all nodes anew
        for node, sequence in self._recorded.items():
            join(self._browser, node, sequence)
        self._browser.SetSelectedItemNumber(self._selected)
        self._browser.EndModify(was_modifying)
        self._writeRecord()
        self._logic.lastOutput = None  # what its last image replaced is another image's
        self.output = Output(self._output.segmentation, self._output.segment_ids, self._output.nodes, None, None)

    def _writeRecord(self) -> None:
        """What the model's measures make of the images, beside the results; these stay whatever becomes of it."""
        model, calibration = self.model, self.model.calibration_for(self._arguments[1])
        name = self._browser.GetMasterSequenceNode().GetName()
        about = _("{count} frames, segmented with {model}.").format(
            count=self._count, model=f"{model.name} {model.version}"
        )
        frames = tuple(self._frames[item] for item in range(self._count))
        record = Record(
            f"{model.title}: {name}", (about,), frames, tuple(model.measures), calibration.figure_scale,
            pictures=self._pictures, warnings=tuple(gathered(self._warnings)), model=model.name,
        )  # fmt: skip
        try:
            write_record(record.with_pictures_of_marks(), self._output.segmentation)
        except Exception:
            logging.exception("The measures of a sequence could not be written")

    def _end(self, error: CSAMError) -> None:
        """Leave the scene as it was: the outputs of the images that were done go again."""
        self.error = error
        self._logic.forget()
        self._logic.lastOutput, self._logic.lastItem = self._before
        if self._output is not None:
            with Transaction(slicer.mrmlScene) as transaction:
                nodes = (*self._output.nodes.values(), self._output.segmentation)
                for node in (*self._recorded.values(), *nodes):
                    transaction.remove(node)
        if self._browser.GetScene() is not None:
            self._browser.SetSelectedItemNumber(min(self._selected, self._browser.GetNumberOfItems() - 1))


def check_followed(browser, volumes, items=None) -> None:
    """Raise InputError where a volume would not follow the browser, so that several images got the result of one.

    items: the places in the browser, from 0, that count; None for all.
    """
    if browser.GetScene() is None or browser.GetMasterSequenceNode() is None:
        raise InputError("The sequence is no longer in the scene.")
    if browser.GetRecordingActive():
        raise InputError(f'The browser "{browser.GetName()}" is recording. Stop the recording (module Sequences).')
    for volume in volumes:
        sequence = browser.GetSequenceNode(volume)
        if sequence is not None and not browser.GetPlayback(sequence):
            raise InputError(
                f'The images of "{sequence.GetName()}" do not change with the browser "{browser.GetName()}". Tick '
                "Playback for them (module Sequences)."
            )
        if sequence is not None:
            _check_complete(browser, sequence, range(browser.GetNumberOfItems()) if items is None else items)
    _check_apart(browser.GetMasterSequenceNode())


def _check_complete(browser, sequence, items) -> None:
    """Raise InputError where a sequence has no image of its own at a place: Slicer then shows one of another place."""
    master = browser.GetMasterSequenceNode()
    for item in items:
        value = master.GetNthIndexValue(item)
        if sequence.GetItemNumberFromIndexValue(value) < 0:
            place = place_in(browser, item)
            raise InputError(
                f'The sequence "{sequence.GetName()}" has no image at {place} (frame {item + 1}), so Slicer shows that '
                f"of another frame there. Add the image, or remove {place} from the sequence "
                f'"{master.GetName()}" (module Sequences).'
            )


def _check_apart(sequence) -> None:
    """Raise InputError where two images share a place: Slicer then shows the first of them for both."""
    for item in range(sequence.GetNumberOfDataNodes()):
        value = sequence.GetNthIndexValue(item)
        shown = sequence.GetItemNumberFromIndexValue(value)
        if shown != item:
            raise InputError(
                f'In the sequence "{sequence.GetName()}", image {item + 1} (at {value}) and image {shown + 1} (at '
                f"{sequence.GetNthIndexValue(shown)}) are closer to each other than the tolerance of the index "
                f"({sequence.GetNumericIndexValueTolerance():g}). Slicer shows the same image for both. Set a "
                "smaller tolerance (SetNumericIndexValueTolerance), or change the index values (module Sequences)."
            )
