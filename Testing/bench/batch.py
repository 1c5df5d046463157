"""A folder of 40 phantoms, two of them damaged, through the command line: whole, killed again and again, and over Dask.

    python Testing/bench/batch.py --json batch.json

Once undisturbed in one process; once killed (kill -9) at random moments and started again until it is done; once over a
local Dask cluster of two worker processes, where distributed is installed. Every result is compared by its bits.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from csam.batch.folder import BatchFolder
from csam.batch.pages import PAGE
from csam.batch.row import DONE, FAULT, worst_first
from csam.batch.saved import read_result
from csam.errors import InputError
from csam.image.files import write_image
from csam.phantom import cine_stack

CUT, NO_IMAGE = 11, 27
"""The cases that are damaged: a file that ends early, and text under the name of an image."""
LINE = re.compile(r"^\d+ of \d+, ([^:]+): ", re.MULTILINE)


def name_of(number: int) -> str:
    return f"phantom_{number:02d}"


def make_scans(folder: Path, count: int) -> None:
    """Small phantoms: 6 slices of 96×96 pixels."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{name_of(number)}.nii.gz"
        write_image(cine_stack(7000 + number, slices=6, size=96, spacing=(2.0, 2.0, 8.0)).image, path)
        if number == CUT:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        if number == NO_IMAGE:
            path.write_bytes(b"This is no image.")


def command(scans: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "csam", "segment", str(scans), "--out", str(out), "--device", "cpu", *more]


def bits(out: Path) -> dict[str, bytes]:
    """The maps of every result, by their places."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted((out / "cases").rglob("*.nrrd"))}


def half_results(out: Path) -> int:
    """How many folders that count as done cannot be read as a whole result."""
    half = 0
    for place in (out / "cases").glob("[!.]*"):
        try:
            read_result(place)
        except InputError:
            half += 1
    return half


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """What tells a result on disk from one written anew."""
    found = {}
    for path in (out / "cases").glob("[!.]*/report.json"):
        stat = path.stat()
        found[path.parent.name] = stat.st_ino, stat.st_mtime_ns
    return found


def undisturbed(scans: Path, out: Path) -> dict:
    before, start = os.times(), time.monotonic()
    said = subprocess.run(command(scans, out), capture_output=True, text=True, check=True).stdout
    after = os.times()
    rows = worst_first(BatchFolder(out).rows())
    done = [row for row in rows if row.state == DONE]
    dice = [row.expected_dice for row in done if row.expected_dice is not None]
    return {
        "results": len(done),
        "faults": {row.case: row.fault.replace(f"{scans}/", "") for row in rows if row.state == FAULT},
        "ranked_worst_first": dice == sorted(dice),
        "lowest_and_highest_expected_dice": [round(dice[0], 3), round(dice[-1], 3)],
        "lines_said": len(LINE.findall(said)),
        "page_bytes_a_case": round((out / PAGE).stat().st_size / len(rows)),
        "processor_seconds": round(after.children_user - before.children_user, 1),
        "seconds": time.monotonic() - start,
    }


def killed(scans: Path, out: Path, kills: int, seed: int, seconds: float) -> dict:
    """The same, killed ``kills`` times at random moments before it may end. seconds: that a case takes."""
    chance, said, seen, repeated, lost, half = random.Random(seed), [], {}, 0, 0, 0
    done_at = []
    for number in range(kills + 1):
        run = subprocess.Popen(command(scans, out), stdout=subprocess.PIPE, text=True)
        if number < kills:
            while run.poll() is None and len(stamps(out)) < len(seen) + 2:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 2) * seconds)
            run.kill()
        text = run.communicate()[0]
        said += [name for name in LINE.findall(text) if name not in (name_of(CUT), name_of(NO_IMAGE))]
        now = stamps(out)
        repeated += sum(now.get(name, stamp) != stamp for name, stamp in seen.items())
        lost += sum(name not in now for name in seen)
        half += half_results(out)
        seen = now
        done_at.append(len(now))
    return {
        "kills": kills,
        "done_after_each": done_at,
        "results": len(seen),
        "said_twice": len(said) - len(set(said)),
        "written_again": repeated,
        "lost": lost,
        "half_results_that_counted": half,
        "left_over": len([*(out / "cases").glob(".*")]),
    }


def over_dask(scans: Path, out: Path) -> dict | None:
    if importlib.util.find_spec("distributed") is None:
        return None
    from distributed import LocalCluster

    with LocalCluster(2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        subprocess.run(
            command(scans, out, "--scheduler", cluster.scheduler_address), stdout=subprocess.DEVNULL, check=True
        )
    rows = [*BatchFolder(out).rows()]
    return {
        "workers": 2,
        "results": sum(row.state == DONE for row in rows),
        "faults": sum(r.state == FAULT for r in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_scans(place / "scans", options.count)
        figures = {"cases": options.count, "undisturbed": undisturbed(place / "scans", place / "whole")}
        seconds = figures["undisturbed"].pop("seconds") / options.count  # of the clock: for the kills alone
        report("undisturbed", figures["undisturbed"])
        figures["killed"] = killed(place / "scans", place / "killed", options.kills, options.seed, seconds)
        figures["killed"]["same_bits"] = bits(place / "killed") == bits(place / "whole")
        report("killed", figures["killed"])
        figures["dask"] = over_dask(place / "scans", place / "dask")
        if figures["dask"] is not None:
            figures["dask"]["same_bits"] = bits(place / "dask") == bits(place / "whole")
            report("dask", figures["dask"])
        else:
            print("dask: distributed is not installed")
        figures["maps_compared"] = len(bits(place / "whole"))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def report(title: str, figures: dict) -> None:
    print(title, *(f"  {name.replace('_', ' ')}: {value}" for name, value in figures.items()), sep="\n", flush=True)


if __name__ == "__main__":
    main()
