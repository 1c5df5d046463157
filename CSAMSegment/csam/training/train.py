"""Training: ``python -m csam train DATASET --out DIR``, or with torchrun on several GPUs or hosts.

A step sees one stack of slices, or several one by one: the encoder runs once, the decoder once for each of several
samples of the slice gates (reparameterised, so that their distribution learns), the loss, ``csam.training.loss``, is
the mean over the samples. Everything random depends on (seed, step, item) alone and every checkpoint is whole, so that
a killed run goes on as if nothing had happened, and several processes do what one would.

Step: train.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from .. import __version__
from ..errors import Cancelled
from ..image.stack import resize_labels, stack_of
from ..image.unknown import UNKNOWN
from ..model import Model
from ..network.devices import choose_device
from ..result import Progress, ProgressCallback
from .augment import Augmenter, Example, ahead
from .dataset import Case
from .distributed import Group, joined
from .learning_curve import draw, write_log
from .measures import dice, mean
from .output_folder import reserved_for
from .plan import Plan
from .prepare import Preparation, prepare
from .time_budget import ENOUGH, SETTLED, TRIAL, lighter, read_settled, settle, told, write_settled
from .trained_model import assemble
from .trainer import Trainer, read_checkpoint
from .training_request import CALIBRATING

LOG_EVERY = 20


def load_example(case: Case, plan: Plan) -> Example:
    """One case at the plan's spacing and orientation, as inference will see it."""
    images, truth = case.read()
    stack = stack_of(images, plan.in_plane_spacing, plan.normalisation, plan.slice_axis)
    labels = stack.orientation.to_stack(sitk.GetArrayFromImage(truth))
    labels = resize_labels(labels, stack.values.shape[-2:]).to(torch.uint8)
    return Example(stack.values, labels, case.unlabelled)


def train(
    dataset: str | Path,
    out: str | Path,
    plan: Plan | Mapping[str, Any] | None = None,
    extra: Sequence[str | Path] = (),
    card: dict | None = None,
    device: str = "auto",
    fine_tune: str | Path | Model | None = None,
    progress: ProgressCallback | None = None,
    cancelled: Callable[[], bool] | None = None,
    log: Callable[[str], None] = print,
    split: str | Path | None = None,
    fold: int | None = None,
    enough: Callable[[], bool] | None = None,
    recorded: Callable[[Mapping[str, Any]], None] | None = None,
) -> Model | None:
    """Trains on a data set (``dataset_json`` says which layouts) and returns the finished, calibrated Model.

    plan: a whole one, or some of its fields, which override the automatic plan. extra: further data sets used for
    training only, such as phantoms. card: title, about, modality, licence and labels with colours and terminology for
    the model. fine_tune: a model to start from. split, fold: a file that says who is trained and who is validated on,
    in the words of ``csam.training.dataset.read_split``. enough: asked before every step whether to end the training
    as if this had been the last one, and to keep what there is. recorded: gets every row of the log, those
    of a training that goes on too.

    OUT gets plan.json, reasons.txt, split.json, sources.json, log.csv, learning_curve.png, checkpoint.pt, model/ and
    training.lock, which keeps other processes out while it trains; settled.json where the steps follow from the time,
    or from ``enough``.
    A run that was stopped goes on from its last checkpoint. Of several processes started by torchrun the first one
    does all of this and returns the model, the others None. Raises InputError for a data set that cannot be used, or
    an OUT that holds another training, before anything is written; Cancelled when cancelled() says so.
    """
    with joined() as group:
        start = fine_tune if isinstance(fine_tune, Model | None) else Model.load(fine_tune)
        prepared = prepare(dataset, plan, extra, start, split, fold)
        log = log if group.first else lambda text: None
        training = Training(prepared, Path(out), card or {}, device, group, log)
        with training.reserved():
            model = training.run(progress, cancelled, enough, recorded)
            if model and progress:
                progress(Progress(1.0, CALIBRATING, None))
            return model and training.calibrate(model, cancelled)


