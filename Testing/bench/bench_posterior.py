"""What does a sample cost? Twenty samples against twenty passes of the whole network, in the same run.

Prints a table and writes out/bench/posterior.json. Ratios of medians of five, interleaved: the machine may be shared.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import torch

from csam.networks import CSAMUNet, CSAMUNetPlusPlus
from csam.posterior import GatePosterior

OUT = Path("out/bench/posterior.json")
SAMPLES, REPEATS = 20, 5


def shared(network, x) -> None:
    posterior = GatePosterior(network, x)
    for _ in range(SAMPLES):
        posterior.logits(posterior.draw())


def whole(network, x) -> None:
    for _ in range(SAMPLES):
        network(x)


def seconds(function, *arguments) -> float:
    started = time.perf_counter()
    with torch.inference_mode():
        function(*arguments)
    return time.perf_counter() - started


def main() -> None:
    rows = []
    print(f"{'network':20s} {'20 passes, s':>13s} {'20 samples, s':>14s} {'ratio':>6s}")
    for kind in (CSAMUNet, CSAMUNetPlusPlus):
        network, x = kind(1, 2, 5, 16, num_slices=12).eval(), torch.rand(12, 1, 128, 128)
        seconds(whole, network, x)
        times = [(seconds(whole, network, x), seconds(shared, network, x)) for _ in range(REPEATS)]
        plain, fast = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(b / a for a, b in times)
        rows.append({"network": kind.__name__, "passes": plain, "samples": fast, "ratio": ratio})
        print(f"{kind.__name__:20s} {plain:13.2f} {fast:14.2f} {ratio:6.2f}", flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
