"""A small host for the panel: Qt (PySide6, offscreen) that behaves as PythonQt does, over slicer-core's real scene.

``gui_host.GuiHost`` puts it together; ``pythonqt_api.json`` says what the application offers, measured there.
"""
