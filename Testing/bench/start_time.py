"""What a user waits for before the first result: a time line of the module, the worker, torch and the first runs.

    python Testing/bench/start_time.py --repeats 3

"At" counts from the start of the worker. Slicer starts it when the module is opened, so that torch is imported while
the user still chooses a volume. Writes Resources/Benchmarks/start-time.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from csam.phantom import cine_stack
from csam.process.client import WorkerClient, worker_environment

OUT = Path("Resources/Benchmarks/start-time.json")
MODEL = Path(__file__).resolve().parents[2] / "CSAMSegment/Resources/Models/cardiac-lv"
PHANTOM = 7
IMPORTS = {
    "import of the client (in the application)": "import csam.client, csam.process.job",
    "import of torch alone": "import torch",
    "import of all that a run needs": "import csam.segment, csam.pipeline.run_time",
}


def imported(statement: str) -> float:
    """Seconds of a statement in a fresh Python."""
    program = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=worker_environment()
    )
    return float(done.stdout)


def time_line() -> dict[str, float]:
    """Seconds of every step of a new worker."""
    found = {name: imported(statement) for name, statement in IMPORTS.items()}
    image = cine_stack(PHANTOM).image
    last = time.perf_counter()
    client = WorkerClient([sys.executable, "-m", "csam", "worker"], env=worker_environment())

    def step(name: str, work: Callable[[], object]) -> None:
        nonlocal last
        work()
        now = time.perf_counter()
        found[name], last = now - last, now

    try:
        step("worker answers, torch imported", client.hello)
        step("model loaded, warm, its speed measured", lambda: client.run({"type": "load", "model": str(MODEL)}))
        step("first run", lambda: client.segment([image], MODEL))
        step("second run", lambda: client.segment([image], MODEL))
    finally:
        client.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    lines = [time_line() for _ in range(parser.parse_args().repeats)]
    rows = [{"step": name, "seconds": [line[name] for line in lines]} for name in lines[0]]
    at = 0.0
    for row in rows:
        row["median"] = statistics.median(row["seconds"])
        at += 0 if row["step"] in IMPORTS else row["median"]
        place = "" if row["step"] in IMPORTS else f"at {at:6.2f} s"
        print(f"{row['step']:46s} {row['median']:7.2f} s   {place}")
    OUT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
