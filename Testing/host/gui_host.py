"""The whole host: scene, Qt as PythonQt, application, modules. One at a time; a fresh one for every test.

    with GuiHost() as host:
        host.load_module(path_of_the_module)          # as at start-up
        panel = host.open_module("CSAMSegment")       # as a user selecting it: setup, enter
        panel.ui.applyButton.click()
        host.wait_until(lambda: not panel.isRunning)  # Qt's events run meanwhile
        host.screenshot(panel.parent, "result", width=400)

Where the environment variable CSAM_SLICER_SOURCE names a checkout of Slicer's source, Slicer's own Python
(parameterNodeWrapper, ScriptedLoadableModule, i18n) runs on the host; otherwise the host's own, in slicer_python/.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtWidgets

from . import api, ctk_widgets, modules, mrml_widgets, qt_module, segment_editor_effect, ui_loader
from .dialogs import Dialogs
from .scene_host import SceneHost
from .values import NotInHost, plain

SOURCE_VARIABLE = "CSAM_SLICER_SOURCE"
SCREENSHOTS = Path(__file__).parents[2] / "out" / "screenshots"

qt = qt_module.make()
sys.modules["qt"] = qt
sys.modules["ctk"] = ctk = ctk_widgets.make()
dialogs = Dialogs()
dialogs.install()


def class_in_forms(name: str) -> type:
    """The class that a .ui file names."""
    if name == "Line":
        return qt.QFrame
    for place in (ctk, mrml_widgets, qt):
        if (found := getattr(place, name, None)) is not None:
            return found
    if name in api.names_of_module("slicer"):
        raise NotInHost(f"The application has {name}; the test host has not")
    raise ui_loader.BadUi(f"The .ui file names the class {name}, which the application does not have")


def _put_classes_in_slicer() -> None:
    for name in (*api.names_of_module("slicer"), "qMRMLSliceWidget", "qSlicerWidget"):
        setattr(slicer, name, getattr(mrml_widgets, name, None) or ctk_widgets.missing(name))
    slicer.qSlicerScriptedLoadableModule = modules.qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = modules.qSlicerScriptedLoadableModuleWidget
    qt.QUiLoader = ui_loader.make(class_in_forms)


def _put_python_in_slicer() -> None:
    """slicer.parameterNodeWrapper and its like: Slicer's own where the environment names its source."""
    source = os.environ.get(SOURCE_VARIABLE)
    folder = Path(source) / "Base" / "Python" / "slicer" if source else Path(__file__).parent / "slicer_python"
    if not (folder / "i18n.py").is_file():
        raise FileNotFoundError(f"{SOURCE_VARIABLE} is {source!r}, which holds no Base/Python/slicer/i18n.py")
    slicer.__path__.append(str(folder))
    for name in ("i18n", "ScriptedLoadableModule", "parameterNodeWrapper"):
        setattr(slicer, name, importlib.import_module(f"slicer.{name}"))


def genuine() -> bool:
    """Whether Slicer's own Python runs, rather than the host's."""
    return SOURCE_VARIABLE in os.environ


_application = None


def _on_qt_message(kind, context, message: str) -> None:
    """What Qt says goes to the error output, less the one line that offscreen windows always say."""
    if "propagateSizeHints" not in message:
        print(f"Qt: {message}", file=sys.stderr)


