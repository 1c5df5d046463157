"""Sequences: which browser a node stands for an image of, and which image it shows."""

from __future__ import annotations

import slicer

from csam.errors import InputError


def sequence_browser(node):
    """The browser of the sequence that a node stands for, None when it stands for itself."""
    if node is None or node.GetScene() is None:
        return None
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode", node.GetScene()):
        if browser.IsProxyNode(node.GetID()):
            return browser
    return None


def value_in(browser, item: int) -> str:
    """Where an image of a browser stands in its sequence, without the unit, as "40". item: its number, from 0."""
    master = browser.GetMasterSequenceNode()
    return master.GetNthIndexValue(item) if master is not None else ""


def place_in(browser, item: int) -> str:
    """The same with the unit, as "40 ms"."""
    master = browser.GetMasterSequenceNode()
    return " ".join(filter(None, (value_in(browser, item), master.GetIndexUnit()))) if master is not None else ""


def shown_item(node) -> str | None:
    """The place in its sequence that a node shows at present, as "time 40 ms"; None when it stands for itself."""
    browser = sequence_browser(node)
    master = browser.GetMasterSequenceNode() if browser is not None else None
    if master is None or browser.GetSelectedItemNumber() < 0:
        return None
    return " ".join(filter(None, (master.GetIndexName(), place_in(browser, browser.GetSelectedItemNumber()))))


def check_shows(node, item: str | None, what: str) -> None:
    """Raise InputError where a node does not show the frame that something is of; it says what to do.

    item: as of ``shown_item``; None of what no sequence belongs to, which is let pass. what: "This is the result".
    """
    shown = shown_item(node)
    if item in (None, shown):
        return
    if shown is None:
        raise InputError(f"{what} of {item}; no sequence browser shows that frame any more. Run it again.")
    raise InputError(f"{what} of {item}; now the sequence shows {shown}. Go back to {item} first.")


def leave_browser(node) -> None:
    """Let a node show a browser's images no longer, and remove its sequence; the node keeps the content of now."""
    browser = sequence_browser(node)
    sequence = browser.GetSequenceNode(node) if browser is not None else None
    if sequence is not None:
        browser.RemoveSynchronizedSequenceNode(sequence.GetID())
        sequence.GetScene().RemoveNode(sequence)
