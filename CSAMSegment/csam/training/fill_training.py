"""The training of the network that fills the slices between drawn ones.

Step: train.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..image.files import replace_file
from ..interactive.inputs import CHANNELS
from ..interactive.loss import fill_loss
from ..interactive.predict import autocast
from ..network.networks import CSAMUNet
from .augment import Example, ahead
from .fill_examples import fill_example


@dataclass(frozen=True)
class FillPlan:
    """steps: each of ``batch`` examples. seed: same seed, same examples."""

    steps: int = 4000
    batch: int = 2
    learning_rate: float = 2e-3
    num_slices: int = 10
    num_levels: int = 5
    base_channels: int = 16
    ema: float = 0.995
    seed: int = 0


SAVED_EVERY = 200
"""Steps from one checkpoint to the next."""


def new_network(plan: FillPlan) -> CSAMUNet:
    """A CSAM U-Net that adds nothing to the interpolation yet: its last layer is zero."""
    torch.manual_seed(plan.seed)
    network = CSAMUNet(CHANNELS, 1, plan.num_levels, plan.base_channels, plan.num_slices, uncertainty=False)
    torch.nn.init.zeros_(network.conv_final.weight)
    torch.nn.init.zeros_(network.conv_final.bias)
    return network


def train_fill(cases: Sequence[Example], plan: FillPlan, out: Path, log=print) -> CSAMUNet:
    """Trains, or goes on from ``out``/checkpoint.pt; returns the averaged network. Raises InputError where that is of
    another plan."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "plan.json").is_file() and json.loads((out / "plan.json").read_text("utf-8")) != asdict(plan):
        raise InputError(f"{out} holds a training of another plan. Choose another --out, or remove it.")
    network = new_network(plan)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(plan.ema)
    )
    optimizer = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, plan.steps, pct_start=0.1)
    first, checkpoint = 0, out / "checkpoint.pt"
    parts = {"network": network, "average": average, "optimizer": optimizer, "schedule": schedule}
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        first = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])

    def make(step: int):
        random = np.random.default_rng((plan.seed, step))
        return [fill_example(random, cases, plan.num_slices) for _ in range(plan.batch)]

    recent, started = [], time.monotonic()
    for step, examples in enumerate(ahead(make, first, plan.steps), first):
        network.train()
        optimizer.zero_grad(set_to_none=True)
        for example in examples:
            with autocast(torch.device("cpu")):
                change = network(example.x)[:, 0].float()
            loss = fill_loss(change + example.prior, example.truth, example.weight)
            (loss / plan.batch).backward()
            recent.append((loss.item(), fill_loss(example.prior, example.truth, example.weight).item()))
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        if (step + 1) % 50 == 0:
            ours, prior = np.mean(recent, 0)
            row = {"step": step + 1, "loss": ours, "interpolation": prior, "seconds": time.monotonic() - started}
            log(json.dumps({k: round(float(v), 4) for k, v in row.items()}), flush=True)
            recent = []
        if (step + 1) % SAVED_EVERY == 0 or step + 1 == plan.steps:
            state = {name: part.state_dict() for name, part in parts.items()} | {"step": step + 1}
            torch.save(state, out / "checkpoint.tmp")
            replace_file(out / "checkpoint.tmp", checkpoint)
            torch.save(average.module.state_dict(), out / "weights.pt")
            (out / "plan.json").write_text(json.dumps(asdict(plan), indent=1), "utf-8")
    return average.module.eval()
