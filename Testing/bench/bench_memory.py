"""Peak memory of a run: does it grow with the number of samples, and how much does a large volume take?

Prints a table and writes out/bench/memory.json. Every run is a process of its own; "beyond torch" is its peak minus
what the same process held after importing torch and SimpleITK.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

OUT = Path("out/bench/memory.json")
RUNS = (
    # name, size (i, j, k), classes, base channels, samples
    ("20x256x256, 2 samples", (256, 256, 20), 2, 16, 2),
    ("20x256x256, 20 samples", (256, 256, 20), 2, 16, 20),
    ("60x640x640, 8 classes, 2 samples", (640, 640, 60), 8, 16, 2),
)

PROGRAM = """
import json, resource, sys, time
import numpy as np, SimpleITK as sitk, torch
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB, on Linux
before = peak()
from csam.model.convert import convert
from csam.networks import CSAMUNet
from csam.segment import Options, segment
size, classes, base, samples = json.loads(sys.argv[1])
torch.manual_seed(0)
card = {"in_plane_spacing": 1.0, "field_of_view": [256, 256], "labels": [f"structure {k}" for k in range(1, classes)]}
model = convert(CSAMUNet(1, classes, 5, base, num_slices=12).state_dict(), card)
image = sitk.GetImageFromArray(np.random.default_rng(0).random(size[::-1], np.float32))
image.SetSpacing((1.0, 1.0, 5.0))
started = time.monotonic()
result = segment(image, model, Options(samples=samples))
print(json.dumps({"before": before, "peak": peak(), "seconds": time.monotonic() - started}))
"""


def main() -> None:
    rows = []
    print(f"{'run':36s} {'peak GiB':>9s} {'beyond torch':>13s} {'seconds':>8s}")
    for name, *numbers in RUNS:
        done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(numbers)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        row = {"run": name, **json.loads(done.stdout.splitlines()[-1])}
        rows.append(row)
        print(f"{name:36s} {row['peak']:9.2f} {row['peak'] - row['before']:13.2f} {row['seconds']:8.1f}", flush=True)
    print(f"20 samples against 2: peak {rows[1]['peak'] / rows[0]['peak']:.3f} times")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
