"""An image and a segmentation of the scene, kept as a case: which segments are which labels, and which slices count."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from csam.errors import CSAMError, InputError
from csam.training.add_case import case_name
from csam.training.case_list import list_cases

from ..logic.kept_case import contents_of, keep_case, kept_as, open_case, open_data_set
from ..logic.node_watch import NodeWatch
from ..logic.texts import tr as _
from .fill_worker import chosen_slice_axis
from .keys_and_timers import make_timer
from .training_case import ask_name, keeps, question_about

SEGMENT, LABEL = range(2)
ALL, DRAWN = range(2)
"""What is labelled: every slice, or the drawn ones."""


DELAY = 100
"""Milliseconds from a change of the segments to their list: several come at once."""
SEGMENTS = (
    *(slicer.vtkSegmentation.SegmentAdded, slicer.vtkSegmentation.SegmentRemoved),
    *(slicer.vtkSegmentation.SegmentModified, slicer.vtkMRMLSegmentationNode.SegmentationChangedEvent),
)


class CaseMaker:
    """Fills the part Add a case. dataset: gives the folder. onKept: called when a case was added."""

    def __init__(self, ui, dataset: Callable[[], str], onKept: Callable[[], None]):
        self._ui, self._dataset, self._onKept = ui, dataset, onKept
        self._segments: list[str] = []
        self._node = None  # whose segments these are
        self._offered: dict[str, tuple[bool, str]] = {}  # tick and label of each, before the user changed them
        self._selectors: list = []
        self._channelLabels: list = []
        self._channels: tuple[str, ...] = ()
        self._labels: tuple[str, ...] = ()
        self._timer = make_timer(DELAY, self._fill, once=True)
        self._watch = NodeWatch(SEGMENTS, lambda *_event: self._timer.start())
        table = ui.segmentLabelsTable
        table.verticalHeader().hide()
        table.horizontalHeader().setHighlightSections(False)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.setFixedHeight(130)
        ui.caseSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onSegmentation)
        ui.caseImageSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onSegmentation)
        ui.addCaseCollapsibleButton.connect("contentsCollapsed(bool)", lambda _collapsed: self.refresh())
        ui.addCaseButton.clicked.connect(self.keep)
        self.refresh()

    def refresh(self) -> None:
        """Follow the data set, and the segments of the chosen segmentation."""
        try:
            contents = contents_of(self._dataset()) if self._dataset() else None
        except (CSAMError, OSError):  # a check says what is wrong
            contents = None
        self._labels = contents.labels if contents is not None else ()
        self._showChannels(contents.channels if contents is not None else ("image",))
        self._fill()

    def close(self) -> None:
        """The panel goes."""
        self._timer.stop()
        self._watch.follow(())

    def volumes(self) -> list:
        """The chosen image for each channel; None where none is chosen."""
        return [node.currentNode() for node in (self._ui.caseImageSelector, *self._selectors)]

    def labels(self) -> dict[str, str]:
        """The label of each segment that is ticked, by segment ID."""
        return {identifier: label for identifier, (ticked, label) in self._chosen().items() if ticked}

    def _chosen(self) -> dict[str, tuple[bool, str]]:
        """Tick and label of every row, by segment ID."""
        table, rows = self._ui.segmentLabelsTable, enumerate(self._segments)
        return {
            identifier: (table.item(row, SEGMENT).checkState() == qt.Qt.Checked, table.item(row, LABEL).text().strip())
            for row, identifier in rows
        }

    def open(self, name: str) -> None:
        """Load a case of the data set, chosen here to be kept again. Raises InputError."""
        contents, cases = list_cases(self._dataset())
        case = next((case for case in cases if case.name == name), None)
        if case is None:
            raise InputError(f"The data set has no case {name}.")
        opened = open_case(case, contents)
        self.refresh()
        for selector, volume in zip((self._ui.caseImageSelector, *self._selectors), opened.volumes, strict=False):
            selector.setCurrentNode(volume)
        self._ui.caseSegmentationSelector.setCurrentNode(opened.segmentation)
        self._ui.knownSlicesSelector.currentIndex = ALL if opened.whole else DRAWN
        self._ui.addCaseCollapsibleButton.collapsed = False
        self._fill()

    def keep(self, *_arguments) -> None:
        """Ask for a name and keep the case; an error is shown."""
        if keeps(self._keep):
            self._onKept()
            self.refresh()

    def _keep(self) -> str:
        folder, segmentation = self._dataset(), self._ui.caseSegmentationSelector.currentNode()
        labels = self.labels()
        if not folder:
            raise InputError("Choose the folder of the data set first.")
        if segmentation is None or not labels:
            raise InputError("Choose an image and a segmentation, and tick the segments to keep.")
        cases = open_data_set(folder, list(dict.fromkeys(labels.values())))
        kept = kept_as(segmentation, folder)
        name = ask_name(kept if kept and cases.has(kept) else cases.free_name())
        if not name:
            return ""
        question = question_about(name, cases)
        if question and not slicer.util.confirmOkCancelDisplay(question):
            return ""
        only_drawn = self._ui.knownSlicesSelector.currentIndex == DRAWN
        volumes, replace = self.volumes(), cases.has(case_name(name))
        with slicer.util.WaitCursor():
            axis = chosen_slice_axis(volumes[0])
            count = keep_case(folder, name, volumes, segmentation, labels, only_drawn, replace, axis)
        return _("{name} is kept. Cases in {folder}: {count}.").format(name=name, count=count, folder=folder)

    # What is shown ------------------------------------------------------------------------------------------------

    def _onSegmentation(self, *_node) -> None:
        self._fill()

    def _fill(self) -> None:
        """A row for every segment; ticked where the data set knows its name, or knows none yet.

        What the user has ticked or typed stays, until another segmentation is chosen.
        """
        table, node = self._ui.segmentLabelsTable, self._ui.caseSegmentationSelector.currentNode()
        content = node.GetSegmentation() if node is not None else None
        self._watch.follow((node,))
        before = self._chosen().items() if node is self._node else ()
        users = {segment: chosen for segment, chosen in before if chosen != self._offered[segment]}
        self._node, self._segments = node, list(content.GetSegmentIDs()) if content is not None else []
        known = {label.casefold(): label for label in self._labels}
        self._offered = {}
        table.setRowCount(len(self._segments))
        for row, identifier in enumerate(self._segments):
            name = content.GetSegment(identifier).GetName()
            self._offered[identifier] = (not known or name.casefold() in known, known.get(name.casefold(), name))
            ticked, label = users.get(identifier, self._offered[identifier])
            item = qt.QTableWidgetItem(name)
            item.setFlags(int(qt.Qt.ItemIsEnabled) | int(qt.Qt.ItemIsUserCheckable) | int(qt.Qt.ItemIsSelectable))
            item.setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)
            table.setItem(row, SEGMENT, item)
            table.setItem(row, LABEL, qt.QTableWidgetItem(label))
        table.setVisible(bool(self._segments))
        self._ui.addCaseButton.enabled = bool(self._segments) and self._ui.caseImageSelector.currentNode() is not None

    def _showChannels(self, channels) -> None:
        """An image selector for each channel of the data set beyond the first."""
        widget = self._ui.caseChannelsWidget
        widget.setVisible(len(channels) > 1)
        if tuple(channels) == self._channels:
            return
        for label, selector in zip(self._channelLabels, self._selectors, strict=True):
            for part in (label, selector):
                widget.layout().removeWidget(part)
                part.hide()
                part.deleteLater()
        self._channels, self._selectors, self._channelLabels = tuple(channels), [], []
        for name in channels[1:]:
            label, selector = qt.QLabel(f"{name}:"), slicer.qMRMLNodeComboBox()
            selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
            selector.showChildNodeTypes = False
            selector.noneEnabled = True
            selector.addEnabled = selector.removeEnabled = False
            selector.setMRMLScene(slicer.mrmlScene)
            widget.layout().addRow(label, selector)
            self._channelLabels.append(label)
            self._selectors.append(selector)
        self._ui.caseImageSelectorLabel.text = _("Image:") if len(channels) == 1 else f"{channels[0]}:"
