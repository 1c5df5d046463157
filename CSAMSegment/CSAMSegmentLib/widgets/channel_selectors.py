"""A selector for each image that a model takes beyond the first; the choices are references of the parameter node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
import slicer

from ..logic.texts import tr as _


class ChannelSelectors:
    """The rows of labels and selectors in ``ui.channelsWidget``.

    onChosen: called when the user has chosen another image. selectors: from the second channel on.
    """

    def __init__(self, ui, onChosen: Callable[[], None]):
        self._ui, self._onChosen = ui, onChosen
        self._parameters = None
        self._labels: list = []
        self.selectors: list = []

    @property
    def names(self) -> list[str]:
        """The names of the channels that have a selector."""
        return [label.text.removesuffix(":") for label in self._labels]

    def nodes(self) -> list:
        """The chosen image of each; None where none is chosen."""
        return [selector.currentNode() for selector in self.selectors]

    def show(self, names: Sequence[str], parameters) -> None:
        """Have a selector for each name, with the choice that the parameter node keeps."""
        self._parameters = parameters
        self._ui.channelsWidget.setVisible(bool(names))
        if self.names == list(names):
            for number, selector in enumerate(self.selectors, start=2):
                selector.setCurrentNode(self._reference(number))
            return
        for widget in (*self._labels, *self.selectors):
            self._discard(widget)
        self._labels, self.selectors = [], []
        for number, name in enumerate(names, start=2):
            self._add(number, name)

    def setParameters(self, parameters) -> None:
        """Write choices into this parameter node; None for nowhere."""
        self._parameters = parameters

    def letGo(self, node) -> None:
        """Choose no image where a channel has this node, which is about to go."""
        for selector in self.selectors:
            if selector.currentNode() is node:
                selector.setCurrentNode(None)

    def _reference(self, number: int):
        return self._parameters.parameterNode.GetNodeReference(f"channel{number}")

    def _discard(self, widget) -> None:
        self._ui.channelsWidget.layout().removeWidget(widget)
        widget.hide()
        widget.deleteLater()

    def _add(self, number: int, name: str) -> None:
        label, selector = qt.QLabel(f"{name}:"), slicer.qMRMLNodeComboBox()
        label.setMinimumWidth(self._ui.regionSelectorLabel.sizeHint.width())  # as wide as the column of labels
        selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        selector.showChildNodeTypes = False
        selector.noneEnabled = True
        selector.addEnabled = selector.removeEnabled = False
        selector.setToolTip(_("The image of the same patient that shows {name}.").format(name=name))
        selector.setMRMLScene(slicer.mrmlScene)
        selector.setCurrentNode(self._reference(number))

        def choose(chosen):
            if self._parameters is not None and self._reference(number) is not chosen:
                identifier = chosen.GetID() if chosen is not None else None
                self._parameters.parameterNode.SetNodeReferenceID(f"channel{number}", identifier)
                self._onChosen()

        selector.currentNodeChanged.connect(choose)
        self._ui.channelsWidget.layout().addRow(label, selector)
        self._labels.append(label)
        self.selectors.append(selector)
