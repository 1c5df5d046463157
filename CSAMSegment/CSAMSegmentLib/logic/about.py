"""What the module says of itself: help, people, papers; and how it is read anew."""

from __future__ import annotations

import sys
from pathlib import Path

from . import effect_registration, sample_data, thick_slice_layout
from .texts import tr as _

RESOURCES = Path(__file__).resolve().parents[2] / "Resources"

CONTRIBUTORS = ("CSAMSegment developers",)

HELP = _("""
<p>CSAMSegment segments thick-slice scans and shows, slice by slice, where not to trust the result. Two models of the
left ventricle in cardiac cine MR come with it: one of its cavity, one of cavity and myocardium. You can add models of
your own, or draw a new structure in a few slices (Teach by drawing).</p>
<ol>
<li>Choose the image and the model. A line says whether they fit.</li>
<li>Press Apply. Cancel stops within a second and leaves the scene as it was.</li>
<li>Press Next (key N): every view goes to the worst point of the next slice. Tick the slice as reviewed (key M), or
correct it with Edit this segment.</li>
</ol>
<p>The overlay is the error probability: how likely the label of each voxel is wrong. To try it, load the CSAM cardiac
phantom in the module Sample Data.</p>
<p>Research software, not a medical device: do not use it to diagnose or treat. Your images stay on this computer,
unless you choose a worker on another one.</p>
<p>It needs 3D Slicer 5.10 or newer (Python 3.10 or newer).</p>
""")

ACKNOWLEDGEMENT = _("""
<p>The method: Hung ALY, Zheng H, Zhao K, Du X, Pang K, Miao Q, Raman SS, Terzopoulos D, Sung K. CSAM: A 2.5D
Cross-Slice Attention Module for Anisotropic Volumetric Medical Image Segmentation. WACV 2024, pp. 5923-5932.
<a href="https://arxiv.org/abs/2311.04942">arXiv 2311.04942</a>. Please cite it when you use this module.</p>
<p>This extension was written independently; the authors of the paper have not endorsed it.</p>
""")


def forget_library() -> None:
    """Let the next import read CSAMSegmentLib and csam from disk, as is due when the module is reloaded."""
    ours = ("CSAMSegmentLib", "csam", effect_registration.FOLDER)
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]


def onStartupCompleted() -> None:
    """The application is ready: layouts, before a scene that was saved with one is loaded, sample data, the effect."""
    thick_slice_layout.add_layouts()
    sample_data.register(RESOURCES)
    effect_registration.register_effect()
