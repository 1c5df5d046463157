"""Runs the worker on volume nodes and writes what it finds into the scene: for scripts and for the panel.

Example, in a script:
    >>> logic = CSAMSegmentLogic()
    >>> output = logic.process(volume, "cardiac-lv", options=Options(samples=10))
    >>> output.segmentation.GetName(), output.uncertainty.GetName()

In a GUI, from a timer:
    >>> run = logic.start(volume, "cardiac-lv")
    >>> while not logic.poll().finished:
    ...     ...

However a run ends (cancelled, crashed, input or output deleted, scene closed), it leaves the scene as it was unless
it ends with its whole result.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from csam.errors import Cancelled, CSAMError, InputError
from csam.result import Options, Progress, ProgressCallback, Result

from .fill_run import FillRun
from .filled_model import TAUGHT, FilledModel
from .frames import follow, shown_frame
from .model_library import ModelLibrary, worker_name
from .output_checks import check_outputs
from .result_nodes import Output, restore
from .result_writer import result_steps
from .run import ClientLike, Run, check_unchanged, missing_node, state_of
from .sequence_browser import shown_item
from .texts import tr as _
from .transaction import Transaction
from .volume_geometry import raster_from_volume
from .worker_launcher import find_worker

POLL_INTERVAL = 0.02
"""Seconds between two looks at the worker in a blocking run."""
TURN = 0.005
"""Seconds of writing after which the application gets its turn; what follows in its views comes on top."""


class CSAMSegmentLogic:
    """Segments volume nodes with a worker that stays warm between runs.

    clientFactory: makes the worker's client when first needed; None for the worker that ``launcher`` finds.
    library: the models; None for those that ship and those of the user.
    """

    def __init__(self, clientFactory: Callable[[], ClientLike] | None = None, library: ModelLibrary | None = None):
        self._clientFactory = clientFactory or _start_client
        self._client: ClientLike | None = None
        self.library = library or ModelLibrary()
        self.run: Run | None = None
        self.lastOutput: Output | None = None
        self.lastItem: str | None = None  # that the last output was written for

    # Runs ---------------------------------------------------------------------------------------------------------

    def process(
        self,
        inputVolume,
        model: str | os.PathLike,
        segmentation=None,
        uncertainty=None,
        options: Options | None = None,
        progress: ProgressCallback | None = None,
        cancelled: Callable[[], bool] | None = None,
        maps: Sequence[str] = ("error_probability",),
    ) -> Output:
        """Segment and wait for the result. The arguments are those of ``start``.

        progress: called with each Progress. cancelled: asked about fifty times a second whether to stop.
        Raises csam.errors: InputError, ModelError, DeviceError, WorkerError, Cancelled.
        """
        return self._wait(self.start(inputVolume, model, segmentation, uncertainty, options, maps), progress, cancelled)

    def fill(
        self,
        plan: FillRun,
        progress: ProgressCallback | None = None,
        cancelled: Callable[[], bool] | None = None,
        maps: Sequence[str] = ("error_probability",),
    ) -> Output:
        """Fill the slices between drawn ones and wait for the result; ``fill_run.plan_fill`` gives the plan.

        progress, cancelled and what is raised: as for ``process``.
        """
        return self._wait(self.startFill(plan, maps=maps), progress, cancelled)

    def _wait(self, run: Run, progress: ProgressCallback | None, cancelled: Callable[[], bool] | None) -> Output:
        told = None
        try:
            while not run.finished:
                self.poll()
                if progress is not None and run.progress is not told:
                    told = run.progress
                    progress(told)
                if run.finished:
                    break
                if cancelled is not None and cancelled():
                    self.cancel()
                if not run.writing:
                    time.sleep(POLL_INTERVAL)
        except BaseException:  # of a callback, or Ctrl+C
            self._abandon(run, Cancelled())
            raise
        if run.error is not None:
            raise run.error
        return run.output

    def start(
        self,
        inputVolume,
        model: str | os.PathLike,
        segmentation=None,
        uncertainty=None,
        options: Options | None = None,
        maps: Sequence[str] = ("error_probability",),
    ) -> Run:
        """Begin to segment and return at once; ``poll`` brings it to its end.

        inputVolume: scalar volume node, or a list of them, one for each channel of the model. model: name or path.
        segmentation, uncertainty: output nodes, None for new ones. maps: as in ``result_writer.write_result``.
        Raises what can be known before the run: InputError, ModelError, WorkerError.
        """
        return self.begin(self.prepare(inputVolume, model, segmentation, uncertainty, options, maps))

    def prepare(
        self,
        inputVolume,
        model: str | os.PathLike,
        segmentation=None,
        uncertainty=None,
        options: Options | None = None,
        maps: Sequence[str] = ("error_probability",),
    ) -> Run:
        """A run for ``begin``, of the images as they are now; in a sequence, of the frame that is shown now.

        The arguments, and what is raised, are those of ``start``. The worker is not asked yet.
        """
        volumes = tuple(inputVolume) if isinstance(inputVolume, (list, tuple)) else (inputVolume,)
        path, loaded = self.library.find(model)
        _check_channels(volumes, loaded)
        check_outputs(volumes, segmentation, uncertainty, maps)
        for volume in volumes:
            if volume.GetScene() is None:
                raise InputError(f'The volume "{volume.GetName()}" is no longer in the scene.')
        images = [raster_from_volume(volume) for volume in volumes]
        run = Run(volumes, loaded, segmentation, uncertainty, tuple(maps), frame=shown_frame(volumes[0]))
        run._states = [state_of(volume) for volume in volumes]
        header = {"type": "segment", "model": worker_name(path), "digest": loaded.digest}
        header["options"] = _plain_options(options or Options())
        run._request = header, images
        return run

    def begin(self, run: Run) -> Run:
        """Begin a run that ``prepare`` has made, and return it at once. Raises InputError, WorkerError."""
        self._check_free()
        request, run._request = run._request, None
        run._job = self.client.submit(*request)
        self.run = run
        return run

    def startFill(
        self,
        plan: FillRun,
        name: str = TAUGHT,
        maps: Sequence[str] = ("error_probability",),
        reviewed: Sequence[int] = (),
        others: Sequence = (),
        keep: Callable[[], None] = lambda: None,
    ) -> Run:
        """Begin to fill and return at once, as ``start`` does. In a sequence, the frame of the plan is shown.

        name: ``TAUGHT``, or that of the model whose result is updated. reviewed: the slices, from 0, that are ticked
        in the list afterwards. others: the volumes of that model's further channels. keep: called right before the
        segments change, as for an editor's undo. Raises InputError where they have changed since they were planned.
        """
        self._check_free()
        with Transaction(plan.volume.GetScene()) as transaction:
            shown = shown_frame(plan.volume)
            if shown is not None:
                transaction.on_failure(shown.show)
            if plan.frame is not None:
                plan.frame.check_there()
                plan.frame.show()  # the user may have gone on to another one
            plan.check_unchanged()
            request = plan.request()
        volumes, tied = (plan.volume, *others), FilledModel(name, ())
        run = Run(volumes, tied, plan.segmentation, None, tuple(maps), plan, tuple(reviewed), keep, plan.frame)
        run._states, run._request = [state_of(volume) for volume in volumes], request
        return self.begin(run)

    def poll(self) -> Run | None:
        """Look what the worker has to say, and write its result when it is there. Never raises, never blocks.

        A result is written in steps, as many a call as TURN has room for.

        Returns the run; its ``error`` tells of everything that went wrong. None before the first run.
        """
        run = self.run
        if run is None or run.finished:
            return run
        gone = missing_node(run)
        if gone is not None:
            self._abandon(run, InputError(f"{gone} while it was being segmented. Nothing was changed."))
            return run
        try:
            if run.writing:
                self._write(run)
            else:
                for event in run._job.poll():
                    self._take(run, event)
        except CSAMError as error:
            run.error = error
        except Exception as error:
            logging.exception("The result of a run could not be written")
            run.error = CSAMError(f"The result could not be shown: {error}. The scene is as it was. The log has more.")
        if run.finished:
            run.release()
        return run

    def cancel(self) -> None:
        """Ask the run to stop; ``poll`` tells when it has. Once is enough, more often does no harm."""
        if self.run is not None and not self.run.finished:
            self.run._cancelling = True
            self.client.cancel(self.run._job)

    def close(self, wait: bool = True) -> None:
        """End the run, if there is one, and the worker. A later run starts a new worker.

        wait: return only when the worker has ended (within a second); a GUI does not wait.
        """
        if self.run is not None and not self.run.finished:
            self._abandon(self.run, Cancelled())
        if self._client is not None:
            client, self._client = self._client, None
            client.close(wait)

    def forget(self) -> None:
        """Let go of all nodes and results, as is due when the scene is closed. A run under way is cancelled."""
        if self.run is not None and not self.run.finished:
            self._abandon(self.run, Cancelled())
        self.run = self.lastOutput = None

    # Results ------------------------------------------------------------------------------------------------------

    @property
    def canRestorePrevious(self) -> bool:
        """Whether the last run replaced something that is still there to be restored.

        In a sequence the nodes hold another image's result once its browser has moved: nothing is restored there.
        """
        last = self.lastOutput
        if not (last and last.previous and last.previous.segmentation.GetScene()):
            return False
        return shown_item(last.segmentation) == self.lastItem

    def restorePrevious(self) -> None:
        """Put back what the last run replaced. Raises InputError when there is nothing."""
        if not self.canRestorePrevious:
            raise InputError("There is no previous result to restore.")
        restore(self.lastOutput.previous)
        self.lastOutput = None

    # Models and worker --------------------------------------------------------------------------------------------

    @property
    def client(self) -> ClientLike:
        """The worker's client. The worker itself starts with its first job."""
        if self._client is None:
            self._client = self._clientFactory()
        return self._client

    def newClient(self) -> ClientLike:
        """A client for a worker of its own, for what runs beside the user's work; whoever asks for it closes it."""
        return self._clientFactory()

    @property
    def deviceLost(self) -> str | None:
        """Why the worker's GPU is not used any more, after it failed in two processes; None while it is."""
        return getattr(self._client, "device_lost", None)

    def _check_free(self) -> None:
        if self.run is not None and not self.run.finished:
            raise InputError("A segmentation is under way. Wait for its end, or cancel it.")

    def _take(self, run: Run, event) -> None:
        if isinstance(event, Progress):
            run.progress = event
        elif isinstance(event, Result) and run._cancelling:  # it was quicker than the cancel
            run.error = Cancelled()
        elif isinstance(event, Result):
            if run.frame is not None:
                run.frame.check_there()
                run.frame.show()  # the user may have gone on to another one
            run._steps = self._steps(run, event)
            run.progress = Progress(1.0, _("Writing the result"), 0.0)
        elif isinstance(event, CSAMError):
            run.error = event

    def _steps(self, run: Run, result: Result):
        image, *others = run.volumes
        nodes, model, check = (run.segmentation, run.uncertainty), run.model, partial(check_unchanged, run)
        if run.plan is not None:
            check()
            result = run.plan.merged(result)
            model = run.plan.model(result, run.model.name)
        return result_steps(result, image, model, *nodes, run.maps, others, check, run.reviewed, run.keep)

    def _write(self, run: Run) -> None:
        """Go on with the result, for one turn."""
        if run._cancelling:
            run.error = Cancelled()
            return
        if run.frame is not None:
            run.frame.check_there()
            run.frame.show()
        end = time.perf_counter() + TURN
        try:
            next(run._steps)
            while time.perf_counter() < end:
                next(run._steps)
        except StopIteration as finished:
            run.output, run._steps = finished.value, None
            run.progress = Progress(1.0, _("Done"), 0.0)
            if run.frame is not None:
                for node in (run.output.segmentation, *run.output.nodes.values()):
                    if run.plan is not None or run.frame.is_followed_by(node):
                        follow(node, run.frame)
            self.lastOutput, self.lastItem = run.output, shown_item(run.output.segmentation)

    def _abandon(self, run: Run, error: CSAMError) -> None:
        if not run.finished:
            run.error = error
            self.client.cancel(run._job)
            run.release()


def _start_client() -> ClientLike:
    from csam.process.client import WorkerClient

    launch = find_worker()
    return WorkerClient(launch.command, env=launch.environment, rasters=True)


def _plain_options(options: Options) -> dict[str, Any]:
    from csam.process.protocol import pack_options

    return pack_options(options)


def _check_channels(volumes: Sequence, model) -> None:
    names = ", ".join(channel.name for channel in model.channels)
    if len(volumes) != len(model.channels):
        raise InputError(
            f'The model "{model.title}" needs {len(model.channels)} volumes ({names}); {len(volumes)} were given. '
            "Give one for each."
        )
