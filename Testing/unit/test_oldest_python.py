"""An older Slicer, whose Python is 3.9, is told so in one sentence."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "CSAMSegment"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("CSAMSegment.py", r"needs 3D Slicer 5.10 or newer.*the Python of this one is 3\.9\. Update Slicer"),
        ("csam/__init__.py", r"needs Python 3.10 or newer, as 3D Slicer 5.10 .* is Python 3\.9\. Choose a newer one"),
    ],
)
def test_an_old_python_is_told_what_is_needed(monkeypatch, file, words):
    ast.parse((MODULE / file).read_text(encoding="utf-8"), feature_version=(3, 9))
    monkeypatch.setitem(sys.modules, "slicer", None)  # nothing of the application is asked before
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    with pytest.raises(ImportError, match=words):
        runpy.run_path(str(MODULE / file))
