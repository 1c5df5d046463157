"""The import rules of the house (Resources/docs/architecture.md, "The rooms"), read off the sources."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "CSAMSegment"

PUBLIC = {"attention", "client", "networks", "posterior", "segment"}
"""Files at the top, by which other programs know the code in the rooms."""

LAYERS = (
    {"errors", "result"},
    {"image", "network", "uncertainty"},
    {"model", "phantom", "cardiac"},
    {"sequence"},
    {"pipeline"},
    {"interactive"},
    {"training"},
    {"process", "batch", "cli", "__main__", *PUBLIC},
)
"""Rooms of csam from low to high: each may import its own layer and those before it."""

APART = {"image", "network", "uncertainty"}
"""Rooms that know nothing of each other."""

STANDARD_FOR_THE_APPLICATION = {
    *("slicer", "vtk", "vtkmodules", "qt", "ctk", "SimpleITK", "numpy", "SampleData", "mrml", "SegmentEditorEffects")
}


def sources(package: str) -> list[Path]:
    return sorted((MODULE / package).rglob("*.py"))


def imports(path: Path, *, at_top_only: bool = False) -> list[str]:
    """Every module that a file imports, relative imports as ``csam.image.geometry``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(MODULE).parts[:-1]
    found = []
    for node in statements_at_import(tree) if at_top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = [*package[: len(package) - node.level + 1]] if node.level else []
            base = ".".join(parts + ([node.module] if node.module else []))
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def statements_at_import(node: ast.AST):
    """The statements that run when a file is imported: not the bodies of functions, not ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from statements_at_import(child)


def roots(names: list[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def layer(name: str) -> int:
    return next(height for height, names in enumerate(LAYERS) if name in names)


def test_the_engine_imports_nothing_of_the_application():
    for path in sources("csam"):
        forbidden = roots(imports(path)) & {"slicer", "vtk", "vtkmodules", "qt", "ctk", "CSAMSegmentLib", "PySide6"}
        assert not forbidden, f"{path.name} imports {forbidden}; csam knows nothing of Slicer"


def test_the_slicer_side_never_imports_torch():
    for path in [*sources("CSAMSegmentLib"), *MODULE.glob("*.py")]:
        forbidden = roots(imports(path)) & {"torch", "monai"}
        assert not forbidden, f"{path.name} imports {forbidden}; torch lives in the worker process only"


def test_the_slicer_side_imports_at_its_top_only_what_the_application_has():
    allowed = set(sys.stdlib_module_names) | STANDARD_FOR_THE_APPLICATION | {"csam", "CSAMSegmentLib"}
    for path in [*sources("CSAMSegmentLib"), *MODULE.glob("*.py")]:
        surplus = roots(imports(path, at_top_only=True)) - allowed
        assert not surplus, f"{path.name} imports {surplus} at its top; import it inside the function that needs it"


@pytest.mark.parametrize("path", sources("csam"), ids=lambda path: path.stem)
def test_the_engine_is_layered(path):
    own = path.relative_to(MODULE / "csam").parts[0].removesuffix(".py")
    if own == "__init__":
        assert not [name for name in imports(path, at_top_only=True) if name.startswith("csam.")]
        return
    assert any(own in names for names in LAYERS), f"{path.name} has no place in LAYERS of test_layers.py; give it one"
    for name in imports(path):
        head, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if head == "csam" and any(other in names for names in LAYERS):
            assert layer(other) <= layer(own), f"{path.name} imports csam.{other}, which is in a higher layer"
            assert other == own or not {own, other} <= APART, f"csam.{own} imports csam.{other}; they are to stay apart"


def test_the_logic_knows_no_qt():
    for path in sources("CSAMSegmentLib/logic"):
        forbidden = [
            name for name in imports(path) if name.split(".")[0] in ("qt", "ctk", "PySide6") or ".widgets" in name
        ]
        assert not forbidden, f"{path.name} imports {forbidden}; what needs Qt goes into widgets"


def test_public_names_are_the_code_in_the_rooms():
    for name in sorted(PUBLIC):
        public = importlib.import_module(f"csam.{name}")
        for item in public.__all__:
            assert getattr(public, item).__module__ != f"csam.{name}", f"csam.{name}.{item} has code of its own"


def test_importing_both_packages_leaves_torch_alone():
    """Every module that the application imports, in a process where importing torch would fail."""
    names = ["csam.errors", "csam.result", "csam.client", "csam.phantom", "csam.model", "csam.process.protocol"]
    names += [f"CSAMSegmentLib.logic.{path.stem}" for path in sources("CSAMSegmentLib/logic")]
    program = f"import sys; sys.modules['torch'] = None; sys.path.insert(0, {str(MODULE)!r})\n"
    program += "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
