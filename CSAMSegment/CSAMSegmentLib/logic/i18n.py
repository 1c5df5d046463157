"""Translation as Slicer has it; the text itself where there is no application (slicer-core)."""

try:
    from slicer.i18n import tr
except ImportError:

    def tr(text: str) -> str:
        """The text in the language of the application."""
        return text


__all__ = ["tr"]
