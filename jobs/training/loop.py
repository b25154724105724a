"""The protocol of a training: evaluate, train an epoch, evaluate, ... to its end or divergence."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch

from jobs import files
from jobs.errors import InputError
from jobs.problems import checked
from jobs.problems.problem import Batch, Problem
from jobs.regime import recording
from jobs.regime.regime import Regime
from jobs.store.attempts import AttemptFiles
from jobs.sweep import Run
from jobs.training import checkpoint, restoring
from jobs.training.checkpoint import Checkpoint, CheckpointError, Checkpoints
from jobs.training.cost import Meter
from jobs.training.curves import Curves
from jobs.training.monitor import FiniteMonitor
from jobs.training.origin import NOTHING, InputHashes, Origin
from jobs.training.stepping import Stepper
from jobs.training.stop import InterruptionError, Stop
from jobs.training.training_time import TrainingTime

LOG_INTERVAL = 10
"""Steps between two entries of the minibatch loss, counted within each epoch (DeepOBS' default)."""

_SPLITS: tuple[Literal["train", "valid", "test"], ...] = ("train", "valid", "test")

log = logging.getLogger(__name__)


class DivergedError(ArithmeticError):
    """A loss of the run is not finite."""

    def __init__(self, reason: str, epoch: int, step: int) -> None:
        super().__init__(f"{reason} in epoch {epoch} at step {step}")
        self.stop = {"reason": reason, "epoch": epoch, "step": step}


class Training:
    """The training of one run.

    It evaluates all splits before training and after every epoch, logs the minibatch loss every
    `LOG_INTERVAL`th step, and stops at the first loss that is not finite. No value after that step
    is kept or invented.

    Between two steps, and after an evaluation, is a boundary: only there a checkpoint is written,
    because it is due or because `stop` says so. No checkpoint precedes the end of epoch 0 (the
    evaluation before training). Neither an evaluation nor `start_estimate` is interrupted.

    An optimizer may offer `start_estimate()` (called after every epoch's evaluation),
    `estimating` (its next step belongs to an estimation), `backward(loss)` (to be used instead of
    `loss.backward()`), `hvp_count`, `get_log()`, and `train()` with `eval()` (`Modes`); all are
    optional. Its `step` may ask for a closure or the loss (`Stepper`).
    """

    def __init__(
        self,
        run: Run,
        problem: Problem,
        optimizer: torch.optim.Optimizer,
        meter: Meter,
        out: AttemptFiles,
        stop: Stop | None = None,
        given: InputHashes = NOTHING,
    ) -> None:
        self.run = run
        self.problem = problem
        self.optimizer = optimizer
        self.meter = meter
        self.out = out
        self.started = time.time()  # of the first attempt
        self.resumes = 0
        self.checkpoints = Checkpoints(out, every=math.inf)
        self.epoch = 0  # current; 0 is the evaluation before training
        self.index = 0  # steps taken in this epoch
        self.step = 0  # steps begun so far, over all epochs
        self.curves = Curves()
        self.time = TrainingTime(meter.synchronize)
        self._stop = stop or Stop()
        self._given = given
        self._evaluated: int | None = None  # the last evaluated epoch
        self._epoch_start = time.monotonic()  # less the time that earlier attempts spent on it
        self._longest_epoch = 0.0  # seconds; of epochs that ended in this process
        self.regime = Regime(run, problem, optimizer)
        self._stepper = Stepper(problem, optimizer, meter, self.regime.settings)
        self._monitor = FiniteMonitor(meter.device, LOG_INTERVAL)
        self._restart = getattr(optimizer, "start_estimate", None)
        self._get_log = getattr(optimizer, "get_log", None)

    def go(self) -> dict[str, Any]:
        """Train to the end or to the divergence; returns the record's `stop`.

        Raises:
            InterruptionError: the training was told to stop before its end.
        """
        try:
            while self.epoch <= self.run.epochs:
                if self.epoch > 0:
                    self._train()
                self._evaluate()
                self._end_epoch()
        except DivergedError as diverged:
            log.info("%s", diverged)
            return diverged.stop
        return {"reason": "completed", "epoch": self.run.epochs, "step": self.step}

    def origin(self) -> Origin:
        """The origin of the training's numbers, as far as it has been imported by now."""
        return Origin.now(self._given, self.meter.device.type)

    def changed_since(self, saved: Checkpoint) -> list[str]:
        """The differences from the origin of a checkpoint, in words; empty: none."""
        return saved.origin.changes(self._given, self.meter.device.type)

    def restore(self, saved: Checkpoint) -> None:
        """Restore the training's state from a checkpoint.

        Raises:
            CheckpointError: the restored state is not the saved one.
        """
        notes, tensors = saved.notes, saved.tensors
        restoring.load_model(self.problem.model, tensors["model"])
        restoring.load_optimizer(self.optimizer, tensors["optimizer"])
        restoring.load_problem(self.problem, notes["problem"])
        self.regime.load_state_dict(tensors["regime"])
        self.curves = Curves.from_json(notes["curves"])
        self.time.load_state_dict(notes["time"])
        self.meter.add(notes["cost"])
        self.started, self.resumes = notes["started"], notes["resumes"] + 1
        self.epoch, self.index, self.step = saved.epoch, saved.index, notes["step"]
        self._evaluated = saved.epoch - 1
        self._epoch_start = time.monotonic() - notes["epoch_s"]
        checkpoint.restore_generators(tensors["generators"], notes["generators"])

    def _snapshot(self) -> Checkpoint:
        return Checkpoint(
            epoch=self.epoch,
            index=self.index,
            tensors={
                "model": self.problem.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "regime": self.regime.state_dict(),
                "generators": checkpoint.generator_tensors(),
            },
            notes={
                "problem": self.problem.state_dict(),
                "curves": self.curves.to_json(),
                "time": self.time.state_dict(),
                "cost": self.meter.to_json(),
                "started": self.started,
                "resumes": self.resumes,
                "step": self.step,
                "epoch_s": time.monotonic() - self._epoch_start,
                "generators": checkpoint.generator_notes(),
            },
            origin=self.origin(),
        )

    def boundary(self, *, between_epochs: bool = False) -> None:
        """Between two steps: save and raise if it is time to stop, else save if that is due."""
        expected = self._longest_epoch + self.checkpoints.seconds
        if self._stop.asked:
            self._save()
            raise InterruptionError("told to stop by a signal")
        if between_epochs and self._longest_epoch and not self._stop.has_time_for(expected):
            self._save()
            raise InterruptionError(
                f"the next epoch would not end in time: it may take {expected:.0f} s"
            )
        if self.checkpoints.is_due:
            self._save()

    def _save(self) -> None:
        self._collect()  # a diverged training raises here; the monitor is empty afterwards
        with self.time.paused():
            try:
                path = self.checkpoints.write(self.run, self._snapshot)
            except CheckpointError as error:
                log.warning("no checkpoint: %s", error)
            else:
                self.note_progress(checkpoint=path.name)

    def _end_epoch(self) -> None:
        """Do what follows an evaluation; the next epoch begins after the boundary."""
        if self._restart is not None and 0 < self.epoch < self.run.epochs:
            with self.time.running(), self.meter.phase("estimate"):
                self._restart()
        seconds = time.monotonic() - self._epoch_start
        if self.epoch > 0:
            self._longest_epoch = max(self._longest_epoch, seconds)
        self.note_progress(**({"epoch_s": seconds} if self.epoch > 0 else {}))
        self.epoch, self.index = self.epoch + 1, 0
        self._epoch_start = time.monotonic()
        if self.epoch <= self.run.epochs:
            self.boundary(between_epochs=True)

    def _evaluate(self) -> None:
        row: dict[str, float] = {}
        evaluating = self.regime.evaluating(self.epoch, has_stepped=self.step > 0)
        with self.meter.phase("eval") as phase, evaluating:
            before = self._stepper.forwards
            for split in _SPLITS:
                loss, accuracy = self.problem.evaluate(split, self.epoch)
                row[f"{split}_loss"] = loss
                if accuracy is not None:
                    row[f"{split}_accuracy"] = accuracy
            phase.forward += self._stepper.forwards - before
        if not all(math.isfinite(value) for value in row.values()):
            if self.step == 0:
                raise InputError(
                    f"{self.run.problem} is not finite before the first step, at its initial"
                    f" weights and whatever the optimizer: {_format(row)}"
                )
            raise DivergedError("nonfinite_evaluation", self.epoch, self.step)
        self.regime.after_epoch(self.epoch, row["valid_loss"])
        self.curves.add_epoch(row)
        self.time.add_epoch(self.step)
        self._evaluated = self.epoch
        log.info("epoch %d/%d: %s", self.epoch, self.run.epochs, _format(row))

    def note_progress(self, **more: Any) -> None:
        """Append a line to the progress file: epoch, step, and `more`."""
        line = {
            "time": time.time(),
            "epoch": self._evaluated,
            "epochs": self.run.epochs,
            "step": self.step,
            "steps": self.run.epochs * self.problem.steps_per_epoch,
        }
        files.append_line(self.out.progress_file, line | more)

    def _train(self) -> None:
        self.problem.model.train()
        with self.time.running():
            self._take_steps()
        self.meter.drain()

    def _take_steps(self) -> None:
        """Take the rest of the epoch's steps."""
        batches = self._batches()
        while self.index < self.problem.steps_per_epoch:
            self._take_step(batches, log_now=self.index % LOG_INTERVAL == 0)
            self.index += 1
            if self._monitor.is_due(self.index == self.problem.steps_per_epoch):
                self._collect()
            self.boundary()

    def _batches(self) -> Iterator[Batch]:
        """The epoch's minibatches from `index` on."""
        if self.index == 0 or self.index < self.problem.steps_per_epoch:
            return self.problem.train_batches(self.epoch, start=self.index)
        # Resumed between the last step and the evaluation: a problem whose random state is carried
        # along has to draw the random numbers of the whole epoch again.
        batches = self.problem.train_batches(self.epoch, start=self.index - 1)
        checked.next_batch(self.problem, batches, self.epoch, self.index - 1)
        return batches

    def _take_step(self, batches: Iterator[Batch], *, log_now: bool) -> None:
        with self.regime.stepping(self.step, self.epoch):
            loss = self._stepper.take(
                lambda: checked.next_batch(self.problem, batches, self.epoch, self.index)
            )
            groups = self.optimizer.param_groups
            if log_now or recording.is_quick(groups):
                self.curves.see_learning_rate(self.step, recording.rates(groups))
        self._monitor.see(loss, self.step, keep=log_now)
        if log_now and self._get_log is not None:
            self.curves.add_log(self.step, self._get_log())
        self.step += 1

    def _collect(self) -> None:
        losses, first_bad = self._monitor.collect()
        for step, value in losses:
            self.curves.add_minibatch_loss(step, value)
        if first_bad is not None:
            self.curves.cut(first_bad)
            raise DivergedError("nonfinite_loss", self.epoch, first_bad)


def _format(row: Mapping[str, float]) -> str:
    return ", ".join(f"{metric} {value:.4f}" for metric, value in row.items())
