"""One step of a training, and everything that has to survive until the next.

Step: train.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..image.files import replace_file
from ..network.number_format import bfloat16_in_hardware
from .augment import Example
from .distributed import Group
from .loss import Loss
from .muon import optimizer
from .plan import Plan


@dataclass
class Trainer:
    """Network, optimiser, averaged and best weights, and the log of a training at one step; saves and restores itself.

    held: as ``csam.model.within`` gives it. history: rows of the log. recent: losses since its last row. seconds: spent
    so far, over all runs.
    last_dice, best_dice, best_step: of the averaged network on the validation patients; best: of what is kept.
    """

    plan: Plan
    network: nn.Module
    device: str
    group: Group = field(default_factory=Group)
    held: Mapping[int, Sequence[int]] | None = None
    step: int = field(default=0, init=False)
    history: list[dict] = field(default_factory=list, init=False)
    recent: list[float] = field(default_factory=list, init=False)
    seconds: float = field(default=0.0, init=False)
    last_dice: float = field(default=-1.0, init=False)
    best_dice: float = field(default=-1.0, init=False)
    best_step: int = field(default=0, init=False)

    def __post_init__(self):
        plan, network = self.plan, self.network
        self.precision = choose_precision(plan.precision, self.device)
        width = plan.base_channels if plan.optimizer == "muon" else None
        self.optimizer = optimizer(network, width, plan.learning_rate, plan.weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: rate(self.plan, step))
        self.average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=running_average(plan.ema))
        self.best: dict[str, Tensor] = {}
        self.share = self.group.share(plan.batch)
        # The UNet++ has a CSAM that takes no part, as published.
        self.objective = self.group.wrap(
            Loss(network, plan.samples_per_step, self.held), self.device, unused=plan.network == "CSAMUNetPlusPlus"
        )

    def train_step(self, *examples: Example) -> tuple[float, list[float]]:
        """One step on this process's share of the batch: its stacks go through one by one, their gradients add up.

        Returns the batch's loss over all processes, and the mean spread of every level's gate logits. Raises InputError
        when the loss or its gradient is not finite, before a checkpoint holds such weights.
        """
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        measured = 0.0
        # Processes average their gradients; each has the sum over its own share of the batch.
        batch = len(examples) if self.group.size == 1 else self.plan.batch
        weight = self.group.size / batch
        for position, example in enumerate(examples):
            torch.manual_seed(self._sample_seed(self.share[position] if position < len(self.share) else position))
            x = example.values.transpose(0, 1).contiguous().to(self.device)
            truth = example.labels[:, None].to(self.device)
            last = position + 1 == len(examples)
            wait = nullcontext() if last or self.group.size == 1 else self.objective.no_sync()
            mixed = self.precision == "bfloat16"
            with wait:
                with torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=mixed):
                    loss, spread = self.objective(x, truth, example.unlabelled)
                (weight * loss).backward()
            measured = measured + torch.cat((loss.detach()[None], spread))
        length = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.average.update_parameters(self.network)
        self.step += 1
        loss, *spreads = (self.group.sum(measured) / batch).tolist()
        if not math.isfinite(loss + length.item()):
            raise InputError(
                f"The loss is {loss:g} and its gradient {length.item():g} at step {self.step}: the training failed. "
                "The last checkpoint is kept; train anew, into another --out, with a learning_rate below "
                f"{self.plan.learning_rate:g}."
            )
        self.recent.append(loss)
        return loss, spreads

    def _sample_seed(self, item: int) -> int:
        """The same for an item of a step, whichever process has it."""
        return int(np.random.SeedSequence((self.plan.seed, self.step, item)).generate_state(1)[0])

    def averaged_network(self) -> nn.Module:
        return self.average.module.eval()

    def validated(self, dice: float) -> None:
        """Keeps the averaged weights if they are the best so far, or the plan wants the last ones."""
        self.last_dice = dice
        if dice > self.best_dice or self.plan.weights == "last":
            self.best_dice, self.best_step = dice, self.step
            self.best = {name: value.detach().cpu().clone() for name, value in self.average.module.state_dict().items()}

    def best_network(self) -> nn.Module:
        """The averaged network with the best weights seen at a validation; with the last ones if there was none."""
        if self.best:
            self.average.module.load_state_dict(self.best)
        return self.averaged_network()

    @property
    def finished(self) -> bool:
        """All steps done, or too many validations in a row that were no better than the best."""
        return self.step >= self.plan.steps or self.stalled

    @property
    def stalled(self) -> bool:
        validations = self.step // self.plan.validate_every - self.best_step // self.plan.validate_every
        return 0 < self.plan.patience <= validations and self.step % self.plan.validate_every == 0

    _PARTS = ("network", "optimizer", "schedule", "average")
    _VALUES = ("step", "precision", "history", "recent", "seconds", "last_dice", "best_dice", "best_step", "best")

    def state(self) -> dict:
        """Everything; ``restore`` takes it."""
        parts = {part: getattr(self, part).state_dict() for part in self._PARTS}
        return parts | {name: getattr(self, name) for name in self._VALUES} | {"held": self._held}

    @property
    def _held(self) -> dict[int, list[int]]:
        return {outer: list(values) for outer, values in (self.held or {}).items()}

    def save(self, path: Path) -> None:
        """Writes a checkpoint; a crash while writing leaves the one before. Raises InputError when it cannot be."""
        temporary = path.with_suffix(".tmp")
        try:
            torch.save(self.state(), temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            replace_file(temporary, path)
        except (RuntimeError, OSError) as error:  # torch's writer tells of a full disk by the former
            with suppress(OSError):
                temporary.unlink()
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"The checkpoint {path} of step {self.step} cannot be written ({reason}). Where its disk is full, "
                "make room; the same command then continues from the checkpoint before."
            ) from error

    def restore(self, path: Path) -> None:
        """Goes on from a checkpoint, in its precision: another would round otherwise."""
        self.restore_state(read_checkpoint(path))

    def restore_state(self, state: dict) -> None:
        """Raises InputError when the optimiser is another version's, or when other structures lay inside others."""
        ours, theirs = (
            [len(g["params"]) for g in o["param_groups"]] for o in (self.optimizer.state_dict(), state["optimizer"])
        )
        if ours != theirs:
            raise InputError("The checkpoint is of another version and cannot be continued. Remove it to start again.")
        if state.get("held", self._held) != self._held:
            raise InputError(
                "This training began with another card: its structures did not lie inside each other as they do now. "
                'Go on with the "inside" of that card, or choose another --out.'
            )
        for part in self._PARTS:
            getattr(self, part).load_state_dict(state[part])
        for name in self._VALUES:
            setattr(self, name, state[name])


