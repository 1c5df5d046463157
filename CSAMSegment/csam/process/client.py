"""The client of the worker: plain threads and queues, so that a GUI only has to poll.

Example:
    >>> with WorkerClient([sys.executable, "-m", "csam", "worker"]) as client:  # doctest: +SKIP
    ...     result = client.segment([image], "Models/cardiac-lv", Options(samples=10))

In a GUI, from a timer::

    job = client.submit({"type": "segment", "model": path}, [image])
    ...
    for event in job.poll():  # Progress …, at last and once a Result, a reply's fields or a CSAMError
        ...

When a GPU has stopped to answer its worker, the job under way is sent to a new one, once; then the CPU does it, and its
result says so.

However the worker fails (it cannot be started, ends, is killed, closes a pipe, writes what is no frame), the job under
way ends with one WorkerError, no process is left behind, and the next ``submit`` starts a new worker.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from ..errors import CSAMError
from ..image.raster import Raster
from ..interactive.drawing import FillOptions, Structure
from ..result import Options, Progress, ProgressCallback, Result
from .connection import GRACE, Connection
from .job import Job
from .protocol import pack_images, pack_options

Image = sitk.Image | Raster
Images = Mapping[str, Image] | Sequence[Image] | Image
"""One image a channel of the model, in its order."""

SENT_AGAIN = ("segment", "fill", "load", "batch_case")
"""Requests that are sent to another worker after their GPU has stopped to answer."""
WITH_OPTIONS = ("segment", "fill", "batch_case")
AGAIN = "Starting anew after a failure of the GPU"
GAVE_UP = "The GPU failed twice, the second time in a new process: the run was on the CPU, which is slower. {reason}"

LOG_LINES = 500
"""Lines of the worker's standard error that are kept."""


