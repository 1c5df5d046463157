"""Training: ``python -m csam train DATASET --out DIR``.

A step sees one stack of slices: the encoder runs once, the decoder once for each of several draws of the slice gates
(reparameterised, so that their distribution learns), the loss is the mean of cross-entropy + Dice over the draws.
Everything random depends on (seed, step) alone and every checkpoint is whole, so that a killed run goes on as if
nothing had happened.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from .augment import Augmenter, Example
from .dataset import Case, read_dataset, split
from .devices import choose_device
from .errors import Cancelled, InputError
from .model import Model
from .networks import build
from .plan import Plan
from .posterior import GatePosterior
from .result import Progress, ProgressCallback
from .stack import resize, stack_of
from .uncertainty import dice

LOG_EVERY = 20


def load_example(case: Case, plan: Plan) -> Example:
    """One case at the plan's spacing and orientation, as inference will see it."""
    images, truth = case.read()
    stack = stack_of(images, plan.in_plane_spacing, plan.normalisation, plan.slice_axis)
    labels = stack.orientation.to_stack(sitk.GetArrayFromImage(truth))
    size = stack.values.shape[-2:]
    # The class whose coverage of the new pixel is largest: a nearest neighbour would move the border.
    shares = [resize(torch.from_numpy((labels == v).astype(np.float32)), size) for v in range(int(labels.max()) + 1)]
    return Example(stack.values, torch.stack(shares).argmax(0).to(torch.uint8))


