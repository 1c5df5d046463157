"""The command line: ``csam``, or ``python -m csam``."""

from ..batch.saved import describe
from .files import find_model, read_image
from .main import main
from .segmenting import summary

__all__ = ["describe", "find_model", "main", "read_image", "summary"]
