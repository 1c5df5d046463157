"""The Slicer side of CSAMSegment: volume nodes in, segmentation, overlay and tables out.

``scene``: between MRML nodes and SimpleITK images, without Qt.
``logic``: runs the worker and writes its result, for scripts and for the panel.
``launcher``: which Python runs the worker.

torch is never imported here: it lives in the worker process only. Importing this package imports nothing else.
"""
