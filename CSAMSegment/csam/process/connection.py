"""One worker process, from its start to its end, and the threads that serve it."""

from __future__ import annotations

import contextlib
import queue
import shlex
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import Cancelled, CSAMError, DeviceError, DeviceLost, WorkerError
from ..result import Progress
from .exit_codes import MEMORY, in_words
from .job import Job
from .programs import kill_tree, start
from .protocol import PipeClosed, read_frame, unpack_error, unpack_images, unpack_result, write_frame

GRACE = 0.8
"""Seconds that a worker gets to answer a cancel, or to end, before it is killed."""
HEARSAY = 0.02
"""Seconds in which the news of a worker's end may arrive: where the caller holds Python's lock, threads wait for it."""

LAUNCHER_ON_A_CRASH = "exit abnormally - Report the problem."
"""How PythonSlicer, Slicer's launcher, ends its last words when the Python below it has crashed or was killed."""

START_TIMEOUT = 120.0
"""Seconds in which a worker says that it has started; importing torch comes later, and may take as long as it likes."""


class Connection:
    """One worker process from start to end, and the threads that serve it. Its first failure ends all its jobs."""

    def __init__(
        self,
        command: list[str],
        env: dict[str, str],
        lines: deque,
        log: Callable[[str], None] | None,
        rasters: bool,
        lost: Callable[[], Callable | None] = lambda: None,
    ):
        """lost: gives what is called with this, the job and its error when the worker's GPU answers no more, or None.

        The others: as in ``csam.client.WorkerClient``.
        """
        self._lost_device = lost
        self._command, self._env, self._lines, self._log, self._rasters = command, env, lines, log, rasters
        self._last_words: deque[str] = deque(maxlen=50)
        self._lock = threading.RLock()
        self._open = True
        self._killed = False
        self._exited = threading.Event()
        self._heard = threading.Event()
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
            if job.id in self._cancelling or (job.id not in self._jobs and job.id not in self._sent):
                return
            self._cancelling.add(job.id)
            if job.id not in self._jobs:
                self._outbox.put((None, {"type": "cancel", "id": job.id}, []))
                return
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
            kill_tree(process)

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
            process = start(self._command, self._env)
        except CSAMError as error:
            self._end_jobs(error)
            return
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
            kill_tree(process)
        self._thread(self._write)
        self._thread(self._await_start)
        readers = [self._thread(self._read), self._thread(self._read_log)]
        code = process.wait()
        with self._lock:
            self._open = False  # from here on a new job goes to a new worker
            self._exited.set()
            self._heard.set()
        kill_tree(process)  # children that outlive it; they may hold the pipes
        for reader in readers:
            reader.join(1.0)
        self._end_jobs(self._obituary(code))
        self._outbox.put(None)

    def _await_start(self) -> None:
        """A command that never becomes a worker would be waited for without end."""
        if self._heard.wait(START_TIMEOUT):
            return
        words = next((line for line in reversed(self._last_words) if line.strip()), "")
        self._fail(
            WorkerError(
                f"The command {shlex.join(self._command)!r} has not become a worker within {START_TIMEOUT:.0f} s; it "
                f"was ended. {f'Its last line: {words[:300]} ' if words else ''}Try it in a terminal: it must not ask "
                'for anything, such as a password, and must not hold back what it writes, as "conda run" does without '
                "--no-capture-output. Check the worker command in the settings."
            )
        )

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
                self._fail(WorkerError(f"The worker's reply cannot be understood ({error!r})."))

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
        self._heard.set()
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
            self._take_error(job, unpack_error(header))
        elif kind == "result" and job.kind in ("segment", "fill"):
            images = unpack_images(header["images"], payload, self._rasters)
            self._settle(job, unpack_result(header["result"], images))
        elif kind in ("hello", "loaded", "result"):
            self._settle(job, header)
        else:
            raise WorkerError(f"The worker's reply is of an unknown type: {kind[:80]!r}.")

    def _take_error(self, job: Job, error: CSAMError) -> None:
        handle = self._lost_device() if isinstance(error, DeviceError) else None
        # In a new worker the lost GPU is perhaps not there at all: that is the second failure.
        if handle and (isinstance(error, DeviceLost) or job.losses == 1):
            handle(self, job, error)
        else:
            self._settle(job, error)

    def hand_over(self, lost: Job, error: CSAMError | None) -> list[Job]:
        """Take no more jobs, and give those that another worker shall do, in their order; the others are cancelled.

        lost: the job whose GPU answers no more. error: with which it ends; None if another worker shall do it too.
        """
        with self._lock:
            self._open = False
            for job in [job for job in self._jobs.values() if job.id in self._cancelling]:
                self._settle(job, Cancelled())
            if error is not None and lost.id in self._jobs:
                self._settle(lost, error)
            jobs = [*self._jobs.values()]
            self._jobs.clear()
        self.kill()
        return jobs

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
            self._fail(WorkerError(f"The worker {what} while it was still running; it was ended. Try again."))

    def _obituary(self, code: int) -> WorkerError:
        words = [line for line in self._last_words if line.strip()]
        reason, advice = in_words(code)
        if words and words[-1].rstrip().endswith(LAUNCHER_ON_A_CRASH):
            reason, advice = "it crashed or was killed", MEMORY
        elif code >= 0:
            reason += f"; its last line: {words[-1][:300]}" if words else ""
        said = f"The worker ended before it had answered: {reason}"
        return WorkerError(" ".join(filter(None, [f"{said}.", advice, "The next run starts a new one."])))