def worker_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a worker: ``base`` (this process's own if None) with this csam first on PYTHONPATH.

    The folder that Slicer happens to run in, one of data say, is no place for it to find modules in.
    """
    environment = dict(os.environ if base is None else base)
    folders = [str(Path(__file__).resolve().parents[2]), environment.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    return environment | {"PYTHONSAFEPATH": "1"}


class WorkerClient:
    """Starts the worker when it is first needed and speaks with it.

    command: the worker's command line, such as [python, "-m", "csam", "worker"] or one that begins with ssh.
    env: its environment; None for ``worker_environment()``.
    log: called with each line that the worker writes to standard error, from a thread of the client.
    rasters: give the images of a Result as ``csam.image.raster.Raster``, which takes no copy.

    device_lost: why the GPU is not used any more where the choice is the worker's; None while it is. ``close`` forgets.

    Only ``run``, ``hello``, ``segment`` and ``close`` wait; every other method returns at once.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        log: Callable[[str], None] | None = None,
        rasters: bool = False,
    ):
        self.command = [os.fspath(part) for part in command]
        self._env = env
        self._log = log
        self._rasters = rasters
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._numbers = itertools.count(1)
        self._connection: Connection | None = None
        self._kill: Callable[[], None] | None = None
        self._changing = threading.RLock()  # the connection
        self.device_lost: str | None = None

    def submit(self, header: Mapping[str, Any], images: Images = ()) -> Job:
        """Send a request (``csam.process.worker`` lists them) and return at once.

        The images are not copied; changing one afterwards does not change what is sent, but changing a Raster does.
        """
        images = [images] if isinstance(images, Image) else images
        if not isinstance(images, Mapping):
            images = {str(number): image for number, image in enumerate(images)}
        specs, buffers = pack_images(images)
        job = Job(next(self._numbers), header["type"])
        job.request = {**header, "id": job.id, **({"images": specs} if specs else {})}, buffers
        with self._changing:
            if self.device_lost and job.kind in SENT_AGAIN and _device_of(header) == "auto":
                self._to_the_cpu(job)
            self._send(job)
        return job

    def run(
        self,
        header: Mapping[str, Any],
        images: Images = (),
        progress: ProgressCallback | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Result | dict:
        """Submit and wait. Raises the job's error; whatever is raised here, KeyboardInterrupt too, cancels the job."""
        job = self.submit(header, images)
        try:
            finished = False
            while not finished:
                finished = job.wait(0.05)
                for event in job.poll():
                    if progress and isinstance(event, Progress):
                        progress(event)
                if cancelled and not finished and cancelled():
                    self.cancel(job)
            return job.result()
        except BaseException:
            self.cancel(job)
            raise

    def hello(self) -> dict:
        """The worker's version, python, executable, torch (or None and the reason) and devices."""
        return self.run({"type": "hello"})

    def segment(
        self,
        images: Images,
        model_path: str | os.PathLike,
        options: Options | None = None,
        progress: ProgressCallback | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Result:
        """``csam.segment.segment`` in the worker. Raises the same errors, and WorkerError."""
        model = os.path.abspath(model_path) if os.path.exists(model_path) else os.fspath(model_path)
        header = {"type": "segment", "model": model, "options": pack_options(options or Options())}
        return self.run(header, images, progress, cancelled)

    def fill(
        self,
        images: Images,
        drawn: Image,
        structures: Sequence[Structure],
        options: FillOptions | None = None,
        found: Image | None = None,
        case: str | None = None,
        progress: ProgressCallback | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Result:
        """``csam.interactive.fill.fill`` in the worker. case: names what is kept from one round to the next."""
        return self.run(*fill_request(images, drawn, structures, options, found, case), progress, cancelled)

    def cancel(self, job: Job, grace: float = GRACE) -> None:
        """Ask the worker to stop the job. If it does not within ``grace`` seconds it is killed.

        Returns at once; the job ends as Cancelled, or with its result if that was quicker. One that is being cancelled
        is left alone. Of one that is done, nothing that it has taught is used later.
        """
        with self._changing:
            if self._connection:
                self._connection.cancel(job, grace)

    def close(self, wait: bool = True) -> None:
        """End the worker and, as Cancelled, its jobs. With ``wait`` the process is gone on return (within a second).

        A later ``submit`` starts a new one.
        """
        with self._changing:
            connection, self._connection = self._connection, None
            self.device_lost = None
        if connection:
            connection.close(GRACE, wait)

    @property
    def process_id(self) -> int | None:
        """The worker's process id; None while none runs."""
        return self._connection.process_id if self._connection else None

    def log_lines(self) -> list[str]:
        """The last lines that the workers wrote to standard error."""
        return [*self._lines]

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _send(self, job: Job) -> None:
        while not (self._connection and self._connection.submit(job, *job.request)):
            self._connect()

    def _connect(self) -> None:
        env = worker_environment() if self._env is None else dict(self._env)
        lost = weakref.WeakMethod(self._on_device_lost)  # the connection must not keep its client
        self._connection = Connection(self.command, env, self._lines, self._log, self._rasters, lost)
        if self._kill:
            self._kill.detach()
        self._kill = weakref.finalize(self, self._connection.kill)  # when forgotten, or at the interpreter's exit

    def _on_device_lost(self, connection: Connection, job: Job, error: CSAMError) -> None:
        """The worker's GPU is lost for it: another worker takes over its jobs. In the connection's thread."""
        with self._changing:
            job.losses += 1
            device, kind = _device_of(job.request[0]), job.kind
            waiting = connection.hand_over(job, error if kind not in SENT_AGAIN or job.losses > 2 else None)
            if job in waiting:
                self._lines.append(f"{error} The request is sent to a new worker.")
                if job.losses == 2:
                    if device == "auto":
                        self.device_lost = str(error)
                    self._to_the_cpu(job, str(error))
                job.report(Progress(0.0, AGAIN))
            for one in waiting:
                self._send(one)

    def _to_the_cpu(self, job: Job, reason: str | None = None) -> None:
        header, buffers = job.request
        job.notes.append(GAVE_UP.format(reason=reason or self.device_lost))
        if job.kind in WITH_OPTIONS:
            header = {**header, "options": {**(header.get("options") or {}), "device": "cpu"}}
        else:
            header = {**header, "device": "cpu"}
        job.request = header, buffers


def fill_request(
    images: Images,
    drawn: Image,
    structures: Sequence[Structure],
    options: FillOptions | None = None,
    found: Image | None = None,
    case: str | None = None,
    before: Image | None = None,
) -> tuple[dict[str, Any], dict[str, Image]]:
    """What ``submit`` takes for a filling: the header and the images by name. before: another frame, to carry from."""
    images = [images] if isinstance(images, Image) else images
    channels = [*images.values()] if isinstance(images, Mapping) else images
    named = {str(number): image for number, image in enumerate(channels)} | {"drawn": drawn}
    header = {
        "type": "fill",
        "structures": [{"value": one.value, "name": one.name} for one in structures],
        "options": pack_options(options or FillOptions()),
        "case": case,
    }
    further = {"found": found, "before": before}
    return header, named | {name: image for name, image in further.items() if image is not None}


def _device_of(header: Mapping[str, Any]) -> str:
    """The device that a request asks for; a job that has ended meanwhile has let its request go."""
    return ((header.get("options") or {}) if header.get("type") in WITH_OPTIONS else header).get("device", "auto")
