"""Volume nodes in; segmentation, overlay, tables and chart out. Knows MRML, but no Qt.

Functions follow PEP 8. In camelCase is what scripts and Slicer call: CSAMSegmentLogic, and callbacks (onSomething).

Example:
    >>> from CSAMSegmentLib.logic import CSAMSegmentLogic
    >>> output = CSAMSegmentLogic().process(volume, "cardiac-lv")
"""


def __getattr__(name: str):
    """``CSAMSegmentLogic``, imported when it is asked for: this package itself imports nothing."""
    if name != "CSAMSegmentLogic":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .module_logic import CSAMSegmentLogic

    return CSAMSegmentLogic
