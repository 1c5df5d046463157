"""What the module says of itself: help, people, papers; and how it is read anew."""

from __future__ import annotations

import sys

from .i18n import tr as _

CONTRIBUTORS = ("CSAMSegment developers",)

HELP = _("""
<p>Segments thick-slice scans (cardiac cine MR; prostate, spine, placenta and brain with models of their own) with CSAM,
a 2D network whose slices attend to each other, and shows slice by slice where the result is not to be trusted.</p>
<ol>
<li>Choose the image and the model. The line below says whether they fit.</li>
<li>Press Apply. Cancel stops within a second; the scene stays as it was.</li>
<li>Press Next (key N): every view goes to the most uncertain spot that is left. Correct it with Edit this segment, or
tick it as reviewed (key M).</li>
</ol>
<p>The overlay is the chance that a voxel's label is wrong. To try it: module Sample Data, "CSAM cardiac phantom".</p>
<p>It needs 3D Slicer 5.10 or newer (Python 3.10 or newer).</p>
<p>Research software, not a medical device. No image leaves this computer unless you name a worker elsewhere.</p>
""")

ACKNOWLEDGEMENT = _("""
<p>The method: Hung ALY, Zheng H, Zhao K, Du X, Pang K, Miao Q, Raman SS, Terzopoulos D, Sung K. CSAM: A 2.5D
Cross-Slice Attention Module for Anisotropic Volumetric Medical Image Segmentation. WACV 2024, pp. 5923-5932.
<a href="https://arxiv.org/abs/2311.04942">arXiv 2311.04942</a>. Please cite it when you use this module.</p>
<p>This extension was written independently; the authors of the paper have not endorsed it.</p>
""")


def forget_library() -> None:
    """Let the next import read CSAMSegmentLib and csam from disk, as is due when the module is reloaded."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("CSAMSegmentLib", "csam")]:
        del sys.modules[name]
