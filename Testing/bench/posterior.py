"""Twenty samples for the price of a few: what a sample costs, and how many are needed.

    python Testing/bench/posterior.py                     both sizes, both networks, all parts: hours on two busy cores
    python Testing/bench/posterior.py --parts cost --size 20x128x128 --networks CSAMUNet
    python Testing/bench/posterior.py --quick             a small size, few repeats

Prints tables and writes out/bench/posterior.json. "Plain" is the published way: the whole network, as it stands, once a
sample. Times are medians of interleaved repeats and their ratios, because the machine may be shared; with --threads 1
it is the processor's own time, which others who use it do not change. All samples of a run cost the same; with
--timed N, runs of N and of 1 sample are timed and twenty extrapolated from them. The reference of the maps' error is
2,000 samples in mirrored pairs through ``csam.posterior``; "logits differ by" shows that it equals the plain way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import SimpleITK as sitk
import torch
from torch.utils.flop_counter import FlopCounterMode

from csam import phantom
from csam.image.geometry import AXES
from csam.image.stack import stack_of
from csam.model import Model
from csam.model.convert import convert
from csam.network import networks
from csam.network.posterior import GatePosterior
from csam.pipeline import input_check
from csam.pipeline.segment import Options, segment
from csam.pipeline.sliding_window import Sampling

ROOT = Path(__file__).parents[2]
OUT = Path("out/bench/posterior.json")
SHIPPED = ROOT / "CSAMSegment/Resources/Models/cardiac-lv"
SAMPLES, CLASSES = 20, 3
PARTS = ("cost", "maps", "pipeline", "memory")


def network_and_stack(kind: str, size: tuple[int, int, int], base: int = 32, levels: int = 5):
    torch.manual_seed(0)
    slices, *image = size
    network = getattr(networks, kind)(1, CLASSES, levels, base, num_slices=slices).eval()
    return network, torch.rand(slices, 1, *image)


def seconds(function) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    with torch.inference_mode():
        function()
    return clock() - started


def run(network, x, samples: int, only: range | None = None, rule: str = "antithetic") -> float:
    """Seconds of a run as ``csam.segment`` makes it: network, samples and the reducer that takes them in."""
    sampling = Sampling(network, tuple(x.shape[2:]), samples=samples, rule=rule)
    return seconds(lambda: list(sampling.slabs(x.transpose(0, 1), only)))


def largest_difference(network, x) -> float:
    """Of the logits, between the fast way and the plain one, for one draw of the gates."""
    with torch.inference_mode():
        posterior = GatePosterior(network, x)
        gates = posterior.sample_gates(1, torch.Generator().manual_seed(3))
        plain = posterior.logits([level[0] for level in gates])
        return max(
            float((posterior.sampler(slice(k, k + 1))(gates)[0] - plain[[k]]).abs().max()) for k in (0, len(x) // 2)
        )


def giga_operations(function) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the counter sees its own thread alone
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function()
    torch.set_num_threads(threads)
    return counter.get_total_flops() / 1e9


def cost(kind: str, size: tuple[int, int, int], repeats: int, timed: int) -> dict:
    network, x = network_and_stack(kind, size)
    middle, points = range(len(x) // 2, len(x) // 2 + 1), network.num_levels + 1
    rounds = []
    for repeat in range(repeats):
        plain = seconds(lambda: network(x))
        whole = run(network, x, timed)
        if timed < SAMPLES:
            whole += (SAMPLES - timed) * (whole - run(network, x, 1)) / (timed - 1)
        quadrature, alone = run(network, x, points, rule="quadrature"), run(network, x, SAMPLES, middle)
        rounds.append(
            {
                "plain_pass_s": plain, "samples_s": whole, "quadrature_s": quadrature, "one_slice_s": alone,
                "samples_ratio": whole / (SAMPLES * plain),
                "quadrature_ratio": quadrature / (SAMPLES * plain),
                "one_slice_ratio": alone / whole,
            }
        )  # fmt: skip
        print(f"  {repeat + 1}: " + "  ".join(f"{k} {v:.3f}" for k, v in rounds[-1].items()), flush=True)
    row = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    one, two = (giga_operations(lambda n=n: run(network, x, n)) for n in (1, 2))
    row |= {
        "network": kind,
        "size": "x".join(map(str, size)),
        "repeats": repeats,
        "timed_samples": timed,
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "points": points,
        "logits_difference": largest_difference(network, x),
        "plain_gflop": giga_operations(lambda: network(x)),
        "shared_gflop": 2 * one - two,
        "sample_gflop": two - one,
    }
    return row


def print_costs(rows: list[dict]) -> None:
    head = ("network", "size", "method", "samples", "seconds", "of plain", "GFLOP", "logits differ by")
    print("\n{:16s} {:>10s}  {:22s} {:>7s} {:>9s} {:>8s} {:>8s} {:>16s}".format(*head))
    for r in rows:
        shared, sample, points = r["shared_gflop"], r["sample_gflop"], r["points"]
        lines = (
            ("plain passes", SAMPLES, SAMPLES * r["plain_pass_s"], 1.0, SAMPLES * r["plain_gflop"], ""),
            ("csam.posterior", SAMPLES, r["samples_s"], r["samples_ratio"], shared + SAMPLES * sample,
             f"{r['logits_difference']:.1e}"),
            ("quadrature, for maps", points, r["quadrature_s"], r["quadrature_ratio"], shared + points * sample, ""),
        )  # fmt: skip
        for method, samples, s, ratio, gflop, differs in lines:
            start = f"{r['network']:16s} {r['size']:>10s}  {method:22s} {samples:7d}"
            print(f"{start} {s:9.1f} {ratio:8.3f} {gflop:8.0f} {differs:>16s}")
        print(f"{'':29s}one slice with {SAMPLES} samples: {r['one_slice_ratio']:.3f} of the time of the whole stack")


def heart(model: Model) -> torch.Tensor:
    """The phantom at the model's spacing: (1, S, h, w)."""
    image = phantom.cine_stack(1, slices=12).image
    axis = input_check.chosen_axis(image, model, "auto")
    return stack_of([image], model.in_plane_spacing, model.intensity, AXES[axis]).values


