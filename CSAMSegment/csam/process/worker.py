"""The worker process: ``python -m csam worker`` serves segmentation over its standard input and output.

Torch lives here and only here. Requests and replies are frames (``csam.process.protocol``):

=========  ==========================================  ====================================================
request    its fields                                  replies
=========  ==========================================  ====================================================
hello                                                  hello: version, python, executable, torch, devices, unusable
                                                       (``csam.network.devices``), and where torch is missing reason and
                                                       installable
load       model, device                               loaded: model (its description), speed (``Speed`` of
                                                       ``csam.pipeline.run_time``), and device, the one measured
segment    model, perhaps digest; options, images      progress …, result: result, images
fill       images (one a channel, "drawn", perhaps     progress …, result: result, images
           "found", "before"), structures (value, name),
           options, case, model (a folder; the shipped
           one where none is named)
batch      batch, options                              result: cases, waiting, rows (``csam.process.batching``)
batch_case batch, options, case; images, or fault       progress …, result: row
batch_end                                              result: table and page are whole, the folder is free
train      dataset, out, plan, extra, card, device,    progress …, result: result (the model's description)
           fine_tune, split, fold
cancel     (the id of the request to cancel)           that request ends with an error of kind "cancelled"; of a "fill"
                                                       that has ended, nothing that it has taught is used later
quit                                                   bye
=========  ==========================================  ====================================================

model is a path on this computer, or the name of one that ships; digest that which it must have
(``csam.model.Model.digest``).

When it begins to listen it says so with a frame "started" of no id.

A request that fails is answered with an error frame: kind (``csam.errors``), message for a user, detail for the
log. After one of kind "device_lost" the worker ends: a GPU that has failed in earnest answers this process no more.
Requests run one at a time in the main thread; another thread reads, so that cancel and the end of the input are heard
in the middle of a run. Whatever Python or a library prints goes to standard error.
"""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import platform
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import csam

from ..errors import Cancelled, DeviceLost, WorkerError, told_of
from ..result import Progress
from . import batching
from .model_cache import ModelCache
from .protocol import (
    PipeClosed,
    pack_error,
    pack_images,
    pack_result,
    read_frame,
    unpack_fill_options,
    unpack_images,
    unpack_options,
    write_frame,
)
from .torch_import import TorchMissing, import_torch, lost_device

EXIT_GRACE = 0.5
"""Seconds that a run gets to notice that the worker ends."""

EXIT_DEVICE_LOST = 4
"""The exit code after a GPU has stopped to answer."""

PROGRESS_INTERVAL = 0.05
"""Seconds between two progress frames of one stage."""


def main() -> int:
    """Serve standard input and output until "quit" or the end of the input; the exit code."""
    requests, replies = _take_standard_streams()
    faulthandler.enable()
    return Worker(requests, replies).serve()


def _take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes for frames. Descriptor 1 becomes standard error and 0 empty, for C libraries and children too."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout = sys.stderr
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return requests, replies


class Worker:
    """Answers the requests that come on one stream with replies on another."""

    def __init__(self, requests: BinaryIO, replies: BinaryIO):
        self._requests = requests
        self._replies = replies
        self._writing = threading.Lock()
        self._jobs: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._closing = threading.Event()
        self._exit_code = 0
        self._models = ModelCache()

    def serve(self) -> int:
        """Answer requests until the input ends. A run that goes on regardless is ended with the process."""
        self.send({"type": "started", "id": None})
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        while (request := self._jobs.get()) is not None:
            self._answer(request)
        return self._exit_code

    def _read(self) -> None:
        farewell = None
        try:
            while farewell is None:
                header, payload = read_frame(self._requests)
                if not isinstance(header.get("id"), int | str | None):
                    raise WorkerError(f"A request has the id {header['id']!r}; a number was expected.")
                if header["type"] == "quit":
                    farewell = {"type": "bye", "id": header.get("id")}
                elif header["type"] == "cancel":
                    self._cancelled.add(header.get("id"))
                else:
                    self._cancelled.discard(header.get("id"))
                    self._jobs.put(Request(self, header, payload))
                del header, payload  # the job alone holds the images
        except PipeClosed:
            pass
        except Exception as error:  # after garbage nobody knows where the next frame begins
            self._exit_code = 1
            farewell = {"type": "error", "id": None, **_describe(error)}
        self._closing.set()
        deadline = threading.Timer(EXIT_GRACE, _leave, [self._exit_code])
        deadline.daemon = True
        deadline.start()
        if farewell:
            self.send(farewell)
        self._jobs.put(None)

    def _answer(self, request: Request) -> None:
        try:
            handler = HANDLERS.get(request.header["type"])
            if handler is None:
                raise WorkerError(f"Unknown request {request.header['type']!r}; known are {', '.join(HANDLERS)}.")
            if request.cancelled():
                raise Cancelled()
            handler(request, self._models)
        except Exception as error:
            error = lost_device(error, request.device) or error
            request.reply("error", **_describe(error))
            if isinstance(error, DeviceLost):
                _leave(EXIT_DEVICE_LOST)
        finally:
            request.payload = None

    def is_cancelled(self, number: int) -> bool:
        """Whether the request of this number, or the whole worker, is to end."""
        return number in self._cancelled or self._closing.is_set()

    def send(self, header: Mapping[str, Any], buffers=()) -> None:
        """Write one frame; when nobody reads any more, end."""
        with self._writing:
            try:
                write_frame(self._replies, header, buffers)
            except OSError:
                _leave(1)


