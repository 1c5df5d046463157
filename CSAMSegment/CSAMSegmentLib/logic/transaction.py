"""All or nothing: what is done to a scene inside a transaction stays only when the whole of it succeeds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack


class Transaction:
    """Changes a scene; an exception inside takes every change back, and goes on.

    Example:
        >>> with Transaction(slicer.mrmlScene) as transaction:
        ...     table = transaction.add("vtkMRMLTableNode", "volumes", lambda node: node.SetAndObserveTable(filled))
        ...     transaction.on_failure(volume.SetName, volume.GetName())
        ...     volume.SetName("measured")

    A node is filled before it is added, so that nobody who watches the scene meets it half done. No batch of the scene
    is opened: at the end of one, every view and every list of the application is made anew in a single turn.
    """

    def __init__(self, scene):
        self.scene = scene
        self._undo = ExitStack()

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self._undo.pop_all()
        else:
            self._undo.close()

    def hand_over(self) -> ExitStack:
        """What takes every change so far back, when it is closed; nothing else does from now on."""
        return self._undo.pop_all()

    def on_failure(self, function: Callable, *arguments) -> None:
        """Call this when the transaction fails; the last one given is called first."""
        self._undo.callback(function, *arguments)

    def add(self, class_name: str, name: str, fill: Callable):
        """Create a node, let ``fill(node)`` give it its content, then add it under a name of its own."""
        node = self.scene.CreateNodeByClass(class_name)
        node.UnRegister(None)  # CreateNodeByClass hands over a reference of its own
        node.SetName(self.scene.GenerateUniqueName(name))
        fill(node)
        self.scene.AddNode(node)
        self.on_failure(self.remove, node)
        return node

    def place_beside(self, node, neighbour) -> None:
        """Move a node to the place of another in the subject hierarchy: same study, same folder."""
        hierarchy = self.scene.GetSubjectHierarchyNode()
        theirs = hierarchy.GetItemByDataNode(neighbour)
        parent = hierarchy.GetItemParent(theirs) if theirs else hierarchy.GetSceneItemID()
        item = hierarchy.GetItemByDataNode(node)  # Slicer's own plugin has made it by now; without one, we do
        if item:
            hierarchy.SetItemParent(item, parent)
        else:
            hierarchy.CreateItem(parent, node)

    def remove(self, node) -> None:
        """Remove a node with its display nodes; not taken back, so the last thing to do."""
        if node is None or node.GetScene() is not self.scene:
            return
        if node.IsA("vtkMRMLDisplayableNode"):
            for position in reversed(range(node.GetNumberOfDisplayNodes())):
                self.remove(node.GetNthDisplayNode(position))
        hierarchy = self.scene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)
        self.scene.RemoveNode(node)