def _the_application():
    global _application
    if _application is None:
        from .application import qSlicerApplication

        QtCore.qInstallMessageHandler(_on_qt_message)
        _put_classes_in_slicer()
        folder = Path(tempfile.mkdtemp(prefix="csam-settings-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _application = qSlicerApplication(folder)
        _application.setObjectName("qSlicerApplication")
        slicer.app = _application  # Slicer's own Python asks for it while it is imported
        _put_python_in_slicer()
        gc.freeze()  # what was imported stays: collecting after every test is quick
    return _application


class GuiHost:
    """What a test needs: the scene (``scene_host``), modules, dialogs, time, pictures."""

    def __init__(self):
        self.app = _the_application()
        self.scene_host = SceneHost()
        self.scene = self.scene_host.scene
        self.app._open(self.scene, self.scene_host.application_logic, qt)
        self.app._testing = False
        slicer.app = self.app
        sys.modules["SampleData"] = modules.sample_data_module()
        segment_editor_effect.install()
        for name in ("SegmentEditor", "Data"):
            modules.register(modules.BuiltIn(name, ""))
        self.dialogs = dialogs
        self.dialogs.reset()
        self.uncaught: list[str] = []
        self._hook, sys.excepthook = sys.excepthook, self._on_uncaught
        self._loaded: list[str] = []
        self._functions_at_start = self.app.__dict__.setdefault("_connections", {})
        self._functions_at_start.clear()

    def __enter__(self) -> GuiHost:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """End as the application does: leave and clean up the modules, then the scene."""
        try:
            for module in list(self.app.moduleManager()._modules.values()):
                module._close()
            self.process_events()
            self.app.startupCompleted.disconnect()
            self.app._shut()
            segment_editor_effect.uninstall()
            self.scene_host.close()
        finally:
            for name in self._loaded:
                sys.modules.pop(name, None)
            sys.excepthook = self._hook

    def _on_uncaught(self, kind, error, trace):
        self.uncaught.append("".join(traceback.format_exception(kind, error, trace)))

    # Modules ----------------------------------------------------------------------------------------------------------

    def load_module(self, path: Path | str):
        """Import a scripted module's file and make its module class, then say that start-up is complete."""
        module = modules.load(Path(path))
        self._loaded.append(module.name)
        self.app.startupCompleted.emit()
        return module

    def open_module(self, name: str):
        """Select a module; its Python widget (``CSAMSegmentWidget``)."""
        slicer.util.selectModule(name)
        return slicer.util.getModuleWidget(name)

    # Time -------------------------------------------------------------------------------------------------------------

    def process_events(self, seconds: float = 0.0) -> None:
        """Let Qt work, for some time."""
        end = time.monotonic() + seconds
        while True:
            QtWidgets.QApplication.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 20)
            QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            if time.monotonic() >= end:
                return
            time.sleep(0.002)

    def wait_until(self, condition, seconds: float = 30.0, what: str = "") -> None:
        """Let Qt work until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{what or 'What was waited for'} was not so after {seconds} s. {self.report()}")
            self.process_events()
            time.sleep(0.002)

    @contextlib.contextmanager
    def heartbeat(self):
        """Measures how long Qt's event loop stood still inside the block; yields an object with ``longest`` in seconds.

        Counts the time between beats of a timer, so leave the waiting to ``wait_until`` or ``process_events``.
        """
        beat = _Beat()
        timer = QtCore.QTimer()
        timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        timer.timeout.connect(beat.beat)
        timer.start(1)
        try:
            yield beat
        finally:
            timer.stop()

    def report(self) -> str:
        """What went unnoticed: errors in slots, dialogs that nobody took."""
        return "\n".join([*self.uncaught, *(f"Dialog: {shown}" for shown in self.dialogs.shown)])

    # Pictures ---------------------------------------------------------------------------------------------------------

    def screenshot(self, widget, name: str, width: int | None = None, height: int | None = None) -> Path:
        """A picture of a widget in out/screenshots; width in pixels as the user has drawn the panel."""
        raw = plain(widget)
        if width is not None:
            QtWidgets.QWidget.setFixedWidth(raw, width)
        QtWidgets.QWidget.show(raw)
        self.process_events()
        layout = QtWidgets.QWidget.layout(raw)
        if layout is not None:
            layout.activate()
        hint = QtWidgets.QWidget.sizeHint(raw)
        wanted = max(
            layout.heightForWidth(width) if layout and layout.hasHeightForWidth() and width else 0, hint.height()
        )
        QtWidgets.QWidget.resize(raw, width or hint.width(), height or wanted)
        deadline = time.monotonic() + 2.0
        self.process_events(0.05)
        while self.clipped(widget) and time.monotonic() < deadline:  # a busy machine lays out late
            self.process_events(0.05)
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        QtWidgets.QWidget.grab(raw).save(str(path))
        return path

    def clipped(self, widget) -> list[str]:
        """The visible widgets inside one with less room than they need, or standing out; call after a screenshot."""
        raw = plain(widget)
        found = []
        for child in QtWidgets.QWidget.findChildren(raw, QtWidgets.QWidget):
            own_name = QtCore.QObject.objectName(child)
            if not own_name or own_name.startswith("qt_") or not QtWidgets.QWidget.isVisibleTo(child, raw):
                continue
            name = f"{type(child).__name__} {own_name}"
            needed, size = QtCore.QObject.property(child, "minimumSizeHint"), QtWidgets.QWidget.size(child)
            if isinstance(child, QtWidgets.QAbstractScrollArea):  # Qt's hint knows nothing of what it holds
                needed.setHeight(QtWidgets.QWidget.minimumHeight(child) or needed.height())
            if needed.width() > size.width() or needed.height() > size.height():
                found.append(f"{name}: needs {needed.toTuple()}, has {size.toTuple()}")
            right = QtWidgets.QWidget.mapTo(child, raw, QtCore.QPoint(size.width(), 0)).x()
            if right > QtWidgets.QWidget.width(raw):
                found.append(f"{name}: ends at {right} of {QtWidgets.QWidget.width(raw)}")
        return found


class _Beat:
    def __init__(self):
        self._last = time.monotonic()
        self.longest = 0.0

    def beat(self):
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last)
        self._last = now