class Request:
    """One request: its header, its raw bytes, and the way to answer it."""

    def __init__(self, worker: Worker, header: dict[str, Any], payload: memoryview):
        self.id, self.header = header.get("id"), header
        self._worker, self.payload = worker, payload
        self._reported = (-1.0, "")  # time and stage of the last progress frame

    @property
    def device(self) -> str:
        """The device that is asked for."""
        options = self.header.get("options")
        return str((options if isinstance(options, dict) else self.header).get("device", "auto"))

    def cancelled(self) -> bool:
        return self.was_cancelled(self.id)

    def was_cancelled(self, number: int | str | None) -> bool:
        """Whether the request of this number was cancelled, be it after its end."""
        return self._worker.is_cancelled(number)

    def reply(self, kind: str, images=None, /, **fields: Any) -> None:
        specs, buffers = pack_images(images or {})
        self._worker.send({"type": kind, "id": self.id, **fields, **({"images": specs} if specs else {})}, buffers)

    def progress(self, progress: Progress) -> None:
        """Tell how far the run is, at most every PROGRESS_INTERVAL seconds within one stage."""
        now, (then, stage) = time.monotonic(), self._reported
        if progress.stage != stage or progress.fraction >= 1 or now - then >= PROGRESS_INTERVAL:
            self._reported = (now, progress.stage)
            self.reply("progress", **vars(progress))

    def field(self, name: str) -> Any:
        if name not in self.header:
            raise WorkerError(f"The request {self.header['type']!r} lacks {name!r}.")
        return self.header[name]

    def take_images(self) -> list:
        """The images that came with the request; their raw bytes are let go."""
        return list(self.named_images().values())

    def named_images(self) -> dict:
        """``take_images`` by name."""
        images = unpack_images(self.field("images"), self.payload)
        self.payload = None
        return images


def _hello(request: Request, models: ModelCache) -> None:
    """Importing torch is part of the answer, so that the first run is warm."""
    torch, reason, missing = None, None, False
    try:
        torch = import_torch().__version__
    except WorkerError as error:
        reason, missing = str(error), isinstance(error, TorchMissing)
    try:
        devices, unusable = importlib.import_module("csam.network.devices").survey()
    except Exception:
        traceback.print_exc()
        devices, unusable = [], []
    request.reply(
        "hello",
        version=csam.__version__,
        python=platform.python_version(),
        executable=sys.executable,
        torch=torch,
        reason=reason,
        installable=missing,
        devices=devices,
        unusable=unusable,
    )


def _load(request: Request, models: ModelCache) -> None:
    """The model is warm afterwards, and how fast it runs is known."""
    import_torch()
    from ..network.devices import choose_device
    from ..pipeline.run_time import measure

    model = models.get(request.field("model"))
    speed, device = measure(model, choose_device(request.device))
    request.reply("loaded", model=model.description(), speed=vars(speed), device=device)


def _segment(request: Request, models: ModelCache) -> None:
    import_torch()
    from ..pipeline.segment import segment

    options = unpack_options(request.header.get("options") or {})
    model = models.get(request.field("model"), str(request.header.get("digest") or ""))
    result = segment(request.take_images(), model, options, progress=request.progress, cancelled=request.cancelled)
    fields, images = pack_result(result)
    request.reply("result", images, result=fields)


def _fill(request: Request, models: ModelCache) -> None:
    """The images: one a channel, then "drawn"; "found", a result to be updated; "before", the frame that it is of."""
    import_torch()
    from ..interactive.drawing import Structure
    from ..interactive.fill import fill

    options = unpack_fill_options(request.header.get("options") or {})
    try:
        structures = [Structure(int(one["value"]), str(one["name"])) for one in request.field("structures")]
    except (TypeError, KeyError, ValueError) as error:
        raise WorkerError(f"The structures of a request to fill are not as the protocol says: {error}.") from error
    images = request.named_images()
    drawn, found, before = (images.pop(name, None) for name in ("drawn", "found", "before"))
    if drawn is None:
        raise WorkerError("The request 'fill' lacks the image 'drawn'.")
    model = models.filler(request.header.get("model"))
    case = request.header.get("case"), model.sha256
    memory = models.memory(case, request.was_cancelled)
    result = fill(
        list(images.values()),
        drawn,
        structures,
        model,
        options,
        found,
        progress=request.progress,
        cancelled=request.cancelled,
        memory=memory,
        before=before,
    )
    models.keep_memory(request.id, case, memory)
    fields, images = pack_result(result)
    request.reply("result", images, result=fields)


TRAIN_OPTIONS = ("extra", "card", "device", "fine_tune", "split", "fold")


def _train(request: Request, models: ModelCache) -> None:
    import_torch()
    from ..training.train import train

    plan = request.header.get("plan") or {}
    more = {name: request.header[name] for name in TRAIN_OPTIONS if name in request.header}
    paths = [request.field("dataset"), request.field("out")]
    model = train(*paths, plan, **more, progress=request.progress, cancelled=request.cancelled)
    request.reply("result", result=model.description())


HANDLERS: dict[str, Callable[[Request, ModelCache], None]] = {
    "hello": _hello,
    "load": _load,
    "segment": _segment,
    "fill": _fill,
    "batch": batching.begin,
    "batch_case": batching.run_case,
    "batch_end": batching.end,
    "train": _train,
}


def _describe(error: Exception) -> dict[str, str]:
    """The fields of an error frame for any exception."""
    detail = "".join(traceback.format_exception(error))
    return pack_error(told_of(error), detail)


def _leave(code: int) -> None:
    """End at once, whatever the main thread does, and take helper processes along."""
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)