def map_errors(references: int, repeats: int) -> dict:
    """Root mean square error of the probabilities, where the reference is not certain, on the shipped model."""
    model = Model.load(SHIPPED)
    network, values = model.network("cpu"), heart(model)

    def probabilities(samples: int, rule: str, seed: int) -> torch.Tensor:
        run = Sampling(network, model.field_of_view, samples=samples, seed=seed, rule=rule)
        return torch.cat([slab.mean_probabilities for slab in run.slabs(values)])

    reference = probabilities(references, "antithetic", 2**31)
    undecided = reference.amax(1) < 0.999
    levels = network.num_levels
    methods = [("independent", 20), ("antithetic", 4), ("antithetic", 8), ("antithetic", 20),
               ("quadrature", levels + 1), ("quadrature", 8), ("quadrature", 2 * levels)]  # fmt: skip
    rows = []
    print(f"\n{'rule':14s} {'samples':>7s} {'map error':>10s}   (against {references} samples in mirrored pairs)")
    for rule, samples in methods:
        squares = []
        for seed in range(1 if rule == "quadrature" else repeats):
            difference = probabilities(samples, rule, seed) - reference
            squares.append(float(difference.square().sum(1)[undecided].mean()))
        rows.append({"rule": rule, "samples": samples, "map_error": statistics.mean(squares) ** 0.5})
        print(f"{rule:14s} {samples:7d} {rows[-1]['map_error']:10.5f}", flush=True)
    return {"model": model.name, "reference_draws": references, "repeats": repeats, "rows": rows}


