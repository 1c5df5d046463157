"""CSAM: 2.5D cross-slice attention for thick-slice scans, with an uncertainty that means something.

The engine behind the 3D Slicer extension CSAMSegment. It knows nothing of Slicer and is installed on its own
as ``csamsegment``. Importing this package imports neither torch nor SimpleITK.
"""

import sys

__version__ = "0.1.0"

if sys.version_info < (3, 10):  # noqa: UP036
    raise ImportError(
        f"CSAM needs Python 3.10 or newer, as 3D Slicer 5.10 and later have; {sys.executable} is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}. Choose a newer one."
    )
