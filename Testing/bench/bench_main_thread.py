"""How long the application's main thread stands still while a user opens the panel, presses Apply and gets a result.

The panel runs on the test host (a real MRML scene, real Qt) with the worker as a process that gives a made result.
A timer of Qt beats every millisecond; a hold is what the main thread computes and waits for between two beats (its
processor time and its waits: other programs that share the processor do not count). What the application itself draws
is not there, so that a margin must be left. Holds are told by phase: "open" (the panel, until all is shown), "start"
(from Apply to the worker's first progress), "write" (from then to the end of everything that follows the result),
"again" (the same of a second run into the same nodes), "restore", "learn" (a training is begun and watched, with its
curve, 20 steps a second by a process of its own) and "both" (the same, while a segmentation runs and is written).

    python Testing/bench/bench_main_thread.py                      # this checkout
    python Testing/bench/bench_main_thread.py --base OTHER         # another checkout first, and the ratio
    python Testing/bench/bench_main_thread.py --stacks             # where the main thread is in the longest holds

Prints a table and writes out/bench/main_thread.json. Needs slicer-core and PySide6.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve()
OUT = Path("out/bench/main_thread.json")
SIZES = ((256, 256, 9), (320, 320, 24), (512, 512, 40))
CLASSES = 5
PHASES = ("open", "start", "write", "again", "restore", "learn", "both")
ROWS = 60
"""Of the training's log, a quarter of a second each, while "learn" is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="another checkout, to be measured first")
    parser.add_argument("--repeats", type=int, default=3, help="of which the quietest counts, phase by phase")
    parser.add_argument("--stacks", action="store_true", help="print where the main thread is in the longest holds")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        measure(tuple(json.loads(arguments.child)), arguments.stacks)
        return
    rows = []
    for size in SIZES:
        row = {"size": "x".join(map(str, (size[2], size[1], size[0])))}
        trees = {"base": arguments.base, "now": HERE.parents[2]}
        runs = {name: [] for name, tree in trees.items() if tree is not None}
        for _repeat in range(arguments.repeats):  # by turns: other work on the machine hits both
            for name, found in runs.items():
                found.append(child(trees[name], size, arguments.stacks))
        for name, found in runs.items():
            row[name] = {phase: min(run[phase] for run in found) for phase in PHASES}
        rows.append(row)
        show(row)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")


def show(row: dict) -> None:
    for phase in PHASES:
        figures = [f"{name} {1000 * row[name][phase]:6.1f} ms" for name in ("base", "now") if name in row]
        if "base" in row:
            figures.append(f"ratio {row['now'][phase] / row['base'][phase]:.2f}")
        print(f"{row['size']:>12}  {phase:<8}", "   ".join(figures), flush=True)


def child(tree: Path, size: tuple[int, int, int], stacks: bool) -> dict[str, float]:
    """The longest holds of a checkout, seconds by phase, from a process of its own."""
    path = os.pathsep.join((str(tree / "CSAMSegment"), str(HERE.parents[1])))
    command = [sys.executable, str(HERE), "--child", json.dumps(size)]
    command += ["--stacks"] if stacks else []
    environment = {**os.environ, "PYTHONPATH": path, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=600)
    return json.loads(done.stdout.decode().splitlines()[-1])


# In the child ---------------------------------------------------------------------------------------------------------


class Pulse:
    """The longest holds by phase, and where the main thread was meanwhile."""

    def __init__(self, stacks: bool):
        from PySide6 import QtCore

        self.phase, self.longest = None, dict.fromkeys(PHASES, 0.0)
        self.stacks: dict[str, collections.Counter] = {}
        self._seen: list[str] = []
        self._waited, self._pause = 0.0, time.sleep
        self._count_waits(time, "sleep")
        self._count_waits(threading.Event, "wait")
        self._last = self._clock()
        self._main = threading.get_ident()
        self._timer = QtCore.QTimer()
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(1)
        if stacks:
            threading.Thread(target=self._look, daemon=True).start()

    def _clock(self) -> float:
        """Seconds that this thread has computed or waited."""
        return time.thread_time() + self._waited

    def _count_waits(self, place, name: str) -> None:
        """Let a function that waits say how long it has, in the main thread."""
        wait, main = getattr(place, name), threading.get_ident()

        def counted(*arguments, **more):
            start = time.perf_counter()
            try:
                return wait(*arguments, **more)
            finally:
                if threading.get_ident() == main:
                    most = next((a for a in (*arguments, *more.values()) if isinstance(a, float)), float("inf"))
                    self._waited += min(time.perf_counter() - start, most)

        setattr(place, name, counted)

    def _beat(self) -> None:
        now = self._clock()
        if self.phase is not None and now - self._last > self.longest[self.phase]:
            self.longest[self.phase] = now - self._last
            self.stacks[self.phase] = collections.Counter(self._seen)
        self._seen.clear()
        self._last = now

    def enter(self, phase: str | None) -> None:
        self.phase, self._last = phase, self._clock()

    def _look(self) -> None:
        while True:
            self._pause(0.001)
            if self.phase is not None:
                frames = traceback.extract_stack(sys._current_frames().get(self._main))
                ours = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames if "CSAMSegment" in f.filename]
                self._seen.append(" < ".join(reversed(ours[-6:])))


