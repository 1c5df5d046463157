"""Puts the effect "Fill the rest" into every Segment Editor, once."""

from __future__ import annotations

import logging
from pathlib import Path

import slicer

FOLDER = "csam_fill_effect"
"""Slicer makes it the name of a module in sys.modules."""
SOURCE = Path(__file__).resolve().parents[1] / FOLDER / "SegmentEditorEffect.py"
KEPT = "csamFillEffect"
"""Where in ``slicer.modules`` the registered effect is kept: beyond a reload of this module."""


def register_effect() -> None:
    """Register the effect unless it is. Never raises: without it the rest of the module works all the same."""
    if getattr(slicer.modules, KEPT, None) is not None:
        return
    try:
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        effect = effects.qSlicerSegmentEditorScriptedEffect(None)
        effect.setPythonSource(str(SOURCE).replace("\\", "/"))
        effect.self().register()
        setattr(slicer.modules, KEPT, effect)
    except Exception:
        logging.exception('The Segment Editor effect "Fill the rest" could not be registered')
