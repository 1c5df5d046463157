"""``csam train --progress json`` without torch, for tests of the panel: same files, events and orders, made figures.

With --send-model its files are in the folder "there", as if on another computer. Its first argument is a folder; the
file "trainer" in it says how it behaves:

quick    20 steps at once (also when there is no such file)
slow     a step every 50 ms, 2000 of them
faulty   the data set has faults
bare     packages are missing, until there is a file "installed"
"""

import contextlib
import csv
import hashlib
import json
import sys
import time
from pathlib import Path

from csam.cli import training_lines
from csam.cli.files import json_object
from csam.errors import Cancelled, InputError
from csam.image.intensity import Intensity
from csam.model import Channel, Label, Model, TrainedOn, Weights
from csam.process import sent_model
from csam.result import Progress

FAULTS = "DATA cannot be used as it is:\n  p1: its labels hold the values [7]\n  p2: p2_0000.nii.gz is missing"
EVERY = 5
"""Steps between two rows of the log."""


def main(folder: Path, arguments: list[str]) -> int:
    path = folder / "trainer"
    mode = path.read_text() if path.is_file() else "quick"
    missing = ["monai", "scikit-learn"] if mode == "bare" and not (folder / "installed").exists() else []
    training_lines.missing_packages = lambda: missing
    with open(folder / "trainer-calls", "a") as file:
        file.write(json.dumps(arguments) + "\n")
    if arguments[0] == "add":  # as it is
        from csam.cli import main as csam

        return csam(arguments)
    try:
        with training_lines.lines() as told:
            if mode == "faulty":
                raise InputError(FAULTS)
            if "--dry-run" in arguments:
                decisions = [["num_slices", 12, "stacks have 12 slices"], ["steps", 4000, "as asked for"]]
                names = {"training": ["p1", "p2"], "validation": ["p3"]}
                told.tell("plan", decisions=decisions, notes=["no scan shows myocardium"], anew=[], **names)
                return 0
            sending = "--send-model" in arguments
            out = folder / "there" if sending else Path(arguments[arguments.index("--out") + 1])
            out.mkdir(exist_ok=True)
            if (out / "checkpoint.pt").exists():
                told.tell("resumes")
            train(told, out, arguments, 2000 if mode == "slow" else 20, 0.05 if mode == "slow" else 0.0)
            end(told, out / "model", sending)
    except Cancelled:
        return 130
    except InputError:
        return 2
    return 0


def end(told, model: Path, sending: bool) -> None:
    sent = {}
    if sending:
        archive = sent_model.archive_of(model)
        for piece in sent_model.pieces(archive):
            told.tell("model", **piece)
        sent["sha256"] = sent_model.fingerprint(archive)
    told.tell("done", model=str(model), **sent)


def train(told, out: Path, arguments: list[str], steps: int, seconds: float) -> None:
    checkpoint, rows = out / "checkpoint.pt", []
    if checkpoint.exists():
        rows = json.loads(checkpoint.read_text())
        told.log(f"Going on from step {rows[-1]['step']}.")
    (out / "settled.json").write_text(json.dumps({"steps": steps}))
    step = rows[-1]["step"] if rows else 0
    while step < steps:
        if told.orders.stop():
            raise Cancelled(f"Stopped at step {step}; the same command goes on from there.")
        if step and told.orders.keep():
            break
        time.sleep(seconds)
        step += 1
        told.progress(Progress(step / steps, "training, loss 1", (steps - step) * 0.05))
        if step % EVERY == 0:
            rows.append({"step": step, "loss": 1 / step, "validation_dice": 1 - 1 / step if step % 10 == 0 else ""})
            told.recorded({**rows[-1], "steps": steps})
            with open(out / "log.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
                writer.writerows(rows)
            part = checkpoint.with_suffix(".tmp")
            part.write_text(json.dumps(rows))
            part.replace(checkpoint)
    told.progress(Progress(1.0, "calibrating", None))
    model_of(json_object(arguments[arguments.index("--card") + 1])).save(out / "model")


def model_of(card: dict) -> Model:
    data = b"not read by the fake worker"
    return Model(
        name=card["name"],
        version="1.0.0",
        title=card["title"],
        about="Made for tests.",
        architecture={
            "network": "CSAMUNet", "input_channels": 1, "num_classes": 2, "num_levels": 3, "base_channels": 8,
            "num_slices": 12, "semantic": True, "positional": True, "slice": True, "uncertainty": True, "rank": 5,
        },
        channels=(Channel("image", "MR"),),
        labels=(Label(1, "right ventricle", (200, 40, 40)),),
        in_plane_spacing=2.0,
        field_of_view=(64, 64),
        slice_axis="auto",
        intensity=Intensity("volume"),
        trained_on=TrainedOn((8.0, 8.0), (1.0, 5.0), (4, 12), 2),
        metrics={"validation": {"cases": 1, "dice": {"right ventricle": 0.875}, "dice_lowest": 0.875}},
        sha256=hashlib.sha256(data).hexdigest(),
        weights=Weights(data=data),
    )  # fmt: skip


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
