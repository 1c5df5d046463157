"""Frames: what is drawn or found on one image of a sequence stays with that image.

A node that follows a sequence's browser has content of its own in every frame, empty where nothing has been done yet.
Without it, a segmentation drawn on one frame would be shown on every other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from csam.errors import InputError

from .result_nodes import KEPT, REPORT
from .segments import LABELMAP, set_drawn_tag
from .sequence_browser import sequence_browser

FRAMES_CHANGED = "The frames of the sequence were changed while they were being segmented. Run again."


@dataclass(frozen=True)
class Frame:
    """One image of a sequence. browser: vtkMRMLSequenceBrowserNode. item: its place there, from 0.

    value: its index value, by which ``is_there`` knows it again.
    """

    browser: Any
    item: int
    value: str

    @property
    def next(self) -> Frame | None:
        """The frame behind it, None for the last one."""
        return _frame(self.browser, self.item + 1) if self.item + 1 < self.browser.GetNumberOfItems() else None

    @property
    def is_shown(self) -> bool:
        return self.browser.GetSelectedItemNumber() == self.item

    def is_followed_by(self, node) -> bool:
        """Whether a node has content of its own in every frame."""
        return self.browser.IsProxyNode(node.GetID())

    @property
    def is_there(self) -> bool:
        """Whether the browser still has it at its place."""
        master = self.browser.GetMasterSequenceNode() if self.browser.GetScene() is not None else None
        inside = master is not None and self.item < master.GetNumberOfDataNodes()
        return inside and master.GetNthIndexValue(self.item) == self.value

    def check_there(self) -> None:
        """Raise InputError where another image, or none, has its place; not where the browser itself was removed."""
        if self.browser.GetScene() is not None and not self.is_there:
            raise InputError(FRAMES_CHANGED)

    def show(self) -> None:
        """Let the browser show it, at rest; nothing where it is not there any more."""
        if self.is_there:
            self.browser.SetPlaybackActive(False)
            self.browser.SetSelectedItemNumber(self.item)


def shown_frame(volume) -> Frame | None:
    """The frame that a volume shows; None where it stands for itself, or does not change with its browser."""
    browser = sequence_browser(volume)
    if browser is None or browser.GetSelectedItemNumber() < 0:
        return None
    follows = browser.GetPlayback(browser.GetSequenceNode(volume)) and browser.GetNumberOfItems() > 1
    return _frame(browser, browser.GetSelectedItemNumber()) if follows else None


def _frame(browser, item: int) -> Frame:
    return Frame(browser, item, browser.GetMasterSequenceNode().GetNthIndexValue(item))


def new_sequence(master, name: str):
    """An empty vtkMRMLSequenceNode with the index of another one; not yet in the scene."""
    sequence = slicer.vtkMRMLSequenceNode()
    sequence.SetName(name)
    for field in ("IndexName", "IndexUnit", "IndexType", "NumericIndexValueTolerance"):
        getattr(sequence, f"Set{field}")(getattr(master, f"Get{field}")())
    return sequence


def join(browser, node, sequence) -> None:
    """Add a sequence to the scene and let a node show its content; what is changed in the node stays with its frame."""
    browser.GetScene().AddNode(sequence)
    browser.AddProxyNode(node, sequence, False)
    browser.SetRecording(sequence, False)
    browser.SetSaveChanges(sequence, True)


def follow(node, frame: Frame) -> bool:
    """Let a node have content of its own in every frame: in ``frame``, which is shown, that of now; in others none.

    node: a segmentation, table or scalar volume. Returns whether it did not follow its browser before. If it did, what
    is changed in it is saved from now on; of a sequence that was loaded Slicer does so only where the user has said it.
    """
    browser, master = frame.browser, frame.browser.GetMasterSequenceNode()
    if frame.is_followed_by(node):
        sequence = browser.GetSequenceNode(node)
        if not browser.GetSaveChanges(sequence):
            sequence.SetDataNodeAtValue(node, frame.value)
            browser.SetSaveChanges(sequence, True)
        return False
    sequence, blank = new_sequence(master, node.GetName()), _blank(node)
    for item in range(master.GetNumberOfDataNodes()):
        sequence.SetDataNodeAtValue(node if item == frame.item else blank, master.GetNthIndexValue(item))
    was_modifying = browser.StartModify()  # every change of it would fill all nodes anew
    join(browser, node, sequence)
    browser.EndModify(was_modifying)
    return True


def in_every_frame(segmentation, identifiers: Sequence[str], frame: Frame) -> list[tuple[Any, str]]:
    """Let segments of a segmentation that follows its browser be there in all frames, empty where they were not.

    Returns where that was: the frame's own segmentation node and the segment's ID, for ``not_in_frames``.
    """
    sequence, content, added = frame.browser.GetSequenceNode(segmentation), segmentation.GetSegmentation(), []
    for item in range(sequence.GetNumberOfDataNodes()):
        there = sequence.GetNthDataNode(item)
        for identifier in identifiers:
            if there.GetSegmentation().GetSegment(identifier) is None:
                there.GetSegmentation().AddSegment(_empty(content.GetSegment(identifier)), identifier)
                added.append((there, identifier))
    return added


def not_in_frames(added: Sequence[tuple[Any, str]]) -> None:
    """Remove again what ``in_every_frame`` has added, from frames that are not shown; what is drawn since stays."""
    for there, identifier in added:
        segment = there.GetSegmentation().GetSegment(identifier)
        if segment is not None and not _has_voxels(segment):
            there.GetSegmentation().RemoveSegment(identifier)


def _blank(node):
    """A node like another in which nothing is found yet: its segments without voxels, its table without rows."""
    blank = node.CreateNodeInstance()
    blank.UnRegister(None)
    blank.SetName(node.GetName())
    blank.CopyContent(node, False)
    blank.CopyReferences(node)
    blank.RemoveAttribute(KEPT)
    if node.IsA("vtkMRMLSegmentationNode"):
        content = slicer.vtkSegmentation()
        content.CopyConversionParameters(node.GetSegmentation())
        content.SetSourceRepresentationName(node.GetSegmentation().GetSourceRepresentationName())
        for identifier in node.GetSegmentation().GetSegmentIDs():
            content.AddSegment(_empty(node.GetSegmentation().GetSegment(identifier)), identifier)
        blank.SetAndObserveSegmentation(content)
    elif node.IsA("vtkMRMLTableNode"):
        blank.SetAndObserveTable(vtk.vtkTable())
        blank.RemoveAttribute(REPORT)
    else:
        image = vtk.vtkImageData()
        image.SetDimensions(1, 1, 1)
        image.AllocateScalars(vtk.VTK_FLOAT, 1)
        image.GetPointData().GetScalars().Fill(0)
        blank.SetAndObserveImageData(image)
    return blank


def _has_voxels(segment) -> bool:
    layer = segment.GetRepresentation(LABELMAP)
    scalars = layer.GetPointData().GetScalars() if layer is not None else None
    return scalars is not None and bool((vtk_to_numpy(scalars) == segment.GetLabelValue()).any())


def _empty(segment):
    """A segment of the same name and colour, with nothing in it."""
    empty = slicer.vtkSegment()
    empty.DeepCopyMetadata(segment)
    set_drawn_tag(empty, "")
    return empty
