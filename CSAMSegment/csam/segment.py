"""The whole pipeline, under the name that other programs import. The code is in ``csam.pipeline.segment``.

Example:
    >>> import SimpleITK as sitk
    >>> from csam.model import Model
    >>> from csam.segment import Options, segment
    >>> model = Model.load("CSAMSegment/Resources/Models/cardiac-lv")
    >>> result = segment(sitk.ReadImage("cine.nii.gz"), model, Options(seed=0))  # doctest: +SKIP
    >>> [score.index for score in result.ranked_slices()[:3]]  # doctest: +SKIP
"""

from .pipeline.segment import segment
from .result import Options, Progress, Result, SliceScore, StructureVolume

__all__ = [
    "Options",
    "Progress",
    "Result",
    "SliceScore",
    "StructureVolume",
    "segment",
]
