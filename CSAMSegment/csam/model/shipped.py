"""The models that come with the extension, and how they are found by name: every csam of a version has the same.

Example:
    >>> model_path("cardiac-lv").name, model_path("/models/mine.zip").name
    ('cardiac-lv', 'mine.zip')
"""

from __future__ import annotations

from pathlib import Path

CSAM = Path(__file__).resolve().parents[1]
PLACES = CSAM.parent / "Resources" / "Models", CSAM / "shipped"
SHIPPED = next(filter(Path.is_dir, PLACES), PLACES[1])
"""Their folder; of a package that pip has installed, inside it."""


def model_path(name: str) -> Path:
    """Where a model is: the folder of a shipped one for its name, else the folder or zip that is named."""
    shipped = SHIPPED / name
    return shipped if "/" not in name and (shipped / "model.json").is_file() else Path(name)
