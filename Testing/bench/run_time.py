"""Seconds, GFLOP and peak memory of a whole run: the product, an older checkout of it, and its rivals, on one stack.

    python Testing/bench/run_time.py --stacks demo --repeats 5 --base ../an-older-checkout

Every competitor is a process of its own, warm, and they take turns: ratios within one run hold on a shared machine, and
those of processor time best.
GFLOP are counted by torch in one run on one thread. A network's weights do not change its time: the rivals' are fresh.

nnU-Net is its own code, planner, preprocessing, predictor and export, or it is left out and the table says so. Its
package asks for torchvision, which replaces a pinned torch, and needs none of it:

    pip install --constraint constraints.txt -e .[bench]
    pip install --no-deps nnunetv2 dynamic-network-architectures
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
OUT = Path("Resources/Benchmarks/run-time.json")
STACKS = {
    # name: size (i, j, k), in-plane spacing, classes; those of two classes are phantoms. tiny shows that all works
    "tiny": ((64, 64, 10), 1.25, 2),
    "demo": None,
    "12x256x256": ((256, 256, 12), 1.25, 2),
    "24x320x320": ((320, 320, 24), 1.0, 5),
    "40x512x512": ((512, 512, 40), 1.0, 5),
}
COMPETITORS = {
    "product": "the product, its defaults",
    "base": "the product at --base",
    "nnunet-2d": "nnU-Net 2d, mirroring (its default)",
    "nnunet-2d-plain": "nnU-Net 2d, no mirroring",
    "nnunet-3d": "nnU-Net 3d_fullres, mirroring (its default)",
    "nnunet-3d-plain": "nnU-Net 3d_fullres, no mirroring",
    "dynunet": "MONAI DynUNet, sliding window",
    "published": "CSAM as published, 8 full passes",
}


class Competitor:
    """A warm process that runs once whenever it is told to."""

    def __init__(self, name: str, stack: str, base: Path | None):
        package = (base if name == "base" else HERE.parents[2]) / "CSAMSegment"
        path = os.pathsep.join([str(package), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        program = [sys.executable, str(HERE.with_name("run_time_rivals.py")), name, stack]
        self.process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
        )

    def ask(self, what: str) -> dict | None:
        """What the process answers to "run", "count" or "peak"; None when it has ended."""
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                if line.startswith("answer "):
                    return json.loads(line.removeprefix("answer "))
        except OSError:
            pass
        return None

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(stack: str, names: list[str], repeats: int, base: Path | None, count: bool = True) -> list[dict]:
    """A row a competitor, in their order; one that cannot run here has no seconds."""
    rows = {name: {"stack": stack, "competitor": name, "seconds": [], "cpu_seconds": []} for name in names}
    there = {name: Competitor(name, stack, base) for name in names}
    for name in names:
        warm = there[name].ask("run")
        rows[name] |= (there[name].ask("count") if warm and count else None) or {}
    for _ in range(repeats):
        for name in names:
            answer = there[name].ask("run")
            for kind in ("seconds", "cpu_seconds"):
                rows[name][kind] += [answer[kind]] if answer else []
    for name in names:
        rows[name] |= there[name].ask("peak") or {}
        there[name].close()
    for kind, median, ratio in (
        ("seconds", "median", "times_the_first"),
        ("cpu_seconds", "cpu_median", "cpu_times_the_first"),
    ):
        first = statistics.median(rows[names[0]][kind] or [float("nan")])
        for row in rows.values():
            if row[kind]:
                row[median] = statistics.median(row[kind])
                row[ratio] = row[median] / first
    return list(rows.values())


def table(rows: list[dict]) -> str:
    lines = [
        f"{'stack':12s} {'':44s} {'seconds':>8s} {'ratio':>7s} {'CPU s':>8s} {'ratio':>7s} {'GFLOP':>8s} {'GiB':>6s}"
    ]
    for row in rows:
        words = COMPETITORS[row["competitor"]]
        if not row["seconds"]:
            lines.append(f"{row['stack']:12s} {words:44s} cannot run here")
            continue
        gflop = f"{row['gflop']:8.0f}" if "gflop" in row else f"{'-':>8s}"
        numbers = f"{row['median']:8.2f} {row['times_the_first']:7.2f} "
        numbers += f"{row['cpu_median']:8.2f} {row['cpu_times_the_first']:7.2f} {gflop} {row['gib']:6.2f}"
        lines.append(f"{row['stack']:12s} {words:44s} {numbers}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stacks", nargs="+", choices=STACKS, default=list(STACKS)[1:])
    parser.add_argument("--competitors", nargs="+", choices=COMPETITORS, default=list(COMPETITORS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--base", type=Path, help="another checkout, such as a worktree of commit 84c8fee")
    parser.add_argument("--no-count", action="store_true", help="leave out GFLOP, a slow run each")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    base = options.base and options.base.resolve()
    names = [name for name in options.competitors if name != "base" or base]
    rows = []
    for stack in options.stacks:
        rows += measure(stack, names, options.repeats, base, not options.no_count)
        print(table(rows[-len(names) :]), flush=True)
        known = json.loads(options.out.read_text()) if options.out.exists() else []
        new = {(row["stack"], row["competitor"]) for row in rows}
        known = [row for row in known if (row["stack"], row["competitor"]) not in new]
        options.out.write_text(json.dumps(known + rows, indent=1).replace("NaN", "null") + "\n")


if __name__ == "__main__":
    main()
