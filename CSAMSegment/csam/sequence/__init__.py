"""The frames of one patient together: volumes over time, what a model's measures make of them, tables and a page.

Pure functions of volumes and arrays, without torch; the command line and the application share them.
"""
