"""The Slicer side of CSAMSegment.

``logic``: from MRML nodes to the worker and back; knows MRML, but no Qt.
``widgets``: the panel; knows Qt and the logic.
``self_test``: what the module tests in a running Slicer.

torch is never imported here: it lives in the worker process only. Importing this package imports nothing else.
"""