@dataclass
class Trainer:
    """Network, optimiser and averaged weights at one step of a training; saves and restores itself."""

    plan: Plan
    network: torch.nn.Module
    device: str

    def __post_init__(self):
        from monai.losses import DiceCELoss

        plan = self.plan
        self.step = 0
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), plan.learning_rate, weight_decay=plan.weight_decay
        )
        warm_up = max(1, min(100, plan.steps // 10))
        self.schedule = torch.optim.lr_scheduler.SequentialLR(
            self.optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(self.optimizer, 0.05, total_iters=warm_up),
                torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, max(1, plan.steps - warm_up)),
            ],
            [warm_up],
        )
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.ema)
        )
        self.loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
        self.precision = choose_precision(plan.precision, self.device)

    def train_step(self, example: Example) -> tuple[float, list[float]]:
        """One step on one stack. Returns the loss and the mean spread of every level's gate logits."""
        self.network.train()
        torch.manual_seed(self.plan.seed * 1_000_003 + self.step)
        x = example.values.transpose(0, 1).contiguous().to(self.device)
        truth = example.labels[:, None].to(self.device)
        mixed = self.precision == "bfloat16"
        with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=mixed):
            posterior = GatePosterior(self.network, x)
            outputs = [posterior.logits(posterior.draw()) for _ in range(self.plan.draws)]
        heads = [head.float() for out in outputs for head in (out if isinstance(out, list) else [out])]
        loss = sum(self.loss(head, truth) for head in heads) / len(heads)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        self.step += 1
        spreads = [d.variance.sqrt().mean().item() for d in posterior.distributions if d is not None]
        return loss.item(), spreads

    def averaged_network(self) -> torch.nn.Module:
        return self.average.module.eval()

    _PARTS = ("network", "optimizer", "schedule", "average")

    def save(self, path: Path) -> None:
        """Writes a checkpoint; a crash while writing leaves the one before."""
        state = {part: getattr(self, part).state_dict() for part in self._PARTS}
        temporary = path.with_suffix(".tmp")
        torch.save(state | {"step": self.step, "precision": self.precision}, temporary)
        os.replace(temporary, path)

    def restore(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        for part in self._PARTS:
            getattr(self, part).load_state_dict(state[part])
        self.step = state["step"]
        self.precision = state["precision"]  # of the machine it began on: another would round otherwise


def choose_precision(wanted: str, device: str) -> str:
    """ "float32" or "bfloat16" for the plan's wish; "auto" is bfloat16 where the device computes it in hardware.

    That is CUDA, and processors with AMX tiles or AVX512_BF16: there a step takes two thirds of the time of float32.
    torch tells by private functions, which older versions lack; they then count as a processor without.
    """
    if wanted != "auto":
        return wanted
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported") if device == "cpu" else ()
    fast = device.startswith("cuda") or any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
    return "bfloat16" if fast else "float32"


def train(
    dataset: str | Path,
    out: str | Path,
    plan: Plan = Plan(),
    extra: Sequence[str | Path] = (),
    card: dict | None = None,
    device: str = "auto",
    fine_tune: str | Path | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
    log: Callable[[str], None] = print,
):
    """Trains on a data set in nnU-Net's raw layout and returns the finished, calibrated Model, saved in OUT/model.

    extra: further data sets used for training only, such as phantoms. card: title, about, modality, licence
    and labels with colours and terminology for the model. fine_tune: a model of the same architecture to start from.
    OUT gets plan.json, split.json, log.csv, checkpoint.pt and model/. A run that was stopped goes on from its last
    checkpoint. Raises InputError for a data set that cannot be used or an OUT that holds another training, Cancelled
    when cancelled() says so.
    """
    out = Path(out)
    data = read_dataset(dataset, plan.patient_pattern)
    further = [read_dataset(folder) for folder in extra]
    training, validation = split(data.patients, plan.validation_patients, plan.split_seed)
    _claim(out, plan, training, validation)
    device = choose_device(device)
    from .calibrate import assemble, finish  # heavy: the whole pipeline

    train_cases = [c for c in data.cases if c.patient in training]
    validation_cases = [c for c in data.cases if c.patient in validation]
    examples = [load_example(case, plan) for case in train_cases]
    extra_examples = [load_example(case, plan) for folder in further for case in folder.cases]
    log(
        f"{len(examples)} training scans of {len(training)} patients, {len(extra_examples)} further ones, "
        f"{len(validation_cases)} validation scans of {len(validation)} patients: {', '.join(validation)}"
    )
    torch.manual_seed(plan.seed)
    network = build(plan.architecture(len(data.channels), len(data.labels) + 1))
    assemble(network, data, plan, train_cases[:1], card or {}).check()  # now, not after hours of training
    start = None if fine_tune is None else _start_from(fine_tune, network)
    network = network.to(device)
    trainer = Trainer(plan, network, device)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        trainer.restore(checkpoint)
        log(f"Going on from step {trainer.step}.")
    augment = Augmenter(plan.num_slices, plan.field_of_view, plan.seed, plan.empty_slices)
    watch = [load_example(case, plan) for case in validation_cases]
    started, first = time.monotonic(), trainer.step
    losses: list[float] = []
    while trainer.step < plan.steps:
        if cancelled and cancelled():
            trainer.save(checkpoint)
            raise Cancelled(f"Stopped at step {trainer.step}; the same command goes on from there.")
        use_extra = extra_examples and np.random.default_rng((plan.seed, trainer.step, 1)).random() < plan.extra_share
        loss, spreads = trainer.train_step(augment(extra_examples if use_extra else examples, trainer.step))
        losses.append(loss)
        done = trainer.step == plan.steps
        seconds = time.monotonic() - started
        if trainer.step % LOG_EVERY == 0 or done:
            watched = None
            if trainer.step % plan.validate_every == 0 or done:
                watched = float(np.mean([quick_dice(trainer.averaged_network(), e, plan, device) for e in watch]))
            row = {
                "step": trainer.step,
                "loss": round(float(np.mean(losses)), 5),
                "learning_rate": trainer.schedule.get_last_lr()[0],
                "seconds": round(seconds, 1),
                "validation_dice": "" if watched is None else round(watched, 4),
                "gate_spread": " ".join(f"{s:.3f}" for s in spreads),
            }
            _append(out / "log.csv", row)
            losses = []
            if watched is not None or trainer.step % (5 * LOG_EVERY) == 0:
                log(
                    f"step {row['step']}/{plan.steps}  loss {row['loss']}  Dice {row['validation_dice'] or '-'}  "
                    f"gate spread {row['gate_spread']}  {row['seconds']:.0f} s"
                )
        if progress:
            left = seconds / (trainer.step - first) * (plan.steps - trainer.step)
            progress(Progress(trainer.step / plan.steps, f"training, loss {loss:.3f}", left))
        if trainer.step % plan.checkpoint_every == 0 or done:
            trainer.save(checkpoint)
    return finish(
        trainer.averaged_network(), data, plan, validation_cases, out, card or {}, extra, start, log, cancelled
    )


@torch.no_grad()
def quick_dice(network, example: Example, plan: Plan, device: str) -> float:
    """Mean foreground Dice at the plan's spacing, gates at their mean, whole slices: a look during training."""
    from .sampling import mean_probabilities

    labels = mean_probabilities(network, example.values, plan.field_of_view, device).argmax(1)
    truth = example.labels.to(labels)
    scores = []
    for value in range(1, network.architecture["num_classes"]):
        a, b = labels == value, truth == value
        if (a | b).any():
            scores.append(dice(a, b))
    return float(np.mean(scores)) if scores else 1.0


def _start_from(path: str | Path, network: torch.nn.Module) -> Model:
    """Copies the weights of a model into the network. Raises InputError when their architectures differ."""
    model = Model.load(path)
    wrong = [key for key, value in network.architecture.items() if model.architecture[key] != value]
    if wrong:
        raise InputError(
            f"The model {model.name} has {wrong[0]} {model.architecture[wrong[0]]}; the plan and the data set ask for "
            f"{network.architecture[wrong[0]]}. Change the plan, or start from scratch."
        )
    network.load_state_dict(model.network().state_dict())
    return model


def _claim(out: Path, plan: Plan, training: list[str], validation: list[str]) -> None:
    """Writes the plan and the split, or checks that an earlier run's are the same.

    Other patients would mean another split: the ones to validate on might have been trained on before.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, values in (("plan.json", asdict(plan)), ("split.json", {"training": training, "validation": validation})):
        wanted = json.dumps(values, indent=2) + "\n"
        if (out / name).exists() and (out / name).read_text() != wanted:
            raise InputError(f"{out} holds another training (its {name} differs). Choose another --out, or remove it.")
        (out / name).write_text(wanted)


def _append(path: Path, row: dict) -> None:
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