def read_checkpoint(path: Path) -> dict:
    """What ``Trainer.restore_state`` takes. Raises InputError when the file is no checkpoint of this version."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch.load raises whatever its reader met, and advises to trust the file
        raise InputError(f"{path} is empty or damaged and cannot be continued. Remove it to start again.") from error
    if not isinstance(state, dict) or not {*Trainer._PARTS, *Trainer._VALUES} <= state.keys():
        raise InputError(f"{path} is of another version and cannot be continued. Remove it to start again.")
    return state


def running_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """How AveragedModel takes up a step: its decay rises to ``decay``, so that few steps do not leave the average at
    the weights that it began with, of which 0.998 keeps 61 % over 250 steps. The rise is TensorFlow's,
    https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage (num_updates).
    """

    def take_up(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        rising = (1 + int(count)) / (10 + int(count))
        torch.optim.swa_utils.get_ema_multi_avg_fn(min(decay, rising))(averaged, current, count)

    return take_up


def rate(plan: Plan, step: int) -> float:
    """The factor on the learning rate: a linear warm-up, then a cosine or a power of 0.9 down to zero."""
    warm_up = max(1, min(100, plan.steps // 10))
    if step < warm_up:
        return 0.05 + 0.95 * step / warm_up
    left = max(0.0, 1 - (step - warm_up) / max(1, plan.steps - warm_up))
    return left**0.9 if plan.rate == "polynomial" else 0.5 * (1 - math.cos(math.pi * left))


def choose_precision(wanted: str, device: str) -> str:
    """ "float32" or "bfloat16" for the plan's wish; "auto" is bfloat16 where the device computes it in hardware.

    There a step takes two thirds of the time of float32.
    """
    if wanted != "auto":
        return wanted
    return "bfloat16" if device.startswith("cuda") or bfloat16_in_hardware(device) else "float32"
