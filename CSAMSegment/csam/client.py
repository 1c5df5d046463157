"""The worker's client, under the name that other programs import. The code is in ``csam.process.client``.

Plain Python: it needs neither torch nor Qt. Only ``run``, ``hello``, ``segment`` and ``close`` wait; every other method
returns at once, so that an application only has to poll.

Example, in a script:
    >>> import sys
    >>> import SimpleITK as sitk
    >>> from csam.client import Options, WorkerClient
    >>> image = sitk.ReadImage("cine.nii.gz")  # doctest: +SKIP
    >>> with WorkerClient([sys.executable, "-m", "csam", "worker"]) as client:  # doctest: +SKIP
    ...     result = client.segment(image, "CSAMSegment/Resources/Models/cardiac-lv", Options(samples=10))
    >>> [structure.volume_ml for structure in result.structures]  # doctest: +SKIP

Example, in an application, where a timer polls a ``Job``:
    >>> client = WorkerClient([sys.executable, "-m", "csam", "worker"], env=worker_environment())  # doctest: +SKIP
    >>> job = client.submit({"type": "hello"})  # doctest: +SKIP
    >>> for event in job.poll():  # doctest: +SKIP
    ...     print(event)  # Progress, and at last a Result, the fields of a reply or a CSAMError
"""

from .errors import CSAMError
from .process.client import WorkerClient, worker_environment
from .process.job import Job
from .result import Options, Progress, Result

__all__ = [
    "CSAMError",
    "Job",
    "Options",
    "Progress",
    "Result",
    "WorkerClient",
    "worker_environment",
]
