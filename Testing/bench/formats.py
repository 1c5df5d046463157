"""Number formats side by side: seconds of processor time and the change of the probabilities, on this machine.

    python Testing/bench/formats.py --out formats.json

For each format, one tile of the model's own size with the default run's samples, in turns; the median of the repeats.
``csam.network.number_format`` decides by the hardware and by the change alone: that a format pays is shown here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

import csam
from csam.model import Model
from csam.network.number_format import BOUND, bfloat16_in_hardware, change, format_for
from csam.network.posterior import sample_logits
from csam.result import Options

SHIPPED = Path(csam.__file__).resolve().parents[1] / "Resources/Models/cardiac-lv"
FORMATS = (torch.float32, torch.bfloat16, torch.float16)


def seconds(network, x: torch.Tensor) -> float:
    """Processor time of one tile with the default run's samples: beside other programs the clock says less."""
    start = time.process_time()
    for _logits in sample_logits(network, x, Options.samples, torch.Generator().manual_seed(0), "antithetic"):
        pass
    return time.process_time() - start


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=SHIPPED, help="the shipped one")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", default="formats.json")
    options = parser.parse_args()
    model = Model.load(options.model)
    network = model.network("cpu")
    x = torch.rand(model.num_slices, len(model.channels), *model.field_of_view, generator=torch.manual_seed(0))
    taken = {dtype: [] for dtype in FORMATS}
    for _ in range(options.repeats + 1):  # the first one warms up
        for dtype, times in taken.items():
            times.append(seconds(network, x.to(dtype)))
    plain = statistics.median(taken[torch.float32][1:])
    rows = {
        name_of(dtype): {
            "seconds": statistics.median(times[1:]),
            "times_float32": statistics.median(times[1:]) / plain,
            "mean_change_of_probabilities": change(network, "cpu", dtype),
        }
        for dtype, times in taken.items()
    }
    said = {
        "model": model.name,
        "threads": torch.get_num_threads(),
        "bfloat16_in_hardware": bfloat16_in_hardware("cpu"),
    }
    said |= {"bound": BOUND, "chosen": name_of(format_for(network, "cpu")), "formats": rows}
    for name, row in rows.items():
        print(
            f"{name:9s} {row['seconds']:7.2f} s  {row['times_float32']:5.2f}  {row['mean_change_of_probabilities']:.2e}"
        )
    print("chosen:", said["chosen"])
    Path(options.out).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
