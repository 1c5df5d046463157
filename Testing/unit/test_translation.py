"""What a user reads on the Slicer side can be translated: Slicer's lupdate reads it off the sources."""

import ast
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "CSAMSegment"
SOURCES = sorted([*MODULE.glob("*.py"), *(MODULE / "CSAMSegmentLib").rglob("*.py")])


def translations(tree: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_"
    ]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_words_stand_where_they_are_translated(path):
    tree = parsed(path)
    for call in translations(tree):
        [text] = call.args
        literal = isinstance(text, ast.Constant) and isinstance(text.value, str)
        assert literal, f"{path.name}, line {call.lineno}: {ast.unparse(call)[:60]} holds no text; put it there"
    for text in [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]:
        assert not translations(text), f"{path.name}, line {text.lineno}: lupdate does not look into an f-string"


@pytest.mark.parametrize(
    ("name", "constants"),
    [("about", {"HELP", "ACKNOWLEDGEMENT"}), ("torch_install", {"CONSENT", "NO_EXTENSION", "NO_WHEEL"})],
)
def test_the_texts_of_the_module_are_translated_where_they_stand(name, constants):
    tree = parsed(MODULE / "CSAMSegmentLib" / "logic" / f"{name}.py")
    found = {
        node.targets[0].id for node in tree.body if isinstance(node, ast.Assign) and node.value in translations(tree)
    }
    assert found >= constants


def test_stages_of_a_run_and_titles_of_legends_are_translated():
    checked = 0
    for path in SOURCES:
        for call in [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]:
            place = {"Progress": 1, "MapKind": 2}.get(getattr(call.func, "id", None))
            if place is None or isinstance(call.args[place], ast.Name):  # put together before
                continue
            checked += 1
            assert translations(call.args[place]), f"{path.name}, line {call.lineno}: {ast.unparse(call.args[place])}"
    assert checked == 6
