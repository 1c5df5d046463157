"""The panel and its parts, one file a section. Knows Qt; what has nothing to do with Qt is in ``logic``."""
