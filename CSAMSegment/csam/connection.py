"""One worker process, from its start to its end, and the threads that serve it."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .errors import Cancelled, CSAMError, WorkerError
from .job import Job
from .protocol import PipeClosed, read_frame, unpack_error, unpack_images, unpack_result, write_frame
from .result import Progress

GRACE = 0.8
"""Seconds that a worker gets to answer a cancel, or to end, before it is killed."""
HEARSAY = 0.02
"""Seconds in which the news of a worker's end may arrive: where the caller holds Python's lock, threads wait for it."""

LAUNCHER_ON_A_CRASH = "exit abnormally - Report the problem."
"""How PythonSlicer, Slicer's launcher, ends its last words when the Python below it has crashed or was killed."""

PIPE_SIZE = 1 << 20
"""Bytes; the most that Linux gives to everybody."""


class Connection:
    """One worker process from start to end, and the threads that serve it. Its first failure ends all its jobs."""

    def __init__(
        self,
        command: list[str],
        env: dict[str, str],
        lines: deque,
        log: Callable[[str], None] | None,
        rasters: bool,
    ):
        self._command, self._env, self._lines, self._log, self._rasters = command, env, lines, log, rasters
        self._last_words: deque[str] = deque(maxlen=50)
        self._lock = threading.RLock()
        self._open = True
        self._killed = False
        self._exited = threading.Event()
        self._process: subprocess.Popen | None = None
        self._jobs: dict[int, Job] = {}  # in the order in which the worker does them
        self._sent: set[int] = set()
        self._cancelling: set[int] = set()
        self._outbox: queue.SimpleQueue = queue.SimpleQueue()
        self._life: threading.Thread | None = None

    def submit(self, job: Job, header: dict, buffers: list) -> bool:
        """Queue a job for sending; False when this worker takes no more."""
        if self._process is not None:
            self._exited.wait(HEARSAY)
        with self._lock:
            if self._open:
                self._jobs[job.id] = job
                self._outbox.put((job, header, buffers))
                self._life = self._life or self._thread(self._live)
            return self._open

    def cancel(self, job: Job, grace: float) -> None:
        with self._lock:
            if job.id not in self._jobs or job.id in self._cancelling:
                return
            self._cancelling.add(job.id)
            running = next(iter(self._jobs)) == job.id
            if job.id in self._sent:
                self._outbox.put((None, {"type": "cancel", "id": job.id}, []))
                if running:
                    self._later(grace, self._give_up, job)
                    return
            self._settle(job, Cancelled())

    def close(self, grace: float, wait: bool) -> None:
        with self._lock:
            self._end_jobs(Cancelled("Cancelled, because the worker was closed."))
            self._outbox.put((None, {"type": "quit"}, []))
            self._outbox.put(None)
        if not wait:
            self._later(grace, self.kill)
            return
        if self._life:
            self._life.join(grace)
            self.kill()
            self._life.join(grace)

    def kill(self) -> None:
        """Kill the worker and its children at once."""
        with self._lock:
            self._open, self._killed = False, True
            process = None if self._exited.is_set() else self._process
        if process:
            _kill_tree(process)

    @property
    def process_id(self) -> int | None:
        return self._process.pid if self._process and not self._exited.is_set() else None

    # The threads

    @staticmethod
    def _thread(target: Callable, *arguments) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, name=f"csam worker {target.__name__}", daemon=True)
        thread.start()
        return thread

    @staticmethod
    def _later(seconds: float, action: Callable, *arguments) -> None:
        timer = threading.Timer(seconds, action, arguments)
        timer.daemon = True
        timer.start()

    def _live(self) -> None:
        """From start to end: the one place that learns of the worker's end, however it comes."""
        try:
            process = _start(self._command, self._env)
        except Exception as error:  # no such program, not allowed, an environment that is not text, …
            self._end_jobs(
                WorkerError(
                    f"The worker could not be started with the command {shlex.join(self._command)!r}: {error}. "
                    "Check the worker command in the settings."
                )
            )
            return
        with self._lock:
            self._process = process
        if self._killed:
            _kill_tree(process)
        self._thread(self._write)
        readers = [self._thread(self._read), self._thread(self._read_log)]
        code = process.wait()
        with self._lock:
            self._open = False  # from here on a new job goes to a new worker
            self._exited.set()
        _kill_tree(process)  # children that outlive it; they may hold the pipes
        for reader in readers:
            reader.join(1.0)
        self._end_jobs(self._obituary(code))
        self._outbox.put(None)

    def _write(self) -> None:
        stream = self._process.stdin
        try:
            while (item := self._outbox.get()) is not None:
                self._write_one(stream, *item)
                del item
        except OSError:
            self._lost("closed its standard input")
        finally:
            with contextlib.suppress(OSError):
                stream.close()

    def _write_one(self, stream, job: Job | None, header: dict, buffers: list) -> None:
        if job:
            with self._lock:
                if job.id not in self._jobs:
                    return  # cancelled before it was sent
                self._sent.add(job.id)
            job.moving = bool(buffers)
        try:
            write_frame(stream, header, buffers)
        except (CSAMError, TypeError, ValueError) as error:  # the request itself; nothing of it was written
            if job:
                self._settle(job, error if isinstance(error, CSAMError) else WorkerError(f"Not a request: {error}."))
        finally:
            if job:
                job.moving = False

    def _read(self) -> None:
        with self._process.stdout as stream:
            try:
                while True:
                    self._take(*read_frame(stream, coming=self._expect))
            except PipeClosed:
                self._lost("closed its standard output")
            except CSAMError as error:
                self._fail(error)
            except Exception as error:
                self._fail(WorkerError(f"The worker's reply is not as the protocol says ({error!r})."))

    def _read_log(self) -> None:
        with self._process.stderr as stream:
            while line := stream.readline(1 << 16):
                text = line.decode("utf-8", "replace").rstrip()
                self._last_words.append(text)
                self._lines.append(text)
                if self._log:
                    with contextlib.suppress(Exception):  # a log that fails must not stop the worker
                        self._log(text)

    # What happens

    def _expect(self, header: dict) -> None:
        job = self._jobs.get(header.get("id"))
        if job and header["bytes"]:
            job.moving = True

    def _take(self, header: dict, payload: memoryview) -> None:
        kind, job = header["type"], self._jobs.get(header.get("id"))
        if kind == "error" and header.get("id") is None:
            raise unpack_error(header)
        if not job:
            return  # it was cancelled meanwhile, or this is the worker's "bye"
        if kind == "progress":
            job.report(Progress(header["fraction"], header["stage"], header["seconds_left"]))
        elif kind == "error":
            self._settle(job, unpack_error(header))
        elif kind == "result" and job.kind == "segment":
            images = unpack_images(header["images"], payload, self._rasters)
            self._settle(job, unpack_result(header["result"], images))
        elif kind in ("hello", "loaded", "result"):
            self._settle(job, header)
        else:
            raise WorkerError(f"The worker's reply is of an unknown type: {kind[:80]!r}.")

    def _settle(self, job: Job, outcome: Any) -> None:
        with self._lock:
            self._jobs.pop(job.id, None)
        job.finish(outcome)

    def _end_jobs(self, error: CSAMError) -> None:
        """Take no more jobs; those under way end with this error unless an earlier one has ended them."""
        with self._lock:
            self._open = False
            error.detail = error.__dict__.get("detail") or "\n".join(self._last_words)
            for job in [*self._jobs.values()]:
                self._settle(job, error)

    def _fail(self, error: CSAMError) -> None:
        self._end_jobs(error)
        self.kill()

    def _give_up(self, job: Job) -> None:
        if not job.done:
            self._settle(job, Cancelled())
            self._fail(WorkerError("The worker was ended because another job in it could not be cancelled. Try again."))

    def _lost(self, what: str) -> None:
        """A pipe broke: the worker ended, or is not a worker any more."""
        if not self._exited.wait(GRACE):
            self._fail(WorkerError(f"The worker {what} although it still ran; it was ended. Try again."))

    def _obituary(self, code: int) -> WorkerError:
        words = [line for line in self._last_words if line.strip()]
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = "unknown"
            reason = f"it was killed by signal {-code} ({name})"
            advice = " The computer may have run out of memory." if name == "SIGKILL" else ""
        elif words and words[-1].rstrip().endswith(LAUNCHER_ON_A_CRASH):
            reason, advice = "it crashed or was killed", " The computer may have run out of memory."
        else:
            reason = f"exit code {code}" + (f"; its last words: {words[-1][:300]}" if words else "")
            advice = ""
        return WorkerError(f"The worker ended before it had answered: {reason}.{advice} The next run starts a new one.")


def _start(command: list[str], env: dict[str, str]) -> subprocess.Popen:
    """Start the worker in a process group of its own and, on Windows, without a console window.

    Pipes as wide as Linux lets them be: images cross in fewer steps, each of which needs the interpreter's lock.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(command, env=env, creationflags=flags, **pipes)
    process = subprocess.Popen(command, env=env, start_new_session=True, **pipes)
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        for pipe in (process.stdin, process.stdout):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return process


def _kill_tree(process: subprocess.Popen) -> None:
    """Kill a worker and its children, also when the worker itself has ended already."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # gone already
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW
            command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
            subprocess.run(command, creationflags=flags, capture_output=True, timeout=10)
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
