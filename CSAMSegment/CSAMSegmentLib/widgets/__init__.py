"""The panel and its parts, one file a section. Knows Qt; what has nothing to do with Qt is in ``logic``.

Methods and callbacks of the parts are in camelCase, as everywhere on widgets in Slicer; functions are not.
"""