def pipeline(size: tuple[int, int, int], samples: int) -> dict:
    """How much of a run of ``csam.segment`` is neither the network nor its samples: a warm run, base 32, 5 levels."""
    network, x = network_and_stack("CSAMUNet", size)
    labels = [f"structure {k}" for k in range(1, CLASSES)]
    card = {"in_plane_spacing": 1.0, "field_of_view": list(size[1:]), "labels": labels}
    model = convert(network.state_dict(), card)
    image = sitk.GetImageFromArray(x[:, 0].numpy())
    image.SetSpacing((1.0, 1.0, 5.0))
    spent, clock = [], time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    prepare, sampler = GatePosterior.__init__, GatePosterior.sampler

    def timed(function):
        def call(*arguments):
            started = clock()
            result = function(*arguments)
            spent.append(clock() - started)
            return result

        return call

    model.network("cpu")
    with mock.patch.multiple(
        GatePosterior,
        __init__=lambda self, *a: timed(prepare)(self, *a),
        sampler=lambda self, *a: timed(timed(sampler)(self, *a)),
    ):
        started = clock()
        segment(image, model, Options(samples=samples))
        total = clock() - started
    row = {
        "size": "x".join(map(str, size)), "samples": samples, "threads": torch.get_num_threads(),
        "seconds": total, "outside_share": 1 - sum(spent) / total,
    }  # fmt: skip
    print(f"\nsegment(), {row['size']}, {samples} samples: {row['outside_share']:.1%} of the time outside the network")
    return row


MEMORY = """
import json, resource, sys
import torch
from csam import networks
from csam.pipeline.sliding_window import Sampling
from csam.image.stack import stack_of
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GiB, on Linux
kind, size, base, levels, samples, slices = json.loads(sys.argv[1])
torch.manual_seed(0)
network = getattr(networks, kind)(1, 3, levels, base, num_slices=size[0]).eval()
before = peak()
if samples:
    for slab in Sampling(network, tuple(size[1:]), samples=samples).slabs(torch.rand(1, *size), range(slices)):
        pass
else:
    with torch.inference_mode():
        network(torch.rand(size[0], 1, *size[1:]))
print(json.dumps({"before_gib": before, "peak_gib": peak()}))
"""


def memory(kind: str, size, base: int, levels: int, samples: int, slices: int | None = None) -> dict:
    """Peak of a process of its own. slices: so many are decoded, one after the other; all by default."""
    numbers = json.dumps([kind, size, base, levels, samples, slices or size[0]])
    done = subprocess.run([sys.executable, "-c", MEMORY, numbers], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    row = {"network": kind, "size": "x".join(map(str, size)), "base": base, "levels": levels, "samples": samples}
    row |= json.loads(done.stdout.splitlines()[-1])
    print(
        f"{kind:16s} {row['size']:>10s} base {base} levels {levels}  "
        f"{f'{samples} samples' if samples else 'plain pass':>11s}: peak {row['peak_gib']:.2f} GiB, "
        f"of it {row['peak_gib'] - row['before_gib']:.2f} for the run",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--size", nargs="+", default=["20x128x128", "24x320x320"], help="slices x rows x columns")
    parser.add_argument("--networks", nargs="+", default=list(networks.NETWORKS), choices=list(networks.NETWORKS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--timed", type=int, default=SAMPLES, help="samples of a run that is timed")
    parser.add_argument("--references", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--large", action="store_true", help="memory of base 64, 6 levels as well")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.quick:
        options.size, options.repeats, options.references = ["12x64x64"], 3, 100
    torch.set_num_threads(options.threads)
    sizes = [tuple(map(int, size.split("x"))) for size in options.size]
    found = json.loads(options.out.read_text()) if options.out.exists() else {}
    if "cost" in options.parts:
        costs = []
        for size in sizes:
            for kind in options.networks:
                print(f"{kind} {size}", flush=True)
                costs.append(cost(kind, size, options.repeats, options.timed))
        new = {(row["network"], row["size"]) for row in costs}
        found["cost"] = [r for r in found.get("cost", []) if (r["network"], r["size"]) not in new] + costs
        print_costs(costs)
    if "maps" in options.parts:
        found["maps"] = map_errors(options.references, options.repeats)
    if "pipeline" in options.parts:  # on one thread: threads that work at the same time would count twice
        torch.set_num_threads(1)
        found["pipeline"] = [pipeline(size, options.timed) for size in sizes]
    if "memory" in options.parts:
        rows = [memory(k, size, 32, 5, n) for size in sizes for k in options.networks for n in (0, 2, 20)]
        if options.large:
            rows.append(memory("CSAMUNet", (24, 320, 320), 64, 6, 2, slices=4))
        found["memory"] = rows
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
