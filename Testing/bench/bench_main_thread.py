"""How long the application's main thread stands still for a run of a large image, and how long the run takes.

Between two turns the interpreter's lock is held, as 3D Slicer's event loop holds it: the client's threads get on only
when this thread lets them. The worker gives a made result at once, so that what is timed is the way there and back.
Prints a table and writes out/bench/main_thread.json. Needs slicer-core.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from host.scene_host import SceneHost

from csam.client import WorkerClient, worker_environment
from csam.fit import check
from CSAMSegmentLib.display import MAPS
from CSAMSegmentLib.geometry import raster_from_volume
from CSAMSegmentLib.logic import CSAMSegmentLogic

STUB_WORKER = Path(__file__).parents[1] / "scene" / "stub_worker.py"
OUT = Path("out/bench/main_thread.json")
SIZES = ((256, 256, 12), (640, 640, 60), (512, 512, 200))
TURN = 0.04
"""Seconds between two turns, as the panel's timer has them."""

hold = ctypes.PyDLL(None).usleep
"""Waits without letting other threads run."""


class Stopwatch:
    """The longest time of each step that the main thread takes."""

    def __init__(self):
        self.longest: dict[str, float] = {}

    def time(self, step: str, function, *arguments):
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.longest[step] = max(self.longest.get(step, 0.0), time.perf_counter() - start)


def run(logic, size) -> dict[str, float]:
    """The longest blocks, in seconds, by step; "run" is the whole of it."""
    watch = Stopwatch()
    with SceneHost() as host:
        voxels = np.random.default_rng(0).integers(0, 400, size[::-1], np.int16)
        volume = host.add_volume(voxels, (1.0, 1.0, 8.0))
        model = logic.library.find("cardiac-lv")[1]
        watch.time("fit", lambda: check([raster_from_volume(volume)], model))
        for number in ("first", "second"):
            start = time.perf_counter()
            segmentation = logic.lastOutput.segmentation if logic.lastOutput else None
            watch.time("start", lambda s=segmentation: logic.start(volume, "cardiac-lv", s, maps=tuple(MAPS)))
            while not logic.run.finished:
                hold(round(1e6 * TURN))
                watch.time(f"poll, {number} run", logic.poll)
            watch.longest[f"{number} run"] = time.perf_counter() - start
            if logic.run.error is not None:
                raise logic.run.error
        watch.time("restore", logic.restorePrevious)
        logic.forget()
    return watch.longest


def main() -> None:
    rows = []
    command = [sys.executable, str(STUB_WORKER)]
    logic = CSAMSegmentLogic(lambda: WorkerClient(command, worker_environment(), rasters=True))
    for size in SIZES:
        rows.append({"size": size, **run(logic, size)})
        name = "x".join(map(str, size))
        print(
            f"{name}:", ", ".join(f"{step} {1000 * value:.0f} ms" for step, value in rows[-1].items() if step != "size")
        )
    logic.close()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
