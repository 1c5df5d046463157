"""CSAM: 2.5D cross-slice attention for thick-slice scans, with an uncertainty that means something.

The engine behind the 3D Slicer extension CSAMSegment. It knows nothing of Slicer and is installed on its own
as ``csamsegment``. Importing this package imports neither torch nor SimpleITK.
"""

__version__ = "0.1.0"
