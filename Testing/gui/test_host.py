"""The host behaves as the application was measured to (pythonqt_api.json and the table beside it)."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import numpy as np
import pytest
import slicer
from host import api
from host.dialogs import UnexpectedDialog
from host.gui_host import ctk, genuine, qt
from host.ui_loader import BadUi
from host.values import NotInHost

# The file beside this one; Testing/gui is no package, and files of one name in two folders must not collide.
_spec = importlib.util.spec_from_file_location("sample_module", Path(__file__).with_name("sample_module.py"))
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)

MEASURED = Path(__file__).parents[3] / "shared" / "slicer" / "pythonqt_api.json"


@pytest.fixture
def volume(host):
    return host.scene_host.add_volume(np.zeros((4, 6, 5), np.int16), spacing=(1.5, 1.25, 8.0))


@pytest.fixture
def panel(host, tmp_path):
    host.load_module(sample.write(tmp_path))
    return host.open_module("Sample")


# Qt as PythonQt shows it ----------------------------------------------------------------------------------------------


def test_the_table_is_the_one_that_was_measured():
    if not MEASURED.is_file():
        pytest.skip("the measured table is not beside this checkout")
    assert json.loads(MEASURED.read_text()) == api.table()


MADE = {
    "QPushButton": ("Go",), "QSlider": (), "QSpinBox": (), "QDoubleSpinBox": (), "QComboBox": (), "QCheckBox": (),
    "QLabel": ("Text",), "QLineEdit": (), "QTextEdit": (), "QProgressBar": (), "QTableWidget": (2, 2), "QWidget": (),
    "QListWidget": (), "QGroupBox": (), "QToolButton": (), "QTimer": (), "QDialog": (), "QTabWidget": (),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_property_is_an_attribute_and_no_call(host, name):
    made = getattr(qt, name)(*MADE[name])
    read = 0
    for property_name, kind in api.kinds(f"qt.{name}").items():
        if kind != api.PROPERTY:
            continue
        try:
            value = getattr(made, property_name)
        except NotInHost:
            continue  # gone in Qt 6
        read += 1
        with pytest.raises(TypeError):
            value()
    assert read > (3 if name == "QTimer" else 40)


@pytest.mark.parametrize("name", MADE)
def test_a_name_that_was_not_measured_is_an_attribute_error(host, name):
    made = getattr(qt, name)(*MADE[name])
    for missing in ("noSuchName", "setNoSuchName", "text_", "staticMetaObjects"):
        with pytest.raises(AttributeError, match=missing):
            getattr(made, missing)
        assert not hasattr(made, missing)
        with pytest.raises(AttributeError, match=missing):
            setattr(made, missing, 1)


@pytest.mark.parametrize("name", MADE)
def test_every_measured_method_and_signal_is_there_or_says_that_the_host_lacks_it(host, name):
    made = getattr(qt, name)(*MADE[name])
    lacking = []
    for member, kind in api.kinds(f"qt.{name}").items():
        if kind in (api.METHOD, api.SIGNAL):
            try:
                assert callable(getattr(made, member))
            except NotInHost:
                lacking.append(member)
    assert len(lacking) < 45, lacking  # what Qt 6 dropped, and protected helpers that PySide6 does not wrap


def test_names_that_are_nowhere_are_refused(host):
    for call in (
        lambda: qt.QMessageBox.NoSuchButton,
        lambda: qt.Qt.NoSuchConstant,
        lambda: ctk.ctkNoSuchWidget,
        lambda: slicer.app.noSuchName,
    ):
        with pytest.raises(AttributeError):
            call()


def test_properties_are_assigned_and_setters_work_too(host):
    button = qt.QPushButton("Go")
    assert button.text == "Go"
    button.text = "Stop"
    button.enabled = False
    assert (button.text, button.enabled, button.isEnabled()) == ("Stop", False, False)
    button.setEnabled(True)
    assert button.isEnabled()
    button.name = "theButton"
    assert button.objectName == "theButton"


def test_methods_take_no_keywords_and_cannot_be_overwritten(host):
    button = qt.QPushButton("Go")
    with pytest.raises(TypeError, match="keyword"):
        button.setText(text="Stop")
    with pytest.raises(AttributeError, match="overwritten"):
        button.setText = print


def test_enums_are_flat_ints(host):
    assert (qt.Qt.Horizontal, qt.Qt.Orientation.Horizontal) == (1, 1)
    assert type(qt.QMessageBox.Yes | qt.QMessageBox.No) is int
    slider = qt.QSlider(qt.Qt.Horizontal)
    slider.setOrientation(qt.Qt.Vertical)
    assert type(slider.orientation) is int
    assert slider.orientation == qt.Qt.Vertical
    label = qt.QLabel("x")
    label.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
    assert label.alignment == qt.Qt.AlignRight | qt.Qt.AlignVCenter
    label.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
    assert label.sizePolicy.horizontalPolicy() == qt.QSizePolicy.Expanding
    box = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
    assert box.button(qt.QDialogButtonBox.Ok) is not None


def test_items_and_value_types_are_calls(host):
    table = qt.QTableWidget(3, 2)
    table.setItem(0, 0, qt.QTableWidgetItem("a"))
    item = table.item(0, 0)
    assert (table.rowCount, item.text(), item.checkState(), item.flags()) == (3, "a", 0, 63)
    item.setData(qt.Qt.UserRole, 7)
    assert item.data(qt.Qt.UserRole) == 7
    assert (qt.QPixmap(4, 4).size().width(), qt.QSize(3, 4).width()) == (4, 3)


def test_what_qt_made_itself_follows_the_same_rules(host):
    table = qt.QTableWidget(2, 2)
    header = table.horizontalHeader()
    assert header.visible in (True, False)
    header.stretchLastSection = True
    assert header.stretchLastSection is True
    with pytest.raises(AttributeError):
        header.noSuchName  # noqa: B018
    assert isinstance(header, qt.QHeaderView)


def test_combo_boxes_keep_data(host):
    combo = qt.QComboBox()
    combo.addItem("a", "data")
    assert (combo.count, combo.currentIndex, combo.currentText, combo.currentData) == (1, 0, "a", "data")
    assert (combo.findData("data"), combo.itemData(0)) == (0, "data")


def test_signals_connect_both_ways_and_give_as_many_arguments_as_a_function_takes(host):
    button, seen = qt.QPushButton("Go"), []

    def with_argument(checked):
        seen.append(checked)

    button.clicked.connect(with_argument)
    button.connect("clicked(bool)", with_argument)
    button.connect("clicked()", lambda: seen.append("none"))
    button.click()
    assert seen == [False, False, "none"]
    button.clicked.disconnect(with_argument)
    button.click()
    assert seen == [False, False, "none", "none"]
    button.clicked.disconnect()
    button.click()
    assert len(seen) == 4


def test_connecting_to_a_signal_that_is_not_there_fails(host):
    with pytest.raises(AttributeError, match="noSuchSignal"):
        qt.QPushButton("Go").connect("noSuchSignal()", print)


def test_timers_and_shortcuts(host):
    seen, widget = [], qt.QWidget()
    qt.QTimer.singleShot(0, lambda: seen.append("once"))
    timer = qt.QTimer()
    timer.interval = 1
    timer.timeout.connect(lambda: seen.append("again"))
    assert (timer.active, timer.isActive()) == (False, False)
    timer.start()
    assert timer.active
    host.wait_until(lambda: seen.count("again") > 2 and "once" in seen, 5)
    timer.stop()
    shortcut = qt.QShortcut(qt.QKeySequence("n"), widget)
    shortcut.activated.connect(lambda: seen.append("n"))
    shortcut.activated()
    assert seen[-1] == "n"


def test_python_subclasses_override_events(host):
    class Seen(qt.QWidget):
        def __init__(self):
            qt.QWidget.__init__(self)
            self.widths = []

        def resizeEvent(self, event):
            self.widths.append(event.size().width())
            qt.QWidget.resizeEvent(self, event)

    class Filter(qt.QObject):
        def __init__(self):
            qt.QObject.__init__(self)
            self.kinds = []

        def eventFilter(self, watched, event):
            self.kinds.append(event.type())
            return False

    widget, watcher = Seen(), Filter()
    widget.installEventFilter(watcher)
    widget.resize(33, 40)
    widget.show()
    host.process_events()
    assert widget.widths[-1] == 33
    assert qt.QEvent.Resize in watcher.kinds


def test_python_data_does_not_survive_in_dynamic_properties(host):
    widget = qt.QWidget()
    widget.setProperty("x", 3)
    assert widget.property("x") == 0
    widget.setProperty("SlicerParameterName", "threshold")
    assert widget.property("SlicerParameterName") == "threshold"


def test_settings_give_the_default_and_do_not_last(host):
    assert qt.QSettings().value("nope", "d") == "d"
    slicer.app.userSettings().setValue("CSAMSegment/WorkerCommand", "ssh gpu")
    assert qt.QSettings().value("CSAMSegment/WorkerCommand") == "ssh gpu"


def test_settings_of_another_test_are_gone(host):
    assert not qt.QSettings().contains("CSAMSegment/WorkerCommand")


# The MRML widgets -----------------------------------------------------------------------------------------------------


def test_a_node_selector_follows_the_scene(host, volume):
    selector, seen = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.addEnabled = False
    selector.currentNodeChanged.connect(lambda node: seen.append(node and node.GetName()))
    selector.setMRMLScene(slicer.mrmlScene)
    assert (selector.currentNode(), selector.nodeCount()) == (None, 1)
    selector.setCurrentNode(volume)
    assert selector.currentNodeID == volume.GetID()
    slicer.mrmlScene.RemoveNode(volume)
    assert selector.currentNode() is None
    assert seen == ["cine", None]


def test_a_node_selector_takes_the_next_row_when_its_node_goes_as_qt_does(host, volume):
    other = host.scene_host.add_volume(np.zeros((2, 3, 4), np.int16), name="other")
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    selector.setCurrentNode(volume)
    slicer.mrmlScene.RemoveNode(volume)
    assert selector.currentNode() is other


def test_a_node_selector_makes_nodes_and_takes_the_new_one(host):
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLSegmentationNode"]
    selector.baseName = "Result"
    selector.setMRMLScene(slicer.mrmlScene)
    node = selector.addNode()
    assert selector.currentNode() is node
    assert node.GetName() == "Result"


def test_a_stand_in_refuses_what_its_original_does_not_have(host):
    for widget in (slicer.qMRMLNodeComboBox(), ctk.ctkSliderWidget(), ctk.ctkCollapsibleButton()):
        with pytest.raises(AttributeError):
            widget.noSuchName  # noqa: B018
    with pytest.raises(TypeError):
        ctk.ctkSliderWidget().value()
    with pytest.raises(AttributeError):
        slicer.qMRMLPlotView().mrmlPlotViewNode()  # measured: not there


def test_what_the_application_has_and_the_host_has_not_says_so(host):
    with pytest.raises(NotInHost, match="qMRMLSubjectHierarchyTreeView"):
        slicer.qMRMLSubjectHierarchyTreeView()
    with pytest.raises(NotInHost, match="recentLogFiles"):
        slicer.app.recentLogFiles()


# The application ------------------------------------------------------------------------------------------------------


def test_slices_jump_to_a_point(host, volume):
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, 1, 2, 16, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    layout_manager = slicer.app.layoutManager()
    assert layout_manager.sliceViewNames() == ("Red", "Green", "Yellow")
    assert layout_manager.sliceWidget("Red").mrmlSliceNode().GetSliceOffset() == 16
    layout_manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)
    assert layout_manager.layout == slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView


def test_a_click_on_the_chart_can_be_played(host):
    seen = []
    view = slicer.app.layoutManager().plotWidget(0).plotView()
    view.connect("dataSelected(vtkStringArray*,vtkCollection*)", lambda ids, points: seen.append((ids, points)))
    view.dataSelected("series", "points")
    assert seen == [("series", "points")]


def test_the_segment_editor_remembers_what_it_was_given(host, volume):
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    editor.setCurrentSegmentID("LV")
    assert slicer.modules.segmenteditor.widgetRepresentation().self().editor is editor
    assert (editor.segmentationNode(), editor.sourceVolumeNode()) == (segmentation, volume)
    assert editor.currentSegmentID() == "LV"


def test_sample_data_without_uris_is_refused_as_measured(host):
    import SampleData

    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    with pytest.raises(TypeError):
        register(category="CSAM", sampleName="Phantom", customDownloader=print)
    register(
        category="CSAM",
        sampleName="Phantom",
        uris="made:here",
        fileNames="p.nrrd",
        nodeNames="p",
        customDownloader=lambda source: source.sampleName,
    )
    assert SampleData.SampleDataLogic().click("Phantom") == "Phantom"
    with pytest.raises(OSError, match="unknown url type"):  # the function is for the button alone
        SampleData.downloadSample("Phantom")


def test_a_message_needs_no_answer_and_a_question_does(host):
    slicer.util.errorDisplay("It broke", detailedText="because")
    [shown] = host.dialogs.take()
    assert (shown.text, shown.details) == ("It broke", "because")
    with pytest.raises(UnexpectedDialog, match="Sure"):
        slicer.util.confirmYesNoDisplay("Sure?")
    host.dialogs.answer(qt.QMessageBox.Yes, qt.QMessageBox.No, "/a/file.zip")
    assert slicer.util.confirmYesNoDisplay("Sure?") is True
    assert slicer.util.confirmYesNoDisplay("Sure?") is False
    assert qt.QFileDialog.getOpenFileName(None, "Model", "", "*.zip") == "/a/file.zip"
    assert [shown.text for shown in host.dialogs.take()] == ["Sure?", "Sure?", ""]


def test_a_dialog_can_be_worked_on_while_it_is_open(host):
    dialog = qt.QDialog()
    layout = qt.QVBoxLayout(dialog)
    line = qt.QLineEdit()
    layout.addWidget(line)

    def type_a_name(shown):
        line.text = "typed"
        return qt.QDialog.Accepted

    host.dialogs.answer(type_a_name)
    assert dialog.exec_() == qt.QDialog.Accepted
    assert line.text == "typed"
    host.dialogs.take()


def test_the_heartbeat_sees_a_blocked_event_loop(host):
    with host.heartbeat() as beat:
        host.process_events(0.05)
        time.sleep(0.1)
        host.process_events(0.02)
    assert beat.longest >= 0.1


# A scripted module ----------------------------------------------------------------------------------------------------


def test_a_module_is_loaded_entered_left_and_cleaned_up(host, panel):
    assert slicer.modules.SampleInstance.started == 1
    assert slicer.modules.sample.title == "Sample"
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("Sample")
    assert panel.log == ["enter", "exit", "enter"]
    slicer.util.reloadScriptedModule("Sample")
    assert panel.log[-1] == "cleanup"
    assert slicer.modules.SampleWidget is not panel


def test_parameters_and_form_follow_each_other(host, panel, volume):
    ui, parameters = panel.ui, panel.parameters
    assert not ui.applyButton.enabled
    ui.inputSelector.setCurrentNode(volume)
    assert parameters.inputVolume is volume
    assert ui.applyButton.enabled
    ui.thresholdSlider.value = 0.5
    ui.samplesBox.value = 33
    ui.overlayBox.click()
    ui.kindBox.currentIndex = 1
    ui.deviceBox.currentIndex = 1
    ui.commandEdit.text = "ssh gpu"
    assert (parameters.threshold, parameters.samples, parameters.overlay) == (0.5, 33, False)
    assert (parameters.kind.name, parameters.device, parameters.command) == ("ENTROPY", "cpu", "ssh gpu")
    parameters.threshold = 0.75
    parameters.device = "auto"
    assert (ui.thresholdSlider.value, ui.deviceBox.currentText) == (0.75, "auto")
    assert (ui.thresholdSlider.minimum, ui.thresholdSlider.maximum) == (0, 1)


def test_a_parameter_out_of_its_range_is_refused(host, panel):
    with pytest.raises(ValueError, match=r"range|within"):
        panel.parameters.threshold = 2.0
    with pytest.raises(TypeError):
        panel.parameters.command = 3
    assert panel.parameters.threshold == 0.25


def test_parameters_survive_saving_and_loading(host, panel, volume, tmp_path):
    panel.parameters.inputVolume = volume
    panel.parameters.threshold = 0.5
    panel.parameters.reviewed.append(7)
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path)
    slicer.mrmlScene.Clear(0)
    assert panel.parameters.inputVolume is None
    assert panel.ui.thresholdSlider.value == 0.25
    slicer.util.loadScene(path)
    assert panel.parameters.inputVolume.GetName() == "cine"
    assert panel.ui.thresholdSlider.value == 0.5
    assert list(panel.parameters.reviewed) == [7]
    assert panel.ui.inputSelector.currentNode().GetName() == "cine"


def test_an_error_in_a_slot_does_not_pass_unseen(host, panel, volume):
    panel.parameters.inputVolume = volume
    host.dialogs.answer(qt.QMessageBox.Yes)
    panel.ui.applyButton.click()
    assert "ValueError: no luck" in host.uncaught.pop()
    question, error = host.dialogs.take()
    assert (question.text, error.text) == ("Really?", "It failed.\n\nno luck")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (sample.form(sample.widget("qMRMLNoSuchWidget", "w")), "qMRMLNoSuchWidget"),
        (
            sample.form(sample.widget("QLabel", "w", "", '<property name="tekst"><string>x</string></property>')),
            "tekst",
        ),
        (sample.form(sample.SELECTOR, connections=sample.SCENE_TO_SELECTOR.replace("setMRML", "setNo")), "setNo"),
        (sample.form(sample.SELECTOR, connections=sample.SCENE_TO_SELECTOR.replace("inputS", "noS")), "noSelector"),
    ],
    ids=["class", "property", "slot", "receiver"],
)
def test_a_form_that_the_application_would_not_load_is_refused(host, tmp_path, wrong, said):
    host.load_module(sample.write(tmp_path, ui=wrong))
    with pytest.raises(BadUi, match=said):
        host.open_module("Sample")
    slicer.app.moduleManager()._modules.pop("Sample")


def test_a_picture_of_the_panel_can_be_taken_and_clipping_seen(host, panel):
    assert host.screenshot(panel.parent, "host_sample", width=400).stat().st_size > 1000
    assert host.clipped(panel.parent) == []
    host.screenshot(panel.parent, "host_sample_narrow", width=90)
    assert any("thresholdSlider" in line for line in host.clipped(panel.parent))


def test_slicers_own_python_runs_where_the_environment_names_its_source(host):
    module = Path(slicer.parameterNodeWrapper.__file__)
    assert ("slicer_python" in module.parts) is not genuine()