def measure(size: tuple[int, int, int], stacks: bool) -> None:
    """Work with the panel as a user does; prints the holds as JSON in the last line."""
    import numpy as np
    from gui.panel_kit import make_model
    from host.gui_host import GuiHost

    import csam

    with tempfile.TemporaryDirectory() as folder, GuiHost() as host:
        import CSAMSegmentLib.logic.model_library

        models = Path(folder) / "shipped"
        make_model("tiny", labels=[f"structure {number}" for number in range(1, CLASSES)]).save(models / "tiny")
        CSAMSegmentLib.logic.model_library.SHIPPED = models
        os.environ["CSAM_WORKER_COMMAND"] = shlex.join(
            [sys.executable, str(HERE.parents[1] / "gui" / "fake_worker.py"), folder]
        )
        (Path(folder) / "mode").write_text("bench")
        host.load_module(Path(csam.__file__).parents[1] / "CSAMSegment.py")
        voxels = np.random.default_rng(0).integers(0, 400, size[::-1], np.int16)
        host.scene_host.add_volume(voxels, (1.25, 1.25, 8.0))
        pulse = Pulse(stacks)
        pulse.enter("open")
        panel = host.open_module("CSAMSegment").panel
        host.wait_until(lambda: panel.worker.status.hello is not None)
        host.process_events(1.0)
        for phase in ("write", "again"):
            pulse.enter("start")
            panel.ui.applyButton.click()
            host.wait_until(lambda: "Sample" in panel.ui.stageLabel.text, 120)
            pulse.enter(phase)
            host.wait_until(lambda: not panel.isRunning, 120)
            host.process_events(1.5)
        pulse.enter("restore")
        panel.restorePrevious()
        host.process_events(1.0)
        pulse.enter(None)
        learning = begin_learning(panel, Path(folder), host)
        pulse.enter("learn")
        panel.learn.ui.learnStartButton.click()
        host.wait_until(lambda: len(learning.rows) >= ROWS, 120)
        pulse.enter("both")
        panel.ui.applyButton.click()
        host.wait_until(lambda: panel.isRunning, 10)
        host.wait_until(lambda: not panel.isRunning, 120)
        host.process_events(1.5)
        pulse.enter(None)
        assert learning.busy, learning.error
        panel.learn.ui.learnPauseButton.click()
        host.wait_until(lambda: not learning.busy, 60)
        shown = host.dialogs.take()
        assert not shown, shown
        assert not host.uncaught, host.uncaught
    for phase, found in pulse.stacks.items():
        for stack, count in found.most_common(8):
            print(f"{phase:<8} {count:3}  {stack}", file=sys.stderr)
    print(json.dumps(pulse.longest))


def begin_learning(panel, folder: Path, host):
    """The part Learn, open and ready to start a training by the fake trainer; its Learning."""
    import slicer

    from csam.process.line_process import LineProcess
    from CSAMSegmentLib.logic import learning

    trainer = [sys.executable, str(HERE.parents[1] / "gui" / "fake_trainer.py"), str(folder)]
    learning.start_process = lambda arguments, take=None: LineProcess([*trainer, *arguments], dict(os.environ), take)
    panel.learn.learning._make = learning.start_process
    slicer.app.userSettings().setValue("CSAMSegment/ModelFolder", str(folder / "own" / "Models"))
    (folder / "trainer").write_text("slow")
    (folder / "hearts").mkdir()
    panel.learn.ui.datasetLineEdit.text = str(folder / "hearts")
    panel.learn.ui.learnCollapsibleButton.collapsed = False
    panel.learn.ui.datasetLineEdit.editingFinished.emit()
    host.wait_until(lambda: not panel.learn.busy, 60)
    return panel.learn.learning


if __name__ == "__main__":
    main()
