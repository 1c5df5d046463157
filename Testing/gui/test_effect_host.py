"""What the host gives a scripted Segment Editor effect: what was measured in the application, and nothing else."""

import sys

import pytest
import slicer
from host.segment_editor_effect import NotInHost, factory, kinds

SOURCE = """
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    def __init__(self, scriptedEffect):
        scriptedEffect.name = "Sample effect"
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.calls = []

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        copy = effects.qSlicerSegmentEditorScriptedEffect(None)
        copy.setPythonSource(__file__)
        return copy

    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault("Size", 3)

    def activate(self):
        self.calls.append("activate")

    def deactivate(self):
        self.calls.append("deactivate")

    def updateGUIFromMRML(self):
        self.calls.append("update")
"""


@pytest.fixture
def registered(host, tmp_path):
    """An effect that does nothing, in the factory."""
    folder = tmp_path / "sample_effect"
    folder.mkdir()
    (folder / "SegmentEditorEffect.py").write_text(SOURCE)
    effect = sys.modules["qSlicerSegmentationsEditorEffectsPythonQt"].qSlicerSegmentEditorScriptedEffect(None)
    assert effect.setPythonSource(str(folder / "SegmentEditorEffect.py"))
    effect.self().register()
    return effect


@pytest.fixture
def editor(host, registered):
    editor = host.open_module("SegmentEditor").editor
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.GetSegmentation().AddEmptySegment("a", "A")
    editor.setSegmentationNode(node)
    yield editor
    editor.setActiveEffect(None)


def test_a_name_that_was_not_measured_is_not_there(registered):
    assert "icon" not in kinds()
    with pytest.raises(AttributeError, match="icon"):
        registered.icon()
    with pytest.raises(AttributeError, match="makes no new attributes"):
        registered.filling = 1
    with pytest.raises(TypeError, match="not callable"):
        registered.name()
    with pytest.raises(NotInHost):
        registered.addActor2D()


def test_an_effect_is_registered_under_its_name_once(registered):
    assert not factory.registerEffect(registered)
    assert registered.name == "Sample effect"


def test_every_editor_has_a_copy_of_its_own(editor, registered):
    assert editor.availableEffectNames()[-1] == "Sample effect"
    assert editor.effectByName("Sample effect") is not registered


def test_an_effect_is_active_while_the_node_says_so(editor):
    editor.setActiveEffectByName("Sample effect")
    effect = editor.activeEffect()
    assert effect.active()
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect() is None
    assert effect.self().calls == ["update", "activate", "deactivate"]


def test_parameters_are_kept_in_the_node_and_a_change_is_told(editor):
    editor.setActiveEffectByName("Sample effect")
    effect = editor.activeEffect()
    assert effect.integerParameter("Size") == 3
    effect.setParameter("Size", 3)
    effect.setParameter("Size", 4)
    assert effect.self().calls == ["update", "activate", "update"]
    assert editor.mrmlSegmentEditorNode().GetAttribute("Sample effect.Size") == "4"
    with pytest.raises(AssertionError, match="cannot be found"):
        effect.parameter("Colour")


def test_the_editor_lets_go_of_the_effect_when_its_module_is_left(host, editor):
    editor.setActiveEffectByName("Sample effect")
    host.open_module("Data")
    assert editor.activeEffect() is None
