"""The "CSAM cardiac phantom" of Slicer's module Sample Data: made on this computer, nothing is downloaded."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

import slicer

from csam import __version__
from csam.image.files import replace_file, write_image

from .volume_geometry import volume_from_image

CATEGORY = "CSAMSegment"
NAME = "CSAM cardiac phantom"
ADDRESS = "csam:cardiac-phantom"
"""Stands for the phantom where Slicer wants an address to fetch; nothing is behind it but ``make_file``."""


def register(resources: Path) -> None:
    """List the phantom in the module Sample Data. resources: the module's folder Resources."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # newer than Slicer 5.6
        logic.registerCustomSampleDataCategory(CATEGORY, title=CATEGORY)
    if hasattr(logic, "registerUrlRewriteRule"):  # newer than Slicer 5.8; SampleData.downloadSample needs a file
        logic.registerUrlRewriteRule(CATEGORY, lambda url: make_file() if url == ADDRESS else url)
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        uris=[ADDRESS],
        fileNames=[f"csam-cardiac-phantom-{__version__}.nrrd"],
        nodeNames=[NAME],
        thumbnailFileName=str(Path(resources) / "Icons" / "CSAMCardiacPhantom.png"),
        customDownloader=make_phantom,  # what the button calls
    )


def make_phantom(source=None) -> list:
    """A short-axis cine stack of the phantom, shown in the slice views. Returns [vtkMRMLScalarVolumeNode].

    Making it takes some seconds; the application stays responsive meanwhile.
    """
    maker = threading.Thread(target=_stack, args=(0,), daemon=True)
    maker.start()
    while maker.is_alive():
        slicer.app.processEvents()
        maker.join(0.02)
    volume, _labels = make_phantom_nodes()
    slicer.util.setSliceViewerLayers(background=volume, fit=True, rotateToVolumePlane=True)
    return [volume]


def make_file() -> str:
    """The same as a file in Slicer's temporary folder, made once. Returns its file:// address."""
    path = Path(slicer.app.temporaryPath) / f"csam-cardiac-phantom-{__version__}-made.nrrd"
    if not path.exists():  # Sample Data asks for the address even where it has the file
        unfinished = path.with_name(f"unfinished-{path.name}")
        write_image(_stack(0).image, unfinished, compress=True)
        replace_file(unfinished, path)
    return path.as_uri()


def make_phantom_nodes(seed: int = 0, **arguments):
    """The phantom's volume node, and its true labels as an array (k, j, i): 1 left ventricle cavity, and others.

    arguments: of ``csam.phantom.cine_stack``.
    """
    import SimpleITK as sitk

    phantom = _stack(seed, **arguments)
    return volume_from_image(phantom.image, NAME), sitk.GetArrayFromImage(phantom.labels)


@lru_cache(maxsize=1)
def _stack(seed: int, **arguments):
    from csam.phantom import cine_stack

    return cine_stack(seed, **arguments)