class Training:
    """One training from a prepared beginning to a model, and the calibration of that."""

    def __init__(
        self,
        prepared: Preparation,
        out: Path,
        card: dict,
        device: str,
        group: Group,
        log: Callable[[str], None],
    ):
        self.prepared, self.out, self.card, self.group, self.log = prepared, out, card, group, log
        self.device = choose_device(group.device(device))
        self.checkpoint = out / "checkpoint.pt"
        self.recorded: Callable[[Mapping[str, Any]], None] | None = None
        self._loaded = 0.0  # pixel size of the examples
        for line in self._take_up(prepared.plan):
            log(line)

    def _take_up(self, plan: Plan) -> list[str]:
        """Network and examples as the plan wants them; returns what of the weights begins anew, in words."""
        self.plan, self.prepared = plan, replace(self.prepared, plan=plan)
        beginning = self.prepared.begin(self.card)
        self.trainer = Trainer(plan, beginning.network.to(self.device), self.device, self.group, beginning.held)
        if self._loaded == plan.in_plane_spacing:  # all else that load_example looks at is never settled
            return beginning.anew
        self._loaded = plan.in_plane_spacing
        self.examples, self.extra_examples, self.watched = (
            [load_example(case, plan) for case in cases]
            for cases in (
                self.prepared.training_cases,
                [case for other in self.prepared.further for case in other.cases],
                self.prepared.validation_cases if self.group.first else (),
            )
        )
        return beginning.anew

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """OUT, for this training alone until the end of the block."""
        with ExitStack() as until_done:
            self.group.agree(lambda: until_done.enter_context(reserved_for(self.prepared, self.out)))
            yield

    def run(
        self,
        progress: ProgressCallback | None,
        cancelled: Callable[[], bool] | None,
        enough: Callable[[], bool] | None = None,
        recorded: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Model | None:
        """The model without a calibration, in the first process; None in the others."""
        self.recorded = recorded
        training, validation = self.prepared.training, self.prepared.validation
        for note in self.prepared.notes:
            self.log(f"Note: {note}")
        who = f"of {len(validation)} patients: {', '.join(validation)}" if validation else "of nobody"
        self.log(
            f"{len(self.examples)} training scans of {len(training)} patients, {len(self.extra_examples)} further "
            f"ones, {len(self.watched)} validation scans {who}"
        )
        self._settle()
        self._go_on()
        self._train(progress, cancelled, enough)
        return self._model() if self.group.first else None

    def _settle(self) -> None:
        """Takes up what was settled before; else finds the plan of which enough steps fit into the time."""
        settled = self.group.agree(lambda: read_settled(self.out, self.plan))
        if settled != self.plan:
            self._take_up(settled)
        decided = self.group.from_first((self.out / SETTLED).exists() or self.checkpoint.exists())
        if self.plan.minutes and not decided:
            plan = self._fitting(time.monotonic())
            self.group.agree(lambda: write_settled(self.out, plan))
            self._follow(plan)

    def _fitting(self, begun: float) -> Plan:
        """The plan with the steps that fit into its minutes, made lighter while these are too few."""
        fixed = {decision.field for decision in self.prepared.decisions if decision.asked or self.prepared.start}
        while True:
            step_seconds = self._trial()
            validation = time.monotonic()
            if self.prepared.validation:
                self.group.agree(self._validate)
            now = time.monotonic()
            plan = self.group.from_first(settle(self.plan, step_seconds, now - validation, now - begun))
            self.log(f"A step takes {step_seconds:.2g} s: {plan.steps} steps fit into {plan.minutes:g} minutes.")
            less = lighter(self.plan, fixed) if plan.steps < ENOUGH else None
            if less is None:
                return plan
            self.log(f"That is too few, so {told(self.plan, less)}.")
            self._take_up(less)

    def _follow(self, plan: Plan) -> None:
        self.plan = self.trainer.plan = plan

    def _trial(self) -> float:
        """Seconds that a step takes, with a network that is thrown away."""
        trial = Trainer(self.plan, copy.deepcopy(self.trainer.network), self.device, self.group, self.trainer.held)
        augment, begun = Augmenter.of(self.plan), 0.0
        coming = ahead(lambda step: self._examples(augment, step), 0, TRIAL + 2)
        for number, examples in enumerate(coming):
            if number == 2:
                begun = time.monotonic()
            trial.train_step(*examples)
        return (time.monotonic() - begun) / TRIAL

    def _examples(self, augment: Augmenter, step: int) -> list[Example]:
        return [augment(self.examples, step, item, self.extra_examples) for item in self.trainer.share]

    def _go_on(self) -> None:
        """Takes up the last checkpoint, if there is one: the first process's, wherever the others run."""
        state = self.group.agree(lambda: read_checkpoint(self.checkpoint) if self.checkpoint.exists() else None)
        if state is not None:
            self.trainer.restore_state(state)
            self.log(f"Going on from step {self.trainer.step}.")
            self._show()
            for row in self.trainer.history if self.recorded and self.group.first else ():
                self.recorded(row)

    def _train(
        self,
        progress: ProgressCallback | None,
        cancelled: Callable[[], bool] | None,
        enough: Callable[[], bool] | None,
    ) -> None:
        plan, trainer, group = self.plan, self.trainer, self.group
        augment = Augmenter.of(plan)
        begun, first, before = time.monotonic(), trainer.step, trainer.seconds
        coming = ahead(lambda step: self._examples(augment, step), first, plan.steps)
        while not trainer.finished:
            if group.from_first(bool(cancelled and cancelled())):
                self._save()
                raise Cancelled(f"Stopped at step {trainer.step}; the same command goes on from there.")
            if trainer.step and group.from_first(bool(enough and enough())):
                self._end_here()
                break
            loss, spreads = trainer.train_step(*next(coming))
            here = time.monotonic() - begun
            trainer.seconds = before + here
            last = trainer.step == plan.steps
            validating = (last or trainer.step % plan.validate_every == 0) and bool(self.prepared.validation)
            if validating:
                trainer.validated(group.agree(self._validate))
            if validating or last or trainer.step % LOG_EVERY == 0:
                self._record(spreads, validating)
            if progress and group.first:
                left = here / (trainer.step - first) * (plan.steps - trainer.step)
                progress(Progress(trainer.step / plan.steps, f"training, loss {loss:.3f}", left))
            if trainer.step % plan.checkpoint_every == 0 or trainer.finished:
                self._save()
        coming.close()
        if trainer.step < self.plan.steps:
            self.log(f"Stopped early at step {trainer.step}: no better since step {trainer.best_step}.")

    def _save(self) -> None:
        """Writes the checkpoint, and the log as it is then."""
        if self.group.first:
            self.trainer.save(self.checkpoint)
            with suppress(OSError):
                write_log(self.trainer.history, self.out / "log.csv")

    def _end_here(self) -> None:
        """Makes this step the last one, for good: validated, written down and saved."""
        trainer, group = self.trainer, self.group
        self._follow(replace(self.plan, steps=trainer.step))
        validated = bool(trainer.history) and trainer.history[-1]["step"] == trainer.step
        if not (validated and trainer.history[-1]["validation_dice"] != ""):
            validating = bool(self.prepared.validation)
            if validating:
                trainer.validated(group.agree(self._validate))
            if trainer.recent:
                self._record([], validating)
        self._save()
        if group.first:
            write_settled(self.out, self.plan)
        self.log(f"Ended at step {trainer.step}, as asked for.")

    def _validate(self) -> float:
        network = self.trainer.averaged_network()
        return float(np.mean([quick_dice(network, example, self.plan, self.device) for example in self.watched]))

    def _record(self, spreads: Sequence[float], validating: bool) -> None:
        """A row of the log; a line for the user at every validation and now and then between."""
        trainer = self.trainer
        row = {
            "step": trainer.step,
            "loss": round(float(np.mean(trainer.recent)), 5),
            "learning_rate": trainer.schedule.get_last_lr()[0],
            "seconds": round(trainer.seconds, 1),
            "validation_dice": round(trainer.last_dice, 4) if validating else "",
            "gate_spread": " ".join(f"{s:.3f}" for s in spreads),
        }
        trainer.history.append(row)
        trainer.recent = []
        if self.recorded and self.group.first:
            self.recorded(row)
        if validating or trainer.finished or trainer.step % (5 * LOG_EVERY) == 0:
            score = row["validation_dice"] if validating else "-"
            self.log(
                f"step {row['step']}/{self.plan.steps}  loss {row['loss']}  Dice {score}  "
                f"gate spread {row['gate_spread']}  {row['seconds']:.0f} s"
            )
            self._show()

    def _show(self) -> None:
        if not self.group.first:
            return
        title = f"{self.prepared.data.name}, {self.plan.network}"
        try:
            write_log(self.trainer.history, self.out / "log.csv")
            draw(self.trainer.history, self.out / "learning_curve.png", title, self.trainer.best_step)
        except OSError as error:  # open in another program: no reason to end the training
            self.log(f"The log was not written this time: {error}")

    def _model(self) -> Model:
        """The weights that are kept, assembled with where they come from."""
        prepared, trainer, start = self.prepared, self.trainer, self.prepared.start
        if self.plan.weights == "last":
            self.log(f"The weights of the last step, {trainer.step}, are kept.")
        else:
            self.log(
                f"The weights of step {trainer.best_step} were the best: Dice {trainer.best_dice:.4f} when validated."
            )
        provenance = {
            "data": prepared.data.name,
            "data_licence": prepared.data.licence,
            "data_labels": list(prepared.data.labels),
            "extra_data": [other.name for other in prepared.further],
            "training_patients": prepared.training,
            "validation_patients": prepared.validation,
            "plan": asdict(self.plan),
            "started_from": start and {"name": start.name, "sha256": start.sha256, "provenance": start.provenance},
            "csam": __version__,
        }
        model = assemble(trainer.best_network(), prepared.data, self.plan, prepared.training_cases, self.card, start)
        return replace(model, provenance=provenance)

    def calibrate(self, model: Model, cancelled: Callable[[], bool] | None) -> Model:
        """The model calibrated and measured on the validation patients, written with its card to OUT/model."""
        from .calibrate import calibrate  # heavy: the whole pipeline

        self.log("Calibrating on the validation patients.")
        try:
            return calibrate(model, self.prepared.validation_cases, self.out, self.log, cancelled, self.device)
        except Cancelled as error:
            raise Cancelled(
                "Stopped while calibrating; the same command goes on from the end of the training."
            ) from error


@torch.no_grad()
def quick_dice(network, example: Example, plan: Plan, device: str) -> float:
    """Mean foreground Dice of what is known and labelled at the plan's spacing, gates at their mean, whole slices: a
    quick validation."""
    from ..pipeline.sliding_window import mean_probabilities

    labels = mean_probabilities(network, example.values, plan.field_of_view, device).argmax(1).numpy()
    truth = example.labels.numpy()
    known = truth != UNKNOWN
    labels, truth = labels[known], truth[known]
    measured = {*range(1, network.architecture["num_classes"])} - {*example.unlabelled}
    found = [dice(labels == value, truth == value) for value in sorted(measured)]
    score = mean(found)
    return 1.0 if score is None else score
