"""The Input part of the panel: image, further channels, model, and whether they fit each other."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

from csam.errors import CSAMError, InputError, ModelError
from csam.image.geometry import check_channels

from ..logic import texts
from ..logic.map_display import outline_region
from ..logic.node_watch import IMAGE_CHANGED, NodeWatch
from ..logic.output_checks import check_outputs
from ..logic.result_nodes import ROLE
from ..logic.sequence_browser import sequence_browser
from ..logic.texts import tr as _
from ..logic.user_models import add_model, is_users, remove_model
from ..logic.volume_geometry import bend_told, fit_region, ijk_to_world, raster_from_volume
from .channel_selectors import ChannelSelectors
from .keys_and_timers import make_timer

CHECK_DELAY = 150
"""Milliseconds between the last change of a choice and the check: typing and loading come in bursts."""


class InputView:
    """Lets a user choose images and a model, and says in words how well they fit.

    ui: the widgets of CSAMSegment.ui. logic: gives the models. onChanged: called when what is chosen has changed
    otherwise than through the parameter node.
    """

    def __init__(self, ui, logic, onChanged):
        self._ui, self._logic, self._onChanged = ui, logic, onChanged
        self._parameters = None
        self.channels = ChannelSelectors(ui, self._onChannelChosen)
        self._names: dict[Path, str] = {}
        self._listed = self._checked = None
        self._imageChanged = False
        self._card = None
        self._images = NodeWatch(IMAGE_CHANGED, self._onImageChanged)
        self._timer = make_timer(CHECK_DELAY, self.checkFit, once=True)
        ui.modelSelector.connect("activated(int)", self._onModelChosen)
        ui.addModelButton.clicked.connect(self._onAdd)
        ui.removeModelButton.clicked.connect(self._onRemove)
        ui.aboutModelButton.clicked.connect(self._onAbout)
        ui.regionSelector.nodeAddedByUser.connect(self._onRegionAdded)
        self.fillModels()

    # What is chosen -----------------------------------------------------------------------------------------------

    def setParameters(self, parameters) -> None:
        """Follow a parameter node; None when there is none."""
        self._parameters, self._checked = parameters, None
        self.channels.setParameters(parameters)
        if parameters is None:
            self._images.follow(())
            return
        self.chooseFirst()
        self.refresh()

    def chooseFirst(self) -> None:
        """Choose the first image that there is, where none is chosen."""
        if self._parameters is not None and self._parameters.inputVolume is None:
            self._parameters.inputVolume = _first_image()

    @property
    def model(self):
        """The chosen model, None when it is not installed or cannot be read any more."""
        path = self.modelPath
        try:
            return None if path is None else self._logic.library.load(path)
        except ModelError:
            return None

    @property
    def modelPath(self) -> Path | None:
        """Where the chosen model is, None when it is not installed."""
        index = self._ui.modelSelector.currentIndex
        return list(self._names)[index] if 0 <= index < len(self._names) else None

    @property
    def browser(self):
        """The sequence browser over whose images a run goes, None where it is for one image."""
        parameters = self._parameters
        browser = sequence_browser(parameters.inputVolume) if parameters is not None else None
        return browser if browser is not None and parameters.wholeSequence and browser.GetNumberOfItems() > 1 else None

    def volumes(self) -> list:
        """The chosen image for each channel of the model; None where none is chosen."""
        first = self._parameters.inputVolume if self._parameters is not None else None
        return [first, *self.channels.nodes()]

    def refresh(self) -> None:
        """Show what the parameter node says, and check it a moment later."""
        parameters = self._parameters
        if parameters is None:
            return
        if self.modelPath is not None and self.model is None:
            self.lookForModels()  # its file has gone
        if not parameters.model and self._names:
            parameters.model = next(iter(self._names.values()))
        self._selectModel(parameters.model)
        self._showChannels()
        self._images.follow(self.volumes())
        outline_region(parameters.region)
        browser = sequence_browser(parameters.inputVolume)
        count = browser.GetNumberOfItems() if browser is not None else 0
        self._ui.wholeSequenceCheckBox.setVisible(count > 1)
        self._ui.wholeSequenceCheckBox.text = _("All {count} images of the &sequence").format(count=count)
        single = self.browser is None
        for selector in (self._ui.segmentationSelector, self._ui.uncertaintySelector):  # a sequence gets new ones
            selector.enabled = single
        self._timer.start()

    def stop(self) -> None:
        """Watch no image and check none."""
        self._timer.stop()
        self._images.follow(())

    def _onImageChanged(self, *_event) -> None:
        self._imageChanged = True  # told once it is at rest: a sequence that plays is many changes
        self._timer.start()

    def _onRegionAdded(self, region) -> None:
        """A new region is the whole image at first: its handles are there to be drawn in."""
        volume = self._parameters.inputVolume if self._parameters is not None else None
        if volume is not None and volume.GetImageData() is not None:
            fit_region(region, volume)

    # Models -------------------------------------------------------------------------------------------------------

    def lookForModels(self) -> None:
        """List the models anew where files of theirs have come, changed or gone."""
        if self._logic.library.stamps() != self._listed:
            self.fillModels()

    def fillModels(self) -> None:
        """List the models that there are now."""
        selector = self._ui.modelSelector
        selector.blockSignals(True)
        selector.clear()
        self._listed, self._checked = self._logic.library.stamps(), None
        models = self._logic.library.models()
        self._names = {path: model.name for path, model in models.items()}
        for path, model in models.items():
            selector.addItem(model.title)
            selector.setItemData(selector.count - 1, str(path), qt.Qt.ToolTipRole)
        selector.blockSignals(False)
        selector.setEnabled(bool(self._names))
        self._selectModel(self._parameters.model if self._parameters is not None else "")

    def _selectModel(self, name: str) -> None:
        names = list(self._names.values())
        selector = self._ui.modelSelector
        wanted = names.index(name) if name in names else -1 if name else min(0, len(names) - 1)
        if selector.currentIndex != wanted:
            selector.blockSignals(True)
            selector.currentIndex = wanted
            selector.blockSignals(False)
        self._ui.removeModelButton.enabled = self.modelPath is not None and is_users(self.modelPath)
        self._ui.aboutModelButton.enabled = self.modelPath is not None

    def _onModelChosen(self, index: int) -> None:
        if self._parameters is not None and 0 <= index < len(self._names):
            self._parameters.model = list(self._names.values())[index]

    def _onAdd(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(), _("Add a model"), "", _("CSAM models") + " (*.zip model.json)"
        )
        if path:
            self.addModel(path)

    def addModel(self, path, choose: bool = True) -> None:
        """Add a model from a file, and choose it; an error is shown."""
        try:
            model = add_model(path, self._logic.library)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
            return
        self.fillModels()
        if choose and self._parameters is not None:
            self._parameters.model = model.name
        self.refresh()

    def _onRemove(self) -> None:
        path, title = self.modelPath, self._ui.modelSelector.currentText
        question = _('Delete the model "{title}" from your model folder?').format(title=title)
        if not slicer.util.confirmYesNoDisplay(question):
            return
        try:
            remove_model(path)
        except CSAMError as error:
            slicer.util.errorDisplay(str(error))
        self.fillModels()
        if self._parameters is not None and self._names:
            self._parameters.model = next(iter(self._names.values()))
        self.refresh()

    def _onAbout(self) -> None:
        from csam.model.card import card

        model = self.model
        if model is None:
            self.refresh()
            return
        dialog = qt.QDialog(slicer.util.mainWindow())
        dialog.setAttribute(qt.Qt.WA_DeleteOnClose)
        dialog.setWindowTitle(model.title)
        text = qt.QTextBrowser()
        text.setMarkdown(card(model))
        text.setOpenExternalLinks(True)
        layout = qt.QVBoxLayout(dialog)
        layout.addWidget(text)
        dialog.resize(620, 640)
        dialog.show()
        self._card = dialog  # keeps it where there is no main window; not to be used, for closing deletes it

    # Channels -----------------------------------------------------------------------------------------------------

    def _showChannels(self) -> None:
        model = self.model
        names = [channel.name for channel in model.channels] if model is not None else [""]
        self._ui.inputSelectorLabel.text = _("&Image:") if len(names) == 1 else f"{names[0]}:"
        self.channels.show(names[1:], self._parameters)

    def _onChannelChosen(self) -> None:
        self._timer.start()
        self._onChanged()

    def letGo(self, node) -> None:
        """Choose no image where a channel has this node, which is about to go."""
        self.channels.letGo(node)
        self._images.follow(volume for volume in self.volumes() if volume is not node)

    # The check ----------------------------------------------------------------------------------------------------

    def problem(self) -> str:
        """What keeps a run from starting, empty when nothing does."""
        if self._parameters is None or self._parameters.inputVolume is None:
            return _("No image is chosen. Choose the image to segment.")
        if self.model is None:
            if not self._names:
                return _("There is no model. Press Add and choose one.")
            return _('The model "{name}" is not installed here. Add it from a file, or choose another model.').format(
                name=self._parameters.model
            )
        chosen = zip(self.channels.names, self.channels.nodes(), strict=True)
        missing = [name for name, volume in chosen if volume is None]
        if missing:
            return _("The model needs one more image: {name}. Choose it.").format(name=missing[0])
        volumes = self.volumes()
        maps = [volume.GetName() for volume in volumes if volume.GetAttribute(ROLE) is not None]
        if maps:
            return _('"{name}" is a map of a result, not an image. Choose the image that was segmented.').format(
                name=maps[0]
            )
        try:
            check_channels([raster_from_volume(volume) for volume in volumes])
            if self.browser is None:
                check_outputs(volumes, self._parameters.segmentation, self._parameters.uncertainty)
        except InputError as error:
            return str(error)
        return ""

    def checkFit(self) -> None:
        """Say how the image compares with what the model was trained on; nothing is computed twice."""
        self._timer.stop()
        if self._imageChanged:
            self._imageChanged = False
            self._onChanged()
        problem = self.problem()
        state = problem or (*map(_state, self.volumes()), self.modelPath, self._axis())
        if state == self._checked:
            return
        self._checked = state
        chosen = self._parameters is not None and self._parameters.inputVolume is not None
        self._ui.fitLabel.text = "" if not chosen else texts.cannot_run(problem) if problem else self._compare()
        self._ui.fitLabel.setVisible(bool(self._ui.fitLabel.text))

    def _compare(self) -> str:
        from csam.pipeline.input_check import check

        try:
            volumes = self.volumes()
            found = check([raster_from_volume(volume) for volume in volumes], self.model, self._axis())
            found = [text for text in (bend_told(volumes[0]),) if text] + list(found)
        except CSAMError as error:
            return texts.cannot_run(str(error))
        return texts.bullets(found) if found else texts.fits()

    def _axis(self) -> str:
        return self._parameters.sliceAxis.value


def _first_image():
    for volume in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if volume.GetClassName() == "vtkMRMLScalarVolumeNode" and volume.GetAttribute(ROLE) is None:
            return volume
    return None


def _state(volume) -> tuple:
    scalars = volume.GetImageData().GetPointData().GetScalars()
    return volume.GetID(), volume.GetMTime(), scalars.GetMTime(), *ijk_to_world(volume).ravel()
