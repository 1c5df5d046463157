"""How long a run goes on after Cancel, at moments all over the run, and whether the worker stays warm.

Prints what it found and writes out/bench/cancel.json. A worker that has not answered within GRACE seconds is killed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from csam.errors import Cancelled
from csam.phantom import cine_stack
from csam.process.client import WorkerClient, worker_environment
from csam.process.connection import GRACE
from csam.process.protocol import pack_options
from csam.result import Options

MODEL = Path(__file__).parents[2] / "CSAMSegment" / "Resources" / "Models" / "cardiac-lv"
OUT = Path("out/bench/cancel.json")
MOMENTS = 20


def seconds_after(client, image, moment: float) -> float:
    """From a cancel ``moment`` seconds after the first progress to the end of the run."""
    header = {"type": "segment", "model": str(MODEL), "options": pack_options(Options(samples=200))}
    job = client.submit(header, [image])
    while not job.poll():
        job.wait(0.01)
    if job.wait(moment):
        raise SystemExit(f"The run ended before the cancel: {job.poll()[-1]}")
    started = time.monotonic()
    client.cancel(job)
    job.wait()
    seconds = time.monotonic() - started
    if not isinstance(job.poll()[-1], Cancelled):
        raise SystemExit("The run ended, but was not cancelled.")
    return seconds


def main() -> None:
    image = cine_stack(seed=0).image
    with WorkerClient([sys.executable, "-m", "csam", "worker"], worker_environment()) as client:
        client.segment([image], MODEL, Options(samples=2))
        process = client.process_id
        taken = sorted(seconds_after(client, image, 3 * number / MOMENTS) for number in range(MOMENTS))
        warm = client.process_id == process
    print(f"{MOMENTS} cancels: median {taken[MOMENTS // 2]:.2f} s, longest {taken[-1]:.2f} s (killed after {GRACE} s)")
    print(f"the worker was {'never' if warm else 'once or more'} killed")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"seconds": taken, "killed": not warm}, indent=2) + "\n")


if __name__ == "__main__":
    main()
